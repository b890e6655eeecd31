"""*Segment*: the dock in which structures painted on a few slices are carried to all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

import medgs_core as medgs
from medgs_napari._dock import CopyButtons, JobPanel, dock_layout
from medgs_napari._fit_run import FitRun
from medgs_napari._fit_task import order_fit
from medgs_napari._grids import METADATA as GRID
from medgs_napari._jobs import Done, Job, Outcome
from medgs_napari._label_layers import (
    CONFIDENCE,
    grid_of,
    new_labels,
    show_confidence,
    show_fine_labels,
    show_labels,
)
from medgs_napari._label_task import LabelOrder, Propagated, propagate
from medgs_napari._painted_note import PaintedNote
from medgs_napari._preferences import preferences
from medgs_napari._qt import attempt, button
from medgs_napari._recipes import changed_settings
from medgs_napari._results import find_results
from medgs_napari._segment_form import SegmentForm
from medgs_napari._session import Fitted, session_of
from medgs_napari._structure_recipes import LabelRecipe
from medgs_napari._ticker import Ticker

if TYPE_CHECKING:
    from napari.layers import Image, Labels

LIVE_FACTOR = 4


class SegmentWidget(QWidget):
    """The Segment dock.

    Parameters
    ----------
    napari_viewer : Viewer
        Whose labels are propagated.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer, self._session = napari_viewer, session_of(napari_viewer)
        self._ticker = Ticker(self, stops=True)
        self.form = SegmentForm(napari_viewer, self._session)
        self.slices = PaintedNote(self.form, self._ticker)
        self.propagate = button("Propagate", "Carry the painted labels to all slices.", self._propagate)
        self.confidence = button("Confidence", "Add a layer that tells how sure each label is.", self._confidence)
        self.panel = JobPanel(self._ticker, (self.propagate, self.confidence), "End this; labels that were there stay.")
        self.copies = CopyButtons("propagates the same labels")
        layout = dock_layout(self, "Segment", "paint a few slices, get all", "segment.md")
        for widget in (self.form, self.slices, self.panel, self.copies):
            layout.addWidget(widget)
        layout.addStretch(1)
        self.form.new.clicked.connect(lambda: attempt(self._new))
        self.form.changed.connect(self._sync)
        self.slices.counted.connect(self._sync)
        self._session.run_changed.connect(self._sync)
        self._session.models_changed.connect(self._sync)
        self._sync()

    def _sync(self) -> None:
        """Tell what can be done now."""
        if not isalive(self):
            return
        enough = self.form.layer is not None and self.slices.enough
        self.propagate.setEnabled(enough and self._session.run is None)
        self.confidence.setEnabled(self._labeled() is not None)

    def _labeled(self) -> Fitted | None:
        """Return the model with labels that is chosen."""
        fitted = self.form.source.fitted or self._outlines(self.form.layer)
        return fitted if fitted is not None and fitted.model.labels is not None else None

    def _outlines(self, layer: Labels | None) -> Fitted | None:
        """Return the model of a painted layer alone, if there is one and no image is chosen."""
        if layer is None or self.form.source.image is not None:
            return None
        ours = [one for one in self._session.models if not one.model.has_image and one.source_id == layer.unique_id]
        return ours[0] if ours else None

    def _new(self) -> None:
        """Add a layer to paint on."""
        source, grid = self.form.source, self.form.grid()
        if grid is not None:
            self.form.painted.choose(new_labels(self._viewer, source.name, grid, known=source.fitted is not None))

    def _propagate(self) -> None:
        source, painted = self.form.source, self.form.layer
        if painted is None:
            return
        if source.image is not None:
            self._fit_first(source.image, painted)
        elif source.fitted is not None:
            self._carry(source.fitted, painted)
        else:
            self._carry_alone(painted)

    def _fit_first(self, image: Image, painted: Labels) -> None:
        """Fit a model to the image as the Train dock does, then propagate."""
        self.form.label_config()
        config = medgs.FitConfig(**self.form.fit_settings())
        picked, grid = self.form.picked(), self.form.grid()
        assert picked is not None
        assert grid is not None
        grid.label_volume(painted)  # or the fit would be in vain
        chosen = preferences()
        order = order_fit(
            image.unique_id,
            (picked,),
            config,
            factor=LIVE_FACTOR,
            seconds=chosen.preview_seconds,
            most_bytes=chosen.most_bytes,
        )
        run = FitRun(self._viewer, self._session, order)
        run.news.connect(self._fit_heard)
        run.ended.connect(lambda fitted, outcome: self._fit_ended(run, fitted, painted))
        self.panel.hold(run.job)
        self.panel.say("Fitting a model to the image …")
        run.start(self._ticker, self)

    def _fit_heard(self, state: medgs.FitState) -> None:
        self.panel.show_progress(Done(state.step, state.total, f"fitting a model: {state.phase}"))

    def _fit_ended(self, run: FitRun, fitted: Fitted | None, painted: Labels) -> None:
        if not isalive(self):
            return
        self.panel.release()
        if fitted is not None:
            self.form.choose_model(fitted)
            if not run.job.cancelled and painted in self._viewer.layers:
                attempt(lambda: self._carry(fitted, painted))

    def _carry(self, fitted: Fitted, painted: Labels) -> None:
        grid = grid_of(fitted)
        config = self.form.label_config()
        labels = grid.label_volume(painted)
        painted.metadata[GRID] = grid  # so that it is saved where the model's file stands
        fit = None if fitted.recipe is None else replace(fitted.recipe, labels=None)  # others take their place
        recipe = LabelRecipe(changed_settings(config), fit, factor=self.form.factor.value(), model_path=fitted.path)
        order = LabelOrder(fitted.model, labels, config, medgs.FitConfig())
        self._start(order, painted, recipe, lambda model: self._keep(fitted, model))

    def _keep(self, fitted: Fitted, model: medgs.FittedModel) -> Fitted:
        self._session.relabel(fitted, model)
        return fitted

    def _carry_alone(self, painted: Labels) -> None:
        """Fit a model to the outlines of what was painted, without an image."""
        picked, config = self.form.picked(), self.form.label_config()
        assert picked is not None  # a painted layer is chosen
        fit = medgs.FitConfig(**{**self.form.fit_settings(), "axis": str(picked.frame.volume_axis)})
        volume = picked.volume()
        order = LabelOrder(None, medgs.Volume(np.array(volume.voxels), volume.affine, volume.unit), config, fit)
        factor = self.form.factor.value()
        recipe = LabelRecipe(changed_settings(config), alone=True, alone_settings=changed_settings(fit), factor=factor)

        def keep(model: medgs.FittedModel) -> Fitted:
            fitted = self._outlines(painted)
            if fitted is not None:
                return self._keep(fitted, model)
            fitted = Fitted(picked.name, model, (picked.frame,), painted.unique_id, picked.name)
            self._session.add(fitted)
            return fitted

        self._start(order, painted, recipe, keep)

    def _start(
        self,
        order: LabelOrder,
        painted: Labels,
        recipe: LabelRecipe,
        keep: Callable[[medgs.FittedModel], Fitted],
    ) -> None:
        """Propagate in a thread, and show what comes of it."""

        def ended(outcome: Outcome[Propagated]) -> None:
            if outcome.result is None:
                return
            fitted = keep(outcome.result.model)
            show_labels(self._viewer, fitted, outcome.result.labels, painted)
            if recipe.factor > 1:
                show_fine_labels(self._viewer, fitted, outcome.result.labels, painted, recipe.factor)
            if CONFIDENCE in find_results(self._viewer, fitted):
                show_confidence(self._viewer, fitted, recipe.factor)
            self.copies.offer(recipe.python, recipe.command)
            count = outcome.result.model.volume.shape3d[outcome.result.model.axis]
            self.panel.say(f"Done: labels on all {count} slices. Repaint where they are wrong, and propagate again.")

        self.panel.begin(Job(lambda job: propagate(order, job)), ended)

    def _confidence(self) -> None:
        fitted = self._labeled()
        if fitted is not None:
            show_confidence(self._viewer, fitted, self.form.factor.value())
            self.panel.say("Confidence: 1 is certain, 0.5 a toss-up between two labels. Painted slices are 1.")
