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
from medgs_napari._jobs import Job, Outcome
from medgs_napari._live import LiveLayers
from medgs_napari._qt import complain
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
    """

    news = Signal(object)
    """Emitted with a `FitState`, a few times per second."""

    ended = Signal(object, object)
    """Emitted with the `Fitted`, or None, and the `Outcome`."""

    def __init__(self, viewer: ViewerModel, session: Session, order: Order) -> None:
        self.order, self._session = order, session
        self._show, self._refresh = Relay(self._shown), Relay(self._refreshed)
        task = FitTask(order, self._show, self._refresh)
        self._live: LiveLayers | None = LiveLayers(viewer, task)
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
        self._window = _main_window(near)
        if self._window is not None:
            self._window.destroyed.connect(self.job.cancel)
        ticker.follow(self.job)

    def _shown(self) -> None:
        if self._live is not None and self._open():
            self._live.show()

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
        if live is not None and self._open():
            live.finish(fit)
        if fit is not None:
            order = self.order
            source_name = order.recipe.inputs[0].name
            fitted = Fitted(
                order.name, fit.model, order.frames, order.source_id, source_name, fit.checkpoint, order.recipe
            )
            self._session.add(fitted)
        if outcome.error:
            complain(outcome.error)
        self.ended.emit(fitted, outcome)

    def _open(self) -> bool:
        return self._window is None or bool(isalive(self._window))


def _main_window(widget: QWidget) -> QMainWindow | None:
    """Return the main window that a widget is in, also where its dock floats."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent
