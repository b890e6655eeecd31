"""Weights learned from stacks of which it is known what fills a gap best."""

import numpy as np
import pytest

from medgs_core.blending import PRIOR, BlendWeights, interpolate_blended, region_shares
from medgs_core.classical import interpolate_slices
from medgs_core.correspondence import Flows
from medgs_core.evidence import (
    CUES,
    FLOW_DISCOUNT,
    MOST_TRIPLETS,
    SAMPLED_PIXELS,
    Evidence,
    Sample,
    error_cues,
    gather_evidence,
    predict_without,
    solve_blend,
    triplet_slices,
)

from ._stacks import (
    EVENLY,
    FLOAT32,
    KINDS,
    REGIONS,
    UNEVEN,
    drifting_texture,
    flows_of,
    learn_blend,
    random_images,
    stack_of,
    table_of,
)

NO_SAMPLE = Sample(
    linear=np.zeros((1, 0, 1), np.float32),
    added=np.zeros((KINDS, 1, 0, 1), np.float32),
    ratio=np.zeros((1, 0), np.float32),
    truth=np.zeros((1, 0, 1), np.float32),
    cues=np.zeros((0, 1, len(CUES))),
)

INNER = (slice(12, -12), slice(12, -12))
"""Pixels whose content was in both neighbors, wherever it came from."""


def fixed_pattern_following(curve, slices=10, noise=0.0):
    """Return slices of one still random pattern whose contrast follows a curve over [0, 1]."""
    generator = np.random.default_rng(2)
    pattern = generator.random((40, 44, 1))
    images = [curve(z) * pattern for z in np.linspace(0, 1, slices)]
    return np.clip(images + noise * generator.standard_normal((slices, 40, 44, 1)), 0, 1).astype(np.float32)


def rms(difference):
    return float(np.sqrt(np.square(difference[INNER], dtype=np.float64).mean()))


class TestPrediction:
    @pytest.mark.parametrize(("count", "inner"), [(1, []), (2, []), (3, [1]), (6, [1, 2, 3, 4])])
    def test_all_inner_slices_of_a_short_stack_are_predicted(self, count, inner):
        assert triplet_slices(count) == inner

    def test_evenly_spread_slices_of_a_long_stack_are_predicted(self):
        chosen = triplet_slices(1000)
        assert len(chosen) == MOST_TRIPLETS
        assert len(triplet_slices(1000, 5)) == 5
        assert (chosen[0], chosen[-1]) == (1, 998)
        assert set(np.diff(chosen)) == {43, 44}  # 997 steps in 23 parts

    def test_a_slice_is_predicted_without_looking_at_it(self):
        images = random_images(7, 20, 22)
        changed = images.copy()
        changed[3] = 1 - changed[3]
        before, after = (predict_without(flows_of(stack, UNEVEN), 3) for stack in (images, changed))
        for one, other in zip(before, after, strict=True):
            assert np.array_equal(one, other)

    def test_a_slice_is_predicted_at_its_own_position(self):
        images, positions = random_images(3), np.array([0.0, 3.0, 4.0])
        linear = predict_without(flows_of(images, positions), 1)[0]
        assert linear == pytest.approx(0.25 * images[0] + 0.75 * images[2], abs=FLOAT32)


class TestLearnedWeights:
    def test_two_slices_give_the_prior(self):
        flows = flows_of(random_images(2))
        assert gather_evidence(flows) == []
        assert np.array_equal(learn_blend(flows).table, np.tile(np.array(PRIOR, np.float32), (2, 1, 1)))

    @pytest.mark.parametrize("contrast", [lambda z: 0.7, lambda z: 0.3 + 0.6 * z])
    def test_slices_that_are_equal_or_change_linearly_give_the_prior(self, contrast):
        plain = np.full((9, 40, 44, 1), 0.5, np.float32) * np.array(
            [contrast(z) for z in np.linspace(0, 1, 9)], np.float32
        ).reshape(-1, 1, 1, 1)
        assert np.array_equal(learn_blend(flows_of(plain)).table, BlendWeights.prior(1).table)

    def test_equal_textured_slices_give_the_prior(self):
        images = fixed_pattern_following(lambda z: 0.8)
        assert np.array_equal(learn_blend(flows_of(images)).table, BlendWeights.prior(1).table)

    @pytest.mark.parametrize("size", [(1, 1), (1, 20), (11, 11)])
    def test_three_slices_without_flow_give_the_prior(self, size):
        # across their two outer slices all methods are the straight line: rounding must not be learned from
        learned = learn_blend(flows_of(random_images(3, *size, channels=5)))
        assert np.array_equal(learned.table, BlendWeights.prior(5).table)

    @pytest.mark.parametrize("count", [3, 4, 5])
    @pytest.mark.parametrize("size", [(2, 2), (2, 7), (12, 12)])
    def test_weights_of_small_random_stacks_stay_moderate(self, size, count):
        learned = learn_blend(flows_of(random_images(count, *size, channels=5), UNEVEN[:count]))
        assert np.abs(learned.table).max() < 10  # the pull to the prior keeps noise from weighing thousands

    def test_a_cubic_along_the_axis_favors_cubic_and_beats_linear(self):
        def curve(z):
            return 0.5 + 0.9 * z - 3.1 * z**2 + 2.1 * z**3

        images = fixed_pattern_following(curve)
        flows = flows_of(images)
        learned = learn_blend(flows)
        assert (learned.table[..., 0] > 0.9).all()
        # half-way from slice 4 to 5 of 10 slices over [0, 1]
        pattern = images[0] / np.float32(curve(0.0))
        truth = np.float32(curve(4.5 / 9)) * pattern
        blended, linear = interpolate_blended(flows, learned, 4.5), interpolate_slices(flows.stack, 4.5)
        assert rms(blended - truth) < rms(linear - truth) / 5

    def test_a_drifting_texture_favors_flow_and_beats_every_straight_method(self):
        texture = drifting_texture(step=4)
        flows = flows_of(np.stack([texture(k) for k in range(8)]))
        learned = learn_blend(flows)
        assert learned.table[0, 0, 2:].sum() > 0.8
        truth = texture(3.5)
        blended = rms(interpolate_blended(flows, learned, 3.5) - truth)
        straight = min(
            rms(interpolate_slices(flows.stack, 3.5, method) - truth) for method in ("linear", "cubic", "pchip")
        )
        assert blended < straight / 5

    def test_noise_on_a_still_image_makes_the_blend_no_worse_than_linear(self):
        images = fixed_pattern_following(lambda z: 0.7, noise=0.05)
        flows = flows_of(images)
        learned = learn_blend(flows)
        truth = fixed_pattern_following(lambda z: 0.7)[0]
        error = {
            name: np.mean([rms(predict(k + 0.5) - truth) for k in range(2, 7)])
            for name, predict in (
                ("blend", lambda t: interpolate_blended(flows, learned, t)),
                ("linear", lambda t: interpolate_slices(flows.stack, t)),
                ("cubic", lambda t: interpolate_slices(flows.stack, t, "cubic")),
            )
        }
        assert error["blend"] < 1.02 * error["linear"] < error["cubic"]

    def test_noise_is_no_reason_for_flow(self):
        # a still pattern under noise: there is nothing to follow, against a drifting one where there is
        texture = drifting_texture(step=4)
        still = fixed_pattern_following(lambda z: 0.7, noise=0.05)
        moving = np.stack([texture(k) for k in range(8)])
        weights = [
            learn_blend(flows_of(images, flow="stiff")).table[..., 2:].sum(axis=2).mean() for images in (still, moving)
        ]
        assert weights[0] < weights[1] / 2

    def test_learned_weights_beat_the_prior_on_the_slices_they_were_learned_from(self):
        images = fixed_pattern_following(lambda z: 0.5 + 0.3 * np.sin(5 * z), noise=0.02)
        flows = flows_of(images)
        evidence = gather_evidence(flows)

        def square_error(weights):
            # |missing - added w|^2 without its constant term
            table = weights.table.astype(np.float64)
            return sum(
                np.einsum("cri,crisj,csj->", table, one.gram, table) - 2 * (table * one.moment).sum()
                for one in evidence
            )

        assert square_error(solve_blend(evidence, 1)) < min(
            square_error(BlendWeights.prior(1)),
            square_error(table_of(0, 0, 0, 0)),
            square_error(table_of(1, 0, 0, 0)),
        )


class TestNormalEquations:
    def test_evidence_is_the_inner_products_by_hand(self):
        images = random_images(5, 20, 22, channels=2)
        flows = flows_of(images)
        linear, added, ratio = predict_without(flows, 2)
        one = gather_evidence(flows)[1]
        assert one.k == 2
        shares = region_shares(ratio).astype(np.float64)
        missing = (images[2] - linear).astype(np.float64)
        for channel in range(2):
            parts = np.einsum("hwr,ihw->rihw", shares, added[..., channel])
            gram = np.einsum("rihw,sjhw->risj", parts, parts)
            assert one.gram[channel] == pytest.approx(gram, abs=1e-4)
            assert one.moment[channel] == pytest.approx((parts * missing[..., channel]).sum(axis=(2, 3)), abs=1e-4)

    @pytest.mark.parametrize("size", [(20, 22), (170, 150)])
    def test_a_sample_is_evenly_spread_pixels_of_the_prediction(self, size):
        images = random_images(3, *size, channels=2)
        flows = flows_of(images)
        linear, added, ratio = predict_without(flows, 1)
        sample = gather_evidence(flows)[0].sample
        every = 1 if ratio.size <= SAMPLED_PIXELS else 2
        assert np.array_equal(sample.linear[0], linear.reshape(-1, 2)[::every])
        assert np.array_equal(sample.added[:, 0], added.reshape(KINDS, -1, 2)[:, ::every])
        assert np.array_equal(sample.ratio[0], ratio.ravel()[::every])
        assert np.array_equal(sample.truth[0], images[1].reshape(-1, 2)[::every])
        assert np.array_equal(sample.cues, error_cues(images[0], images[2], linear, added, ratio)[::every])

    def test_evidence_is_the_same_every_time(self):
        images = random_images(9, 20, 22)
        first, second = (gather_evidence(flows_of(images)) for _ in range(2))
        assert [one.k for one in first] == list(range(1, 8))
        for one, other in zip(first, second, strict=True):
            assert np.array_equal(one.gram, other.gram)
            assert np.array_equal(one.moment, other.moment)

    def evidence(self, x, y, k=1):
        """Return the evidence of pixels (pixels, regions, kinds) of one channel."""
        gram, moment = np.einsum("nri,nsj->risj", x, x), np.einsum("nri,n->ri", x, y)
        return Evidence(k, gram[np.newaxis], moment[np.newaxis], NO_SAMPLE)

    def alone(self, region, diagonal, moment):
        """Return the evidence of one region."""
        gram, moments = np.zeros((1, REGIONS, KINDS, REGIONS, KINDS)), np.zeros((1, REGIONS, KINDS))
        gram[0, region, :, region] = np.diag(diagonal)
        moments[0, region] = moment
        return Evidence(1, gram, moments, NO_SAMPLE)

    def test_weights_by_hand(self):
        # |8 f - 4| is least at 1/2 in the region seen; the others, of which nothing is known, shift as it does
        weights = np.array([0.25, -0.5, 0.5, 0.125])
        learned = solve_blend([self.alone(0, [8.0] * KINDS, 8 * weights)], 1).table[0]
        expected = np.array(PRIOR) - PRIOR[0] + weights
        withheld = (1 - FLOW_DISCOUNT) * expected[:, 2:]
        expected[:, 2:] -= withheld
        expected[:, 1] += withheld.sum(axis=1)
        # the pulls, 1e-3 and 1e-2 / 3 of the information, move this by less than 0.005
        assert learned == pytest.approx(expected, abs=5e-3)

    def test_an_ingredient_of_which_nothing_is_known_keeps_its_prior(self):
        # between three slices cubic and PCHIP are predicted by the straight line itself
        learned = solve_blend([self.alone(1, [0, 0, 8.0, 8.0], [0, 0, 4.0, 2.0])], 1).table[0, 1]
        cubic, pchip = PRIOR[1][:2]
        flow, bent = 0.5 * FLOW_DISCOUNT, 0.25 * FLOW_DISCOUNT
        assert learned == pytest.approx([cubic, pchip + 0.75 - flow - bent, flow, bent], abs=5e-3)

    def test_regions_learn_apart(self):
        x = np.zeros((2, REGIONS, KINDS))
        x[0, 0, 0] = x[1, 2, 0] = 1.0
        table = solve_blend([self.evidence(x, np.array([1.0, -1.0]))], 1).table[0]
        # the stack's weight is 0; a region is drawn to it by 1e-2 of the mean information, 2 / 4 / 3
        pull = 1e-2 * 0.5 / 3
        assert table[:, 0] == pytest.approx([1 / (1 + pull), 0.0, -1 / (1 + pull)], abs=1e-3)

    def test_channels_learn_apart(self):
        generator = np.random.default_rng(1)
        ones = [
            self.evidence(generator.standard_normal((50, REGIONS, KINDS)), generator.standard_normal(50)) for _ in "ab"
        ]
        parts = (np.concatenate([getattr(one, name) for one in ones]) for name in ("gram", "moment"))
        both = Evidence(1, *parts, NO_SAMPLE)
        alone = [solve_blend([one], 1).table[0] for one in ones]
        assert np.array_equal(solve_blend([both], 2).table, np.stack(alone))

    def test_slices_add_up(self):
        generator = np.random.default_rng(1)
        x, y = generator.standard_normal((50, REGIONS, KINDS)), generator.standard_normal(50)
        halves = [self.evidence(x[part], y[part]) for part in (slice(0, 20), slice(20, 50))]
        whole = solve_blend([self.evidence(x, y)], 1).table
        assert solve_blend(halves, 1).table == pytest.approx(whole, abs=1e-6)


class TestChannels:
    """Two channels of a fine texture that drifts by six pixels a slice; the second is inverted and noisy."""

    def error(self, channels, noise, seen=None):
        """Return the PSNR of the last channel between the slices, against its clean truth."""
        texture = drifting_texture(step=6)
        dense = np.stack([np.concatenate([texture(t), 1 - texture(t)], axis=2) for t in np.arange(17) / 2])
        grain = np.random.default_rng(9).standard_normal(dense.shape[:3])
        noisy = dense.copy()
        noisy[..., 1] = np.clip(noisy[..., 1] + noise * grain, 0, 1)
        flows = Flows(stack_of(noisy[::2][..., channels]), "both", channel_weights=seen)
        learned = learn_blend(flows)
        found = np.stack([interpolate_blended(flows, learned, k + 0.5)[..., -1] for k in range(8)])
        return -20 * np.log10(rms(np.moveaxis(found - dense[1::2][..., channels[-1]], 0, 2)))

    @pytest.mark.parametrize(("noise", "margin"), [(0.05, 4.0), (0.2, 1.5)])
    def test_a_noisy_channel_gains_from_a_clean_one_of_opposite_contrast(self, noise, margin):
        # measured 22.0 and 18.9 dB together, 15.9 and 16.6 alone, 17.3 and 15.6 where the flow sees their mean
        together = self.error([0, 1], noise)
        assert together > self.error([1], noise) + margin
        assert together > self.error([0, 1], noise, seen=EVENLY) + margin

    def test_a_clean_channel_does_not_suffer_from_a_noisy_one(self):
        assert self.error([1, 0], 0.2) > self.error([0], 0.2) - 0.1
