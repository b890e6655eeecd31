"""One phase of a fit: slices, targets between them, and the step that brings the Gaussians closer to both.

A stack (all slices, or those not hidden) and packed parameters come in; the parameters move in place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from medgs_core.arrays import Image, Positions
from medgs_core.blending import BlendWeights, interpolate_blended
from medgs_core.correspondence import Flows
from medgs_core.fold import REACH, fold_visible, visible_rows
from medgs_core.fused import StepRoom, step_on_cpu
from medgs_core.model import Compositing, FoldedGaussians
from medgs_core.noise import weigh_channels
from medgs_core.optimizer import Matrix, RowAdam
from medgs_core.rasterize import render_splats
from medgs_core.slices import SliceStack
from medgs_core.tensors import Rows
from medgs_core.threads import GoOn, map_in_threads

TARGET_BYTES = 160
"""Memory per value of a slice in which a target is made: ten slices around it, and what two flows bring."""

SeedSlices = Float32[np.ndarray, " rows"]

RATES = {
    "position": 0.25,
    "center": 0.025,
    "log_spread": 0.025,
    "drift": 0.12,
    "log_scale": 0.05,
    "angle": 0.05,
    "logit_opacity": 0.12,
    "intensity": 0.05,
}
"""Adam's first step per parameter, in its own unit (pixels, slices, logarithms, radians, unit intensities)."""

LAST_RATE = 0.1
"""Rates decay exponentially to this share of their first value."""

BETWEEN_WEIGHT = 1.0
"""Weight of the slice between against the measured one."""

CENTER_REACH = 1.0
SPREAD_RANGE = (0.3, 1.5)
"""Slices that a center may leave its seed slice by, and the range of the spread. Bounded, because then a step looks at
a fixed number of slices' Gaussians, however long the stack."""

BLOCK_REACH = 6
"""Slices around a position whose Gaussians can be visible there: three of the largest spread and the center's reach."""


@dataclass
class Parameters:
    """The Gaussians under way: packed rows in slice order, with the state of their optimizer.

    Attributes
    ----------
    optimizer : holds the packed parameters
    starts : (slices + 1,) row at which each slice's Gaussians start; slices without any have no rows
    channels : intensities per Gaussian
    """

    optimizer: RowAdam
    starts: np.ndarray
    channels: int

    def gaussians(self) -> FoldedGaussians:
        """Return the Gaussians as they stand, as views."""
        return FoldedGaussians.unpack(self.optimizer.parameters, self.channels)

    def near(self, first: float, last: float) -> tuple[slice, SeedSlices]:
        """Return the rows that may be seen between two coordinates, and the slice each was seeded on."""
        slices = len(self.starts) - 1
        low = max(0, int(np.floor(first)) - BLOCK_REACH)
        high = min(slices, int(np.ceil(last)) + BLOCK_REACH + 1)
        seeds = np.repeat(np.arange(low, high, dtype=np.float32), np.diff(self.starts[low : high + 1]))
        return slice(int(self.starts[low]), int(self.starts[high])), seeds

    def visible(self, first: float, last: float) -> Rows:
        """Return the rows seen somewhere between two coordinates."""
        block = self.near(first, last)[0]
        near = FoldedGaussians.unpack(self.optimizer.parameters[block], self.channels)
        reach = REACH * near.spread
        seen = (near.center + reach >= first) & (near.center - reach <= last)
        return seen.nonzero()[:, 0] + int(block.start)

    def keep_bounds(self, rows: Rows) -> None:
        """Bring centers and spreads of the rows back into their ranges."""
        matrix = self.optimizer.parameters
        moved = matrix[rows]
        views = FoldedGaussians.unpack(moved, self.channels)
        seed = torch.from_numpy(np.searchsorted(self.starts, rows.cpu().numpy(), side="right") - 1).to(moved)
        views.center.clamp_(seed - CENTER_REACH, seed + CENTER_REACH)
        views.log_spread.clamp_(*(math.log(limit) for limit in SPREAD_RANGE))
        matrix[rows] = moved


def column_rates(gaussians: FoldedGaussians) -> Tensor:
    """Return the rate of each column of the packed parameters."""
    columns = [torch.full((math.prod(tensor.shape[1:]),), RATES[name]) for name, tensor in gaussians.named()]
    return torch.cat(columns).to(gaussians.center)


class Phase:
    """The slices a phase sees, the targets between them, and what they teach.

    Parameters
    ----------
    stack : SliceStack
        Slices seen.
    whole : SliceStack
        All slices: slice k of it stands at model coordinate k.
    flows : Flows
        Their correspondence.
    weights : BlendWeights
        Of the interpolant that makes the targets.
    compositing, device
        How and where to render.
    """

    def __init__(
        self,
        stack: SliceStack,
        whole: SliceStack,
        flows: Flows,
        weights: BlendWeights,
        compositing: Compositing,
        device: torch.device,
    ) -> None:
        self.stack = stack
        self.whole = whole
        self.coordinates: Positions = np.array([whole.t_at(float(z)) for z in stack.positions])
        self.flows = flows
        self.weights = weights
        self.compositing: Compositing = compositing
        self.device = device
        self.channel_weights = weigh_channels(stack)
        self._weights_there = torch.from_numpy(self.channel_weights).to(device)
        self._tensors: dict[tuple[str, int], Tensor] = {}  # eight bytes a voxel, as much as the Gaussians hold
        self._compiled = device.type == "cpu" and compositing == "sum"
        self._room: StepRoom | None = None
        self._limits = np.array([CENTER_REACH, *(math.log(limit) for limit in SPREAD_RANGE)], np.float32)

    def measured(self, k: int) -> Tensor:
        """Return slice k on the device."""
        return self._tensor(("measured", k), lambda: self.stack.image(k))

    def target(self, k: int) -> Tensor:
        """Return the interpolated slice half-way between slices k and k + 1, on the device."""
        return self._tensor(("target", k), lambda: interpolate_blended(self.flows, self.weights, k + 0.5))

    def prepare(self, go_on: GoOn | None = None) -> None:
        """Make all targets, several at once; those that are left, if it is ended early, come when asked for."""
        pixels = self.stack.height * self.stack.width * self.stack.channels
        gaps = range(len(self.stack) - 1)
        map_in_threads(lambda gap: self.target(gap).shape, gaps, TARGET_BYTES * pixels, go_on)

    def _tensor(self, key: tuple[str, int], make: Callable[[], Image]) -> Tensor:
        if key not in self._tensors:
            self._tensors[key] = torch.from_numpy(make()).to(self.device)
        return self._tensors[key]

    def render(self, packed: Matrix, t: float) -> Tensor:
        """Return the packed Gaussians at model coordinate t."""
        everything = FoldedGaussians.unpack(packed, self.stack.channels)
        # gathered as one matrix, because one gradient to scatter is cheaper than eight
        seen = FoldedGaussians.unpack(packed.index_select(0, visible_rows(everything, t)), self.stack.channels)
        return render_splats(fold_visible(seen, t), self.stack.height, self.stack.width, self.compositing)

    def coordinate(self, t: float) -> float:
        """Return the model coordinate of coordinate t of this phase's stack."""
        # by way of the position, because gaps left open by hidden slices need not be even
        return self.whole.t_at(self.stack.z_at(t))

    def step(self, parameters: Parameters, k: int, gap: int, rates: Tensor) -> float:
        """Bring the Gaussians closer to slice k and to the target in a gap beside it; return the mean square error.

        Closer by the squared errors weighed per channel, see `noise.weigh_channels`; what is returned is not weighed.

        Parameters
        ----------
        parameters : Parameters
            Moved in place.
        k, gap : int
            A slice of this phase's stack, and the gap k - 1 or k.
        rates : (columns,)
            Step per column.
        """
        on, between = float(self.coordinates[k]), self.coordinate(gap + 0.5)
        move = self._move_compiled if self._compiled else self._move_differentiated
        return move(parameters, on, between, self.measured(k), self.target(gap), rates) / self.measured(k).numel()

    def _move_compiled(
        self, parameters: Parameters, on: float, between: float, measured: Tensor, target: Tensor, rates: Tensor
    ) -> float:
        self._room = self._room or StepRoom(self.stack.height, self.stack.width, self.stack.channels)
        block, seeds = parameters.near(min(on, between), max(on, between))
        targets = (measured.numpy(), target.numpy())
        times = (on, between)
        weights = np.outer((1.0, BETWEEN_WEIGHT), self.channel_weights).astype(np.float32)
        error, _ = step_on_cpu(
            self._room,
            parameters.optimizer,
            block,
            seeds,
            times,
            targets,
            weights,
            rates.numpy(),
            self._limits,
        )
        return error

    def _move_differentiated(
        self, parameters: Parameters, on: float, between: float, measured: Tensor, target: Tensor, rates: Tensor
    ) -> float:
        rows = parameters.visible(min(on, between), max(on, between))
        leaf = parameters.optimizer.parameters.index_select(0, rows).requires_grad_()
        errors = (self.render(leaf, on) - measured).square()
        interpolated = (self.render(leaf, between) - target).square()
        weighed = (self._weights_there * errors).sum() + BETWEEN_WEIGHT * (self._weights_there * interpolated).sum()
        weighed.backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        parameters.optimizer.move(rows, leaf.grad, rates)
        parameters.keep_bounds(rows)
        return float(errors.detach().sum())
