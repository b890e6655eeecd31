import numpy as np
import pytest
from skimage.measure import find_contours, perimeter

from medgs_core.outlines import (
    GUIDE_LEVELS,
    GUIDE_REACH,
    REACH,
    STAIR_SIGMA,
    guide_plane,
    pixel_sides,
    smooth_border,
)
from medgs_core.signed_distance import signed_distance

from ._annotations import HEIGHT, WIDTH, disk, outlines_of

SQUARE = (1.0, 1.0)
EMPTY = np.zeros((HEIGHT, WIDTH), bool)
BIG = disk(28, radius=12)


def ending_of(mask, **place):
    """Return the ending of a mask that the next slice does not hold."""
    gap = outlines_of([mask, EMPTY], **place).gap(0, 1)
    (ending,) = gap.first
    assert gap.second == ()
    return ending


class TestGuide:
    def test_is_half_way_at_a_border_and_full_beyond_its_reach(self):
        classes = np.zeros((12, 40), np.int32)
        classes[:, 20:] = 1
        plane = guide_plane(classes, SQUARE)
        distance = np.clip((np.arange(40) - 19.5) / GUIDE_REACH, -1, 1)
        np.testing.assert_array_equal(plane[5], np.rint(GUIDE_LEVELS * (0.5 + 0.5 * distance)))

    def test_shows_the_border_between_classes_that_touch(self):
        classes = np.ones((12, 40), np.int32)
        classes[:, 20:] = 2
        row = guide_plane(classes, SQUARE)[5]
        assert row[0] == row[-1] == GUIDE_LEVELS
        assert row[19] == row[20] < 0.6 * GUIDE_LEVELS

    def test_unknown_pixels_are_outside(self):
        classes = np.where(disk(20), 1, 0).astype(np.int32)
        unknown = np.where(disk(20), 1, -1).astype(np.int32)
        np.testing.assert_array_equal(guide_plane(unknown, SQUARE), guide_plane(classes, SQUARE))

    def test_measures_in_the_finer_pixel_side(self):
        classes = np.zeros((20, 20), np.int32)
        classes[10:] = 1
        plane = guide_plane(classes, (2.0, 1.0))
        assert plane[10, 0] == np.rint(GUIDE_LEVELS * (0.5 + 0.5 / GUIDE_REACH))  # one pixel from the border


class TestSmoothBorder:
    @pytest.mark.parametrize("sides", [SQUARE, (1.0, 2.5), (3.0, 1.0)])
    @pytest.mark.parametrize("seed", range(3))
    def test_keeps_every_pixel_on_its_side(self, sides, seed):
        mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.4
        mask |= BIG
        smooth = smooth_border(signed_distance(mask, sides), sides)
        np.testing.assert_array_equal(smooth > 0, mask)

    def test_leaves_structures_of_one_or_two_pixels_as_they_are(self):
        mask = EMPTY.copy()
        mask[5, 7], mask[20, 30:50], mask[30:32, 3:20] = True, True, True
        distances = signed_distance(mask)
        smooth = smooth_border(distances, SQUARE)
        np.testing.assert_array_equal(smooth[mask], distances[mask])

    def test_takes_the_stairs_from_a_disk(self):
        distances = signed_distance(disk(28, 20.3, 14.0))
        (stairs,), (smooth,) = (find_contours(field, 0.0) for field in (distances, smooth_border(distances, SQUARE)))
        lengths = [np.linalg.norm(np.diff(contour, axis=0), axis=1).sum() for contour in (stairs, smooth)]
        circle = 2 * np.pi * 14.0
        assert lengths[0] > 1.03 * circle
        assert lengths[1] == pytest.approx(circle, rel=0.015)
        assert perimeter(disk(28, 20.3, 14.0)) < lengths[0]  # those of the mask itself lie inside its pixels


class TestDistances:
    def test_are_zero_half_way_between_pixels_of_flat_borders(self):
        mask = EMPTY.copy()
        mask[:, 28:] = True
        row = outlines_of([mask, mask]).distances(0, 0)[20]
        assert row[27] == pytest.approx(-row[28])

    def test_reach_so_far_and_no_farther(self):
        dot = np.zeros((12, 120), bool)
        dot[6, 2] = True
        plane = outlines_of([dot, dot]).distances(0, 0)
        assert plane.min() == -REACH

    def test_of_a_class_do_not_depend_on_the_others(self):
        alone = outlines_of([disk(15), disk(15)])
        planes = [np.where(disk(15), 2, np.where(disk(27), 1, 0))] * 2
        np.testing.assert_array_equal(outlines_of(planes).distances(1, 1), alone.distances(1, 0))

    def test_know_which_slices_hold_a_class(self):
        outlines = outlines_of([disk(15), 2 * disk(30), disk(15) + 2 * disk(40)])
        np.testing.assert_array_equal(outlines.present, [[True, False], [False, True], [True, True]])
        assert outlines.box(0, 1) is None
        np.testing.assert_array_equal(outlines.distances(1, 1) > 0, disk(30))
        np.testing.assert_array_equal(outlines.distances(2, 1) > 0, disk(40))

    def test_are_measured_in_the_finer_pixel_side(self):
        mask = EMPTY.copy()
        mask[20:] = True
        outlines = outlines_of([mask, mask], spacing=(3.0, 0.8, 0.4))
        assert pixel_sides(outlines.annotation) == pytest.approx((2.0, 1.0))
        column = outlines.distances(0, 0)[:, 20]
        assert column[25] - column[24] == pytest.approx(2.0, rel=1e-5)
        assert column[24] == pytest.approx(9.0, rel=0.02)  # four rows and a half

    def test_rows_count_annotated_slices_alone(self):
        outlines = outlines_of([disk(15), EMPTY, disk(30), EMPTY, disk(45)], rows=(0, 2, 4))
        assert len(outlines) == 3
        np.testing.assert_array_equal(outlines.positions, [0.0, 6.0, 12.0])
        np.testing.assert_array_equal(outlines.distances(1, 0) > 0, disk(30))


class TestEndings:
    @pytest.mark.parametrize("gone", [0.1, 0.2, 0.3, 0.4])
    def test_area_of_a_disk_falls_linearly_to_zero_half_way(self, gone):
        ending = ending_of(BIG)
        area = np.count_nonzero(ending.ridge - gone * ending.depth > 0)
        # a twentieth of the disk: pixels are whole
        assert area == pytest.approx((1 - 2 * gone) * BIG.sum(), abs=0.05 * BIG.sum())

    @pytest.mark.parametrize("mask", [BIG, disk(10, 10, 0.4), disk(20, radius=5) | disk(40, radius=9)])
    def test_nothing_is_left_half_way_and_all_at_the_slice(self, mask):
        ending = ending_of(mask)
        np.testing.assert_array_equal(ending.ridge > 0, mask)
        assert not (ending.ridge - 0.501 * ending.depth > 0).any()
        assert (ending.ridge - 0.45 * ending.depth > 0).any()

    def test_components_end_each_by_its_own_depth(self):
        small, large = disk(14, radius=3), disk(40, radius=10)
        left = ending_of(small | large)
        half = left.ridge - 0.25 * left.depth > 0
        for mask in (small, large):
            # half of the area, to a pixel around the border of what is left
            assert (half & mask).sum() == pytest.approx(mask.sum() / 2, abs=np.sqrt(2 * np.pi * mask.sum()))

    def test_depth_is_measured_in_the_finer_pixel_side(self):
        ending = ending_of(BIG, spacing=(3.0, 2.0, 1.0))
        # 12.5 columns to the side, 25 upwards; blurring a cone takes 1.25 sigma off its tip
        assert ending.depth[20, 28] == pytest.approx(12.5 - 1.25 * STAIR_SIGMA, abs=0.5)

    def test_components_that_meet_do_not_end(self):
        gap = outlines_of([disk(20), disk(24)]).gap(0, 1)
        assert (gap.first, gap.second) == ((), ())

    def test_one_that_does_not_meet_ends_alone(self):
        gap = outlines_of([disk(14) | disk(44, radius=4), disk(14, radius=7)]).gap(0, 1)
        (ending,) = gap.first
        assert gap.second == ()
        np.testing.assert_array_equal(ending.ridge > 0, disk(44, radius=4))

    def test_one_that_the_flow_carries_across_meets(self):
        apart = [disk(20, radius=5), disk(31, radius=5)]
        assert not (apart[0] & apart[1]).any()
        gap = outlines_of(apart).gap(0, 1)
        assert (gap.first, gap.second) == ((), ())

    def test_a_class_on_the_second_slice_alone_begins_there(self):
        gap = outlines_of([disk(14), disk(14) + 2 * disk(40)]).gap(0, 1)
        assert gap.classes.tolist() == [0, 1]
        assert gap.first == ()
        (ending,) = gap.second
        assert ending.place == 1

    def test_components_of_two_classes_end_by_themselves(self):
        gap = outlines_of([disk(14) + 2 * disk(40), EMPTY, disk(14)]).gap(0, 1)
        assert [ending.place for ending in gap.first] == [0, 1]
        assert gap.nbytes == 2 * 2 * HEIGHT * WIDTH * 4
