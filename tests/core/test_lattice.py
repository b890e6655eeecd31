import numpy as np
import pytest

from medgs_core.lattice import build_lattice, finest_spacing
from medgs_core.volume import Volume

from ._models import ODD_AFFINE
from ._shapes import scan


def image(height, width):
    y, x = np.mgrid[:height, :width]
    return np.sin(0.4 * y + 0.3 * x).astype(np.float32)[..., np.newaxis]


def test_spacing_that_divides_the_volume_is_exact_and_ends_are_half_a_voxel_out():
    lattice = build_lattice(scan(3, 4, 5), 0, 1.0)
    np.testing.assert_array_equal(lattice.ticks[0], range(-2, 11))
    np.testing.assert_array_equal(lattice.ticks[1], [-0.5, 0, 1, 2, 3, 3.5])
    np.testing.assert_array_equal(lattice.coordinates, np.arange(-2, 11) / 4)
    assert lattice.shape == (13, 6, 7)
    assert lattice.weights == (None, None)


def test_other_spacings_are_taken_a_little_finer():
    lattice = build_lattice(scan(3, 4, 5), 0, 1.5)
    np.testing.assert_allclose(np.diff(lattice.ticks[0]), [1, 1, *[8 / 6] * 6, 1, 1])
    np.testing.assert_allclose(np.diff(lattice.ticks[2][1:-1]), 4 / 3)


def test_default_is_the_finest_spacing():
    assert finest_spacing(scan(3, 4, 5, spacing=(4.0, 0.9, 0.8)), 0) == 0.8
    assert finest_spacing(scan(3, 4, 5, spacing=(0.5, 0.9, 0.8)), 0) == 0.5
    assert finest_spacing(scan(1, 4, 5, spacing=(0.5, 0.9, 0.8)), 0) == 0.8


def test_one_small_gap_does_not_refine_an_uneven_stack():
    assert finest_spacing(scan(4, 5, 6, positions=np.array([0.0, 3.0, 3.01, 6.0])), 0) == 1.0


def test_single_voxel_has_its_extent():
    lattice = build_lattice(scan(1, 1, 1), 0, 1.0)
    assert lattice.shape == (5, 3, 3)
    np.testing.assert_array_equal(lattice.ticks[0], range(-2, 3))


def test_uneven_slices_are_sampled_evenly_in_space():
    lattice = build_lattice(scan(3, 4, 5, positions=np.array([10.0, 11.0, 14.0])), 0, 1.0)
    np.testing.assert_array_equal(lattice.ticks[0], [9.5, 10, 11, 12, 13, 14, 14.75, 15.5])
    np.testing.assert_allclose(lattice.coordinates, [-0.5, 0, 1, 4 / 3, 5 / 3, 2, 2.25, 2.5])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pixels_stand_where_the_affine_puts_them(axis):
    volume = Volume(np.zeros((5, 6, 7), np.uint8), ODD_AFFINE)
    lattice = build_lattice(volume, axis)
    k, row, column = 2, 3, 4
    index = np.insert([row, column], axis, k)
    place = np.array([[k * volume.spacing[axis], row, column]], float)
    np.testing.assert_allclose(lattice.to_world(place)[0], ODD_AFFINE[:3] @ [*index, 1], atol=1e-12)


def test_first_slice_stands_at_the_origin_whatever_its_position_is_called():
    volume = scan(3, 4, 5, positions=np.array([10.0, 11.0, 14.0]))
    lattice = build_lattice(volume, 0)
    np.testing.assert_allclose(lattice.to_world(np.array([[10.0, 0, 0], [14.0, 0, 0]])), [[0, 0, 0], [0, 0, 4]])


def test_indices_beyond_the_last_tick_are_the_end_of_the_volume():
    lattice = build_lattice(scan(3, 4, 5), 0, 1.0)
    np.testing.assert_array_equal(lattice.place(np.array([[-0.3, 1.5, 6.9]])), [[-2, 0.5, 4.5]])


def test_pixels_are_kept_where_points_are_pixels():
    lattice = build_lattice(scan(3, 8, 9), 0, 1.0)
    np.testing.assert_array_equal(lattice.resample(image(8, 9))[1:-1, 1:-1], image(8, 9))


def test_finer_points_lie_on_a_smooth_curve_through_the_pixels():
    lattice = build_lattice(scan(3, 20, 30), 0, 0.25)
    fine = lattice.resample(image(20, 30))[1:-1, 1:-1, 0]
    np.testing.assert_allclose(fine[::4, ::4], image(20, 30)[..., 0], atol=1e-6)
    y, x = np.mgrid[:77, :117] / 4
    truth = np.sin(0.4 * y + 0.3 * x)
    np.testing.assert_allclose(fine[8:-8, 8:-8], truth[8:-8, 8:-8], atol=1e-3)  # linear interpolation: 2e-2


def test_pixels_of_other_sides_are_resampled_evenly():
    lattice = build_lattice(scan(3, 5, 5, spacing=(4.0, 2.0, 1.0)), 0, 1.0)
    assert lattice.resample(image(5, 5)).shape == (11, 7, 1)


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_few_pixels_take_a_spline_of_lower_degree(pixels):
    lattice = build_lattice(scan(3, pixels, 4), 0, 0.3)
    flat = np.full((pixels, 4, 1), 0.7, np.float32)
    np.testing.assert_allclose(lattice.resample(flat), 0.7, rtol=1e-6)


def test_ends_have_the_value_of_the_outermost_pixels():
    resampled = build_lattice(scan(3, 8, 9), 0, 1.0).resample(image(8, 9))
    np.testing.assert_array_equal(resampled[0], resampled[1])
    np.testing.assert_array_equal(resampled[:, -1], resampled[:, -2])


def test_spacing_with_too_many_points_is_refused():
    with pytest.raises(ValueError, match=r"^spacing must give at most 1,073,741,824 points, got .* for 1e-05 mm; take"):
        build_lattice(scan(3, 40, 50), 0, 1e-5)
