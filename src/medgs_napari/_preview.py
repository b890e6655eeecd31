"""A finer volume that can be looked at before its model is fitted, and sharpens while that goes on.

Snapshots of a fit come in; what is asked for comes out at once, as well as it is known: rendered from a snapshot, or
blended from the two measured slices around. A thread renders what is looked at, and says when there is something new.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import medgs_core as medgs

MOST_AT_ONCE = 4
"""Slices rendered between two looks at what is wanted: the viewer may have moved on."""

_log = logging.getLogger(__name__)


class Preview:
    """The volume that a fit is going to give, as far as it is known: for showing, not for measuring.

    Parameters
    ----------
    volume : Volume
        What was measured.
    axis : int
        Its slice axis.
    factor : int
        Slices per measured step.
    changed : Callable
        Called in the rendering thread when slices that were asked for have become better.
    """

    def __init__(self, volume: medgs.Volume, axis: int, factor: int, changed: Callable[[], None]) -> None:
        self._volume, self._axis, self._factor, self._changed = volume, axis, factor, changed
        self._measured = np.moveaxis(volume.voxels, axis, 0)
        count = (len(self._measured) - 1) * factor + 1
        shape = list(volume.voxels.shape)
        shape[axis] = count
        self.shape: tuple[int, ...] = tuple(shape)
        self.dtype = volume.voxels.dtype
        self._rendered: dict[int, tuple[int, Any]] = {}  # slice: version, plane
        self._wanted: list[int] = []
        self._model: medgs.FittedModel | None = None
        self._version = 0
        self._closed = False
        self._work = threading.Condition()
        self._thread = threading.Thread(target=self._render, name="medgs preview")
        self._thread.start()

    @property
    def versions(self) -> int:
        """How many snapshots have come."""
        return self._version

    @property
    def model(self) -> medgs.FittedModel | None:
        """The latest snapshot."""
        return self._model

    def offer(self, model: medgs.FittedModel) -> None:
        """Render from another snapshot from now on."""
        with self._work:
            self._model = model
            self._version += 1
            self._work.notify()

    def close(self) -> None:
        """Render no more; what is known stays."""
        with self._work:
            self._closed, self._model = True, None
            self._work.notify()

    def wait(self) -> None:
        """Wait until the rendering thread has ended."""
        self._thread.join()

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        """Return a part as well as it is known, and have it rendered better if it can be."""
        along = key[self._axis]
        touched = range(self.shape[self._axis])[along] if isinstance(along, slice) else range(along, along + 1)
        planes = np.stack([self._plane(i) for i in touched])
        with self._work:
            self._wanted = list(touched)
            self._work.notify()
        block = np.moveaxis(planes, 0, self._axis)
        return block[tuple(slice(None) if k == self._axis else entry for k, entry in enumerate(key))]

    def _plane(self, i: int) -> Any:
        found = self._rendered.get(i)
        if found is not None:
            return found[1]
        k, rest = divmod(i, self._factor)
        if rest == 0:
            return self._measured[k]
        part = rest / self._factor
        blend = (1.0 - part) * self._measured[k] + part * self._measured[k + 1]
        return (np.rint(blend) if self.dtype.kind in "iu" else blend).astype(self.dtype)

    def _stale(self) -> list[int]:
        """Return slices that are looked at and could be better."""
        if self._model is None:
            return []
        between = [i for i in self._wanted if i % self._factor or i // self._factor in self._model.skipped]
        return [i for i in between if self._rendered.get(i, (0,))[0] < self._version]

    def _render(self) -> None:
        lazy, rendered = None, 0
        while True:
            with self._work:
                self._work.wait_for(lambda: self._closed or self._stale())
                if self._closed:
                    return
                model, version, stale = self._model, self._version, self._stale()[:MOST_AT_ONCE]
            try:
                if lazy is None or rendered != version:
                    import medgs_core as medgs

                    assert model is not None
                    lazy, rendered = medgs.lazy_volume(model, factor=self._factor), version
                for i in stale:
                    self._rendered[i] = (version, lazy.plane(i))
            except Exception as error:  # the fit goes on, and will tell of what ails it
                _log.warning("The preview stops, the fit goes on: %s", error, exc_info=error)
                return
            self._changed()
