"""The classical ways to fill a gap between slices: nearest, linear, cubic, PCHIP and along the optical flow.

A stack comes in, the slice at any coordinate goes out. They are the baselines of every comparison, and the
ingredients that `evidence` weighs.
"""

from typing import Literal

import numpy as np

from medgs_core.arrays import Image, Positions, Stack
from medgs_core.correspondence import Flows, carry
from medgs_core.slices import SliceStack

Method = Literal["nearest", "linear", "cubic", "pchip", "flow"]
METHODS: tuple[Method, ...] = ("nearest", "linear", "cubic", "pchip", "flow")

SPLINE_REACH = 5
"""Slices on each side that a cubic spline looks at: the influence of one falls by 0.27 per slice, to 0.001 here."""


def cubic_weights(positions: Positions, z: float) -> Positions:
    """Return the weight of each slice in the not-a-knot cubic spline at position z.

    Parameters
    ----------
    positions : (slices,)
        Increasing; with fewer than three the spline is the straight line.
    z : float
        Where the spline is wanted, in the unit of the positions.
    """
    from scipy.interpolate import CubicSpline, make_interp_spline

    if len(positions) < 3:
        return np.asarray(make_interp_spline(positions, np.eye(len(positions)), k=1)(z), dtype=np.float64)
    return np.asarray(CubicSpline(positions, np.eye(len(positions)))(z), dtype=np.float64)


def _window(count: int, k: int, reach: int) -> slice:
    """Return the rows k + 1 - reach .. k + reach that exist."""
    return slice(max(0, k + 1 - reach), min(count, k + 1 + reach))


def interpolate_cubic(images: Stack, positions: Positions, z: float) -> Image:
    """Return the cubic spline (not-a-knot ends) through the images at position z."""
    weights = cubic_weights(positions, z).astype(np.float32)
    result: Image = np.tensordot(weights, images, axes=1)
    return result


def interpolate_pchip(images: Stack, positions: Positions, k: int, z: float) -> Image:
    """Return the monotone piecewise cubic (Fritsch and Butland 1984) between images k and k + 1 at position z.

    The same curve as `scipy.interpolate.PchipInterpolator`, in float32 and for one interval only.

    Parameters
    ----------
    images : (slices, height, width, channels)
        Values at the positions; only k - 1 .. k + 2 are looked at.
    positions : (slices,)
        Increasing.
    k : int
        The interval.
    z : float
        Position within it.
    """
    steps = np.diff(positions).astype(np.float32)
    width = steps[k]
    s = np.float32((z - positions[k]) / width)
    slope = (images[k + 1] - images[k]) / width
    before = (images[k] - images[k - 1]) / steps[k - 1] if k > 0 else None
    after = (images[k + 2] - images[k + 1]) / steps[k + 1] if k + 2 < len(positions) else None
    left = right = slope  # two images: the straight line
    if before is not None:
        left = _middle_slope(before, slope, steps[k - 1], width)
    elif after is not None:
        left = _end_slope(slope, after, width, steps[k + 1])
    if after is not None:
        right = _middle_slope(after, slope, steps[k + 1], width)
    elif before is not None:
        right = _end_slope(slope, before, width, steps[k - 1])
    rise = s * s * (3 - 2 * s)
    value: Image = (
        images[k]
        + rise * (images[k + 1] - images[k])
        + width * s * (1 - s) * ((1 - s) * left - s * right)
    )
    return value


def _middle_slope(outer: Image, inner: Image, outer_step: np.float32, inner_step: np.float32) -> Image:
    """Return the weighted harmonic mean of the secants on both sides of a slice, zero where they differ in sign."""
    weight_outer, weight_inner = 2 * inner_step + outer_step, inner_step + 2 * outer_step
    agree = outer * inner > 0
    total = np.where(agree, weight_outer * inner + weight_inner * outer, np.float32(1))
    return np.where(agree, (weight_outer + weight_inner) * outer * inner / total, np.float32(0))


def _end_slope(inner: Image, following: Image, inner_step: np.float32, following_step: np.float32) -> Image:
    """Return the slope at the end of the stack: through three slices, limited so that the curve keeps its shape."""
    end = ((2 * inner_step + following_step) * inner - inner_step * following) / (inner_step + following_step)
    end = np.where(np.sign(end) == np.sign(inner), end, np.float32(0))
    overshoots = (np.sign(inner) != np.sign(following)) & (np.abs(end) > 3 * np.abs(inner))
    return np.where(overshoots, 3 * inner, end)


def interpolate_slices(
    stack: SliceStack, t: float, method: Method = "linear", flows: Flows | None = None
) -> Image:
    """Return the slice at coordinate t by one classical method.

    Parameters
    ----------
    stack : SliceStack
        The measured slices; linear, cubic and PCHIP run on their physical positions.
    t : float
        Slice coordinate in [0, slices - 1]; at whole t the measured slice comes back.
    method : {'nearest', 'linear', 'cubic', 'pchip', 'flow'}
        How the gap is filled. Flow warps both neighbors to t along the symmetric optical flow and blends them.
    flows : Flows, optional
        Flows to reuse; computed for this call if not given. Only the first variant is used.

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
        msg = f"t must lie between the first and the last slice (0 to {last}), got {t}; choose t in that range"
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
        flows = flows or Flows(stack, variants=1)
        return carry(first, second, flows.between(k).leading(), float(alpha))[0]
    if method == "linear":
        return np.float32(1 - alpha) * first + np.float32(alpha) * second
    rows = _window(len(stack), k, SPLINE_REACH if method == "cubic" else 2)
    images = np.stack([stack.image(j) for j in range(rows.start, rows.stop)])
    positions = stack.positions[rows]
    if method == "cubic":
        return interpolate_cubic(images, positions, z)
    return interpolate_pchip(images, positions, k - rows.start, z)
