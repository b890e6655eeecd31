import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from medgs_core.signed_distance import far_distance, signed_distance, signed_distances

TOLERANCE = 1e-5
"""Of distances up to 100 pixels in float32."""


def disk(radius, spacing=(1.0, 1.0), shape=(61, 81)):
    """Return a disk about the center, and the true signed distance of every pixel."""
    rows, columns = np.indices(shape)
    truth = radius - np.hypot((rows - shape[0] // 2) * spacing[0], (columns - shape[1] // 2) * spacing[1])
    return truth > 0, truth


def patches(shape=(70, 90), count=6):
    """Return classes in patches of some pixels, background between them."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((count + 1, *shape)), (0, 5, 5))
    return noise.argmax(axis=0).astype(np.int32)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.5), (2.0, 0.5), (0.3, 0.9)])
def test_a_straight_border_lies_half_way_between_pixel_centers(spacing):
    row, column = spacing
    mask = np.zeros((5, 6), bool)
    mask[:, 2:] = True
    across = (np.arange(6) - 1.5) * column  # -1.5, -0.5, 0.5 .. columns
    np.testing.assert_allclose(signed_distance(mask, spacing), np.tile(across, (5, 1)), rtol=TOLERANCE)
    down = (np.arange(6) - 1.5) * row
    np.testing.assert_allclose(signed_distance(mask.T, spacing), np.tile(down, (5, 1)).T, rtol=TOLERANCE)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.5)])
def test_of_a_disk_it_is_the_distance_to_the_circle(spacing):
    mask, truth = disk(12.0, spacing)
    # a digital circle is within half a pixel of the true one
    assert np.abs(signed_distance(mask, spacing) - truth).max() < 0.75 * max(spacing)


@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_both_transforms_agree(scale):
    mask = patches() == 1
    expected = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask)) * scale
    np.testing.assert_allclose(signed_distance(mask, (scale, scale)), expected, atol=TOLERANCE)
    nearly = signed_distance(mask, (scale, scale * (1 + 1e-5)))  # too far from equal for the fast transform
    np.testing.assert_allclose(nearly, expected, atol=1e-3)


def test_the_complement_has_the_opposite_sign():
    mask = patches() == 1
    np.testing.assert_array_equal(signed_distance(~mask), -signed_distance(mask))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0)])
def test_slices_without_border_are_as_far_as_the_slice_is_long(spacing):
    # the diagonal of 3 rows and 4 columns
    far = np.float32(np.hypot(3 * spacing[0], 4 * spacing[1]))
    assert far_distance((3, 4), spacing) == pytest.approx(float(far))
    assert (signed_distance(np.ones((3, 4), bool), spacing) == far).all()
    assert (signed_distance(np.zeros((3, 4), bool), spacing) == -far).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.4, 1.0)])
@pytest.mark.parametrize("reach", [0.2, 3.0, 500.0])
def test_crops_change_nothing_within_reach(spacing, reach):
    classes = patches()
    clipped = signed_distances(classes, 8, spacing, reach)
    assert clipped.shape == (70, 90, 8)
    assert clipped.dtype == np.float32
    whole = signed_distances(classes, 8, spacing).clip(-reach, reach)
    np.testing.assert_allclose(clipped, whole, atol=TOLERANCE)


def test_each_class_has_the_distance_of_its_mask():
    classes = patches()
    distances = signed_distances(classes, 6)
    for number in range(6):
        np.testing.assert_array_equal(distances[..., number], signed_distance(classes == number + 1))


def test_the_same_mask_has_the_same_distances_to_the_last_bit():
    mask = patches((300, 401)) == 1
    for _ in range(20):
        np.testing.assert_array_equal(signed_distance(mask.copy()), signed_distance(mask))


def test_absent_and_unknown_classes_are_nowhere():
    classes = np.array([[-1, 0, 3, 3]], np.int32)
    distances = signed_distances(classes, 3)
    assert (distances[..., :2] == -np.float32(np.hypot(1, 4))).all()
    assert distances[0, :, 2].tolist() == [-1.5, -0.5, 0.5, 1.5]


def test_a_class_that_fills_the_slice_is_clipped_too():
    assert np.unique(signed_distances(np.ones((4, 5), np.int32), 1, reach=2.0)).tolist() == [2.0]
