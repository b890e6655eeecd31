"""Ctrl-C and SIGTERM as a wish to stop: the first is passed on, the second ends the program at once."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

NOTICE = "\nstopping: what was fitted will be saved; Ctrl-C again ends at once and saves nothing"


@contextlib.contextmanager
def stop_on_signal(stop: Callable[[], Any]) -> Iterator[None]:
    """Call `stop` at the first signal inside the block, raise KeyboardInterrupt at the second.

    Outside the main thread, which alone receives signals, the block runs as it is.
    """

    def first(number: int, frame: FrameType | None) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.default_int_handler)
        stop()
        print(NOTICE, file=sys.stderr, flush=True)

    before = {}
    try:
        for one in SIGNALS:
            before[one] = signal.signal(one, first)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
