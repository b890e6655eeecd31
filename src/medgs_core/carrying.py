"""Slices carried along the flow to where none was measured, and how much the two that meet there disagree.

Two slices, or anything known on them, and the flow between come in; what they bring to a position goes out.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32

from medgs_core.arrays import Flow, Image, Plane, Positions
from medgs_core.channels import ChannelWeights
from medgs_core.correspondence import Correspondence, Motion
from medgs_core.tensors import single_threaded_torch

BEND_SIGMA = 2.0
"""Pixels over which the bend of a path is averaged: it is a small difference of three flows."""

LEAST_OUTER_GAP = 0.4
"""Share of a gap that the gap beside it must have to tell how paths bend: the narrower it is, the more the error of its
flow is magnified. On even stacks it is 1, and 1/2 where an inner slice is predicted."""

AGREEMENT_SIGMA = 2.0
"""Pixels over which mismatch is averaged before it is judged."""

AGREEMENT_FLOOR = 0.01
"""Mismatch in unit intensities below which slices count as equal, whatever the flow says."""


def warp(image: Image, flow: Flow, bounded: bool = False) -> Image:
    """Return the image sampled at pixel + flow, edge values beyond the border.

    Parameters
    ----------
    image : (height, width, channels)
        Any intensities.
    flow : (height, width, 2)
        Where each output pixel looks, (dx, dy) in pixels; OpenCV rounds it to 1/32 pixel.
    bounded : bool
        Sample linearly, which never leaves the range of the image; else cubically, which is sharper and may.

    Returns
    -------
    (height, width, channels)
        In the units of the image.
    """
    import cv2

    height, width, channels = image.shape
    columns = np.arange(width, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, np.newaxis]
    map_x, map_y = flow[..., 0] + columns, flow[..., 1] + rows  # apart: OpenCV 5.0 errs where one map says both
    # OpenCV samples at most four channels at once
    sampling = cv2.INTER_LINEAR if bounded else cv2.INTER_CUBIC
    parts = []
    for c in range(0, channels, 4):
        part = cv2.remap(image[..., c : c + 4], map_x, map_y, sampling, borderMode=cv2.BORDER_REPLICATE)
        parts.append(part.reshape(height, width, -1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def widen(flow: Float[np.ndarray, "height width 2"]) -> Flow:
    """Return a flow in float32: by way of torch, which takes a tenth of the time of numpy."""
    with single_threaded_torch():
        wide: Flow = torch.from_numpy(flow).float().numpy()
    return wide


def carry(
    first: Image,
    second: Image,
    between: Correspondence,
    alpha: float,
    judged: ChannelWeights | None = None,
    bounded: bool = False,
) -> tuple[Image, Plane]:
    """Return the slice at fraction alpha between two slices, along the flow, and how much the two disagree.

    Each field is taken to be the displacement at the wanted slice; the forward one, on the grid of the first
    slice, counts 1 - alpha, the backward one, reversed, counts alpha.

    Parameters
    ----------
    first, second : (height, width, channels)
        The two slices, or anything known on them (residuals, signed distances).
    between : Correspondence
        The flow between the two measured slices.
    alpha : float
        Position in [0, 1]: 0 gives the first slice, 1 the second.
    judged : tuple of float, optional
        How much each of the first channels counts in the mismatch; all the same if not given.
    bounded : bool
        The blend never leaves the range of the two slices, see `warp`.

    Returns
    -------
    blend : (height, width, channels)
        Weighted mean of what both slices bring.
    mismatch : (height, width)
        Mean absolute difference of what they bring, in the units of the input.
    """
    return _meet(first, second, straight_paths(between, alpha), alpha, judged, bounded)


def carry_bent(
    first: Image,
    second: Image,
    motion: Motion,
    positions: Positions,
    k: int,
    z: float,
    judged: ChannelWeights | None = None,
) -> tuple[Image, Plane]:
    """Return the slice at position z along paths that bend, and how much the two slices disagree.

    The supple flow, followed one slice further on either side, tells where a pixel comes from and goes to. Through its
    four places runs a cubic in z; where that misses the pixel, both places in the gap are moved by as much.

    Parameters
    ----------
    first, second : (height, width, channels)
        Slices k and k + 1, or anything known on them.
    motion : Motion
        The flow across the gap and beside it; without flow beside it the paths are straight.
    positions : (slices,)
        Positions of the slices, increasing.
    k : int
        The gap, between slices k and k + 1.
    z : float
        Position in the gap.
    judged : tuple of float, optional
        As for `carry`.

    Returns
    -------
    blend : (height, width, channels)
    mismatch : (height, width)
        As `carry` returns them.
    """
    alpha = float((z - positions[k]) / (positions[k + 1] - positions[k]))
    return _meet(first, second, bent_paths(motion, positions, k, z, alpha), alpha, judged, bounded=False)


Paths = Iterable[tuple[Flow, Flow, float]]
"""Displacements from the wanted slice to the first and to the second one, and how much they count."""


def _meet(
    first: Image, second: Image, paths: Paths, alpha: float, judged: ChannelWeights | None, bounded: bool
) -> tuple[Image, Plane]:
    """Return the weighted mean of both slices carried along the paths, and its mismatch."""
    from medgs_core.mixing import meet

    blend = np.zeros(first.shape, np.float32)
    mismatch = np.zeros(first.shape[:2], np.float32)
    parts, weights = np.array((1.0 - alpha, alpha), np.float32), _judging(first, judged)
    for to_first, to_second, share in paths:
        met = warp(first, to_first, bounded), warp(second, to_second, bounded)
        meet(*met, parts, np.float32(share), weights, blend, mismatch)
    return blend, mismatch


def straight_paths(between: Correspondence, alpha: float) -> Iterator[tuple[Flow, Flow, float]]:
    """Yield straight paths through the wanted slice: of the forward flow, and of the backward one reversed.

    Each as the displacement to the first slice, that to the second one, and how much the path counts.
    """
    variants = len(between.forward)
    for forward, backward in zip(between.forward, between.backward, strict=True):
        for flow, weight in ((forward, 1.0 - alpha), (backward, -alpha)):
            if weight != 0.0:
                field = widen(flow) * np.float32(np.sign(weight))
                yield field * np.float32(-alpha), field * np.float32(1.0 - alpha), abs(weight) / variants


def bent_paths(
    motion: Motion, positions: Positions, k: int, z: float, alpha: float
) -> Iterator[tuple[Flow, Flow, float]]:
    """Yield the straight paths of the supple flow, moved by how far a cubic through four slices misses the pixel.

    Parameters as in `carry_bent`, alpha the fraction of the gap; what is yielded as in `straight_paths`.
    """
    import cv2

    least = LEAST_OUTER_GAP * (positions[k + 1] - positions[k])
    before = motion.before if k > 0 and positions[k] - positions[k - 1] >= least else None
    after = motion.after if k + 2 < len(positions) and positions[k + 2] - positions[k + 1] >= least else None
    known = [k - 1] * (before is not None) + [k, k + 1] + [k + 2] * (after is not None)
    weights = dict(zip(known, lagrange_weights(positions[known], z).astype(np.float32), strict=True))
    for to_first, to_second, share in straight_paths(motion.across.trailing(), alpha):
        missed = weights[k] * to_first + weights[k + 1] * to_second
        if before:
            missed += weights[k - 1] * (to_first + warp(widen(before.backward[-1]), to_first, bounded=True))
        if after:
            missed += weights[k + 2] * (to_second + warp(widen(after.forward[-1]), to_second, bounded=True))
        if before or after:
            bend = cv2.GaussianBlur(missed, (0, 0), BEND_SIGMA)
            yield to_first - bend, to_second - bend, share
        else:
            yield to_first, to_second, share


def lagrange_weights(positions: Positions, z: float) -> Positions:
    """Return the weight of each position in the polynomial through all of them, at position z."""
    apart = positions[:, np.newaxis] - positions
    np.fill_diagonal(apart, 1.0)
    factors = np.broadcast_to(z - positions, apart.shape).copy()
    np.fill_diagonal(factors, 1.0)
    weights: Positions = np.prod(factors / apart, axis=1)
    return weights


def difference(first: Image, second: Image, judged: ChannelWeights | None = None) -> Plane:
    """Return the mean absolute difference over channels, each weighed as in `carry`."""
    # channel by channel, which is faster than a product with so few columns
    weights = _judging(first, judged)
    weighed = sum(w * np.abs(first[..., c] - second[..., c]) for c, w in enumerate(weights))
    total: Plane = np.asarray(weighed, np.float32)
    return total


def _judging(image: Image, judged: ChannelWeights | None) -> Float32[np.ndarray, " judged"]:
    """Return how much each of the first channels counts in a mismatch."""
    channels = image.shape[2]
    weights: Float32[np.ndarray, " judged"] = np.abs(np.array(judged or (1.0 / channels,) * channels, np.float32))
    return weights


def agreement(first: Image, second: Image, mismatch: Plane, judged: ChannelWeights | None = None) -> Plane:
    """Return how much of the change between two slices the flow leaves unexplained, per pixel.

    The ratio of the mismatch along the flow to the mismatch straight across, both averaged over a few pixels:
    near 0 where the flow explains the change, 1 and more where it does not help.

    Parameters
    ----------
    first, second : (height, width, channels)
        The two slices, in unit intensities.
    mismatch : (height, width)
        What `carry` returns for them.
    judged : tuple of float, optional
        As for `carry`.

    Returns
    -------
    (height, width)
        The ratio, not negative.
    """
    import cv2

    straight = difference(first, second, judged)
    sizes = (0, 0)  # kernel size from sigma
    along = cv2.GaussianBlur(mismatch, sizes, AGREEMENT_SIGMA)
    across = cv2.GaussianBlur(straight, sizes, AGREEMENT_SIGMA)
    ratio: Plane = along / (across + np.float32(AGREEMENT_FLOOR))
    return ratio
