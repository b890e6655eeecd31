"""Flow against known motion, and the flows of a stack."""

import numpy as np
import pytest

from medgs_core.cache import RecentlyUsed
from medgs_core.classical import interpolate_slices
from medgs_core.correspondence import SMALLEST_SIDE, Flows, correspond

from ._stacks import blobs, drifting_blobs, inner, random_images, stack_of

FLOW_TOLERANCE = 0.15
"""Pixels. 8-bit slices: a gradient of 0.02 per pixel is 5 gray values, so rounding alone is 0.1 pixel in places."""


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (2.5, 0.0), (0.0, -3.0), (-4.0, 1.5)])
def test_flow_of_a_moved_image_is_its_motion(dx, dy):
    found = correspond(blobs(), blobs(dx, dy), flow="both")
    assert found.forward.shape == found.backward.shape == (2, 64, 72, 2)
    for fields, motion in ((found.forward, (dx, dy)), (found.backward, (-dx, -dy))):
        error = np.abs(inner(fields.astype(np.float32)) - np.float32(motion))
        assert error.mean() < FLOW_TOLERANCE
        assert np.quantile(error, 0.95) < 3 * FLOW_TOLERANCE  # flat places between the blobs


def test_the_first_variant_is_the_flow_alone():
    both, one = correspond(blobs(), blobs(2.0), flow="both"), correspond(blobs(), blobs(2.0))
    assert np.array_equal(both.leading().forward, one.forward)
    assert np.array_equal(both.leading().backward, one.backward)
    assert np.array_equal(both.trailing().forward, both.forward[1:])
    assert np.array_equal(one.trailing().backward, one.backward)
    assert not np.array_equal(both.forward[0], both.forward[1])


def test_flow_is_the_same_every_time():
    first, second = (correspond(blobs(), blobs(2.0, 1.0), flow="both") for _ in range(2))
    assert np.array_equal(first.forward, second.forward)
    assert np.array_equal(first.backward, second.backward)


def test_flow_sees_the_mean_of_the_channels_unless_told():
    # five channels of which one moves: the mean moves too, with a fifth of the contrast
    still = np.repeat(np.full_like(blobs(), 0.5), 4, axis=2)
    first, second = (np.concatenate([still, blobs(x)], axis=2) for x in (0.0, 2.0))
    found = correspond(first, second).forward.astype(np.float32)
    assert abs(inner(found)[..., 0].mean() - 2.0) < 0.5


def test_opposite_channels_do_not_cancel():
    base = drifting_blobs(2, 3.0)
    flows = Flows(stack_of(np.concatenate([base, 1 - base], axis=3)), "stiff")
    assert abs(inner(flows.between(0).forward.astype(np.float32))[..., 0].mean() - 3.0) < FLOW_TOLERANCE


def test_flow_between_equal_slices_is_zero():
    assert not correspond(blobs(), blobs()).forward.any()
    assert not correspond(np.full((20, 20, 1), 0.5, np.float32), np.full((20, 20, 1), 0.5, np.float32)).forward.any()


def test_short_sides_get_zero_flow_and_longer_ones_do_not():
    motion = [correspond(*(blobs(x, height=side) for x in (0.0, 2.0))) for side in (SMALLEST_SIDE - 1, SMALLEST_SIDE)]
    assert [bool(found.forward.any()) for found in motion] == [False, True]


def test_memory_of_a_correspondence_is_two_bytes_a_number():
    assert correspond(random_images(2)[0], random_images(2)[1], flow="both").nbytes == 2 * 2 * (2 * 9 * 7 * 2)


def test_the_baseline_takes_the_stiff_flow_whatever_the_model_takes():
    stack = stack_of(random_images(2, 20, 20, 1))
    expected = interpolate_slices(stack, 0.5, "flow")
    for flow in ("stiff", "supple", "both"):
        assert np.array_equal(interpolate_slices(stack, 0.5, "flow", Flows(stack, flow)), expected)
    assert not np.array_equal(correspond(*stack.images(), "supple").forward, correspond(*stack.images()).forward)


def test_flows_are_those_of_the_neighbors():
    images = drifting_blobs(3, 2.0)
    found = Flows(stack_of(images), flow="stiff").between(1)
    assert np.array_equal(found.forward, correspond(images[1], images[2]).forward)


def test_motion_is_the_flow_across_and_beside_a_gap():
    flows = Flows(stack_of(drifting_blobs(5, 2.0)), flow="stiff")
    found = flows.motion_across(1, 3)
    assert (found.before, found.across, found.after) == (flows.between(0), flows.across(1, 3), flows.between(3))
    first, last = flows.motion(0), flows.motion(3)
    assert (first.before, first.after) == (None, flows.between(1))
    assert (last.before, last.after) == (flows.between(2), None)


def test_flows_are_computed_once_and_shared_through_the_memory():
    memory = RecentlyUsed(2**20)
    stack = stack_of(drifting_blobs(3, 2.0))
    found = Flows(stack, "stiff", memory).between(0)
    assert Flows(stack, "stiff", memory).between(0) is found
    assert Flows(stack, "stiff", memory).between(1) is not found


def test_flows_prepared_at_once_are_those_asked_for_later():
    flows = Flows(stack_of(drifting_blobs(5, 2.0)), flow="stiff")
    flows.prepare()
    flows.prepare([(0, 2)])
    prepared = [flows.across(*pair) for pair in ((0, 1), (1, 2), (2, 3), (3, 4), (0, 2))]
    alone = Flows(flows.stack, flow="stiff")
    for found, pair in zip(prepared, ((0, 1), (1, 2), (2, 3), (3, 4), (0, 2)), strict=True):
        assert flows.across(*pair) is found
        assert np.array_equal(found.forward, alone.across(*pair).forward)


def test_no_more_flows_are_prepared_than_the_memory_holds():
    stack = stack_of(drifting_blobs(6, 2.0))
    one = Flows(stack, flow="both").between(0).nbytes
    memory = RecentlyUsed(3 * one + 1)
    flows = Flows(stack, "both", memory)
    flows.prepare()
    assert memory.get(("flow", "both", (1.0,), 2.0, 3.0), lambda: "kept", len) != "kept"
    assert memory.get(("flow", "both", (1.0,), 3.0, 4.0), lambda: "not there", len) == "not there"


def test_other_variants_are_other_flows_in_the_same_memory():
    memory = RecentlyUsed(2**20)
    stack = stack_of(drifting_blobs(2, 2.0))
    assert [len(Flows(stack, flow, memory).between(0).forward) for flow in ("stiff", "supple", "both")] == [1, 1, 2]


def test_a_part_of_a_stack_sees_as_the_whole_does():
    stack = stack_of(random_images(9, 20, 22, channels=3))
    whole = Flows(stack, "stiff")
    part = whole.of_part(stack.select([0, 1, 5]))
    assert part.channel_weights == whole.channel_weights
    assert part.across(0, 1) is whole.across(0, 1)
