"""What can be told of this machine, to paste into a report: a button comes out, and the text that it asks for."""

from __future__ import annotations

from qtpy import API_NAME, QT_VERSION
from qtpy.compat import isalive
from qtpy.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

import medgs_core as medgs
from medgs_napari._jobs import Job, Outcome
from medgs_napari._qt import button, complain, copy_text, row
from medgs_napari._ticker import Ticker

EXAMINING = "Looking at this machine: versions, devices, and a rendering …"
COMPILING = "With a CUDA device its renderer is compiled the first time, which takes minutes."


class MachineNote(QWidget):
    """A button, and below it what `medgs doctor` prints, once it was asked for; found out in a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._ticker = Ticker(self, stops=True)
        self.examine = button(
            "This machine", "Tell versions, devices and the speed of a rendering, for a report.", self._examine
        )
        self.copy = button("Copy", "Copy what is told, to paste it into a report.", self._copy)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        layout = QVBoxLayout(self)
        buttons = row(self.examine, self.copy)
        buttons.addStretch(1)
        layout.addLayout(buttons)
        layout.addWidget(self.text)
        self.text.hide()
        self.copy.hide()

    def _examine(self) -> None:
        job: Job[str] = Job(lambda job: machine_text(medgs.examine_machine()))
        job.ended.connect(self._examined)
        self.examine.setEnabled(False)
        self.copy.hide()
        self.text.setPlainText(f"{EXAMINING}\n{COMPILING}")
        self.text.show()
        self._ticker.follow(job)

    def _examined(self, outcome: Outcome[str]) -> None:
        if not isalive(self):
            return
        self.examine.setEnabled(True)
        self.text.setPlainText(outcome.result or outcome.error)
        self.copy.setVisible(outcome.result is not None)
        if outcome.error:
            complain(outcome.error)

    def _copy(self) -> None:
        copy_text(self.text.toPlainText(), "Report")


def machine_text(report: medgs.MachineReport) -> str:
    """Return a report in lines, with the Qt that napari runs on."""
    facts = {**report.facts, "qt": f"{API_NAME}, Qt {QT_VERSION}"}
    return "\n".join(f"{name}: {told}" for name, told in facts.items())
