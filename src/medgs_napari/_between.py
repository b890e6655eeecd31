"""What stands in for slices that are not rendered yet: the measured slices around them, blended, instantly there.

A measured volume and slice coordinates come in; a finer volume goes out that is only for showing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import medgs_core as medgs


class Between:
    """The finer volume as the measured slices alone give it.

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
    labels : bool
        Whether values are names: then the nearer slice is taken, and no mean of two.
    """

    def __init__(
        self, volume: medgs.Volume, axis: int, skipped: tuple[int, ...], coordinates: Any, *, labels: bool = False
    ) -> None:
        self._planes, self._axis = np.moveaxis(volume.voxels, axis, 0), axis
        measured = np.setdiff1d(np.arange(len(self._planes)), skipped)
        places = np.interp(coordinates, measured, np.arange(len(measured)))
        lower = np.minimum(places.astype(int), max(len(measured) - 2, 0))
        self._pairs = measured[np.stack([lower, np.minimum(lower + 1, len(measured) - 1)], axis=1)]
        self._shares = np.rint(places - lower) if labels else places - lower
        self.dtype = volume.voxels.dtype
        shape = list(volume.voxels.shape)
        shape[axis] = len(self._shares)
        self.shape: tuple[int, ...] = tuple(shape)

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        """Return an array of what a tuple of slices, one for each axis, picks."""
        inside = in_plane(key, self._axis)
        planes = [self._plane(i, inside) for i in range(self.shape[self._axis])[key[self._axis]]]
        empty = np.empty((0, *self._planes[0][inside].shape), self.dtype)
        return np.moveaxis(np.stack(planes) if planes else empty, 0, self._axis)

    def _plane(self, i: int, inside: tuple[Any, ...]) -> Any:
        first, second = self._pairs[i]
        share = float(self._shares[i])
        if share in (0.0, 1.0):
            return self._planes[second if share else first][inside]
        blend = (1.0 - share) * self._planes[first][inside] + share * self._planes[second][inside]
        return (np.rint(blend) if self.dtype.kind in "iu" else blend).astype(self.dtype)


def in_plane(key: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    """Return what an index of all axes picks of each slice."""
    return tuple(entry for place, entry in enumerate(key) if place != axis)
