"""One call of the core in a thread: news come out, a wish to pause or to stop goes in, an error becomes a sentence.

Nothing here knows Qt. The thread only leaves word; whoever owns the window calls `Job.poll`, and hears of it there.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from psygnal import Signal

import medgs_core as medgs

Result = TypeVar("Result")

PAUSE_SECONDS = 0.05

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The job was told to stop at a place where nothing can be kept."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What is left when a job has ended.

    Attributes
    ----------
    result : what the call gave, or after an error what it had kept until then; None for nothing
    error : a sentence for the user; empty if there was none
    """

    result: Result | None
    error: str = ""


class Done(NamedTuple):
    """How far a job is: steps done, steps in all, and what is being done, where that is more than one thing."""

    done: int
    total: int
    doing: str = ""


class Job(Generic[Result]):
    """A call under way. It is what the core takes as `Progress`.

    Parameters
    ----------
    work : Callable
        Called in the thread with the job; what it returns is the result.

    Attributes
    ----------
    over : called in the thread when all is done and `poll` would tell how it ended
    """

    news = Signal(object)
    """Emitted by `poll` with the last of what was reported since."""

    ended = Signal(object)
    """Emitted once by `poll`, with the `Outcome`."""

    def __init__(self, work: Callable[[Job[Result]], Result]) -> None:
        self._work: Callable[[Job[Result]], Result] | None = work
        self.over: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="medgs job")
        self._cancelled = threading.Event()
        self._paused = threading.Event()
        self._latest: deque[Any] = deque(maxlen=1)  # leaves and takes in one go each, so that no word is lost between
        self._kept: Result | None = None
        self._outcome: Outcome[Result] | None = None
        self._told = False

    @property
    def cancelled(self) -> bool:
        """Whether the job is to end and keep what it has."""
        return self._cancelled.is_set()

    @property
    def paused(self) -> bool:
        """Whether the job is to wait."""
        return self._paused.is_set()

    @property
    def running(self) -> bool:
        """Whether it has yet to be told how it ended."""
        return not self._told

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def pause(self, wanted: bool = True) -> None:
        """Hold, or go on."""
        (self._paused.set if wanted else self._paused.clear)()

    def cancel(self) -> None:
        """End at the next chance, and keep what there is."""
        self._cancelled.set()

    def report(self, state: Any) -> None:
        """Leave word of how things stand; called in the thread."""
        self._latest.append(state)

    def step(self, done: int, total: int, doing: str = "") -> None:
        """Leave word of how far it is, and stop here if it is to end; called in the thread."""
        self.checkpoint()
        self.report(Done(done, total, doing))

    def keep(self, result: Result) -> None:
        """Set aside what shall be left if an error comes; called in the thread."""
        self._kept = result

    def checkpoint(self) -> None:
        """Wait while paused; raise `Stopped` if the job is to end. Called in the thread by work that has no steps."""
        while self.paused and not self.cancelled:
            time.sleep(PAUSE_SECONDS)
        if self.cancelled:
            raise Stopped

    def poll(self) -> bool:
        """Hand on what was left since, in the caller's thread; return whether the job still runs."""
        outcome = self._outcome  # before the news, or the last of them could be missed
        if self._latest:
            self.news.emit(self._latest.pop())
        if outcome is not None and not self._told:
            self._told = True
            self._outcome = None
            self.ended.emit(outcome)
        return not self._told

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the thread; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        work, self._work = self._work, None
        assert work is not None
        outcome: Outcome[Result]
        try:
            outcome = Outcome(work(self))
        except Stopped:
            outcome = Outcome(self._kept)
        except BaseException as error:  # also SystemExit: a thread that ends without a word leaves a stuck button
            sentence = account(error)
            traceback.clear_frames(error.__traceback__)  # they hold the image and the model
            outcome = Outcome(self._kept, sentence)
        self._kept = None
        del work
        _free_gpu()
        self._outcome = outcome
        self.over()


def account(error: BaseException) -> str:
    """Return what went wrong and what to do about it, in one sentence; the traceback goes into the log."""
    sentence = explain(error)
    _log.error("%s\n%s", sentence, "".join(traceback.format_exception(error)))
    return sentence


@contextlib.contextmanager
def unmuted() -> Iterator[None]:
    """Let mistakes out of a writer: napari takes a `ValueError` for there being none, and tells that in its place.

    Raises
    ------
    OSError
        With the sentence of the mistake.
    """
    try:
        yield
    except ValueError as mistake:
        raise OSError(str(mistake)) from mistake


def explain(error: BaseException) -> str:
    """Return what went wrong and what to do about it, in one sentence."""
    if isinstance(error, ValueError) and str(error):
        return str(error)
    reason = " ".join(str(error).split()) or type(error).__name__
    if medgs.is_out_of_memory(error):
        return (
            f"Memory must hold the image, the model and the slices under way, got too little ({reason}); close other "
            "images, take the preset fast or fewer Gaussians, or compute on the CPU."
        )
    if isinstance(error, OSError):
        return f"Data on a disk must be within reach, got {reason}; look for the file, the disk or the connection."
    return (
        f"This should not have happened: {type(error).__name__}: {reason}; the traceback is in napari's log, please "
        "report it together with what This machine in the help window tells, or `medgs doctor` prints."
    )


def _free_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
