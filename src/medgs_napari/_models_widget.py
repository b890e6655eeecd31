"""The list of fitted models: name, source, scores, what they are; load, save, rename, remove, show their Gaussians.

Part of the Interpolate dock. Files are read and written in a thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from medgs_napari._gaussians import MOST_POINTS, show_gaussians
from medgs_napari._jobs import Job, Outcome
from medgs_napari._qt import bare_column, button, complain, note, row, tell
from medgs_napari._session import ENDING, Fitted, Session, load_fitted, save_fitted
from medgs_napari._ticker import Ticker

if TYPE_CHECKING:
    from napari.components import ViewerModel

FILTER = f"MedGS models (*{ENDING})"
COLUMNS = ("Model", "Source", "Hidden slices, dB")
STOPPED = "*"
LIST_HEIGHT = 110


class ModelsWidget(QWidget):
    """The models of a session, one of which is chosen."""

    chosen = Signal()
    """Emitted when another one is chosen."""

    def __init__(self, viewer: ViewerModel, session: Session, ticker: Ticker) -> None:
        super().__init__()
        self._viewer, self._session, self._ticker = viewer, session, ticker
        self._renamed: Fitted | None = None
        self.list = QTreeWidget()
        self.list.setHeaderLabels(list(COLUMNS))
        self.list.setRootIsDecorated(False)
        self.list.setFixedHeight(LIST_HEIGHT)
        header = self.list.header()
        assert header is not None
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.load = button("Load …", "Add the model in a .medgs file to the list.", self._ask_load)
        self.save = button("Save …", "Write the chosen model to a .medgs file.", self._ask_save)
        self.rename = button(
            "Rename", "Give the chosen model another name; so does a double click.", self._begin_rename
        )
        self.remove = button("Remove", "Take the chosen model off the list; its layers stay.", self._remove)
        self.gaussians = button(
            "Gaussians",
            "Show the Gaussians of the chosen model as points, each in the color of its value.",
            self._points,
        )
        self.about = note()
        layout = bare_column(self)
        layout.addWidget(self.list)
        layout.addWidget(self.about)
        layout.addLayout(row(self.load, self.save, self.remove))
        layout.addLayout(row(self.rename, self.gaussians))
        self.list.setEditTriggers(QTreeWidget.EditTrigger.NoEditTriggers)
        self.list.itemDoubleClicked.connect(lambda *_: self._begin_rename())
        # the text of the item is that of the editor by then; items are replaced once the editor is gone
        self.list.itemDelegate().closeEditor.connect(lambda *_: QTimer.singleShot(0, self._end_rename))
        self.list.currentItemChanged.connect(lambda *_: self._sync_buttons())
        session.models_changed.connect(self.sync)
        viewer.layers.events.removed.connect(self.sync)
        self.sync()

    @property
    def model(self) -> Fitted | None:
        """The chosen model."""
        item = self.list.currentItem()
        place = -1 if item is None else self.list.indexOfTopLevelItem(item)
        return self._session.models[place] if 0 <= place < len(self._session.models) else None

    def sync(self, event: Any = None) -> None:
        """Show the list as it is now; a model that has just come is chosen."""
        if not isalive(self):
            return
        before, count = self.list.indexOfTopLevelItem(self.list.currentItem()), self.list.topLevelItemCount()
        self.list.blockSignals(True)
        self.list.clear()
        for fitted in self._session.models:
            texts = [fitted.name, fitted.source_now(self._viewer.layers), fitted.score]
            item = QTreeWidgetItem(texts)
            for column, text in enumerate(texts):
                item.setToolTip(column, f"{text}\n{fitted.describe()}")
            if fitted.checkpoint is not None:
                item.setText(0, f"{fitted.name} {STOPPED}")
            item.setFlags(Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsEditable)
            self.list.addTopLevelItem(item)
        total = len(self._session.models)
        place = total - 1 if total > count or before < 0 else min(before, total - 1)
        if place >= 0:
            self.list.setCurrentItem(self.list.topLevelItem(place))
        self.list.blockSignals(False)
        self._sync_buttons()

    def _sync_buttons(self) -> None:
        for widget in (self.save, self.rename, self.remove, self.gaussians):
            widget.setEnabled(self.model is not None)
        self.about.setText("" if self.model is None else self.model.describe())
        self.about.setVisible(self.model is not None)
        self.chosen.emit()

    def _begin_rename(self) -> None:
        fitted, item = self.model, self.list.currentItem()
        if fitted is not None:
            item.setText(0, fitted.name)  # without the star
            self._renamed = fitted
            self.list.editItem(item, 0)

    def _end_rename(self) -> None:
        if not isalive(self):
            return
        fitted, self._renamed = self._renamed, None
        if fitted is not None and fitted is self.model:
            self._session.rename(fitted, self.list.currentItem().text(0))
        self.sync()

    def _points(self) -> None:
        if self.model is not None:
            points, total = show_gaussians(self._viewer, self.model), len(self.model.model.gaussians)
            if len(points.data) == MOST_POINTS < total:
                tell(f"The {MOST_POINTS:,} weightiest of {total:,} Gaussians are shown.")

    def _ask_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load a model", "", FILTER)
        if path:
            self.load_file(path)

    def load_file(self, path: str) -> None:
        """Add the model in a file to the list."""

        def ended(outcome: Outcome[tuple[Fitted, str]]) -> None:
            if outcome.result is None:
                complain(outcome.error)
                return
            fitted, trouble = outcome.result
            self._session.add(fitted)
            if trouble:
                complain(trouble)

        self._follow(Job(lambda job: load_fitted(path)), ended)

    def _ask_save(self) -> None:
        fitted = self.model
        if fitted is None:
            return
        path, _ = QFileDialog.getSaveFileName(self, "Save the model", fitted.path or fitted.file_name, FILTER)
        if path:
            self.save_file(fitted, path if path.endswith(ENDING) else path + ENDING)

    def save_file(self, fitted: Fitted, path: str) -> None:
        """Write a model to a file."""

        def work(job: Job[bool]) -> bool:
            save_fitted(fitted, path)
            return True

        def ended(outcome: Outcome[bool]) -> None:
            if outcome.error:
                complain(outcome.error)
            else:
                self._session.saved(fitted, path)
                tell(f"Saved {Path(path).name}.")

        self._follow(Job(work), ended)

    def _follow(self, job: Job[Any], ended: Any) -> None:
        job.ended.connect(ended)
        self._ticker.follow(job)

    def _remove(self) -> None:
        if self.model is not None:
            self._session.remove(self.model)
