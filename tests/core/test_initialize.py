import math

import numpy as np
import pytest
import torch

from medgs_core.correspondence import Flows
from medgs_core.fold import fold_model
from medgs_core.initialize import FIRST_SPREAD, SCALE_PER_SPACING, SMALLEST_SCALE, seed_slice
from medgs_core.model import MAX_OPACITY
from medgs_core.rasterize import rasterize_splats

from ._fits import moving_voxels
from ._stacks import drifting_blobs, random_images, stack_of


def seeded(images, k=1, count=60, degree=1, seed=0, coordinates=None):
    places = np.arange(len(images), dtype=np.float64) if coordinates is None else np.array(coordinates)
    return seed_slice(Flows(stack_of(images), "stiff"), k, places, count, degree, np.random.default_rng(seed))


def half_flat():
    """Return slices of noise on the left and nothing on the right."""
    images = random_images(3, 24, 40, 1)
    images[:, :, 20:] = 0.5
    return images


def phantom_images():
    return (moving_voxels(3, 40, 56) / 4000.0)[..., None].astype(np.float32)


@pytest.mark.parametrize("compositing", ["sum", "alpha"])
@pytest.mark.parametrize("count", [1, 2, 7, 16, 60, 300])
@pytest.mark.parametrize(
    "images",
    [
        phantom_images(),
        half_flat(),
        random_images(2, 31, 8, 3),
        random_images(2, 1, 8, 1),
        random_images(2, 9, 1, 1),
        np.full((2, 1, 1, 1), 0.5, np.float32),
        np.full((2, 12, 40, 1), 0.5, np.float32),
    ],
    ids=["phantom", "half flat", "color", "one row", "one column", "one pixel", "flat"],
)
def test_a_slices_own_gaussians_reach_every_pixel(images, count, compositing):
    _, height, width, _ = images.shape
    for k in range(2):
        splats = fold_model(seeded(images, k, count), float(k))
        _, weight = rasterize_splats(splats, height, width, compositing)
        assert weight.min() > 1e-4  # a hundred times the floor of the denominator


def test_gaussians_lie_in_the_image_and_take_the_color_of_their_pixel():
    images = random_images(3, 20, 30, 3)
    gaussians = seeded(images, count=200)
    x, y = gaussians.position.unbind(1)
    assert -0.5 <= x.min() < 1.0
    assert 28.0 < x.max() <= 29.5
    assert -0.5 <= y.min() < 1.0
    assert 18.0 < y.max() <= 19.5
    rows, columns = ((place + 0.5).floor().long() for place in (y, x))
    assert torch.equal(gaussians.intensity, torch.from_numpy(images[1])[rows, columns])


def test_gaussians_start_on_their_slice_round_and_half_opaque():
    gaussians = seeded(random_images(3, 20, 30, 1), k=1, count=50, coordinates=[0.0, 4.0, 5.0])
    assert gaussians.center.unique().tolist() == [4.0]
    assert gaussians.spread.numpy() == pytest.approx(FIRST_SPREAD)
    assert gaussians.opacity.numpy() == pytest.approx(MAX_OPACITY / 2)
    assert torch.equal(gaussians.scale[:, 0], gaussians.scale[:, 1])
    assert not gaussians.angle.any()


def test_structure_draws_most_gaussians():
    x = seeded(half_flat(), count=200).position[:, 0]
    # four fifths follow the gradient, which is on the left; of the fifth on the grid half are there
    assert (x < 20.5).float().mean().item() == pytest.approx(0.9, abs=0.02)


def test_where_gaussians_are_sparse_they_are_large():
    gaussians = seeded(half_flat(), count=200)
    flat = gaussians.position[:, 0] > 21
    assert gaussians.scale[flat].min() > 2 * gaussians.scale[~flat].median()
    assert gaussians.scale.min() >= SMALLEST_SCALE * (1 - 1e-6)


def test_on_a_flat_slice_the_scale_is_the_distance_between_gaussians():
    gaussians = seeded(np.full((2, 40, 40, 1), 0.5, np.float32), k=0, count=64)
    drawn = gaussians.scale[math.ceil(0.2 * 64) :]
    assert drawn.numpy() == pytest.approx(SCALE_PER_SPACING * math.sqrt(1600 / 64), rel=1e-5)


def test_drift_is_the_motion_of_the_slices():
    gaussians = seeded(drifting_blobs(3, 1.5, -0.8), k=1, count=400)
    drift = gaussians.drift[:, 0]
    assert drift.median(dim=0).values.tolist() == pytest.approx([1.5, -0.8], abs=0.1)


@pytest.mark.parametrize("k", [0, 2])
def test_at_the_ends_drift_is_that_of_the_only_gap(k):
    gaussians = seeded(drifting_blobs(3, 1.5, -0.8), k=k, count=400)
    assert gaussians.drift[:, 0].median(dim=0).values.tolist() == pytest.approx([1.5, -0.8], abs=0.1)


def test_drift_is_per_slice_where_slices_are_left_out():
    gaussians = seeded(drifting_blobs(3, 2.0), k=1, count=400, coordinates=[0.0, 2.0, 4.0])
    assert gaussians.drift[:, 0, 0].median().item() == pytest.approx(1.0, abs=0.1)


def test_higher_terms_of_the_path_start_at_zero():
    drift = seeded(drifting_blobs(3, 1.5), degree=3).drift
    assert drift.shape == (60, 3, 2)
    assert not drift[:, 1:].any()
    assert drift[:, 0].any()


def test_no_gaussians_can_be_seeded():
    assert len(seeded(random_images(3, 20, 30, 2), count=0)) == 0


def test_the_generator_alone_decides():
    images = phantom_images()
    one, same, other = (seeded(images, seed=seed).pack() for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
