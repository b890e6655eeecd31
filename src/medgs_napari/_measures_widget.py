"""The table of what surfaces measure, to be copied or saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

import medgs_core as medgs
from medgs_napari._measures import head_of, shown_row, table_text
from medgs_napari._qt import bare_column, button, complain, copy_text, row, tell

CSV = ".csv"
TABLE_HEIGHT = 130
SEEN_COLUMNS = 4
"""Of the table; the others are in the tooltip of a row, and in what is copied or saved."""


class MeasuresWidget(QWidget):
    """The table of the Surface dock: one row per surface."""

    def __init__(self) -> None:
        super().__init__()
        self.surfaces: tuple[medgs.Surface, ...] = ()
        self.table = QTableWidget()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setFixedHeight(TABLE_HEIGHT)
        vertical, horizontal = self.table.verticalHeader(), self.table.horizontalHeader()
        assert vertical is not None
        assert horizontal is not None
        vertical.hide()
        horizontal.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.copy = button("Copy table", "Put the table on the clipboard, for a spreadsheet.", self._copy)
        self.save = button("Save table …", "Write the table to a CSV file.", self._ask_save)
        layout = bare_column(self)
        layout.addWidget(self.table)
        layout.addLayout(row(self.copy, self.save))

    def show_surfaces(self, surfaces: Sequence[medgs.Surface]) -> None:
        """Show what these measure."""
        self.surfaces = tuple(surfaces)
        head = head_of(self.surfaces[0].unit) if self.surfaces else []
        self.table.setColumnCount(min(len(head), SEEN_COLUMNS))
        self.table.setHorizontalHeaderLabels(head[:SEEN_COLUMNS])
        self.table.setRowCount(len(self.surfaces))
        for place, surface in enumerate(self.surfaces):
            texts = shown_row(surface)
            rest = "\n".join(f"{title}: {text}" for title, text in zip(head, texts, strict=True))
            for column, text in enumerate(texts[:SEEN_COLUMNS]):
                item = QTableWidgetItem(text)
                item.setToolTip(rest)
                self.table.setItem(place, column, item)

    def _copy(self) -> None:
        copy_text(table_text(self.surfaces, "\t"), "Table")

    def _ask_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the table", f"surfaces{CSV}", f"Tables (*{CSV})")
        if path:
            self.save_file(path if path.lower().endswith(CSV) else path + CSV)

    def save_file(self, path: str) -> None:
        """Write the table to a CSV file."""
        try:
            Path(path).write_text(table_text(self.surfaces, ","), encoding="utf-8")
        except OSError as error:
            complain(f"The table needs a folder that takes files, got '{path}' ({error.strerror}); choose another one.")
            return
        tell(f"Saved {Path(path).name}.")
