"""What slices that were not shown teach: honest scores, and how far to trust the Gaussians between slices.

A phase of the fit with its Gaussians and the slices hidden from it come in; scores, trust and smoothing go out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from jaxtyping import Float64

from medgs_core.arrays import Image
from medgs_core.blending import interpolate_blended
from medgs_core.classical import METHODS, Method, interpolate_slices
from medgs_core.correspondence import Flows
from medgs_core.descent import TARGET_BYTES, Parameters, Phase
from medgs_core.detail import Parts, gather_parts
from medgs_core.evidence import Evidence, solve_blend
from medgs_core.metrics import psnr_slice
from medgs_core.slices import SliceStack
from medgs_core.tensors import single_threaded_torch
from medgs_core.threads import GoOn, map_in_threads

BASELINES: tuple[Method, ...] = tuple(method for method in METHODS if method != "nearest")
OURS = "medgs"
BLEND = "blend"
"""Names among the scores of the model, and of the blended classical methods without Gaussians."""

USUAL_TRUST, USUAL_SMOOTHING = 0.5, 0.05
"""How far to follow the Gaussians before hidden slices tell: near the best on most volumes, far from bad on all."""

HIDDEN_SHARE = 0.5
"""Weight of what hidden slices say against these values: they are predicted across gaps twice as wide as those that
will be filled, where both optima lie elsewhere (docs/method.md)."""

STRENGTH_RIDGE = 1e-3
"""Keeps trust and smoothing at the usual values where hidden slices hold no information."""

CHECKS = 10
"""How often hidden slices are looked at while they hide, in equal parts of that phase."""

MOST_CHECKED = 6
"""Hidden slices looked at each time: enough to see a plateau, a fiftieth of the time of the phase."""

LEAST_GAIN = 0.02
PATIENCE = 2
"""The phase ends when so many checks in turn have not raised the best mean PSNR by this much, in dB: what comes after
moved the final prediction by less than 0.01 dB, or away from the truth where the slices are noisy (docs/method.md)."""

Gram = Float64[np.ndarray, "2 2"]
Moment = Float64[np.ndarray, " 2"]

Predict = Callable[[float], Image]


@dataclass(frozen=True)
class Lesson:
    """What hidden slices taught.

    Attributes
    ----------
    scores : mean PSNR in dB by method
    trust, smoothing : per channel, see `model.DetailStrength`
    """

    scores: Mapping[str, float]
    trust: tuple[float, ...]
    smoothing: tuple[float, ...]


def checked_slices(hidden: tuple[int, ...]) -> tuple[int, ...]:
    """Return which hidden slices are looked at each time."""
    return hidden[:: max(1, -(-len(hidden) // MOST_CHECKED))]


def check_hidden(phase: Phase, parameters: Parameters, whole: SliceStack, hidden: tuple[int, ...]) -> float:
    """Return the mean PSNR in dB of the Gaussians alone on some of the slices that a phase does not see."""
    errors = []
    for h in checked_slices(hidden):
        t = phase.coordinate(phase.stack.t_at(float(whole.positions[h])))
        with torch.no_grad(), single_threaded_torch():
            shown = phase.render(parameters.optimizer.parameters, t).cpu().numpy()
        errors.append(float(np.square(shown - whole.image(h)).mean()))
    return float(-10.0 * np.log10(np.maximum(errors, np.finfo(np.float32).tiny)).mean())


def has_settled(checks: list[float]) -> bool:
    """Return whether the last checks of `check_hidden` no longer gain on those before."""
    return len(checks) > PATIENCE and max(checks[-PATIENCE:]) < max(checks[:-PATIENCE]) + LEAST_GAIN


def judge_hidden(
    phase: Phase, parameters: Parameters, whole: SliceStack, hidden: tuple[int, ...], go_on: GoOn | None = None
) -> Lesson | None:
    """Return what the slices that a phase did not see teach, each channel for itself; None if it was ended early.

    Parameters
    ----------
    phase : Phase
        Of all slices but the hidden ones.
    parameters : Parameters
        The Gaussians that it fitted.
    whole : SliceStack
        All slices.
    hidden : tuple of int
        Those not seen, at least one.
    go_on : Callable, optional
        May end it early, see `threads.GoOn`.
    """

    @cache  # slices around one hidden slice are looked at several times
    def estimate(t: float) -> Image:
        with torch.no_grad(), single_threaded_torch():
            return phase.render(parameters.optimizer.parameters, phase.coordinate(t)).cpu().numpy()

    def gather(h: int) -> Parts:
        t = phase.stack.t_at(float(whole.positions[h]))
        return gather_parts(phase.stack, phase.flows, estimate, phase.weights, t)

    working = 2 * TARGET_BYTES * whole.planes[0].size
    gathered = map_in_threads(gather, hidden, working, go_on)
    if len(gathered) < len(hidden):
        return None
    parts = dict(zip(hidden, gathered, strict=True))
    equations = [_explain(parts[h], whole.image(h)) for h in hidden]
    grams, moments = (np.sum([one[side] for one in equations], axis=0) for side in (0, 1))
    trust, smoothing = zip(*map(_solve_strength, grams, moments), strict=True)

    def score(h: int) -> dict[str, float]:
        ours = {OURS: lambda t: parts[h].mix(trust, smoothing)}
        return _score(whole, h, phase.stack, ours | _classical(phase.stack, phase.flows))

    scored = map_in_threads(score, hidden, working, go_on)
    return Lesson(_mean(scored), trust, smoothing) if len(scored) == len(hidden) else None


def _explain(parts: Parts, truth: Image) -> tuple[list[Gram], list[Moment]]:
    """Return the normal equations of trust and smoothing on one hidden slice, per channel."""
    # clipped as the truth is: what lies outside the window is no fault of either
    missed = truth - np.clip(parts.slices + parts.beyond, 0.0, 1.0)
    added = np.stack([parts.trusted, parts.smoothed]).astype(np.float64)
    sides = [added[..., c].reshape(2, -1) for c in range(truth.shape[2])]
    return [side @ side.T for side in sides], [side @ missed[..., c].ravel() for c, side in enumerate(sides)]


def _solve_strength(gram: Gram, moment: Moment) -> tuple[float, float]:
    """Return trust and smoothing of one channel, from the normal equations of what each adds."""
    pull = STRENGTH_RIDGE * max(float(np.trace(gram)), np.finfo(np.float64).tiny) * np.eye(2)
    usual = np.array([USUAL_TRUST, USUAL_SMOOTHING])
    learned = np.clip(np.linalg.solve(gram + pull, moment + pull @ usual), 0.0, 1.0)
    trust, smoothing = (float(value) for value in (1.0 - HIDDEN_SHARE) * usual + HIDDEN_SHARE * learned)
    return trust, smoothing


def cross_validate(flows: Flows, evidence: list[Evidence], go_on: GoOn | None = None) -> dict[str, float]:
    """Return the scores of the classical methods and their blend, each inner slice predicted from the others.

    The blend's weights are learned without the slice it predicts. Empty without evidence, or if ended early.

    Parameters
    ----------
    flows : Flows
        The correspondence of a stack of which no slices hide.
    evidence : list of Evidence
        Of its inner slices.
    go_on : Callable, optional
        May end it early, see `threads.GoOn`.
    """
    stack = flows.stack

    def predict(one: Evidence) -> dict[str, float]:
        rest = stack.select([k for k in range(len(stack)) if k != one.k])
        around = flows.of_part(rest)
        weights = solve_blend([other for other in evidence if other.k != one.k], stack.channels)
        predictions = _classical(rest, around)
        predictions[BLEND] = partial(interpolate_blended, around, weights)
        return _score(stack, one.k, rest, predictions)

    working = stack.planes.nbytes + TARGET_BYTES * stack.planes[0].size  # the rest of the stack is a copy
    scored = map_in_threads(predict, evidence, working, go_on)
    return _mean(scored) if len(scored) == len(evidence) else {}


def _classical(stack: SliceStack, flows: Flows) -> dict[str, Predict]:
    return {method: partial(interpolate_slices, stack, method=method, flows=flows) for method in BASELINES}


def _score(whole: SliceStack, h: int, seen: SliceStack, predictions: Mapping[str, Predict]) -> dict[str, float]:
    """Return the PSNR of every prediction of slice h, made from the seen slices."""
    t = seen.t_at(float(whole.positions[h]))
    window, truth = whole.window, whole.planes[h]
    return {
        name: psnr_slice(truth, window.to_stored(predict(t), truth.dtype), window.low, window.high)
        for name, predict in predictions.items()
    }


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in found])) for name in (found[0] if found else ())}
