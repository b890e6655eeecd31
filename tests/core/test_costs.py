import numpy as np
import pytest

from medgs_core.config import FitConfig
from medgs_core.costs import SLICES, Costs, _middle, count_up, measure_costs
from medgs_core.plan import plan_fit
from medgs_core.progress import SilentProgress
from medgs_core.stopwatch import Stopwatch, in_rounds

from ._fits import moving_voxels, scan, settings

NOTHING = Costs(*[0.0] * 8)


def count(part, slices=9, threads=1, **changes):
    """Return how often a part is done in a fit."""
    config = changes.pop("config", None) or settings(**changes)
    plan = plan_fit(scan(np.zeros((slices, 4, 5), np.uint8)), config)
    return count_up(Costs(**{**NOTHING.__dict__, part: 1.0}), plan, config, threads)


def test_steps_and_slices_are_counted_once():
    assert count("step", steps=77) == 77
    assert count("seed", slices=9) == 9


def test_flows_are_of_neighbors_and_across_every_slice_that_is_predicted():
    # 8 gaps, and 7 pairs across an inner slice
    assert count("flow", hide=0) == 15
    # slice 4 hides in the first phase: pairs 3-5 for its gap is there already, 2-5 and 3-6 are not
    assert count("flow", hide=1) == 17


def test_evidence_and_targets_are_of_both_phases():
    assert count("evidence", hide=0) == 7
    assert count("evidence", hide=1) == 6 + 7
    assert count("target", hide=1, steps=100) == 7 + 8


def test_no_more_targets_are_made_than_steps_are_taken():
    assert count("target", hide=0, steps=3) == 3


def test_the_classical_methods_predict_no_more_slices_than_the_preset_says():
    fast = FitConfig(preset="fast", device="cpu", hide=0)
    assert count("evidence", slices=100, config=fast) == fast.effort.predicted_slices


def test_hidden_slices_are_looked_at_only_where_the_fit_may_end_early():
    assert count("look", hide=1) == 0
    assert count("look", config=FitConfig(device="cpu", hide=1)) == 10


def test_hidden_slices_are_judged_and_else_inner_ones_cross_validated():
    assert count("judgment", hide=2) == 2
    assert count("judgment", hide=0) == 7


def test_the_last_round_leaves_threads_without_work():
    assert in_rounds(7, 4) == 8
    assert in_rounds(8, 4) == 8
    assert in_rounds(0, 4) == 0
    assert count("evidence", hide=0, threads=4) == 8


@pytest.mark.parametrize("threads", [1, 2, 5, 64])
def test_slices_in_the_middle_are_inner_ones(threads):
    for slices in range(2, SLICES + 1):
        inner = _middle(slices - 1, threads)
        assert all(0 < k < slices - 1 for k in inner)
        assert len(inner) == min(slices - 2, threads, SLICES - 4)


@pytest.mark.parametrize("slices", [2, 3, 4, 9, 30])
@pytest.mark.parametrize("preset", ["fast", "balanced"])
def test_every_part_that_a_fit_has_costs_something(slices, preset):
    config = FitConfig(preset=preset, device="cpu", gaussians=40 * slices)
    plan = plan_fit(scan(moving_voxels(slices)), config)
    costs = measure_costs(plan.stack, plan.counts, plan, config, Stopwatch(SilentProgress()))
    assert min(costs.flow, costs.target, costs.seed, costs.step) > 0
    assert (min(costs.evidence, costs.bound, costs.judgment) > 0) == (slices > 2)
    assert (costs.look > 0) == bool(plan.hidden)


def test_a_few_gaussians_for_many_slices_are_no_obstacle():
    config = settings(gaussians=1)
    plan = plan_fit(scan(moving_voxels(30)), config)
    assert measure_costs(plan.stack, plan.counts, plan, config, Stopwatch(SilentProgress())).step > 0
