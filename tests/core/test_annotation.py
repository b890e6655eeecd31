from dataclasses import replace

import numpy as np
import pytest

from medgs_core.annotation import annotate
from medgs_core.slices import stack_slices
from medgs_core.volume import Volume, stack_affine

SLICES = 12
AFFINE = stack_affine((3.0, 0.8, 0.5))


def labels_on(slices, dtype=np.uint8, label=7, fill=0):
    """Return a map (12, 5, 6) with a patch of one label on some slices."""
    voxels = np.full((SLICES, 5, 6), fill, dtype)
    voxels[list(slices), 1:3, 2:5] = label
    return Volume(voxels, AFFINE)


def image():
    return Volume(np.random.default_rng(0).random((SLICES, 5, 6)), AFFINE)


class TestWhichSlicesCount:
    @pytest.mark.parametrize("slices", [range(2, 9), (0, 4, 8), (3,)])
    def test_all_of_a_map_without_image_empty_ones_too(self, slices):
        assert annotate(labels_on(slices), 0).annotated == tuple(range(SLICES))

    @pytest.mark.parametrize("slices", [range(2, 9), range(SLICES), (5, 6)])
    def test_all_if_those_that_hold_labels_follow_one_another(self, slices):
        found = annotate(labels_on(slices), 0, image=image())
        assert found.annotated == tuple(range(SLICES))
        assert found.reason == "labeled slices: all 12"

    def test_only_those_that_hold_labels_if_there_are_gaps(self):
        found = annotate(labels_on((0, 4, 8)), 0, image=image())
        assert found.annotated == (0, 4, 8)
        assert found.reason == "labeled slices: 0, 4, 8"

    def test_the_user_decides(self):
        labels = labels_on((0, 4, 8))
        assert annotate(labels, 0, image=image(), labeled_slices="all").annotated == tuple(range(SLICES))
        assert annotate(labels, 0, labeled_slices=(8, 0, 3)).annotated == (0, 3, 8)

    def test_with_an_unlabeled_value_background_is_an_annotation(self):
        labels = labels_on((0, 4, 8), fill=255)
        labels.voxels[6, 0, 0] = 0  # one voxel of background
        found = annotate(labels, 0, image=image(), unlabeled=255)
        assert found.annotated == (0, 4, 6, 8)
        assert found.ids == (7,)

    @pytest.mark.parametrize("settings", [{}, {"labeled_slices": "all"}, {"image": image()}])
    def test_slices_that_nobody_labeled_never_do(self, settings):
        found = annotate(labels_on((3, 4, 5), fill=255), 0, unlabeled=255, **settings)
        assert found.annotated == (3, 4, 5)

    def test_many_are_told_in_short(self):
        assert annotate(labels_on((0, 1, 2, 3, 7, 9, 10)), 0, image=image()).reason == "labeled slices: 0-3, 7, 9, 10"
        voxels = np.zeros((60, 5, 6), np.uint8)
        voxels[::2, 1:3] = 1
        found = annotate(Volume(voxels, AFFINE), 0, image=Volume(voxels, AFFINE))
        assert found.reason == "labeled slices: 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 ..., 30 in all"


class TestClasses:
    def test_are_numbered_in_the_order_of_the_ids(self):
        voxels = np.zeros((3, 1, 5), np.uint16)
        voxels[0, 0], voxels[2, 0] = (0, 40, 3, 3, 9), (9, 0, 1000, 255, 40)
        found = annotate(Volume(voxels, AFFINE), 0, unlabeled=255)
        assert found.ids == (3, 9, 40, 1000)
        assert found.classes(0).tolist() == [[0, 3, 1, 1, 2]]
        assert found.classes(2).tolist() == [[2, 0, 4, -1, 3]]
        assert found.classes(2).dtype == np.int32

    def test_labels_on_other_slices_are_no_classes(self):
        labels = labels_on((0, 4, 8))
        labels.voxels[2, 0, 0] = 5
        found = annotate(labels, 0, labeled_slices=(0, 4))
        assert found.ids == (7,)
        assert found.classes(2).max() == 0

    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64, np.uint64, np.float32, np.float64])
    def test_any_type_of_whole_numbers_will_do(self, dtype):
        found = annotate(labels_on(range(4), dtype), 0)
        assert found.ids == (7,)
        assert found.plane(0).dtype == dtype
        assert found.classes(0).sum() == 6

    def test_ids_beyond_float64_are_told_apart(self):
        voxels = np.array([2**63, 2**63 + 1], np.uint64).reshape(2, 1, 1)
        found = annotate(Volume(voxels, AFFINE), 0)
        assert (found.classes(0).item(), found.classes(1).item()) == (1, 2)

    def test_the_value_of_unlabeled_voxels_may_be_negative(self):
        found = annotate(labels_on((0, 5), np.int16, fill=-1), 0, unlabeled=-1)
        assert np.unique(found.classes(0)).tolist() == [-1, 1]


class TestGeometry:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_planes_are_those_of_a_stack(self, axis):
        labels = Volume(np.random.default_rng(0).integers(0, 4, (4, 5, 6)), AFFINE)
        found, stack = annotate(labels, axis), stack_slices(labels, axis)
        assert (len(found), found.height, found.width) == (len(stack), stack.height, stack.width)
        np.testing.assert_array_equal(found.positions, stack.positions)
        for k in range(len(stack)):
            np.testing.assert_array_equal(found.plane(k), stack.planes[k, ..., 0])

    def test_spacing_is_that_of_rows_and_columns(self):
        assert annotate(labels_on((0, 1)), 0).spacing == pytest.approx((0.8, 0.5))
        assert annotate(labels_on((0, 1)), 1).spacing == pytest.approx((3.0, 0.5))

    def test_a_channel_axis_of_one_is_none(self):
        labels = labels_on((0, 1))
        assert annotate(replace(labels, voxels=labels.voxels[..., np.newaxis]), 0).plane(0).shape == (5, 6)

    def test_positions_of_the_image_hold_for_labels_without(self):
        positions = np.arange(SLICES) ** 1.5
        found = annotate(labels_on((0, 4)), 0, image=replace(image(), positions=positions))
        np.testing.assert_array_equal(found.positions, positions)


ONE, MANY = labels_on((4,)), labels_on((0, 4, 8))
FRACTIONS = Volume(MANY.voxels + np.float32(0.25), AFFINE)
WRONG = {
    "fractions": (FRACTIONS, {}, r"Labels must be whole numbers, got 0\.25; give"),
    "negative": (labels_on((0, 4), np.int8, -3), {}, r"Labels must not be negative, got -3; renumber"),
    "channels": (Volume(np.zeros((3, 4, 5, 2), np.uint8), AFFINE), {}, r"Labels must have one channel, got 2; write"),
    "empty": (labels_on(()), {"image": image()}, r"must mark at least two slices, got an empty map; paint"),
    "empty alone": (labels_on(()), {}, r"must mark at least two slices, got an empty map; paint"),
    "unlabeled": (labels_on((), fill=9), {"unlabeled": 9}, r"at least two slices, got an empty map; paint"),
    "one slice": (ONE, {"image": image()}, r"at least 2 annotated slices, got 1, slice 4; paint one more"),
    "one named": (MANY, {"labeled_slices": (4,)}, r"at least 2 annotated slices, got 1, slice 4; paint one more"),
    "background": (MANY, {"labeled_slices": (1, 2, 5)}, r"other than background, got none on 1, 2, 5; paint"),
    "not there": (MANY, {"labeled_slices": (0, 12)}, r"by their numbers from 0, got 12 for 12 slices; correct"),
    "below": (MANY, {"labeled_slices": (-1, 4)}, r"by their numbers from 0, got -1 for 12 slices; correct"),
    "twice": (MANY, {"labeled_slices": (4, 0, 4)}, r"must be named once each, .* got 4 twice; correct"),
    "none": (MANY, {"labeled_slices": ()}, r"got an empty list; leave it out"),
    "nobody": (
        labels_on((0, 4), fill=9),
        {"labeled_slices": (0, 5), "unlabeled": 9},
        r"must hold labels, got slice 5, all unlabeled; leave it out",
    ),
    "shape": (
        Volume(MANY.voxels[1:], AFFINE),
        {"image": image()},
        r"^Labels must be on the grid of their image, got shapes \(12, 5, 6\) and \(11, 5, 6\) of the image and the "
        r"labels; resample",
    ),
    "affine": (
        replace(MANY, affine=stack_affine((3.0, 0.8, 0.6))),
        {"image": image()},
        r"on the grid of their image, got affines \[\[.*\]\] of the image and the labels, .* up to 0\.5 mm apart",
    ),
    "positions": (
        replace(MANY, positions=np.arange(12.0) ** 2),
        {"image": image()},
        r"on the grid of their image, got slice positions .* that are not as many; give",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_annotated_is_refused(what):
    labels, settings, said = WRONG[what]
    with pytest.raises(ValueError, match=said) as error:
        annotate(labels, 0, **settings)
    assert str(error.value).endswith(".")
    assert str(error.value).count("; ") == 1
