"""How a volume stands in napari: the order of its axes, its place in the world, and what it looks like.

A layer or a volume comes in, a `Frame` goes out; from it come the settings of every layer that is made of the same
volume. With `_layers`, this is the only place that knows scale, translate, rotate, shear, affine, units, axis labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pint
from napari.utils.transforms import Affine

if TYPE_CHECKING:
    from napari.layers import Layer

    import medgs_core as medgs

Matrix = npt.NDArray[np.float64]

AXIS_NAMES = ("x", "y", "z")
"""What the last axis is called where a layer has no labels of its own, the one before it, and so on."""

TILT_TOLERANCE = 1e-4
"""Directions that leave an axis by less, as sine of the angle, are straight: headers keep float32."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Where and how the slices of a volume are shown.

    Attributes
    ----------
    order : for each axis of the layer the axis of the volume, None where the layer has one step only
    slice_axis : the axis of the layer along which the slices lie
    rgb : whether the last axis of the data is color
    place : scale, translate, rotate, shear, affine, units and axis_labels, as a layer takes them
    look : contrast limits, colormap, blending and the like; may be empty
    """

    order: tuple[int | None, ...]
    slice_axis: int
    rgb: bool
    place: Mapping[str, Any]
    look: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ndim(self) -> int:
        """Axes of the layer."""
        return len(self.order)

    @property
    def volume_axis(self) -> int:
        """The slice axis in the volume's order."""
        axis = self.order[self.slice_axis]
        assert axis is not None
        return axis

    def settings(self, start: float = 0.0, step: float = 1.0) -> dict[str, Any]:
        """Return what an image layer needs whose slice j stands at measured slice start + j * step."""
        return {**self.placed(start, step), **self.look, "rgb": self.rgb}

    def placed(self, start: float = 0.0, step: float = 1.0) -> dict[str, Any]:
        """Return the place of any layer whose slice j stands at measured slice start + j * step."""
        place = dict(self.place)
        scale = np.array(place["scale"], dtype=np.float64)
        place["translate"] = shifted(place, self.slice_axis, start)
        scale[self.slice_axis] *= step
        place["scale"] = tuple(float(one) for one in scale)
        return place


def place_of(layer: Layer) -> dict[str, Any]:
    """Return where a layer stands, as another one takes it."""
    return {
        "scale": tuple(float(one) for one in layer.scale),
        "translate": tuple(float(one) for one in layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(f"{unit:~}" for unit in layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def matrix_of(place: Mapping[str, Any]) -> Matrix:
    """Return the matrix from indices, or coordinates of vertices, to napari's world: (axes + 1, axes + 1)."""
    own = Affine(
        scale=place["scale"],
        translate=place["translate"],
        rotate=place["rotate"],
        shear=place["shear"],
        ndim=len(place["scale"]),
    )
    return np.asarray(place["affine"], dtype=np.float64) @ np.asarray(own.affine_matrix)


def shifted(place: Mapping[str, Any], axis: int, index: float) -> tuple[float, ...]:
    """Return the translate that puts what stood at an index of an axis at index 0."""
    scale = np.asarray(place["scale"], dtype=np.float64)
    turn = Affine(scale=scale, rotate=place["rotate"], shear=place["shear"], ndim=len(scale))
    moved = np.asarray(place["translate"], dtype=np.float64) + index * np.asarray(turn.linear_matrix)[:, axis]
    return tuple(float(one) for one in moved)


def axis_names(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the axes are called: their labels, or x, y, z from the last on where they have none.

    Examples
    --------
    >>> axis_names(("-3", "-2", "-1"))
    ('z', 'y', 'x')
    """
    plain = [label.lstrip("-").isdigit() for label in labels]
    given = [AXIS_NAMES[place] if place < len(AXIS_NAMES) else f"axis {-1 - place}" for place in range(len(labels))]
    return tuple(given[-1 - k] if plain[k] else labels[k] for k in range(len(labels)))


def describe_axis(place: Mapping[str, Any], axis: int, count: int) -> str:
    """Say which axis of a layer slices lie along, how many, and how far apart.

    Examples
    --------
    >>> describe_axis({"scale": (-3.0, 1, 1), "units": ("mm",) * 3, "axis_labels": ("z", "y", "x")}, 0, 9)
    'z: 9 slices, every 3 mm'
    """
    unit = f"{pint.Unit(place['units'][axis]):~}".replace("pixel", "px")
    return f"{axis_names(place['axis_labels'])[axis]}: {count} slices, every {abs(place['scale'][axis]):.3g} {unit}"


def frame_of_volume(volume: medgs.Volume, axis: int, *, straight: bool = False) -> Frame:
    """Return how a volume from a file is shown: axes near z, y, x of its world, in its unit.

    Parameters
    ----------
    volume : Volume
        Its world has the axes x, y, z.
    axis : int
        Its slice axis.
    straight : bool
        Whether to leave out a tilt: slices then lie flat in napari, but not where the file says.
    """
    directions = volume.affine[:3, :3] / np.asarray(volume.spacing)
    along = _nearest_axes(directions)
    order = tuple(along[::-1])  # the world axis nearest to z comes first
    columns = directions[::-1][:, order]
    signs = np.sign(np.diag(columns))
    scale = np.asarray(volume.spacing)[list(order)] * signs
    origin = volume.affine[:3, 3][::-1]
    linear, tilted = columns * signs, not _is_straight(columns)
    place: dict[str, Any] = {
        "scale": tuple(float(one) for one in scale),
        "rotate": np.eye(3),
        "shear": np.zeros(3),
        "units": (layer_unit(volume.unit),) * 3,
        "axis_labels": ("z", "y", "x"),
    }
    if tilted and not straight:
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = linear, origin
        place |= {"translate": (0.0, 0.0, 0.0), "affine": affine}
    else:
        place |= {"translate": tuple(float(one) for one in origin), "affine": np.eye(4)}
    rgb = is_color(volume.channels, volume.voxels.dtype) and not volume.series and not volume.members
    return Frame(order, order.index(axis), rgb, place)


def tilt_left_out(volume: medgs.Volume, frame: Frame) -> Matrix | None:
    """Return what leads from where a frame lays a tilted volume flat to where its file says, z, y, x: (4, 4).

    None where the frame leaves out no tilt.
    """
    true, flat = (frame_of_volume(volume, frame.volume_axis, straight=one).place for one in (False, True))
    if _is_upright(true) or not _is_upright(frame.place):
        return None
    return matrix_of(true) @ np.linalg.inv(matrix_of(flat))


def is_color(channels: int, dtype: npt.DTypeLike) -> bool:
    """Return whether channels of a file are those of a color, as far as one can tell."""
    return channels in (3, 4) and np.dtype(dtype) == np.uint8


def layer_unit(unit: str) -> str:
    """Return the unit of a volume as napari spells it."""
    return "pixel" if unit == "unknown" else unit


def _nearest_axes(directions: Matrix) -> list[int]:
    """Return for each world axis x, y, z the volume axis nearest to it, each once."""
    weight = np.abs(directions)
    along = [-1, -1, -1]
    for _ in range(3):
        world, axis = np.unravel_index(int(np.argmax(weight)), weight.shape)
        along[int(world)] = int(axis)
        weight[world, :] = weight[:, axis] = -1.0
    return along


def _is_upright(place: Mapping[str, Any]) -> bool:
    """Return whether each axis of a layer goes along one of napari's world."""
    columns = matrix_of(place)[:-1, :-1]
    return _is_straight(columns / np.linalg.norm(columns, axis=0))


def _is_straight(columns: Matrix) -> bool:
    """Return whether each direction goes along one axis of the world."""
    aside = columns - np.diag(np.diag(columns))
    return bool(np.abs(aside).max() < TILT_TOLERANCE)
