"""What a fit will do, decided before it starts: which slices hide, how many Gaussians and steps, on which device.

A volume and the settings come in; a `FitPlan` goes out. Nothing here depends on the clock or on chance.
"""

from dataclasses import dataclass

import numpy as np
import torch

from medgs_core.annotation import Annotation
from medgs_core.config import FitConfig
from medgs_core.correspondence import VARIANTS
from medgs_core.model import MEMORY_BYTES, PLAIN_COLUMNS, Compositing
from medgs_core.rasterize import choose_device
from medgs_core.slices import SliceStack, measured_slices, stack_slices
from medgs_core.volume import Volume, resolve_axis

FEWEST_TO_HIDE = 8
"""With fewer slices nothing is withheld: each is needed, and scores come from cross-validation."""

SLICES_PER_HIDDEN = 8
MOST_HIDDEN = 12
"""One slice in eight hides, at most a dozen: enough pixels to judge methods, few enough to stay close to the stack."""

LONGEST_SIDE = 32766
"""Pixels; OpenCV's warps count in 16 bits."""

FLOAT_BYTES, MOMENTS = 4, 2
FLOW_BYTES = 8
"""Per pixel and variant of the flow: two directions of two components in half precision."""

WORKING_BYTES, FIXED_BYTES = 800, 50 * 2**20
"""Measured: per value of one slice, on which evidence, flows and steps work; and whatever the size."""

ROUNDED_COPIES = 2
FIELDS_AT_WORK = 30
"""Label values that are rounded for the model; and fields of all classes on one slice at work together: those of the
slices that are looked at, and what ways of carrying bring."""

FIRST_PHASE_SHARE = 0.5
"""Share of the steps before hidden slices join."""


@dataclass(frozen=True)
class FitPlan:
    """Everything a fit needs to know before its first step.

    Attributes
    ----------
    stack : all slices but the skipped ones
    axis : slice axis in the file's order
    skipped : slices of the volume that are never looked at, never first or last
    hidden : slices of the stack withheld in the first phase; none next to another, never first or last, and beside a
        skipped one at need only
    counts : Gaussians seeded per slice of the stack
    steps : optimization steps of the first and the second phase; the first is 0 if nothing hides
    compositing, device : the rendering rule, and where it runs
    columns : numbers per Gaussian
    flows_per_pair : optical flows between two slices
    may_end_early : whether fewer steps are taken where hidden slices gain no more
    annotated, classes : annotated slices and labels, where there is to be a label head; else 0
    """

    stack: SliceStack
    axis: int
    skipped: tuple[int, ...]
    hidden: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, int]
    compositing: Compositing
    device: torch.device
    columns: int
    flows_per_pair: int
    may_end_early: bool
    annotated: int = 0
    classes: int = 0

    @property
    def memory_bytes(self) -> int:
        """Memory that the fit will hold at its peak, beside the volume, the labels and the libraries.

        Slices and targets in float32; the flows that are kept; the Gaussians with both moments of Adam, all of them
        again while hidden slices join, and the model; what single slices are worked on in. With labels, see
        `label_bytes`, which come after the image: what only its fit needs is gone by then.
        """
        gaussians = sum(self.counts) * self.columns * FLOAT_BYTES * ((1 + MOMENTS) * 2 + 1)
        pixels = self.stack.height * self.stack.width
        values = pixels * self.stack.channels
        slices = 2 * len(self.stack) * values * FLOAT_BYTES
        flows = len(self.stack) * pixels * self.flows_per_pair * FLOW_BYTES
        working = WORKING_BYTES * values
        return gaussians + min(flows, MEMORY_BYTES) + max(slices + working, self.label_bytes) + FIXED_BYTES

    @property
    def label_bytes(self) -> int:
        """Memory that the label head holds while it is learned.

        A value per Gaussian and class with both moments of Adam, and the rounded ones; distances on annotated slices as
        far as they are kept; the fields of the slices that are under way, and what they are made in.
        """
        fields = self.classes * self.stack.height * self.stack.width * FLOAT_BYTES
        values = sum(self.counts) * self.classes * FLOAT_BYTES * (1 + MOMENTS + ROUNDED_COPIES)
        return values + min(self.annotated * fields, MEMORY_BYTES) + FIELDS_AT_WORK * fields

    @property
    def kept(self) -> tuple[int, ...]:
        """Slices of the stack seen in the first phase."""
        return tuple(k for k in range(len(self.stack)) if k not in self.hidden)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Number in the volume of each slice of the stack."""
        return measured_slices(len(self.stack) + len(self.skipped), self.skipped)


def plan_fit(volume: Volume, config: FitConfig, annotation: Annotation | None = None) -> FitPlan:
    """Return what a fit of the volume under these settings will do, with labels if there are any.

    Raises
    ------
    ValueError
        If there are fewer than two slices, more slices are to be hidden than can be, a slice cannot be skipped, or the
        device cannot be had.
    """
    axis = resolve_axis(volume, config.axis)
    count = volume.shape3d[axis]
    if count < 2:
        msg = (
            f"A fit needs at least 2 slices along its axis, got {count} along axis {axis} of shape {volume.shape3d}; "
            "choose another axis or a volume with more slices."
        )
        raise ValueError(msg)
    check_skipped(count, config.skip)
    stack = stack_slices(volume, axis, skipped=config.skip)
    n = len(stack)
    if max(stack.height, stack.width) > LONGEST_SIDE:
        msg = (
            f"a slice can be at most {LONGEST_SIDE} pixels long, got {stack.height} x {stack.width} along axis {axis}; "
            "choose another axis or cut the volume into parts"
        )
        raise ValueError(msg)
    hidden = _beside_measured(_hidden_slices(n, config.hide), measured_slices(count, config.skip))
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
        skipped=config.skip,
        hidden=hidden,
        counts=tuple((k + 1) * total // n - k * total // n for k in range(n)),
        steps=(first, steps - first),
        compositing=rule if config.compositing == "auto" else config.compositing,
        device=device,
        columns=PLAIN_COLUMNS + 2 * config.drift_degree + stack.channels,
        flows_per_pair=len(VARIANTS[effort.flow]),
        may_end_early=bool(hidden) and config.steps is None,
        annotated=len(annotation.annotated) if annotation else 0,
        classes=len(annotation.ids) if annotation else 0,
    )


def check_skipped(count: int, skipped: tuple[int, ...]) -> None:
    """Refuse to skip slices that a stack of so many does not have or cannot do without.

    Raises
    ------
    ValueError
        Naming the first such slice.
    """
    for k in skipped:
        if k >= count:
            msg = f"skip should name slices that there are, 0 to {count - 1}, got {k}; correct its number"
            raise ValueError(msg)
        if k in (0, count - 1):
            msg = (
                f"skip should leave the first and the last slice, beyond which nothing lies to predict them from, got "
                f"{k} of {count} slices; cut the volume instead"
            )
            raise ValueError(msg)


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


def _beside_measured(hidden: tuple[int, ...], numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return the slices, each moved by one where only that leaves it without a skipped neighbor.

    Beside a skipped one a slice would be predicted across three steps, harder than what the fit is for.
    """
    moved = list(hidden)
    for place, k in enumerate(hidden):
        others = moved[:place] + moved[place + 1 :]
        for choice in (k, k - 1, k + 1):
            inner = 0 < choice < len(numbers) - 1
            if inner and numbers[choice + 1] - numbers[choice - 1] == 2 and all(abs(choice - j) > 1 for j in others):
                moved[place] = choice
                break
    return tuple(moved)
