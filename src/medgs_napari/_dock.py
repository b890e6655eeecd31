"""What the docks have in common: a head with a page of help, a panel for the job under way, text that does it again.

The parts of a dock come in; a layout, and two widgets that every dock fills in its own way, go out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from medgs_napari._help import help_button
from medgs_napari._jobs import Done, Job, Outcome
from medgs_napari._qt import (
    StillBar,
    attempt,
    bare_column,
    bare_row,
    button,
    complain,
    copy_text,
    note,
    row,
    scrolled,
)
from medgs_napari._ticker import Ticker


def dock_layout(dock: QWidget, name: str, purpose: str, page: str) -> QVBoxLayout:
    """Return the layout that a dock fills, below its name, what it is for, and the button that opens its page."""
    title = QLabel(f"<b>{name}</b>: {purpose}")
    title.setTextFormat(Qt.TextFormat.RichText)
    layout = scrolled(dock)
    head = row(title, help_button(page))
    head.setStretch(0, 1)
    layout.addLayout(head)
    return layout


class JobPanel(QWidget):
    """The buttons that begin the jobs of a dock, one job at a time; while it runs, how far it is and what ends it.

    Parameters
    ----------
    ticker : Ticker
        Follows the jobs.
    actions : sequence of QPushButton
        Which begin jobs; hidden while one runs.
    cancelling : str
        What ending a job means, for a tooltip.
    """

    changed = Signal()
    """Emitted when a job begins and when it has ended."""

    def __init__(self, ticker: Ticker, actions: Sequence[QPushButton], cancelling: str) -> None:
        super().__init__()
        self._ticker, self._actions = ticker, actions
        self._job: Job[Any] | None = None
        self.cancel = button("Cancel", cancelling, self._cancel)
        self.bar, self.status = StillBar(), note()
        layout = bare_column(self)
        layout.addLayout(row(*actions, self.cancel))
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        self.say("")
        self._show_job(None)

    @property
    def job(self) -> Job[Any] | None:
        """What runs."""
        return self._job

    def begin(self, job: Job[Any], ended: Callable[[Outcome[Any]], None]) -> None:
        """Run a job; its outcome is handed on, its error told, and so is a mistake in what follows."""

        def after(outcome: Outcome[Any]) -> None:
            if not isalive(self):
                return
            self.release()
            if outcome.error:
                complain(outcome.error)
            attempt(lambda: ended(outcome))

        self.hold(job)
        job.news.connect(self.show_progress)
        job.ended.connect(after)
        self._ticker.follow(job)

    def hold(self, job: Job[Any]) -> None:
        """Show a job that somebody else follows, until it is released."""
        self.say("")
        self._show_job(job)
        self.bar.progress(0, 0)
        self.changed.emit()

    def release(self) -> None:
        """Show the actions again."""
        self.say("")
        self._show_job(None)
        self.changed.emit()

    def show_progress(self, news: Done) -> None:
        """Show how far a job is."""
        if not isalive(self):
            return
        self.bar.progress(news.done, news.total)
        if self._job is not None and not self._job.cancelled:
            self.say(f"{news.doing[:1].upper()}{news.doing[1:]} …" if news.doing else "")

    def say(self, text: str) -> None:
        """Show a sentence below the bar, none if it is empty."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def _show_job(self, job: Job[Any] | None) -> None:
        self._job = job
        for widget in self._actions:
            widget.setVisible(job is None)
        for widget in (self.cancel, self.bar):
            widget.setVisible(job is not None)

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self.say("Stopping …")


class CopyButtons(QWidget):
    """Two buttons that copy text which does again what a dock did; hidden until there is something to copy."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._texts: dict[str, Callable[[], str]] = {}
        self.python = button(
            "Copy as Python", f"Copy a script that {what} without napari.", lambda: self._copy("Python")
        )
        self.command = button("Copy as command", f"Copy the command that {what}.", lambda: self._copy("Command"))
        bare_row(self, self.python, self.command)
        self.withdraw()

    def offer(self, python: Callable[[], str], command: Callable[[], str]) -> None:
        """Copy what these return, when the buttons are pressed: the model may have been saved by then."""
        self._texts = {"Python": python, "Command": command}
        self.show()

    def withdraw(self) -> None:
        """Offer nothing."""
        self._texts = {}
        self.hide()

    def _copy(self, what: str) -> None:
        if what in self._texts:
            copy_text(self._texts[what](), what)
