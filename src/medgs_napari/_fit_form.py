"""What is to be fitted and how, as the user chooses it: images, labels, slice axis, preset, device, advanced settings.

Layers of the viewer come in, an `Order` goes out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSpinBox, QWidget

import medgs_core as medgs
from medgs_napari._axes import extents, lacks_spacing
from medgs_napari._axis_choice import AxisChoice
from medgs_napari._fit_task import Order, Painted, order_fit
from medgs_napari._forms import checked_settings, folded, form_values, scatter, settings_form
from medgs_napari._frames import axis_names
from medgs_napari._grids import grid_of_pick
from medgs_napari._layer_choice import LayerChoice, is_painted, is_scan
from medgs_napari._layers import Picked, pick
from medgs_napari._preferences import preferences
from medgs_napari._qt import bare_column, form_layout, note
from medgs_napari._shown import shown_steps
from medgs_napari._step_choice import StepChoice, choosable_axes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

ADVANCED = ("steps", "gaussians", "hide", "skip", "seed")
NOTHING = "none"
NO_SPACING = "No spacing is set. To set it: Layers > Metadata > Layer metadata."
HOW_TO_SPACE = (
    "Slices and pixels count as equally far apart now, so sizes and surfaces may be out of proportion. The spacing is "
    "the scale of the layer; in napari's console: viewer.layers['name'].scale = (3, 0.8, 0.8)"
)
PREVIEW_FACTOR, LARGEST_FACTOR = 4, 32


class FitForm(QWidget):
    """The choices of the Train dock."""

    changed = Signal()
    """Emitted when an order would differ."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        chosen = preferences()
        self.image, self.second = LayerChoice(viewer, is_scan), LayerChoice(viewer, is_scan, NOTHING)
        self.labels = LayerChoice(viewer, is_painted, NOTHING)
        self.axis, self.no_spacing = AxisChoice(), note()
        self.image.setToolTip("The stack of slices that is fitted.")
        self.second.setToolTip(
            "Another image of the same voxels, for instance T2 beside T1, or another channel of the same layer; both "
            "share one model, and help each other."
        )
        self.labels.setToolTip("Structures marked on a few slices of the image, or on all: the model learns them too.")
        self.axis.setToolTip(
            "The direction in which slices are missing. The first choice is suggested: of the largest spacing, or time."
        )
        self.no_spacing.setText(NO_SPACING)
        self.no_spacing.setToolTip(HOW_TO_SPACE)
        self.where, self.second_where = StepChoice(), StepChoice()
        self.plain = settings_form(medgs.FitConfig, ("preset", "device"))
        self.plain["preset"].value, self.plain["device"].value = chosen.preset, chosen.device
        self.advanced = settings_form(medgs.FitConfig, ADVANCED)
        self.advanced["skip"].native.setPlaceholderText("none")
        self.factor = QSpinBox()
        self.factor.setRange(1, LARGEST_FACTOR)
        self.factor.setValue(PREVIEW_FACTOR)
        self.factor.setToolTip("Slices that the live layer shows for each measured one.")
        self._arrange()
        self.image.chosen.connect(self._sync_axes)
        self.second.chosen.connect(self._sync_second)
        self.axis.currentIndexChanged.connect(lambda _: self._sync_steps())
        for source in (self.labels.chosen, self.where.changed, self.second_where.changed):
            source.connect(self.changed)
        for form in (self.plain, self.advanced):
            form.changed.connect(lambda _: self.changed.emit())
        self._sync_axes()

    def _arrange(self) -> None:
        form = form_layout()
        for label, widget in (
            ("Image", self.image),
            ("Slices along", self.axis),
            ("", self.no_spacing),
            ("Where", self.where),
            ("Second image", self.second),
            ("Where in it", self.second_where),
            ("Labels", self.labels),
            ("Preset", self.plain["preset"].native),
            ("Device", self.plain["device"].native),
            ("Live slices per step", self.factor),
        ):
            form.addRow(label, widget)
        self._form = form
        scatter(self.plain, self)
        layout = bare_column(self)
        layout.addLayout(form)
        layout.addWidget(folded(self.advanced, self))

    @property
    def layer(self) -> Image | None:
        """The layer that is fitted."""
        layer: Image | None = self.image.layer
        return layer

    @property
    def slice_axis(self) -> int | None:
        """The axis of the layer along which slices lie."""
        return self.axis.axis

    def settings(self) -> dict[str, Any]:
        """Return the settings of the fit that differ from what the core would take."""
        return {**form_values(self.plain, medgs.FitConfig), **form_values(self.advanced, medgs.FitConfig)}

    def order(self) -> Order:
        """Return what the user wants; labels as they are painted now.

        Raises
        ------
        ValueError
            If no image is chosen, one image is chosen twice, labels are not on its voxels, or a choice breaks its rule.
        """
        if self.layer is None:
            raise ValueError("A fit needs a stack of slices, got no image with 3 axes; open one first.")
        config, chosen = checked_settings(medgs.FitConfig, self.settings()), preferences()
        labels: Labels | None = self.labels.layer
        order = order_fit(
            self.layer.unique_id,
            self._picks(self.layer),
            config,
            factor=self.factor.value(),
            seconds=chosen.preview_seconds,
            most_bytes=chosen.most_bytes,
            labels=None if labels is None else Painted.of(labels),
        )
        if order.labels is not None:
            order.labels.on(grid_of_pick(order.picks[0]))  # or the fit would be in vain
        return order

    def _picks(self, layer: Image) -> tuple[Picked, ...]:
        steps, second = self.where.steps(layer), self.second.layer
        first = pick(layer, self.slice_axis, steps)
        if second is None:
            return (first,)
        others = self.second_where.steps(second)
        other = pick(second, self._second_axis(), others)
        if second is not layer:
            return first, other
        differ = [k for k in range(layer.ndim) if steps[k] != others[k]]
        if not differ:
            raise ValueError(
                f"A second image must be another one, got '{layer.name}' twice; choose another step of it, or none."
            )
        names = axis_names(layer.axis_labels)
        return tuple(
            replace(one, name=f"{one.name} {' '.join(f'{names[k]}={chosen[k]}' for k in differ)}")
            for one, chosen in ((first, steps), (other, others))
        )

    def _second_axis(self) -> int | None:
        """Return the axis of the second image that is the slice axis of the first: axes are counted from the last."""
        layer, second, axis = self.layer, self.second.layer, self.slice_axis
        return None if layer is None or second is None or axis is None else axis - layer.ndim + second.ndim

    def _sync_axes(self) -> None:
        self.axis.offer(self.layer)
        self._sync_steps()

    def _sync_steps(self) -> None:
        """Ask for the steps of axes that are not part of the volume, beginning with what is shown."""
        layer = self.layer
        self.where.offer(layer, self.slice_axis, [] if layer is None else shown_steps(self._viewer, layer))
        self._form.setRowVisible(self.where, bool(self.where))
        axis = self.slice_axis
        self._form.setRowVisible(self.no_spacing, layer is not None and axis is not None and lacks_spacing(layer, axis))
        self._sync_second()

    def _sync_second(self) -> None:
        """Ask the same of the second image; in the same layer, beginning with the next step of the first such axis."""
        second, axis = self.second.layer, self._second_axis()
        steps = [] if second is None else shown_steps(self._viewer, second)
        if second is not None and second is self.layer and axis is not None:
            steps = self.where.steps(second)
            for k in choosable_axes(second, axis)[:1]:
                steps[k] = (steps[k] + 1) % extents(second)[k]
        self.second_where.offer(second, axis, steps)
        self._form.setRowVisible(self.second_where, bool(self.second_where))
        self.changed.emit()
