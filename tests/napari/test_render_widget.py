import shlex
import threading
import time

import numpy as np
import pytest
from napari.layers import Labels, Points
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QLineEdit

import medgs_core as medgs
from medgs_core.cli import main
from medgs_napari import _subject
from medgs_napari._jobs import Job
from medgs_napari._render_widget import RenderWidget
from medgs_napari._session import Fitted, fitted_from_file, session_of
from medgs_napari._writers import write_labels

from .conftest import needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("complaints")]

TIMEOUT = 60_000

NAMES = {"virtual": "", "streamed": " in memory", "folder": " on disk"}


@pytest.fixture
def dock(viewer, add_dock, model):
    session_of(viewer).add(fitted_from_file(model, "scan.medgs"))
    widget = RenderWidget(viewer)
    return add_dock(widget, "Interpolate")


def choose(box, key):
    box.setCurrentIndex(box.findData(key))


def done(qtbot, dock):
    qtbot.waitUntil(lambda: dock.panel.job is None, timeout=TIMEOUT)


@pytest.mark.window
def test_a_virtual_layer_is_there_at_once(viewer, dock, model):
    assert dock.plan.text() == "33 slices, 0.75 mm apart, 9 of them measured."
    dock.interpolate.click()
    (layer,) = viewer.layers
    assert (layer.name, layer.multiscale) == ("scan x4", True)
    np.testing.assert_array_equal(np.asarray(layer.data[0][1]), medgs.render_slice(model, 0.25).T)


@pytest.mark.window
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


@pytest.mark.window
def test_slices_beyond_those_shown_are_brought_into_view(viewer, dock):
    dock.interpolate.click()
    viewer.dims.set_current_step(0, 4)
    choose(dock.form.sampling, "positions")
    dock.form.values["positions"].value = "5, 5.5, 6"
    dock.interpolate.click()
    assert viewer.layers.selection.active.data.shape[0] == 3
    assert viewer.canvas.overlays.text.text == "MEASURED\nslice 5"


def hold_after(monkeypatch, count):
    """Let streams wait once some slices are there, until they are cancelled."""
    checkpoint, seen = Job.checkpoint, []

    def waiting(job):
        if seen.count(job) == count:  # another job makes the folders
            job._cancelled.wait()
        checkpoint(job)
        seen.append(job)

    monkeypatch.setattr(Job, "checkpoint", waiting)


def cancel_after(qtbot, dock, monkeypatch, count):
    """Press the button, and Cancel once some slices are there."""
    with monkeypatch.context() as held:
        hold_after(held, count)
        dock.interpolate.click()
        qtbot.waitUntil(lambda: dock._stream is not None, timeout=TIMEOUT)
        stream = dock._stream[0]
        qtbot.waitUntil(lambda: stream.ready.sum() == count, timeout=TIMEOUT)
        dock.panel.cancel.click()
        done(qtbot, dock)
    return stream


@pytest.fixture(params=["streamed", "folder"])
def streaming(request, dock, tmp_path):
    """Choose to stream, into memory or into a folder."""
    choose(dock.form.shown_as, request.param)
    dock.form.folder.setText(str(tmp_path / "fine"))
    dock.form.values["factor"].value = 2
    return request.param


def test_a_cancelled_stream_keeps_what_it_has_and_goes_on(qtbot, viewer, dock, model, monkeypatch, streaming):
    viewer.dims.events.current_step.disconnect(dock._moved)
    stream = cancel_after(qtbot, dock, monkeypatch, 3)
    (layer,) = viewer.layers
    shown = layer.data[0] if layer.multiscale else layer.data
    whole = medgs.render_volume(model, factor=2).voxels.transpose(2, 1, 0)
    np.testing.assert_array_equal(np.asarray(shown)[stream.ready], whole[stream.ready])
    assert not np.asarray(shown)[~stream.ready].any()
    assert not dock.interpolate.isHidden()
    for i, ready in enumerate(stream.ready):
        viewer.dims.set_current_step(0, i)
        assert viewer.canvas.overlays.text.text.startswith("NOT RENDERED YET") != ready
    assert f"{stream.ready.sum()} are there; the same button renders the others." in dock.plan.text()
    layer.name = "mine"
    dock.interpolate.click()
    done(qtbot, dock)
    assert [one.name for one in viewer.layers] == ["mine"]
    np.testing.assert_array_equal(np.asarray(shown), whole)
    assert not viewer.canvas.overlays.text.text.startswith("NOT RENDERED YET")


def test_a_stream_into_a_folder_is_a_volume_where_it_stands(qtbot, viewer, dock, model, tmp_path):
    dock.interpolate.click()
    (virtual,) = viewer.layers
    choose(dock.form.shown_as, "folder")
    dock.form.folder.setText(str(tmp_path / "fine.ome.zarr"))
    assert "on disk" in dock.plan.text()
    dock.interpolate.click()
    done(qtbot, dock)
    _, layer = viewer.layers
    for name in ("scale", "translate", "units", "axis_labels", "contrast_limits", "rgb"):
        assert np.all(getattr(layer, name) == getattr(virtual, name)), name
    np.testing.assert_array_equal(layer.affine.affine_matrix, virtual.affine.affine_matrix)
    assert layer.colormap.name == virtual.colormap.name
    written, expected = medgs.read_volume(tmp_path / "fine.ome.zarr"), medgs.render_volume(model, factor=4)
    np.testing.assert_array_equal(written.voxels, expected.voxels)
    np.testing.assert_array_equal(written.affine, expected.affine)
    dock.copies.command.click()
    assert QApplication.clipboard().text() == "medgs render scan.medgs -o fine.ome.zarr --factor 4\n"


def test_a_folder_that_was_begun_before_is_gone_on_with(qtbot, viewer, dock, model, tmp_path, monkeypatch):
    choose(dock.form.shown_as, "folder")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "fine.ome.zarr"), ""))
    begun = medgs.stream_volume(model, tmp_path / "fine.ome.zarr", factor=4)
    begun.fill(5)
    dock.interpolate.click()
    qtbot.waitUntil(lambda: dock._stream is not None, timeout=TIMEOUT)
    assert dock._stream[0].ready[5]
    done(qtbot, dock)
    assert medgs.read_volume(tmp_path / "fine.ome.zarr").voxels.shape[2] == 33


def test_without_a_folder_nothing_is_streamed(viewer, dock, monkeypatch):
    choose(dock.form.shown_as, "folder")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: ("", ""))
    dock.interpolate.click()
    assert dock.panel.job is None
    assert len(viewer.layers) == 0


def test_a_folder_of_something_else_is_a_sentence(qtbot, viewer, dock, tmp_path, complaints):
    medgs.write_volume(medgs.Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), tmp_path / "fine.ome.zarr")
    choose(dock.form.shown_as, "folder")
    dock.form.folder.setText(str(tmp_path / "fine.ome.zarr"))
    dock.interpolate.click()
    done(qtbot, dock)
    assert "must have a folder of its own" in complaints[0]
    assert len(viewer.layers) == 0


def test_a_failing_disk_is_a_sentence_and_what_was_rendered_stays(
    qtbot, viewer, dock, tmp_path, monkeypatch, complaints
):
    choose(dock.form.shown_as, "folder")
    dock.form.folder.setText(str(tmp_path / "fine.ome.zarr"))
    write, count = medgs.StreamedVolume.write_slice, []

    def failing(self, i, plane):
        if len(count) == 4:
            raise ValueError("The output must be writable, got No space left on device; make room.")
        count.append(i)
        write(self, i, plane)

    with monkeypatch.context() as broken:
        broken.setattr(medgs.StreamedVolume, "write_slice", failing)
        dock.interpolate.click()
        done(qtbot, dock)
    assert "make room" in complaints[0]
    assert len(viewer.layers) == 1
    assert medgs.open_volume(tmp_path / "fine.ome.zarr").written.sum() == 4
    dock.interpolate.click()
    done(qtbot, dock)
    assert len(viewer.layers) == 1
    assert medgs.open_volume(tmp_path / "fine.ome.zarr").written.all()


def test_slices_come_nearest_first_to_what_is_shown(qtbot, viewer, dock, monkeypatch, streaming):
    dock.form.values["factor"].value = 4
    viewer.add_image(np.zeros((33, 4, 4), np.uint8), scale=(0.75, 1, 1), units=("mm",) * 3)
    viewer.dims.set_current_step(0, 20)
    stream = cancel_after(qtbot, dock, monkeypatch, 5)
    assert np.flatnonzero(stream.ready).tolist() == [18, 19, 20, 21, 22]


def test_a_stream_goes_on_without_its_layer(qtbot, viewer, dock, streaming):
    dock.interpolate.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=TIMEOUT)
    viewer.layers.clear()
    done(qtbot, dock)
    assert len(viewer.layers) == 0


def test_without_its_layer_a_stream_goes_on_only_into_a_folder(qtbot, viewer, dock, monkeypatch, streaming):
    checkpoint = Job.checkpoint
    monkeypatch.setattr(Job, "checkpoint", lambda job: (time.sleep(0.1), checkpoint(job)))
    dock.interpolate.click()
    qtbot.waitUntil(lambda: dock._stream is not None, timeout=TIMEOUT)
    stream = dock._stream[0]
    viewer.layers.clear()
    done(qtbot, dock)
    assert stream.finished == (streaming == "folder")


@pytest.mark.window
def test_a_stream_ends_with_its_dock_and_keeps_its_layer(qtbot, viewer, dock, monkeypatch, streaming):
    hold_after(monkeypatch, 2)
    dock.interpolate.click()
    qtbot.waitUntil(lambda: dock._stream is not None, timeout=TIMEOUT)
    stream, job = dock._stream[0], dock.panel.job
    qtbot.waitUntil(lambda: stream.ready.sum() == 2, timeout=TIMEOUT)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.waitUntil(lambda: job.cancelled and not stream.running and not job.running, timeout=TIMEOUT)
    assert len(viewer.layers) == 1


def test_a_stream_ends_with_the_window(qtbot, make_napari_viewer, model, monkeypatch, tmp_path):
    viewer = make_napari_viewer()
    session_of(viewer).add(fitted_from_file(model, "scan.medgs"))
    dock = RenderWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Interpolate")
    choose(dock.form.shown_as, "folder")
    dock.form.folder.setText(str(tmp_path / "fine.zarr"))
    hold_after(monkeypatch, 2)
    dock.interpolate.click()
    qtbot.waitUntil(lambda: dock._stream is not None, timeout=TIMEOUT)
    stream, job = dock._stream[0], dock.panel.job
    qtbot.waitUntil(lambda: stream.ready.sum() == 2, timeout=TIMEOUT)
    viewer.close()
    qtbot.waitUntil(lambda: not stream.running and not job.running, timeout=TIMEOUT)
    assert medgs.open_volume(tmp_path / "fine.zarr").written.sum() == 2


@pytest.mark.parametrize("shown", ["virtual", "streamed", "folder"])
def test_the_same_choices_have_one_layer_and_others_another(qtbot, viewer, dock, tmp_path, shown):
    choose(dock.form.shown_as, shown)
    dock.form.folder.setText(str(tmp_path / "a.zarr"))
    for _ in range(2):
        dock.interpolate.click()
        done(qtbot, dock)
        viewer.layers[0].visible = False
    assert len(viewer.layers) == 1
    dock.interpolate.click()
    done(qtbot, dock)
    assert viewer.layers[0].visible
    dock.form.values["factor"].value = 2
    dock.form.folder.setText(str(tmp_path / "b.zarr"))
    dock.interpolate.click()
    done(qtbot, dock)
    assert len(viewer.layers) == 2
    assert viewer.layers.selection.active.name == viewer.layers[1].name


def test_uncertainty_that_is_there_is_not_rendered_again(qtbot, viewer, dock):
    dock.uncertainty.click()
    done(qtbot, dock)
    dock.uncertainty.click()
    done(qtbot, dock)
    assert len(viewer.layers) == 1


def test_the_window_does_not_wait_for_the_first_slice_of_uncertainty(qtbot, viewer, dock, monkeypatch):
    bounds, threads = _subject.brightest_bounds, []

    def watched(*arguments):
        threads.append(threading.current_thread())
        return bounds(*arguments)

    monkeypatch.setattr(_subject, "brightest_bounds", watched)
    dock.uncertainty.click()
    assert not dock.panel.cancel.isHidden()
    done(qtbot, dock)
    assert len(viewer.layers) == len(threads) == 1
    assert threads[0] is not threading.main_thread()


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


UNEVEN = (1.0, 1.25, 1.5, 3.0, 5.5)


@pytest.fixture(params=["virtual", "streamed", "folder"])
def uneven(request, dock, tmp_path):
    """Choose positions at uneven distances, and how they are kept."""
    choose(dock.form.sampling, "positions")
    dock.form.values["positions"].value = ", ".join(map(str, UNEVEN))
    choose(dock.form.shown_as, request.param)
    dock.form.folder.setText(str(tmp_path / "fine"))
    return request.param


@pytest.mark.parametrize("what", ["interpolate", "uncertainty", "labels"])
def test_uneven_positions_are_layers_each_at_its_place(qtbot, viewer, dock, marked, uneven, what, tmp_path):
    session_of(viewer).relabel(session_of(viewer).models[0], marked)
    assert dock.plan.text().startswith("5 slices, 2 of them measured, in 3 layers of even spacing")
    for _ in range(2):
        getattr(dock, what).click()
        done(qtbot, dock)
    word = {"interpolate": "", "uncertainty": " uncertainty", "labels": " labels"}[what]
    assert [one.name for one in viewer.layers] == [
        f"scan at {run}{word}{NAMES[uneven]}" for run in ("1, 1.25 .. 1.5", "3", "5.5")
    ]
    options = {"positions": UNEVEN, "labels": what == "labels"}
    render = medgs.render_uncertainty if what == "uncertainty" else medgs.render_volume
    wanted = render(marked, **options).voxels.transpose(2, 1, 0)
    data = [np.asarray(one.data[0] if one.multiscale else one.data) for one in viewer.layers]
    np.testing.assert_array_equal(np.concatenate(data), wanted)
    for layer, thickness, places in zip(viewer.layers, (0.25, 1, 1), ([1, 1.25, 1.5], [3], [5.5]), strict=True):
        assert layer.scale[0] == pytest.approx(thickness * 3.0)
        stand = [layer.data_to_world((k, 0, 0))[0] for k in range(len(places))]
        np.testing.assert_allclose(stand, np.array(places) * 3.0)
    if uneven == "folder":
        names = sorted(one.name for one in tmp_path.iterdir())
        assert names == [f"fine{word} at {run}.ome.zarr" for run in ("1 to 1.5", "3", "5.5")]
    if what == "uncertainty":
        assert len({tuple(one.contrast_limits) for one in viewer.layers}) == 1


def test_the_slider_shows_uneven_slices_and_nothing_in_between(viewer, dock):
    choose(dock.form.sampling, "positions")
    dock.form.values["positions"].value = ", ".join(map(str, UNEVEN))
    viewer.add_image(np.zeros((30, 4, 4)))
    viewer.dims.set_point(0, 28)
    dock.interpolate.click()
    _, run, lone, last = viewer.layers
    assert viewer.dims.point[0] == pytest.approx(5.5 * 3.0, abs=0.5)
    assert viewer.layers.selection.active.name == last.name
    for t, seen in ((1.0, run), (1.5, run), (3.0, lone), (5.5, last), (2.25, None), (7, None)):
        viewer.dims.set_point(0, t * 3.0)
        assert [one for one in (run, lone, last) if one._slice.image.raw.any()] == ([] if seen is None else [seen]), t


def test_a_stream_of_uneven_slices_begins_with_what_is_looked_at(qtbot, viewer, dock, monkeypatch):
    choose(dock.form.sampling, "positions")
    dock.form.values["positions"].value = ", ".join(map(str, UNEVEN))
    choose(dock.form.shown_as, "streamed")
    viewer.add_image(np.zeros((9, 4, 4), np.uint8), scale=(3.0, 1, 1), units=("mm",) * 3)
    viewer.dims.set_current_step(0, 3)
    stream = cancel_after(qtbot, dock, monkeypatch, 1)
    assert np.flatnonzero(stream.ready).tolist() == [3]
    assert "1 are there" in dock.plan.text()


@pytest.mark.parametrize("what", ["interpolate", "uncertainty"])
def test_what_is_copied_renders_the_same_uneven_slices(qtbot, viewer, dock, model, tmp_path, monkeypatch, uneven, what):
    monkeypatch.chdir(tmp_path)
    medgs.save_model(model, "scan.medgs")
    getattr(dock, what).click()
    done(qtbot, dock)
    render = medgs.render_uncertainty if what == "uncertainty" else medgs.render_volume
    wanted = render(model, positions=UNEVEN).voxels
    ending = ".ome.zarr" if uneven == "folder" else ".nii.gz"
    dock.copies.python.click()
    exec(compile(QApplication.clipboard().text(), "copied", "exec"), {})
    names = [f"fine_at_{run}{ending}" for run in ("1_to_1.5", "3", "5.5")]
    np.testing.assert_array_equal(np.concatenate([medgs.read_volume(one).voxels for one in names], axis=2), wanted)
    dock.copies.command.click()
    commands = QApplication.clipboard().text().splitlines()
    assert len(commands) == 3
    for one in commands:
        assert main([*shlex.split(one)[1:], "--quiet"]) == 0
    stem = "uncertainty" if what == "uncertainty" else "fine"
    made = [medgs.read_volume(one.replace("fine", stem)).voxels for one in names]
    np.testing.assert_array_equal(np.concatenate(made, axis=2), wanted)


def test_what_a_layer_cannot_show_is_told_and_cannot_be_asked_for(dock):
    choose(dock.form.sampling, "positions")
    for text, sentence in (
        (", ".join(f"{k * k / 100}" for k in range(28)), "20 at most, got 27; give fewer positions, or a distance"),
        ("2, 1", "Chosen positions must increase"),
        ("0, 99", "Chosen positions must lie between"),
        ("one", "Chosen positions should be"),
        (" ", "Chosen positions are slice coordinates, got none"),
    ):
        dock.form.values["positions"].value = text
        assert sentence in dock.plan.text()
        assert not dock.interpolate.isEnabled()
        assert not dock.uncertainty.isEnabled()
    dock.form.values["positions"].value = "0, 1.5, 3"
    assert dock.interpolate.isEnabled()


def test_uncertainty_is_a_layer_of_its_own(qtbot, viewer, dock, model):
    dock.uncertainty.click()
    done(qtbot, dock)
    (layer,) = viewer.layers
    assert (layer.name, layer.colormap.name, layer.dtype) == ("scan x4 uncertainty", "red", np.float32)
    bounds = medgs.render_uncertainty(model, factor=4).voxels.transpose(2, 1, 0)
    np.testing.assert_array_equal(np.asarray(layer.data), bounds)
    assert not bounds[::4].any()
    assert bounds[2].max() > layer.contrast_limits[1] * 0.5 > 0


@pytest.mark.parametrize("shown", ["streamed", "folder"])
def test_uncertainty_is_kept_as_the_slices_are(qtbot, viewer, dock, model, tmp_path, shown):
    choose(dock.form.shown_as, shown)
    dock.form.folder.setText(str(tmp_path / "fine"))
    dock.uncertainty.click()
    done(qtbot, dock)
    (layer,) = viewer.layers
    bounds = medgs.render_uncertainty(model, factor=4).voxels
    np.testing.assert_array_equal(np.asarray(layer.data), bounds.transpose(2, 1, 0))
    if shown == "folder":
        np.testing.assert_array_equal(medgs.read_volume(tmp_path / "fine uncertainty.ome.zarr").voxels, bounds)


def test_a_model_without_its_source_has_no_uncertainty(qtbot, viewer, dock, model, tmp_path, complaints):
    medgs.save_model(model, tmp_path / "small.medgs", source=False)
    dock.models.load_file(str(tmp_path / "small.medgs"))
    qtbot.waitUntil(lambda: len(session_of(viewer).models) == 2, timeout=TIMEOUT)
    dock.uncertainty.click()
    done(qtbot, dock)
    assert "uncertainty needs a model with at least 3 measured slices" in complaints[0]
    assert not dock.uncertainty.isHidden()


def mark(model, end):
    """Return a model with a label on three slices, as far as a column."""
    voxels = np.zeros(model.volume.shape3d, np.uint8)
    for k in (2, 4, 6):
        voxels[10 + k : end, 10:20, k] = 3
    return medgs.fit_labels(model, medgs.Volume(voxels, model.volume.affine, "mm"))


@pytest.fixture(scope="module")
def marked(model):
    return mark(model, 30)


class TestLabels:
    @pytest.fixture
    def labeled(self, viewer, dock, marked):
        """Return a model of the list with labels."""
        (fitted,) = session_of(viewer).models
        session_of(viewer).relabel(fitted, marked)
        return fitted

    def whole(self, fitted, factor=4):
        return medgs.render_volume(fitted.model, labels=True, factor=factor).voxels

    def test_only_a_model_with_labels_offers_them(self, viewer, dock, labeled, model):
        assert dock.labels.isEnabled()
        session_of(viewer).add(fitted_from_file(model, "bare.medgs"))
        assert not dock.labels.isEnabled()
        assert dock.interpolate.isEnabled()

    @pytest.mark.parametrize("shown", ["virtual", "streamed", "folder"])
    def test_they_stand_where_the_image_does_and_are_kept_as_it_is(self, qtbot, viewer, dock, labeled, tmp_path, shown):
        choose(dock.form.shown_as, shown)
        dock.form.folder.setText(str(tmp_path / "fine"))
        for pressed in (dock.interpolate, dock.labels, dock.labels):
            pressed.click()
            done(qtbot, dock)
        image, labels = viewer.layers
        assert isinstance(labels, Labels)
        assert labels.name == "scan x4 labels" + NAMES[shown]
        assert np.issubdtype(labels.dtype, np.integer)
        np.testing.assert_array_equal(labels.extent.world, image.extent.world)
        assert labels.units == image.units
        assert labels.axis_labels == image.axis_labels
        np.testing.assert_array_equal(np.asarray(labels.data), self.whole(labeled).transpose(2, 1, 0))
        if shown == "folder":
            np.testing.assert_array_equal(
                medgs.read_volume(tmp_path / "fine labels.ome.zarr").voxels, self.whole(labeled)
            )

    def test_the_corner_tells_painted_from_propagated(self, viewer, dock, labeled):
        dock.labels.click()
        for index, words in ((8, "PAINTED\nslice 2"), (9, "PROPAGATED\nbetween slices 2 and 3 (2.25)")):
            viewer.dims.set_current_step(0, index)
            assert viewer.canvas.overlays.text.text == words

    def test_labels_painted_anew_are_another_layer(self, viewer, dock, labeled, model):
        dock.labels.click()
        session_of(viewer).relabel(labeled, mark(model, 36))
        dock.labels.click()
        _, new = viewer.layers
        np.testing.assert_array_equal(np.asarray(new.data), self.whole(labeled).transpose(2, 1, 0))

    def test_a_cross_section_begins_with_what_was_painted_and_becomes_what_is_rendered(
        self, qtbot, viewer, dock, labeled
    ):
        dock.labels.click()
        (layer,) = viewer.layers
        viewer.dims.order = (1, 0, 2)
        viewer.dims.set_current_step(1, 15)
        whole = self.whole(labeled).transpose(2, 1, 0)[:, 15]
        np.testing.assert_array_equal(layer._slice.image.raw[8], whole[8])
        qtbot.waitUntil(lambda: np.array_equal(layer._slice.image.raw, whole), timeout=TIMEOUT)

    @pytest.mark.parametrize(("shown", "can_paint"), [("virtual", False), ("streamed", True), ("folder", False)])
    def test_only_what_is_in_memory_can_be_painted_on(self, qtbot, viewer, dock, labeled, tmp_path, shown, can_paint):
        choose(dock.form.shown_as, shown)
        dock.form.folder.setText(str(tmp_path / "fine"))
        dock.labels.click()
        done(qtbot, dock)
        assert viewer.layers[0].editable == can_paint

    def test_unfinished_labels_cannot_be_saved(self, qtbot, viewer, dock, labeled, monkeypatch, tmp_path):
        choose(dock.form.shown_as, "streamed")
        with monkeypatch.context() as held:
            hold_after(held, 3)
            dock.labels.click()
            qtbot.waitUntil(lambda: dock._stream is not None and dock._stream[0].ready.sum() == 3, timeout=TIMEOUT)
            dock.panel.cancel.click()
            done(qtbot, dock)
        with pytest.raises(OSError, match="must have all its slices to be saved"):
            write_labels(str(tmp_path / "a.nii"), *viewer.layers[0].as_layer_data_tuple()[:2])

    def test_what_is_copied_renders_the_same_labels(self, dock, labeled, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        medgs.save_model(labeled.model, "model.medgs")
        dock.labels.click()
        dock.copies.python.click()
        exec(compile(QApplication.clipboard().text(), "copied", "exec"), {})
        np.testing.assert_array_equal(medgs.read_volume("fine.nii.gz").voxels, self.whole(labeled))
        dock.copies.command.click()
        assert QApplication.clipboard().text() == "medgs render model.medgs -o fine.nii.gz --factor 4 --labels\n"

    def test_labels_alone_offer_nothing_else(self, viewer, dock, labeled):
        voxels = np.zeros((20, 24, 9), np.uint8)
        voxels[5:15, 5:15] = 1
        drawn = medgs.Volume(voxels, np.eye(4), "um")
        alone = medgs.fit_model(None, medgs.FitConfig(preset="fast", steps=10, axis="2"), labels=drawn).model
        session_of(viewer).add(fitted_from_file(alone, "alone.medgs"))
        assert dock.labels.isEnabled()
        assert not dock.interpolate.isEnabled()
        assert not dock.uncertainty.isEnabled()
        assert dock.plan.text() == "33 slices, 0.25 um apart, 9 of them painted."


def test_the_viewer_says_what_is_shown_until_it_is_told_not_to(viewer, dock):
    dock.interpolate.click()
    viewer.dims.set_current_step(0, 4)
    text = viewer.canvas.overlays.text
    assert text.text.startswith("MEASURED\nslice 1")
    dock.marks_box.setChecked(False)
    assert not text.visible


def test_the_words_have_a_background_while_the_slider_rests(qtbot, viewer, dock):
    dock.interpolate.click()
    text = viewer.canvas.overlays.text
    qtbot.waitUntil(lambda: text.box, timeout=TIMEOUT)
    viewer.dims.set_current_step(0, 5)
    assert not text.box  # drawing it anew is slow
    qtbot.waitUntil(lambda: text.box, timeout=TIMEOUT)


@pytest.mark.window
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

    def test_what_a_model_is_is_said_below_and_in_the_tips(self, viewer, dock):
        (fitted,) = session_of(viewer).models
        assert dock.models.about.text() == fitted.describe()
        assert fitted.describe() in dock.models.list.topLevelItem(0).toolTip(0)
        dock.models.remove.click()
        assert dock.models.about.isHidden()
        assert not dock.models.gaussians.isEnabled()

    @pytest.mark.parametrize("begin", ["button", "double click"])
    @pytest.mark.parametrize(("key", "name"), [(Qt.Key.Key_Return, "mine"), (Qt.Key.Key_Escape, "scan")])
    def test_a_model_is_renamed_in_its_place(self, qtbot, viewer, dock, model, begin, key, name):
        (fitted,) = session_of(viewer).models
        fitted.checkpoint = medgs.FitCheckpoint({}, {})
        dock.models.sync()
        assert dock.models.list.topLevelItem(0).text(0) == "scan *"
        if begin == "button":
            dock.models.rename.click()
        else:
            dock.models.list.itemDoubleClicked.emit(dock.models.list.topLevelItem(0), 1)
        editor = dock.models.list.findChild(QLineEdit)
        assert editor.text() == "scan"
        editor.setText("mine")
        qtbot.keyClick(editor, key)
        qtbot.waitUntil(lambda: dock.models.list.topLevelItem(0).text(0) == f"{name} *", timeout=TIMEOUT)
        assert fitted.name == name

    @pytest.mark.window
    def test_gaussians_are_points_in_one_layer(self, viewer, dock, model, monkeypatch):
        told = []
        monkeypatch.setattr("medgs_napari._models_widget.tell", told.append)
        for _ in range(2):
            dock.models.gaussians.click()
        (layer,) = viewer.layers
        assert isinstance(layer, Points)
        assert told == []
        monkeypatch.setattr("medgs_napari._models_widget.MOST_POINTS", len(layer.data))
        dock.models.gaussians.click()
        assert told == [f"The {len(layer.data):,} weightiest of {len(model.gaussians):,} Gaussians are shown."]

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
