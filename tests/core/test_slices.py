import numpy as np
import pytest

from medgs_core.slices import stack_slices
from medgs_core.volume import IntensityWindow, Volume

from ._stacks import UNEVEN, random_images, stack_of


def volume_of(shape=(4, 5, 6), dtype=np.int16, **more):
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return Volume(voxels, np.diag([1.0, 2.0, 3.0, 1.0]), **more)


@pytest.mark.parametrize(
    ("axis", "shape", "step"), [(0, (4, 5, 6, 1), 1.0), (1, (5, 4, 6, 1), 2.0), (2, (6, 4, 5, 1), 3.0)]
)
def test_slices_run_along_the_axis_and_keep_the_order_of_the_others(axis, shape, step):
    volume = volume_of()
    stack = stack_slices(volume, axis)
    assert stack.planes.shape == shape
    assert (len(stack), stack.height, stack.width, stack.channels) == shape
    assert np.array_equal(stack.planes[3, ..., 0], np.take(volume.voxels, 3, axis))
    assert np.array_equal(stack.positions, step * np.arange(shape[0]))


def test_slices_are_views_of_the_volume():
    volume = volume_of()
    assert all(np.shares_memory(stack_slices(volume, axis).planes, volume.voxels) for axis in range(3))


def test_channels_stay_last():
    volume = volume_of((4, 5, 6, 7))
    stack = stack_slices(volume, 1)
    assert stack.planes.shape == (5, 4, 6, 7)
    assert np.array_equal(stack.planes[2], volume.voxels[:, 2])


def test_positions_of_the_volume_go_before_its_affine():
    uneven = np.array([0.0, 1.0, 5.0, 6.5])
    assert np.array_equal(stack_slices(volume_of(positions=uneven), 0).positions, uneven)


def test_positions_for_another_axis_are_refused():
    volume = volume_of(positions=np.array([0.0, 1.0, 5.0, 6.5]))
    with pytest.raises(ValueError, match="one position for each of the 6 slices along axis 2, got 4"):
        stack_slices(volume, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.float32, np.float64, ">i2"])
def test_unit_intensities_are_clipped_only_where_asked(dtype):
    volume = Volume(np.array([[[0, 25, 50, 100, 120]]]).astype(dtype), np.eye(4))
    stack = stack_slices(volume, 0, IntensityWindow(20.0, 100.0))
    # (v - 20) / 80
    assert stack.unclipped(0)[0, :, 0] == pytest.approx([-0.25, 0.0625, 0.375, 1.0, 1.25], abs=1e-7)
    assert stack.image(0)[0, :, 0] == pytest.approx([0.0, 0.0625, 0.375, 1.0, 1.0], abs=1e-7)
    assert stack.image(0).dtype == stack.unclipped(0).dtype == np.float32


def test_the_window_is_robust_if_none_is_given():
    voxels = np.arange(1001.0).reshape(7, 11, 13)
    window = stack_slices(Volume(voxels, np.eye(4)), 0).window
    # the 0.5 and 99.5 percentiles of 0..1000
    assert (window.low, window.high) == pytest.approx((5.0, 995.0), abs=1e-9)


def test_windows_of_another_number_of_channels_are_refused():
    window = IntensityWindow((0.0, 1.0), (2.0, 3.0))
    assert stack_slices(volume_of((4, 5, 6, 2)), 0, window).window == window
    for shape in ((4, 5, 6), (4, 5, 6, 3)):
        with pytest.raises(ValueError, match=r"one for each of the [13] channels, got 2; give as many"):
            stack_slices(volume_of(shape), 0, window)


def test_the_robust_window_does_not_look_at_skipped_slices():
    volume = volume_of((4, 5, 6), np.float64)
    volume.voxels[2] = 1e20
    rest = np.delete(volume.voxels, 2, 0)
    window = stack_slices(volume, 0, skipped=(2,)).window
    assert (window.low, window.high) == tuple(np.percentile(rest, (0.5, 99.5)))


def test_a_constant_volume_has_finite_unit_intensities():
    stack = stack_slices(Volume(np.full((3, 4, 5), 7, np.uint8), np.eye(4)), 0)
    assert np.array_equal(stack.images(), np.zeros((3, 4, 5, 1)))


def test_images_are_all_slices_in_order():
    images = random_images(4)
    assert np.array_equal(stack_of(images).images(), images)


def test_selected_slices_keep_positions_and_window_and_are_a_copy():
    stack = stack_of(random_images(7), UNEVEN)
    chosen = stack.select([0, 3, 6])
    assert np.array_equal(chosen.planes, stack.planes[[0, 3, 6]])
    assert chosen.positions.tolist() == [0.0, 2.9, 6.5]
    assert chosen.window == stack.window
    assert not np.shares_memory(chosen.planes, stack.planes)


@pytest.mark.parametrize(
    ("t", "gap", "alpha"), [(0.0, 0, 0.0), (0.25, 0, 0.25), (1.0, 1, 0.0), (1.5, 1, 0.5), (2.0, 1, 1.0)]
)
def test_bracket_is_the_gap_and_the_fraction_of_it(t, gap, alpha):
    assert stack_of(random_images(3)).bracket(t) == (gap, alpha)


def test_a_single_slice_is_its_own_bracket():
    assert stack_of(random_images(1)).bracket(0.0) == (0, 0.0)


def test_positions_are_linear_in_t_between_slices():
    stack = stack_of(random_images(7), UNEVEN)
    assert stack.z_at(1.5) == pytest.approx(0.5 * (0.7 + 2.2), abs=1e-12)
    assert stack.t_at(3.75) == pytest.approx(3.5, abs=1e-12)  # half-way from 2.9 to 4.6


def test_whole_coordinates_are_exact_positions_and_back():
    stack = stack_of(random_images(7), 1e4 + UNEVEN / 3)
    assert [stack.z_at(float(k)) for k in range(7)] == stack.positions.tolist()
    assert [stack.t_at(float(z)) for z in stack.positions] == list(range(7))


def test_beyond_the_stack_lies_the_end_slice():
    stack = stack_of(random_images(7), UNEVEN)
    assert (stack.z_at(-1.0), stack.z_at(9.0), stack.t_at(-1.0), stack.t_at(99.0)) == (0.0, 6.5, 0.0, 6.0)
