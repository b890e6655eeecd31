"""Draws cross-sections through virtual layers again as their slices are rendered, and lets nobody paint on them.

A viewer comes in; its virtual layers, and those that come later, answer at once when its axes are turned.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from psygnal import Signal

from medgs_napari._ahead import Ahead
from medgs_napari._arrays import LayerArray
from medgs_napari._session import viewer_itself
from medgs_napari._ticker import Relay

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class Sections:
    """The virtual layers of a viewer.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are.
    """

    drawn = Signal()
    """Emitted when cross-sections were drawn again."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._relay = Relay(self._draw)
        viewer.layers.events.inserted.connect(self.attach)

    def attach(self, event: Any = None) -> None:
        """Follow the layers that there are."""
        viewer = self._viewer()
        for layer in viewer.layers if viewer is not None else ():
            ahead = ahead_of(layer)
            if ahead is not None:
                ahead.better = self._relay
            if isinstance(layer, Labels) and isinstance(layer.data, LayerArray):
                layer.editable = False  # several levels are not for napari either

    def _draw(self) -> None:
        viewer = self._viewer()
        for layer in viewer.layers if viewer is not None else ():
            ahead = ahead_of(layer)
            if ahead is not None and ahead.crossed:
                layer.refresh(extent=False, thumbnail=False, highlight=False)
        self.drawn.emit()


def ahead_of(layer: Layer) -> Ahead | None:
    """Return what renders the slices of a virtual layer; None for other layers."""
    data: Any = layer.data
    finest = data[0] if getattr(layer, "multiscale", False) else data
    source = finest.source if isinstance(finest, LayerArray) else None
    return source if isinstance(source, Ahead) else None


_watched: weakref.WeakKeyDictionary[Any, Sections] = weakref.WeakKeyDictionary()
"""One per viewer, however many docks it has."""


def watch_sections(viewer: ViewerModel) -> Sections:
    """Let the virtual layers of a viewer, present and to come, be drawn as well as they are known."""
    owner = viewer_itself(viewer)
    if owner not in _watched:
        _watched[owner] = Sections(owner)
    _watched[owner].attach()
    return _watched[owner]
