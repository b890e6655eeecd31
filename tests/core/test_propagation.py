import numpy as np
import pytest
from scipy.ndimage import label as components_of

from medgs_core.cache import RecentlyUsed
from medgs_core.chaining import Chains
from medgs_core.overlap import dice
from medgs_core.propagation import LIMIT, WAYS, Propagation, place_among

from ._annotations import (
    ALONG_OUTLINES,
    HEIGHT,
    MEMORY,
    STRAIGHT,
    WIDTH,
    Shifting,
    disk,
    outlines_of,
    propagation_of,
    shape_at,
)

GAP = 3.0
"""Distance between the slices of the maps, in their unit."""

EMPTY = np.zeros((HEIGHT, WIDTH), bool)
BOTH_WAYS = pytest.mark.parametrize("weights", [STRAIGHT, ALONG_OUTLINES], ids=["straight", "outline"])
BORDER = 0.15
"""Share of a disk of radius 6 that whole pixels at its border may add or take, or the flow of what vanishes."""


def ellipse(half_width, half_height):
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return ((rows - 20) / half_height) ** 2 + ((columns - 28) / half_width) ** 2 <= 1


def area_at(propagation, z, weights, label=0):
    return np.count_nonzero(shape_at(propagation, z, weights, label))


class Asked(Propagation):
    """Remembers which ways were carried."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.carried = []

    def by_way(self, place, ways):
        self.carried.append(ways)
        return super().by_way(place, ways)


class TestPlaces:
    rows = (0, 2, 3, 7, 8)
    positions = np.arange(10) ** 2.0

    @pytest.mark.parametrize(
        ("z", "rows", "gap"),
        [
            (1.0, (0, 2, 3), 0),
            (8.0, (0, 2, 3, 7), 1),
            (9.0, (2, 3, 7, 8), 1),
            (50.0, (3, 7, 8), 1),
            (64.0, (3, 7, 8), 1),
        ],
    )
    def test_look_at_two_rows_on_each_side_at_most(self, z, rows, gap):
        place = place_among(self.rows, self.positions, z)
        assert (place.rows, place.gap, place.z) == (rows, gap, z)


class TestAnnotatedSlices:
    @BOTH_WAYS
    @pytest.mark.parametrize("positions", [None, np.array([0.0, 1.0, 5.0, 5.5, 12.0])])
    def test_come_back_as_they_were_drawn(self, weights, positions):
        random = np.random.default_rng(0)
        planes = [1 * disk(20 + 3 * k) + 2 * disk(44, radius=k) for k in range(5)]
        planes[2] = random.integers(0, 3, (HEIGHT, WIDTH))
        propagation = propagation_of(planes, positions=positions)
        for row, z in enumerate(propagation.outlines.positions):
            classes, fields = propagation.fields(float(z), weights)
            drawn = np.array([planes[row] == number + 1 for number in classes])
            np.testing.assert_array_equal(fields > 0, drawn)
            assert set(classes + 1) == set(np.unique(planes[row])) - {0}

    @BOTH_WAYS
    @pytest.mark.parametrize("z", [0.0, 1.0, 4.5, 10.0, 12.0])
    def test_fields_stay_within_the_limit(self, weights, z):
        planes = [disk(14), disk(20) + 2 * disk(44), EMPTY, disk(40), disk(40)]
        _, fields = propagation_of(planes).fields(z, weights)
        assert fields.dtype == np.float32
        assert np.abs(fields).max() <= LIMIT + 1e-5  # weights add to one but for rounding

    def test_only_classes_of_the_slices_beside_are_there(self):
        propagation = propagation_of([disk(14), disk(14), 2 * disk(30), 2 * disk(30)])
        for z, expected in ((1.0, [0]), (4.0, [0, 1]), (7.0, [1])):
            assert propagation.fields(z, STRAIGHT)[0].tolist() == expected


class TestMoving:
    @pytest.mark.parametrize("step", [8, 10, 12])
    @pytest.mark.parametrize("t", [0.5, 1.25, 1.5])
    def test_disk_is_carried_better_along_its_outline_than_straight(self, step, t):
        propagation = propagation_of([disk(12 + step * k, radius=5) for k in range(4)])
        truth = disk(12 + step * t, radius=5)
        straight, along = (
            dice(shape_at(propagation, GAP * t, weights), truth) for weights in (STRAIGHT, ALONG_OUTLINES)
        )
        assert along > 0.96  # a pixel of its border here and there
        assert along > straight + 0.05

    @BOTH_WAYS
    def test_growing_disk_has_the_radius_between_by_position_not_by_number(self, weights):
        positions = np.array([0.0, 1.0, 5.0, 6.0])
        propagation = propagation_of([disk(28, radius=4 + 2 * z) for z in positions], positions=positions)
        for z in (0.5, 2.0, 3.0, 4.5):
            radius = np.sqrt(area_at(propagation, z, weights) / np.pi)
            assert radius == pytest.approx(4 + 2 * z, abs=0.35)  # of a pixel

    @BOTH_WAYS
    def test_classes_that_travel_together_keep_their_border(self, weights):
        planes = [1 * disk(16 + 2 * k, radius=9) * (np.arange(WIDTH) <= 16 + 2 * k) for k in range(3)]
        planes = [plane + 2 * (disk(16 + 2 * k, radius=9) & (plane == 0)) for k, plane in enumerate(planes)]
        _, fields = propagation_of(planes).fields(GAP / 2, weights)
        row = fields[:, 20, :]
        meeting = np.flatnonzero(row[0] > row[1]).max()
        assert meeting in (16, 17)
        assert np.abs(row[:, meeting : meeting + 2]).max() < 1.5  # both near zero where they meet

    def test_weights_share_what_the_ways_bring(self):
        propagation = propagation_of([disk(12 + 8 * k, radius=5) for k in range(3)])
        (_, straight), (_, along), (_, mixed) = (
            propagation.fields(4.0, weights) for weights in (STRAIGHT, ALONG_OUTLINES, (0.25, 0.75))
        )
        np.testing.assert_allclose(mixed, 0.25 * straight + 0.75 * along, atol=1e-5)


class TestEnding:
    @BOTH_WAYS
    def test_structure_of_one_of_two_slices_ends_half_way(self, weights):
        propagation = propagation_of([disk(20)] * 3 + [EMPTY] * 2)
        whole = disk(20).sum()
        assert area_at(propagation, GAP * 2.0, weights) == whole
        assert area_at(propagation, GAP * 2.1, weights) == pytest.approx(0.8 * whole, abs=BORDER * whole)
        assert area_at(propagation, GAP * 2.25, weights) == pytest.approx(0.5 * whole, abs=BORDER * whole)
        assert area_at(propagation, GAP * 2.45, weights) > 0
        assert area_at(propagation, GAP * 2.51, weights) == 0
        assert area_at(propagation, GAP * 2.9, weights) == 0

    @BOTH_WAYS
    def test_it_does_not_end_slices_too_early_in_a_wide_gap(self, weights):
        planes = [EMPTY] * 17
        planes[0] = planes[8] = disk(20)
        propagation = propagation_of(planes, rows=(0, 8, 16))
        areas = [area_at(propagation, GAP * k, weights) for k in range(8, 14)]
        assert areas == sorted(areas, reverse=True)
        assert areas[2] > 0.3 * disk(20).sum()  # at a quarter of the gap
        assert areas[3] > 0
        assert areas[5] == 0

    @BOTH_WAYS
    def test_it_appears_as_it_ends(self, weights):
        ends = propagation_of([disk(20), disk(20), EMPTY])
        begins = propagation_of([EMPTY, disk(20), disk(20)])
        for apart in (0.1, 0.3, 0.45, 0.6):
            np.testing.assert_array_equal(
                shape_at(begins, GAP * (1 - apart), weights), shape_at(ends, GAP * (1 + apart), weights)
            )

    @BOTH_WAYS
    def test_component_ends_while_the_rest_of_its_class_goes_on(self, weights):
        planes = [disk(12) | disk(44, radius=5), disk(12) | disk(44, radius=5), disk(12), disk(12)]
        propagation = propagation_of(planes)
        early, late = (shape_at(propagation, GAP * t, weights) for t in (1.2, 1.6))
        assert early[20, 44]
        assert not late[:, 30:].any()
        for shape in (early, late):
            assert dice(shape[:, :30], disk(12)[:, :30]) > 0.97

    @pytest.mark.parametrize(("first", "second"), [(1, 0), (0, 1)])
    def test_one_pixel_is_there_until_half_way(self, first, second):
        dot = EMPTY.copy()
        dot[20, 20] = True
        planes = [dot if held else EMPTY for held in (first, second)]
        propagation = propagation_of(planes)
        near, far = (0.4, 0.6) if first else (0.6, 0.4)
        assert shape_at(propagation, GAP * near, STRAIGHT).sum() == 1
        assert shape_at(propagation, GAP * far, STRAIGHT).sum() == 0


class TestSplitting:
    pair = disk(14) | disk(42)
    triple = disk(10, radius=5) | disk(28, radius=5) | disk(46, radius=5)

    def test_two_parts_have_no_bridge_in_the_middle(self):
        propagation = propagation_of([ellipse(20, 8), self.pair])
        assert components_of(shape_at(propagation, GAP / 2, STRAIGHT))[1] == 2

    @BOTH_WAYS
    @pytest.mark.parametrize(("parts", "count"), [(pair, 2), (triple, 3)], ids=["2", "3"])
    def test_parts_are_as_many_as_there_will_be(self, weights, parts, count):
        propagation = propagation_of([ellipse(22, 8), parts])
        assert components_of(shape_at(propagation, 0.1 * GAP, weights))[1] == 1
        for part in (0.75, 0.9):
            assert components_of(shape_at(propagation, part * GAP, weights))[1] == count

    @BOTH_WAYS
    def test_merging_is_splitting_in_reverse(self, weights):
        splits, merges = propagation_of([ellipse(20, 8), self.pair]), propagation_of([self.pair, ellipse(20, 8)])
        for part in (0.25, 0.75):
            one, other = (shape_at(p, z * GAP, weights) for p, z in ((splits, part), (merges, 1 - part)))
            assert dice(one, other) > 0.95  # the supple flow is not quite the same in both directions


class TestBeyond:
    planes = (EMPTY, EMPTY, disk(20), EMPTY, EMPTY, disk(32), EMPTY, EMPTY)

    def propagation(self, chains=None):
        return propagation_of(self.planes, rows=(2, 5), chains=chains)

    @pytest.mark.parametrize(("z", "expected"), [(0.0, disk(20)), (4.0, disk(20)), (17.0, disk(32)), (21.0, disk(32))])
    def test_the_end_goes_on_as_it_is_without_an_image(self, z, expected):
        np.testing.assert_array_equal(shape_at(self.propagation(), z, STRAIGHT), expected)

    @pytest.mark.parametrize("flow", ["supple", "both"])
    @pytest.mark.parametrize(("t", "expected"), [(0, disk(12)), (1, disk(16)), (6, disk(36)), (7, disk(40))])
    def test_the_end_follows_the_image(self, t, expected, flow):
        flows = Shifting((4.0, 0.0), slices=8, flow=flow, positions=GAP * np.arange(8))
        propagation = self.propagation(Chains(flows, RecentlyUsed(MEMORY)))
        np.testing.assert_array_equal(shape_at(propagation, GAP * t, (0.0, 0.0, 1.0)), expected)


class TestImage:
    def propagation(self, kind=Propagation):
        """Return what carries a disk that turns back between two annotated slices, as only its image tells."""
        steps = [(5.0, 0.0)] * 2 + [(-5.0, 0.0)] * 2 + [(2.0, 0.0)] * 4
        flows = Shifting(steps, positions=GAP * np.arange(9))
        planes = [EMPTY] * 9
        planes[0], planes[4], planes[8] = disk(20), disk(20), disk(28)
        outlines = outlines_of(planes, rows=(0, 4, 8))
        return kind(outlines, Chains(flows, RecentlyUsed(MEMORY)))

    @pytest.mark.parametrize(("t", "x"), [(1, 25), (2, 30), (3, 25), (6, 24)])
    def test_is_followed_slice_by_slice(self, t, x):
        np.testing.assert_array_equal(shape_at(self.propagation(), GAP * t, (0.0, 0.0, 1.0)), disk(x))

    def test_is_one_of_the_ways_only_where_there_is_one(self):
        assert self.propagation().ways == WAYS == ("straight", "outline", "image")
        assert propagation_of([disk(20), disk(20)]).ways == WAYS[:2]

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            ((1.0, 0.0, 0.0), ["straight"]),
            ((0.0, 0.0, 1.0), ["image"]),
            ((0.5, 0.5, 0.0), ["straight", "outline"]),
        ],
    )
    def test_ways_that_do_not_count_are_not_computed(self, weights, expected):
        propagation = self.propagation(Asked)
        propagation.fields(4.0, weights)
        assert propagation.carried == [expected]
        assert bool(propagation.chains.flows.asked) == ("image" in expected)
