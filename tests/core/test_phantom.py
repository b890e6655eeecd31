import numpy as np
import pytest

from medgs_core.phantom import FULL_SCALE, draw_anatomy, drifting_phantom
from medgs_core.volume import slice_positions


def phantom(seed=0, **more):
    return drifting_phantom((6, 40, 48), np.random.default_rng(seed), **more)


def test_thick_slices_are_every_factorth_dense_slice():
    made = phantom(factor=3)
    np.testing.assert_array_equal(made.thick.voxels, made.dense.voxels[::3])


def test_both_volumes_stand_in_the_same_world():
    made = phantom(factor=4)
    np.testing.assert_allclose(slice_positions(made.thick, 0), slice_positions(made.dense, 0)[::4])
    np.testing.assert_allclose(made.thick.affine[:, 1:], made.dense.affine[:, 1:])


def test_dense_slices_are_the_anatomy_at_their_positions():
    made = phantom(factor=4)
    for slice_index in (0, 5, 20):
        truth = made.anatomy.slice_at(slice_index / 4)
        np.testing.assert_allclose(made.dense.voxels[slice_index] / FULL_SCALE, truth, atol=0.5 / FULL_SCALE + 1e-6)


def test_anatomy_moves_by_its_velocity():
    # A single still ellipse, then the same one shifted by whole pixels.
    anatomy = draw_anatomy(40, 48, 6, np.random.default_rng(1), organs=0)
    anatomy.swelling[:], anatomy.sway[:], anatomy.velocity[:] = 0.0, 0.0, (2.0, 1.0)
    shifted = np.roll(anatomy.slice_at(0.0), (3, 6), axis=(0, 1))
    np.testing.assert_allclose(anatomy.slice_at(3.0)[12:, 12:], shifted[12:, 12:], atol=1e-6)


def test_anatomy_is_smooth_along_the_slices():
    anatomy = phantom().anatomy
    steps = [np.abs(anatomy.slice_at(2.0 + step) - anatomy.slice_at(2.0)).max() for step in (1e-1, 1e-2, 1e-3)]
    # differences shrink with the step: nothing pops
    assert steps[1] < 0.2 * steps[0]
    assert steps[2] < 0.2 * steps[1]


def test_neighboring_slices_differ():
    made = phantom(factor=1)
    assert all(np.any(a != b) for a, b in zip(made.thick.voxels, made.thick.voxels[1:], strict=False))


def test_intensities_stay_between_zero_and_one():
    for seed in range(5):
        truth = phantom(seed).anatomy.slice_at(1.3)
        assert 0.0 <= truth.min() < truth.max() <= 1.0


def test_same_seed_gives_the_same_phantom():
    np.testing.assert_array_equal(phantom(3, noise=0.05).thick.voxels, phantom(3, noise=0.05).thick.voxels)
    assert np.any(phantom(3).thick.voxels != phantom(4).thick.voxels)


def test_noise_has_the_stated_deviation_and_spares_the_truth():
    noisy, clean = phantom(factor=2, noise=0.02), phantom(factor=2)
    np.testing.assert_array_equal(noisy.dense.voxels, clean.dense.voxels)
    difference = noisy.thick.voxels.astype(float) - clean.thick.voxels
    assert difference.std() / FULL_SCALE == pytest.approx(0.02, rel=0.05)  # 11,520 samples: 0.7 % deviation


def test_single_slice_is_possible():
    assert drifting_phantom((1, 8, 9), np.random.default_rng(0)).dense.voxels.shape == (1, 8, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (0, 8, 8)}, r"got shape \(0, 8, 8\)"),
        ({"factor": 0}, "at least 1, got 0"),
        ({"noise": -0.1}, r"not be negative, got -0\.1"),
    ],
)
def test_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        drifting_phantom(**{"shape": (3, 8, 8), "generator": np.random.default_rng(0), **arguments})
