"""*Interpolate*: the dock in which a model renders slices that were never measured, and says how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import napari
import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QWidget

import medgs_core as medgs
from medgs_napari._dock import CopyButtons, JobPanel, dock_layout
from medgs_napari._jobs import Done, Job, Outcome
from medgs_napari._label_layers import label_colors
from medgs_napari._marks import SliceMarks
from medgs_napari._models_widget import ModelsWidget
from medgs_napari._names import named_as_shown
from medgs_napari._preferences import preferences
from medgs_napari._qt import at_the_end, button, note
from medgs_napari._render_form import KEPT_IN, NAMED, RenderForm
from medgs_napari._rendered import Drawn
from medgs_napari._results import find_results, show_once
from medgs_napari._session import Fitted, session_of
from medgs_napari._shown import show_inside, shown_steps
from medgs_napari._stream import Stream, find_stream, stream_in_folders, stream_in_memory
from medgs_napari._subject import VIRTUAL, Subject, What, subject_of
from medgs_napari._ticker import Ticker

REST_MILLISECONDS = 300
"""After the last move of the slider; then the words in the corner get their background."""


class RenderWidget(QWidget):
    """The Interpolate dock.

    Parameters
    ----------
    napari_viewer : Viewer
        Where rendered layers are added.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        ticker = Ticker(self, stops=True)
        self._stream: tuple[Stream, list[Any]] | None = None
        self.models = ModelsWidget(napari_viewer, session_of(napari_viewer), ticker)
        self.form = RenderForm()
        self.plan = note()
        self.interpolate = button(
            "Interpolate", "Show a layer with the slices that were asked for.", lambda: self._render("interpolated")
        )
        self.labels = button(
            "Labels",
            "Show the labels of the model on these slices. The docks Train and Segment give it labels.",
            lambda: self._render("labels interpolated"),
        )
        self.uncertainty = button(
            "Uncertainty",
            "Show a layer with the bound that nine in ten errors stay within.",
            lambda: self._render("uncertainty"),
        )
        self.panel = JobPanel(
            ticker,
            (self.interpolate, self.labels, self.uncertainty),
            "End the rendering; slices that are rendered stay, and the same button goes on.",
        )
        self.marks_box = QCheckBox("Say in the viewer which slices are measured")
        self.marks_box.setToolTip("A line in the corner tells measured and synthetic slices apart.")
        self.copies = CopyButtons("renders the same")
        layout = dock_layout(self, "Interpolate", "slices that were never measured", "interpolate.md")
        for widget in (self.models, self.form, self.plan, self.panel, self.marks_box, self.copies):
            layout.addWidget(widget)
        layout.addStretch(1)
        marks = SliceMarks(napari_viewer)
        self.marks = marks
        at_the_end(self, lambda: marks.turn(False))  # or its last words would stay
        self.marks_box.toggled.connect(self.marks.turn)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MILLISECONDS)
        self._rest.timeout.connect(marks.rest)
        marks.changed.connect(self._moved_on)
        self.marks_box.setChecked(True)
        self.models.chosen.connect(self._sync)
        self.panel.changed.connect(self._sync)
        self.form.changed.connect(self._sync)
        self._viewer.dims.events.current_step.connect(self._moved)
        self._sync()

    def _moved_on(self) -> None:
        if isalive(self):
            self._rest.start()

    def _sync(self) -> None:
        """Show what would be rendered, and whether it can be."""
        if not isalive(self):
            return
        fitted = self.models.model
        possible = fitted is not None and self._plan(fitted)
        if fitted is None:
            self.plan.setText("Fit a model in the Train dock, or load one from a file.")
        image = possible and fitted is not None and fitted.model.has_image
        self.interpolate.setEnabled(image)
        self.uncertainty.setEnabled(image)
        self.labels.setEnabled(possible and fitted is not None and fitted.model.labels is not None)

    def _plan(self, fitted: Fitted) -> bool:
        """Say what would be rendered; return whether it can be."""
        what: What = "interpolated" if fitted.model.has_image else "labels interpolated"
        try:
            subject = subject_of(fitted, what, self.form.config())
            with named_as_shown(medgs.RenderConfig):
                plan = subject.describe(KEPT_IN[self.form.shown])
        except ValueError as mistake:
            self.plan.setText(str(mistake))
            return False
        begun = find_stream(self._viewer, subject.owner, subject.results(self._kept(self.form.shown, self.form.path)))
        self.plan.setText(plan if begun is None else f"{plan} {begun.describe()}")
        return True

    def _kept(self, shown: str, path: str) -> str:
        """Return where slices are kept."""
        return f"folder {path}" if shown == "folder" else shown

    def _render(self, what: What) -> None:
        fitted = self.models.model
        if fitted is None:
            return
        subject, shown = subject_of(fitted, what, self.form.config()), self.form.shown
        if what != "uncertainty":  # for which a slice is rendered first
            self._add(subject, shown)
            return

        def work(job: Job[bool]) -> bool:
            subject.prepare()
            job.checkpoint()
            return True

        def ended(outcome: Outcome[bool]) -> None:
            if outcome.result:
                self._add(subject, shown)

        self.panel.begin(Job(work), ended)

    def _add(self, subject: Subject, shown: str) -> None:
        """Show layers of something, kept as the user chose."""
        layers = subject.layers(NAMED[shown])
        path = self.form.chosen_path() if shown == "folder" else ""
        if shown == "folder" and not path:
            return
        results = subject.results(self._kept(shown, path))
        known = find_stream(self._viewer, subject.owner, results)
        if shown == VIRTUAL:
            self._show(subject, results, layers)
        elif known is not None:
            self._fill(subject, results, known)
        elif shown == "streamed":
            self._fill(subject, results, stream_in_memory(layers, preferences().most_bytes))
        else:
            self._begin_folders(subject, results, layers, path)
        recipe, path = subject.recipe(streamed=shown == "folder"), subject.fitted.path
        self.copies.offer(lambda: recipe.python(path), lambda: recipe.command(path))

    def _show(self, subject: Subject, results: Sequence[str], layers: Sequence[Drawn]) -> None:
        """Show layers; those that are there are brought to the fore, and the slider to their slices."""
        shown = []
        for result, drawn in zip(results, layers, strict=True):
            colors = label_colors(self._viewer, subject.fitted) if drawn.kind == "labels" else {}
            settings = drawn.settings | colors
            shown.append(show_once(self._viewer, subject.owner, result, drawn.kind, drawn.data, settings))
        place, _ = self._looked_at(shown, layers)
        layer, drawn = shown[place], layers[place]
        show_inside(self._viewer, layer, drawn.frame.slice_axis, len(drawn.slices.measured))
        if subject.runs[1:]:
            self._viewer.layers.selection.active = layer  # of which the corner speaks

    def _looked_at(self, shown: Sequence[Any], layers: Sequence[Drawn]) -> tuple[int, int]:
        """Return which of some layers is looked at, or nearest to where the slider stands, and which of its slices."""
        found = []
        for place, (layer, drawn) in enumerate(zip(shown, layers, strict=True)):
            axis, last = drawn.frame.slice_axis, len(drawn.slices.measured) - 1
            step = shown_steps(self._viewer, layer)[axis]
            inside = min(max(step, 0), last)
            found.append((abs(step - inside) * abs(layer.scale[axis]), -place, inside))
        _, place, step = min(found)
        return -place, step

    def _begin_folders(self, subject: Subject, results: Sequence[str], layers: Sequence[Drawn], path: str) -> None:
        """Make folders in a thread, or find them begun; then fill them."""

        def work(job: Job[Stream]) -> Stream:
            stream = stream_in_folders(subject, layers, path)
            job.checkpoint()
            return stream

        def ended(outcome: Outcome[Stream]) -> None:
            if outcome.result is not None:
                self._fill(subject, results, outcome.result)

        self.panel.begin(Job(work), ended)

    def _fill(self, subject: Subject, results: Sequence[str], stream: Stream) -> None:
        """Show the layers of a stream, and fill in a thread what is missing in them."""
        self._show(subject, results, stream.layers)
        if stream.finished or stream.running:  # another dock may be at it
            return
        stream.running = True
        found = find_results(self._viewer, subject.owner)
        self._stream = (stream, [found[result] for result in results])
        self._moved()
        job = Job(stream)
        job.news.connect(self._grown)
        job.ended.connect(lambda outcome: self._filled(outcome))  # also where the dock is gone by then
        self.panel.begin(job, lambda outcome: None)

    def _filled(self, outcome: Outcome[bool]) -> None:
        """Show what has come; what is missing stays to be filled."""
        if self._stream is None:
            return
        (_, added), self._stream = self._stream, None
        for layer in [layer for layer in added if layer in self._viewer.layers]:
            layer.refresh()
        self.marks.refresh()

    def _grown(self, news: Done) -> None:
        """Show what has been filled since; end what would be in the memory of layers that are gone."""
        added = self._stream[1] if self._stream else []
        there = [layer for layer in added if layer in self._viewer.layers]
        for layer in there:
            layer.refresh(extent=False, thumbnail=False, highlight=False)
        self.marks.refresh()
        in_memory = all(isinstance(layer.data, np.ndarray) for layer in added)
        if added and not there and in_memory and self.panel.job is not None:
            self.panel.job.cancel()

    def _moved(self, event: Any = None) -> None:
        """Tell the stream which slice is looked at."""
        if self._stream is None:
            return
        stream, added = self._stream
        place, step = self._looked_at(added, stream.layers)
        stream.shown = stream.firsts[stream.layers[place].run] + step
