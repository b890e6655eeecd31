"""*layer ↔ volume*: an image or labels layer comes in, the volume to fit or to write goes out.

Nothing here changes a layer. What is needed of it is picked at once, so that a job goes on when the layer is renamed,
moved or deleted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from medgs_napari._axes import (
    UNITS,
    channel_axes,
    check_layer,
    extents,
    finest,
    fourth_axis,
    guess_slice_axis,
    is_rgb,
    length,
    volume_axes,
    volume_unit,
)
from medgs_napari._frames import Frame, Matrix, place_of, shifted

if TYPE_CHECKING:
    import medgs_core as medgs

METADATA = "medgs"
"""Key in the metadata of a layer under which its `Origin` stands."""

WORDS = re.compile(r"[^\s_]+[\s_]*|[\s_]+")
"""A word of a name, and what sets it off from the next one."""

SAME_PLACE = 1e-9
"""Part of the largest number in a transform by which two may differ and be the same."""


@dataclass(frozen=True, eq=False)
class Origin:
    """The file that a layer was read from.

    Attributes
    ----------
    volume : as the layer shows it; the volumes of a series as channels
    path : the file, None where its values were rescaled to be shown
    frame : how the reader placed it
    """

    volume: medgs.Volume
    path: str | None
    frame: Frame


@dataclass(frozen=True, eq=False)
class Picked:
    """What a fit takes of a layer, independent of what becomes of the layer.

    Attributes
    ----------
    name : the layer's name
    data : its finest data
    steps : for each axis the step that was picked, None for the three axes of the volume
    frame : how volumes rendered from it are shown
    affine : (4, 4) voxel index to world (x, y, z)
    unit : of length
    origin : the file that it was read from, unless it was moved since
    """

    name: str
    data: Any
    steps: tuple[int | None, ...]
    frame: Frame
    affine: Matrix
    unit: str
    origin: Origin | None

    @property
    def number(self) -> int | None:
        """Which volume of a file's series it is."""
        return self.steps[0] if self.origin is not None and self.origin.volume.series else None

    @property
    def is_whole_layer(self) -> bool:
        """Whether the layer has no other steps than those that were picked."""
        return all(step is None or self.data.shape[k] == 1 for k, step in enumerate(self.steps))

    def without_origin(self) -> Picked:
        """Return the same as it stands in napari, whatever its file says."""
        order = tuple(2 - k if step is None else None for k, step in zip(self._places(), self.steps, strict=True))
        return replace(self, origin=None, frame=replace(self.frame, order=order))

    def _places(self) -> list[int]:
        """Return for each axis of the layer how many axes of the volume come before it."""
        return [sum(step is None for step in self.steps[:k]) for k in range(len(self.steps))]

    def volume(self) -> medgs.Volume:
        """Return the volume, read or computed now where the data are on a disk or still to be computed."""
        import medgs_core as medgs

        if self.origin is not None:
            whole = self.origin.volume
            if self.number is None:
                return whole
            return replace(whole, voxels=whole.voxels[..., self.number], series=False)
        stack = _numbers(self.data[tuple(slice(None) if step is None else step for step in self.steps)])
        return medgs.Volume(stack.transpose(2, 1, 0, *range(3, stack.ndim)), self.affine, self.unit)


def pick(layer: Image | Labels, slice_axis: int | None = None, steps: Sequence[int] | None = None) -> Picked:
    """Return what a fit along an axis takes of a layer.

    Parameters
    ----------
    layer : Image or Labels
        At least three-dimensional.
    slice_axis : int, optional
        Axis of the layer along which slices lie; `guess_slice_axis` if not given.
    steps : sequence of int, optional
        Of all axes, for those that are not part of the volume; the first step if not given.

    Raises
    ------
    ValueError
        If the layer has fewer than three axes, or the axis is none of them.
    """
    check_layer(layer)
    axis = guess_slice_axis(layer) if slice_axis is None else slice_axis
    if not 0 <= axis < layer.ndim:
        raise ValueError(f"The slice axis must be 0 to {layer.ndim - 1}, got {axis}; choose another one.")
    kept = volume_axes(layer, axis)
    counts = extents(layer)
    wanted = [0] * layer.ndim if steps is None else list(steps)
    fixed = tuple(
        None if k in kept else min(max(int(step), 0), counts[k] - 1) for k, step in enumerate(wanted[-layer.ndim :])
    )
    frame = _frame_of(layer, axis, kept, fixed)
    origin = _origin_of(layer, kept)
    if origin is not None:
        frame = replace(frame, order=(*(None for _ in range(layer.ndim - 3)), *origin.frame.order))
    affine, unit = _world_of(layer, kept)
    return Picked(layer.name, finest(layer), fixed, frame, affine, unit, origin)


def joint_name(names: Sequence[str]) -> str:
    """Return what several images are called together; words that all of them begin with are said once.

    Examples
    --------
    >>> joint_name(["sub-01 brain_T1w", "sub-01 brain_T2w"])
    'sub-01 brain_T1w + T2w'
    >>> joint_name(["brain", "brain [1]"])
    'brain + brain [1]'
    """
    words = [WORDS.findall(name) for name in names]
    least = min(map(len, words))
    same = next((k for k in range(least) if len({one[k] for one in words}) > 1), 0)  # something is left of each
    return " + ".join([names[0], *("".join(one[same:]) for one in words[1:])])


def _frame_of(layer: Image | Labels, axis: int, kept: tuple[int, ...], steps: tuple[int | None, ...]) -> Frame:
    place = place_of(layer)
    for k, step in enumerate(steps):
        if step:
            place["translate"] = shifted(place, k, step)
    look = _look_of(layer) if isinstance(layer, Image) else {}
    order = tuple(2 - kept.index(k) if k in kept else None for k in range(layer.ndim))
    return Frame(order, axis, is_rgb(layer), place, look)


def _look_of(layer: Image) -> dict[str, Any]:
    look = {name: getattr(layer, name) for name in ("blending", "gamma", "opacity", "interpolation2d", "rendering")}
    if not layer.rgb:
        look |= {"contrast_limits": tuple(layer.contrast_limits), "colormap": layer.colormap.name}
    return look


def _world_of(layer: Image | Labels, kept: tuple[int, ...]) -> tuple[Matrix, str]:
    """Return the affine of the volume that the kept axes span, world x, y, z being the last of them first; its unit."""
    zero = np.asarray(layer.data_to_world((0.0,) * layer.ndim))
    columns = [np.asarray(layer.data_to_world(np.eye(layer.ndim)[k])) - zero for k in kept]
    rows = list(kept)
    unit = volume_unit(layer, kept[-1])
    own = length(layer.units[kept[-1]])
    lengths = [
        length(layer.units[k]) / own if unit != "unknown" and str(layer.units[k].dimensionality) == "[length]" else 1.0
        for k in kept
    ]
    linear = np.stack([column[rows] for column in columns], axis=1) * np.array(lengths)[:, np.newaxis]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear[::-1, ::-1], (zero[rows] * lengths)[::-1]
    return affine, unit


def _origin_of(layer: Image | Labels, kept: tuple[int, ...]) -> Origin | None:
    """Return the file of a layer if it still shows what the reader put there, where it put it."""
    origin = layer.metadata.get(METADATA)
    if not isinstance(origin, Origin) or kept != tuple(range(layer.ndim - 3, layer.ndim)):
        return None
    ndim = 4 if origin.volume.series else 3
    # a view of the very same memory, in the same order
    same = layer.ndim == ndim and layer_data(origin.volume, origin.frame.order).__array_interface__
    if not same or not isinstance(layer.data, np.ndarray) or layer.data.__array_interface__ != same:
        return None
    place = origin.frame.place
    now = np.concatenate([layer.scale[-3:], layer.translate[-3:], np.ravel(layer.affine.affine_matrix[-4:, -4:])])
    then = np.concatenate([place["scale"], place["translate"], np.ravel(place["affine"])])
    turned = not np.allclose(layer.rotate, np.eye(layer.ndim)) or np.any(layer.shear)
    moved = turned or not np.allclose(now, then, rtol=0, atol=SAME_PLACE * float(np.abs(then).max()))
    units = {UNITS.get(str(unit), "unknown") for unit in layer.units[-3:]}
    return None if moved or units != {origin.volume.unit} else origin


def layer_data(volume: medgs.Volume, order: tuple[int | None, ...]) -> Any:
    """Return the voxels of a volume as a layer shows them: a view, its axes in the order given, a series first."""
    axes = [axis for axis in order if axis is not None]
    return volume.voxels.transpose(*((3, *axes) if volume.series else (*axes, *range(3, volume.voxels.ndim))))


def _numbers(data: Any) -> Any:
    """Return data in memory; of a mask, 0 and 1, as the core reads them from files."""
    held = np.asarray(data)
    return held.view(np.uint8) if held.dtype == np.bool_ else held


def layer_volume(layer: Image | Labels) -> medgs.Volume:
    """Return all of a layer as one volume, to be written: a fourth axis becomes channels or a series.

    Raises
    ------
    ValueError
        If the layer has fewer than three axes or more than four, or four and color.
    """
    if layer.ndim not in (3, 4) or (layer.ndim == 4 and is_rgb(layer)):
        kind = "color image" if is_rgb(layer) else "image" if isinstance(layer, Image) else "labels layer"
        raise ValueError(
            f"A volume file holds 3 axes, or 4 with time, got the {layer.ndim}-D {kind} '{layer.name}'; "
            "save a part of it."
        )
    fourth = None if layer.ndim == 3 else fourth_axis(layer)
    kept = tuple(k for k in range(layer.ndim) if k != fourth)
    origin = _origin_of(layer, kept)
    if origin is not None:
        return origin.volume
    import medgs_core as medgs

    last = range(layer.ndim, layer.ndim + is_rgb(layer)) if fourth is None else (fourth,)
    voxels = _numbers(finest(layer)).transpose(*kept[::-1], *last)
    series = fourth is not None and fourth not in channel_axes(layer)
    return medgs.Volume(voxels, *_world_of(layer, kept), series=series)
