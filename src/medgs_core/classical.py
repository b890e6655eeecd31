"""The classical ways to fill a gap between slices: nearest, linear, cubic, PCHIP and along the optical flow.

A stack comes in, the slice at any coordinate goes out. They are the baselines of every comparison, and the
ingredients that `blending` mixes.
"""

from functools import lru_cache
from typing import Literal

import numpy as np

from medgs_core.arrays import Image, Positions, Stack
from medgs_core.carrying import carry
from medgs_core.correspondence import Flows
from medgs_core.slices import SliceStack

Method = Literal["nearest", "linear", "cubic", "pchip", "flow"]
METHODS: tuple[Method, ...] = ("nearest", "linear", "cubic", "pchip", "flow")

PLACE_DIGITS = 12
"""Decimals that count in a position over the first gap: what is beyond is the rounding of float64."""

SPLINE_REACH = 5
"""Slices on each side that a cubic spline looks at. Those beyond, whatever they hold, would move it by less than
0.01 of the intensity range, near the ends of an even stack by less than 0.02."""


def cubic_weights(positions: Positions, z: float) -> Positions:
    """Return the weight of each slice in the not-a-knot cubic spline at position z.

    Parameters
    ----------
    positions : (slices,)
        Increasing, at least two; through three the spline is the parabola, through two the straight line.
    z : float
        Where the spline is wanted, in the unit of the positions.

    Returns
    -------
    (slices,)
        Adding to one; some are negative.
    """
    # in units of the first gap, so that all gaps of an even stack ask for the same weights
    gap = float(positions[1] - positions[0])
    places = tuple(round(float(place - positions[0]) / gap, PLACE_DIGITS) for place in (*positions, z))
    return np.array(_spline_weights(places[:-1], places[-1]))


@lru_cache(maxsize=1024)  # making a spline takes as long as a pass over a slice
def _spline_weights(positions: tuple[float, ...], z: float) -> tuple[float, ...]:
    from scipy.interpolate import CubicSpline

    return tuple(float(weight) for weight in CubicSpline(positions, np.eye(len(positions)))(z))


def _window(count: int, k: int, reach: int) -> slice:
    """Return the rows k + 1 - reach .. k + reach that exist."""
    return slice(max(0, k + 1 - reach), min(count, k + 1 + reach))


def interpolate_cubic(images: Stack, positions: Positions, z: float) -> Image:
    """Return the cubic spline (not-a-knot ends) through the images at position z."""
    weights = cubic_weights(positions, z).astype(np.float32)
    result: Image = np.tensordot(weights, images, axes=1)
    return result


def interpolate_pchip(images: Stack, positions: Positions, k: int, z: float) -> Image:
    """Return the monotone piecewise cubic (Fritsch and Butland 1984) through the images at position z.

    The same curve as `scipy.interpolate.PchipInterpolator`, in float32 and for one interval only.

    Parameters
    ----------
    images : (slices, height, width, channels)
        Values at the positions; only k - 1 .. k + 2 are looked at.
    positions : (slices,)
        Increasing.
    k : int
        The interval, between images k and k + 1.
    z : float
        Position within it.
    """
    # gaps in units of this one, so that no file's unit makes float32 overflow or vanish
    gap = positions[k + 1] - positions[k]
    steps = (np.diff(positions) / gap).astype(np.float32)
    s = np.float32((z - positions[k]) / gap)
    slope = images[k + 1] - images[k]
    before = (images[k] - images[k - 1]) / steps[k - 1] if k > 0 else None
    after = (images[k + 2] - images[k + 1]) / steps[k + 1] if k + 2 < len(positions) else None
    left = right = slope  # two images: the straight line
    if before is not None:
        left = _middle_slope(before, slope, steps[k - 1])
    elif after is not None:
        left = _end_slope(slope, after, steps[k + 1])
    if after is not None:
        right = _middle_slope(after, slope, steps[k + 1])
    elif before is not None:
        right = _end_slope(slope, before, steps[k - 1])
    rise = s * s * (3 - 2 * s)
    value: Image = images[k] + rise * slope + s * (1 - s) * ((1 - s) * left - s * right)
    return value


def _middle_slope(outer: Image, inner: Image, outer_step: np.float32) -> Image:
    """Return the weighted harmonic mean of the secants beside a slice, zero where they differ in sign.

    The inner secant is that of the gap itself, whose width is 1.
    """
    weight_outer, weight_inner = 2 + outer_step, 1 + 2 * outer_step
    agree = outer * inner > 0
    total = np.where(agree, weight_outer * inner + weight_inner * outer, np.float32(1))
    return np.where(agree, (weight_outer + weight_inner) * outer * inner / total, np.float32(0))


def _end_slope(inner: Image, following: Image, following_step: np.float32) -> Image:
    """Return the slope at the end of the stack: of the parabola there, limited so that the shape is kept."""
    end = ((2 + following_step) * inner - following) / (1 + following_step)
    end = np.where(np.sign(end) == np.sign(inner), end, np.float32(0))
    overshoots = (np.sign(inner) != np.sign(following)) & (np.abs(end) > 3 * np.abs(inner))
    return np.where(overshoots, 3 * inner, end)


def interpolate_slices(stack: SliceStack, t: float, method: Method = "linear", flows: Flows | None = None) -> Image:
    """Return the slice at coordinate t by one classical method.

    Parameters
    ----------
    stack : SliceStack
        The measured slices; linear, cubic and PCHIP run on their physical positions.
    t : float
        Slice coordinate in [0, slices - 1]; at whole t the measured slice comes back. Half-way, the slice of
        even index counts as the nearest.
    method : {'nearest', 'linear', 'cubic', 'pchip', 'flow'}
        How the gap is filled. Flow warps both neighbors to t along the optical flow and blends them.
    flows : Flows, optional
        Flows to reuse; computed for this call if not given. Only the stiff one is used.

    Returns
    -------
    (height, width, channels)
        Unit intensities; cubic may leave [0, 1].

    Raises
    ------
    ValueError
        If t lies outside the stack or the method is unknown.
    """
    last = len(stack) - 1
    if not 0 <= t <= last:
        msg = f"t must lie between the first and the last slice, 0 to {last}, got {t}; choose t in that range"
        raise ValueError(msg)
    if method not in METHODS:
        msg = f"method must be one of {', '.join(METHODS)}, got {method!r}; choose one of them"
        raise ValueError(msg)
    nearest = round(t)
    if method == "nearest" or t == nearest:
        return stack.image(nearest)
    k, _ = stack.bracket(t)
    z = stack.z_at(t)
    alpha = (z - stack.positions[k]) / (stack.positions[k + 1] - stack.positions[k])
    first, second = stack.image(k), stack.image(k + 1)
    if method == "flow":
        flows = (flows or Flows(stack, "stiff")).with_stiff()
        return carry(first, second, flows.between(k).leading(), float(alpha))[0]
    if method == "linear":
        return np.float32(1 - alpha) * first + np.float32(alpha) * second
    rows = _window(len(stack), k, SPLINE_REACH if method == "cubic" else 2)
    images = np.stack([stack.image(j) for j in range(rows.start, rows.stop)])
    positions = stack.positions[rows]
    if method == "cubic":
        return interpolate_cubic(images, positions, z)
    return interpolate_pchip(images, positions, k - rows.start, z)
