"""Which slices of the painted layer count as annotated, in a sentence that follows the brush."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel

import medgs_core as medgs
from medgs_napari._jobs import Job, Outcome, explain
from medgs_napari._label_task import describe_annotation
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

    def __init__(self, form: SegmentForm, ticker: Ticker) -> None:
        super().__init__()
        self._form, self._ticker = form, ticker
        self._watched: Labels | None = None
        self._counting: Job[str] | None = None
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
                    for event in (one.events.paint, one.events.labels_update, one.events.data):
                        (event.connect if chosen else event.disconnect)(self._painted)
            self._watched = layer
        self._delay.start()

    def _painted(self, event: Any = None) -> None:
        if isalive(self):
            self._delay.start()

    def _count(self) -> None:
        if self._counting is not None and self._counting.running:
            self._delay.start()
            return
        try:
            self._counting = self._counting_job()
        except Exception as error:  # labels may be read from a disk, or computed, now
            self.setText(explain(error))
            return
        if self._counting is None:
            self.setText(NOTHING_PAINTED)
            return
        self._counting.ended.connect(self._counted)
        self._ticker.follow(self._counting)

    def _counting_job(self) -> Job[str] | None:
        """Return the job that counts, None while there is nothing to count."""
        form, painted = self._form, self._form.layer
        grid = form.grid()
        if painted is None or grid is None:
            return None
        labels, config = grid.label_volume(painted), form.label_config()
        image = None if form.source.fitted is None and form.source.image is None else labels

        def work(job: Job[str]) -> str:
            found = medgs.annotate(
                labels,
                grid.frame.volume_axis,
                image=image,
                labeled_slices=config.labeled_slices,
                unlabeled=config.unlabeled_value,
            )
            return describe_annotation(found)

        return Job(work)

    def _counted(self, outcome: Outcome[str]) -> None:
        if isalive(self):
            self.setText(outcome.result or outcome.error)
