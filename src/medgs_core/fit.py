"""The loop: a volume comes in, a fitted model and honest scores go out.

First some slices hide and are predicted; what that teaches stays, then they join. A fit can be followed, paused,
stopped and resumed, and on the CPU ends with the same numbers every time.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from medgs_core.cache import RecentlyUsed
from medgs_core.classical import METHODS, Method, interpolate_slices
from medgs_core.config import FitConfig
from medgs_core.correspondence import Flows
from medgs_core.descent import LAST_RATE, Parameters, Phase, column_rates, single_threaded_torch, strength
from medgs_core.detail import add_detail
from medgs_core.evidence import gather_evidence, solve_blend
from medgs_core.initialize import seed_slice
from medgs_core.metrics import score_slice
from medgs_core.model import MEMORY_BYTES, DetailStrength, FitCheckpoint, FittedModel, FoldedGaussians
from medgs_core.optimizer import RowAdam
from medgs_core.plan import FitPlan, plan_fit
from medgs_core.progress import FitState, Progress, SilentProgress
from medgs_core.volume import Volume, content_hash

BASELINES: tuple[Method, ...] = tuple(method for method in METHODS if method != "nearest")
OURS = "medgs"
"""Name of the model's own row among the scores."""

FIRST_TRUST, FIRST_SMOOTHING = 0.5, 0.15
"""How far to follow the Gaussians where no hidden slice tells: what hidden slices of most volumes say, on the low side."""

STRENGTH_RIDGE = 1e-3
"""Pull to these values, relative to the information in the hidden slices."""

REPORT_SECONDS = 0.3
PAUSE_SECONDS = 0.05
"""Between two reports, and between two looks at whether a pause is over; no number of the fit depends on them."""

LOSS_MEMORY = 0.98
"""Share of the running mean of the loss that one step keeps."""


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
        What `fit_model` needs to go on, where it was cancelled.
    """

    model: FittedModel
    scores: Mapping[str, float]
    complete: bool
    checkpoint: FitCheckpoint | None = None


@dataclass
class _Running:
    """The state of a fit between two steps: all that a checkpoint holds."""

    parameters: Parameters
    generator: np.random.Generator
    phase: int
    step: int = 0
    order: list[int] = field(default_factory=list)
    loss: float = math.nan
    scores: dict[str, float] = field(default_factory=dict)
    trust: float = FIRST_TRUST
    smoothing: float = FIRST_SMOOTHING


def fit_model(
    volume: Volume,
    config: FitConfig | None = None,
    *,
    progress: Progress | None = None,
    resume: FitCheckpoint | None = None,
) -> FitResult:
    """Return Gaussians fitted to the slices of a volume, with what hidden slices say of them.

    Parameters
    ----------
    volume : Volume
        At least two slices along the slice axis.
    config : FitConfig, optional
        Settings; the defaults if not given.
    progress : Progress, optional
        Hears of the fit a few times per second, and may pause or cancel it.
    resume : FitCheckpoint, optional
        The state of a cancelled fit of the same volume and settings; on the CPU the result is then the same as that of
        an unbroken fit with the same number of threads.

    Raises
    ------
    ValueError
        If the volume has fewer than two slices, the device cannot be had, or the checkpoint belongs to another volume
        or other settings.

    Examples
    --------
    >>> result = fit_model(volume, FitConfig(preset="fast"))  # doctest: +SKIP
    """
    return _Fit(volume, config or FitConfig(), progress or SilentProgress()).run(resume)


class _Fit:
    """One fit: what it was asked for, and how it goes on from any state."""

    def __init__(self, volume: Volume, config: FitConfig, progress: Progress) -> None:
        self.volume = volume
        self.config = config
        self.progress = progress
        self.plan: FitPlan = plan_fit(volume, config)
        self.identity = content_hash(volume)
        self.memory: RecentlyUsed[Any] = RecentlyUsed(MEMORY_BYTES)
        self._last_report = 0.0
        self._begun = time.monotonic()
        self._begun_at = 0

    def run(self, resume: FitCheckpoint | None) -> FitResult:
        """Go through the phases that remain."""
        first = 0 if self.plan.hidden else 1
        state = self._restored(resume) if resume else None
        for number in range(state.phase if state else first, 2):
            self._announce(state, "comparing slices")
            phase = self._prepare(number)
            if state is None:
                state = self._seeded(phase, number)
            elif state.phase < number:
                self._join_hidden(state, phase)
            self._begun, self._begun_at = time.monotonic(), self._done(state)
            if not self._descend(state, phase):
                return self._result(state, phase, complete=False)
            if number == 0:
                self._learn_from_hidden(state, phase)
        assert state is not None
        return self._result(state, phase, complete=True)

    def _prepare(self, number: int) -> Phase:
        """Return phase 0 (hidden slices left out) or 1 (all slices), with its blend weights learned."""
        plan = self.plan
        kept = list(plan.kept) if number == 0 else list(range(len(plan.stack)))
        stack = plan.stack.select(kept) if number == 0 else plan.stack
        flows = Flows(stack, self.config.effort.flow_variants, self.memory if number == 1 else None)
        self.evidence = gather_evidence(stack, flows.variants)
        coordinates = np.array(kept, dtype=np.float64)
        return Phase(stack, coordinates, flows, solve_blend(self.evidence), plan.compositing, plan.device)

    def _seed(self, state_generator: np.random.Generator, phase: Phase, k: int, coordinate: int) -> torch.Tensor:
        seeded = seed_slice(
            phase.stack,
            phase.flows,
            k,
            phase.coordinates,
            self.plan.counts[coordinate],
            self.config.drift_degree,
            state_generator,
        )
        return seeded.pack().to(self.plan.device)

    def _seeded(self, phase: Phase, number: int) -> _Running:
        """Return the state before the first step."""
        generator = np.random.default_rng(self.config.seed)
        slices = len(self.plan.stack)
        seen = self.plan.kept if number == 0 else range(slices)
        rows = [self._seed(generator, phase, k, coordinate) for k, coordinate in enumerate(seen)]
        lengths = np.zeros(slices, dtype=np.int64)
        lengths[list(seen)] = [len(block) for block in rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        parameters = Parameters(RowAdam.start(torch.cat(rows)), starts, phase.stack.channels)
        state = _Running(parameters, generator, number)
        if number == 1:
            state.scores = self._cross_validated(phase)
        return state

    def _join_hidden(self, state: _Running, phase: Phase) -> None:
        """Give the hidden slices Gaussians of their own, and start the second phase."""
        parameters = state.parameters
        for coordinate in self.plan.hidden:
            block = self._seed(state.generator, phase, coordinate, coordinate)
            at = int(parameters.starts[coordinate])
            parameters.optimizer = parameters.optimizer.insert(at, block)
            parameters.starts[coordinate + 1 :] += len(block)
        state.phase, state.step, state.order = 1, 0, []

    def _descend(self, state: _Running, phase: Phase) -> bool:
        """Take the steps that remain in a phase; return False if the fit was cancelled."""
        with single_threaded_torch():
            return self._take_steps(state, phase)

    def _take_steps(self, state: _Running, phase: Phase) -> bool:
        total = self.plan.steps[state.phase]
        rates = column_rates(state.parameters.gaussians())
        slices = len(phase.stack)
        while state.step < total:
            if self._must_stop():
                return False
            if not state.order:
                state.order = [int(k) for k in state.generator.permutation(slices)]
            k = state.order.pop()
            gap = min(max(k - int(state.generator.integers(2)), 0), slices - 2)
            loss = phase.step(state.parameters, k, gap, rates * LAST_RATE ** (state.step / total))
            state.loss = loss if math.isnan(state.loss) else LOSS_MEMORY * state.loss + (1 - LOSS_MEMORY) * loss
            state.step += 1
            self._report(state, phase)
        return True

    def _learn_from_hidden(self, state: _Running, phase: Phase) -> None:
        """Score the hidden slices, and learn from them how far to trust and to smooth."""
        plan, window = self.plan, self.plan.stack.window

        def estimate(t: float) -> np.ndarray:
            with torch.no_grad():
                shown = phase.render(state.parameters.gaussians(), phase.coordinate(t))
            return shown.cpu().numpy()

        def predict(t: float, trust: float, smoothing: float) -> np.ndarray:
            learned = strength(phase.weights, trust, smoothing)
            return add_detail(phase.stack, phase.flows, estimate, learned, t)

        places = {h: phase.stack.t_at(float(plan.stack.positions[h])) for h in plan.hidden}
        gram, moment = np.zeros((2, 2)), np.zeros(2)
        for h, t in places.items():
            alone = predict(t, 0.0, 0.0)
            parts = np.stack([(predict(t, *unit) - alone).ravel() for unit in ((1.0, 0.0), (0.0, 1.0))])
            missing = (plan.stack.image(h) - alone).ravel().astype(np.float64)
            gram += parts.astype(np.float64) @ parts.T
            moment += parts @ missing
        pull = STRENGTH_RIDGE * max(float(np.trace(gram)), np.finfo(np.float64).tiny) * np.eye(2)
        learned = np.linalg.solve(gram + pull, moment + pull @ np.array([FIRST_TRUST, FIRST_SMOOTHING]))
        state.trust, state.smoothing = (float(value) for value in np.clip(learned, 0.0, 1.0))
        predictions = {
            OURS: lambda t: predict(t, state.trust, state.smoothing),
            **{
                method: (lambda t, method=method: interpolate_slices(phase.stack, t, method, phase.flows))
                for method in BASELINES
            },
        }
        for name, predicted in predictions.items():
            found = [
                score_slice(
                    plan.stack.planes[h], window.to_stored(predicted(t), plan.stack.planes.dtype), window.low, window.high
                )[0]
                for h, t in places.items()
            ]
            state.scores[name] = float(np.mean(found))

    def _cross_validated(self, phase: Phase) -> dict[str, float]:
        """Return the scores of the classical methods and their blend, each slice predicted from the others."""
        stack, window = phase.stack, phase.stack.window
        found: dict[str, list[float]] = {}
        for one in self.evidence:
            others = [k for k in range(len(stack)) if k != one.k]
            rest = stack.select(others)
            t = rest.t_at(float(stack.positions[one.k]))
            flows = Flows(rest, phase.flows.variants)
            weights = solve_blend([other for other in self.evidence if other.k != one.k])
            alone = strength(weights, 0.0, 0.0)
            predictions = {method: interpolate_slices(rest, t, method, flows) for method in BASELINES}
            predictions["blend"] = add_detail(rest, flows, phase.nothing, alone, t)
            for name, predicted in predictions.items():
                stored = window.to_stored(predicted, stack.planes.dtype)
                found.setdefault(name, []).append(
                    score_slice(stack.planes[one.k], stored, window.low, window.high)[0]
                )
        return {name: float(np.mean(values)) for name, values in found.items()}

    def _must_stop(self) -> bool:
        while self.progress.paused and not self.progress.cancelled:
            time.sleep(PAUSE_SECONDS)
        return self.progress.cancelled

    def _done(self, state: _Running) -> int:
        return state.step + (self.plan.steps[0] if state.phase == 1 else 0)

    def _announce(self, state: _Running | None, doing: str) -> None:
        done = self._done(state) if state else 0
        self.progress.report(FitState(doing, done, sum(self.plan.steps), scores=dict(state.scores) if state else {}))

    def _report(self, state: _Running, phase: Phase) -> None:
        now = time.monotonic()
        done, total = self._done(state), sum(self.plan.steps)
        if now - self._last_report < REPORT_SECONDS and done < total:
            return
        self._last_report = now
        left = (now - self._begun) / max(done - self._begun_at, 1) * (total - done)
        doing = "fitting, some slices hidden" if state.phase == 0 else "fitting all slices"
        self.progress.report(
            FitState(doing, done, total, state.loss, left, dict(state.scores), lambda: self._model(state, phase))
        )

    def _model(self, state: _Running, phase: Phase) -> FittedModel:
        """Return the model as it stands; it shares no memory with the running fit."""
        from importlib.metadata import version

        gaussians = FoldedGaussians.unpack(state.parameters.optimizer.parameters.clone(), phase.stack.channels)
        detail: DetailStrength = strength(phase.weights, state.trust, state.smoothing)
        return FittedModel(
            gaussians=gaussians.to(torch.device("cpu")),
            compositing=self.plan.compositing,
            volume=self.volume,
            axis=self.plan.axis,
            window=self.plan.stack.window,
            detail=detail,
            flow_variants=phase.flows.variants,
            scores=dict(state.scores),
            provenance={
                "settings": self.config.model_dump(mode="json"),
                "input_sha256": self.identity,
                "hidden_slices": list(self.plan.hidden),
                "steps_done": self._done(state),
                "steps_planned": sum(self.plan.steps),
                "device": self.plan.device.type,
                "threads": torch.get_num_threads(),
                "versions": {name: version(name) for name in ("medgs-napari", "torch", "numpy", "numba")},
            },
            memory=self.memory if state.phase == 1 and self._done(state) == sum(self.plan.steps) else _fresh_memory(),
        )

    def _result(self, state: _Running, phase: Phase, complete: bool) -> FitResult:
        model = self._model(state, phase)
        return FitResult(model, model.scores, complete, None if complete else self._checkpoint(state))

    def _checkpoint(self, state: _Running) -> FitCheckpoint:
        optimizer = state.parameters.optimizer
        tensors = {
            "parameters": optimizer.parameters,
            "mean": optimizer.mean,
            "square": optimizer.square,
            "seen": optimizer.seen,
        }
        facts = {
            "settings": self.config.model_dump(mode="json"),
            "input_sha256": self.identity,
            "generator": state.generator.bit_generator.state,
            "starts": state.parameters.starts.tolist(),
            "phase": state.phase,
            "step": state.step,
            "order": state.order,
            "loss": None if math.isnan(state.loss) else state.loss,
            "scores": state.scores,
            "trust": state.trust,
            "smoothing": state.smoothing,
        }
        return FitCheckpoint({name: tensor.clone().cpu() for name, tensor in tensors.items()}, facts)

    def _restored(self, checkpoint: FitCheckpoint) -> _Running:
        facts = checkpoint.facts
        if facts["input_sha256"] != self.identity:
            msg = (
                f"a fit resumes on the volume it began with, got one whose hash is {self.identity[:12]} instead of "
                f"{facts['input_sha256'][:12]}; give the first volume, or start anew without --resume"
            )
            raise ValueError(msg)
        ours = self.config.model_dump(mode="json")
        changed = [name for name, value in facts["settings"].items() if ours.get(name) != value]
        if changed:
            name = changed[0]
            msg = (
                f"a fit resumes with the settings it began with, got {name} {ours.get(name)} instead of "
                f"{facts['settings'][name]}; give the first settings, or start anew without --resume"
            )
            raise ValueError(msg)
        tensors = {name: tensor.to(self.plan.device) for name, tensor in checkpoint.tensors.items()}
        generator = np.random.default_rng()
        generator.bit_generator.state = facts["generator"]
        parameters = Parameters(
            RowAdam(tensors["parameters"], tensors["mean"], tensors["square"], tensors["seen"]),
            np.array(facts["starts"], dtype=np.int64),
            self.plan.stack.channels,
        )
        return _Running(
            parameters=parameters,
            generator=generator,
            phase=facts["phase"],
            step=facts["step"],
            order=list(facts["order"]),
            loss=math.nan if facts["loss"] is None else facts["loss"],
            scores=dict(facts["scores"]),
            trust=facts["trust"],
            smoothing=facts["smoothing"],
        )


def _fresh_memory() -> RecentlyUsed[Any]:
    return RecentlyUsed(MEMORY_BYTES)
