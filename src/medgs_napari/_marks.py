"""Tells, in a corner of the canvas, whether the slice that is shown was measured or is synthetic.

A viewer comes in; its text overlay follows the slider and the selected layer while the marks are on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from medgs_napari._rendered import METADATA, Slices
from medgs_napari._sections import ahead_of, watch_sections
from medgs_napari._shown import shown_step

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

FONT_SIZE = 8


class SliceMarks:
    """The text about the slice that is shown.

    Parameters
    ----------
    viewer : ViewerModel
        Whose overlay is used.
    """

    changed = Signal()
    """Emitted when the text has changed: the slider moves."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._on = False
        self._sections = watch_sections(viewer)

    def turn(self, on: bool) -> None:
        """Show the text from now on, or no longer."""
        if on == self._on:
            return
        self._on = on
        drawn = self._sections.drawn
        (drawn.connect if on else drawn.disconnect)(self.update)
        viewer, overlay = self._viewer, self._viewer.canvas.overlays.text
        for event in (
            viewer.dims.events.current_step,
            viewer.dims.events.order,
            viewer.dims.events.ndisplay,
            viewer.layers.selection.events.active,
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
        ):
            (event.connect if on else event.disconnect)(self.update)
        if on:
            overlay.font_size = FONT_SIZE
            overlay.position = "top_left"
            self.update()
        overlay.visible = on

    def refresh(self) -> None:
        """Say it again if it is said: slices have come."""
        if self._on:
            self.update()

    def update(self, event: Any = None) -> None:
        """Say what is shown now."""
        overlay, text = self._viewer.canvas.overlays.text, describe_shown(self._viewer)
        if text != overlay.text:
            overlay.box = False  # napari compiles a program anew for a box of another width, 10 ms on a processor
            overlay.text = text
            self.changed.emit()

    def rest(self) -> None:
        """Set the text off from a bright image, now that it stays for a while."""
        if self._on:
            self._viewer.canvas.overlays.text.box = True


def describe_shown(viewer: ViewerModel) -> str:
    """Return what the shown slice of a rendered layer is; empty where none is shown.

    Of several layers it is the selected one, or else the uppermost that has a slice where the slider stands.
    """
    active = viewer.layers.selection.active
    visible = [layer for layer in reversed(viewer.layers) if layer.visible and METADATA in layer.metadata]
    for layer in sorted(visible, key=lambda one: one is not active):
        slices: Slices = layer.metadata[METADATA]
        index = shown_step(viewer, layer, slices.axis)
        if index is None:
            return describe_crossed(layer, slices)
        if 0 <= index < len(slices.measured):
            return slices.describe(index)
    return ""


def describe_crossed(layer: Layer, slices: Slices) -> str:
    """Return how many slices that are seen from the side were measured, and whether the others are rendered."""
    measured, count = slices.measured, len(slices.measured)
    ahead = ahead_of(layer)
    waiting = sum(not measured[i] for i in ahead.missing) if ahead else 0
    first = f"CROSS-SECTION, {count - waiting} of {count} slices rendered\n" if waiting else ""
    return first + slices.summary()
