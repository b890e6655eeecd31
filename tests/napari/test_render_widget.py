import numpy as np
import pytest
from qtpy.QtWidgets import QApplication, QFileDialog

import medgs_core as medgs
from medgs_napari._render_widget import RenderWidget
from medgs_napari._session import Fitted, fitted_from_file, session_of

from .conftest import needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("complaints")]

TIMEOUT = 60_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def dock(viewer, model):
    session_of(viewer).add(fitted_from_file(model, "scan.medgs"))
    widget = RenderWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Interpolate")
    return widget


def choose(box, key):
    box.setCurrentIndex(box.findData(key))


def done(qtbot, dock):
    qtbot.waitUntil(lambda: dock.panel.job is None, timeout=TIMEOUT)


def test_a_virtual_layer_is_there_at_once(viewer, dock, model):
    assert dock.plan.text() == "33 slices, 0.75 mm apart, 9 of them measured."
    dock.interpolate.click()
    (layer,) = viewer.layers
    assert (layer.name, layer.multiscale) == ("scan interpolated", True)
    np.testing.assert_array_equal(np.asarray(layer.data[0][1]), medgs.render_slice(model, 0.25).T)


def test_a_streamed_layer_fills_up(qtbot, viewer, dock, model):
    choose(dock.form.shown_as, "streamed")
    dock.form.values["factor"].value = 2
    dock.interpolate.click()
    assert not dock.panel.cancel.isHidden()
    done(qtbot, dock)
    (layer,) = viewer.layers
    assert isinstance(layer.data, np.ndarray)
    np.testing.assert_array_equal(layer.data, medgs.render_volume(model, factor=2).voxels.transpose(2, 1, 0))
    assert dock.panel.cancel.isHidden()


def test_a_cancelled_stream_takes_its_layer_away(qtbot, viewer, dock, monkeypatch):
    import time

    monkeypatch.setattr("medgs_napari._stream.Filled.fill", lambda one, i: time.sleep(0.05))
    choose(dock.form.shown_as, "streamed")
    dock.interpolate.click()
    assert len(viewer.layers) == 1
    dock.panel.cancel.click()
    done(qtbot, dock)
    assert len(viewer.layers) == 0
    assert not dock.interpolate.isHidden()


def test_a_stream_goes_on_without_its_layer(qtbot, viewer, dock):
    choose(dock.form.shown_as, "streamed")
    dock.interpolate.click()
    viewer.layers.clear()
    done(qtbot, dock)
    assert len(viewer.layers) == 0


def test_a_stream_ends_with_its_dock(qtbot, viewer, dock, monkeypatch):
    import time

    monkeypatch.setattr("medgs_napari._stream.Filled.fill", lambda one, i: time.sleep(0.1))
    choose(dock.form.shown_as, "streamed")
    dock.interpolate.click()
    job = dock.panel.job
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.waitUntil(lambda: job.cancelled, timeout=TIMEOUT)
    qtbot.waitUntil(lambda: len(viewer.layers) == 0, timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("key", "field", "value", "slices"),
    [("spacing", "spacing", 1.0, 25), ("isotropic", None, None, 35), ("positions", "positions", "1, 1.5, 2", 3)],
)
def test_slices_lie_where_they_are_asked_for(viewer, dock, key, field, value, slices):
    choose(dock.form.sampling, key)
    if field:
        dock.form.values[field].value = value
    dock.interpolate.click()
    data = viewer.layers[0].data
    assert (data[0] if viewer.layers[0].multiscale else data).shape[0] == slices


def test_what_a_layer_cannot_show_is_told_and_cannot_be_asked_for(dock):
    choose(dock.form.sampling, "positions")
    for text, sentence in (
        ("0, 1, 3", "must be evenly spaced"),
        ("2, 1", "positions must increase"),
        ("0, 99", "positions must lie between"),
        ("one", "positions should be"),
        (" ", "Chosen positions are slice coordinates, got none"),
    ):
        dock.form.values["positions"].value = text
        assert sentence in dock.plan.text()
        assert not dock.interpolate.isEnabled()


def test_uncertainty_is_a_layer_of_its_own(qtbot, viewer, dock, model):
    dock.uncertainty.click()
    done(qtbot, dock)
    (layer,) = viewer.layers
    assert (layer.name, layer.colormap.name, layer.dtype) == ("scan uncertainty", "red", np.float32)
    np.testing.assert_array_equal(layer.data, medgs.render_uncertainty(model, factor=4).voxels.transpose(2, 1, 0))
    assert not layer.data[::4].any()


def test_a_model_without_its_source_has_no_uncertainty(qtbot, viewer, dock, model, tmp_path, complaints):
    medgs.save_model(model, tmp_path / "small.medgs", source=False)
    dock.models.load_file(str(tmp_path / "small.medgs"))
    qtbot.waitUntil(lambda: len(session_of(viewer).models) == 2, timeout=TIMEOUT)
    dock.uncertainty.click()
    done(qtbot, dock)
    assert "uncertainty needs a model with at least 3 measured slices" in complaints[0]
    assert not dock.uncertainty.isHidden()


def test_the_viewer_says_what_is_shown_until_it_is_told_not_to(viewer, dock):
    dock.interpolate.click()
    viewer.dims.set_current_step(0, 4)
    text = viewer.canvas.overlays.text
    assert text.text.startswith("MEASURED\nslice 1")
    dock.marks_box.setChecked(False)
    assert not text.visible


def test_the_words_go_with_the_dock(qtbot, viewer, dock):
    dock.interpolate.click()
    text = viewer.canvas.overlays.text
    assert text.visible
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.waitUntil(lambda: not text.visible, timeout=TIMEOUT)


class TestModels:
    def test_the_list_shows_name_source_and_scores(self, viewer, dock, model):
        item = dock.models.list.topLevelItem(0)
        assert [item.text(k) for k in range(3)] == ["scan", "scan.medgs", fitted_from_file(model, "x.medgs").score]

    def test_a_model_that_comes_is_chosen(self, viewer, dock, model):
        new = Fitted("new", model, fitted_from_file(model, "x.medgs").frames, source_name="elsewhere")
        session_of(viewer).add(new)
        assert dock.models.model is new
        dock.models.remove.click()
        assert dock.models.model.name == "scan"
        dock.models.remove.click()
        assert dock.models.model is None
        assert not dock.interpolate.isEnabled()
        assert "Train dock" in dock.plan.text()

    def test_save_and_load_give_the_same_model(self, qtbot, viewer, dock, model, tmp_path, monkeypatch):
        path = str(tmp_path / "kept.medgs")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (path.removesuffix(".medgs"), ""))
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (path, ""))
        dock.models.save.click()
        qtbot.waitUntil(lambda: session_of(viewer).models[0].path == path, timeout=TIMEOUT)
        dock.models.load.click()
        qtbot.waitUntil(lambda: len(session_of(viewer).models) == 2, timeout=TIMEOUT)
        assert medgs.model_hash(session_of(viewer).models[1].model) == medgs.model_hash(model)
        assert dock.models.model.name == "kept"

    def test_a_file_that_is_no_model_is_a_sentence(self, qtbot, dock, tmp_path, complaints):
        (tmp_path / "bad.medgs").write_bytes(b"nothing")
        dock.models.load_file(str(tmp_path / "bad.medgs"))
        qtbot.waitUntil(lambda: len(complaints) == 1, timeout=TIMEOUT)
        assert "bad.medgs" in complaints[0]

    def test_a_folder_that_takes_no_file_is_a_sentence(self, qtbot, viewer, dock, tmp_path, complaints):
        dock.models.save_file(session_of(viewer).models[0], str(tmp_path / "none" / "x.medgs"))
        qtbot.waitUntil(lambda: len(complaints) == 1, timeout=TIMEOUT)


def test_what_is_copied_renders_the_same(dock):
    assert dock.copies.isHidden()
    choose(dock.form.sampling, "isotropic")
    dock.interpolate.click()
    dock.copies.python.click()
    assert "render_volume(model, isotropic=True)" in QApplication.clipboard().text()
    dock.copies.command.click()
    assert QApplication.clipboard().text() == "medgs render scan.medgs -o fine.nii.gz --isotropic\n"
