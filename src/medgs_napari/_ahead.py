"""Renders slices before they are asked for: those that the slider is about to reach, and those of a cross-section.

A volume that renders on access comes in, the same goes out, only sooner.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._crossing import Crossing, Standin

if TYPE_CHECKING:
    import medgs_core as medgs

AHEAD = 3
"""Slices rendered beyond the one that is looked at: more would be in the way when the slider jumps."""

TELL_SECONDS = 0.5
"""Between two words that a cross-section has become better: drawing it takes time from rendering the rest."""

_log = logging.getLogger(__name__)


class Ahead:
    """A lazy volume with a thread that goes ahead of the slider.

    Parameters
    ----------
    lazy : LazyVolume
        What is rendered; it remembers what it has rendered lately.
    standin : Standin, optional
        A volume of the same shape, to show what is not rendered yet in a cross-section; nothing if not given.

    Attributes
    ----------
    lazy : as given
    better : called in a thread when a cross-section can be drawn better; without it, drawing one waits for all slices
    """

    def __init__(self, lazy: medgs.LazyVolume, standin: Standin | None = None) -> None:
        import medgs_core as medgs

        self.lazy, self._standin = lazy, standin
        self.shape: tuple[int, ...] = lazy.shape
        self.dtype: np.dtype[Any] = lazy.dtype
        self.better: Callable[[], None] | None = None
        # alone, because the window draws on the other processors
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="medgs ahead", initializer=medgs.work_alone)
        self._coming: dict[int, Future[Any]] = {}
        self._crossing: Crossing | None = None
        self._last = 0
        self._lock = threading.Lock()  # with napari's asynchronous slicing another thread looks too

    @property
    def crossed(self) -> bool:
        """Whether a cross-section was asked for last, and not a single slice."""
        return self._crossing is not None

    @property
    def missing(self) -> frozenset[int]:
        """The slices of the cross-section that are stood in for."""
        with self._lock:
            return frozenset() if self._crossing is None else self._crossing.missing

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        """Return what a tuple of integers and slices, one for each axis, picks: all of it rendered."""
        touched = self._touched(key)
        if len(touched) != 1:
            return self.lazy[key]
        with self._lock:
            self._crossing = None
            coming = self._coming.pop(touched[0], None)
        if coming is not None and not coming.cancel():
            coming.exception()  # waits; an error comes up again below, where it is asked for
        found = self.lazy[key]
        with self._lock:
            self._go_ahead(touched[0])
        return found

    def glance(self, key: tuple[slice, ...]) -> Any:
        """Return what a tuple of slices, one for each axis, picks, as well as it can be drawn at once.

        A single slice is rendered. Of several, those at hand are, the others are stood in for, and a thread renders
        them, the nearest to the last single slice first.
        """
        if self.better is None or len(self._touched(key)) == 1:
            return self[key]
        everywhere = tuple(slice(None) if axis == self.lazy.axis else entry for axis, entry in enumerate(key))
        with self._lock:
            crossing = self._crossing
            if crossing is None or crossing.key != everywhere:
                crossing = self._crossing = Crossing(self.lazy, self._standin, everywhere)
                if crossing.nearest(self._last) is not None:
                    self._pool.submit(_fill, weakref.ref(self), crossing)
            return crossing.pick(key[self.lazy.axis])

    def _touched(self, key: tuple[Any, ...]) -> range:
        along, count = key[self.lazy.axis], self.shape[self.lazy.axis]
        return range(count)[along] if isinstance(along, slice) else range(along, along + 1)

    def _go_ahead(self, i: int) -> None:
        """Have the next slices rendered, in the direction in which the slider moves."""
        step, count = 1 if i >= self._last else -1, self.shape[self.lazy.axis]
        self._last = i
        wanted = [k for k in (i + step * (j + 1) for j in range(AHEAD)) if 0 <= k < count]
        for k in [k for k in self._coming if k not in wanted]:
            self._coming.pop(k).cancel()
        for k in wanted:
            if k not in self._coming:
                self._coming[k] = self._pool.submit(self.lazy.plane, k)

    def _fill_one(self, crossing: Crossing) -> bool:
        """Render one more slice of a cross-section; return whether there is another to render."""
        i = crossing.nearest(self._last)
        if i is None or self._crossing is not crossing or not threading.main_thread().is_alive():
            return False
        plane = self.lazy.plane(i)
        with self._lock:
            crossing.put(i, plane)
            return crossing.nearest(i) is not None

    def _tell(self) -> None:
        if self.better is not None:
            self.better()


def _fill(owner: weakref.ref[Ahead], crossing: Crossing) -> None:
    """Render what is missing for as long as somebody looks at it, and the layer is there."""
    told, more = time.monotonic(), True
    while more and (ahead := owner()) is not None:
        try:
            more = ahead._fill_one(crossing)
        except Exception as error:  # it comes up where the slice alone is asked for
            _log.warning("The cross-section stays as it is: %s", error, exc_info=error)
            more = False
        if not more or time.monotonic() - told > TELL_SECONDS:
            ahead._tell()
            told = time.monotonic()
        del ahead  # or this thread alone would keep the volume
