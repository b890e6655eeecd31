"""Which slices are rendered, and how, as the user chooses it.

Choices come in, a checked `RenderConfig` goes out.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QStackedWidget, QVBoxLayout, QWidget
from superqt import QCollapsible

import medgs_core as medgs
from medgs_napari._forms import form_values, scatter, settings_form
from medgs_napari._qt import form_layout, note

FACTOR = 4
SAMPLINGS = {
    "factor": "a number of slices per step",
    "spacing": "a distance between slices",
    "isotropic": "as fine as the pixels (isotropic)",
    "positions": "chosen positions only",
}
SHOWN_AS = {
    "virtual": "virtual: rendered when looked at",
    "streamed": "streamed: all slices, into memory",
}


class RenderForm(QWidget):
    """The choices of the Interpolate dock."""

    changed = Signal()
    """Emitted when the rendering would differ."""

    def __init__(self) -> None:
        super().__init__()
        self.sampling, self.shown_as = QComboBox(), QComboBox()
        for box, choices in ((self.sampling, SAMPLINGS), (self.shown_as, SHOWN_AS)):
            for key, text in choices.items():
                box.addItem(text, key)
        self.shown_as.setToolTip(
            "Virtual layers take no memory and are there at once. Streamed ones fill up slice by slice, and are then "
            "fast in 3-D and in every direction."
        )
        self.values = settings_form(
            medgs.RenderConfig, ("factor", "spacing", "positions"), {"factor": FACTOR, "spacing": 1.0}
        )
        self.advanced = settings_form(medgs.RenderConfig, ("detail", "denoise", "device"))
        self._pages = QStackedWidget()
        for key in SAMPLINGS:
            self._pages.addWidget(self.values[key].native if key != "isotropic" else note())
        self._arrange()
        self.sampling.currentIndexChanged.connect(self._pages.setCurrentIndex)
        for box in (self.sampling, self.shown_as):
            box.currentIndexChanged.connect(lambda _: self.changed.emit())
        for form in (self.values, self.advanced):
            form.changed.connect(lambda _: self.changed.emit())

    def _arrange(self) -> None:
        self.values["positions"].native.setPlaceholderText("0, 0.5, 1, …")
        self._pages.setFixedHeight(self.values["factor"].native.sizeHint().height() + 4)
        form = form_layout()
        for label, widget in (("Slices by", self.sampling), ("", self._pages), ("Show as", self.shown_as)):
            form.addRow(label, widget)
        scatter(self.values, self)
        section = QCollapsible("Advanced")
        section.setDuration(0)
        section.addWidget(self.advanced.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(section)

    @property
    def streamed(self) -> bool:
        """Whether all slices are wanted in memory."""
        return bool(self.shown_as.currentData() == "streamed")

    def config(self) -> medgs.RenderConfig:
        """Return the settings of the rendering.

        Raises
        ------
        ValueError
            If one breaks its rule.
        """
        key = self.sampling.currentData()
        values = form_values(self.values, medgs.RenderConfig)
        chosen: dict[str, Any] = {"isotropic": True} if key == "isotropic" else {key: values.get(key, ())}
        return medgs.RenderConfig(**chosen, **form_values(self.advanced, medgs.RenderConfig))
