"""What all docks need of Qt: news of a job in the window's thread, notifications, help, the clipboard, sections."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QObject, Qt, QTimer, QUrl, Signal
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTextBrowser,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medgs_napari._jobs import Job

POLL_MILLISECONDS = 300
"""Between two looks at a job: often enough for a progress bar, seldom enough to leave the job the processor."""

HELP_SIZE = (760, 700)


class Ticker(QObject):
    """Polls jobs from the window's thread for as long as they run; asks them to stop when the program ends."""

    def __init__(self) -> None:
        super().__init__(QApplication.instance())
        self._jobs: list[Job[Any]] = []
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.timeout.connect(self._poll)
        QApplication.instance().aboutToQuit.connect(self.stop)

    def follow(self, job: Job[Any]) -> None:
        """Start a job and poll it until it has ended."""
        self._jobs.append(job)
        job.start()
        self._timer.start()

    def stop(self) -> None:
        """Ask all jobs to end, without waiting for them."""
        for job in self._jobs:
            job.cancel()

    def _poll(self) -> None:
        for job in list(self._jobs):
            if not job.poll():
                self._jobs.remove(job)
        if not self._jobs:
            self._timer.stop()


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


def tell(sentence: str) -> None:
    """Show a sentence for a moment."""
    show_info(sentence)


def complain(sentence: str) -> None:
    """Show what went wrong."""
    show_error(sentence)


def copy_text(text: str, what: str) -> None:
    """Put text on the clipboard and say so."""
    QApplication.clipboard().setText(text)
    tell(f"{what} copied.")


def help_button(page: str) -> QToolButton:
    """Return the button that opens a page of the docs."""
    button = QToolButton()
    button.setText("?")
    button.setToolTip("Open the page about this dock.")
    button.setAccessibleName("Help")
    button.clicked.connect(lambda: help_dialog(page, button.window()).show())
    return button


def help_dialog(page: str, parent: QWidget | None = None) -> QDialog:
    """Return a window that shows a page of the docs, pictures included, without a network."""
    dialog = QDialog(parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("MedGS help")
    dialog.resize(*HELP_SIZE)
    browser = QTextBrowser(dialog)
    browser.setOpenExternalLinks(True)
    path = docs_folder() / page
    browser.setSearchPaths([str(path.parent)])
    browser.document().setBaseUrl(QUrl.fromLocalFile(f"{path.parent}/"))
    browser.setMarkdown(path.read_text(encoding="utf-8"))
    layout = QVBoxLayout(dialog)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(browser)
    return dialog


def docs_folder() -> Path:
    """Return where the pages of the docs lie: in the installed package, or in the repository beside it."""
    packaged = Path(str(files("medgs_napari"))) / "docs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "docs"


def row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets side by side."""
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def button(text: str, tooltip: str, clicked: Callable[[], Any]) -> QPushButton:
    """Return a button."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.clicked.connect(lambda: clicked())
    return made


def note() -> QLabel:
    """Return a label for a sentence or two, which wraps."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def form_layout() -> QFormLayout:
    """Return a form whose fields grow and whose rows stay in one line."""
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    form.setContentsMargins(0, 0, 0, 0)
    return form
