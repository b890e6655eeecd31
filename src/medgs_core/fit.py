"""The loop: a volume comes in, a fitted model and honest scores go out.

First some slices hide and are predicted; what that teaches stays, then they join. A fit can be followed, paused,
stopped and resumed, and on the CPU it ends with the same numbers every time.
"""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from medgs_core.cache import RecentlyUsed
from medgs_core.config import FitConfig, LabelConfig
from medgs_core.correspondence import Flows
from medgs_core.descent import LAST_RATE, Parameters, Phase, column_rates
from medgs_core.detail import strength_of
from medgs_core.evidence import Evidence, gather_evidence, solve_blend
from medgs_core.hidden import (
    CHECKS,
    USUAL_SMOOTHING,
    USUAL_TRUST,
    check_hidden,
    cross_validate,
    has_settled,
    judge_hidden,
)
from medgs_core.initialize import seed_slice
from medgs_core.label_fit import add_head, what_is_fitted
from medgs_core.model import MEMORY_BYTES, FitCheckpoint, FittedModel, FoldedGaussians
from medgs_core.optimizer import Matrix, RowAdam
from medgs_core.pace import Pace
from medgs_core.plan import FitPlan, plan_fit
from medgs_core.progress import FitState, Progress, SilentProgress
from medgs_core.running import Running, capture, restore
from medgs_core.tensors import single_threaded_torch
from medgs_core.threads import GoOn
from medgs_core.uncertainty import learn_error_bound
from medgs_core.volume import Volume, content_hash

REPORT_SECONDS = 0.3
"""Between two reports; no number of the fit depends on it."""

LOSS_MEMORY = 0.98
"""Share of the running mean of the loss that one step keeps."""

RECORDED = ("medgs-napari", "torch", "numpy", "numba", "opencv-python-headless")
"""Distributions whose versions a model remembers: those that its numbers depend on. A library that came under
another name, as conda's OpenCV does, is left out."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a fit gives.

    Attributes
    ----------
    model : FittedModel
        Ready to render, also where the fit was stopped early.
    scores : mapping
        Mean PSNR in dB of predicted slices by method: `medgs` and the classical ones on hidden slices; where none hide,
        the classical methods and their `blend` by cross-validation; empty for two slices.
    complete : bool
        False if the fit was cancelled before its last step.
    checkpoint : FitCheckpoint, optional
        What `fit_model` needs to go on, where it was cancelled. Of a fit that was cancelled before its first step it
        says only that: the fit then starts anew, and ends the same.
    """

    model: FittedModel
    scores: Mapping[str, float]
    complete: bool
    checkpoint: FitCheckpoint | None = None


def fit_model(
    volume: Volume | None,
    config: FitConfig | None = None,
    *,
    labels: Volume | None = None,
    label_config: LabelConfig | None = None,
    progress: Progress | None = None,
    resume: FitCheckpoint | None = None,
) -> FitResult:
    """Return Gaussians fitted to the slices of a volume, with what hidden slices say of them.

    A fit that is cancelled before its first step, while it compares the classical methods, returns a model too: their
    blend, weighed by the slices compared so far, and Gaussians that rest where they would have started.

    Parameters
    ----------
    volume : Volume, optional
        At least two slices along the slice axis. Without one the Gaussians are fitted to the outlines of the labels.
    config : FitConfig, optional
        Settings; the defaults if not given.
    labels : Volume, optional
        Label ids on the grid of the volume: they become the label head, see `fit_labels`, and change nothing else.
    label_config : LabelConfig, optional
        Which slices of the labels were annotated.
    progress : Progress, optional
        Hears of the fit a few times per second, and may pause or cancel it.
    resume : FitCheckpoint, optional
        The state of a cancelled fit of the same volume and settings; on the CPU the result is then the same as that of
        an unbroken fit with the same number of threads.

    Raises
    ------
    ValueError
        If the volume has fewer than two slices, the device cannot be had, the labels break a rule of `annotate`, there
        is neither a volume nor labels, or the checkpoint belongs to another volume or other settings.

    Examples
    --------
    >>> result = fit_model(volume, FitConfig(preset="fast"))  # doctest: +SKIP
    """
    config, progress = config or FitConfig(), progress or SilentProgress()
    fitted, annotation = what_is_fitted(volume, config, labels, label_config)
    fit = _Fit(fitted, config, progress)
    result = fit.run(resume)
    if annotation is None:
        return result
    if volume is None:  # what was predicted there is a picture of outlines, which nobody asked for
        result = replace(result, model=replace(result.model, has_image=False, scores={}), scores={})
    result = replace(result, model=add_head(result.model, annotation, progress))
    if result.complete and progress.cancelled:  # while labels were fitted: the state after the last step leads there
        result = replace(result, complete=False, checkpoint=fit.checkpoint())
    return result


class _Fit:
    """One fit: what it was asked for, and how it goes on from any state."""

    def __init__(self, volume: Volume, config: FitConfig, progress: Progress) -> None:
        self.volume = volume
        self.config = config
        self.progress = progress
        self.plan: FitPlan = plan_fit(volume, config)
        self.identity = content_hash(volume)
        self.memory: RecentlyUsed[Any] = RecentlyUsed(MEMORY_BYTES)
        self._state: Running | None = None
        self._last_report = 0.0
        self._pace = Pace(progress)

    def run(self, resume: FitCheckpoint | None) -> FitResult:
        """Go through the phases that remain."""
        state = None
        if resume:
            state = restore(resume, self.config, self.identity, self.plan.stack.channels, self.plan.device)
        first = state.phase if state else 0 if self.plan.hidden else 1
        phase, evidence = self._prepare(first, state)
        begun = state or self._seeded(phase, first, evidence)
        self._state = state
        if self._pace.must_stop():  # perhaps in the middle of all that: a fit that goes on does it again
            return self._result(begun, phase, evidence, complete=False)
        self._state = state = begun
        if not self._descend(state, phase):
            return self._result(state, phase, evidence, complete=False)
        if first == 0:
            self._pace.prepare()
            watch = self._watch("judging hidden slices", state)
            lesson = judge_hidden(phase, state.parameters, self.plan.stack, self.plan.hidden, watch)
            if lesson is None:
                return self._result(state, phase, evidence, complete=False)
            state.scores, state.trust, state.smoothing = dict(lesson.scores), lesson.trust, lesson.smoothing
            whole, whole_evidence = self._prepare(1, state)
            if self._pace.must_stop():
                return self._result(state, phase, evidence, complete=False)
            phase, evidence = whole, whole_evidence
            self._join_hidden(state, phase)
            if not self._descend(state, phase):
                return self._result(state, phase, evidence, complete=False)
        return self._result(state, phase, evidence, complete=True)

    def _prepare(self, number: int, state: Running | None) -> tuple[Phase, list[Evidence]]:
        """Return phase 0 (hidden slices left out) or 1 (all slices), its blend weights learned, and from what.

        In a fit that is to stop both are what is known by then.
        """
        plan = self.plan
        stack = plan.stack.select(list(plan.kept)) if number == 0 else plan.stack
        flows = Flows(stack, self.config.effort.flow, self.memory)
        flows.prepare(go_on=self._watch("following the motion", state))
        watch = self._watch("comparing the classical methods", state)
        evidence = gather_evidence(flows, self.config.effort.predicted_slices, watch)
        weights = solve_blend(evidence, stack.channels)
        phase = Phase(stack, plan.stack, flows, weights, plan.compositing, plan.device)
        if plan.steps[number] >= len(stack):  # else most would be made in vain
            phase.prepare(self._watch("blending slices", state))
        return phase, evidence

    def _watch(self, doing: str, state: Running | None) -> GoOn:
        """Say what is being done, and return what follows it slice by slice."""
        self._report(doing, state)

        def go_on(done: int, total: int) -> bool:
            if time.monotonic() - self._last_report > REPORT_SECONDS:
                self._report(f"{doing} ({done} of {total})", state)
            return not self._pace.must_stop()

        return go_on

    def _seed(self, generator: np.random.Generator, phase: Phase, k: int, *, moving: bool) -> Matrix:
        """Return the packed Gaussians of slice k of the phase's stack."""
        count, degree = self.plan.counts[int(phase.coordinates[k])], self.config.drift_degree
        seeded = seed_slice(phase.flows, k, phase.coordinates, count, degree, generator, moving=moving)
        return seeded.pack().to(self.plan.device)

    def _seeded(self, phase: Phase, number: int, evidence: list[Evidence]) -> Running:
        """Return the state before the first step; in a fit that is to stop the Gaussians rest."""
        generator = np.random.default_rng(self.config.seed)
        blocks = [self._seed(generator, phase, k, moving=not self.progress.cancelled) for k in range(len(phase.stack))]
        lengths = np.zeros(len(self.plan.stack), dtype=np.int64)
        lengths[phase.coordinates.astype(int)] = [len(block) for block in blocks]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        parameters = Parameters(RowAdam.start(torch.cat(blocks)), starts, phase.stack.channels)
        channels = phase.stack.channels
        usual = (USUAL_TRUST,) * channels, (USUAL_SMOOTHING,) * channels
        state = Running(parameters, generator, self.plan.steps, number, *usual)
        if number == 1:
            watch = self._watch("comparing the classical methods", None)
            state.scores = cross_validate(phase.flows, evidence, watch)
        return state

    def _join_hidden(self, state: Running, phase: Phase) -> None:
        """Give the hidden slices Gaussians of their own, and start the second phase."""
        parameters = state.parameters
        for k in self.plan.hidden:
            block = self._seed(state.generator, phase, k, moving=True)
            parameters.optimizer = parameters.optimizer.insert(int(parameters.starts[k]), block)
            parameters.starts[k + 1 :] += len(block)
        state.phase, state.step, state.order = 1, 0, []

    def _descend(self, state: Running, phase: Phase) -> bool:
        """Take the steps that remain in a phase; return False if the fit was cancelled."""
        self._pace.descend()
        rates = column_rates(state.parameters.gaussians())
        slices = len(phase.stack)
        doing = "fitting, some slices hidden" if state.phase == 0 else "fitting all slices"
        while state.step < state.totals[state.phase]:
            total = state.totals[state.phase]
            if self._pace.must_stop():
                return False
            if not state.order:
                state.order = [int(k) for k in state.generator.permutation(slices)]
            k = state.order.pop()
            gap = min(max(k - int(state.generator.integers(2)), 0), slices - 2)
            with single_threaded_torch():
                loss = phase.step(state.parameters, k, gap, rates * LAST_RATE ** (state.step / total))
            memory = 0.0 if math.isnan(state.loss) else LOSS_MEMORY
            state.loss = loss if memory == 0.0 else memory * state.loss + (1.0 - memory) * loss
            state.step += 1
            self._pace.count_step()
            if state.phase == 0 and self.config.steps is None and state.step % max(1, total // CHECKS) == 0:
                self._stop_early(state, phase)
            if time.monotonic() - self._last_report > REPORT_SECONDS or state.step == state.totals[state.phase]:
                self._report(doing, state, phase)
        return True

    def _stop_early(self, state: Running, phase: Phase) -> None:
        """Look at hidden slices; where they gain no more, end the first phase, and shorten the second as much."""
        state.checks.append(check_hidden(phase, state.parameters, self.plan.stack, self.plan.hidden))
        if has_settled(state.checks):
            first, second = state.totals
            state.totals = (state.step, max(1, round(second * state.step / first)))

    def _report(self, doing: str, state: Running | None, phase: Phase | None = None) -> None:
        self._last_report = time.monotonic()
        if state is None:
            self.progress.report(FitState(doing, 0, sum(self.plan.steps)))
            return
        total, done = sum(state.totals), state.done
        left = self._pace.seconds_left(total - done, second_ahead=state.phase == 0)
        snapshot = partial(self._model, state, phase) if phase else None
        scores, checks = dict(state.scores), tuple(state.checks)
        self.progress.report(FitState(doing, done, total, state.loss, left, scores, snapshot, checks))

    def _model(self, state: Running, phase: Phase) -> FittedModel:
        """Return the model as it stands, but for its error bound; its Gaussians are a copy, so the fit may go on."""
        packed = state.parameters.optimizer.parameters.clone()
        return FittedModel(
            gaussians=FoldedGaussians.unpack(packed, phase.stack.channels).to(torch.device("cpu")),
            compositing=self.plan.compositing,
            volume=self.volume,
            axis=self.plan.axis,
            window=self.plan.stack.window,
            skipped=self.plan.skipped,
            detail=strength_of(phase.weights, state.trust, state.smoothing),
            flow=phase.flows.flow,
            scores=dict(state.scores),
            memory=self.memory.part("flow"),  # renderings are of the Gaussians as they stand
            provenance={
                "settings": self.config.model_dump(mode="json"),
                "input_sha256": self.identity,
                "hidden_slices": [self.plan.numbers[k] for k in self.plan.hidden],
                "steps_done": state.done,
                "steps_planned": sum(self.plan.steps),
                "steps_needed": sum(state.totals),
                "device": self.plan.device.type,
                "versions": recorded_versions(),
            },
        )

    def _result(self, state: Running, phase: Phase, evidence: list[Evidence], complete: bool) -> FitResult:
        bound = learn_error_bound(evidence, phase.weights)
        model = replace(self._model(state, phase), error_bound=bound, memory=self.memory)
        return FitResult(model, model.scores, complete, None if complete else self.checkpoint())

    def checkpoint(self) -> FitCheckpoint:
        """Return the state in which the fit has ended, complete or not."""
        return capture(self._state, self.config, self.identity)


def recorded_versions() -> dict[str, str]:
    """Return the versions of what a fit's numbers depend on, by distribution."""
    found = {}
    for name in RECORDED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
