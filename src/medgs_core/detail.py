"""What the Gaussians leave out at measured slices, carried to the slices between them.

Measured slices and the Gaussians' renderings come in; the slice at any coordinate goes out, equal to the
measured one where there is one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medgs_core.arrays import Image
from medgs_core.blending import BlendWeights, blend_carried, carry_ways, neighborhood
from medgs_core.carrying import carry
from medgs_core.correspondence import Flows
from medgs_core.model import DetailStrength
from medgs_core.slices import SliceStack
from medgs_core.threads import map_in_threads

HALF = np.float32(0.5)
"""Share of what is carried to a pixel that must lie outside the intensity window for the pixel to do so."""

Estimate = Callable[[float], Image]
"""The Gaussians' rendering at a slice coordinate, in unit intensities."""


def add_detail(stack: SliceStack, flows: Flows, estimate: Estimate, strength: DetailStrength, t: float) -> Image:
    """Return the slice at coordinate t from the Gaussians and the measured slices around it.

    With S the measured slices, G the Gaussians' renderings, I the interpolant of `blending`, alpha
    the fraction of the gap, and per channel trust l and smoothing m, which 4 alpha (1 - alpha) lets vanish at both
    ends of the gap:

        I(S) + l [G(t) - I(G)] + m 4 alpha (1 - alpha) [I(G) - I(S)]

    so l = 1, m = 0 is G(t) plus the interpolated residual S - G (but that PCHIP is not quite linear), and
    l = m = 0 the interpolant alone. What lies outside the intensity window, which the Gaussians do not describe,
    is carried apart.

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
    asked = any(strength.trust) or any(strength.smoothing)
    weights = BlendWeights(np.array(strength.blend, np.float32))
    return gather_parts(stack, flows, estimate if asked else None, weights, t).mix(strength.trust, strength.smoothing)


@dataclass(frozen=True)
class Parts:
    """What the slice at a coordinate is mixed from, in unit intensities.

    Attributes
    ----------
    slices, rendered : (height, width, channels) the interpolants I(S) and I(G)
    shown : (height, width, channels) G(t)
    beyond : (height, width, channels) what lies outside the intensity window
    alpha : fraction of the gap
    """

    slices: Image
    rendered: Image
    shown: Image
    beyond: Image
    alpha: float

    @property
    def trusted(self) -> Image:
        """What full trust adds to the interpolant."""
        added: Image = self.shown - self.rendered
        return added

    @property
    def smoothed(self) -> Image:
        """What full smoothing adds to the interpolant."""
        added: Image = np.float32(4.0 * self.alpha * (1.0 - self.alpha)) * (self.rendered - self.slices)
        return added

    def mix(self, trust: Sequence[float], smoothing: Sequence[float]) -> Image:
        """Return the slice under trust and smoothing per channel, or one for all."""
        follow, withhold = np.array(trust, np.float32), np.array(smoothing, np.float32)
        result: Image = self.slices + follow * self.trusted + withhold * self.smoothed
        # what is interpolated and rendered lies in the window, so beyond it there is only overshoot
        np.clip(result, 0, 1, out=result)
        result += self.beyond
        return result


def gather_parts(stack: SliceStack, flows: Flows, estimate: Estimate | None, weights: BlendWeights, t: float) -> Parts:
    """Return what the slice at coordinate t is mixed from; parameters as in `add_detail`.

    Without an estimate the Gaussians are taken to show nothing.
    """
    k, _ = stack.bracket(t)
    z = stack.z_at(t)
    around, gap = neighborhood(len(stack), k)
    alpha = float((z - stack.positions[k]) / (stack.positions[k + 1] - stack.positions[k]))
    images = np.empty((len(around), stack.height, stack.width, (2 if estimate else 1) * stack.channels), np.float32)
    for place, j in enumerate(around):
        images[place, ..., : stack.channels] = stack.image(j)
        if estimate:
            images[place, ..., stack.channels :] = estimate(float(j))
    where = (images, stack.positions[around], gap, z)
    ways: tuple[Callable[[], Any], ...] = (
        *carry_ways(*where, flows.motion(k), flows.channel_weights),
        lambda: _excess(stack, flows, k, alpha),
        lambda: estimate(t) if estimate else None,
    )
    *carried, beyond, shown = map_in_threads(lambda way: way(), ways)
    mixed = blend_carried(*where, carried, weights, flows.channel_weights)
    slices, rendered = mixed[..., : stack.channels], mixed[..., stack.channels :]
    if shown is None:
        shown = rendered = np.zeros_like(slices)
    return Parts(slices, rendered, shown, beyond, alpha)


def _excess(stack: SliceStack, flows: Flows, k: int, alpha: float) -> Image:
    """Return what lies outside the intensity window at a fraction of gap k: (height, width, channels).

    It may be huge, metal in a CT for instance: a hundredth of it at a pixel beside the metal would be too much. So it
    is given only to pixels that most of what is carried to them saturates, and there as the mean of what is carried.
    """
    beyond = np.stack([stack.unclipped(j) - stack.image(j) for j in (k, k + 1)])
    signs = [sign for sign in (1, -1) if (sign * beyond > 0).any()]
    if not signs:
        return np.zeros_like(beyond[0])
    # all that is carried side by side, because four channels are warped as fast as one
    parts = [part for sign in signs for part in (np.maximum(sign * beyond, 0), (sign * beyond > 0).astype(np.float32))]
    first, second = np.concatenate(parts, axis=3)
    carried, _ = carry(first, second, flows.between(k).leading(), float(alpha), bounded=True)
    total: Image = np.zeros_like(beyond[0])
    for sign, pair in zip(signs, np.split(carried, len(signs), axis=2), strict=True):
        amount, share = np.split(pair, 2, axis=2)
        total += sign * np.where(share > HALF, amount / np.maximum(share, HALF), 0) * np.minimum(2 * share - 1, 1)
    return total


def strength_of(weights: BlendWeights, trust: Sequence[float], smoothing: Sequence[float]) -> DetailStrength:
    """Return the strength that these weights, and trust and smoothing per channel, make, as a model keeps it."""
    table = tuple(tuple(tuple(float(weight) for weight in row) for row in rows) for rows in weights.table)
    return DetailStrength(table, tuple(trust), tuple(smoothing))


def carry_all(learned: DetailStrength) -> DetailStrength:
    """Return the strength that carries all of the residual, as detail "on" does: full trust, no smoothing."""
    channels = len(learned.blend)
    return replace(learned, trust=(1.0,) * channels, smoothing=(0.0,) * channels)
