import numpy as np
import pytest

from medgs_core.cache import RecentlyUsed
from medgs_core.chaining import Chains
from medgs_core.label_evidence import (
    LEAST_LOOSENESS,
    LEAST_WEIGHT,
    MOST_LOOSENESS,
    MOST_PIXELS,
    MOST_PREDICTED,
    Samples,
    gather_samples,
    solve_looseness,
    solve_weights,
)
from medgs_core.propagation import LIMIT

from ._annotations import MEMORY, Shifting, disk, propagation_of

USUAL = 0.3


def samples_of(*fields, inside, apart=3.0):
    """Return samples in which each way predicted some distances."""
    return Samples(np.stack(fields, axis=1), inside, np.full(len(inside), 1.0 / len(inside)), apart)


def truth_and(noise=0.0, count=1000, seed=0, apart=3.0):
    """Return what lies inside, and distances to the border that are wrong by so many pixels."""
    random = np.random.default_rng(seed)
    distance = random.uniform(-LIMIT, LIMIT, count)
    return distance > 0, np.clip(distance + noise * random.standard_normal(count), -LIMIT, LIMIT)


def loose(noise, apart=3.0):
    inside, field = truth_and(noise)
    return solve_looseness([samples_of(field, inside=inside, apart=apart)], (1.0,), USUAL)


class TestWeights:
    @pytest.mark.parametrize("ways", [2, 3])
    @pytest.mark.parametrize("seed", range(4))
    def test_add_to_one_and_are_not_negative(self, ways, seed):
        random = np.random.default_rng(seed)
        inside, _ = truth_and(seed=seed)
        fields = random.uniform(-LIMIT, LIMIT, (ways, len(inside)))
        weights = solve_weights([samples_of(*fields, inside=inside)], ways)
        assert len(weights) == ways
        assert sum(weights) == pytest.approx(1.0, abs=1e-12)
        assert all(weight == 0 or weight >= LEAST_WEIGHT for weight in weights)

    @pytest.mark.parametrize("right", range(3))
    def test_prefer_the_way_that_is_right(self, right):
        inside, good = truth_and()
        fields = [np.random.default_rng(way).permutation(good) for way in range(3)]
        fields[right] = good
        weights = solve_weights([samples_of(*fields, inside=inside)], 3)
        assert weights[right] > 0.9

    def test_share_between_ways_that_err_differently(self):
        inside, one = truth_and(1.5)
        other = one.copy()
        random = np.random.default_rng(5)
        other[::2] += random.normal(0, 1.0, len(other[::2]))
        one = one.copy()
        one[1::2] += random.normal(0, 1.0, len(one[1::2]))
        weights = solve_weights([samples_of(one, other, inside=inside)], 2)
        assert min(weights) > 0.25

    @pytest.mark.parametrize("ways", [2, 3])
    def test_are_equal_without_samples(self, ways):
        nothing = Samples(np.empty((0, ways)), np.empty(0, bool), np.empty(0), 1.0)
        for samples in ([], [nothing], [nothing, nothing]):
            assert solve_weights(samples, ways) == pytest.approx((1 / ways,) * ways)

    def test_are_equal_for_ways_that_are_alike(self):
        inside, field = truth_and(0.5)
        assert solve_weights([samples_of(field, field, inside=inside)], 2) == pytest.approx((0.5, 0.5), abs=1e-6)

    @pytest.mark.parametrize("inside", [True, False])
    def test_stay_in_range_where_all_was_inside_or_none(self, inside):
        fields = [np.full(50, LIMIT), np.full(50, -LIMIT)]
        weights = solve_weights([samples_of(*fields, inside=np.full(50, inside))], 2)
        assert sum(weights) == pytest.approx(1.0)
        assert weights[0 if inside else 1] == max(weights)

    def test_do_not_depend_on_the_order_of_slices(self):
        parts = [
            samples_of(truth_and(0.1, seed=k)[1], truth_and(1.0, seed=k)[1], inside=truth_and(seed=k)[0])
            for k in range(3)
        ]
        assert solve_weights(parts, 2) == pytest.approx(solve_weights(parts[::-1], 2), abs=1e-4)


class TestLooseness:
    def test_scales_with_the_error(self):
        scales = [loose(noise) for noise in (0.25, 0.5, 1.0)]
        # a normal error of scale s is likeliest under a logistic one of a little more than s / 2
        assert scales[1] / scales[0] == pytest.approx(2.0, rel=0.25)
        assert scales[2] / scales[1] == pytest.approx(2.0, rel=0.25)

    def test_is_per_distance_from_the_nearest_slice(self):
        assert loose(0.5, apart=6.0) == pytest.approx(loose(0.5, apart=3.0) / 2, rel=1e-3)

    def test_is_as_usual_without_samples(self):
        assert solve_looseness([], (0.5, 0.5), USUAL) == USUAL
        nothing = Samples(np.empty((0, 2)), np.empty(0, bool), np.empty(0), 1.0)
        assert solve_looseness([nothing], (0.5, 0.5), USUAL) == USUAL

    @pytest.mark.parametrize("wrong", [False, True])
    def test_stays_in_range_where_all_is_right_or_wrong(self, wrong):
        inside, field = truth_and()
        found = solve_looseness([samples_of(field, inside=inside ^ wrong)], (1.0,), USUAL)
        least, most = LEAST_LOOSENESS * USUAL, MOST_LOOSENESS * USUAL
        assert least * 0.999 <= found <= most * 1.001
        assert found == pytest.approx(most if wrong else least, rel=0.05)


class TestGathering:
    def test_every_inner_slice_is_predicted(self):
        samples = gather_samples(propagation_of([disk(14 + 2 * k) for k in range(6)]))
        assert [one.apart for one in samples] == [3.0] * 4
        for one in samples:
            assert one.fields.shape[1] == 2
            assert np.abs(one.fields).max() <= LIMIT
            # a class counts by the square root of its pixels
            assert one.counts.sum() == pytest.approx(np.sqrt(len(one.inside)))

    def test_a_drawn_pixel_counts_as_it_was_drawn(self):
        (one,) = gather_samples(propagation_of([disk(20), disk(20), disk(20)]))
        np.testing.assert_array_equal(one.inside, one.fields[:, 0] > 0)

    @pytest.mark.parametrize("count", [2])
    def test_there_are_none_of_two_slices(self, count):
        assert gather_samples(propagation_of([disk(20)] * count)) == []

    def test_slices_and_pixels_are_no_more_than_needed(self):
        big = disk(100, 100, radius=90, height=200, width=200)
        samples = gather_samples(propagation_of([big & (np.indices(big.shape).sum(axis=0) % 7 > 0)] * 3))
        assert [len(one.inside) for one in samples] == [MOST_PIXELS]
        assert len(gather_samples(propagation_of([disk(20, 7, height=14, width=40)] * 40))) == MOST_PREDICTED

    def test_empty_slices_give_nothing_and_do_no_harm(self):
        empty = np.zeros_like(disk(20))
        propagation = propagation_of([disk(20), empty, empty, empty, disk(20)])
        samples = gather_samples(propagation)
        assert sum(len(one.inside) for one in samples) == 0
        assert solve_weights(samples, 2) == (0.5, 0.5)

    def test_distance_is_that_to_the_nearer_slice(self):
        positions = np.array([0.0, 1.0, 5.0, 7.0])
        samples = gather_samples(propagation_of([disk(20)] * 4, positions=positions))
        assert [one.apart for one in samples] == [1.0, 2.0]

    def test_the_outlines_of_what_travels_far_are_trusted(self):
        propagation = propagation_of([disk(8 + 6 * k, radius=4, width=72) for k in range(10)])
        straight, along = solve_weights(gather_samples(propagation), 2)
        assert along > 0.9 > straight

    def test_the_image_is_trusted_where_it_alone_knows(self):
        x = [20, 32, 20, 32, 20]  # there and back, by more than its size
        steps = [(12.0, 0.0), (-12.0, 0.0)] * 2
        chains = Chains(Shifting(steps, positions=3.0 * np.arange(5)), RecentlyUsed(MEMORY))
        weights = solve_weights(gather_samples(propagation_of([disk(c, radius=5) for c in x], chains=chains)), 3)
        assert weights[2] > 0.8
