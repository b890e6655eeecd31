"""The pages of the docs, in a window of their own, and what can be told of this machine: a button for each dock."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QImage, QTextDocument
from qtpy.QtWidgets import QDialog, QTextBrowser, QToolButton, QVBoxLayout, QWidget

from medgs_napari._machine import MachineNote

HELP_SIZE, HELP_MARGIN = (760, 700), 40


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
    layout.addWidget(MachineNote())
    return dialog


def docs_folder() -> Path:
    """Return where the pages of the docs lie: in the installed package, or in the repository beside it."""
    packaged = Path(str(files("medgs_napari"))) / "docs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "docs"
