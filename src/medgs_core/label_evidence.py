"""*label_evidence*: how far to trust each way of carrying structures, learned from the annotated slices themselves.

Every inner annotated slice is predicted from the others and compared with what was drawn; weights, and how far the
predicted borders were off, go out.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from medgs_core.propagation import LIMIT, Propagation, place_among
from medgs_core.threads import GoOn, map_in_threads

MOST_PREDICTED = 16
"""Inner slices predicted, at most: two or three weights need no more."""

MOST_PIXELS = 2000
"""Pixels near its border by which a class counts on one slice."""

SHARPNESS = 1.0
"""Logits per pixel of distance at which a wrong sign costs; 2 and 4 were as good where there is an image, and worse
without."""

PULL = 0.005
"""Weight of the square distance from equal weights, for slices that hold no information. Ten times more averages the
ways where the image is much better, ten times less takes one of two that are alike."""

LEAST_LOOSENESS, MOST_LOOSENESS = 0.01, LIMIT
"""Range of what is learned, in usual loosenesses: a border is not known better than to a hundredth of a pixel, and
beyond `LIMIT` pixels fields say nothing."""

LEAST_WEIGHT = 1e-3
"""Smaller weights are rounding of the solver, or not worth carrying everything once more."""

PROPAGATE_BYTES = 300
"""Memory per pixel and class in which a slice is predicted: four slices around and what several paths bring."""


@dataclass(frozen=True)
class Samples:
    """Pixels near the borders of one predicted slice.

    Attributes
    ----------
    fields : (pixels, ways) what each way predicted, in pixels of distance
    inside : (pixels,) what was drawn
    counts : (pixels,) how much each counts: a class by the square root of its pixels, the length of its border
    apart : distance from the predicted slice to the nearer of those it was predicted from
    """

    fields: Float64[np.ndarray, "pixels ways"]
    inside: Bool[np.ndarray, " pixels"]
    counts: Float64[np.ndarray, " pixels"]
    apart: float


def gather_samples(propagation: Propagation, go_on: GoOn | None = None) -> list[Samples]:
    """Return what the inner annotated slices tell; nothing where there are fewer than three, less if ended early."""
    rows = len(propagation.outlines)
    inner = np.arange(1, rows - 1)
    if len(inner) > MOST_PREDICTED:
        inner = inner[np.rint(np.linspace(0, len(inner) - 1, MOST_PREDICTED)).astype(int)]
    annotation = propagation.outlines.annotation
    working = PROPAGATE_BYTES * annotation.height * annotation.width * len(annotation.ids)
    return map_in_threads(lambda row: _predict(propagation, int(row)), inner, working, go_on)


def _predict(propagation: Propagation, row: int) -> Samples:
    """Return an annotated slice as it is predicted from the others, near the borders."""
    outlines = propagation.outlines
    others = tuple(other for other in range(len(outlines)) if other != row)
    z = float(outlines.positions[row])
    place = place_among(others, outlines.positions, z)
    classes = propagation.classes(place)
    carried = propagation.by_way(place, list(propagation.ways))
    generator = np.random.default_rng(row)
    fields, inside, counts = [], [], []
    for c in np.flatnonzero(outlines.present[row, classes]):
        drawn = outlines.distances(row, int(classes[c]))
        near = np.abs(drawn) < LIMIT
        for way in carried:
            near |= np.abs(way[c]) < LIMIT
        pixels = np.flatnonzero(near)
        count = np.sqrt(len(pixels))
        if len(pixels) > MOST_PIXELS:
            pixels = generator.choice(pixels, MOST_PIXELS, replace=False)
        fields.append(np.stack([way[c].ravel()[pixels] for way in carried], axis=1))
        inside.append(drawn.ravel()[pixels] > 0)
        counts.append(np.full(len(pixels), count / max(len(pixels), 1)))
    known = outlines.positions[[place.rows[place.gap], place.rows[place.gap + 1]]]
    return Samples(
        np.concatenate(fields or [np.empty((0, len(carried)))]).astype(np.float64),
        np.concatenate(inside or [np.empty(0, bool)]),
        np.concatenate(counts or [np.empty(0)]),
        float(np.abs(known - z).min()),
    )


def solve_weights(samples: list[Samples], ways: int) -> tuple[float, ...]:
    """Return how much each way counts: not negative, adding to one.

    They minimize the cross-entropy of sigmoid(`SHARPNESS` * sum_w weight_w field_w) against what was drawn, which is
    convex; equal weights without samples.
    """
    from scipy import optimize

    minimize: Any = optimize.minimize  # whose stubs know no constraints beside a gradient
    equal = np.full(ways, 1.0 / ways)
    fields = np.concatenate([one.fields for one in samples]) if samples else np.empty((0, ways))
    if not len(fields):
        return tuple(equal.tolist())
    signs = np.where(np.concatenate([one.inside for one in samples]), 1.0, -1.0)
    counts = np.concatenate([one.counts for one in samples])
    counts /= counts.sum()

    def loss(weights: Float64[np.ndarray, " ways"]) -> tuple[float, Float64[np.ndarray, " ways"]]:
        margins = SHARPNESS * signs * (fields @ weights)
        pulled = weights - equal
        slope = -(SHARPNESS * counts * signs / (1.0 + np.exp(margins))) @ fields
        return float(counts @ np.logaddexp(0.0, -margins) + PULL * pulled @ pulled), slope + 2 * PULL * pulled

    rule = {"type": "eq", "fun": lambda weights: weights.sum() - 1.0, "jac": lambda weights: np.ones(ways)}
    found = minimize(loss, equal, jac=True, bounds=[(0.0, 1.0)] * ways, constraints=rule, method="SLSQP").x
    found[found < LEAST_WEIGHT] = 0.0
    return tuple((found / found.sum()).tolist())


def solve_looseness(samples: list[Samples], weights: tuple[float, ...], usual: float) -> float:
    """Return by how many pixels a carried border is off, on average, per unit of distance from the nearest slice.

    The scale s that makes sigmoid(distance to the border / (s d)) the likeliest probability of what was drawn, d the
    distance along the slice axis; as usual where there are no samples.
    """
    from scipy.optimize import minimize_scalar

    known = [one for one in samples if len(one.fields)]
    if not known:
        return usual
    margins = np.concatenate(
        [np.where(one.inside, 1.0, -1.0) * (one.fields @ np.array(weights)) / one.apart for one in known]
    )
    counts = np.concatenate([one.counts for one in known])

    def loss(log_scale: float) -> float:
        return float(counts @ np.logaddexp(0.0, -margins / math.exp(log_scale)))

    bounds = math.log(LEAST_LOOSENESS * usual), math.log(MOST_LOOSENESS * usual)
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded").x))
