"""Renders the slices that the slider is about to reach, while the one that it has reached is drawn.

A volume that renders on access comes in, the same goes out, only sooner.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import medgs_core as medgs

AHEAD = 2
"""Slices rendered beyond the one that is looked at: more would be in the way when the slider jumps."""


class Ahead:
    """A lazy volume with a thread that goes ahead of the slider.

    Parameters
    ----------
    lazy : LazyVolume
        What is rendered; it remembers what it has rendered lately.
    """

    def __init__(self, lazy: medgs.LazyVolume) -> None:
        self._lazy = lazy
        self.shape: tuple[int, ...] = lazy.shape
        self.dtype: np.dtype[Any] = lazy.dtype
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="medgs ahead")
        self._coming: dict[int, Future[Any]] = {}
        self._last = 0
        self._lock = threading.Lock()  # with napari's asynchronous slicing another thread looks too

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        """Return what a tuple of integers and slices, one for each axis, picks."""
        along, count = key[self._lazy.axis], self.shape[self._lazy.axis]
        touched = range(count)[along] if isinstance(along, slice) else range(along, along + 1)
        if len(touched) != 1:
            return self._lazy[key]
        with self._lock:
            coming = self._coming.pop(touched[0], None)
        if coming is not None and not coming.cancel():
            coming.exception()  # waits; an error comes up again below, where it is asked for
        found = self._lazy[key]
        with self._lock:
            self._go_ahead(touched[0], count)
        return found

    def _go_ahead(self, i: int, count: int) -> None:
        """Have the next slices rendered, in the direction in which the slider moves."""
        step = 1 if i >= self._last else -1
        self._last = i
        wanted = [k for k in (i + step * (j + 1) for j in range(AHEAD)) if 0 <= k < count]
        for k in [k for k in self._coming if k not in wanted]:
            self._coming.pop(k).cancel()
        for k in wanted:
            if k not in self._coming:
                self._coming[k] = self._pool.submit(self._lazy.plane, k)
