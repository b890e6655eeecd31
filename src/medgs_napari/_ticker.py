"""News of jobs in the window's thread: what threads leave word of is looked for, and handed on, there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication, QWidget

from medgs_napari._jobs import Job

POLL_MILLISECONDS = 500
"""Between two looks at a job: often enough for a progress bar, seldom enough to leave the job the processor, which
draws the window for each. The end of a job is not waited for."""


class Ticker(QObject):
    """Polls jobs from the window's thread for as long as they run; asks them to stop when the program ends.

    Parameters
    ----------
    owner : QWidget
        When it goes, the ticker goes too, but not before its jobs have ended.
    stops : bool
        Whether its jobs are asked to end when the owner goes.
    milliseconds : int
        Between two looks at its jobs.
    """

    def __init__(self, owner: QWidget, *, stops: bool = False, milliseconds: int = POLL_MILLISECONDS) -> None:
        super().__init__(QApplication.instance())
        self._retired, self._stops = False, stops
        owner.destroyed.connect(self.retire)
        self._jobs: list[Job[Any]] = []
        self._timer = QTimer(self)
        self._timer.setInterval(milliseconds)
        self._timer.timeout.connect(self._poll)
        self._look = Relay(self._poll)
        QApplication.instance().aboutToQuit.connect(self.stop)

    def follow(self, job: Job[Any]) -> None:
        """Start a job and poll it until it has ended."""
        self._jobs.append(job)
        job.over = self._look
        job.start()
        self._timer.start()

    def stop(self) -> None:
        """Ask all jobs to end, without waiting for them."""
        for job in self._jobs:
            job.cancel()

    def retire(self) -> None:
        """Go as soon as no job runs."""
        self._retired = True
        if self._stops:
            self.stop()
        if not self._jobs:
            self.deleteLater()

    def _poll(self) -> None:
        if not isalive(self):  # the timer came before the job's word of its end, and the ticker went
            return
        for job in list(self._jobs):
            if not job.poll():
                self._jobs.remove(job)
        if not self._jobs:
            self._timer.stop()
            if self._retired:
                self.deleteLater()


class Relay(QObject):
    """Calls a function in the window's thread, whichever thread asks for it; several wishes may become one call."""

    _asked = Signal()

    def __init__(self, function: Callable[[], None]) -> None:
        super().__init__()
        self._function = function
        self._asked.connect(self._call, Qt.ConnectionType.QueuedConnection)

    def __call__(self) -> None:
        """Ask for the call."""
        self._asked.emit()

    def _call(self) -> None:
        self._function()
