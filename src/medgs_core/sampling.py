"""Where the slices of an output lie: by factor, spacing or coordinates, along the axis of a fitted model.

A model and the wish of a user come in; slice coordinates and the geometry that they stand in go out.
"""

from dataclasses import dataclass

import numpy as np

from medgs_core.arrays import Positions
from medgs_core.config import RenderConfig
from medgs_core.model import FittedModel
from medgs_core.slices import SliceStack, stack_slices
from medgs_core.volume import is_regular

ON_SLICE = 1e-6
"""Slice coordinates this close to a measured slice are that slice."""


def is_measured(model: FittedModel, t: float) -> bool:
    """Return whether slice coordinate t is that of a measured slice, which a skipped one is not."""
    return bool(abs(t - round(t)) < ON_SLICE) and round(t) not in model.skipped


@dataclass(frozen=True)
class Sampling:
    """Where the slices of an output volume lie.

    Attributes
    ----------
    coordinates : (slices,) slice coordinates t
    start, step : first slice and distance in slices of the affine, where the output is regular
    positions : (slices,) physical positions, where it is not; else None
    """

    coordinates: Positions
    start: float
    step: float
    positions: Positions | None


def sample_slices(model: FittedModel, config: RenderConfig) -> Sampling:
    """Return where the output's slices lie: by factor, spacing, isotropic or positions; factor 1 by default.

    Raises
    ------
    ValueError
        If positions leave the stack or do not increase.
    """
    stack = stack_slices(model.volume, model.axis, model.window)
    last = len(stack) - 1
    origin, end = float(stack.positions[0]), float(stack.positions[-1])
    slice_step = model.volume.spacing[model.axis]
    if config.spacing is not None or config.isotropic:
        spacing = config.spacing or _isotropic_spacing(model, stack)
        # a hair more than the length, so that rounding does not drop the last slice
        z = origin + spacing * np.arange(int((end - origin) / spacing * (1 + ON_SLICE)) + 1)
        coordinates = np.array([stack.t_at(value) for value in z])
        return Sampling(coordinates, 0.0, spacing / slice_step, None)
    if config.positions is not None:
        coordinates = np.array(config.positions, dtype=np.float64)
        _check_coordinates(coordinates, last)
    else:
        factor = config.factor or 1
        coordinates = np.arange(last * factor + 1) / factor
    z = np.array([stack.z_at(t) for t in coordinates])
    if not is_regular(z):
        return Sampling(coordinates, 0.0, 1.0, z)
    step = (z[-1] - z[0]) / (len(z) - 1) if len(z) > 1 else slice_step
    return Sampling(coordinates, (float(z[0]) - origin) / slice_step, float(step) / slice_step, None)


def _isotropic_spacing(model: FittedModel, stack: SliceStack) -> float:
    """Return the finest in-plane spacing, or the finest gap between slices where that is finer."""
    in_plane = [spacing for axis, spacing in enumerate(model.volume.spacing) if axis != model.axis]
    return float(min(*in_plane, *np.diff(stack.positions)))


def _check_coordinates(coordinates: Positions, last: int) -> None:
    outside = (coordinates < -ON_SLICE) | (coordinates > last + ON_SLICE) | ~np.isfinite(coordinates)
    if outside.any():
        msg = (
            f"positions must lie between the first and the last slice (t from 0 to {last}), got "
            f"{coordinates[outside][0]:g}; choose t in that range"
        )
        raise ValueError(msg)
    falling = np.diff(coordinates) <= 0
    if falling.any():
        first = int(np.argmax(falling))
        msg = (
            f"positions must increase, got {coordinates[first]:g} before {coordinates[first + 1]:g}; "
            "sort them and leave out doubles"
        )
        raise ValueError(msg)
