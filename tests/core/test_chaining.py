import sys

import numpy as np
import pytest

from medgs_core.cache import RecentlyUsed
from medgs_core.chaining import Chains
from medgs_core.correspondence import Correspondence, Flows

from ._annotations import MEMORY, Shifting
from ._stacks import UNEVEN, drifting_blobs, inner, stack_of

STEP = (1.5, -0.75)
"""Pixels per slice, exact in half precision, and sixteenths of them too."""

EXACT = 1e-5
"""Pixels; float32 sums of a few numbers below 20."""

ROUNDED = 0.02
"""Pixels; places are rounded to 1/32 pixel, where these flows differ by a tenth of that, and to half precision."""


def chains_of(flows):
    return Chains(flows, RecentlyUsed(MEMORY))


class Growing(Flows):
    """Flows of slices each of which shows the one before enlarged by a tenth about the origin."""

    def across(self, first, second):
        rows, columns = np.indices((self.stack.height, self.stack.width))
        place = np.stack([columns, rows], axis=-1)[np.newaxis]
        return Correspondence((place * 0.1).astype(np.float16), (place * (1 / 1.1 - 1)).astype(np.float16))


class Apart(Shifting):
    """Flows of which the second variant shifts twice as far as the first."""

    def across(self, first, second):
        between = super().across(first, second)
        factors = np.array([1, 2], np.float16)[:, np.newaxis, np.newaxis, np.newaxis]
        return Correspondence(between.forward * factors, between.backward * factors)


class TestConstantShift:
    @pytest.mark.parametrize("target", [0, 1, 4, 8])
    @pytest.mark.parametrize("z", [0.0, 0.5, 1.0, 3.25, 4.0, 7.75, 8.0])
    def test_leads_from_any_position_to_any_slice(self, z, target):
        (found,) = chains_of(Shifting(STEP, slices=9)).displacements(z, target)
        expected = (target - z) * np.array(STEP)
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=EXACT)

    @pytest.mark.parametrize(("z", "target", "expected"), [(0.0, 4, 10.0), (1.25, 4, 8.5), (3.5, 0, -8.0)])
    def test_gaps_add_up(self, z, target, expected):
        (found,) = chains_of(Shifting([(1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (4.0, 0.0)])).displacements(z, target)
        np.testing.assert_allclose(found[..., 0], expected, atol=EXACT)

    def test_positions_count_by_their_share_of_the_gap(self):
        flows = Shifting(STEP, slices=len(UNEVEN), positions=UNEVEN)
        (found,) = chains_of(flows).displacements((UNEVEN[3] + UNEVEN[4]) / 2, 6)
        np.testing.assert_allclose(found[..., 0], 2.5 * STEP[0], atol=EXACT)

    def test_each_variant_is_followed_by_itself(self):
        first, second = chains_of(Apart(STEP, slices=6, flow="both")).displacements(0.5, 5)
        np.testing.assert_allclose(first[..., 0], 4.5 * STEP[0], atol=EXACT)
        np.testing.assert_allclose(second[..., 0], 9.0 * STEP[0], atol=EXACT)


class TestLinks:
    @pytest.mark.parametrize(("start", "target", "scale"), [(0, 3, 1.1**3), (3, 1, 1.1**-2)])
    def test_each_begins_where_the_last_one_ended(self, start, target, scale):
        flows = Growing(stack_of(np.zeros((4, 30, 40, 1))), "supple", RecentlyUsed(MEMORY), (1.0,))
        (found,) = chains_of(flows).displacements(float(start), target)
        rows, columns = np.indices((20, 25))  # beyond, paths leave the slice
        np.testing.assert_allclose(found[:20, :25, 0], (scale - 1) * columns, atol=ROUNDED)
        np.testing.assert_allclose(found[:20, :25, 1], (scale - 1) * rows, atol=ROUNDED)

    def test_are_kept(self):
        flows = Shifting(STEP, slices=9)
        chains = chains_of(flows)
        chains.displacements(0.5, 8)
        known = len(flows.asked)
        for z in (0.25, 1.5, 3.0):
            chains.displacements(z, 8)
        assert len(flows.asked) <= known + 2 * 3  # beginning and end of each

    def test_may_be_more_than_calls_can_be_nested(self):
        slices = sys.getrecursionlimit() + 100
        chains = chains_of(Shifting((0.0078125, 0.0), slices=slices, height=12, width=12))
        (found,) = chains.displacements(0.0, slices - 1)
        # half precision, link by link: the sum is off by less than one in a hundred
        np.testing.assert_allclose(found[..., 0], 0.0078125 * (slices - 1), rtol=0.01)


def test_drifting_blobs_are_followed_over_many_slices():
    flows = Flows(stack_of(drifting_blobs(7, 2.0, -0.5)), "both")
    for found in chains_of(flows).displacements(0.5, 6):
        off = inner(found) - np.array([11.0, -2.75])
        assert np.abs(np.median(off, axis=(0, 1))).max() < 0.2  # pixels, of 11
