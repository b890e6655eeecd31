from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from medgs_core.annotation import annotate
from medgs_core.classical_labels import LABEL_METHODS, available_methods, interpolate_label_volume, interpolate_labels
from medgs_core.volume import Volume, stack_affine

METHODS = available_methods()
HEIGHT, WIDTH = 40, 48
WITH_DISTANCES = ("linear", "pchip")


def disk(radius, row=20.0, column=24.0):
    rows, columns = np.indices((HEIGHT, WIDTH))
    return np.hypot(rows - row, columns - column) < radius


def annotation_of(planes, slices=None, dtype=np.uint8, positions=None, unlabeled=None):
    """Return the annotation of some slices {number: labels} of a map, the others blank."""
    voxels = np.zeros((slices or max(planes) + 1, HEIGHT, WIDTH), dtype)
    for k, labels in planes.items():
        voxels[k] = labels
    volume = Volume(voxels, stack_affine((3.0, 0.5, 0.5)), positions=positions)
    return annotate(volume, 0, labeled_slices=tuple(planes), unlabeled=unlabeled)


def cone(slices=9, kept=4):
    """Return every 4th slice of a disk that grows by a pixel per slice, and all its slices."""
    truth = np.stack([disk(6.0 + k) * np.uint8(5) for k in range(slices)])
    return annotation_of({k: truth[k] for k in range(0, slices, kept)}), truth


def slices_at(annotation, places, method):
    """Return the label ids at some slice coordinates."""
    return interpolate_label_volume(annotation, np.array(places, np.float64), method)


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
    def test_annotated_slices_come_back_as_stored(self, method, dtype):
        planes = {0: disk(5) * 3, 4: disk(9) * 3 + disk(4) * 4, 7: disk(6) * 7}
        found = slices_at(annotation_of(planes, dtype=dtype), [0, 4, 7], method)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.stack(list(planes.values())))

    def test_beyond_the_ends_the_nearest_slice_stands(self, method):
        annotation = annotation_of({2: disk(5), 5: disk(9)}, slices=9)
        found = slices_at(annotation, [0, 1.5, 5.5, 8], method)
        np.testing.assert_array_equal(found, np.stack([disk(5), disk(5), disk(9), disk(9)]))

    def test_what_does_not_change_stays(self, method):
        plane = disk(9).astype(np.uint8) + disk(5)
        annotation = annotation_of(dict.fromkeys((0, 3, 6, 9), plane))
        for labels in slices_at(annotation, [1, 2, 3.5, 4, 8], method):
            np.testing.assert_array_equal(labels, plane)

    def test_one_slice_is_that_of_the_volume(self, method):
        annotation, _ = cone()
        several = slices_at(annotation, [6.0, 0.5, 3.0], method)
        for t, labels in zip((6.0, 0.5, 3.0), several, strict=True):
            np.testing.assert_array_equal(interpolate_labels(annotation, t, method), labels)

    def test_other_slices_are_not_looked_at(self, method):
        annotation, truth = cone()
        expected = slices_at(annotation, [1, 2, 6], method)
        annotation.volume.voxels[[1, 2, 3, 5, 6, 7]] = 255 - truth[[1, 2, 3, 5, 6, 7]]
        np.testing.assert_array_equal(slices_at(annotation, [1, 2, 6], method), expected)

    def test_unknown_pixels_are_background_between_slices(self, method):
        first = np.where(disk(8), 1, 255)
        annotation = annotation_of({0: first, 4: disk(8)}, unlabeled=255)
        if method != "nearest":
            np.testing.assert_array_equal(interpolate_labels(annotation, 1.0, method), disk(8))

    @pytest.mark.parametrize("t", [-0.1, 8.1, float("nan")])
    def test_places_outside_are_refused(self, method, t):
        with pytest.raises(ValueError, match=r"between the first and the last slice, 0 to 8, got .*; choose"):
            interpolate_labels(cone()[0], t, method)


def test_the_nearest_is_the_earlier_slice_half_way():
    annotation = annotation_of({0: disk(5), 4: disk(9)})
    found = slices_at(annotation, [1.9, 2.0, 2.1], "nearest")
    np.testing.assert_array_equal(found, np.stack([disk(5), disk(5), disk(9)]))


@pytest.mark.parametrize("method", WITH_DISTANCES)
def test_a_cone_comes_back(method):
    annotation, truth = cone()
    found = slices_at(annotation, list(range(9)), method)
    for k in range(9):
        assert overlap(found[k] == 5, truth[k] == 5) > 0.97


def test_uneven_positions_count():
    # slice 1 stands at three quarters of the gap: radius 5 + 3/4 of 8
    annotation = annotation_of({0: disk(5), 2: disk(13)}, positions=np.array([0.0, 3.0, 4.0]))
    assert overlap(interpolate_labels(annotation, 1.0) == 1, disk(11)) > 0.97


@pytest.mark.parametrize(("method", "gone"), [("linear", 12), ("pchip", 14)])
def test_a_structure_that_ends_shrinks_and_is_gone(method, gone):
    # linear: at half of the gap; PCHIP stays longer, since it leaves the last full slice level
    annotation = annotation_of({0: disk(9), 8: disk(9), 16: disk(0)})
    areas = (slices_at(annotation, range(8, 16), method) > 0).sum(axis=(1, 2))
    assert (np.diff(areas) <= 0).all()
    assert areas[gone - 9] > 0
    assert (areas[gone - 8 :] == 0).all()


@pytest.mark.parametrize("method", WITH_DISTANCES)
def test_neighbors_share_their_border(method):
    left = np.arange(WIDTH) < 16
    planes = {k: np.tile(np.where(np.arange(WIDTH) < 16 + k, 1, 2), (HEIGHT, 1)) for k in (0, 8, 16)}
    found = slices_at(annotation_of(planes), [4, 12], method)
    np.testing.assert_array_equal(found[0], np.tile(np.where(np.roll(left, 4) | left, 1, 2), (HEIGHT, 1)))
    assert (found > 0).all()


@pytest.mark.skipif("itk" not in METHODS, reason="ITK's contour interpolation is not installed")
class TestContours:
    def test_a_disk_that_moves_keeps_its_size(self):
        # the two disks hardly overlap, so signed distances leave half of them half-way
        annotation = annotation_of({0: disk(6, 20, 19), 4: disk(6, 20, 29)})
        assert overlap(interpolate_labels(annotation, 2.0, "itk") == 1, disk(6, 20, 24)) > 0.9
        assert overlap(interpolate_labels(annotation, 2.0, "linear") == 1, disk(6, 20, 24)) < 0.7

    def test_fractions_of_a_gap_are_found(self):
        annotation = annotation_of({0: disk(5), 1: disk(13)})
        areas = (slices_at(annotation, [0, 0.25, 0.5, 0.8, 1], "itk") > 0).sum(axis=(1, 2))
        assert (np.diff(areas) > 0).all()


def test_methods_that_are_not_there_are_refused(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("medgs_core.contours.distribution", absent)
    assert available_methods() == tuple(method for method in LABEL_METHODS if method != "itk")
    with pytest.raises(ValueError, match=r"must be installed, got 'itk' without its package; pip install itk-"):
        interpolate_labels(cone()[0], 1.0, "itk")
