"""What is propagated and how, as the user chooses it: a model or an image, the painted layer, which slices count.

Layers and models of the viewer come in, a `Source` and checked settings go out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSpinBox, QWidget

import medgs_core as medgs
from medgs_napari._axis_choice import AxisChoice
from medgs_napari._forms import add_rows, checked_settings, form_values, scatter, settings_form
from medgs_napari._grids import Grid, grid_of_pick
from medgs_napari._label_layers import grid_of
from medgs_napari._layer_choice import LayerChoice, is_painted, is_scan
from medgs_napari._layers import Picked, pick
from medgs_napari._preferences import preferences
from medgs_napari._qt import bare_column, bare_row, button, choice, form_layout, note, section
from medgs_napari._session import Fitted, Session
from medgs_napari._shown import shown_coordinate, shown_steps

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

FIT_FIRST = "fit first: {}"
FROM_ASIDE = "Seen from the side now: to paint on them, turn the axes until this one has the slider."
ALONE = "no image: outlines alone"
LARGEST_FACTOR = 32


@dataclass(frozen=True, eq=False)
class Source:
    """What carries the labels: a model, an image that is fitted first, or neither: then the outlines alone do."""

    fitted: Fitted | None = None
    image: Image | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        chosen = self.fitted or self.image
        return "" if chosen is None else str(chosen.name)

    def same(self, other: Source) -> bool:
        """Return whether both are the same choice."""
        return self.fitted is other.fitted and self.image is other.image


class SegmentForm(QWidget):
    """The choices of the Segment dock."""

    changed = Signal()
    """Emitted when something else is chosen."""

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._sources: list[Source] = []
        self.model, self.painted = choice(), LayerChoice(viewer, is_painted)
        self.model.setToolTip("The model whose image was painted on. An image without a model is fitted first.")
        self.painted.setToolTip("The labels layer that you paint on: a few slices are enough.")
        self.new = button("New", "Add an empty labels layer with the voxels of the image.", lambda: None)
        self.along, self.aside = AxisChoice(), note()
        self.along.setToolTip("Labels are carried from slice to slice along this axis: paint on slices across it.")
        self.aside.setText(FROM_ASIDE)
        self.factor = QSpinBox()
        self.factor.setRange(1, LARGEST_FACTOR)
        self.factor.setSpecialValueText("none")
        self.factor.setToolTip("Slices of a second layer for each slice of the image, made when they are looked at.")
        self.fit = settings_form(medgs.FitConfig, ("preset", "device"))
        chosen = preferences()
        self.fit["preset"].value, self.fit["device"].value = chosen.preset, chosen.device
        self.values = settings_form(medgs.LabelConfig, tuple(medgs.LabelConfig.model_fields))
        self.values["unlabeled_value"].native.setPlaceholderText("none")
        self._arrange()
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            event.connect(self.sync)
        session.models_changed.connect(self.sync)
        for event in (viewer.dims.events.order, viewer.dims.events.ndisplay):
            event.connect(self._say_aside)
        self.along.currentIndexChanged.connect(lambda _: self._chosen())
        self.model.currentIndexChanged.connect(lambda _: self._show_needed())
        self.painted.chosen.connect(self._show_needed)
        self.values.changed.connect(lambda _: self.changed.emit())
        self.sync()

    def _arrange(self) -> None:
        self.values["labeled_slices"].native.setPlaceholderText("automatic")
        scatter(self.values, self)
        scatter(self.fit, self)
        painted = QWidget()
        bare_row(painted, self.painted, self.new).setStretch(0, 1)
        self.form = form_layout()
        for label, widget in (
            ("Model", self.model),
            ("Preset", self.fit["preset"].native),
            ("Painted layer", painted),
            ("Slices along", self.along),
            ("", self.aside),
            ("Finer slices", self.factor),
        ):
            self.form.addRow(label, widget)
        advanced, rows = section("Advanced")
        add_rows(rows, self.values)
        rows.addRow("Device", self.fit["device"].native)
        layout = bare_column(self)
        layout.addLayout(self.form)
        layout.addWidget(advanced)

    @property
    def source(self) -> Source:
        """What carries the labels."""
        place = self.model.currentIndex()
        return self._sources[place] if 0 <= place < len(self._sources) else Source()

    @property
    def layer(self) -> Labels | None:
        """The painted layer."""
        layer: Labels | None = self.painted.layer
        return layer

    def picked(self) -> Picked | None:
        """Return the stack that has no model: of the image at the time and the channel that are shown, or the labels.

        Raises
        ------
        ValueError
            If the layer is no stack.
        """
        source = self.source
        layer = source.image if source.image is not None else self.layer
        if source.fitted is not None or layer is None:
            return None
        return pick(layer, self.along.axis, shown_steps(self._viewer, layer))

    def grid(self) -> Grid | None:
        """Return the voxels that are to be painted; None as long as there is neither an image nor a painted layer.

        Raises
        ------
        ValueError
            If the layer is no stack.
        """
        if self.source.fitted is not None:
            return grid_of(self.source.fitted)
        picked = self.picked()
        return None if picked is None else grid_of_pick(picked)

    def label_config(self) -> medgs.LabelConfig:
        """Return which slices count.

        Raises
        ------
        ValueError
            If a setting breaks its rule.
        """
        return checked_settings(medgs.LabelConfig, form_values(self.values, medgs.LabelConfig))

    def fit_settings(self) -> dict[str, Any]:
        """Return how an image, or outlines, are fitted."""
        return form_values(self.fit, medgs.FitConfig)

    def choose_model(self, fitted: Fitted) -> None:
        """Choose a model."""
        place = next((k for k, one in enumerate(self._sources) if one.fitted is fitted), -1)
        self.model.setCurrentIndex(place)

    def sync(self, event: Any = None) -> None:
        """List models and images as they are now, keeping what was chosen."""
        if not isalive(self):
            return
        for layer in self._viewer.layers:
            layer.events.name.disconnect(self.sync)
            layer.events.name.connect(self.sync)
        self._sync_models()
        self._show_needed()

    def _sync_models(self) -> None:
        before = self.source if len(self._sources) > 1 else None
        known = {one.fitted for one in self._sources}
        models = [one for one in self._session.models if one.model.has_image]
        fitted = {one.source_id for one in models}
        images = [layer for layer in self._viewer.layers if is_scan(layer) and layer.unique_id not in fitted]
        self._sources = [*(Source(one) for one in models), *(Source(image=layer) for layer in images), Source()]
        names = [*(one.name for one in models), *(FIT_FIRST.format(layer.name) for layer in images), ALONE]
        self.model.blockSignals(True)
        self.model.clear()
        self.model.addItems(names)
        new = [one for one in models if one not in known]
        kept = [k for k, one in enumerate(self._sources) if before is not None and one.same(before)]
        self.model.setCurrentIndex(models.index(new[-1]) if new else [*kept, 0][0])
        self.model.blockSignals(False)

    def _show_needed(self) -> None:
        """Show what there is to choose for what carries the labels."""
        source = self.source
        self.form.setRowVisible(self.fit["preset"].native, source.fitted is None)
        self.new.setEnabled(source.fitted is not None or source.image is not None)
        if source.fitted is not None:
            self.along.state(grid_of(source.fitted))
        else:
            self.along.offer(source.image if source.image is not None else self.layer)
        self.form.setRowVisible(self.along, self.along.axis is not None)
        self._chosen()

    def _chosen(self) -> None:
        self._say_aside()
        self.changed.emit()

    def _say_aside(self, event: Any = None) -> None:
        """Tell if slices along the axis are seen from the side."""
        if not isalive(self):
            return
        try:
            grid = self.grid()
        except ValueError:  # it is told where the slices are counted
            grid = None
        aside = False
        if grid is not None:
            frame, dims = grid.frame, self._viewer.dims
            flat = dims.ndisplay == 2 and dims.ndim >= frame.ndim
            aside = flat and shown_coordinate(self._viewer, frame.place, frame.slice_axis) is None
        self.form.setRowVisible(self.aside, aside)
