"""What is to be fitted and how, as the user chooses it: images, slice axis, preset, device, advanced settings.

Layers of the viewer come in, an `Order` goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QSpinBox, QVBoxLayout, QWidget

import medgs_core as medgs
from medgs_napari import _rendered
from medgs_napari._axes import extents, guess_slice_axis, volume_axes
from medgs_napari._fit_task import Order, order_fit
from medgs_napari._forms import add_rows, form_values, scatter, settings_form
from medgs_napari._frames import axis_names
from medgs_napari._layers import pick
from medgs_napari._live import FITTING
from medgs_napari._preferences import preferences
from medgs_napari._qt import choice, form_layout, row, section

if TYPE_CHECKING:
    from napari.components import ViewerModel

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
        self.image, self.second, self.axis = choice(), choice(), choice()
        self.image.setToolTip("The stack of slices that is fitted.")
        self.second.setToolTip(
            "Another image of the same voxels, for instance T2 beside T1; both share one model, and help each other."
        )
        self.axis.setToolTip(
            "The direction in which slices are missing. The first choice is suggested: of the largest spacing, or time."
        )
        self.others = QWidget()
        self._others_layout = QVBoxLayout(self.others)
        self._others_layout.setContentsMargins(0, 0, 0, 0)
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
        viewer.layers.events.inserted.connect(self._sync_layers)
        viewer.layers.events.removed.connect(self._sync_layers)
        viewer.layers.events.reordered.connect(self._sync_layers)
        for box in (self.second, self.axis):
            box.currentIndexChanged.connect(lambda _: self._sync_steps())
        self.image.currentIndexChanged.connect(lambda _: self._sync_axes())
        for form in (self.plain, self.advanced):
            form.changed.connect(lambda _: self.changed.emit())
        self._sync_layers()
        self._choose_active()

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
        scatter(self.advanced, self)
        advanced, rows = section("Advanced")
        add_rows(rows, self.advanced)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(advanced)

    @property
    def layer(self) -> Image | None:
        """The layer that is fitted."""
        return self._layer_of(self.image)

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
        layer, second = self.layer, self._layer_of(self.second)
        if layer is None:
            raise ValueError("A fit needs a stack of slices, got no image with 3 axes; open one first.")
        steps = [self._steps[k].value() if k in self._steps else 0 for k in range(layer.ndim)]
        picks = tuple(pick(one, self.slice_axis, steps) for one in (layer, second) if one is not None)
        config = medgs.FitConfig(**self.settings())
        return order_fit(
            layer.unique_id, picks, config, factor=self.factor.value(), seconds=preferences().preview_seconds
        )

    def _layer_of(self, box: QComboBox) -> Image | None:
        return next((layer for layer in self._viewer.layers if layer.unique_id == box.currentData()), None)

    def _choose_active(self) -> None:
        active = self._viewer.layers.selection.active
        if active is not None and (place := self.image.findData(active.unique_id)) >= 0:
            self.image.setCurrentIndex(place)

    def _sync_layers(self, event: Any = None) -> None:
        """List the layers that can be fitted, keeping what was chosen."""
        stacks = [layer for layer in self._viewer.layers if _is_stack(layer)]
        for layer in self._viewer.layers:
            layer.events.name.disconnect(self._sync_layers)
            layer.events.name.connect(self._sync_layers)
        before = self.image.currentData()
        for box, first in ((self.image, []), (self.second, [(NO_SECOND, None)])):
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            for name, key in [*first, *((layer.name, layer.unique_id) for layer in stacks)]:
                box.addItem(name, key)
            box.setCurrentIndex(max(box.findData(chosen), 0 if box.count() else -1))
            box.blockSignals(False)
        if self.image.currentData() != before:
            self._sync_axes()

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


def _is_stack(layer: Any) -> bool:
    """Return whether a layer is an image with slices, and none that is rendered from a model."""
    rendered = _rendered.METADATA in layer.metadata or layer.name.endswith(FITTING)
    return isinstance(layer, Image) and layer.ndim >= 3 and not rendered
