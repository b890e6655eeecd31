"""One fit in a viewer, from Start to the model in the list; it goes on when its dock is closed.

An order comes in; layers that sharpen, news for whoever listens, and a fitted model go out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtWidgets import QMainWindow, QWidget

from medgs_napari._fit_task import Fit, FitTask, Order
from medgs_napari._grids import METADATA as GRID
from medgs_napari._jobs import Job, Outcome
from medgs_napari._label_layers import grid_of, show_labels
from medgs_napari._live import LiveLayers
from medgs_napari._preferences import Preferences
from medgs_napari._qt import attempt, complain, enclosing
from medgs_napari._session import Fitted, Session
from medgs_napari._ticker import Relay, Ticker

if TYPE_CHECKING:
    from napari.components import ViewerModel

    import medgs_core as medgs


class FitRun:
    """A fit under way.

    Parameters
    ----------
    viewer : ViewerModel
        Where it is shown.
    session : Session
        Whose list the model joins.
    order : Order
        What to fit.
    stopped : Fitted, optional
        A model of the list that is resumed: it leaves the list, and comes back if nothing comes of it, or an error.
    """

    news = Signal(object)
    """Emitted with a `FitState`, a few times per second."""

    ended = Signal(object, object)
    """Emitted with the `Fitted`, or None, and the `Outcome`."""

    def __init__(self, viewer: ViewerModel, session: Session, order: Order, stopped: Fitted | None = None) -> None:
        self._viewer, self.order, self._session, self._stopped = viewer, order, session, stopped
        self._show, self._refresh = Relay(self._shown), Relay(self._refreshed)
        task = FitTask(order, self._show, self._refresh)
        self._live: LiveLayers | None = LiveLayers(viewer, task, stopped)
        self._window: QMainWindow | None = None
        self.job: Job[Fit] = Job(task)
        self.job.news.connect(self._heard)
        self.job.ended.connect(self._ended)
        self.begun = time.monotonic()
        self.first_preview = float("nan")
        self.latest: medgs.FitState | None = None

    def start(self, ticker: Ticker, near: QWidget) -> None:
        """Begin; the fit ends when the window that a widget is in closes."""
        self._session.begin(self)
        if self._stopped is not None:
            self._session.remove(self._stopped)
        self._window = enclosing(near, QMainWindow)  # also where the dock floats
        if self._window is not None:
            self._window.destroyed.connect(self.job.cancel)
        ticker.follow(self.job)

    def _shown(self) -> None:
        if self._live is not None and self._open():
            attempt(self._live.show)

    def _refreshed(self) -> None:
        if self._live is not None and self._open():
            self._live.refresh()
            if self.first_preview != self.first_preview:
                self.first_preview = time.monotonic() - self.begun

    def _heard(self, state: medgs.FitState) -> None:
        self.latest = state
        self.news.emit(state)

    def _ended(self, outcome: Outcome[Fit]) -> None:
        fit, live, self._live = outcome.result, self._live, None
        fitted = None
        self._session.end()
        if self._stopped is not None and (fit is None or outcome.error):
            self._session.add(self._stopped)
        if fit is not None:
            order = self.order
            fitted = Fitted(
                order.name, fit.model, order.frames, order.source_id, order.source_name, fit.checkpoint, order.recipe
            )
            self._session.add(fitted)
        if outcome.error:
            complain(outcome.error)
        if live is not None and self._open() and not attempt(lambda: live.finish(fitted)):
            live.finish(None)
        if fitted is not None and self._open():
            attempt(lambda: self._show_labels(fitted, outcome))
        self.ended.emit(fitted, outcome)

    def _show_labels(self, fitted: Fitted, outcome: Outcome[Fit]) -> None:
        """Show the labels of a fit that has some."""
        labels = None if outcome.result is None else outcome.result.labels
        if labels is None:
            return
        painted = self.order.labels
        layer_id = "" if painted is None else painted.layer_id
        layer = next((one for one in self._viewer.layers if one.unique_id == layer_id), None)
        if layer is not None:
            layer.metadata[GRID] = grid_of(fitted)  # so that it is saved where the model's file stands
        show_labels(self._viewer, fitted, labels, layer)

    def _open(self) -> bool:
        return self._window is None or bool(isalive(self._window))


def resume_order(fitted: Fitted, *, factor: int, chosen: Preferences) -> Order:
    """Return the order to go on with a stopped model of the list."""
    import medgs_core as medgs

    return Order(
        name=fitted.name,
        source_id=fitted.source_id,
        source_name=fitted.source_name,
        picks=(),
        frames=fitted.frames,
        recipe=fitted.recipe,
        config=medgs.FitConfig(**fitted.model.provenance["settings"]),
        factor=factor,
        seconds=chosen.preview_seconds,
        most_bytes=chosen.most_bytes,
        resumed=Fit(fitted.model, fitted.checkpoint),
    )
