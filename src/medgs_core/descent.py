"""One phase of a fit: slices, targets between them, and the step that brings the Gaussians closer to both.

A stack (all slices, or those not hidden) and packed parameters come in; the parameters move in place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medgs_core.arrays import Positions
from medgs_core.cache import RecentlyUsed
from medgs_core.correspondence import Flows
from medgs_core.detail import add_detail
from medgs_core.evidence import BlendWeights
from medgs_core.model import Compositing, DetailStrength, FoldedGaussians
from medgs_core.optimizer import RowAdam
from medgs_core.render import render_gaussians
from medgs_core.slices import SliceStack
from medgs_core.tensors import Rows

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
"""Slices around a position whose Gaussians can be visible there: three of the largest spread, and the center's reach."""

TARGET_BYTES = 256 * 2**20
"""Memory for slices and targets on the device; beyond it they are made again."""


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Keep torch's own operations on one thread inside the block; the rasterizer's threads are not torch's.

    They are small: a second thread gains nothing on an idle machine, and on a busy one every operation waits for it,
    which made a step up to fifty times slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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

    def visible(self, first: float, last: float) -> Rows:
        """Return the rows seen somewhere between two coordinates."""
        slices = len(self.starts) - 1
        low = self.starts[max(0, int(np.floor(first)) - BLOCK_REACH)]
        high = self.starts[min(slices, int(np.ceil(last)) + BLOCK_REACH + 1)]
        near = FoldedGaussians.unpack(self.optimizer.parameters[low:high], self.channels)
        reach = 3.0 * near.spread
        seen = (near.center + reach >= first) & (near.center - reach <= last)
        return seen.nonzero()[:, 0] + int(low)

    def keep_bounds(self, rows: Rows) -> None:
        """Bring centers and spreads of the rows back into their ranges."""
        matrix = self.optimizer.parameters
        moved = matrix[rows]
        seed = torch.from_numpy(np.searchsorted(self.starts, rows.cpu().numpy(), side="right") - 1).to(moved)
        moved[:, 2] = torch.minimum(torch.maximum(moved[:, 2], seed - CENTER_REACH), seed + CENTER_REACH)
        moved[:, 3].clamp_(float(np.log(SPREAD_RANGE[0])), float(np.log(SPREAD_RANGE[1])))
        matrix[rows] = moved


def column_rates(gaussians: FoldedGaussians) -> Tensor:
    """Return the rate of each column of the packed parameters."""
    return torch.cat(
        [torch.full((tensor[0].numel(),), RATES[name]) for name, tensor in gaussians.named()]
    ).to(gaussians.center)


class Phase:
    """The slices a phase sees, the targets between them, and what they teach.

    Parameters
    ----------
    stack : SliceStack
        Slices seen.
    coordinates : (slices,)
        Their coordinates in the model.
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
        coordinates: Positions,
        flows: Flows,
        weights: BlendWeights,
        compositing: Compositing,
        device: torch.device,
    ) -> None:
        self.stack = stack
        self.coordinates = coordinates
        self.flows = flows
        self.weights = weights
        self.compositing: Compositing = compositing
        self.device = device
        self._tensors: RecentlyUsed[Tensor] = RecentlyUsed(TARGET_BYTES)

    def measured(self, k: int) -> Tensor:
        """Return slice k on the device."""
        return self._tensor(("measured", k), lambda: self.stack.image(k))

    def target(self, k: int) -> Tensor:
        """Return the interpolated slice half-way between slices k and k + 1, on the device."""
        alone = strength(self.weights, 0.0, 0.0)
        return self._tensor(
            ("target", k), lambda: add_detail(self.stack, self.flows, self.nothing, alone, k + 0.5)
        )

    def nothing(self, t: float) -> np.ndarray:
        """Return an empty rendering, for interpolants without Gaussians."""
        return np.zeros((self.stack.height, self.stack.width, self.stack.channels), np.float32)

    def _tensor(self, key: tuple[str, int], make: Callable[[], np.ndarray]) -> Tensor:
        return self._tensors.get(
            key, lambda: torch.from_numpy(make()).to(self.device), lambda tensor: tensor.nbytes
        )

    def render(self, gaussians: FoldedGaussians, t: float) -> Tensor:
        """Return the Gaussians at model coordinate t."""
        return render_gaussians(gaussians, t, self.stack.height, self.stack.width, self.compositing)

    def coordinate(self, t: float) -> float:
        """Return the model coordinate of coordinate t of this phase's stack."""
        return float(np.interp(t, np.arange(len(self.coordinates)), self.coordinates))

    def step(self, parameters: Parameters, k: int, gap: int, rates: Tensor) -> float:
        """Bring the Gaussians closer to slice k and to the target in a gap beside it; return the mean square error.

        Parameters
        ----------
        parameters : Parameters
            Moved in place.
        k, gap : int
            A slice of this phase's stack, and the gap k - 1 or k.
        rates : (columns,)
            Step per column.
        """
        on, between = self.coordinate(k), self.coordinate(gap + 0.5)
        rows = parameters.visible(min(on, between), max(on, between))
        leaf = parameters.optimizer.parameters[rows].requires_grad_()
        gaussians = FoldedGaussians.unpack(leaf, parameters.channels)
        measured = (self.render(gaussians, on) - self.measured(k)).square().sum()
        interpolated = (self.render(gaussians, between) - self.target(gap)).square().sum()
        (measured + BETWEEN_WEIGHT * interpolated).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        parameters.optimizer.move(rows, leaf.grad, rates)
        parameters.keep_bounds(rows)
        return float(measured.detach()) / self.measured(k).numel()


def strength(weights: BlendWeights, trust: float, smoothing: float) -> DetailStrength:
    """Return how detail is made from blend weights, trust and smoothing."""
    rows = tuple((float(cubic), float(pchip), float(flow)) for cubic, pchip, flow in weights.table)
    return DetailStrength(rows, trust, smoothing)
