import csv
import io

import numpy as np

import medgs_core as medgs
from medgs_napari._measures import head_of, row_of, shown_row, table_text

CORNERS = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0], [0, 0, 6]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
TETRAHEDRON = medgs.Surface(CORNERS, FACES, "um", label=3)


def test_a_row_says_what_a_surface_measures():
    # volume 6^3 / 6, area 3 * 18 + sqrt(3) / 4 * 72, centroid at a quarter of each side
    assert row_of(TETRAHEDRON) == ["label 3", "85.17691", "36", "yes", "1.5", "1.5", "1.5"]


def test_in_the_dock_numbers_have_no_powers_of_ten():
    large = medgs.Surface(CORNERS * 100, FACES, "um", label=3)
    assert shown_row(large)[:4] == ["label 3", "851,800", "36,000,000", "yes"]
    assert shown_row(TETRAHEDRON)[1:3] == ["85.18", "36"]


def test_an_open_surface_is_called_so():
    assert row_of(medgs.Surface(CORNERS, FACES[1:], "um", level=2.5))[::3][:2] == ["level 2.5", "no"]


def test_the_head_has_the_unit():
    assert head_of("mm")[1:4] == ["Area, mm²", "Volume, mm³", "Closed"]
    assert head_of("unknown")[4:] == ["Centroid x", "Centroid y", "Centroid z"]


def test_the_table_reads_back_as_csv():
    rows = list(csv.reader(io.StringIO(table_text([TETRAHEDRON, TETRAHEDRON], ","))))
    assert rows[0] == head_of("um")
    assert rows[1:] == [row_of(TETRAHEDRON)] * 2


def test_no_surfaces_are_an_empty_table():
    assert table_text([], "\t") == ""
