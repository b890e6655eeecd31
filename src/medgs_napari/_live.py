"""What a viewer shows of a fit: layers that are there at once, sharpen, and become the rendered volume.

Called in the window's thread only. The layers may be renamed, hidden or deleted meanwhile. Where a stopped fit is
resumed, the layers that it left sharpen on; those of a finished one are found like any other result of its model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._arrays import Part, virtual_levels
from medgs_napari._coarse import Nearest
from medgs_napari._fit_task import FitTask
from medgs_napari._rendered import METADATA, Drawn, blank_layers
from medgs_napari._results import PLACE, find_results, marked, update_result
from medgs_napari._sections import watch_sections
from medgs_napari._session import Fitted
from medgs_napari._shown import show_step, shown_step
from medgs_napari._subject import VIRTUAL, first_look

if TYPE_CHECKING:
    from napari.components import ViewerModel

FITTING = " (being fitted)"
"""Ends the name of a layer whose model is not ready."""

LIVE = "live"
"""What a layer shows whose model is not ready, in the words of `Result.what`."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a model shows in a layer: in words, and as it is drawn."""

    what: str
    drawn: Drawn


@dataclass(frozen=True, eq=False)
class Live:
    """A layer of a fit, what it shows meanwhile, and what the stopped fit had left in it, None for a new layer."""

    layer: Any
    drawn: Drawn
    left: Look | None


class LiveLayers:
    """The layers of one fit.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are shown.
    task : FitTask
        Whose preview they show.
    stopped : Fitted, optional
        The model that is resumed.
    """

    def __init__(self, viewer: ViewerModel, task: FitTask, stopped: Fitted | None = None) -> None:
        self._viewer, self._task, self._stopped = viewer, task, stopped
        self._layers: list[Live] = []

    @property
    def shown(self) -> bool:
        """Whether there is a layer yet."""
        return bool(self._layers)

    def show(self) -> None:
        """Add the layers, or take up those of the stopped fit, once the fit has begun; labels alone have none."""
        task, preview, volume = self._task, self._task.preview, self._task.volume
        if preview is None or volume is None or self._layers:
            return
        order = task.order
        if order.resumed is not None and not order.resumed.model.has_image:
            return
        axis = order.frames[0].volume_axis
        count = preview.shape[axis]
        coarse = Nearest(volume, axis, order.config.skip, np.arange(count) / order.factor)
        looks = {} if self._stopped is None else self._looks(self._stopped)
        for blank in blank_layers(order.name, volume, order.frames, 0.0, 1.0 / order.factor):
            settings = {**blank.settings, "name": blank.settings["name"] + FITTING, "metadata": {}}
            levels = virtual_levels(preview, coarse, blank.frame, blank.part, volume)
            self._layers.append(self._shown(replace(blank, settings=settings).with_levels(levels), looks))
        self._look_between()

    def _looks(self, fitted: Fitted) -> dict[Part, Look]:
        """Return what the layers of a model show on the slices of the fit."""
        subject = first_look(fitted, self._task.order.factor)
        looks = [Look(*one) for one in zip(subject.results(VIRTUAL), subject.layers(), strict=True)]
        return {look.drawn.part: look for look in looks}

    def _shown(self, drawn: Drawn, looks: dict[Part, Look]) -> Live:
        """Return a layer that shows something: the one that the stopped fit left, as it looked, or a new one."""
        left, viewer = looks.get(drawn.part), self._viewer
        layer = None if left is None else find_results(viewer, self._stopped).get(left.what)
        if layer is None or left is None:
            layer = viewer.add_image(drawn.data, **marked(self._task, LIVE, drawn.settings))
            return Live(layer, drawn, None)
        layer.metadata.pop(METADATA, None)  # of other slices, where they were measured at uneven distances
        _change(layer, left.drawn, self._task, Look(LIVE, drawn))
        layer.visible, viewer.layers.selection.active = True, layer
        return Live(layer, drawn, left)

    def _look_between(self) -> None:
        """Move the slider off a measured slice, where there is nothing to see of a fit."""
        first = self._layers[0]
        factor, axis = self._task.order.factor, first.drawn.frame.slice_axis
        index = shown_step(self._viewer, first.layer, axis)
        if index is None or factor == 1 or index % factor:
            return
        step = factor // 2 if index + factor // 2 < first.layer.data[0].shape[axis] else -(factor // 2)
        show_step(self._viewer, first.layer, axis, index + step)

    def refresh(self) -> None:
        """Show what has become better."""
        for live in self._present():
            live.layer.refresh(extent=False, thumbnail=False, highlight=False)

    def finish(self, fitted: Fitted | None) -> None:
        """Let the layers render from the model of the list; without one, show what was there before, or nothing."""
        looks = {} if fitted is None or not self._layers else self._looks(fitted)
        for live in self._present():
            look, owner = looks.get(live.drawn.part, live.left), fitted or self._stopped
            if look is None:
                self._viewer.layers.remove(live.layer)
            else:
                _change(live.layer, live.drawn, owner, look)
        self._layers = []
        watch_sections(self._viewer)

    def _present(self) -> list[Live]:
        return [live for live in self._layers if live.layer in self._viewer.layers]


def _change(layer: Any, before: Drawn, owner: Any, look: Look) -> None:
    """Let a layer show something else of a fit; what the user made of it stays, and so does where it was moved."""
    settings = look.drawn.settings
    place = {name: settings[name] for name in PLACE if not np.allclose(settings[name], before.settings[name])}
    wanted = {**place, "name": settings["name"], "metadata": settings["metadata"]}
    update_result(layer, owner, look.what, look.drawn.data, wanted)
