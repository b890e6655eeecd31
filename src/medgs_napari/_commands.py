"""Commands in napari's menus that are no docks."""

from __future__ import annotations

import napari

from medgs_napari._session import ENDING


def open_model(viewer: napari.viewer.Viewer) -> None:
    """Ask for a model and add the layer that renders it."""
    from qtpy.QtWidgets import QApplication, QFileDialog

    path, _ = QFileDialog.getOpenFileName(QApplication.activeWindow(), "Open a model", "", f"MedGS models (*{ENDING})")
    if path:
        viewer.open(path, plugin="medgs-napari")
