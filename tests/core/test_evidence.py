import numpy as np
import pytest

from medgs_core.blending import (
    AGREEMENT_CENTERS,
    INGREDIENTS,
    PRIOR,
    BlendWeights,
    blend,
    ingredients,
    interpolate_blended,
    neighborhood,
    region_shares,
)
from medgs_core.carrying import agreement, carry, carry_bent
from medgs_core.classical import SPLINE_REACH, interpolate_slices
from medgs_core.correspondence import Correspondence, Flows, Motion, correspond
from medgs_core.evidence import (
    CUES,
    FLOW_DISCOUNT,
    MOST_TRIPLETS,
    SAMPLED_PIXELS,
    Evidence,
    Sample,
    error_cues,
    gather_evidence,
    learn_blend,
    predict_without,
    solve_blend,
    triplet_slices,
)

from ._stacks import UNEVEN, drifting_texture, random_images, stack_of

REGIONS, KINDS = len(AGREEMENT_CENTERS), len(INGREDIENTS)
EVENLY = (0.5, 0.5)

NO_SAMPLE = Sample(
    linear=np.zeros((1, 0, 1), np.float32),
    added=np.zeros((KINDS, 1, 0, 1), np.float32),
    ratio=np.zeros((1, 0), np.float32),
    truth=np.zeros((1, 0, 1), np.float32),
    cues=np.zeros((0, 1, len(CUES))),
)

FLOAT32 = 2e-6
"""A dozen float32 operations on values of order 1."""

INNER = (slice(12, -12), slice(12, -12))
"""Pixels whose content was in both neighbors, wherever it came from."""


def flows_of(images, positions=None, flow="both"):
    return Flows(stack_of(images, positions), flow)


def table_of(*weights):
    return BlendWeights(np.tile(np.array(weights, np.float32), (1, REGIONS, 1)))


def wild_weights():
    return BlendWeights(np.random.default_rng(5).uniform(-3, 3, (2, REGIONS, KINDS)).astype(np.float32))


def fixed_pattern_following(curve, slices=10, noise=0.0):
    """Return slices of one still random pattern whose contrast follows a curve over [0, 1]."""
    generator = np.random.default_rng(2)
    pattern = generator.random((40, 44, 1))
    images = [curve(z) * pattern for z in np.linspace(0, 1, slices)]
    return np.clip(images + noise * generator.standard_normal((slices, 40, 44, 1)), 0, 1).astype(np.float32)


def rms(difference):
    return float(np.sqrt(np.square(difference[INNER], dtype=np.float64).mean()))


class TestIngredients:
    def test_each_is_a_classical_method_minus_linear(self):
        stack = stack_of(random_images(7, 20, 22, channels=3), UNEVEN)
        flows = Flows(stack, "stiff")
        for t in (0.25, 3.5, 5.9):
            k, _ = stack.bracket(t)
            motion = flows.motion(k)
            linear, added, _ = ingredients(
                stack.planes, stack.positions, k, stack.z_at(t), motion, flows.channel_weights
            )
            assert linear == pytest.approx(interpolate_slices(stack, t, "linear"), abs=FLOAT32)
            for place, method in enumerate(INGREDIENTS[:-1]):
                # the classical cubic looks at a window, here at all seven slices
                tolerance = 0.05 if method == "cubic" else FLOAT32
                expected = interpolate_slices(stack, t, method, flows)
                assert linear + added[place] == pytest.approx(expected, abs=tolerance)

    def test_the_last_follows_the_supple_flow_along_paths_that_bend(self):
        images = random_images(4, 20, 22)
        motion, positions = Flows(stack_of(images), "both").motion(1), np.arange(4.0)
        linear, added, _ = ingredients(images, positions, 1, 1.4, motion, EVENLY)
        bent = carry_bent(images[1], images[2], motion, positions, 1, 1.4)[0]
        assert linear + added[INGREDIENTS.index("bent")] == pytest.approx(bent, abs=FLOAT32)

    def test_agreement_is_judged_on_the_first_channels_only(self):
        first, second = random_images(2, 20, 22, channels=2)
        between = correspond(first, second, flow="both")
        images = np.stack([first, second])
        ratio = ingredients(images, np.array([0.0, 1.0]), 0, 0.4, Motion(between), judged=(1.0,))[2]
        mismatch = carry(first[..., :1], second[..., :1], between, 0.4)[1]
        assert ratio == pytest.approx(agreement(first[..., :1], second[..., :1], mismatch), abs=1e-5)

    def test_weights_go_over_from_region_to_region(self):
        assert AGREEMENT_CENTERS == (0.4, 0.8, 1.3)
        between = np.sqrt(0.4 * 0.8)
        ratio = np.array([[0.0, 0.39, 0.4, between, 0.8, 1.3, 9.0]], np.float32)
        expected = [[1, 0, 0]] * 3 + [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
        assert region_shares(ratio)[0] == pytest.approx(np.array(expected), abs=1e-6)

    def test_shares_add_to_one(self):
        shares = region_shares(np.random.default_rng(0).uniform(0, 2, (30, 40)).astype(np.float32))
        assert shares.min() >= 0
        assert shares.sum(axis=2) == pytest.approx(np.ones((30, 40)), abs=1e-6)


class TestBlend:
    @pytest.mark.parametrize("size", [(1, 1), (1, 5), (12, 14)])
    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_at_measured_positions_it_is_the_slice_whatever_the_weights(self, size, count):
        images = random_images(count, *size, channels=5)
        flows = flows_of(images, UNEVEN[:count])
        for k in range(count):
            # weights up to 3 of three ingredients, each equal to linear but for rounding
            found = interpolate_blended(flows, wild_weights(), float(k))
            assert found == pytest.approx(images[k], abs=10 * FLOAT32)

    def test_from_both_sides_it_tends_to_the_slice(self):
        images = random_images(7, 12, 14)
        flows = flows_of(images, UNEVEN)
        for k in range(1, 6):
            for side in (-1e-4, 1e-4):
                found = interpolate_blended(flows, wild_weights(), k + side)
                # slopes of order 10 per slice, times weights up to 3
                assert np.abs(found - images[k]).max() < 5e-3

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_all_weight_on_one_ingredient_is_that_method(self, place):
        stack = stack_of(random_images(6, 20, 22), UNEVEN[:6])
        flows = Flows(stack, "stiff")
        found = interpolate_blended(flows, table_of(*np.eye(KINDS)[place]), 2.3)
        expected = interpolate_slices(stack, 2.3, INGREDIENTS[place], flows)
        assert found == pytest.approx(expected, abs=FLOAT32)

    def test_no_weight_at_all_is_linear(self):
        stack = stack_of(random_images(6, 20, 22), UNEVEN[:6])
        found = interpolate_blended(Flows(stack, "both"), table_of(0, 0, 0, 0), 2.3)
        assert found == pytest.approx(interpolate_slices(stack, 2.3, "linear"), abs=FLOAT32)

    def test_each_pixel_takes_the_weights_of_its_channel_and_regions(self):
        images = random_images(4, 20, 22)
        arguments = (images, np.arange(4.0), 1, 1.5, Flows(stack_of(images), "both").motion(1))
        shares = region_shares(ingredients(*arguments, EVENLY)[2])
        weights = wild_weights()
        alone = np.stack(
            [blend(*arguments, BlendWeights(weights.table[:, [row] * REGIONS]), EVENLY) for row in range(REGIONS)]
        )
        expected = (np.moveaxis(shares, 2, 0)[..., np.newaxis] * alone).sum(axis=0)
        assert blend(*arguments, weights, EVENLY) == pytest.approx(expected, abs=10 * FLOAT32)
        for channel in range(2):
            one = blend(*arguments, BlendWeights(weights.table[[channel]]), EVENLY)
            assert np.array_equal(blend(*arguments, weights, EVENLY)[..., channel], one[..., channel])

    def test_without_pchip_it_is_linear_in_the_images_the_flow_being_given(self):
        # what detail relies on: extra channels are interpolated with the weights of the judged ones
        images = random_images(5, 20, 22, channels=4)
        mixed = np.concatenate([images[..., :2], 0.3 * images[..., :2] - 2 * images[..., 2:]], axis=3)
        positions, motion = np.arange(5.0), Flows(stack_of(images[..., :2]), "both").motion(2)
        table = wild_weights().table
        table[..., 1] = 0
        plain, found = (
            blend(stack, positions, 2, 2.4, motion, BlendWeights(table), EVENLY) for stack in (images, mixed)
        )
        expected = 0.3 * plain[..., :2] - 2 * plain[..., 2:]
        assert found[..., 2:] == pytest.approx(expected, abs=20 * FLOAT32)

    @pytest.mark.parametrize("factor", [-0.7, 3.0])
    def test_with_pchip_it_still_scales_with_the_images(self, factor):
        images = random_images(5, 20, 22, channels=2)
        scaled = np.concatenate([images, np.float32(factor) * images], axis=3)
        motion = Flows(stack_of(images), "both").motion(2)
        found = blend(scaled, np.arange(5.0), 2, 2.4, motion, wild_weights(), EVENLY)
        assert found[..., 2:] == pytest.approx(factor * found[..., :2], abs=20 * FLOAT32)


class TestPrediction:
    @pytest.mark.parametrize(
        ("count", "k", "slices", "place"),
        [
            (2, 0, [0, 1], 0),
            (7, 0, [0, 1, 2, 3, 4, 5], 0),
            (20, 9, list(range(5, 15)), 4),
            (20, 18, list(range(14, 20)), 4),
        ],
    )
    def test_a_gap_looks_at_five_slices_on_each_side_that_exist(self, count, k, slices, place):
        assert SPLINE_REACH == 5
        assert neighborhood(count, k) == (slices, place)

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


def test_flow_in_the_stack_is_that_of_the_correspondence_given():
    images = random_images(2, 20, 22)
    zero = np.zeros((1, 20, 22, 2), np.float16)
    motion = Motion(Correspondence(zero, zero))
    still = blend(images, np.array([0.0, 1.0]), 0, 0.3, motion, table_of(0, 0, 0.5, 0.5), EVENLY)
    assert still == pytest.approx(0.7 * images[0] + 0.3 * images[1], abs=FLOAT32)


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
