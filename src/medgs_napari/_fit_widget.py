"""*Train*: the dock in which a model is fitted to a stack of slices, watched, paused, stopped and resumed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import napari
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from medgs_napari._amounts import duration
from medgs_napari._axes import size_note
from medgs_napari._curve import FitCurve
from medgs_napari._dock import CopyButtons, dock_layout
from medgs_napari._estimate import estimate_job, what_matters
from medgs_napari._fit_form import FitForm
from medgs_napari._fit_run import FitRun, resume_order
from medgs_napari._fit_task import Fit, Order
from medgs_napari._jobs import Job, Outcome, explain
from medgs_napari._preferences import preferences
from medgs_napari._qt import StillBar, bare_column, button, choice, note, row
from medgs_napari._session import OURS, REFERENCE, Fitted, session_of
from medgs_napari._ticker import Ticker

if TYPE_CHECKING:
    import medgs_core as medgs

ESTIMATE_MILLISECONDS = 500
"""After the last change of a choice; then the plan is made."""

SURE_AFTER = 0.04
"""Part of the steps after which the time left is worth telling: that of a few steps says little."""

MEASURING = "Measuring how long it takes …"


class FitWidget(QWidget):
    """The Train dock.

    Parameters
    ----------
    napari_viewer : Viewer
        Whose layers are fitted.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer, self._session = napari_viewer, session_of(napari_viewer)
        self._ticker, self._estimates = Ticker(self), Ticker(self, stops=True)
        self._told_of: Any = None  # id of the image whose fit is told of
        self._planning: Job[str] | None = None
        self._planned, self._known = "", None
        self.form = FitForm(napari_viewer)
        self.plan, self.status = note(), note()
        self.bar, self.curve = StillBar(), FitCurve()
        self.start = button("Start", "Fit a model to the slices.", self._start)
        self.pause = button("Pause", "Hold the fit, and free the processor.", self._pause)
        self.stop = button("Stop and keep", "End the fit now and keep the model as it is.", self._stop)
        self.resume = button("Resume", "", self._resume)
        self.stopped = choice()
        self.stopped.setToolTip("Models whose fit was stopped: which one is to be resumed.")
        self.copies = CopyButtons("fits the same model")
        self.account = QWidget()
        told = bare_column(self.account)
        for widget in (self.bar, self.status, self.curve, self.copies):
            told.addWidget(widget)
        layout = dock_layout(self, "Train", "fit a model to a stack of slices", "train.md")
        layout.addWidget(self.form)
        layout.addWidget(self.plan)
        layout.addLayout(row(self.start, self.pause, self.stop, self.resume))
        layout.addWidget(self.stopped)
        layout.addWidget(self.account)
        layout.addStretch(1)
        self._delay = QTimer(self)
        self._delay.setSingleShot(True)
        self._delay.setInterval(ESTIMATE_MILLISECONDS)
        self._delay.timeout.connect(self._estimate)
        self.form.changed.connect(self._reconsider)
        self.form.image.chosen.connect(self._sync)
        self.stopped.currentIndexChanged.connect(lambda _: self._sync_resume())
        self._session.run_changed.connect(self._sync)
        self._session.models_changed.connect(self._sync)
        if self._session.run is not None:
            self._attach(self._session.run)
        self._sync()
        self._delay.start()

    @property
    def run(self) -> FitRun | None:
        """The fit under way."""
        run: FitRun | None = self._session.run
        return run

    @property
    def _chosen(self) -> Any:
        """The id of the image that is chosen, empty for none."""
        return "" if self.form.layer is None else self.form.layer.unique_id

    def _start(self) -> None:
        self._begin(self.form.order())

    def _resume(self) -> None:
        stopped = self._to_resume()
        if stopped is not None and self.run is None:
            self._begin(resume_order(stopped, factor=self.form.factor.value(), chosen=preferences()), stopped)

    def _to_resume(self) -> Fitted | None:
        """Return the stopped model that is chosen, the latest unless the user chose another one."""
        models, place = self._stopped(), self.stopped.currentIndex()
        return models[place] if 0 <= place < len(models) else None

    def _stopped(self) -> list[Fitted]:
        return [one for one in reversed(self._session.models) if one.checkpoint is not None]

    def _begin(self, order: Order, stopped: Fitted | None = None) -> None:
        self._end_estimate()  # it would take the processor from the fit
        run = FitRun(self._viewer, self._session, order, stopped)
        self.curve.clear()
        self.copies.withdraw()
        self._attach(run)
        self.status.setText("Reading the image …")
        self.bar.progress(0, 0)
        run.start(self._ticker, self)

    def _attach(self, run: FitRun) -> None:
        self._told_of = run.order.source_id
        run.news.connect(self._heard)
        run.ended.connect(self._ended)

    def _pause(self) -> None:
        if self.run is not None:
            self.run.job.pause(not self.run.job.paused)
            self.status.setText("Paused" if self.run.job.paused else "Going on …")
            self._sync()

    def _stop(self) -> None:
        if self.run is not None:
            self.run.job.cancel()
            self.status.setText("Stopping; what is fitted stays …")
            self._sync()

    def _sync(self) -> None:
        """Show the buttons that have a meaning now."""
        if not isalive(self):
            return
        run = self.run
        running, paused = run is not None, run is not None and run.job.paused
        stopping = run is not None and run.job.cancelled
        self.start.setVisible(not running)
        self.start.setEnabled(self.form.layer is not None)
        self.pause.setVisible(running)
        self.pause.setText("Go on" if paused else "Pause")
        self.pause.setEnabled(not stopping)
        self.stop.setVisible(running)
        self.stop.setEnabled(not stopping)
        self.account.setVisible(running or self._told_of == self._chosen)
        self._sync_stopped(running)

    def _sync_stopped(self, running: bool) -> None:
        """List the stopped models, where there are several; the latest is chosen when one has come."""
        names, before = [one.name for one in self._stopped()], self.stopped.currentText()
        grown = len(names) > self.stopped.count()
        self.stopped.blockSignals(True)
        self.stopped.clear()
        self.stopped.addItems(names)
        self.stopped.setCurrentIndex(names.index(before) if before in names and not grown else min(0, len(names) - 1))
        self.stopped.blockSignals(False)
        self.stopped.setVisible(not running and len(names) > 1)
        self.resume.setVisible(not running and bool(names))
        self._sync_resume()

    def _sync_resume(self) -> None:
        self.resume.setToolTip(f"Go on with the fit of '{self.stopped.currentText()}' that was stopped.")

    def _heard(self, state: medgs.FitState) -> None:
        if not isalive(self):
            return
        self.bar.progress(state.step, state.total, _time_left(state))
        ours, linear = (state.scores.get(name, math.nan) for name in (OURS, REFERENCE))
        self.curve.add(state.step, state.loss, state.checks, ours, linear)
        run = self.run
        if run is None or run.job.cancelled:
            return
        doing = "Paused" if run.job.paused else f"{state.phase[:1].upper()}{state.phase[1:]} …"
        self.status.setText(doing)  # what changes at each look stands on the bar: here the dock would be laid out anew

    def _ended(self, fitted: Fitted | None, outcome: Outcome[Fit]) -> None:
        if not isalive(self):
            return
        if fitted is not None and fitted.recipe is not None:
            recipe = fitted.recipe
            self.copies.offer(lambda: recipe.python(fitted.path), lambda: recipe.command(fitted.path))
        if fitted is not None and fitted.checkpoint is None and not outcome.error:
            self.bar.progress(1, 1)
        self.status.setText(_ending(fitted, outcome))
        if all(layer.unique_id != self._told_of for layer in self._viewer.layers):
            self._told_of = self._chosen  # so that it is told until another one is
        self._sync()
        self._delay.start()

    def _reconsider(self) -> None:
        """Estimate again when the choices have settled."""
        self._end_estimate()
        self._delay.start()

    def _end_estimate(self) -> None:
        if self._planning is not None and self._planning.running:
            self._planning.cancel()
            if self._planned:
                self.plan.setText(self._planned)

    def _estimate(self) -> None:
        """Say what a fit would take, planned and measured in a thread, one at a time, and again if it is another."""
        if self.run is not None or (self._planning is not None and self._planning.running):
            self._delay.start()
            return
        layer, axis = self.form.layer, self.form.slice_axis
        if layer is None or axis is None:
            self.plan.setText("Open a stack of slices: an image with 3 axes.")
            self.start.setEnabled(False)
            return
        self.start.setEnabled(True)
        large = size_note(layer, axis)
        try:
            order = self.form.order()
        except Exception as error:  # labels may be read from a disk, or computed, now
            self._say_plan(explain(error))
            return
        if large:
            self._say_plan(large)
            return
        matters = what_matters(order)
        if matters == self._known:
            return
        job = self._planning = estimate_job(order)
        self._planned = ""
        job.news.connect(lambda said: self._heard_plan(job, said))
        job.ended.connect(lambda outcome: self._estimated(job, outcome, matters))
        self._estimates.follow(job)

    def _say_plan(self, text: str) -> None:
        self.plan.setText(text)
        self._known = None

    def _heard_plan(self, job: Job[str], said: str) -> None:
        if isalive(self) and not job.cancelled:
            self._planned = said
            self.plan.setText(f"{said} {MEASURING}")

    def _estimated(self, job: Job[str], outcome: Outcome[str], matters: Any) -> None:
        if isalive(self) and not job.cancelled:
            self._say_plan(outcome.result or outcome.error)
            self._known = matters if outcome.result else None


def _time_left(state: medgs.FitState) -> str:
    if not state.step:
        return ""
    text = f"step {state.step:,} of {state.total:,}"
    if state.step < SURE_AFTER * state.total or math.isnan(state.seconds_left):
        return text
    # until hidden slices are scored the fit may still end early
    word = "about" if state.scores else "at most"
    return f"{text}, {word} {duration(state.seconds_left)} left"


def _ending(fitted: Fitted | None, outcome: Outcome[Any]) -> str:
    """Return how a fit ended, in a sentence or two."""
    if outcome.error:
        kept = " The model as it was before is kept." if fitted is not None else ""
        return f"{outcome.error}{kept}"
    if fitted is None:
        return "Stopped before anything was fitted."
    begun = "Stopped; the model as it stands is kept." if fitted.checkpoint is not None else "Done."
    scores = fitted.model.scores
    if OURS not in scores:
        return begun
    if math.isinf(scores[OURS]):
        return f"{begun} Hidden slices were predicted exactly."
    better = scores[OURS] - scores[REFERENCE]
    compared = f"{abs(better):.1f} dB {'better' if better >= 0 else 'worse'} than linear interpolation"
    return f"{begun} Hidden slices were predicted at {scores[OURS]:.1f} dB, {compared}."
