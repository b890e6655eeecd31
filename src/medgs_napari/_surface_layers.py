"""*surface ↔ layer*: surfaces in the world of a file stand in napari exactly where the image of their model does.

A surface comes in, vertices in the coordinates of the image's layer go out; and from layers, surfaces to be written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pint

from medgs_napari._axes import UNITS
from medgs_napari._frames import Frame, Matrix, matrix_of
from medgs_napari._results import find_results, show_result
from medgs_napari._session import Fitted

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    import medgs_core as medgs

METADATA = "medgs_surface"
"""Key in the metadata of a layer under which its `medgs.Surface` stands, in the world and the unit of its file."""

LEVEL = "level"
LEVEL_COLOR = np.array([0.9, 0.85, 0.7, 1.0])
PREFIX = "surface of "


def layer_vertices(surface: medgs.Surface, volume: medgs.Volume, frame: Frame) -> Matrix:
    """Return the vertices as a layer of the frame counts: (vertices, axes), in steps of the measured slices.

    Parameters
    ----------
    surface : Surface
        In the world of the volume.
    volume : Volume
        Whose affine leads back to its voxels.
    frame : Frame
        How the volume is shown.
    """
    indices = (surface.vertices - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    axis = frame.volume_axis
    if volume.positions is not None:
        indices[:, axis] = _seat(indices[:, axis] * volume.spacing[axis] + volume.positions[0], volume.positions)
    columns = [np.zeros(len(indices)) if one is None else indices[:, one] for one in frame.order]
    return np.stack(columns, axis=1)


def show_surfaces(
    viewer: ViewerModel, fitted: Fitted, surfaces: Sequence[medgs.Surface], colors: Sequence[Any]
) -> list[Layer]:
    """Show each surface in a layer of its own, the one that showed it before where there is one."""
    return [
        show_result(viewer, fitted, what_of(surface), "surface", *_drawn(fitted, surface, color))
        for surface, color in zip(surfaces, colors, strict=True)
    ]


def drop_labels(viewer: ViewerModel, fitted: Fitted, surfaces: Sequence[medgs.Surface]) -> None:
    """Take away the surfaces of labels that are none of these: they are no longer."""
    kept = {what_of(surface) for surface in surfaces} | {PREFIX + LEVEL}
    for what, layer in find_results(viewer, fitted).items():
        if what.startswith(PREFIX) and what not in kept:
            viewer.layers.remove(layer)


def what_of(surface: medgs.Surface) -> str:
    """Return what a layer of the surface shows: one for each label, and one for all levels."""
    return PREFIX + (LEVEL if surface.label is None else surface.name)


def layer_surface(name: str, data: Any, meta: Mapping[str, Any]) -> medgs.Surface:
    """Return the surface of a layer to be written: as it was extracted, or as napari shows it.

    Raises
    ------
    ValueError
        If the layer is not three-dimensional.
    """
    import medgs_core as medgs

    extracted = meta.get("metadata", {}).get(METADATA)
    if isinstance(extracted, medgs.Surface) and len(extracted.vertices) == len(data[0]):
        return extracted
    vertices = np.asarray(data[0], dtype=np.float64)
    if vertices.shape[1] != 3:
        raise ValueError(f"A mesh file holds 3 axes, got the {vertices.shape[1]}-D surface '{name}'; slice it first.")
    to_world = matrix_of(meta)
    world = (vertices @ to_world[:3, :3].T + to_world[:3, 3])[:, ::-1]
    faces = np.asarray(data[1], dtype=np.int64)
    if np.linalg.det(to_world[2::-1, :3]) < 0:  # the triangles would face inward in the file
        faces = faces[:, ::-1]
    return medgs.Surface(
        np.ascontiguousarray(world),
        np.ascontiguousarray(faces),
        UNITS.get(str(pint.Unit(meta["units"][-1])), "unknown"),
    )


def _drawn(fitted: Fitted, surface: medgs.Surface, color: Any) -> tuple[Any, dict[str, Any]]:
    """Return data and settings of the layer of a surface."""
    from napari.utils import Colormap

    frame, volume = fitted.frames[0], fitted.model.volume
    place = frame.placed()
    # napari lights a layer of negative scale from behind, so the vertices are mirrored instead: in the same place
    signs = np.sign(place["scale"])
    place["scale"] = tuple(abs(one) for one in place["scale"])
    vertices = layer_vertices(surface, volume, frame) * signs
    settings = {
        **place,
        "name": f"{fitted.name} {surface.name.replace('_', ' ')}",
        "colormap": Colormap([color, color], name=surface.name),
        "contrast_limits": (0.0, 1.0),
        "shading": "smooth",
        "metadata": {METADATA: surface},
    }
    faces = surface.faces if _keeps_turn(volume, frame, signs) else surface.faces[:, ::-1]
    return (vertices, faces, np.ones(len(vertices), np.float32)), settings


def _keeps_turn(volume: medgs.Volume, frame: Frame, signs: Matrix) -> bool:
    """Return whether what turns right in the world does so in the layer: else triangles would face inward there."""
    to_data = np.linalg.inv(volume.affine[:3, :3])
    rows = [sign * to_data[axis] for axis, sign in zip(frame.order, signs, strict=True) if axis is not None]
    return bool(np.linalg.det(np.stack(rows)) > 0)


def _seat(z: Matrix, positions: Matrix) -> Matrix:
    """Return slice coordinates of positions, straight on beyond the first and the last slice."""
    t = np.interp(z, positions, np.arange(len(positions)))
    first, last = positions[1] - positions[0], positions[-1] - positions[-2]
    t = np.where(z < positions[0], (z - positions[0]) / first, t)
    return np.where(z > positions[-1], len(positions) - 1 + (z - positions[-1]) / last, t)
