"""What a viewer shows of a fit: layers that are there at once, sharpen, and become the rendered volume.

Called in the window's thread only. The layers may be renamed, hidden or deleted meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._arrays import virtual_levels
from medgs_napari._coarse import Nearest
from medgs_napari._fit_task import Fit, FitTask
from medgs_napari._rendered import METADATA, Drawn, blank_layers
from medgs_napari._sections import watch_sections
from medgs_napari._shown import show_step, shown_step
from medgs_napari._virtual import virtual_layers

if TYPE_CHECKING:
    from napari.components import ViewerModel

FITTING = " (being fitted)"
"""Ends the name of a layer whose model is not ready."""


class LiveLayers:
    """The layers of one fit.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are shown.
    task : FitTask
        Whose preview they show.
    """

    def __init__(self, viewer: ViewerModel, task: FitTask) -> None:
        self._viewer, self._task = viewer, task
        self._layers: list[tuple[Any, Drawn]] = []

    @property
    def shown(self) -> bool:
        """Whether there is a layer yet."""
        return bool(self._layers)

    def show(self) -> None:
        """Add the layers, once the fit has begun."""
        task, preview, volume = self._task, self._task.preview, self._task.volume
        if preview is None or volume is None or self._layers:
            return
        order = task.order
        axis = order.frames[0].volume_axis
        count = preview.shape[axis]
        coarse = Nearest(volume, axis, order.config.skip, np.arange(count) / order.factor)
        for drawn in blank_layers(order.name, volume, order.frames, 0.0, 1.0 / order.factor):
            levels = virtual_levels(preview, coarse, drawn.frame, drawn.part, volume)
            settings = {**drawn.settings, "name": drawn.settings["name"] + FITTING, "multiscale": len(levels) > 1}
            data = levels if len(levels) > 1 else levels[0]
            self._layers.append((self._viewer.add_image(data, **settings), drawn))
        self._look_between()

    def _look_between(self) -> None:
        """Move the slider off a measured slice, where there is nothing to see of a fit."""
        layer, drawn = self._layers[0]
        factor, axis = self._task.order.factor, drawn.frame.slice_axis
        index = shown_step(self._viewer, layer, axis)
        if index is None or factor == 1 or index % factor:
            return
        step = factor // 2 if index + factor // 2 < layer.data[0].shape[axis] else -(factor // 2)
        show_step(self._viewer, layer, axis, index + step)

    def refresh(self) -> None:
        """Show what has become better."""
        for layer, _ in self._present():
            layer.refresh(extent=False, thumbnail=False, highlight=False)

    def finish(self, fit: Fit | None) -> None:
        """Let the layers render from the model; take them away if there is none."""
        rendered = {}
        if fit is not None:
            import medgs_core as medgs

            order = self._task.order
            config = medgs.RenderConfig(factor=order.factor)
            rendered = {drawn.part: drawn for drawn in virtual_layers(order.name, fit.model, order.frames, config)}
        for layer, drawn in self._present():
            ready = rendered.get(drawn.part)
            if ready is None:
                self._viewer.layers.remove(layer)
                continue
            layer.metadata[METADATA] = ready.settings["metadata"][METADATA]
            if layer.name.endswith(FITTING):
                layer.name = f"{layer.name.removesuffix(FITTING)} x{self._task.order.factor}"
            layer.data = ready.data
        self._layers = []
        watch_sections(self._viewer)

    def _present(self) -> list[tuple[Any, Drawn]]:
        return [(layer, drawn) for layer, drawn in self._layers if layer in self._viewer.layers]
