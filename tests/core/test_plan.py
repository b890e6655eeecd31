from itertools import pairwise

import numpy as np
import pytest

from medgs_core.annotation import annotate
from medgs_core.config import EFFORTS, FitConfig
from medgs_core.plan import FEWEST_TO_HIDE, FIRST_PHASE_SHARE, MOST_HIDDEN, SLICES_PER_HIDDEN, plan_fit

from ._fits import scan, settings


def plan(slices, height=4, width=5, config=None, **changes):
    return plan_fit(scan(np.zeros((slices, height, width), np.uint8)), config or settings(**changes))


def test_one_slice_is_refused_with_rule_value_and_remedy():
    with pytest.raises(ValueError, match=r"at least 2 slices .* got 1 along axis 0 .*; choose another axis"):
        plan(1)


def test_hidden_slices_are_never_ends_nor_neighbors_and_as_many_as_wanted():
    for slices in range(2, 70):
        for wanted in range((slices - 1) // 2 + 1):
            hidden = plan(slices, hide=wanted).hidden
            assert len(hidden) == wanted
            assert all(0 < k < slices - 1 for k in hidden), (slices, hidden)
            assert all(b - a >= 2 for a, b in pairwise(hidden)), (slices, hidden)


def test_hidden_slices_are_spread_over_the_stack():
    assert plan(17, hide=2).hidden == (4, 12)
    assert plan(5, hide=2).hidden == (1, 3)


@pytest.mark.parametrize(
    ("slices", "hidden"),
    [
        (2, 0),
        (FEWEST_TO_HIDE - 1, 0),
        (FEWEST_TO_HIDE, 1),
        (3 * SLICES_PER_HIDDEN, 3),
        (1000, MOST_HIDDEN),
    ],
)
def test_one_slice_in_eight_hides_but_none_of_a_few_and_at_most_a_dozen(slices, hidden):
    assert len(plan(slices, hide=None).hidden) == hidden


@pytest.mark.parametrize(("slices", "most"), [(2, 0), (3, 1), (8, 3), (9, 4)])
def test_hiding_more_than_every_second_inner_slice_is_refused(slices, most):
    with pytest.raises(ValueError, match=rf"hide should be at most {most} for {slices} slices.* got {most + 1}; hide"):
        plan(slices, hide=most + 1)


def test_memory_grows_with_slices_pixels_channels_and_gaussians():
    pixels = 4 * 5
    one, two = plan(20, gaussians=400), plan(40, gaussians=800)
    # 20 slices more: measured and target in 4 bytes, one flow or two of 8; 400 Gaussians of 11 numbers, 7 times
    flows = 8 * one.flows_per_pair
    assert two.memory_bytes - one.memory_bytes == 20 * pixels * (8 + flows) + 400 * 11 * 4 * 7
    assert plan(20, gaussians=401).memory_bytes - one.memory_bytes == 11 * 4 * 7
    assert plan(20, gaussians=400, preset="fast").memory_bytes < one.memory_bytes
    assert plan(20, 8, 5, gaussians=400).memory_bytes > one.memory_bytes


def test_seen_and_hidden_slices_together_are_all():
    chosen = plan(20, hide=4)
    assert sorted(chosen.kept + chosen.hidden) == list(range(20))


@pytest.mark.parametrize("gaussians", [1, 3, 8, 9, 10, 1234])
def test_gaussians_are_shared_out_evenly(gaussians):
    counts = plan(9, gaussians=gaussians).counts
    assert sum(counts) == gaussians
    assert max(counts) - min(counts) <= 1


def test_without_a_number_gaussians_follow_the_pixels():
    for preset, effort in EFFORTS.items():
        chosen = plan(4, 20, 24, FitConfig(preset=preset, device="cpu"))
        assert sum(chosen.counts) == round(4 * 20 * 24 / effort.pixels_per_gaussian)


def test_every_slice_of_few_pixels_gets_a_gaussian():
    assert plan(3, 1, 1, FitConfig(device="cpu")).counts == (1, 1, 1)


def test_steps_are_split_between_the_phases():
    assert plan(9, steps=101, hide=1).steps == (round(FIRST_PHASE_SHARE * 101), 101 - round(FIRST_PHASE_SHARE * 101))
    assert plan(9, steps=101, hide=0).steps == (0, 101)
    assert plan(9, steps=1, hide=1).steps == (0, 1)


def test_without_a_number_steps_follow_the_slices_from_a_minimum_on():
    for preset, effort in EFFORTS.items():
        config = FitConfig(preset=preset, device="cpu")
        assert sum(plan(100, config=config).steps) == round(100 * effort.steps_per_slice)
        assert sum(plan(2, config=config).steps) == effort.fewest_steps


def test_the_rule_is_the_sum_on_the_cpu_unless_another_is_wanted():
    assert plan(3, compositing="auto").compositing == "sum"
    assert plan(3, compositing="alpha").compositing == "alpha"
    assert plan(3).device.type == "cpu"


def test_the_axis_is_the_one_of_largest_spacing_unless_another_is_wanted():
    assert plan(3, 4, 5).axis == 0
    assert plan(3, 4, 5, axis="2").axis == 2
    assert len(plan(3, 4, 5, axis="2").stack) == 5


def test_labels_take_memory_by_the_class_and_by_the_annotated_slice():
    volume, config = scan(np.zeros((20, 40, 50), np.uint8)), settings(gaussians=400)

    def labeled(slices, ids):
        voxels = np.zeros((20, 40, 50), np.uint8)
        voxels[: 2 * slices : 2, :ids] = np.arange(1, ids + 1)[:, None]
        return plan_fit(volume, config, annotate(scan(voxels), 0, image=volume))

    few, classes, slices = labeled(4, 3), labeled(4, 5), labeled(8, 3)
    pixels = 40 * 50
    assert (few.annotated, few.classes) == (4, 3)
    # per class 400 values with two moments and two rounded copies; 4 annotated fields and 30 at work
    assert classes.label_bytes - few.label_bytes == 2 * (400 * 4 * 5 + (4 + 30) * 4 * pixels)
    assert slices.label_bytes - few.label_bytes == 4 * 3 * 4 * pixels
    assert plan_fit(volume, config).label_bytes == 0


def test_many_labels_take_more_than_the_image():
    volume, config = scan(np.zeros((20, 40, 50), np.uint8)), settings(gaussians=400)
    voxels = np.zeros((20, 40, 50), np.uint8)
    voxels[:, :, :] = np.arange(50)
    many = plan_fit(volume, config, annotate(scan(voxels), 0, image=volume))
    assert many.memory_bytes > plan_fit(volume, config).memory_bytes


def test_a_fit_may_end_early_only_where_slices_hide_and_no_steps_were_asked_for():
    assert not plan(20, hide=2).may_end_early
    assert not plan(20, config=FitConfig(device="cpu", hide=0)).may_end_early
    assert plan(20, config=FitConfig(device="cpu", hide=2)).may_end_early
