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

from medgs_napari._between import Between, in_plane

if TYPE_CHECKING:
    import medgs_core as medgs

MOST_AT_ONCE = 4
"""Slices rendered between two looks at what is wanted: the viewer may have moved on."""

MOST_BYTES = 256 * 2**20
"""Memory for rendered slices: where a cross-section takes more, the rest of it stays blended until the fit is done."""

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
        self._axis, self._factor, self._changed = axis, factor, changed
        count = (volume.voxels.shape[axis] - 1) * factor + 1
        self._between = Between(volume, axis, (), np.arange(count) / factor)
        self.shape, self.dtype = self._between.shape, self._between.dtype
        self._room = max(1, MOST_BYTES * volume.voxels.shape[axis] // volume.voxels.nbytes)
        self._rendered: dict[int, tuple[int, Any]] = {}  # slice: version, plane; those rendered last are last
        self._wanted: list[int] = []
        self._last = 0
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

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        """Return what slices pick as well as it is known, and have it rendered better if it can be."""
        touched, inside = range(self.shape[self._axis])[key[self._axis]], in_plane(key, self._axis)
        block = self._between[key]
        planes = np.moveaxis(block, self._axis, 0)
        with self._work:
            for place, i in enumerate(touched):
                if i in self._rendered:
                    planes[place] = self._rendered[i][1][inside]
            if len(touched) == 1:
                self._last = touched[0]
            self._wanted = sorted(touched, key=lambda i: abs(i - self._last))
            self._work.notify()
        return block

    def _stale(self) -> list[int]:
        """Return slices that are looked at and could be better, the nearest to the last single one first."""
        if self._model is None:
            return []
        between = [i for i in self._wanted if i % self._factor or i // self._factor in self._model.skipped]
        return [i for i in between[: self._room] if self._rendered.get(i, (0,))[0] < self._version]

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
                    self._keep(i, version, lazy.plane(i))
            except Exception as error:  # the fit goes on, and will tell of what ails it
                _log.warning("The preview stops, the fit goes on: %s", error, exc_info=error)
                return
            self._changed()

    def _keep(self, i: int, version: int, plane: Any) -> None:
        """Remember a slice, in place of the one that was rendered longest ago where there is no room."""
        with self._work:
            self._rendered.pop(i, None)
            self._rendered[i] = (version, plane)
            if len(self._rendered) > self._room:
                del self._rendered[next(iter(self._rendered))]
