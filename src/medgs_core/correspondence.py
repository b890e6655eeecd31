"""Where the pixels of one slice went on the next: dense in-plane flow between the slices of a stack.

Two slices, or a stack of them, come in; displacement fields go out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float16, UInt8

from medgs_core.arrays import Image, Plane
from medgs_core.cache import RecentlyUsed
from medgs_core.channels import ChannelWeights, common_structure, project
from medgs_core.config import FlowKind
from medgs_core.slices import SliceStack
from medgs_core.threads import GoOn, map_in_threads

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


LARGEST_GRAY = 255.0


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

    def prepare(self, pairs: Iterable[tuple[int, int]] | None = None, go_on: GoOn | None = None) -> None:
        """Compute the correspondence of pairs of slices, of all gaps if not given, several at once.

        No more than the memory holds, so that none is computed in vain; those that are left come when asked for.
        """
        wanted = [(k, k + 1) for k in range(len(self.stack) - 1)] if pairs is None else list(pairs)
        pixels = self.stack.height * self.stack.width
        size = 8 * len(VARIANTS[self.flow]) * pixels  # two fields of two float16
        working = pixels * (FLOW_WORKING_BYTES + 8 * self.stack.channels)
        map_in_threads(lambda pair: self.across(*pair).nbytes, wanted[: self._memory.room(size)], working, go_on)

    def across(self, first: int, second: int) -> Correspondence:
        """Return the correspondence of any two slices."""

        def compute() -> Correspondence:
            images = self.stack.image(first), self.stack.image(second)
            return correspond(*images, self.flow, self.channel_weights)

        key = ("flow", self.flow, self.channel_weights, *(float(self.stack.positions[k]) for k in (first, second)))
        found: Correspondence = self._memory.get(key, compute, lambda flow: flow.nbytes)
        return found
