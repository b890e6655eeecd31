"""Which time, which channel: a step for each longer axis of a layer that a stack of slices does not have.

A layer and its slice axis come in, the steps that were chosen go out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QSpinBox, QWidget

from medgs_napari._axes import extents, volume_axes
from medgs_napari._frames import axis_names
from medgs_napari._qt import bare_column, bare_row

if TYPE_CHECKING:
    from napari.layers import Image


class StepChoice(QWidget):
    """A number for each such axis."""

    changed = Signal()
    """Emitted when the user chooses another step."""

    def __init__(self) -> None:
        super().__init__()
        self._layout = bare_column(self)
        self._boxes: dict[int, QSpinBox] = {}

    def __bool__(self) -> bool:
        """Return whether there is anything to choose."""
        return bool(self._boxes)

    def offer(self, layer: Image | None, slice_axis: int | None, steps: Sequence[int]) -> None:
        """Ask for steps of another layer, beginning with those given for all of its axes."""
        while self._layout.count():
            item = self._layout.takeAt(0)
            inner = item.widget()
            if inner is not None:
                inner.deleteLater()
        self._boxes = {}
        if layer is None or slice_axis is None or not 0 <= slice_axis < layer.ndim:
            return
        names, counts = axis_names(layer.axis_labels), extents(layer)
        for k in choosable_axes(layer, slice_axis):
            box = QSpinBox()
            box.setRange(0, counts[k] - 1)
            box.setValue(steps[k])
            box.setToolTip("The step of an axis that the stack of slices does not have.")
            box.valueChanged.connect(lambda _: self.changed.emit())
            self._boxes[k] = box
            holder, label = QWidget(), QLabel(f"{names[k]} =")
            label.setTextFormat(Qt.TextFormat.PlainText)
            bare_row(holder, label, box)
            self._layout.addWidget(holder)

    def steps(self, layer: Image) -> list[int]:
        """Return the steps for all axes of the layer that was offered, 0 for those that were not asked for."""
        return [self._boxes[k].value() if k in self._boxes else 0 for k in range(layer.ndim)]


def choosable_axes(layer: Image, slice_axis: int) -> list[int]:
    """Return the axes of a layer that a stack along one of them does not have, and that have more than one step."""
    counts, kept = extents(layer), volume_axes(layer, slice_axis)
    return [k for k in range(layer.ndim) if k not in kept and counts[k] > 1]
