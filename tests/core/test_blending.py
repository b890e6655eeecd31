"""The classical methods in one: each ingredient against its method, and their blend pixel by pixel."""

import numpy as np
import pytest

from medgs_core.blending import (
    AGREEMENT_CENTERS,
    INGREDIENTS,
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

from ._stacks import EVENLY, FLOAT32, KINDS, REGIONS, UNEVEN, flows_of, random_images, stack_of, table_of


def wild_weights():
    return BlendWeights(np.random.default_rng(5).uniform(-3, 3, (2, REGIONS, KINDS)).astype(np.float32))


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


@pytest.mark.parametrize(
    ("count", "k", "slices", "place"),
    [
        (2, 0, [0, 1], 0),
        (7, 0, [0, 1, 2, 3, 4, 5], 0),
        (20, 9, list(range(5, 15)), 4),
        (20, 18, list(range(14, 20)), 4),
    ],
)
def test_a_gap_looks_at_five_slices_on_each_side_that_exist(count, k, slices, place):
    assert SPLINE_REACH == 5
    assert neighborhood(count, k) == (slices, place)


def test_flow_in_the_stack_is_that_of_the_correspondence_given():
    images = random_images(2, 20, 22)
    zero = np.zeros((1, 20, 22, 2), np.float16)
    motion = Motion(Correspondence(zero, zero))
    still = blend(images, np.array([0.0, 1.0]), 0, 0.3, motion, table_of(0, 0, 0.5, 0.5), EVENLY)
    assert still == pytest.approx(0.7 * images[0] + 0.3 * images[1], abs=FLOAT32)
