"""Which axes of a layer are meant, what they are long, and in which unit: an image layer comes in, numbers go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from medgs_napari._frames import axis_names

if TYPE_CHECKING:
    from napari.layers import Labels

UNITS = {
    "meter": "m",
    "centimeter": "cm",
    "millimeter": "mm",
    "micrometer": "um",
    "nanometer": "nm",
    "inch": "inch",
}
"""Units of length that a volume can have, by napari's names."""

TIME_NAMES = ("t", "time", "frame", "frames")
CHANNEL_NAMES = ("c", "channel", "channels")
TIE = 1.0 - 1e-6
"""Spacings closer than this part of each other are a tie."""

LARGE_BYTES = 2**30


def check_layer(layer: Image | Labels) -> None:
    """Refuse a layer that is no stack of slices.

    Raises
    ------
    ValueError
        If it has fewer than three axes.
    """
    if layer.ndim < 3:
        raise ValueError(
            f"A fit needs a stack of slices, got the {layer.ndim}-D image '{layer.name}'; choose a layer with 3 axes."
        )


def guess_slice_axis(layer: Image | Labels) -> int:
    """Return the axis that slices probably lie along: of largest spacing among the last three, the first on ties.

    Channels do not count among them. A three-dimensional film has its slices along time.
    """
    plain = [k for k in range(layer.ndim) if k not in channel_axes(layer)]
    last = (plain if len(plain) >= 3 else list(range(layer.ndim)))[-3:]
    times = [k for k in last if k in time_axes(layer)]
    if times:
        return times[0]
    spacing = [_spacing(layer, k) for k in last]
    return next(k for k, one in zip(last, spacing, strict=True) if one >= max(spacing) * TIE)


def lacks_spacing(layer: Image | Labels, slice_axis: int) -> bool:
    """Return whether nobody seems to have set how far apart slices and pixels are; along time that is no matter."""
    axes = volume_axes(layer, slice_axis)
    untouched = all(layer.scale[k] == 1.0 and str(layer.units[k]) == "pixel" for k in axes)
    return untouched and slice_axis not in time_axes(layer)


def volume_axes(layer: Image | Labels, slice_axis: int) -> tuple[int, int, int]:
    """Return the three axes of the volume in order: the slice axis, and the last two others that are no channels."""
    others = [k for k in range(layer.ndim) if k != slice_axis]
    in_plane = [k for k in others if k not in channel_axes(layer)] or others
    if len(in_plane) < 2:
        in_plane = others
    first, second, third = sorted((slice_axis, *in_plane[-2:]))
    return first, second, third


def fourth_axis(layer: Image | Labels) -> int:
    """Return which of four axes is none of the volume: channels, or time, else one of a single step, or the first."""
    single = [k for k, count in enumerate(extents(layer)) if count == 1]
    return [*channel_axes(layer), *time_axes(layer), *single, 0][0]


def channel_axes(layer: Image | Labels) -> list[int]:
    """Return the axes that are channels by their names."""
    return [k for k, name in enumerate(axis_names(layer.axis_labels)) if name.lower() in CHANNEL_NAMES]


def time_axes(layer: Image | Labels) -> list[int]:
    """Return the axes that are time by their names or their units."""
    names = axis_names(layer.axis_labels)
    return [k for k, name in enumerate(names) if name.lower() in TIME_NAMES or _is_time(layer, k)]


def extents(layer: Image | Labels) -> tuple[int, ...]:
    """Return the number of steps along each axis, at the finest level."""
    return tuple(int(size) for size in finest(layer).shape[: layer.ndim])


def size_note(layer: Image | Labels, slice_axis: int) -> str:
    """Return a sentence about what has to be read or computed into memory; empty for data that are there."""
    data = finest(layer)
    if isinstance(data, np.ndarray) and not isinstance(data, np.memmap):
        return ""
    voxels = float(np.prod([extents(layer)[k] for k in volume_axes(layer, slice_axis)]))
    size = voxels * np.dtype(data.dtype).itemsize * (data.shape[-1] if is_rgb(layer) else 1)
    amount = f"{size / 2**30:.1f} GiB" if size >= LARGE_BYTES else f"{max(size / 2**20, 0.1):.1f} MiB"
    return f"The image is read or computed as a whole, into {amount} of memory."


def is_rgb(layer: Image | Labels) -> bool:
    """Return whether the last axis of the data is color."""
    return isinstance(layer, Image) and bool(layer.rgb)


def finest(layer: Image | Labels) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _spacing(layer: Image | Labels, axis: int) -> float:
    return float(abs(layer.scale[axis])) * length(layer.units[axis])


def _is_time(layer: Image | Labels, axis: int) -> bool:
    return str(layer.units[axis].dimensionality) == "[time]"


def length(unit: Any) -> float:
    """Return a unit of length in meters; 1 for all others, which do not compare."""
    return float((1 * unit).to("meter").magnitude) if str(unit.dimensionality) == "[length]" else 1.0


def volume_unit(layer: Image | Labels, axis: int) -> str:
    return UNITS.get(str(layer.units[axis]), "unknown")
