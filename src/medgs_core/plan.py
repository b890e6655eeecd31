"""What a fit will do, decided before it starts: which slices hide, how many Gaussians and steps, on which device.

A volume and the settings come in; a `FitPlan` goes out. Nothing here depends on the clock or on chance.
"""

from dataclasses import dataclass

import numpy as np
import torch

from medgs_core.config import FitConfig
from medgs_core.model import MEMORY_BYTES, PLAIN_COLUMNS, Compositing
from medgs_core.rasterize import choose_device
from medgs_core.slices import SliceStack, stack_slices
from medgs_core.volume import Volume, resolve_axis

FEWEST_TO_HIDE = 8
"""With fewer slices nothing is withheld: each is needed, and scores come from cross-validation."""

SLICES_PER_HIDDEN = 8
MOST_HIDDEN = 12
"""One slice in eight hides, at most a dozen: enough pixels to judge methods, few enough to stay close to the stack."""

LONGEST_SIDE = 32766
"""Pixels; OpenCV's warps count in 16 bits."""

FLOAT_BYTES, MOMENTS, COPIES = 4, 2, 2
FLOW_BYTES = 8
"""Per pixel and variant of the flow: two directions of two components in half precision."""

FIRST_PHASE_SHARE = 0.5
"""Share of the steps before hidden slices join."""


@dataclass(frozen=True)
class FitPlan:
    """Everything a fit needs to know before its first step.

    Attributes
    ----------
    stack : all slices
    axis : slice axis in the file's order
    hidden : slices withheld in the first phase; none next to another, never first or last
    counts : Gaussians seeded per slice
    steps : optimization steps of the first and the second phase; the first is 0 if nothing hides
    compositing, device : the rendering rule, and where it runs
    columns : numbers per Gaussian
    flow_variants : flows per pair of slices
    """

    stack: SliceStack
    axis: int
    hidden: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, int]
    compositing: Compositing
    device: torch.device
    columns: int
    flow_variants: int

    @property
    def memory_bytes(self) -> int:
        """Memory that the fit will hold at its peak, beside the volume and the libraries.

        The Gaussians with both moments of Adam, and all of them again while hidden slices join; slices and targets in
        float32; the flows that are kept.
        """
        gaussians = sum(self.counts) * self.columns * FLOAT_BYTES * (1 + MOMENTS) * COPIES
        pixels = self.stack.height * self.stack.width
        slices = 2 * len(self.stack) * pixels * self.stack.channels * FLOAT_BYTES
        flows = len(self.stack) * pixels * self.flow_variants * FLOW_BYTES
        return gaussians + slices + min(flows, MEMORY_BYTES)

    @property
    def kept(self) -> tuple[int, ...]:
        """Slices seen in the first phase."""
        return tuple(k for k in range(len(self.stack)) if k not in self.hidden)


def plan_fit(volume: Volume, config: FitConfig) -> FitPlan:
    """Return what a fit of the volume under these settings will do.

    Raises
    ------
    ValueError
        If there are fewer than two slices, more slices are to be hidden than can be, or the device cannot be had.
    """
    axis = resolve_axis(volume, config.axis)
    stack = stack_slices(volume, axis)
    n = len(stack)
    if n < 2:
        msg = (
            f"a fit needs at least 2 slices along its axis, got {n} along axis {axis} of shape {volume.shape3d}; "
            "choose another axis or a volume with more slices"
        )
        raise ValueError(msg)
    if max(stack.height, stack.width) > LONGEST_SIDE:
        msg = (
            f"a slice can be at most {LONGEST_SIDE} pixels long, got {stack.height} x {stack.width} along axis {axis}; "
            "choose another axis or cut the volume into parts"
        )
        raise ValueError(msg)
    hidden = _hidden_slices(n, config.hide)
    effort = config.effort
    pixels = stack.height * stack.width
    total = config.gaussians or max(n, round(n * pixels / effort.pixels_per_gaussian))
    steps = config.steps or max(effort.fewest_steps, round(n * effort.steps_per_slice))
    first = round(FIRST_PHASE_SHARE * steps) if hidden else 0
    device = choose_device(config.device)
    rule: Compositing = "alpha" if device.type == "cuda" else "sum"
    return FitPlan(
        stack=stack,
        axis=axis,
        hidden=hidden,
        counts=tuple((k + 1) * total // n - k * total // n for k in range(n)),
        steps=(first, steps - first),
        compositing=rule if config.compositing == "auto" else config.compositing,
        device=device,
        columns=PLAIN_COLUMNS + 2 * config.drift_degree + stack.channels,
        flow_variants=effort.flow_variants,
    )


def _hidden_slices(n: int, wanted: int | None) -> tuple[int, ...]:
    """Return evenly spread inner slices of which no two are neighbors."""
    most = (n - 1) // 2
    if wanted is None:
        wanted = 0 if n < FEWEST_TO_HIDE else min(n // SLICES_PER_HIDDEN, MOST_HIDDEN)
    if wanted > most:
        msg = f"hide should be at most {most} for {n} slices, to keep both neighbors of each, got {wanted}; hide fewer"
        raise ValueError(msg)
    # the middles of `wanted` equal parts of the stack
    places = (np.arange(wanted) + 0.5) * (n - 1) / max(wanted, 1)
    return tuple(int(place) for place in np.clip(np.rint(places), 1, n - 2))
