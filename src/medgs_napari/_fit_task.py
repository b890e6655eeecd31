"""One fit from layers: what was picked and the settings come in, a model goes out, and previews on the way.

Runs in the thread of a job and knows no window; see `_live` for what the viewer shows of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medgs_napari._frames import Frame
from medgs_napari._jobs import Job
from medgs_napari._layers import Picked
from medgs_napari._preview import Preview
from medgs_napari._recipes import FitRecipe, Input, changed_settings

if TYPE_CHECKING:
    import medgs_core as medgs


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit left: the model, and what a stopped one needs to go on."""

    model: medgs.FittedModel
    checkpoint: medgs.FitCheckpoint | None = None


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be fitted, and how.

    Attributes
    ----------
    name : of the model
    source_id : id of the layer that is fitted
    picks : the images, the first of which gives the place; empty where `resumed` has the volume
    frames : how each image is shown
    recipe : what was asked for
    config : settings of the fit
    factor : preview slices per measured step
    seconds : least time between two snapshots for the preview
    resumed : a stopped fit to go on with
    """

    name: str
    source_id: str
    picks: tuple[Picked, ...]
    frames: tuple[Frame, ...]
    recipe: FitRecipe
    config: medgs.FitConfig
    factor: int
    seconds: float
    resumed: Fit | None = None


def order_fit(
    source_id: str, picks: tuple[Picked, ...], config: medgs.FitConfig, *, factor: int, seconds: float
) -> Order:
    """Return the order to fit what was picked, along the slice axis of the first image.

    Raises
    ------
    ValueError
        If a setting breaks its rule.
    """
    import medgs_core as medgs

    if len({one.frame.order for one in picks}) > 1 or any(one.origin is None for one in picks):
        picks = tuple(one.without_origin() for one in picks)  # in one order of axes and one world
    axis = picks[0].frame.volume_axis
    along = medgs.FitConfig(**{**config.model_dump(), "axis": str(axis)})
    inputs = tuple(Input(one.name, one.origin.path if one.origin else None, one.number) for one in picks)
    recipe = FitRecipe(inputs, changed_settings(along))
    name = " + ".join(one.name for one in picks)
    # the first image gives the place of all, each has a look of its own
    frames = tuple(replace(picks[0].frame, look=one.frame.look, rgb=one.frame.rgb) for one in picks)
    return Order(name, source_id, picks, frames, recipe, along, factor, seconds)


class FitTask:
    """Work for a `Job`: fits as ordered, and offers snapshots to a preview.

    Parameters
    ----------
    order : Order
        What to do.
    begun : Callable
        Called in the thread when the preview can be shown.
    changed : Callable
        Called in the preview's thread when it has become better.
    """

    def __init__(self, order: Order, begun: Callable[[], None], changed: Callable[[], None]) -> None:
        self.order = order
        self.volume: medgs.Volume | None = None
        self.preview: Preview | None = None
        self._begun, self._changed = begun, changed
        self._job: Job[Fit] | None = None
        self._offered = float("-inf")

    @property
    def cancelled(self) -> bool:
        """Whether the fit is to end."""
        return self._job is None or self._job.cancelled

    @property
    def paused(self) -> bool:
        """Whether the fit is to wait."""
        return self._job is not None and self._job.paused

    def report(self, state: medgs.FitState) -> None:
        """Pass the state on; now and then take a snapshot, which also is what an error leaves."""
        assert self._job is not None
        now = time.monotonic()
        if state.snapshot is not None and now - self._offered >= self.order.seconds:
            self._offered = now
            model = state.snapshot()
            self._job.keep(Fit(model))
            if self.preview is not None:
                self.preview.offer(model)
        self._job.report(replace(state, snapshot=None))

    def __call__(self, job: Job[Fit]) -> Fit:
        """Fit; called in the thread of the job."""
        self._job = job
        import medgs_core as medgs

        order = self.order
        try:
            if order.resumed is not None:
                volume = order.resumed.model.volume
            else:
                shared = medgs.combine_volumes(*(one.volume() for one in order.picks))
                # what happens to the layer's data later must not happen to the model
                volume = replace(shared, voxels=shared.voxels.copy(order="K"))
            job.checkpoint()
            self.volume = volume
            self.preview = Preview(volume, order.frames[0].volume_axis, order.factor, self._changed)
            self._begun()
            checkpoint = order.resumed.checkpoint if order.resumed else None
            result = medgs.fit_model(volume, order.config, progress=self, resume=checkpoint)
            return Fit(result.model, result.checkpoint)
        finally:
            if self.preview is not None:
                self.preview.close()
            self._job = None
