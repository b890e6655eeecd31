"""A cross-section through slices of which some are rendered: what is drawn until all are.

A volume that renders on access, and one that stands in for it, come in; the same part of all slices goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medgs_napari._between import in_plane

if TYPE_CHECKING:
    import medgs_core as medgs


class Standin(Protocol):
    """A volume that answers at once."""

    def __getitem__(self, key: Any) -> Any:
        """Return a part of it."""
        ...


class Crossing:
    """The same part of all slices; it holds no more than that.

    Parameters
    ----------
    lazy : LazyVolume
        What is rendered; slices that it has rendered lately are there from the beginning.
    standin : Standin, optional
        What is shown of the others; nothing if not given.
    key : tuple of slices
        What is seen, along the slice axis all.
    """

    def __init__(self, lazy: medgs.LazyVolume, standin: Standin | None, key: tuple[slice, ...]) -> None:
        self.key, self._axis = key, lazy.axis
        count = lazy.shape[lazy.axis]
        if standin is None:
            shape = [len(range(n)[entry]) for n, entry in zip(lazy.shape, key, strict=False)]
            self._block = np.zeros((*shape, *lazy.shape[3:]), lazy.dtype)
        else:
            self._block = standin[key].copy()
        self._slices = np.moveaxis(self._block, lazy.axis, 0)
        self._missing = set(range(count))
        for i in range(count):
            plane = lazy.known(i)
            if plane is not None:
                self.put(i, plane)

    @property
    def missing(self) -> frozenset[int]:
        """The slices that are stood in for."""
        return frozenset(self._missing)

    def nearest(self, i: int) -> int | None:
        """Return the slice nearest to slice i that is not rendered; None if all are."""
        return min(self._missing, key=lambda k: abs(k - i), default=None)

    def put(self, i: int, plane: Any) -> None:
        """Take over a rendered slice."""
        self._slices[i] = plane[in_plane(self.key, self._axis)]
        self._missing.discard(i)

    def pick(self, along: slice) -> Any:
        """Return a copy of some slices as they are known."""
        return self._block[tuple(along if axis == self._axis else slice(None) for axis in range(3))].copy()
