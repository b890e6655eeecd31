"""How far to trust a slice that was not measured, voxel by voxel, learned from the volume's own slices.

Evidence, blend weights and a slice coordinate come in; the bound that nine in ten errors stay within goes out.
"""

import numpy as np

from medgs_core.arrays import Image
from medgs_core.blending import BlendWeights, ingredients_at, mix
from medgs_core.correspondence import Flows
from medgs_core.evidence import CUES, LEAST_VARIANCE, Evidence, error_cues
from medgs_core.model import ErrorBound

RATE = 0.9
"""Share of the voxels whose error the bound should cover."""

BINS = 12
"""Steps of the expected deviation with a bound of their own; the deviations within one differ little."""


def learn_error_bound(evidence: list[Evidence], weights: BlendWeights) -> ErrorBound | None:
    """Return what the errors of predicted inner slices say; None if there are none.

    The variance of the error is a sum of the cues with weights that are not negative, found by least squares on
    relative errors. The bound is the deviation times a factor that depends on the deviation, so that in each of `BINS`
    steps of it a share `RATE` of the errors lies within. Channels, in unit intensities, teach together.

    Parameters
    ----------
    evidence : list of Evidence
        Of the measured slices.
    weights : BlendWeights
        Of the interpolant whose errors are learned.
    """
    from scipy.optimize import nnls

    if not evidence:
        return None
    samples = [one.sample for one in evidence]
    errors = [
        np.abs(np.clip(mix(one.linear, one.added, one.ratio, weights), 0.0, 1.0) - one.truth).ravel() for one in samples
    ]
    seen, missed = (
        np.concatenate([one.cues.reshape(-1, len(CUES)) for one in samples]),
        np.concatenate(errors).astype(np.float64),
    )
    relative = 1.0 / (seen.sum(axis=1) + LEAST_VARIANCE)
    scaled = seen * relative[:, None]
    # the normal equations, factored, are a least-squares problem of five rows
    gram = scaled.T @ scaled
    size = np.sqrt(np.diag(gram))
    size[size == 0.0] = 1.0  # a cue that is nowhere present
    root = np.linalg.cholesky(gram / np.outer(size, size) + 1e-9 * np.eye(len(CUES)))
    found = nnls(root.T, np.linalg.solve(root, scaled.T @ (missed**2 * relative) / size))[0] / size
    deviation = np.sqrt(seen @ found + LEAST_VARIANCE)
    edges = np.unique(np.quantile(deviation, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    step = np.digitize(deviation, edges)
    inside = [step == i for i in range(len(edges) + 1) if np.any(step == i)]
    return ErrorBound(
        cues=tuple(float(value) for value in found),
        deviations=tuple(float(deviation[one].mean()) for one in inside),
        bounds=tuple(float(np.quantile(missed[one], RATE)) for one in inside),
    )


def bound_error(flows: Flows, weights: BlendWeights, bound: ErrorBound, rendered: Image, t: float) -> Image:
    """Return the bound of the error of a rendered slice: (height, width, channels), in unit intensities.

    What was learned holds for the blend and vanishes towards measured slices as 4 alpha (1 - alpha), alpha the fraction
    of the gap; what the rendered slice differs from the blend by is added.

    Parameters
    ----------
    flows : Flows
        The correspondence of the measured slices.
    weights : BlendWeights
        Of the blend.
    bound : ErrorBound
        What was learned.
    rendered : (height, width, channels)
        The slice, in unit intensities.
    t : float
        Its coordinate.
    """
    stack = flows.stack
    k, alpha = stack.bracket(t)
    linear, added, ratio = ingredients_at(flows, t)
    squares = error_cues(stack.image(k), stack.image(k + 1), linear, added, ratio)
    deviation = np.sqrt(squares @ np.array(bound.cues) + LEAST_VARIANCE)
    factors = np.array(bound.bounds) / np.array(bound.deviations)
    limit = (deviation * np.interp(deviation, bound.deviations, factors)).reshape(rendered.shape)
    inside = np.clip(rendered, 0.0, 1.0)
    differs = np.abs(inside - np.clip(mix(linear, added, ratio, weights), 0.0, 1.0))
    result: Image = (limit * 4.0 * alpha * (1.0 - alpha) + differs).astype(np.float32)
    return result
