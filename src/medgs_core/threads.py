"""One function on many things at once, on all processors, with results in order.

Things come in, what the function makes of them goes out. It pays where the function lets go of the interpreter:
OpenCV and numpy on whole slices do.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

WORKING_BYTES = 2**30
"""Memory that all threads together may work in."""

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Thing], Result], things: Iterable[Thing], working_bytes: int = 0
) -> list[Result]:
    """Return what the function makes of every thing, in their order; the first exception is passed on.

    Parameters
    ----------
    function : Callable
        Whatever it does to shared things must be safe from several threads.
    things : iterable
        What it is called with, one by one.
    working_bytes : int
        Memory that one call works in; fewer run at once where that is much.

    Examples
    --------
    >>> map_in_threads(abs, [-3, 4, -5])
    [3, 4, 5]
    """
    most = max(1, WORKING_BYTES // max(1, working_bytes))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, most)) as pool:
        return list(pool.map(function, things))
