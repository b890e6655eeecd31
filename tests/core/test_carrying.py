"""What is carried along a known flow, straight and bent, and how well the two slices that meet agree."""

from itertools import pairwise

import numpy as np
import pytest

from medgs_core.carrying import LEAST_OUTER_GAP, agreement, carry, carry_bent, lagrange_weights, warp
from medgs_core.correspondence import Correspondence, Flows, Motion, correspond

from ._stacks import MARGIN, UNEVEN, blobs, inner, random_images, stack_of

WARP_ERROR = 3e-3
"""OpenCV's cubic kernel (A = -0.75) misplaces a ramp by up to 0.047 pixel, and it samples in steps of 1/32 pixel;
together 0.063 pixel at the largest slope of the blobs, 0.046 per pixel."""

SIZES = [(1, 1), (1, 20), (20, 1), (5, 7), (11, 11), (12, 11), (12, 12), (12, 60), (60, 13)]


def constant_flow(height, width, dx, dy):
    flow = np.empty((1, height, width, 2), np.float16)
    flow[...] = (dx, dy)
    return Correspondence(flow, -flow)


def flow_of(*fields):
    stacked = np.stack([np.asarray(field, np.float16) for field in fields])
    return Correspondence(stacked, -stacked)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (6, 1), (9, 7)])
def test_warp_along_zero_flow_is_identity(height, width, channels):
    image = random_images(1, height, width, channels)[0]
    assert np.array_equal(warp(image, np.zeros((height, width, 2), np.float32)), image)


@pytest.mark.parametrize("channels", [1, 4, 5, 9])
def test_warp_by_whole_pixels_looks_there_and_repeats_the_edge(channels):
    image = random_images(1, 6, 8, channels)[0]
    moved = warp(image, np.full((6, 8, 2), (3, -2), np.float32))  # looks 3 columns right, 2 rows up
    rows, columns = np.clip(np.arange(6) - 2, 0, 5), np.clip(np.arange(8) + 3, 0, 7)
    assert np.array_equal(moved, image[rows][:, columns])


def test_warp_between_pixels_follows_a_smooth_image():
    assert max(np.abs(np.diff(blobs(), axis=axis)).max() for axis in (0, 1)) < 0.046
    moved = warp(blobs(), np.full((64, 72, 2), (0.3, -0.7), np.float32))
    assert np.abs(inner(moved) - inner(blobs(-0.3, 0.7))).max() < WARP_ERROR
    assert np.abs(inner(moved) - inner(blobs(0.3, -0.7))).max() > 10 * WARP_ERROR  # the other way


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 5])
def test_carry_to_either_end_is_that_slice(size, channels):
    first, second = random_images(2, *size, channels)
    between = correspond(first, second, flow="both")
    assert np.array_equal(carry(first, second, between, 0.0)[0], first)
    assert np.array_equal(carry(first, second, between, 1.0)[0], second)


def test_carry_tends_to_the_ends():
    # random flow and slices: close to an end the other slice has weight alpha and the warp is below 1/64 pixel
    first, second = random_images(2, 20, 24)
    between = correspond(first, second)
    assert np.abs(between.forward).max() > 0.5
    for alpha, end in ((1e-4, first), (1 - 1e-4, second)):
        # cubic values overshoot [0, 1] by a quarter at most: 1e-4 times a difference below 1.5
        assert np.abs(carry(first, second, between, alpha)[0] - end).max() < 1.5e-4


def test_carry_along_zero_flow_is_linear():
    first, second = random_images(2)
    blend, mismatch = carry(first, second, constant_flow(9, 7, 0, 0), 0.3)
    assert blend == pytest.approx(0.7 * first + 0.3 * second, abs=1e-6)
    assert mismatch == pytest.approx(np.abs(first - second).mean(axis=2), abs=1e-6)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.8])
def test_carry_along_the_true_motion_moves_the_image(alpha):
    blend, mismatch = carry(blobs(), blobs(4.0, -2.0), constant_flow(64, 72, 4.0, -2.0), alpha)
    truth = blobs(4.0 * alpha, -2.0 * alpha)
    straight = (1 - alpha) * blobs() + alpha * blobs(4.0, -2.0)
    assert np.abs(inner(blend) - inner(truth)).max() < WARP_ERROR
    assert np.abs(inner(straight) - inner(truth)).max() > 3 * WARP_ERROR
    assert mismatch[MARGIN:-MARGIN, MARGIN:-MARGIN].max() < WARP_ERROR


def test_carry_along_the_flow_it_finds_beats_linear():
    first, second, truth = blobs(), blobs(5.0, 2.0), blobs(2.5, 1.0)
    carried = carry(first, second, correspond(first, second, flow="both"), 0.5)[0]
    linear = 0.5 * (first + second)
    error, straight = (np.square(inner(image) - inner(truth)).mean() for image in (carried, linear))
    assert error < straight / 100  # 20 dB: the motion is smooth, the slices free of noise


def test_variants_count_the_same():
    first, second = random_images(2, 12, 14)
    one, other = np.full((12, 14, 2), (1, 0)), np.full((12, 14, 2), (0, -2))
    mean = [carry(first, second, flow_of(field), 0.4)[0] for field in (one, other)]
    assert carry(first, second, flow_of(one, other), 0.4)[0] == pytest.approx((mean[0] + mean[1]) / 2, abs=1e-6)


def test_each_end_trusts_its_own_flow():
    # the forward field alone is wrong: its share at alpha is 1 - alpha
    first, second = blobs(), blobs(4.0)
    wrong = Correspondence(np.zeros((1, 64, 72, 2), np.float16), constant_flow(64, 72, 4, 0).backward)
    truth_error, wrong_error = [], []
    for alpha in (0.1, 0.9):
        carried = carry(first, second, wrong, alpha)[0]
        moved = carry(first, second, constant_flow(64, 72, 4, 0), alpha)[0]
        straight = carry(first, second, constant_flow(64, 72, 0, 0), alpha)[0]
        assert carried == pytest.approx(alpha * moved + (1 - alpha) * straight, abs=1e-6)
        truth_error.append(np.abs(carried - moved).mean())
        wrong_error.append(np.abs(carried - straight).mean())
    assert truth_error[1] < truth_error[0]
    assert wrong_error[0] < wrong_error[1]


def test_carry_is_the_same_from_the_other_side():
    first, second = random_images(2, 20, 24)
    there = correspond(first, second)
    back = Correspondence(there.backward, there.forward)
    forth, reverse = carry(first, second, there, 0.3), carry(second, first, back, 0.7)
    assert forth[0] == pytest.approx(reverse[0], abs=1e-5)
    assert forth[1] == pytest.approx(reverse[1], abs=1e-5)


def test_mismatch_is_judged_on_the_first_channels_only():
    first, second = random_images(2, 9, 7, 3)
    still = constant_flow(9, 7, 0, 0)
    mismatch = carry(first, second, still, 0.5, judged=(0.25, -0.75))[1]
    assert mismatch == pytest.approx(np.abs(first - second)[..., :2] @ [0.25, 0.75], abs=1e-6)


class TestBentPaths:
    """Places in slices 0, 1, 2.. of content that moves along x by a curve, looked for at 1.5."""

    def carried(self, curve, positions, k, z, **outer):
        """Return what is carried to z, and what is there, with the true flow of every gap that is not left out."""
        images = [blobs(curve(place)) for place in positions]
        steps = [curve(b) - curve(a) for a, b in pairwise(positions)]
        gaps = dict(zip(("before", "across", "after"), range(k - 1, k + 2), strict=True))
        flows = {
            name: constant_flow(64, 72, steps[gap], 0) if 0 <= gap < len(steps) else None for name, gap in gaps.items()
        }
        motion = Motion(**(flows | outer))
        blend, mismatch = carry_bent(images[k], images[k + 1], motion, np.array(positions), k, z)
        return inner(blend), inner(blobs(curve(z))), mismatch

    @pytest.mark.parametrize("z", [1.2, 1.5, 1.8])
    @pytest.mark.parametrize("positions", [(0.0, 1.0, 2.0, 3.0), (0.0, 1.0, 2.0, 2.7), (-0.5, 1.0, 2.0, 4.0)])
    def test_a_cubic_path_is_followed(self, positions, z):
        def curve(place):
            return 2.0 * place**2 - 0.4 * place**3

        blend, truth, mismatch = self.carried(curve, positions, 1, z)
        assert np.abs(blend - truth).max() < WARP_ERROR
        assert mismatch[MARGIN:-MARGIN, MARGIN:-MARGIN].max() < WARP_ERROR

    @pytest.mark.parametrize(("k", "z"), [(0, 0.5), (1, 1.5), (2, 2.5)])
    def test_a_parabola_is_followed_with_one_slice_beside_the_gap(self, k, z):
        outer = {"after": None} if k == 1 else {}
        blend, truth, _ = self.carried(lambda place: 1.5 * place**2, (0.0, 1.0, 2.0, 3.0), k, z, **outer)
        assert np.abs(blend - truth).max() < WARP_ERROR

    def test_without_flow_beside_the_gap_paths_are_straight(self):
        first, second = random_images(2, 20, 24)
        between = correspond(first, second)
        found = carry_bent(first, second, Motion(between), np.array([0.0, 2.0]), 0, 0.6)
        for one, other in zip(found, carry(first, second, between, 0.3), strict=True):
            assert np.array_equal(one, other)

    def test_constant_motion_is_straight(self):
        blend, _, _ = self.carried(lambda place: 3.0 * place, (0.0, 1.0, 2.5, 3.0), 1, 1.7)
        straight = carry(blobs(3.0), blobs(7.5), constant_flow(64, 72, 4.5, 0), 0.7 / 1.5)[0]
        # float16 rounds a flow of 4.5 pixels to 0.002
        assert blend == pytest.approx(inner(straight), abs=1e-3)

    def test_a_gap_beside_that_is_too_narrow_says_nothing(self):
        wild = constant_flow(64, 72, 5.0, 5.0)
        images = blobs(), blobs(2.0)
        motion = Motion(constant_flow(64, 72, 2.0, 0), before=wild)
        bent, straight = (
            carry_bent(*images, motion, np.array([-width, 0.0, 1.0]), 1, 0.5)[0]
            for width in (LEAST_OUTER_GAP + 0.01, LEAST_OUTER_GAP - 0.01)
        )
        assert np.array_equal(straight, carry(*images, motion.across, 0.5)[0])
        assert np.abs(bent - straight).max() > 0.02

    @pytest.mark.parametrize("size", SIZES)
    def test_at_either_end_it_is_that_slice(self, size):
        images = random_images(4, *size, 5)
        motion = Flows(stack_of(images), "both").motion(1)
        for k, z in ((1, 1.0), (2, 2.0)):
            found = carry_bent(images[1], images[2], motion, np.arange(4.0), 1, z)[0]
            assert found == pytest.approx(images[k], abs=1e-6)

    def test_it_is_the_same_from_the_other_side(self):
        images = random_images(4, 20, 24)
        there, back = (Flows(stack_of(stack), "both").motion(1) for stack in (images, images[::-1]))
        forth = carry_bent(images[1], images[2], there, np.arange(4.0), 1, 1.3)
        reverse = carry_bent(images[2], images[1], back, np.arange(4.0), 1, 1.7)
        assert forth[0] == pytest.approx(reverse[0], abs=1e-4)
        assert forth[1] == pytest.approx(reverse[1], abs=1e-4)


def test_lagrange_weights_by_hand():
    assert lagrange_weights(np.array([0.0, 1.0, 2.0, 3.0]), 1.5) == pytest.approx([-1 / 16, 9 / 16, 9 / 16, -1 / 16])
    assert lagrange_weights(np.array([2.0, 6.0]), 3.0) == pytest.approx([0.75, 0.25])
    assert lagrange_weights(UNEVEN, 2.2) == pytest.approx([0, 0, 1, 0, 0, 0, 0])


def test_agreement_is_small_where_flow_explains_the_change_and_one_where_it_does_nothing():
    first, second = blobs(), blobs(4.0)
    explained = agreement(first, second, carry(first, second, constant_flow(64, 72, 4, 0), 0.5)[1])
    useless = agreement(first, second, carry(first, second, constant_flow(64, 72, 0, 0), 0.5)[1])
    middle = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    assert explained[middle].max() < 0.3
    straight = np.abs(first - second).mean()
    # the mismatch is the change itself, and the floor of 0.01 stands beside it
    assert useless[middle].mean() == pytest.approx(straight / (straight + 0.01), abs=0.1)
    assert useless.max() < 1.0


def test_agreement_is_the_ratio_of_the_mismatches_by_hand():
    # constant planes stay what they are under smoothing: 0.1 / (0.3 + 0.01)
    first, second = np.full((20, 20, 2), 0.5, np.float32), np.full((20, 20, 2), 0.2, np.float32)
    ratio = agreement(first, second, np.full((20, 20), 0.1, np.float32))
    assert ratio == pytest.approx(np.full((20, 20), 0.1 / 0.31), abs=1e-6)


def test_agreement_of_equal_slices_is_zero():
    image = random_images(1, 3, 2)[0]
    assert not agreement(image, image, np.zeros((3, 2), np.float32)).any()
