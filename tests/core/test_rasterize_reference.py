"""The definition of both rules against numbers computed by hand, and its gradients against differences."""

import math

import pytest
import torch

from medgs_core.rasterize import _reference, rasterize_splats
from medgs_core.tensors import Splats2D

from ._scenes import random_splats, tensors_of


def splats_at_origin(*opacities: float, features: list[float] | None = None) -> Splats2D:
    count = len(opacities)
    return Splats2D(
        torch.zeros(count, 2, dtype=torch.float64),
        torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64).repeat(count, 1),  # sigma = 1 px, round
        torch.tensor(opacities, dtype=torch.float64),
        torch.tensor(features or [1.0] * count, dtype=torch.float64)[:, None],
    )


def render(splats: Splats2D, height: int, width: int, compositing: str):
    return rasterize_splats(splats, height, width, compositing, backend="reference")


def test_sum_adds_gaussians_up_to_three_sigma():
    weighted, weight = render(splats_at_origin(0.2, 0.1, features=[1.0, 4.0]), 1, 5, "sum")
    # exp(-x^2 / 2) at x = 0..3: 1, 0.60653, 0.13534, 0.01111 (still inside: d = 9); 0 at x = 4
    profile = torch.tensor([1.0, 0.60653066, 0.13533528, 0.011108997, 0.0], dtype=torch.float64)
    # weights 0.2 + 0.1 = 0.3; weighted 0.2 * 1 + 0.1 * 4 = 0.6
    torch.testing.assert_close(weight[0], 0.3 * profile)
    torch.testing.assert_close(weighted[0, :, 0], 0.6 * profile)


def test_alpha_lets_earlier_rows_hide_later_ones():
    weighted, weight = render(splats_at_origin(0.5, 0.5, features=[1.0, 10.0]), 1, 1, "alpha")
    # 0.5 * 1 + 0.5 * (1 - 0.5) * 10 = 3; 0.5 + 0.25 = 0.75
    assert weighted.item() == pytest.approx(3.0)
    assert weight.item() == pytest.approx(0.75)


def test_alpha_depends_on_row_order_and_sum_does_not():
    front, back = (
        splats_at_origin(0.5, 0.2, features=[1.0, 5.0]),
        splats_at_origin(0.2, 0.5, features=[5.0, 1.0]),
    )
    # alpha: 0.5 + 0.5 * 0.2 * 5 = 1.0 against 0.2 * 5 + 0.8 * 0.5 = 1.4; sum: 0.5 + 1.0 = 1.5 both times
    assert render(front, 1, 1, "alpha")[0].item() == pytest.approx(1.0)
    assert render(back, 1, 1, "alpha")[0].item() == pytest.approx(1.4)
    assert render(front, 1, 1, "sum")[0].item() == pytest.approx(1.5)
    assert render(back, 1, 1, "sum")[0].item() == pytest.approx(1.5)


def test_alpha_is_capped_at_0_999():
    # of two opaque splats the second would leave 0.001 * 0.001 = 1e-6 <= 1e-4, so it is not drawn
    assert render(splats_at_origin(1.0, 1.0), 1, 1, "alpha")[1].item() == pytest.approx(0.999)


def test_alpha_below_one_gray_level_is_dropped():
    # 0.0039 < 1/255 = 0.00392 < 0.0040
    assert render(splats_at_origin(0.0039), 1, 1, "alpha")[1].item() == 0.0
    assert render(splats_at_origin(0.0040), 1, 1, "alpha")[1].item() == pytest.approx(0.0040)


def test_pixel_ends_before_the_splat_that_exhausts_it():
    weight = render(splats_at_origin(0.9, 0.99, 0.95, 0.5), 1, 1, "alpha")[1]
    # transmittance 0.1, 0.001, then 0.00005 <= 1e-4: the third is not drawn, nor is the fourth,
    # which alone would have left 0.0005
    assert weight.item() == pytest.approx(1 - 0.001)


def test_conic_is_read_as_a_b_c_of_the_inverse_covariance():
    splats = Splats2D(
        torch.tensor([[1.0, 1.0]], dtype=torch.float64),
        torch.tensor([[1.0, 0.5, 2.0]], dtype=torch.float64),
        torch.tensor([1.0], dtype=torch.float64),
        torch.ones(1, 1, dtype=torch.float64),
    )
    weight = render(splats, 3, 3, "sum")[1]
    # at (x, y) = (2, 2): 1 + 2 * 0.5 + 2 = 4, exp(-2); at (2, 0): 1 - 1 + 2 = 2, exp(-1)
    assert weight[2, 2].item() == pytest.approx(math.exp(-2))
    assert weight[0, 2].item() == pytest.approx(math.exp(-1))


@pytest.mark.parametrize("compositing", ["sum", "alpha"])
def test_pixels_taken_in_parts_give_the_same_image(compositing, monkeypatch):
    splats = random_splats(20, 9, 7)
    whole = render(splats, 9, 7, compositing)
    monkeypatch.setattr(_reference, "_PAIRS_AT_ONCE", 100)  # 5 pixels at once
    for image, part in zip(whole, render(splats, 9, 7, compositing), strict=True):
        torch.testing.assert_close(image, part, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("compositing", ["sum", "alpha"])
def test_gradients_of_the_definition_are_right(compositing):
    splats = random_splats(6, 5, 6, features=2, opacities=(0.1, 0.7), seed=3)

    def draw(*tensors):
        return render(Splats2D(*tensors), 5, 6, compositing)

    assert torch.autograd.gradcheck(draw, tensors_of(splats, torch.float64))


@pytest.mark.parametrize("compositing", ["sum", "alpha"])
def test_no_splats_give_an_empty_image(compositing):
    weighted, weight = render(random_splats(0, 4, 4), 4, 6, compositing)
    assert weighted.shape == (4, 6, 1)
    assert not weighted.any()
    assert not weight.any()
