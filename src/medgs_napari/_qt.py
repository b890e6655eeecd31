"""What docks are made of: parts that scroll, fold and wrap; and how they speak to the user."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from napari.utils.notifications import show_error, show_info
from psygnal import EmitLoopError
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from medgs_napari._jobs import account

Outer = TypeVar("Outer", bound=QWidget)

CHOICE_LENGTH = 17
"""Characters of a choice that are always seen."""

LEAST_HEIGHT = 200
"""Pixels of a dock, below which it is of no use."""


def tell(sentence: str) -> None:
    """Show a sentence for a moment."""
    show_info(sentence)


def complain(sentence: str) -> None:
    """Show what went wrong."""
    show_error(sentence)


def attempt(action: Callable[[], Any]) -> bool:
    """Do something; tell what went wrong, as a job does, and return whether nothing did."""
    try:
        action()
    except Exception as error:
        complain(account(error))
        return False
    return True


def at_the_end(dock: QWidget, action: Callable[[], Any]) -> None:
    """Do something to the viewer when a dock is destroyed; where the window is, the canvas may be gone before it."""

    def act() -> None:
        with contextlib.suppress(RuntimeError, EmitLoopError):  # of what Qt has deleted, and as psygnal passes it on
            action()

    dock.destroyed.connect(act)


def copy_text(text: str, what: str) -> None:
    """Put text on the clipboard and say so."""
    QApplication.clipboard().setText(text)
    tell(f"{what} copied.")


def enclosing(widget: QWidget, kind: type[Outer]) -> Outer | None:
    """Return the nearest widget of a kind that a widget is in, or is itself."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, kind):
        parent = parent.parentWidget()
    return parent


class StillBar(QProgressBar):
    """A progress bar that is drawn seldom: with each drawing Qt puts the whole window together anew.

    Without a graphics card the processors do that, and lack then where a job needs them. So the bar stays empty as long
    as nobody knows how far a job is, where Qt's own moves all the time, and is drawn once for all that changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.progress(0, 0)

    def progress(self, done: int, total: int, words: str = "%p%") -> None:
        """Show that so much is done of a total, and words on it; how far it is, is known once something is done."""
        known = done > 0 and total > 0
        self.setUpdatesEnabled(False)  # Qt would draw at each of these, at once
        self.setTextVisible(known)
        self.setFormat(words)
        self.setRange(0, total if known else 1)
        self.setValue(done if known else 0)
        self.setUpdatesEnabled(True)


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


def bare_column(owner: QWidget) -> QVBoxLayout:
    """Return the layout of a part of a dock: one below the other, without a margin of its own."""
    layout = QVBoxLayout(owner)
    layout.setContentsMargins(0, 0, 0, 0)
    return layout


def row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets side by side."""
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def bare_row(owner: QWidget, *widgets: QWidget) -> QHBoxLayout:
    """Return the layout of a part of a dock: widgets side by side, without a margin of its own."""
    layout = row(*widgets)
    layout.setContentsMargins(0, 0, 0, 0)
    owner.setLayout(layout)
    return layout


def button(text: str, tooltip: str, clicked: Callable[[], Any]) -> QPushButton:
    """Return a button; what goes wrong in what it does is told."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.clicked.connect(lambda: attempt(clicked))
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
    narrow(box)
    return box


def narrow(box: QComboBox) -> None:
    """Let a long name not make a box wider."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(CHOICE_LENGTH)


def note() -> QLabel:
    """Return a label for a sentence or two, which wraps; names of layers in it are no markup."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
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
