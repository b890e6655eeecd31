"""What all docks need of Qt: news of a job in the window's thread, notifications, help, the clipboard, sections."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, QUrl, Signal
from qtpy.QtGui import QImage, QTextDocument
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QTextBrowser,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from medgs_napari._jobs import Job

POLL_MILLISECONDS = 300
"""Between two looks at a job: often enough for a progress bar, seldom enough to leave the job the processor."""

HELP_SIZE, HELP_MARGIN = (760, 700), 40

CHOICE_LENGTH = 17
"""Characters of a choice that are always seen."""

LEAST_HEIGHT = 200
"""Pixels of a dock, below which it is of no use."""


class Ticker(QObject):
    """Polls jobs from the window's thread for as long as they run; asks them to stop when the program ends.

    Parameters
    ----------
    owner : QWidget
        When it goes, the ticker goes too, but not before its jobs have ended.
    stops : bool
        Whether its jobs are asked to end when the owner goes.
    """

    def __init__(self, owner: QWidget, *, stops: bool = False) -> None:
        super().__init__(QApplication.instance())
        self._retired, self._stops = False, stops
        owner.destroyed.connect(self.retire)
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

    def retire(self) -> None:
        """Go as soon as no job runs."""
        self._retired = True
        if self._stops:
            self.stop()
        if not self._jobs:
            self.deleteLater()

    def _poll(self) -> None:
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


class _Page(QTextBrowser):
    """Shows pictures no wider than itself."""

    def loadResource(self, kind: int, name: QUrl) -> Any:
        """Return what a page names, pictures scaled down."""
        found = super().loadResource(kind, name)
        if kind != QTextDocument.ResourceType.ImageResource.value:
            return found
        picture = QImage(name.toLocalFile())
        width = HELP_SIZE[0] - HELP_MARGIN
        return (
            picture.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
            if picture.width() > width
            else picture
        )


def help_dialog(page: str, parent: QWidget | None = None) -> QDialog:
    """Return a window that shows a page of the docs, pictures included, without a network."""
    dialog = QDialog(parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle("MedGS help")
    dialog.resize(*HELP_SIZE)
    browser = _Page(dialog)
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


class _DockArea(QScrollArea):
    """Scrolls up and down only: it is as wide as what it holds needs."""

    def __init__(self, inner: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inner)

    def minimumSizeHint(self) -> QSize:
        """Return the width of the contents and of the bar beside them."""
        inner, bar = self.widget(), self.verticalScrollBar()
        return QSize(inner.minimumSizeHint().width() + bar.sizeHint().width(), LEAST_HEIGHT)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask for another width when the contents do."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


def scrolled(dock: QWidget) -> QVBoxLayout:
    """Return the layout that a dock fills; where the window is too low for it, it scrolls and nothing is squeezed."""
    inner = QWidget()
    layout = QVBoxLayout(inner)
    outer = QVBoxLayout(dock)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(_DockArea(inner))
    return layout


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


def section(title: str) -> tuple[QCollapsible, QFormLayout]:
    """Return a part of a dock that is folded away at first, and the rows in it."""
    folded = QCollapsible(title, collapsedIcon="▶")
    folded.setDuration(0)
    inner = QWidget()
    rows = form_layout()
    inner.setLayout(rows)
    folded.addWidget(inner)
    return folded, rows


def choice() -> QComboBox:
    """Return a box of choices that a long name does not make wider."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(CHOICE_LENGTH)
    return box


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
