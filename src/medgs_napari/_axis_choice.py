"""A box of the axes that slices may lie along; a layer comes in, the axis that was chosen goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox

from medgs_napari._axes import extents, guess_slice_axis
from medgs_napari._frames import describe_axis, place_of
from medgs_napari._qt import narrow

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from medgs_napari._grids import Grid


class AxisChoice(QComboBox):
    """The box; `currentIndexChanged` tells that the user chose another axis."""

    def __init__(self) -> None:
        super().__init__()
        narrow(self)
        self._layer_id = ""

    @property
    def axis(self) -> int | None:
        """The axis of the layer that is chosen, None where nothing is offered."""
        axis: int | None = self.currentData()
        return axis

    def offer(self, layer: Image | Labels | None) -> None:
        """Offer the axes of a layer, the likeliest first; of the same layer as before, the chosen one stays so."""
        places = {}
        if layer is not None and layer.ndim >= 3:
            guessed, counts, place = guess_slice_axis(layer), extents(layer), place_of(layer)
            order = [guessed, *(k for k in range(layer.ndim) if k != guessed)]
            places = {k: describe_axis(place, k, counts[k]) for k in order}
        before = self.axis if layer is not None and layer.unique_id == self._layer_id else None
        self._show("" if layer is None else layer.unique_id, places, before)

    def state(self, grid: Grid) -> None:
        """Show the slice axis of a model, which cannot be another one."""
        axis = grid.frame.slice_axis
        self._show("", {axis: describe_axis(grid.frame.place, axis, grid.shape[axis])}, axis)

    def _show(self, layer_id: str, places: dict[int, str], chosen: int | None) -> None:
        self._layer_id = layer_id
        self.blockSignals(True)
        self.clear()
        for axis, text in places.items():
            self.addItem(text, axis)
        self.setCurrentIndex(max(self.findData(chosen), 0 if places else -1))
        self.blockSignals(False)
