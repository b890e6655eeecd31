"""Where the pixels of one slice went on the next: dense in-plane flow, warps, and how far to trust them.

Two neighboring slices come in; displacement fields, carried slices and a measure of agreement go out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float16, UInt8

from medgs_core.arrays import Flow, Image, Plane, Positions
from medgs_core.cache import RecentlyUsed
from medgs_core.config import FlowKind
from medgs_core.noise import NOISE_FLOOR, estimate_noise, sample_slices
from medgs_core.slices import SliceStack
from medgs_core.threads import map_in_threads

FlowVariants = Float16[np.ndarray, "variants height width 2"]
"""Displacements (dx, dy) in pixels, halved in memory: at 10 pixels they are rounded by 0.004 at most."""

SMALLEST_SIDE = 12
"""Slices with a shorter side get zero flow: the method's coarsest patch would not fit."""

PATCH_SIZE = 8
PATCH_STRIDE = 4
DESCENT_ITERATIONS = 25


class Stiffness(NamedTuple):
    """What the variational refinement weighs against one another, and how often it iterates."""

    smoothness: float
    gradient: float
    color: float
    iterations: int


STIFF, SUPPLE = Stiffness(60.0, 10.0, 5.0, 10), Stiffness(20.0, 30.0, 10.0, 5)
"""They err differently, and which of the two fits is the volume's to say. The stiff one is the better single flow, the
supple one the better ingredient, in less time (docs/method.md)."""

VARIANTS: dict[FlowKind, tuple[Stiffness, ...]] = {"stiff": (STIFF,), "supple": (SUPPLE,), "both": (STIFF, SUPPLE)}

BEND_SIGMA = 2.0
"""Pixels over which the bend of a path is averaged: it is a small difference of three flows."""

LEAST_OUTER_GAP = 0.4
"""Share of a gap that the gap beside it must have to tell how paths bend: the narrower it is, the more the error of its
flow is magnified. On even stacks it is 1, and 1/2 where an inner slice is predicted."""

LARGEST_GRAY = 255.0

CHANNEL_STEPS = 8
"""Channels weigh in whole multiples of an eighth of the strongest: a stack with some slices left out then sees nearly
always as the whole one does, and shares its flows."""

STRUCTURE_SIGMA = 2.0
"""Pixels over which structure is averaged before it counts, so that noise counts little."""

LEAST_CORRELATION = 0.1
"""Channels whose gradients agree less than this, one way or the other, are taken to be of the same contrast."""

ChannelWeights = tuple[float, ...]
"""Weight of each channel in what the flow sees; negative where its contrast is inverted. Magnitudes add to one."""

AGREEMENT_SIGMA = 2.0
"""Pixels over which mismatch is averaged before it is judged."""

AGREEMENT_FLOOR = 0.01
"""Mismatch in unit intensities below which slices count as equal, whatever the flow says."""

FLOW_WORKING_BYTES = 200
"""Memory per pixel in which a flow is computed."""

CACHE_BYTES = 256 * 2**20
"""Memory for the flows of recently used gaps where the caller brings none."""


@dataclass(frozen=True)
class Correspondence:
    """Displacements between two neighboring slices, one entry per variant of the flow.

    Attributes
    ----------
    forward : (variants, height, width, 2) pixels (dx, dy), first slice to second, on the grid of the first
    backward : (variants, height, width, 2) pixels (dx, dy), second slice to first, on the grid of the second
    """

    forward: FlowVariants
    backward: FlowVariants

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.forward.nbytes + self.backward.nbytes

    def leading(self) -> "Correspondence":
        """Return the first variant alone: the stiff flow, or the only one."""
        return Correspondence(self.forward[:1], self.backward[:1])

    def trailing(self) -> "Correspondence":
        """Return the last variant alone: the supple flow, or the only one."""
        return Correspondence(self.forward[-1:], self.backward[-1:])


@dataclass(frozen=True)
class Motion:
    """The flow across a gap, and across the gaps beside it.

    Attributes
    ----------
    across : between the two slices of the gap
    before : from the slice before the gap's first one to that; None where there is none
    after : from the gap's second slice to the one after it; None where there is none
    """

    across: Correspondence
    before: Correspondence | None = None
    after: Correspondence | None = None


def _flow_method(stiffness: Stiffness) -> Any:
    import cv2

    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)
    method.setPatchSize(PATCH_SIZE)
    method.setPatchStride(PATCH_STRIDE)
    method.setGradientDescentIterations(DESCENT_ITERATIONS)
    method.setVariationalRefinementIterations(stiffness.iterations)
    method.setVariationalRefinementAlpha(stiffness.smoothness)
    method.setVariationalRefinementGamma(stiffness.gradient)
    method.setVariationalRefinementDelta(stiffness.color)
    return method


def common_structure(stack: SliceStack) -> ChannelWeights:
    """Return the weights with which the channels of a stack show best the structure that they share.

    A channel weighs as the strength of its smoothed gradients over the variance of its noise, which is the best
    there is for one structure under independent noise. Signs are those of the leading eigenvector of the correlation of
    these gradients, so channels of opposite contrast do not cancel.
    """
    import cv2

    if stack.channels == 1:
        return (1.0,)
    covariance = np.zeros((stack.channels, stack.channels))
    for k in sample_slices(stack):
        planes = [np.ascontiguousarray(plane) for plane in np.moveaxis(stack.image(k), 2, 0)]
        smooth = [cv2.GaussianBlur(plane, (0, 0), STRUCTURE_SIGMA) for plane in planes]
        for axis in (0, 1):
            slopes = np.stack([np.diff(plane, axis=axis).ravel() for plane in smooth]).astype(np.float64)
            covariance += slopes @ slopes.T
    strength = np.sqrt(np.diag(covariance))
    if not strength.any():
        return (1.0 / stack.channels,) * stack.channels
    scale = np.where(strength > 0, strength, 1.0)
    correlation = covariance / np.outer(scale, scale)
    correlation[np.abs(correlation) < LEAST_CORRELATION] = 0.0
    leading = np.linalg.eigh(correlation)[1][:, -1]
    leading[np.abs(leading) < LEAST_CORRELATION] = 0.0
    worth = strength / (np.square(estimate_noise(stack)) + NOISE_FLOOR**2)
    # seen as the most telling channel shows it
    signs = np.where(leading * (leading[np.argmax(worth)] or 1.0) < 0, -1.0, 1.0)
    steps = np.rint(CHANNEL_STEPS * worth / worth.max())
    return tuple(float(weight) for weight in np.where(steps > 0, signs, 1.0) * steps / steps.sum())


def project(image: Image, weights: ChannelWeights) -> Plane:
    """Return what the channels show together, in [0, 1]; channels of negative weight count inverted."""
    plane = sum(np.float32(abs(w)) * (1 - image[..., c] if w < 0 else image[..., c]) for c, w in enumerate(weights))
    projected: Plane = np.asarray(plane, np.float32)
    return projected


def _gray(plane: Plane) -> UInt8[np.ndarray, "height width"]:
    """Return a plane in 8 bits, the only depth the flow works on."""
    levels = np.rint(np.clip(plane, 0.0, 1.0) * LARGEST_GRAY)
    return np.asarray(levels, dtype=np.uint8)


def correspond(
    first: Image, second: Image, flow: FlowKind = "stiff", channel_weights: ChannelWeights | None = None
) -> Correspondence:
    """Return the flow between two slices in both directions.

    Dense inverse search with variational refinement (Kroeger et al. 2016).

    Parameters
    ----------
    first, second : (height, width, channels)
        Unit intensities.
    flow : {'stiff', 'supple', 'both'}
        Which flows to compute.
    channel_weights : tuple of float, optional
        What the flow sees, see `common_structure`; the mean of the channels if not given.

    Returns
    -------
    Correspondence
        Zero where a side is shorter than `SMALLEST_SIDE` pixels.
    """
    height, width = first.shape[:2]
    shape = (len(VARIANTS[flow]), height, width, 2)
    if min(height, width) < SMALLEST_SIDE:
        return Correspondence(np.zeros(shape, np.float16), np.zeros(shape, np.float16))
    weights = channel_weights or (1.0 / first.shape[2],) * first.shape[2]
    a, b = (_gray(project(image, weights)) for image in (first, second))
    forward, backward = np.empty(shape, np.float16), np.empty(shape, np.float16)
    for variant, stiffness in enumerate(VARIANTS[flow]):
        method = _flow_method(stiffness)
        forward[variant] = method.calc(a, b, None)
        backward[variant] = method.calc(b, a, None)
    return Correspondence(forward, backward)


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
    map_x, map_y = flow[..., 0] + columns, flow[..., 1] + rows
    # OpenCV samples at most four channels at once
    sampling = cv2.INTER_LINEAR if bounded else cv2.INTER_CUBIC
    parts = [
        cv2.remap(image[..., c : c + 4], map_x, map_y, sampling, borderMode=cv2.BORDER_REPLICATE)
        for c in range(0, channels, 4)
    ]
    return np.concatenate([part.reshape(height, width, -1) for part in parts], axis=2)


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
    return _meet(first, second, _straight(between, alpha), alpha, judged, bounded)


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
    return _meet(first, second, _bent(motion, positions, k, z, alpha), alpha, judged, bounded=False)


Paths = Iterable[tuple[Flow, Flow, float]]
"""Displacements from the wanted slice to the first and to the second one, and how much they count."""


def _meet(
    first: Image, second: Image, paths: Paths, alpha: float, judged: ChannelWeights | None, bounded: bool
) -> tuple[Image, Plane]:
    """Return the weighted mean of both slices carried along the paths, and its mismatch."""
    blend = np.zeros_like(first)
    mismatch = np.zeros(first.shape[:2], np.float32)
    for to_first, to_second, share in paths:
        from_first, from_second = warp(first, to_first, bounded), warp(second, to_second, bounded)
        blend += np.float32(share) * (np.float32(1.0 - alpha) * from_first + np.float32(alpha) * from_second)
        mismatch += np.float32(share) * difference(from_first, from_second, judged)
    return blend, mismatch


def _straight(between: Correspondence, alpha: float) -> Iterator[tuple[Flow, Flow, float]]:
    """Yield straight paths through the wanted slice: of the forward flow, and of the backward one reversed."""
    variants = len(between.forward)
    for forward, backward in zip(between.forward, between.backward, strict=True):
        for flow, weight in ((forward, 1.0 - alpha), (backward, -alpha)):
            if weight != 0.0:
                field = flow.astype(np.float32) * np.float32(np.sign(weight))
                yield field * np.float32(-alpha), field * np.float32(1.0 - alpha), abs(weight) / variants


def _bent(motion: Motion, positions: Positions, k: int, z: float, alpha: float) -> Iterator[tuple[Flow, Flow, float]]:
    """Yield the straight paths of the supple flow, moved by how far a cubic through four slices misses the pixel."""
    import cv2

    least = LEAST_OUTER_GAP * (positions[k + 1] - positions[k])
    before = motion.before if k > 0 and positions[k] - positions[k - 1] >= least else None
    after = motion.after if k + 2 < len(positions) and positions[k + 2] - positions[k + 1] >= least else None
    known = [k - 1] * (before is not None) + [k, k + 1] + [k + 2] * (after is not None)
    weights = dict(zip(known, lagrange_weights(positions[known], z).astype(np.float32), strict=True))
    for to_first, to_second, share in _straight(motion.across.trailing(), alpha):
        missed = weights[k] * to_first + weights[k + 1] * to_second
        if before:
            missed += weights[k - 1] * (to_first + warp(before.backward[-1].astype(np.float32), to_first, bounded=True))
        if after:
            missed += weights[k + 2] * (to_second + warp(after.forward[-1].astype(np.float32), to_second, bounded=True))
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
    weights = judged or (1.0 / first.shape[2],) * first.shape[2]
    # channel by channel, which is faster than a product with so few columns
    weighed = sum(np.float32(abs(w)) * np.abs(first[..., c] - second[..., c]) for c, w in enumerate(weights))
    total: Plane = np.asarray(weighed, np.float32)
    return total


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


class Flows:
    """The correspondences of neighboring slices of a stack, computed when asked for, kept while memory lasts.

    Parameters
    ----------
    stack : SliceStack
        The slices.
    flow : {'stiff', 'supple', 'both'}
        Which flows per pair, see `correspond`.
    memory : RecentlyUsed, optional
        Where results are kept; shared by whoever asks for flows of the same volume, of no other. Slices are
        told apart by their positions, so a stack that leaves slices out shares the gaps that it has in common
        with the whole.
    channel_weights : tuple of float, optional
        What the flow sees; the `common_structure` of the stack if not given.
    """

    def __init__(
        self,
        stack: SliceStack,
        flow: FlowKind,
        memory: RecentlyUsed[Any] | None = None,
        channel_weights: ChannelWeights | None = None,
    ) -> None:
        self.stack = stack
        self.flow: FlowKind = flow
        self.channel_weights = channel_weights or common_structure(stack)
        self._memory = RecentlyUsed(CACHE_BYTES) if memory is None else memory

    def of_part(self, stack: SliceStack) -> "Flows":
        """Return the flows of a stack that leaves out slices of this one, seen alike and kept in the same place."""
        return Flows(stack, self.flow, self._memory, self.channel_weights)

    def with_stiff(self) -> "Flows":
        """Return these flows if the stiff one is among them, else it alone, kept in the same place."""
        return Flows(self.stack, "stiff", self._memory, self.channel_weights) if self.flow == "supple" else self

    def between(self, k: int) -> Correspondence:
        """Return the correspondence of slices k and k + 1."""
        return self.across(k, k + 1)

    def motion(self, k: int) -> Motion:
        """Return the flow across the gap k, k + 1 and across the gaps beside it."""
        return self.motion_across(k, k + 1)

    def motion_across(self, first: int, second: int) -> Motion:
        """Return the flow between two slices, from the slice before the first, and to the one after the second."""
        before = self.across(first - 1, first) if first > 0 else None
        after = self.across(second, second + 1) if second + 1 < len(self.stack) else None
        return Motion(self.across(first, second), before, after)

    def prepare(self, pairs: Iterable[tuple[int, int]] | None = None) -> None:
        """Compute the correspondence of pairs of slices, of all gaps if not given, several at once.

        No more than the memory holds, so that none is computed in vain.
        """
        wanted = [(k, k + 1) for k in range(len(self.stack) - 1)] if pairs is None else list(pairs)
        pixels = self.stack.height * self.stack.width
        size = 8 * len(VARIANTS[self.flow]) * pixels  # two fields of two float16
        working = pixels * (FLOW_WORKING_BYTES + 8 * self.stack.channels)
        map_in_threads(lambda pair: self.across(*pair).nbytes, wanted[: self._memory.room(size)], working)

    def across(self, first: int, second: int) -> Correspondence:
        """Return the correspondence of any two slices."""

        def compute() -> Correspondence:
            images = self.stack.image(first), self.stack.image(second)
            return correspond(*images, self.flow, self.channel_weights)

        key = ("flow", self.flow, self.channel_weights, *(float(self.stack.positions[k]) for k in (first, second)))
        found: Correspondence = self._memory.get(key, compute, lambda flow: flow.nbytes)
        return found
