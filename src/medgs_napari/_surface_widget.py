"""*Surface*: the dock in which labels, or a level of intensity, become closed meshes, shown, measured, and saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QCheckBox, QDockWidget, QFileDialog, QWidget

import medgs_core as medgs
from medgs_napari._contours import Contours, Wish
from medgs_napari._dock import CopyButtons, JobPanel, dock_layout
from medgs_napari._jobs import Job, Outcome
from medgs_napari._label_layers import label_color
from medgs_napari._measures_widget import MeasuresWidget
from medgs_napari._mesh_files import ENDINGS
from medgs_napari._models_widget import ModelsWidget
from medgs_napari._names import named_as_shown
from medgs_napari._qt import at_the_end, button, enclosing, note, tell
from medgs_napari._recipes import changed_settings
from medgs_napari._session import Fitted, session_of
from medgs_napari._shown import shown_coordinate
from medgs_napari._structure_recipes import SurfaceRecipe
from medgs_napari._surface_form import SurfaceForm
from medgs_napari._surface_layers import LEVEL_COLOR, drop_labels, show_surfaces
from medgs_napari._ticker import Ticker

CONTOUR_MILLISECONDS = 60
"""After the slider or the level has moved; and between two looks at whether the contour is there."""


class SurfaceWidget(QWidget):
    """The Surface dock.

    Parameters
    ----------
    napari_viewer : Viewer
        Where surfaces are shown.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._dock: QDockWidget | None = None
        ticker = Ticker(self, stops=True)
        self.models = ModelsWidget(napari_viewer, session_of(napari_viewer), ticker)
        self.form, self.measures, self.status = SurfaceForm(), MeasuresWidget(), note()
        self.preview = QCheckBox("Show the contour on the slice")
        self.preview.setToolTip("Lines where the surface would cut the slice that is shown.")
        self._offers_preview = True
        self.extract = button("Extract", "Make the surface, and show it in 3-D.", self._extract)
        self.save = button("Save meshes …", "Write the surfaces in the table to a mesh file.", self._ask_save)
        self.panel = JobPanel(ticker, (self.extract, self.save), "End the extraction; surfaces that were there stay.")
        self.copies = CopyButtons("extracts the same surfaces")
        layout = dock_layout(self, "Surface", "closed meshes, and their measures", "surface.md")
        for widget in (self.models, self.form, self.preview, self.status, self.panel, self.measures, self.copies):
            layout.addWidget(widget)
        layout.addStretch(1)
        self._begin_preview()
        self.models.chosen.connect(self._sync)
        self.form.changed.connect(self._sync)
        self._sync()

    def _begin_preview(self) -> None:
        """Let the contour follow the slider and the choices."""
        quick = Ticker(self, stops=True, milliseconds=CONTOUR_MILLISECONDS)
        contours = Contours(self._viewer, quick.follow, self.status.setText)
        self.contours = contours
        at_the_end(self, contours.clear)
        self._delay = QTimer(self)
        self._delay.setSingleShot(True)
        self._delay.setInterval(CONTOUR_MILLISECONDS)
        self._delay.timeout.connect(self._preview)
        self.preview.toggled.connect(lambda _: self._delay.start())
        self.form.what.activated.connect(self._offer_preview)
        self.form.level.valueChanged.connect(self._offer_preview)
        for event in (self._viewer.dims.events.current_step, self._viewer.dims.events.order):
            event.connect(self._moved)
        self._viewer.dims.events.ndisplay.connect(self._moved)
        self._viewer.layers.events.removed.connect(self._removed)

    def showEvent(self, event: QShowEvent) -> None:
        """Follow whether the dock is looked at: Qt hides none of those in one place, but lets one of them be on top."""
        super().showEvent(event)
        dock = enclosing(self, QDockWidget)
        if dock is not None and dock is not self._dock:
            self._dock = dock
            dock.visibilityChanged.connect(self._seen)

    def _seen(self, seen: bool) -> None:
        """Take the contour out of sight with the dock, and bring it back, at the slice that is shown by then."""
        if seen:
            self.contours.wake()
            self._delay.start()
        elif not self.window().isMinimized():
            self.contours.sleep()

    def _offer_preview(self, event: Any = None) -> None:
        """Turn the contours on when the user first chooses a surface; afterwards that is the user's choice."""
        if self._offers_preview:
            self._offers_preview = False
            self.preview.setChecked(True)

    def _moved(self, event: Any = None) -> None:
        if isalive(self) and not self._delay.isActive():
            self._delay.start()

    def _removed(self, event: Any) -> None:
        """Show no more contours when their layer is deleted by hand."""
        if isalive(self) and self.contours.is_theirs(event.value) and self.contours.wanted:
            self.preview.setChecked(False)

    def _preview(self) -> None:
        if self.contours.asleep:
            return
        fitted = self.models.model
        wish = None
        if fitted is not None and self.preview.isChecked() and (self.form.by_level or self.form.labels):
            wish = self._wish(fitted)
        self.contours.ask(wish)

    def _wish(self, fitted: Fitted) -> Wish | None:
        """Return which contours belong to the choices; None where the slice is not seen from the front."""
        frame, last = fitted.frames[0], fitted.model.volume.shape3d[fitted.model.axis] - 1
        t = shown_coordinate(self._viewer, frame.place, frame.slice_axis)
        if t is None or not 0 <= round(t) <= last:
            return None
        t = min(max(t, 0.0), float(last))  # the end slices are shown half a step beyond their centers
        if self.form.by_level:
            channel = int(self.form.values["channel"].value)
            return Wish(fitted, t, level=(self.form.level.value(), LEVEL_COLOR), channel=channel)
        return Wish(fitted, t, labels=tuple((one, label_color(self._viewer, fitted, one)) for one in self.form.labels))

    def _sync(self) -> None:
        """Show what can be extracted and what was."""
        if not isalive(self):
            return
        fitted = self.models.model
        self.form.show_model(fitted)
        mistake = ""
        if fitted is None:
            mistake = "Fit a model in the Train dock, or load one from a file."
        else:
            try:
                self.form.config()
            except ValueError as error:
                mistake = str(error)
        self.status.setText(mistake)
        self.status.setVisible(bool(mistake))
        self.extract.setEnabled(not mistake)
        self.save.setEnabled(bool(self.measures.surfaces))
        self.measures.setVisible(bool(self.measures.surfaces))
        self._delay.start()

    def _extract(self) -> None:
        fitted = self.models.model
        if fitted is None:
            return
        config, model, path = self.form.config(), fitted.model, fitted.path

        def work(job: Job[tuple[medgs.Surface, ...]]) -> tuple[medgs.Surface, ...]:
            with named_as_shown(medgs.SurfaceConfig):
                if config.label is None and config.level is None:
                    surfaces = medgs.extract_surfaces(model, config, report=job.step)
                else:
                    surfaces = (medgs.extract_surface(model, config, report=job.step),)
            job.checkpoint()
            return surfaces

        def ended(outcome: Outcome[tuple[medgs.Surface, ...]]) -> None:
            if outcome.result is not None:
                recipe = SurfaceRecipe(changed_settings(config))
                self.copies.offer(lambda: recipe.python(path), lambda: recipe.command(path))
                self._show(fitted, config, outcome.result)

        self.panel.begin(Job(work), ended)

    def _show(self, fitted: Fitted, config: medgs.SurfaceConfig, surfaces: Sequence[medgs.Surface]) -> None:
        colors = [
            LEVEL_COLOR if one.label is None else label_color(self._viewer, fitted, one.label) for one in surfaces
        ]
        if config.label is None and config.level is None:
            drop_labels(self._viewer, fitted, surfaces)
        show_surfaces(self._viewer, fitted, surfaces, colors)
        self.measures.show_surfaces(surfaces)
        self._sync()

    def _ask_save(self) -> None:
        kinds = ";;".join(f"{ending[1:].upper()} (*{ending})" for ending in ENDINGS)
        path, kind = QFileDialog.getSaveFileName(self, "Save the surfaces", f"surface{ENDINGS[0]}", kinds)
        if path:
            chosen = next((ending for ending in ENDINGS if f"*{ending}" in kind), ENDINGS[0])
            self.save_file(path if path.lower().endswith(ENDINGS) else path + chosen)

    def save_file(self, path: str) -> None:
        """Write the surfaces in the table to a mesh file."""
        surfaces = self.measures.surfaces

        def work(job: Job[bool]) -> bool:
            medgs.write_surface(surfaces, path)
            return True

        def ended(outcome: Outcome[bool]) -> None:
            if outcome.result:
                tell(f"Saved {Path(path).name}.")

        self.panel.begin(Job(work), ended)
