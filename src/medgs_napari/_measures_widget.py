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
        horizontal.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.copy = button("Copy table", "Put the table on the clipboard, for a spreadsheet.", self._copy)
        self.save = button("Save table …", "Write the table to a CSV file.", self._ask_save)
        layout = bare_column(self)
        layout.addWidget(self.table)
        layout.addLayout(row(self.copy, self.save))

    def show_surfaces(self, surfaces: Sequence[medgs.Surface]) -> None:
        """Show what these measure."""
        self.surfaces = tuple(surfaces)
        head = head_of(self.surfaces[0].unit) if self.surfaces else []
        self.table.setColumnCount(len(head))
        self.table.setHorizontalHeaderLabels(head)
        self.table.setRowCount(len(self.surfaces))
        for place, surface in enumerate(self.surfaces):
            for column, text in enumerate(shown_row(surface)):
                self.table.setItem(place, column, QTableWidgetItem(text))

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
