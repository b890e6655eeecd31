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


def head_of(unit: str) -> list[str]:
    """Return the titles of the columns."""
    units = ("", "", "") if unit == "unknown" else (f", {unit}²", f", {unit}³", f", {unit}")
    area, volume, length = units
    centroid = [f"Centroid {axis}{length}" for axis in "xyz"]
    return ["Surface", f"Area{area}", f"Volume{volume}", *centroid, "Watertight"]


def row_of(surface: medgs.Surface, digits: int = DIGITS) -> list[str]:
    """Return what a surface measures: its name, area, volume, the centroid of the volume, whether it is closed."""
    numbers = (surface.area, surface.volume, *surface.volume_centroid)
    name = surface.name.replace("_", " ")
    return [name, *(f"{number:.{digits}g}" for number in numbers), "yes" if surface.watertight else "no"]


def table_text(surfaces: Sequence[medgs.Surface], separator: str) -> str:
    """Return the table as text, tabs for a spreadsheet's clipboard, commas for a file."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    if surfaces:
        writer.writerow(head_of(surfaces[0].unit))
    writer.writerows(row_of(surface) for surface in surfaces)
    return text.getvalue()
