"""Which axes of an array in a file are slices, rows and columns, which counts volumes, and which channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medgs_core.arrays import Affine
from medgs_core.formats._decoding import Choice, check_channel_axis, chosen_volume

CHANNEL_AXES = "CS"
PLANE_AXES = "YX"


@dataclass(frozen=True)
class Cut:
    """What of an array in a file is the volume: `array[index].transpose(order)`.

    Attributes
    ----------
    index : for each axis of the array what is taken of it
    order : of the axes that are left, so that they become (z, y, x) or (z, y, x, channels)
    spatial : axes of the array that are z, y, x
    series : whether the last axis counts the volumes of a series
    """

    index: tuple[int | slice, ...]
    order: tuple[int, ...]
    spatial: tuple[int, int, int]
    series: bool


def cut_volume(path: Path, axes: str, shape: Sequence[int], chosen: Choice) -> Cut:
    """Return what to take of an array: what is neither row, column nor channel is slices or a series.

    Parameters
    ----------
    path : Path
        For sentences.
    axes : str
        A letter for each axis: Y, X, Z, T; C or S for channels; others count something.
    shape : sequence of int
        Steps along each axis.
    chosen : int, "all" or None
        Which volume of a series.

    Raises
    ------
    ValueError
        If there is no volume in it, or a series without a choice.
    """
    keep = [n for n, axis in enumerate(axes) if axis in PLANE_AXES or shape[n] > 1]
    stacks = [n for n in keep if axes[n] not in PLANE_AXES + CHANNEL_AXES]
    channels = [n for n in keep if axes[n] in CHANNEL_AXES]
    if not stacks:
        raise ValueError(
            f"The input must be a stack of slices, got '{path}', one 2-D image; stack the images into one file."
        )
    if len(stacks) > 2 or len(channels) > 1:
        raise ValueError(
            f"A volume must have 3 dimensions, a series of them 4, and channels, got axes "
            f"{''.join(axes[n] for n in keep)} of shape {tuple(shape[n] for n in keep)} in '{path}'; "
            "save one volume by itself."
        )
    # The slower axis counts volumes, as time does in TZYX, unless it is named Z.
    slices = next((n for n in stacks if axes[n] == "Z"), stacks[-1])
    series = [n for n in stacks if n != slices]
    spatial = (slices, axes.index("Y"), axes.index("X"))
    index: list[int | slice] = [slice(None) if n in keep else 0 for n in range(len(axes))]
    count = shape[series[0]] if series else 1
    if isinstance(chosen, str):
        check_channel_axis(path, shape[channels[0]] if channels and series else 1)
        wanted = [*spatial, *channels, *series]
    else:
        number = chosen_volume(path, count, chosen)
        if series:
            index[series[0]] = number
        wanted = [*spatial, *channels]
    left = [n for n, entry in enumerate(index) if isinstance(entry, slice)]
    order = tuple(left.index(n) for n in wanted)
    return Cut(tuple(index), order, spatial, isinstance(chosen, str) and bool(series))


def world_order(affine: Affine) -> tuple[int, int, int]:
    """Return the voxel axes that are nearest to the world axes z, y, x, in this order."""
    from nibabel.orientations import io_orientation

    world_axis = io_orientation(affine)[:, 0]  # type: ignore[no-untyped-call]
    z, y, x = (int(n) for n in np.argsort(-world_axis))
    return z, y, x


def given_spacing(voxel_size: Sequence[float]) -> tuple[float, float, float]:
    """Return the voxel size that a user gave.

    Raises
    ------
    ValueError
        If it is not three positive numbers.
    """
    if len(voxel_size) != 3 or not all(np.isfinite(step) and step > 0 for step in voxel_size):
        raise ValueError(
            f"The voxel size must be three positive numbers Z,Y,X, got {tuple(voxel_size)}; "
            "give for instance --voxel-size 2.5,0.4,0.4."
        )
    z, y, x = (float(step) for step in voxel_size)
    return z, y, x
