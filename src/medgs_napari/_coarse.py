"""Coarse levels of layers whose slices are made or read when they are looked at: napari takes them for views in 3-D.

A measured volume or a store comes in; an array-like of fewer voxels goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import medgs_core as medgs

LARGEST_COARSE_SIDE = 256
"""Pixels of a slice of the coarse level: that is enough in 3-D, and napari takes it in 2-D only for canvases smaller
than that."""


def thinning(shape: Sequence[int], slice_axis: int) -> tuple[slice, ...]:
    """Return the index that keeps all slices of an array, and of each only so many pixels as a coarse level has."""
    stride = -(-max(n for axis, n in enumerate(shape) if axis != slice_axis) // LARGEST_COARSE_SIDE)
    return tuple(slice(None, None, 1 if axis == slice_axis else stride) for axis in range(len(shape)))


class Nearest:
    """The measured slices nearest to evenly spread places of a finer volume, thinned in plane: instantly there.

    napari takes it for views in 3-D. Slice i of n stands where napari puts it, at i times the ratio of the lengths.

    Parameters
    ----------
    volume : Volume
        What was measured.
    axis : int
        Its slice axis.
    skipped : tuple of int
        Slices that count as not measured.
    coordinates : (slices,)
        Slice coordinates of the finer volume.
    """

    def __init__(self, volume: medgs.Volume, axis: int, skipped: tuple[int, ...], coordinates: Any) -> None:
        voxels = volume.voxels
        measured = np.array([k for k in range(voxels.shape[axis]) if k not in skipped])
        count = min(len(measured), len(coordinates))
        places = np.asarray(coordinates)[np.arange(count) * len(coordinates) // count]
        self._slices = measured[np.abs(places[:, np.newaxis] - measured).argmin(axis=1)]
        self._axis, self._thinned = axis, voxels[thinning(voxels.shape[:3], axis)]
        self.dtype = voxels.dtype
        shape = list(self._thinned.shape)
        shape[axis] = count
        self.shape: tuple[int, ...] = tuple(shape)

    def __getitem__(self, key: Any) -> Any:
        """Return what a tuple of integers and slices, one for each axis, picks."""
        along = key[self._axis]
        chosen = self._slices[along if isinstance(along, slice) else slice(along, along + 1)]
        block = np.take(self._thinned, chosen, axis=self._axis)
        return block[tuple(slice(None) if k == self._axis else entry for k, entry in enumerate(key))]


class Thinned:
    """A volume in a store with fewer voxels along each axis: what is shown in 3-D of one that is larger than that.

    Voxel i of n stands where napari puts it, at i times the ratio of the lengths. One slice at a time is read.

    Parameters
    ----------
    store : StreamedVolume
        In its own order.
    """

    def __init__(self, store: medgs.StreamedVolume) -> None:
        self._store = store
        sizes = [min(n, LARGEST_COARSE_SIDE) for n in store.shape[:3]]
        self._picked = [np.arange(m) * n // m for n, m in zip(store.shape, sizes, strict=False)]
        self.dtype = store.dtype
        self.shape: tuple[int, ...] = (*sizes, *store.shape[3:])

    def __getitem__(self, key: Any) -> Any:
        """Return what a tuple of slices, one for each axis, picks."""
        axis = self._store.axis
        picked = [one[entry] for one, entry in zip(self._picked, key, strict=False)]
        block = np.empty((*(len(one) for one in picked), *self.shape[3:]), self.dtype)
        places = np.moveaxis(block, axis, 0)
        inside = np.ix_(*(one for place, one in enumerate(picked) if place != axis))
        for place, i in zip(places, picked[axis], strict=True):
            whole = self._store[(slice(None),) * axis + (int(i),)]
            place[...] = whole[inside]
        return block
