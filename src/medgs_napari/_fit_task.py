"""One fit from layers: what was picked and the settings come in, a model goes out, and previews on the way.

Runs in the thread of a job and knows no window; see `_live` for what the viewer shows of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._amounts import memory
from medgs_napari._axes import finest
from medgs_napari._frames import Frame, place_of
from medgs_napari._grids import Grid
from medgs_napari._jobs import Job, Stopped
from medgs_napari._layers import Picked, joint_name
from medgs_napari._names import named_as_shown
from medgs_napari._preview import Preview
from medgs_napari._recipes import FitRecipe, Input, changed_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Labels

    import medgs_core as medgs

NO_LIMIT = sys.maxsize


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit left.

    Attributes
    ----------
    model : as it stands
    checkpoint : what a stopped fit needs to go on
    labels : of a finished one with labels, on the slices of its volume
    """

    model: medgs.FittedModel
    checkpoint: medgs.FitCheckpoint | None = None
    labels: medgs.Volume | None = None


@dataclass(frozen=True, eq=False)
class Painted:
    """Labels as they were painted when a fit was ordered.

    Attributes
    ----------
    name, layer_id : of the layer
    data : a copy that nobody paints on
    place : where it stood
    """

    name: str
    layer_id: str
    data: Any
    place: Mapping[str, Any]

    @staticmethod
    def of(layer: Labels) -> Painted:
        """Return what is on a layer now."""
        return Painted(layer.name, layer.unique_id, np.array(finest(layer)), place_of(layer))

    def on(self, grid: Grid) -> medgs.Volume:
        """Return the labels on the voxels of a grid.

        Raises
        ------
        ValueError
            If the layer did not have these voxels.
        """
        return grid.volume_of(self.name, self.data, self.place)


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be fitted, and how.

    Attributes
    ----------
    name : of the model
    source_id, source_name : of the layer that is fitted
    picks : the images, the first of which gives the place; empty where `resumed` has the volume
    frames : how each image is shown
    recipe : what was asked for; None to resume a model from a file
    config : settings of the fit
    factor : preview slices per measured step
    seconds : least time between two snapshots for the preview
    most_bytes : memory that the fit may take
    labels : that the model is to learn as well; those of `resumed` are in its model
    resumed : a stopped fit to go on with
    """

    name: str
    source_id: str
    source_name: str
    picks: tuple[Picked, ...]
    frames: tuple[Frame, ...]
    recipe: FitRecipe | None
    config: medgs.FitConfig
    factor: int
    seconds: float
    most_bytes: int = NO_LIMIT
    labels: Painted | None = None
    resumed: Fit | None = None

    def volume(self) -> medgs.Volume:
        """Return what is fitted, read or computed now."""
        if self.resumed is not None:
            return self.resumed.model.volume
        import medgs_core as medgs

        return medgs.combine_volumes(*(one.volume() for one in self.picks))

    def labels_on(self, volume: medgs.Volume) -> tuple[medgs.Volume | None, medgs.LabelConfig]:
        """Return the labels on the voxels of what is fitted, if there are any, and which of their slices count.

        Raises
        ------
        ValueError
            If they are not on these voxels.
        """
        import medgs_core as medgs

        head = self.resumed.model.labels if self.resumed is not None else None
        if head is not None:
            return head.annotation.volume, medgs.LabelConfig(labeled_slices=head.annotation.annotated)
        painted = self.labels
        return None if painted is None else painted.on(Grid(volume, self.frames[0])), medgs.LabelConfig()


def order_fit(
    source_id: str,
    picks: tuple[Picked, ...],
    config: medgs.FitConfig,
    *,
    factor: int,
    seconds: float,
    most_bytes: int = NO_LIMIT,
    labels: Painted | None = None,
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
    inputs = tuple(
        Input(one.name, one.origin.path if one.origin else None, one.number, one.is_whole_layer) for one in picks
    )
    recipe = FitRecipe(inputs, changed_settings(along), None if labels is None else Input(labels.name))
    name = joint_name([one.name for one in picks])
    # the first image gives the place of all, each has a look of its own
    frames = tuple(replace(picks[0].frame, look=one.frame.look, rgb=one.frame.rgb) for one in picks)
    return Order(name, source_id, picks[0].name, picks, frames, recipe, along, factor, seconds, most_bytes, labels)


def plan_within(
    volume: medgs.Volume, labels: medgs.Volume | None, label_config: medgs.LabelConfig, order: Order
) -> medgs.FitPlan:
    """Return what a fit will do.

    Raises
    ------
    ValueError
        If it would take more memory than the order allows, or breaks a rule of the core.
    """
    import medgs_core as medgs

    annotation = None
    if labels is not None:
        axis = order.frames[0].volume_axis
        annotation = medgs.annotate(labels, axis, image=volume, labeled_slices=label_config.labeled_slices)
    with named_as_shown(medgs.FitConfig):
        plan = medgs.plan_fit(volume, order.config, annotation)
    if plan.memory_bytes > order.most_bytes:
        raise ValueError(
            f"A fit may take {memory(order.most_bytes)} of memory at most, got one that needs about "
            f"{memory(plan.memory_bytes)}; take the preset fast or fewer Gaussians, cut the image, or raise the limit "
            "in Preferences."
        )
    return plan


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

    def _render_labels(self, model: medgs.FittedModel) -> medgs.Volume | None:
        """Return the labels on all slices; None if the fit is to end before they are there."""
        import medgs_core as medgs

        def follow(done: int, total: int) -> None:
            if self.cancelled:
                raise Stopped
            self.report(medgs.FitState(f"rendering labels ({done} of {total})", total, total))

        try:
            return medgs.render_volume(model, labels=True, report=follow)
        except Stopped:
            return None

    def __call__(self, job: Job[Fit]) -> Fit:
        """Fit; called in the thread of the job."""
        self._job = job
        import medgs_core as medgs

        order = self.order
        try:
            volume = order.volume()
            if order.resumed is None:  # what happens to the layer's data later must not happen to the model
                volume = replace(volume, voxels=volume.voxels.copy(order="K"))
            job.checkpoint()
            labels, label_config = order.labels_on(volume)
            plan_within(volume, labels, label_config, order)
            job.checkpoint()
            self.volume = volume
            self.preview = Preview(volume, order.frames[0].volume_axis, order.factor, self._changed)
            self._begun()
            result = medgs.fit_model(
                volume if order.resumed is None or order.resumed.model.has_image else None,
                order.config,
                labels=labels,
                label_config=label_config,
                progress=self,
                resume=order.resumed.checkpoint if order.resumed else None,
            )
            shown = self._render_labels(result.model) if labels is not None and result.complete else None
            return Fit(result.model, result.checkpoint, shown)
        finally:
            if self.preview is not None:
                self.preview.close()
            self._job = None
