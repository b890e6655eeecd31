"""A box of those layers of a viewer that serve a purpose, and which ones these are.

A viewer comes in, the layer that was chosen goes out; it stays chosen while others come and go, and when it is renamed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from medgs_napari import _rendered, _results
from medgs_napari._axes import extents
from medgs_napari._qt import narrow

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerChoice(QComboBox):
    """The box.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers are listed.
    serves : Callable
        Whether a layer belongs into the list.
    nothing : str
        What choosing no layer is called; empty where one must be chosen.
    """

    chosen = Signal()
    """Emitted when another layer is chosen, by the user or because the one before is gone, or has other extents."""

    def __init__(self, viewer: ViewerModel, serves: Callable[[Layer], bool], nothing: str = "") -> None:
        super().__init__()
        narrow(self)
        self._viewer, self._serves, self._nothing = viewer, serves, nothing
        viewer.layers.events.inserted.connect(self._follow)
        for event in (viewer.layers.events.removed, viewer.layers.events.reordered):
            event.connect(self._sync)
        self._told: Any = None
        self._follow()
        self._choose_active()
        self._told = self._choice()
        self.currentIndexChanged.connect(lambda _: self._tell())

    @property
    def layer(self) -> Any:
        """The layer that is chosen, or None."""
        key = self.currentData()
        return next((layer for layer in self._viewer.layers if layer.unique_id == key), None)

    def choose(self, layer: Layer) -> None:
        """Choose a layer of the list."""
        self.setCurrentIndex(self.findData(layer.unique_id))

    def _choose_active(self) -> None:
        active = self._viewer.layers.selection.active
        if active is not None and not self._nothing and self.findData(active.unique_id) >= 0:
            self.choose(active)

    def _follow(self, event: Any = None) -> None:
        """List the layers, and again when one of them is renamed or gets other data or another spacing."""
        if not isalive(self):
            return
        for layer in self._viewer.layers:
            for emitter in (layer.events.name, layer.events.data, layer.events.scale, layer.events.units):
                emitter.disconnect(self._sync)  # in vain for a new one
                emitter.connect(self._sync)
        self._sync()

    def _sync(self, event: Any = None) -> None:
        """List the layers as they are now."""
        if not isalive(self):
            return
        before = self.currentData()
        self.blockSignals(True)
        self.clear()
        if self._nothing:
            self.addItem(self._nothing, None)
        for layer in self._viewer.layers:
            if self._serves(layer):
                self.addItem(layer.name, layer.unique_id)
        self.setCurrentIndex(max(self.findData(before), 0 if self.count() else -1))
        self.blockSignals(False)
        if self._choice() != self._told:
            self._tell()

    def _choice(self) -> Any:
        """Return what tells one choice from another."""
        layer = self.layer
        return self.currentData(), None if layer is None else (extents(layer), tuple(layer.scale), layer.units)

    def _tell(self) -> None:
        self._told = self._choice()
        self.chosen.emit()


def is_scan(layer: Layer) -> bool:
    """Return whether a layer is an image with slices that no model gave."""
    ours = {_rendered.METADATA, _results.METADATA} & layer.metadata.keys()
    return isinstance(layer, Image) and layer.ndim >= 3 and not ours


def is_painted(layer: Layer) -> bool:
    """Return whether a layer holds labels of a stack that no model gave."""
    return isinstance(layer, Labels) and layer.ndim >= 3 and _results.METADATA not in layer.metadata
