import time

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel

import medgs_core as medgs
from medgs_napari._contours import NAME
from medgs_napari._measures import shown_row, table_text
from medgs_napari._mesh_files import ENDINGS
from medgs_napari._session import fitted_from_file, session_of
from medgs_napari._surface_form import LEVEL, MOST_SLICES, MOST_VOXELS, sampled_values
from medgs_napari._surface_widget import SurfaceWidget

from .conftest import SPACING, needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("complaints")]

TIMEOUT = 60_000
COARSE = 2.0


@pytest.fixture(scope="module")
def labeled(model):
    """Return the model with two labels."""
    drawn = np.zeros(model.volume.shape3d, np.uint8)
    for k in (2, 4, 6):
        drawn[10 : 20 + k, 10:25, k] = 1
        drawn[22 + k : 40, 8:30, k] = 4
    return medgs.fit_labels(model, medgs.Volume(drawn, model.volume.affine, "mm"))


@pytest.fixture
def fitted(viewer, labeled, scan):
    viewer.add_image(scan, name="scan", scale=SPACING)
    viewer.dims.set_current_step(0, 4)
    one = fitted_from_file(labeled, "scan.medgs")
    session_of(viewer).add(one)
    return one


@pytest.fixture
def dock(viewer, add_dock, fitted):
    widget = SurfaceWidget(viewer)
    widget.form.values["spacing"].value = str(COARSE)
    return add_dock(widget, "Surface")


def choose(dock, key):
    dock.form.what.setCurrentIndex(dock.form.what.findData(key))


def extracted(qtbot, dock):
    dock.extract.click()
    qtbot.waitUntil(lambda: dock.panel.job is None, timeout=TIMEOUT)


def names(viewer):
    return [layer.name for layer in viewer.layers if layer.name not in ("scan", NAME)]


def contours(viewer):
    return viewer.layers[NAME].data if NAME in viewer.layers else np.empty((0, 2, 3))


def test_what_a_model_has_is_offered(dock):
    offered = [dock.form.what.itemText(k) for k in range(dock.form.what.count())]
    assert offered == ["all labels", "label 1", "label 4", "intensity level"]


def test_a_length_is_asked_for_in_the_unit_of_the_image(dock):
    texts = [one.text() for one in dock.form.findChildren(QLabel)]
    assert "Distance of samples, mm" in texts


def test_each_label_becomes_a_layer_and_a_row(qtbot, viewer, dock, labeled):
    extracted(qtbot, dock)
    assert names(viewer) == ["scan label 1", "scan label 4"]
    surfaces = medgs.extract_surfaces(labeled, spacing=COARSE)
    table = dock.measures.table
    assert [table.item(k, 0).text() for k in range(2)] == ["label 1", "label 4"]
    assert table.item(0, 2).text() == shown_row(surfaces[0])[2]
    assert f"Centroid z, mm: {shown_row(surfaces[0])[-1]}" in table.item(0, 0).toolTip()
    layer = viewer.layers["scan label 1"]
    world = np.array([layer.data_to_world(vertex) for vertex in layer.data[0][:10]])
    np.testing.assert_allclose(world[:, ::-1], surfaces[0].vertices[:10], atol=1e-5)


def test_extracting_again_updates_the_layers(qtbot, viewer, dock):
    extracted(qtbot, dock)
    before = len(viewer.layers["scan label 1"].data[1])
    dock.form.values["faces"].value = "200"
    dock.form.values["smooth"].value = 5
    extracted(qtbot, dock)
    assert names(viewer) == ["scan label 1", "scan label 4"]
    assert len(viewer.layers["scan label 1"].data[1]) <= 200 < before


@pytest.mark.window
def test_a_level_has_one_layer_wherever_it_is_moved(qtbot, viewer, dock):
    choose(dock, LEVEL)
    assert not dock.form.level.isHidden()
    for level in (1000.0, 1500.0):
        dock.form.level.setValue(level)
        extracted(qtbot, dock)
    assert names(viewer) == ["scan level 1500"]


def test_the_contour_comes_when_a_surface_is_first_chosen(qtbot, viewer, dock):
    assert not dock.preview.isChecked()
    choose(dock, LEVEL)
    dock.form.level.setValue(1500.0)
    assert dock.preview.isChecked()
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    dock.preview.setChecked(False)
    dock.form.level.setValue(1600.0)
    assert not dock.preview.isChecked()
    qtbot.waitUntil(lambda: NAME not in viewer.layers, timeout=TIMEOUT)


@pytest.mark.window
def test_the_contour_follows_the_level_and_the_slider(qtbot, viewer, dock):
    dock.preview.setChecked(True)
    choose(dock, LEVEL)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    before = len(contours(viewer))
    dock.form.level.setValue(dock.form.level.value() * 1.3)
    qtbot.waitUntil(lambda: len(contours(viewer)) not in (0, before), timeout=TIMEOUT)
    viewer.dims.set_current_step(0, 5)
    qtbot.waitUntil(lambda: len(contours(viewer)) and np.all(contours(viewer)[:, 0, 0] == 5.0), timeout=TIMEOUT)
    assert viewer.layers.selection.active.name == "scan"
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: NAME not in viewer.layers, timeout=TIMEOUT)


def test_labels_have_contours_in_their_colors(qtbot, viewer, dock):
    dock.preview.setChecked(True)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    assert len(np.unique(viewer.layers[NAME].edge_color, axis=0)) == 2


def test_contours_that_are_deleted_do_not_come_back(qtbot, viewer, dock):
    dock.preview.setChecked(True)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    viewer.layers.remove(viewer.layers[NAME])
    assert not dock.preview.isChecked()
    viewer.dims.set_current_step(0, 5)
    qtbot.wait(300)
    assert NAME not in viewer.layers


def test_contours_that_are_hidden_follow_unseen(qtbot, viewer, dock):
    dock.preview.setChecked(True)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    viewer.layers[NAME].visible = False
    viewer.dims.set_current_step(0, 5)
    qtbot.waitUntil(lambda: len(contours(viewer)) and np.all(contours(viewer)[:, 0, 0] == 5.0), timeout=TIMEOUT)
    assert not viewer.layers[NAME].visible
    assert dock.preview.isChecked()
    viewer.layers[NAME].visible = True
    choose(dock, LEVEL)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)


@pytest.mark.window
def test_the_contour_goes_with_the_dock(qtbot, viewer, dock):
    dock.preview.setChecked(True)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.waitUntil(lambda: NAME not in viewer.layers, timeout=TIMEOUT)


def test_a_mistake_is_a_sentence_and_cannot_be_asked_for(dock):
    dock.form.values["faces"].value = "2"
    assert "Triangles, at most should be at least 4" in dock.status.text()
    assert not dock.extract.isEnabled()
    dock.form.values["faces"].value = ""
    assert dock.extract.isEnabled()


def test_what_the_core_refuses_is_told_and_the_button_stays(qtbot, viewer, dock, complaints):
    dock.form.values["faces"].value = "4"
    extracted(qtbot, dock)
    assert complaints[0].startswith("Triangles, at most must leave label_")
    assert dock.extract.isEnabled()
    assert not dock.extract.isHidden()
    assert names(viewer) == []


def test_a_cancelled_extraction_leaves_what_was_there(qtbot, viewer, dock, monkeypatch):
    def slow(model, config, report):
        for k in range(10_000):
            time.sleep(0.01)
            report(k, 10_000)

    monkeypatch.setattr(medgs, "extract_surfaces", slow)
    dock.extract.click()
    assert not dock.panel.cancel.isHidden()
    dock.panel.cancel.click()
    qtbot.waitUntil(lambda: dock.panel.job is None, timeout=TIMEOUT)
    assert names(viewer) == []
    assert not dock.extract.isHidden()


def test_the_table_is_copied_and_saved(qtbot, dock, tmp_path, monkeypatch, complaints):
    assert dock.measures.isHidden()
    extracted(qtbot, dock)
    dock.measures.copy.click()
    assert QApplication.clipboard().text() == table_text(dock.measures.surfaces, "\t")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "table"), ""))
    dock.measures.save.click()
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == table_text(dock.measures.surfaces, ",")
    dock.measures.save_file(str(tmp_path / "none" / "table.csv"))
    assert "needs a folder that takes files" in complaints[0]


def test_meshes_are_saved_in_the_format_that_is_chosen(qtbot, dock, tmp_path, monkeypatch):
    extracted(qtbot, dock)
    for ending in ENDINGS:
        chosen = str(tmp_path / "mesh"), f"{ending[1:].upper()} (*{ending})"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, chosen=chosen: chosen)
        dock.save.click()
        qtbot.waitUntil(lambda: dock.panel.job is None, timeout=TIMEOUT)
        assert (tmp_path / f"mesh{ending}").stat().st_size > 1000


def test_a_folder_that_takes_no_mesh_is_a_sentence(qtbot, dock, tmp_path, complaints):
    extracted(qtbot, dock)
    dock.save_file(str(tmp_path / "none" / "mesh.ply"))
    qtbot.waitUntil(lambda: dock.panel.job is None, timeout=TIMEOUT)
    assert len(complaints) == 1
    assert not dock.extract.isHidden()


def test_without_a_model_there_is_a_word_of_what_to_do(viewer, dock):
    dock.models.remove.click()
    assert "Train dock" in dock.status.text()
    assert not dock.extract.isEnabled()
    assert dock.form.what.count() == 0


def test_what_is_copied_extracts_the_same(qtbot, dock):
    choose(dock, 4)
    dock.form.values["smooth"].value = 10
    extracted(qtbot, dock)
    dock.copies.python.click()
    assert "medgs.extract_surface(model, label=4, spacing=2.0, smooth=10)" in QApplication.clipboard().text()
    dock.copies.command.click()
    assert (
        QApplication.clipboard().text()
        == "medgs surface scan.medgs -o surface.ply --label 4 --spacing 2.0 --smooth 10\n"
    )


@pytest.mark.parametrize("turn", [{"ndisplay": 3}, {"order": (1, 0, 2)}])
def test_the_contour_comes_back_with_the_slices(qtbot, viewer, dock, turn):
    dock.preview.setChecked(True)
    choose(dock, LEVEL)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    for name, value in turn.items():
        setattr(viewer.dims, name, value)
    qtbot.waitUntil(lambda: NAME not in viewer.layers, timeout=TIMEOUT)
    viewer.dims.ndisplay, viewer.dims.order = 2, (0, 1, 2)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    assert np.all(contours(viewer)[:, 0, 0] == 4.0)
    assert dock.preview.isChecked()


class Far:
    """Voxels that take a while to come: how many were asked for is remembered."""

    def __init__(self, shape):
        self.shape, self.read = shape, 0

    def __getitem__(self, key):
        counts = [len(range(n)[one]) for n, one in zip(self.shape, key, strict=False) if isinstance(one, slice)]
        self.read += int(np.prod(counts))
        return np.full(counts, key[2] if isinstance(key[2], int) else 0)


def test_the_range_of_levels_is_taken_from_a_few_slices_of_a_large_volume():
    far = Far((20_000, 10_000, 5_000))
    values = sampled_values(far, 2, 0)
    assert len(values) == far.read <= MOST_VOXELS
    assert (len(np.unique(values)), values.min(), values.max()) == (MOST_SLICES, 0, 4_999)


def test_a_level_begins_between_the_two_values_of_a_mask(qtbot, viewer, dock):
    mask = np.zeros((6, 20, 20), np.uint8)
    mask[1:5, 5:15, 5:15] = 1
    model = medgs.fit_model(medgs.Volume(mask.transpose(2, 1, 0), np.eye(4)), medgs.FitConfig(steps=5)).model
    session_of(viewer).add(fitted_from_file(model, "mask.medgs"))
    choose(dock, LEVEL)
    assert dock.form.level.value() == 0.5
    dock.extract.click()
    qtbot.waitUntil(lambda: bool(dock.measures.surfaces), timeout=TIMEOUT)


@pytest.mark.parametrize("how", ["slider", "number"])
def test_a_level_is_one_number_everywhere(qtbot, viewer, dock, how):
    choose(dock, LEVEL)
    getattr(dock.form.level, how).setValue(1234.567891)
    level = dock.form.level.value()
    assert level == {"slider": 1230.0, "number": 1234.5679}[how]
    extracted(qtbot, dock)
    assert names(viewer) == [f"scan level {level:.8g}"]
    assert [one.level for one in dock.measures.surfaces] == [level]
    dock.copies.command.click()
    assert f"--level {level} " in QApplication.clipboard().text()


def test_only_channels_that_there_are_can_be_chosen(dock):
    assert dock.form.values["channel"].max == 0


def test_a_small_volume_is_looked_at_as_a_whole(dock, scan):
    choose(dock, LEVEL)
    assert (dock.form.level.slider.minimum(), dock.form.level.slider.maximum()) == (scan.min(), scan.max())
    several = np.stack([scan, scan + 1], axis=-1)
    np.testing.assert_array_equal(np.sort(sampled_values(several, 1, 1)), np.sort(scan.ravel() + 1))


@pytest.mark.window
def test_the_contour_is_seen_while_the_dock_is(qtbot, viewer, add_dock, dock):
    other = add_dock(QLabel("other"), "Other")
    ours, theirs = (one.parent() for one in (dock, other))
    window = dock.window()
    window.tabifyDockWidget(ours, theirs)
    window.show()
    ours.raise_()
    qtbot.waitUntil(dock.isVisible, timeout=TIMEOUT)
    dock.preview.setChecked(True)
    qtbot.waitUntil(lambda: len(contours(viewer)) > 0, timeout=TIMEOUT)
    layer = viewer.layers[NAME]
    theirs.raise_()
    qtbot.waitUntil(lambda: not layer.visible, timeout=TIMEOUT)
    viewer.dims.set_current_step(0, 5)
    qtbot.wait(300)
    assert not layer.visible
    ours.raise_()
    qtbot.waitUntil(lambda: layer.visible and np.all(contours(viewer)[:, 0, 0] == 5.0), timeout=TIMEOUT)
    ours.hide()
    qtbot.waitUntil(lambda: not layer.visible, timeout=TIMEOUT)
    ours.show()
    qtbot.waitUntil(lambda: layer.visible, timeout=TIMEOUT)
    window.showMinimized()
    qtbot.wait(100)
    assert layer.visible
    window.showNormal()
    layer.visible = False  # the user's choice
    for one in (theirs, ours):
        one.raise_()
        qtbot.wait(100)
    assert not viewer.layers[NAME].visible
