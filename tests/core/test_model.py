import math

import pytest
import torch

from medgs_core.model import MAX_OPACITY, PLAIN_COLUMNS, FoldedGaussians

from ._models import random_gaussians


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_unpacked_rows_are_those_that_were_packed(degree, channels):
    gaussians = random_gaussians(7, degree, channels)
    packed = gaussians.pack()
    assert packed.shape == (7, PLAIN_COLUMNS + 2 * degree + channels)
    for (name, before), (_, after) in zip(
        gaussians.named(), FoldedGaussians.unpack(packed, channels).named(), strict=True
    ):
        assert before.shape == after.shape
        assert torch.equal(before, after), name


def test_columns_lie_in_the_order_of_the_fields():
    row = torch.arange(14.0)[None]
    gaussians = FoldedGaussians.unpack(row, 2)
    assert gaussians.position.tolist() == [[0, 1]]
    assert gaussians.center.tolist() == [2]
    assert gaussians.log_spread.tolist() == [3]
    assert gaussians.drift.tolist() == [[[4, 5], [6, 7]]]
    assert gaussians.log_scale.tolist() == [[8, 9]]
    assert gaussians.angle.tolist() == [10]
    assert gaussians.logit_opacity.tolist() == [11]
    assert gaussians.intensity.tolist() == [[12, 13]]


def test_no_gaussians_pack_to_a_matrix_without_rows():
    packed = random_gaussians(0, degree=2, channels=3).pack()
    assert packed.shape == (0, PLAIN_COLUMNS + 4 + 3)
    assert len(FoldedGaussians.unpack(packed, 3)) == 0


def test_unpacked_gaussians_are_views():
    packed = random_gaussians(3).pack()
    gaussians = FoldedGaussians.unpack(packed, 1)
    packed.zero_()
    assert all(not tensor.any() for _, tensor in gaussians.named())


def test_gradients_reach_the_packed_matrix():
    packed = random_gaussians(3).pack().requires_grad_()
    FoldedGaussians.unpack(packed, 1).drift.sum().backward()
    assert packed.grad.sum(dim=0).tolist() == [0, 0, 0, 0, 3, 3, 3, 3, 0, 0, 0, 0, 0]


def test_rows_are_picked_in_the_given_order():
    gaussians = random_gaussians(5)
    picked = gaussians.rows(torch.tensor([3, 0, 3]))
    assert len(picked) == 3
    assert torch.equal(picked.position, gaussians.position[[3, 0, 3]])
    assert torch.equal(picked.intensity, gaussians.intensity[[3, 0, 3]])


def test_activations_are_exponentials_and_a_capped_sigmoid():
    row = torch.zeros(1, PLAIN_COLUMNS + 2 + 1)
    row[0, 3], row[0, 6], row[0, 7] = math.log(0.7), math.log(2.0), math.log(3.0)
    gaussians = FoldedGaussians.unpack(row, 1)
    assert gaussians.spread.item() == pytest.approx(0.7)
    assert gaussians.scale[0].tolist() == pytest.approx([2.0, 3.0])
    assert gaussians.opacity.item() == pytest.approx(MAX_OPACITY / 2)
