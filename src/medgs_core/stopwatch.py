"""Work that is done to see how long it takes: functions come in, seconds go out."""

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from medgs_core.progress import Progress, must_stop
from medgs_core.threads import map_in_threads, thread_count

Result = TypeVar("Result")


class Cancelled(Exception):
    """Leaves what is only done to see how long it takes."""


class Stopwatch:
    """Times functions one after another, until its owner wants no more.

    Parameters
    ----------
    progress : Progress
        Whose pauses are waited for and whose wish to stop raises `Cancelled`; nothing is reported to it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def check(self) -> None:
        """Leave if it is to end."""
        if must_stop(self._progress):
            raise Cancelled

    def timed(self, function: Callable[[], Result]) -> tuple[Result, float]:
        """Return what one call gives, and its seconds."""
        self.check()
        begun = time.perf_counter()
        result = function()
        return result, time.perf_counter() - begun

    def once(self, function: Callable[[], Any]) -> float:
        """Return the seconds of one call."""
        return self.timed(function)[1]

    def each(self, function: Callable[[Any], Any], things: Iterable[Any]) -> float:
        """Return the seconds for one thing, where all threads are at work on many."""
        wanted = list(things)
        if not wanted:
            return 0.0
        self.check()
        begun = time.perf_counter()
        map_in_threads(function, wanted, go_on=lambda done, total: not must_stop(self._progress))
        taken = time.perf_counter() - begun
        self.check()
        return taken / in_rounds(len(wanted), thread_count())


def in_rounds(things: int, threads: int) -> int:
    """Return how many things could be done while so many are: the last ones leave threads without work."""
    return -(-things // threads) * threads
