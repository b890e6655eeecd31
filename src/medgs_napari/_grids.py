"""*labels ↔ grid of a model*: a labels layer comes in, a label volume on the model's grid goes out, and back.

A layer may be larger than the grid, or count along an axis the other way round, but must have the very same voxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pint

from medgs_napari._arrays import LayerArray, Part, as_slice
from medgs_napari._axes import finest, length
from medgs_napari._frames import Frame, Matrix, matrix_of, place_of
from medgs_napari._layers import Picked

if TYPE_CHECKING:
    from napari.layers import Labels

    import medgs_core as medgs

METADATA = "medgs_grid"
"""Key in the metadata of a labels layer under which its `Grid` stands."""

GRID_TOLERANCE = 0.01
"""Part of a voxel that two grids may be apart anywhere, as in the core."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of a volume, and where napari shows them.

    Attributes
    ----------
    volume : its geometry alone matters
    frame : how it is shown
    """

    volume: medgs.Volume
    frame: Frame

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps along each axis of a layer."""
        return tuple(1 if axis is None else self.volume.shape3d[axis] for axis in self.frame.order)

    def layer_data(self, volume: medgs.Volume) -> Any:
        """Return the voxels of a volume on this grid, which has one channel, as a layer shows them."""
        return np.ascontiguousarray(LayerArray(volume.voxels, self.frame, Part(), volume))

    def label_volume(self, layer: Labels) -> medgs.Volume:
        """Return a copy of what is painted on this grid, in the order and the world of the volume.

        Raises
        ------
        ValueError
            If the layer does not have the voxels of the grid.
        """
        return self.volume_of(layer.name, finest(layer), place_of(layer))

    def volume_of(self, name: str, data: Any, place: Mapping[str, Any]) -> medgs.Volume:
        """Return the same for data that stand at a place."""
        count = len(place["scale"])
        extra = len(self.shape) - count
        if extra < 0 or any(axis is not None for axis in self.frame.order[:extra]):
            raise _elsewhere(name, f"{count} axes")
        steps = self._steps(name, data.shape[:count], place, extra)
        block = np.array(data[tuple(as_slice(one) for one in steps)])
        order = self.frame.order[extra:]
        block = block.reshape([n for n, axis in zip(block.shape, order, strict=True) if axis is not None])
        voxels = block.transpose(np.argsort([axis for axis in order if axis is not None]))
        return replace(self.volume, voxels=voxels, slope=1.0, intercept=0.0, series=False, members=())

    def _steps(self, name: str, sizes: tuple[int, ...], place: Mapping[str, Any], extra: int) -> list[range]:
        """Return which steps of the data are those of the grid, axis by axis, without its first, extra ones."""
        shape, ndim = self.shape[extra:], len(sizes)
        ours = _in_meters(matrix_of(self.frame.place)[extra:, extra:], self.frame.place["units"][extra:])
        to_data = np.linalg.inv(_in_meters(matrix_of(place), place["units"])) @ ours
        for k in [k for k, n in enumerate(shape) if n == 1]:
            to_data[:ndim, k] = np.eye(ndim)[k]  # there is no second step that could lie elsewhere
        whole = np.rint(to_data)
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1], indexing="ij")).reshape(ndim + 1, -1)
        if np.abs((to_data - whole) @ ends).max() > GRID_TOLERANCE:
            raise _elsewhere(name, "voxels between them")
        signs = np.diag(whole)[:ndim].astype(int)
        if not np.array_equal(np.abs(whole[:ndim, :ndim]), np.eye(ndim)):
            raise _elsewhere(name, "voxels of another size or order")
        starts = whole[:ndim, ndim].astype(int)
        steps = [range(b, b + s * n, s) for b, s, n in zip(starts, signs, shape, strict=True)]
        if any(not 0 <= end < size for one, size in zip(steps, sizes, strict=True) for end in (one[0], one[-1])):
            raise _elsewhere(name, f"shape {' x '.join(str(n) for n in sizes)}")
        return steps


def grid_of_pick(picked: Picked) -> Grid:
    """Return the voxels of what was picked of a layer, without reading any."""
    import medgs_core as medgs

    sizes = dict(zip(picked.frame.order, picked.data.shape, strict=False))
    nothing = np.broadcast_to(np.zeros((), np.uint8), tuple(sizes[axis] for axis in range(3)))
    return Grid(medgs.Volume(nothing, picked.affine, picked.unit), picked.frame)


def _in_meters(matrix: Matrix, units: tuple[str, ...]) -> Matrix:
    """Return a matrix to napari's world with its lengths in meters; other units do not compare."""
    return matrix * np.array([*(length(pint.Unit(unit)) for unit in units), 1.0])[:, np.newaxis]


def _elsewhere(name: str, got: str) -> ValueError:
    return ValueError(
        f"Labels must have the voxels of the image they are for, got {got} in '{name}'; press New and paint there."
    )
