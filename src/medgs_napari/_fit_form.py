"""What is to be fitted and how, as the user chooses it: images, slice axis, preset, device, advanced settings.

Layers of the viewer come in, an `Order` goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSpinBox, QWidget

import medgs_core as medgs
from medgs_napari._axes import extents, guess_slice_axis, volume_axes
from medgs_napari._fit_task import Order, order_fit
from medgs_napari._forms import folded, form_values, scatter, settings_form
from medgs_napari._frames import axis_names
from medgs_napari._layer_choice import LayerChoice, is_scan
from medgs_napari._layers import pick
from medgs_napari._preferences import preferences
from medgs_napari._qt import bare_column, choice, form_layout, row

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

ADVANCED = ("steps", "gaussians", "hide", "skip", "seed")
NO_SECOND = "none"
PREVIEW_FACTOR, LARGEST_FACTOR = 4, 32


class FitForm(QWidget):
    """The choices of the Train dock."""

    changed = Signal()
    """Emitted when an order would differ."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        chosen = preferences()
        self.image, self.second = LayerChoice(viewer, is_scan), LayerChoice(viewer, is_scan, NO_SECOND)
        self.axis = choice()
        self.image.setToolTip("The stack of slices that is fitted.")
        self.second.setToolTip(
            "Another image of the same voxels, for instance T2 beside T1; both share one model, and help each other."
        )
        self.axis.setToolTip(
            "The direction in which slices are missing. The first choice is suggested: of the largest spacing, or time."
        )
        self.others = QWidget()
        self._others_layout = bare_column(self.others)
        self._steps: dict[int, QSpinBox] = {}
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
        self.second.chosen.connect(self._sync_steps)
        self.axis.currentIndexChanged.connect(lambda _: self._sync_steps())
        for form in (self.plain, self.advanced):
            form.changed.connect(lambda _: self.changed.emit())
        self._sync_axes()

    def _arrange(self) -> None:
        form = form_layout()
        for label, widget in (
            ("Image", self.image),
            ("Second image", self.second),
            ("Slices along", self.axis),
            ("Where", self.others),
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
        axis: int | None = self.axis.currentData()
        return axis

    def settings(self) -> dict[str, Any]:
        """Return the settings of the fit that differ from what the core would take."""
        return {**form_values(self.plain, medgs.FitConfig), **form_values(self.advanced, medgs.FitConfig)}

    def order(self) -> Order:
        """Return what the user wants.

        Raises
        ------
        ValueError
            If no image is chosen, or one of the choices breaks its rule.
        """
        layer, second = self.layer, self.second.layer
        if layer is None:
            raise ValueError("A fit needs a stack of slices, got no image with 3 axes; open one first.")
        steps = [self._steps[k].value() if k in self._steps else 0 for k in range(layer.ndim)]
        picks = tuple(pick(one, self.slice_axis, steps) for one in (layer, second) if one is not None)
        config = medgs.FitConfig(**self.settings())
        return order_fit(
            layer.unique_id, picks, config, factor=self.factor.value(), seconds=preferences().preview_seconds
        )

    def _sync_axes(self) -> None:
        layer = self.layer
        self.axis.blockSignals(True)
        self.axis.clear()
        if layer is not None:
            names, counts, guessed = axis_names(layer.axis_labels), extents(layer), guess_slice_axis(layer)
            for k in [guessed, *(k for k in range(layer.ndim) if k != guessed)]:
                unit = "px" if str(layer.units[k]) == "pixel" else f"{layer.units[k]:~}"
                self.axis.addItem(f"{names[k]}: {counts[k]} slices, every {abs(layer.scale[k]):.3g} {unit}", k)
        self.axis.blockSignals(False)
        self._sync_steps()

    def _sync_steps(self) -> None:
        """Offer a step for each axis that is not part of the volume."""
        while self._others_layout.count():
            item = self._others_layout.takeAt(0)
            inner = item.widget()
            if inner is not None:
                inner.deleteLater()
        self._steps = {}
        layer, axis = self.layer, self.slice_axis
        if layer is not None and axis is not None:
            names, counts = axis_names(layer.axis_labels), extents(layer)
            shown = layer.world_to_data(self._viewer.dims.point[-layer.ndim :])
            for k in set(range(layer.ndim)) - set(volume_axes(layer, axis)):
                box = QSpinBox()
                box.setRange(0, counts[k] - 1)
                box.setValue(round(shown[k]))
                box.setToolTip("The step of an axis that the stack of slices does not have.")
                box.valueChanged.connect(lambda _: self.changed.emit())
                self._steps[k] = box
                holder = QWidget()
                line = row(QLabel(f"{names[k]} ="), box)
                line.setContentsMargins(0, 0, 0, 0)
                holder.setLayout(line)
                self._others_layout.addWidget(holder)
        self._form.setRowVisible(self.others, bool(self._steps))
        self.changed.emit()
