"""What the Gaussians leave out at measured slices, carried to the slices between them.

Measured slices and the Gaussians' renderings come in; the slice at any coordinate goes out, equal to the
measured one where there is one.
"""

from collections.abc import Callable

import numpy as np

from medgs_core.arrays import Image, Stack
from medgs_core.correspondence import Flows
from medgs_core.evidence import BlendWeights, blend, neighborhood
from medgs_core.model import DetailStrength
from medgs_core.slices import SliceStack

FULL = (1.0, 0.0)
"""Trust and smoothing when all of the residual is carried: detail "on"."""

Estimate = Callable[[float], Image]
"""The Gaussians' rendering at a slice coordinate, in unit intensities."""


def add_detail(stack: SliceStack, flows: Flows, estimate: Estimate, strength: DetailStrength, t: float) -> Image:
    """Return the slice at coordinate t from the Gaussians and the measured slices around it.

    With S the measured slices, G the Gaussians' renderings, I the blended interpolant of `evidence`, alpha
    the fraction of the gap, trust l, and smoothing m, which 4 alpha (1 - alpha) lets vanish at both its ends:

        I(S) + l [G(t) - I(G)] + m 4 alpha (1 - alpha) [I(G) - I(S)]

    so l = 1, m = 0 is G(t) plus the interpolated residual S - G (but that PCHIP is not quite linear), and
    l = m = 0 the interpolant alone. What lies outside the intensity window, which the Gaussians do not describe,
    is interpolated in full.

    Parameters
    ----------
    stack : SliceStack
        The measured slices, at least two.
    flows : Flows
        Their correspondence.
    estimate : Callable
        The Gaussians' rendering at any coordinate.
    strength : DetailStrength
        Weights of the interpolant, trust and smoothing.
    t : float
        Slice coordinate in [0, slices - 1].

    Returns
    -------
    (height, width, channels)
        Unit intensities, beyond [0, 1] where the stored values leave the window; continuous in t where a
        measured slice is passed.
    """
    k, _ = stack.bracket(t)
    z = stack.z_at(t)
    around, gap = neighborhood(len(stack), k)
    alpha = (z - stack.positions[k]) / (stack.positions[k + 1] - stack.positions[k])
    smoothing = np.float32(strength.smoothing * 4.0 * alpha * (1.0 - alpha))
    trust = np.float32(strength.trust)
    carried = _carried(stack, estimate, around, smoothing - trust)
    weights = BlendWeights(np.array(strength.blend, np.float32))
    channels = stack.channels
    mixed = blend(carried, stack.positions[around], gap, z, flows.between(k), weights, channels)
    result: Image = (1 - smoothing) * mixed[..., :channels] + mixed[..., channels:]
    if trust:
        result += trust * estimate(t)
    return result


def _carried(stack: SliceStack, estimate: Estimate, around: list[int], share: np.float32) -> Stack:
    """Return what is interpolated per slice: clipped image, then excess plus a share of the rendering."""
    images = []
    for j in around:
        inside = stack.image(j)
        excess = stack.unclipped(j) - inside
        if share:
            excess += share * estimate(float(j))
        images.append(np.concatenate([inside, excess], axis=2))
    carried: Stack = np.stack(images)
    return carried


def strength_of(weights: BlendWeights, trust: float, smoothing: float) -> DetailStrength:
    """Return the strength that these weights, trust and smoothing make, as a model keeps it."""
    rows = tuple((float(cubic), float(pchip), float(flow)) for cubic, pchip, flow in weights.table)
    return DetailStrength(rows, trust, smoothing)
