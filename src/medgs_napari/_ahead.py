"""Renders slices before they are asked for: those that the slider is about to reach, and those of a cross-section.

A volume that renders on access comes in, the same goes out, only sooner.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._crossing import Crossing, Standin

if TYPE_CHECKING:
    import medgs_core as medgs

AHEAD = 3
"""Slices rendered beyond the one that is looked at: more would be in the way when the slider jumps."""

DRAW_SECONDS = 0.03
"""After a slice was asked for, in which nothing is rendered ahead: the window draws it, and where there are two
processors and no graphics card, it needs both of them."""

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
        self._wanted: list[int] = []
        self._rendering: int | None = None
        self._due = 0.0
        self._going = False
        self._crossing: Crossing | None = None
        self._last = 0
        self._turn = threading.Condition()  # with napari's asynchronous slicing another thread looks too

    @property
    def crossed(self) -> bool:
        """Whether a cross-section was asked for last, and not a single slice."""
        return self._crossing is not None

    @property
    def missing(self) -> frozenset[int]:
        """The slices of the cross-section that are stood in for."""
        with self._turn:
            return frozenset() if self._crossing is None else self._crossing.missing

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        """Return what a tuple of integers and slices, one for each axis, picks: all of it rendered."""
        touched = self._touched(key)
        if len(touched) != 1:
            return self.lazy[key]
        with self._turn:
            self._crossing, self._wanted = None, []
            self._turn.wait_for(lambda: self._rendering != touched[0])
        found = self.lazy[key]
        with self._turn:
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
        with self._turn:
            crossing = self._crossing
            if crossing is None or crossing.key != everywhere:
                self._wanted = []
                crossing = self._crossing = Crossing(self.lazy, self._standin, everywhere)
                if crossing.nearest(self._last) is not None:
                    self._pool.submit(_fill, weakref.ref(self), crossing)
            return crossing.pick(key[self.lazy.axis])

    def _touched(self, key: tuple[Any, ...]) -> range:
        along, count = key[self.lazy.axis], self.shape[self.lazy.axis]
        return range(count)[along] if isinstance(along, slice) else range(along, along + 1)

    def _go_ahead(self, i: int) -> None:
        """Have the next slices rendered, in the direction in which the slider moves, once this one is drawn."""
        step, count = 1 if i >= self._last else -1, self.shape[self.lazy.axis]
        self._last, self._due = i, time.monotonic() + DRAW_SECONDS
        self._wanted = [k for k in (i + step * (j + 1) for j in range(AHEAD)) if 0 <= k < count]
        if not self._going:
            self._going = True
            self._pool.submit(_render_wanted, weakref.ref(self))

    def _render_next(self) -> float | None:
        """Render one slice ahead if it is time; return after how many seconds to come back, None if nothing is left."""
        with self._turn:
            self._wanted = [k for k in self._wanted if self.lazy.known(k) is None]
            self._going = bool(self._wanted)
            if not self._wanted:
                return None
            early = self._due - time.monotonic()
            if early > 0:
                return early
            i = self._rendering = self._wanted.pop(0)
        with suppress(Exception):  # it comes up where the slice is asked for
            self.lazy.plane(i)
        with self._turn:
            self._rendering = None
            self._turn.notify_all()
        return 0.0

    def _fill_one(self, crossing: Crossing) -> bool:
        """Render one more slice of a cross-section; return whether there is another to render."""
        i = crossing.nearest(self._last)
        if i is None or self._crossing is not crossing or not threading.main_thread().is_alive():
            return False
        plane = self.lazy.plane(i)
        with self._turn:
            crossing.put(i, plane)
            return crossing.nearest(i) is not None

    def _tell(self) -> None:
        if self.better is not None:
            self.better()


def _render_wanted(owner: weakref.ref[Ahead]) -> None:
    """Render slices ahead until none is left, for as long as the layer is there."""
    while (ahead := owner()) is not None and (seconds := ahead._render_next()) is not None:
        del ahead  # or this thread alone would keep the volume
        time.sleep(seconds)


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
