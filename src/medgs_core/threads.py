"""Work split among threads that sleep while they wait.

Compiled kernels, or functions of whole slices, come in; they run on all processors. It pays where the work lets go of
the interpreter: kernels, OpenCV and numpy on whole slices do.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

WORKING_BYTES = 2**30
"""Memory that all threads together may work in."""

AHEAD = 2
"""Things per thread that are begun before the first of them is asked for: a caller that waits soon has all waiting."""

GoOn = Callable[[int, int], bool]
"""Hears in the calling thread how many of how many things are done; False ends the work there."""

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def thread_count() -> int:
    """Return how many threads work: the processors this process may use, or NUMBA_NUM_THREADS."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads that help the calling one.

    Threads that sleep while they wait: those of OpenMP spin, and beside a busy program every parallel region then costs
    a scheduler slice, which made a call thirty times slower. They also serve several callers at once.
    """
    return ThreadPoolExecutor(max(thread_count() - 1, 1), thread_name_prefix="medgs")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


_place = threading.local()
"""Knows whether this thread is one of several at work; what it shares out in turn it does alone, in the same order."""


def share(kernel: Any, starts: npt.NDArray[Any], *arguments: Any) -> None:
    """Run kernel(first, end, *arguments) over all items, split among the threads into ranges of equal work.

    Items must not depend on one another; then results do not depend on the number of threads.

    Parameters
    ----------
    kernel
        compiled function of a range
    starts
        (items + 1,) running total of the work before each item
    *arguments
        passed on
    """
    if _is_helper():
        kernel(0, len(starts) - 1, *arguments)
        return
    threads = thread_count()
    shares = np.arange(1, threads) * (starts[-1] / threads)
    edges = [0, *np.searchsorted(starts[1:], shares).tolist(), len(starts) - 1]
    ranges = [(first, end) for first, end in pairwise(edges) if end > first]
    if not ranges:
        return
    helped = [_pool().submit(kernel, first, end, *arguments) for first, end in ranges[1:]]
    kernel(*ranges[0], *arguments)
    for task in helped:
        task.result()


def evenly(items: int) -> npt.NDArray[Any]:
    """Return the running total of work where every item costs the same."""
    return np.arange(items + 1)


def work_alone() -> None:
    """Have the calling thread do from now on alone what others share out: for work beside a program that shall answer.

    What it computes stays the same to the bit.
    """
    _place.helper = True


def _is_helper() -> bool:
    return getattr(_place, "helper", False)


def map_in_threads(
    function: Callable[[Thing], Result], things: Iterable[Thing], working_bytes: int = 0, go_on: GoOn | None = None
) -> list[Result]:
    """Return what the function makes of every thing, in their order, or of those until `go_on` says no.

    Other parameters as in `follow_threads`.

    Examples
    --------
    >>> map_in_threads(abs, [-3, 4, -5])
    [3, 4, 5]
    """
    if go_on is None:
        return list(follow_threads(function, things, working_bytes))
    wanted, results = list(things), []
    if go_on(0, len(wanted)):
        with closing(follow_threads(function, wanted, working_bytes)) as made:
            for result in made:
                results.append(result)
                if not go_on(len(results), len(wanted)):
                    break
    return results


def follow_threads(
    function: Callable[[Thing], Result], things: Iterable[Thing], working_bytes: int = 0
) -> Generator[Result, None, None]:
    """Yield what the function makes of every thing, in their order, several being made at once.

    The first exception is passed on, and what has not begun then never does; so too when the caller stops asking.

    Parameters
    ----------
    function : Callable
        Whatever it does to shared things must be safe from several threads.
    things : iterable
        What it is called with, one by one.
    working_bytes : int
        Memory that one call works in; fewer run at once where that is much.
    """
    if _is_helper():
        yield from map(function, things)
        return
    most = max(1, WORKING_BYTES // max(1, working_bytes))
    threads = min(thread_count(), most)
    pool = ThreadPoolExecutor(threads, initializer=work_alone)
    begun: deque[Future[Result]] = deque()
    try:
        for thing in things:
            begun.append(pool.submit(function, thing))
            if len(begun) > AHEAD * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
