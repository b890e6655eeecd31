"""Which slices of the painted layer count, or what is still to be painted, in a sentence that follows the brush."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel

from medgs_napari._jobs import Job, Outcome, explain
from medgs_napari._label_task import Found, look_at_painted
from medgs_napari._segment_form import SegmentForm
from medgs_napari._ticker import Ticker

if TYPE_CHECKING:
    from napari.layers import Labels

DELAY_MILLISECONDS = 400
"""After the last stroke; then the slices are counted."""

NOTHING_PAINTED = "Press New, and paint the structures on a few slices."


class PaintedNote(QLabel):
    """The sentence.

    Parameters
    ----------
    form : SegmentForm
        Where the layer, its grid and the settings are chosen.
    ticker : Ticker
        Follows the counting, which is done in a thread, one at a time.
    """

    counted = Signal()
    """Emitted when `enough` may have become another."""

    def __init__(self, form: SegmentForm, ticker: Ticker) -> None:
        super().__init__()
        self._form, self._ticker = form, ticker
        self._watched: Labels | None = None
        self._counting: Job[Found] | None = None
        self.enough = False
        """Whether enough is painted to be propagated, as far as is known."""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._delay = QTimer(self)
        self._delay.setSingleShot(True)
        self._delay.setInterval(DELAY_MILLISECONDS)
        self._delay.timeout.connect(self._count)
        form.changed.connect(self._watch)
        self._watch()

    def _watch(self) -> None:
        """Count after each stroke on the layer that is chosen."""
        layer = self._form.layer
        if layer is not self._watched:
            for one, chosen in ((self._watched, False), (layer, True)):
                if one is not None:
                    events = one.events
                    for event, heard in (
                        (events.paint, self._painted),
                        (events.labels_update, self._painted),
                        (events.data, self._painted),
                        (events.set_data, self._drawn),
                    ):
                        (event.connect if chosen else event.disconnect)(heard)
            self._watched = layer
            self._decide(False)
        self._delay.start()

    def _painted(self, event: Any = None) -> None:
        if isalive(self):
            self._decide(True)
            self._delay.start()

    def _drawn(self, event: Any = None) -> None:
        """Look again where too little was painted: a script that paints tells no more than this."""
        if isalive(self) and not self.enough:
            self._delay.start()

    def _decide(self, enough: bool) -> None:
        self.enough = enough
        self.counted.emit()

    def _count(self) -> None:
        if self._counting is not None and self._counting.running:
            self._delay.start()
            return
        try:
            self._counting = self._counting_job()
        except Exception as error:  # labels may be read from a disk, or computed, now
            self.setText(explain(error))
            self._decide(True)  # so that trying tells it again
            return
        if self._counting is None:
            self.setText(NOTHING_PAINTED)
            return
        self._counting.ended.connect(self._told)
        self._ticker.follow(self._counting)

    def _counting_job(self) -> Job[Found] | None:
        """Return the job that counts, None while there is nothing to count."""
        form, painted = self._form, self._form.layer
        grid = form.grid()
        if painted is None or grid is None:
            return None
        labels, config = grid.label_volume(painted), form.label_config()
        axis, with_image = grid.frame.volume_axis, form.source.fitted is not None or form.source.image is not None
        return Job(lambda job: look_at_painted(labels, axis, config, with_image=with_image))

    def _told(self, outcome: Outcome[Found]) -> None:
        if isalive(self) and not self._delay.isActive():  # or there is more to be counted
            found = outcome.result or Found(outcome.error, enough=True)
            self.setText(found.words)
            self._decide(found.enough)
