"""What was computed before, kept while memory lasts: flows, rendered slices.

Keys and arrays come in, the same arrays go out; the least recently used leave first.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RecentlyUsed(Generic[Value]):
    """A bounded memory of results, safe to use from several threads.

    Two threads that miss the same key both compute it; neither sees half a result.

    Parameters
    ----------
    max_bytes : int
        Memory for the results; the newest stays even if it alone is larger.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def room(self, size: int) -> int:
        """Return how many results of so many bytes fit in, at least one."""
        return max(1, self._max_bytes // max(size, 1))

    def peek(self, key: Hashable) -> Value | None:
        """Return the result for the key if it is at hand, None otherwise; that does not count as a use."""
        with self._lock:
            return self._kept[key][0] if key in self._kept else None

    def part(self, kind: str) -> "RecentlyUsed[Value]":
        """Return a memory of its own that begins with the results whose keys are tuples that begin with a kind."""
        part: RecentlyUsed[Value] = RecentlyUsed(self._max_bytes)
        with self._lock:
            part._kept.update(
                (key, entry) for key, entry in self._kept.items() if isinstance(key, tuple) and key[0] == kind
            )
        part._bytes = sum(held for _, held in part._kept.values())
        return part

    def get(self, key: Hashable, compute: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """Return the result for the key, computed if it is not at hand.

        Parameters
        ----------
        key : Hashable
            What the result depends on.
        compute : Callable
            Makes the result; called outside the lock.
        size : Callable
            Bytes that a result holds.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        value = compute()
        with self._lock:
            if key not in self._kept:
                held = size(value)
                self._kept[key] = (value, held)
                self._bytes += held
                while self._bytes > self._max_bytes and len(self._kept) > 1:
                    self._bytes -= self._kept.popitem(last=False)[1][1]
        return value
