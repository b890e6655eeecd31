"""*Interpolate*: the dock in which a model renders slices that were never measured, and says how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import napari
from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox, QWidget

from medgs_napari._arrays import Part, parts_of
from medgs_napari._dock import CopyButtons, JobPanel, dock_layout
from medgs_napari._jobs import Done, Job, Outcome
from medgs_napari._marks import SliceMarks
from medgs_napari._models_widget import ModelsWidget
from medgs_napari._qt import button, complain, note
from medgs_napari._recipes import RenderRecipe, changed_settings
from medgs_napari._render_form import KEPT_IN, RenderForm
from medgs_napari._rendered import Drawn, describe_rendering, describe_result, named, virtual_layers
from medgs_napari._results import bring_to_front, find_results, show_once
from medgs_napari._session import Fitted, session_of
from medgs_napari._stream import Stream, find_stream, stream_in_folders, stream_in_memory
from medgs_napari._ticker import Ticker
from medgs_napari._uncertainty import UNCERTAINTY, uncertainty_layers

if TYPE_CHECKING:
    import medgs_core as medgs


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
        self.interpolate = button("Interpolate", "Show a layer with the slices that were asked for.", self._render)
        self.uncertainty = button(
            "Uncertainty", "Show a layer with the bound that nine in ten errors stay within.", self._uncertainty
        )
        self.panel = JobPanel(
            ticker,
            (self.interpolate, self.uncertainty),
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
        self.destroyed.connect(lambda: marks.turn(False))  # or its last words would stay
        self.marks_box.toggled.connect(self.marks.turn)
        self.marks_box.setChecked(True)
        self.models.chosen.connect(self._sync)
        self.panel.changed.connect(self._sync)
        self.form.changed.connect(self._sync)
        self._viewer.dims.events.current_step.connect(self._moved)
        self._sync()

    def _sync(self) -> None:
        """Show what would be rendered, and whether it can be."""
        if not isalive(self):
            return
        fitted = self.models.model
        possible = fitted is not None
        if fitted is None:
            self.plan.setText("Fit a model in the Train dock, or load one from a file.")
        else:
            try:
                config, shown = self.form.config(), self.form.shown
                plan = describe_rendering(fitted.model, config, KEPT_IN[shown])
                parts = parts_of(fitted.model.volume, rgb=fitted.frames[0].rgb)
                begun = find_stream(self._viewer, fitted, self._whats(config, self.form.path, parts))
                self.plan.setText(plan if begun is None else f"{plan} {begun.describe()}")
            except ValueError as mistake:
                self.plan.setText(str(mistake))
                possible = False
        self.interpolate.setEnabled(possible)
        self.uncertainty.setEnabled(possible)

    def _render(self) -> None:
        fitted = self.models.model
        if fitted is None:
            return
        try:
            config = self.form.config()
            layers = virtual_layers(fitted.name, fitted.model, fitted.frames, config)
        except ValueError as mistake:
            complain(str(mistake))
            return
        shown = self.form.shown
        path = self.form.chosen_path() if shown == "folder" else ""
        if shown == "folder" and not path:
            return
        whats = self._whats(config, path, [drawn.part for drawn in layers])
        known = find_stream(self._viewer, fitted, whats)
        if shown == "virtual":
            self._show(fitted, whats, layers)
        elif known is not None:
            self._fill(fitted, whats, known)
        elif shown == "streamed":
            self._fill(fitted, whats, stream_in_memory(layers))
        else:
            self._begin_folders(fitted, config, whats, layers, path)
        self._remember(fitted, config, streamed=shown == "folder")

    def _whats(self, config: medgs.RenderConfig, path: str, parts: Sequence[Part]) -> list[str]:
        """Return what the layers of a rendering show, kept as the form says."""
        kept = f"folder {path}" if self.form.shown == "folder" else self.form.shown
        return [describe_result(kept, config, part) for part in parts]

    def _show(self, fitted: Fitted, whats: Sequence[str], layers: Sequence[Drawn]) -> None:
        """Show layers; those that are there are brought to the fore."""
        for what, drawn in zip(whats, layers, strict=True):
            show_once(self._viewer, fitted, what, "image", drawn.data, named(drawn.settings, "interpolated"))

    def _begin_folders(
        self, fitted: Fitted, config: medgs.RenderConfig, whats: Sequence[str], layers: Sequence[Drawn], path: str
    ) -> None:
        """Make folders in a thread, or find them begun; then fill them."""

        def work(job: Job[Stream]) -> Stream:
            stream = stream_in_folders(fitted.model, config, layers, path)
            job.checkpoint()
            return stream

        def ended(outcome: Outcome[Stream]) -> None:
            if outcome.result is not None:
                self._fill(fitted, whats, outcome.result)

        self.panel.begin(Job(work), ended)

    def _fill(self, fitted: Fitted, whats: Sequence[str], stream: Stream) -> None:
        """Show the layers of a stream, and fill in a thread what is missing in them."""
        self._show(fitted, whats, stream.layers)
        if stream.finished or stream.running:  # another dock may be at it
            return
        stream.running = True
        self._stream = (stream, [find_results(self._viewer, fitted)[what] for what in whats])
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

    def _uncertainty(self) -> None:
        fitted = self.models.model
        if fitted is None:
            return
        config = self.form.config()
        parts = parts_of(fitted.model.volume, rgb=False)
        whats = [describe_result(UNCERTAINTY, config, part) for part in parts]
        if bring_to_front(self._viewer, fitted, whats):
            self._remember(fitted, config, uncertainty=True)
            return

        def work(job: Job[list[Drawn]]) -> list[Drawn]:
            return uncertainty_layers(fitted, config, job)

        def ended(outcome: Outcome[list[Drawn]]) -> None:
            for what, drawn in zip(whats, outcome.result or (), strict=False):
                show_once(self._viewer, fitted, what, "image", drawn.data, drawn.settings)
            if outcome.result:
                self._remember(fitted, config, uncertainty=True)

        self.panel.begin(Job(work), ended)

    def _grown(self, news: Done) -> None:
        """Show what has been filled since."""
        for layer in self._stream[1] if self._stream else ():
            layer.refresh(extent=False, thumbnail=False, highlight=False)
        self.marks.refresh()

    def _moved(self, event: Any = None) -> None:
        """Tell the stream which slice is looked at."""
        if self._stream is None:
            return
        stream, added = self._stream
        layer, axis = added[0], stream.layers[0].frame.slice_axis
        stream.shown = round(float(layer.world_to_data(self._viewer.dims.point[-layer.ndim :])[axis]))

    def _remember(
        self, fitted: Fitted, config: medgs.RenderConfig, *, uncertainty: bool = False, streamed: bool = False
    ) -> None:
        images = max(len(fitted.model.volume.members), 1)
        recipe, path = RenderRecipe(changed_settings(config), images, uncertainty, streamed), fitted.path
        self.copies.offer(lambda: recipe.python(path), lambda: recipe.command(path))
