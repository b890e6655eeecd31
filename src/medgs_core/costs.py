"""What the parts of a fit cost, and what they add up to.

A stack with its plan comes in. The slices that are worked on lie in its middle, whole and with all their Gaussians, so
whatever is done there costs what it will cost everywhere; `Costs` go out, and the seconds of the fit.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from medgs_core.cache import RecentlyUsed
from medgs_core.config import FitConfig
from medgs_core.correspondence import Flows
from medgs_core.descent import BLOCK_REACH, Parameters, Phase, column_rates
from medgs_core.evidence import Evidence, judge_slice, solve_blend, triplet_slices
from medgs_core.hidden import CHECKS, check_hidden, checked_slices, cross_validate, judge_hidden
from medgs_core.initialize import seed_slice
from medgs_core.model import MEMORY_BYTES
from medgs_core.optimizer import RowAdam
from medgs_core.plan import FitPlan
from medgs_core.slices import SliceStack
from medgs_core.stopwatch import Stopwatch, in_rounds
from medgs_core.tensors import single_threaded_torch
from medgs_core.threads import thread_count
from medgs_core.uncertainty import learn_error_bound

SLICES = 2 * BLOCK_REACH + 1
"""Slices with Gaussians: as many as a step looks at."""

MARGIN = 2
"""Slices on either side of one that are looked at to predict it."""

STEPS, UNTIMED_STEPS = 10, 2
"""Steps that are taken, and those of them that do not count: the allocator settles."""


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a fit take, with all threads at work.

    Attributes
    ----------
    flow : one pair of slices
    evidence : one slice predicted by the classical methods
    bound : what the errors on one such slice teach
    target : one blended slice
    seed : the Gaussians of one slice
    step : one step
    look : one hidden slice rendered from the Gaussians
    judgment : one hidden slice judged; where none hide, one that is cross-validated
    """

    flow: float
    evidence: float
    bound: float
    target: float
    seed: float
    step: float
    look: float
    judgment: float


def count_up(costs: Costs, plan: FitPlan, config: FitConfig, threads: int) -> float:
    """Return the seconds of a fit whose parts cost so much, if it takes all its steps."""
    everything = tuple(range(len(plan.stack)))
    phases = [(plan.kept, plan.steps[0]), (everything, plan.steps[1])] if plan.hidden else [(everything, plan.steps[1])]
    pairs: set[tuple[int, int]] = set()  # both phases share their flows
    evidence, targets, predicted = 0, 0, 0
    for seen, steps in phases:
        inner = triplet_slices(len(seen), config.effort.predicted_slices)
        pairs |= {*pairwise(seen), *((seen[k - 1], seen[k + 1]) for k in inner)}
        predicted = len(inner)
        evidence += in_rounds(predicted, threads)
        targets += in_rounds(min(len(seen) - 1, steps), threads)
    looks = CHECKS * len(checked_slices(plan.hidden)) if plan.may_end_early else 0
    return (
        costs.flow * in_rounds(len(pairs), threads)
        + costs.evidence * evidence
        + costs.bound * predicted
        + costs.target * targets
        + costs.seed * len(plan.stack)
        + costs.step * sum(plan.steps)
        + costs.look * looks
        + costs.judgment * in_rounds(len(plan.hidden) or predicted, threads)
    )


def measure_costs(
    whole: SliceStack, counts: Sequence[int], plan: FitPlan, config: FitConfig, watch: Stopwatch
) -> Costs:
    """Return what the parts of a fit cost, done on slices in the middle of a stack.

    Parameters
    ----------
    whole : SliceStack
        All slices, or a patch of them.
    counts : sequence of int
        Gaussians of each slice.
    plan, config
        What the fit will do.
    watch : Stopwatch
        May raise `Cancelled` between any two slices or steps.
    """
    first = max(0, (len(whole) - SLICES) // 2)
    stack = whole.select(list(range(first, min(len(whole), first + SLICES))))
    last = len(stack) - 1
    inner = _middle(last, thread_count())
    around = range(max(0, inner.start - MARGIN), min(last, inner.stop - 1 + MARGIN) + 1)
    gaps = range(max(0, inner.start - 1), min(last, inner.stop))

    flows = Flows(stack, config.effort.flow, RecentlyUsed(MEMORY_BYTES))
    pairs = [*pairwise(around), *((k - 1, k + 1) for k in inner)]
    flow = watch.each(lambda pair: flows.across(*pair), pairs)
    evidence: list[Evidence] = []
    predict = watch.each(lambda k: evidence.append(judge_slice(flows, k)), inner)
    weights = solve_blend(evidence, stack.channels)
    bound = watch.once(lambda: learn_error_bound(evidence, weights)) / len(evidence) if evidence else 0.0
    phase = Phase(stack, stack, flows, weights, plan.compositing, plan.device)
    target = watch.each(phase.target, gaps)
    parameters, seed = _seed(phase, counts[first : first + SLICES], config, gaps, watch)
    step = _time_steps(phase, parameters, gaps, watch)
    if plan.hidden and inner:
        look, judgment = _time_judgment(phase, parameters, inner[0], watch)
    else:
        look = 0.0
        judgment = watch.each(lambda one: cross_validate(flows, [one]), evidence)
    return Costs(flow, predict, bound, target, seed, step, look, judgment)


def _middle(last: int, threads: int) -> range:
    """Return some inner slices in the middle of those up to a last one, as many as there are threads if it can be."""
    count = min(max(last - 1, 0), threads, SLICES - 2 * MARGIN)
    first = 1 + (last - 1 - count) // 2
    return range(first, first + count)


def _seed(
    phase: Phase, counts: Sequence[int], config: FitConfig, gaps: range, watch: Stopwatch
) -> tuple[Parameters, float]:
    """Return the Gaussians of all slices, and what those of one cost where the motion is known."""
    generator, degree = np.random.default_rng(config.seed), config.drift_degree
    blocks, seconds = [], []
    for k, count in enumerate(counts):
        moving = k in gaps and (k == 0 or k - 1 in gaps)
        begun = time.perf_counter()
        seeded = seed_slice(phase.flows, k, phase.coordinates, count, degree, generator, moving=moving)
        blocks.append(seeded.pack().to(phase.device))
        if moving:
            seconds.append(time.perf_counter() - begun)
        watch.check()
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Parameters(RowAdam.start(torch.cat(blocks)), starts, phase.stack.channels), float(np.median(seconds))


def _time_steps(phase: Phase, parameters: Parameters, gaps: range, watch: Stopwatch) -> float:
    rates, seconds = column_rates(parameters.gaussians()), []
    for number in range(STEPS):
        gap = gaps[number % len(gaps)]
        with single_threaded_torch():
            seconds.append(watch.once(partial(phase.step, parameters, gap, gap, rates)))
    return float(np.median(seconds[UNTIMED_STEPS:]))


def _time_judgment(phase: Phase, parameters: Parameters, k: int, watch: Stopwatch) -> tuple[float, float]:
    """Return what it costs to look at a slice that is hidden, and to judge it."""
    whole = phase.stack
    seen = whole.select([j for j in range(len(whole)) if j != k])
    flows = phase.flows.of_part(seen)
    without = Phase(seen, whole, flows, phase.weights, phase.compositing, phase.device)
    look = watch.once(lambda: check_hidden(without, parameters, whole, (k,)))
    judgment = watch.once(lambda: judge_hidden(without, parameters, whole, (k,)))
    return look, judgment / thread_count()
