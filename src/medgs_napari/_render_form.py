"""Which slices are rendered, and how, as the user chooses it.

Choices come in, a checked `RenderConfig` goes out.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLineEdit, QStackedWidget, QWidget

import medgs_core as medgs
from medgs_napari._forms import checked_settings, folded, form_values, scatter, settings_form
from medgs_napari._qt import bare_column, bare_row, button, choice, form_layout, note
from medgs_napari._stream import FOLDER_ENDING
from medgs_napari._subject import VIRTUAL

FACTOR = 4
SAMPLINGS = {
    "factor": "slices per step",
    "spacing": "distance between slices",
    "isotropic": "isotropic: as the pixels",
    "positions": "chosen positions",
}
SHOWN_AS = {
    VIRTUAL: "virtual: as looked at",
    "streamed": "streamed: into memory",
    "folder": "streamed: into a folder",
}
KEPT_IN = {VIRTUAL: "", "streamed": "of memory", "folder": "on disk before compression"}
NAMED = {VIRTUAL: "", "streamed": "in memory", "folder": "on disk"}
"""How slices are kept, as the names of their layers say it."""

FOLDERS = f"OME-Zarr (*{FOLDER_ENDING})"


class RenderForm(QWidget):
    """The choices of the Interpolate dock."""

    changed = Signal()
    """Emitted when the rendering would differ."""

    def __init__(self) -> None:
        super().__init__()
        self.sampling, self.shown_as = choice(), choice()
        for box, choices in ((self.sampling, SAMPLINGS), (self.shown_as, SHOWN_AS)):
            for key, text in choices.items():
                box.addItem(text, key)
        self.shown_as.setToolTip(
            "Virtual layers take no memory and are there at once. Streamed ones fill up slice by slice: in memory they "
            "are then fast in 3-D and in every direction; in a folder (OME-Zarr) they are saved as they go, and may be "
            "larger than the memory."
        )
        self.folder = QLineEdit()
        self.folder.setPlaceholderText(f"fine{FOLDER_ENDING}")
        self.folder.setToolTip("Where the slices go; what the same model began there before is gone on with.")
        self.choose = button("…", "Choose the folder.", self.ask_folder)
        self._place = QWidget()
        self.values = settings_form(
            medgs.RenderConfig, ("factor", "spacing", "positions"), {"factor": FACTOR, "spacing": 1.0}
        )
        self.advanced = settings_form(medgs.RenderConfig, ("detail", "denoise", "device"))
        self._pages = QStackedWidget()
        for key in SAMPLINGS:
            self._pages.addWidget(self.values[key].native if key != "isotropic" else note())
        self._arrange()
        self.sampling.currentIndexChanged.connect(self._pages.setCurrentIndex)
        self.shown_as.currentIndexChanged.connect(lambda _: self._place.setVisible(self.shown == "folder"))
        for box in (self.sampling, self.shown_as):
            box.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.folder.textChanged.connect(lambda _: self.changed.emit())
        for form in (self.values, self.advanced):
            form.changed.connect(lambda _: self.changed.emit())

    def _arrange(self) -> None:
        self.values["positions"].native.setPlaceholderText("0, 0.5, 1, …")
        self._pages.setFixedHeight(self.values["factor"].native.sizeHint().height() + 4)
        form = form_layout()
        bare_row(self._place, self.folder, self.choose)
        self._place.hide()
        for label, widget in (("Slices by", self.sampling), ("", self._pages), ("Show as", self.shown_as)):
            form.addRow(label, widget)
        form.addRow("", self._place)
        scatter(self.values, self)
        layout = bare_column(self)
        layout.addLayout(form)
        layout.addWidget(folded(self.advanced, self))

    @property
    def shown(self) -> str:
        """How the slices are wanted, a key of `SHOWN_AS`."""
        return str(self.shown_as.currentData())

    @property
    def path(self) -> str:
        """The folder that slices go to, with its ending; empty where none was chosen."""
        path = self.folder.text().strip()
        return path if not path or path.lower().endswith(".zarr") else path + FOLDER_ENDING

    def chosen_path(self) -> str:
        """Return the folder that slices go to, asked for where none was chosen; empty if the user chose none."""
        if not self.path:
            self.ask_folder()
        return self.path

    def ask_folder(self) -> None:
        """Let the user choose the folder; one that is there is not overwritten."""
        options = QFileDialog.Option.DontConfirmOverwrite
        path, _ = QFileDialog.getSaveFileName(self, "Folder for the slices", self.path, FOLDERS, options=options)
        if path:
            self.folder.setText(path)

    def config(self) -> medgs.RenderConfig:
        """Return the settings of the rendering.

        Raises
        ------
        ValueError
            If one breaks its rule.
        """
        key = self.sampling.currentData()
        if key == "positions" and not self.values["positions"].value.strip():
            raise ValueError(
                "Chosen positions are slice coordinates, got none; give some, for instance 10, 10.25, 10.5."
            )
        values = form_values(self.values, medgs.RenderConfig)
        chosen: dict[str, Any] = {"isotropic": True} if key == "isotropic" else {key: values[key]}
        return checked_settings(medgs.RenderConfig, {**chosen, **form_values(self.advanced, medgs.RenderConfig)})
