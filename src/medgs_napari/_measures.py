"""What surfaces measure, as a table: surfaces come in, a head and rows of text go out, for the dock or a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import medgs_core as medgs

DIGITS = 7
"""Of a number in a file: those that the coordinates of a scan have."""

SHOWN_DIGITS = 4
"""Of a number in the dock."""


def head_of(unit: str) -> list[str]:
    """Return the titles of the columns."""
    area, volume, length = ("", "", "") if unit == "unknown" else (f", {unit}²", f", {unit}³", f", {unit}")
    return ["Surface", f"Area{area}", f"Volume{volume}", "Closed", *(f"Centroid {axis}{length}" for axis in "xyz")]


def row_of(surface: medgs.Surface) -> list[str]:
    """Return what a surface measures, as a file has it: exact to `DIGITS`."""
    return [f"{cell:.{DIGITS}g}" if isinstance(cell, float) else cell for cell in _cells(surface)]


def shown_row(surface: medgs.Surface) -> list[str]:
    """Return the same as people read it: rounded, without powers of ten."""
    return [_readable(cell) if isinstance(cell, float) else cell for cell in _cells(surface)]


def _cells(surface: medgs.Surface) -> list[str | float]:
    """Return name, area, volume, whether it is closed, and the centroid of the volume."""
    closed = "yes" if surface.watertight else "no"
    return [surface.name.replace("_", " "), surface.area, surface.volume, closed, *surface.volume_centroid]


def _readable(number: float) -> str:
    rounded = float(f"{number:.{SHOWN_DIGITS}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (SHOWN_DIGITS - 1) else f"{rounded:g}"


def table_text(surfaces: Sequence[medgs.Surface], separator: str) -> str:
    """Return the table as text, tabs for a spreadsheet's clipboard, commas for a file."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    if surfaces:
        writer.writerow(head_of(surfaces[0].unit))
    writer.writerows(row_of(surface) for surface in surfaces)
    return text.getvalue()
