"""Which step of a layer is shown: the sliders of a viewer come in, coordinates and steps of a layer go out.

By napari's own rule, for every layer has steps, a unit and a tilt of its own: only the axes that a slider moves count,
and what a tilt would add from those that are displayed is left out, as it is in what napari draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pint
from napari.utils.transforms import Affine

from medgs_napari._frames import Matrix, matrix_of, place_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.components.dims import Dims
    from napari.layers import Layer


def shown_coordinates(dims: Dims, place: Mapping[str, Any]) -> Matrix:
    """Return where the sliders stand along each axis of a layer, (axes,): at level 0, NaN for axes without a slider.

    These are the displayed ones, and all of a layer that is no longer in the viewer, if it has more axes than the rest.

    Parameters
    ----------
    dims : Dims
        Of the viewer.
    place : mapping
        Where the layer stands, as `place_of` tells.
    """
    coordinates = np.full(len(place["scale"]), np.nan)
    if dims.ndim < len(coordinates):
        return coordinates
    moved, to_data = _slid(dims, place)
    if moved:
        coordinates[moved] = to_data(np.asarray(dims.point[-len(coordinates) :])[moved])
    return coordinates


def shown_coordinate(viewer: ViewerModel, place: Mapping[str, Any], axis: int) -> float | None:
    """Return where the slider of an axis of a layer stands; None where it is displayed, or there is no such slider."""
    coordinate = float(shown_coordinates(viewer.dims, place)[axis])
    return None if np.isnan(coordinate) else coordinate


def shown_step(viewer: ViewerModel, layer: Layer, axis: int) -> int | None:
    """Return which step of a layer is shown, or would be if it had as many; None where the axis is displayed."""
    coordinate = shown_coordinate(viewer, place_of(layer), axis)
    return None if coordinate is None else round(coordinate)


def shown_steps(viewer: ViewerModel, layer: Layer) -> list[int]:
    """Return a step for each axis of a layer: that which is shown, or in the middle of what is displayed."""
    middle, shown = layer.world_to_data(viewer.dims.point), shown_coordinates(viewer.dims, place_of(layer))
    return [round(float(own if np.isnan(one) else one)) for one, own in zip(shown, middle, strict=True)]


def show_step(viewer: ViewerModel, layer: Layer, axis: int, step: int) -> None:
    """Move the slider of an axis until a step of a layer is shown, as near to it as the slider has a place."""
    now = shown_coordinate(viewer, place_of(layer), axis)
    if now is None:
        return
    moved, to_data = _slid(viewer.dims, place_of(layer))
    offset, k = viewer.dims.ndim - layer.ndim, moved.index(axis)
    viewer.dims.set_point(offset + axis, viewer.dims.point[offset + axis] + (step - now) / to_data.linear_matrix[k, k])


def show_inside(viewer: ViewerModel, layer: Layer, axis: int, count: int) -> None:
    """Move the slider of an axis, where it stands beyond the steps of a layer, to the nearest of so many."""
    step = shown_step(viewer, layer, axis)
    if step is not None and not 0 <= step < count:
        show_step(viewer, layer, axis, min(max(step, 0), count - 1))


def _slid(dims: Dims, place: Mapping[str, Any]) -> tuple[list[int], Affine]:
    """Return the axes of a layer that a slider moves, and what leads from the sliders' places to coordinates there."""
    offset = dims.ndim - len(place["scale"])
    moved = [axis - offset for axis in dims.order if axis >= offset][: -dims.ndisplay]
    to_data = Affine(affine_matrix=np.linalg.inv(matrix_of(place)))
    in_world = Affine(
        linear_matrix=to_data.linear_matrix @ np.diag(_unit_ratios(dims, place)), translate=to_data.translate
    )
    return moved, in_world.set_slice(moved) if moved else in_world


def _unit_ratios(dims: Dims, place: Mapping[str, Any]) -> Matrix:
    """Return for each axis of a layer what the world's unit is in units of the layer; 1 where these do not compare."""
    count = len(place["scale"])
    if dims.units is None or len(dims.units) < count:
        return np.ones(count)
    ratios = [_unit_ratio(world, own) for world, own in zip(dims.units[-count:], place["units"], strict=True)]
    return np.ones(count) if None in ratios else np.array(ratios)  # if one does not compare, napari converts none


@cache
def _unit_ratio(world: pint.Unit, own: str) -> float | None:
    """Return what one unit is in another; None if they do not compare. Pint takes its time, and a slider has none."""
    unit = pint.Unit(own)
    if world.dimensionality != unit.dimensionality:
        return None
    base = pint.get_application_registry().get_base_units
    return float(base(world)[0] / base(unit)[0])
