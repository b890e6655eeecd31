import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from qtpy.QtWidgets import QApplication

import medgs_core as medgs
from medgs_napari import _fit_widget
from medgs_napari._fit_form import FitForm
from medgs_napari._fit_widget import FitWidget
from medgs_napari._jobs import Outcome
from medgs_napari._live import FITTING
from medgs_napari._preferences import Preferences
from medgs_napari._rendered import frames_of_model
from medgs_napari._session import Fitted, fitted_from_file, session_of
from medgs_napari._ticker import POLL_MILLISECONDS
from medgs_napari._writers import write_nifti

from .conftest import SPACING, needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("complaints")]

TIMEOUT = 60_000


@pytest.fixture
def source(viewer, scan):
    return viewer.add_image(scan, scale=SPACING, units=("mm",) * 3, name="scan")


@pytest.fixture
def dock(viewer, source, add_dock):
    return open_dock(viewer, add_dock)


def open_dock(viewer, add_dock):
    widget = FitWidget(viewer)
    widget.form.plain["preset"].value = "fast"
    widget.form.advanced["steps"].value = "60"
    widget.form.factor.setValue(2)
    return add_dock(widget, "Train")


def slow(monkeypatch, seconds=0.05):
    """Make each step of a fit take a while, and report it."""
    from medgs_core.descent import Phase

    step = Phase.step

    def slowly(*arguments):
        time.sleep(seconds)
        return step(*arguments)

    monkeypatch.setattr(Phase, "step", slowly)


class Never:
    """Stops a fit before its first step."""

    cancelled, paused = True, False

    def report(self, state):
        """Hear nothing."""


def shown(*widgets):
    return [not widget.isHidden() for widget in widgets]


def ended(qtbot, dock):
    qtbot.waitUntil(lambda: dock.run is None, timeout=TIMEOUT)


def stepping(qtbot, dock):
    qtbot.waitUntil(lambda: dock.run.latest is not None and dock.run.latest.step > 0, timeout=TIMEOUT)


def test_opening_loads_neither_torch_nor_opencv():
    probe = (
        "import sys, medgs_napari._fit_widget, medgs_napari._render_widget;"
        "print([m for m in ('torch', 'cv2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_fit_from_start_to_a_layer_that_renders(qtbot, viewer, dock, source):
    assert shown(dock.start, dock.pause, dock.stop, dock.resume) == [True, False, False, False]
    dock.start.click()
    assert shown(dock.start, dock.pause, dock.stop, dock.resume) == [False, True, True, False]
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=TIMEOUT)
    layer = viewer.layers[1]
    assert layer.data[0].shape == (17, 40, 48)
    ended(qtbot, dock)
    assert layer.name == "scan x2"
    np.testing.assert_allclose(layer.scale, (1.5, *SPACING[1:]))
    assert layer.contrast_limits == source.contrast_limits
    (fitted,) = session_of(viewer).models
    np.testing.assert_array_equal(np.asarray(layer.data[0][5]), medgs.render_slice(fitted.model, 2.5).T)
    np.testing.assert_array_equal(np.asarray(layer.data[0])[::2], source.data)
    assert shown(dock.start, dock.resume, dock.copies) == [True, False, True]
    assert dock.bar.value() == dock.bar.maximum() == 1
    assert dock.status.text().startswith("Done. Hidden slices were predicted at ")


@pytest.mark.parametrize(("given", "kept"), [(bool, np.uint8), (np.float16, np.float32)])
def test_masks_and_half_precision_are_fitted_and_saved(qtbot, viewer, add_dock, tmp_path, given, kept, complaints):
    voxels = np.zeros((9, 40, 48), given)
    for k, plane in enumerate(voxels):
        plane[8 + k : 30, 10 : 30 + k] = 1
    source = viewer.add_image(voxels, name="mask", scale=SPACING)
    dock = open_dock(viewer, add_dock)
    dock.start.click()
    ended(qtbot, dock)
    layer = viewer.layers["mask x2"]
    np.testing.assert_array_equal(np.asarray(layer.data[0])[::2], voxels)
    assert layer.contrast_limits == source.contrast_limits
    for one in (source, layer):
        (path,) = write_nifti(str(tmp_path / f"{one.name}.nii"), *one.as_layer_data_tuple()[:2])
        read = medgs.read_volume(path).voxels
        assert read.dtype == kept
        finest = one.data[0] if one.multiscale else one.data
        np.testing.assert_array_equal(read.transpose(2, 1, 0), np.asarray(finest))
    assert complaints == []


def test_what_is_copied_names_the_settings(qtbot, dock):
    dock.start.click()
    ended(qtbot, dock)
    dock.copies.python.click()
    text = QApplication.clipboard().text()
    assert "medgs.FitConfig(axis='2', preset='fast', steps=60)" in text
    dock.copies.command.click()
    assert "medgs fit scan.nii.gz" in QApplication.clipboard().text()


def test_the_plan_is_told_before_the_start_or_why_there_is_none(qtbot, dock, monkeypatch):
    qtbot.waitUntil(lambda: "Gaussians" in dock.plan.text(), timeout=TIMEOUT)
    assert "9 slices of 48 × 40 pixels, 1 of them hidden" in dock.plan.text()
    assert "60 steps" in dock.plan.text()
    dock.form.advanced["hide"].value = "99"
    qtbot.waitUntil(lambda: "Slices kept for a test should be at most" in dock.plan.text(), timeout=TIMEOUT)
    with monkeypatch.context() as broken:
        broken.setattr("medgs_napari._fit_form.pick", lambda *_: Path("gone.h5").read_bytes())
        dock.form.advanced["hide"].value = "2"
        qtbot.waitUntil(lambda: "must be within reach, got" in dock.plan.text(), timeout=TIMEOUT)
    dock.form.advanced["hide"].value = "some"
    qtbot.waitUntil(lambda: "Slices kept for a test should be a whole number" in dock.plan.text(), timeout=TIMEOUT)
    dock.form.advanced["hide"].value, dock.form.advanced["skip"].value = "", "0"
    qtbot.waitUntil(lambda: "Bad slices to skip should leave the first" in dock.plan.text(), timeout=TIMEOUT)


class TestEstimate:
    def measured(self, qtbot, dock):
        qtbot.waitUntil(lambda: "It takes" in dock.plan.text(), timeout=TIMEOUT)

    def test_the_time_is_told_before_the_start_and_measured_once(self, qtbot, dock, monkeypatch):
        probes, probe = [], medgs.probe_fit
        monkeypatch.setattr("medgs_core.probe_fit", lambda *a, **s: probes.append(a) or probe(*a, **s))
        self.measured(qtbot, dock)
        dock.form.advanced["seed"].value = 5
        dock.form.factor.setValue(3)
        qtbot.wait(900)
        self.measured(qtbot, dock)
        assert len(probes) == 1
        dock.form.plain["preset"].value = "balanced"
        qtbot.waitUntil(lambda: len(probes) == 2, timeout=TIMEOUT)
        self.measured(qtbot, dock)

    @pytest.mark.parametrize("action", ["start", "choose"])
    def test_a_start_or_another_choice_ends_the_measurement(self, qtbot, dock, monkeypatch, action):
        ended_by = []

        def endless(*arguments, progress, **settings):
            while not progress.cancelled:
                time.sleep(0.01)
            ended_by.append(action)
            raise ValueError("nobody hears of this")

        with monkeypatch.context() as patch:
            patch.setattr("medgs_core.probe_fit", endless)
            qtbot.waitUntil(lambda: dock.plan.text().endswith(_fit_widget.MEASURING), timeout=TIMEOUT)
            if action == "start":
                dock.start.click()
                assert not dock.plan.text().endswith(_fit_widget.MEASURING)
                ended(qtbot, dock)
            else:
                dock.form.plain["preset"].value = "balanced"
            qtbot.waitUntil(lambda: ended_by == [action], timeout=TIMEOUT)
        self.measured(qtbot, dock)

    def test_a_fit_over_the_limit_says_so_and_is_refused(self, qtbot, viewer, dock, monkeypatch, complaints):
        monkeypatch.setattr("medgs_napari._fit_form.preferences", lambda: Preferences(memory_gib=0.001))
        dock.form.advanced["gaussians"].value = "500"
        qtbot.waitUntil(lambda: dock.plan.text().startswith("A fit may take 1 MiB of memory at most"), timeout=TIMEOUT)
        dock.start.click()
        ended(qtbot, dock)
        assert complaints == [dock.plan.text()]
        assert [layer.name for layer in viewer.layers] == ["scan"]


class TestLabels:
    @pytest.fixture
    def painted(self, viewer, dock, scan):
        data = np.zeros(scan.shape, np.uint8)
        data[[0, 4, 8], 8:20, 10:22] = 2
        layer = viewer.add_labels(data, scale=SPACING, units=("mm",) * 3, name="painted")
        dock.form.labels.choose(layer)
        return layer

    def test_labels_are_none_at_first(self, viewer, dock, scan):
        viewer.add_labels(np.zeros(scan.shape, np.uint8), scale=SPACING)
        assert dock.form.labels.layer is None
        assert dock.form.order().labels is None

    def test_a_fit_with_labels_shows_them_on_all_slices(self, qtbot, viewer, dock, painted):
        dock.start.click()
        ended(qtbot, dock)
        (fitted,) = session_of(viewer).models
        assert fitted.model.labels.annotation.annotated == (0, 4, 8)
        layer = viewer.layers["scan propagated"]
        assert (layer.data[2] == 2).any()
        np.testing.assert_array_equal(layer.data[4], painted.data[4])
        assert viewer.layers.index(painted) > viewer.layers.index(layer)

    def test_what_is_copied_has_them(self, qtbot, dock, painted):
        dock.start.click()
        ended(qtbot, dock)
        dock.copies.command.click()
        assert " --labels painted.nii.gz " in QApplication.clipboard().text()

    def test_labels_with_other_voxels_are_refused_at_once(self, dock, painted, complaints):
        painted.scale = (1, 1, 1)
        dock.start.click()
        assert dock.run is None
        assert complaints[0].startswith("Labels must have the voxels of the image they are for")

    def test_they_may_be_deleted_while_they_are_fitted(self, qtbot, viewer, dock, painted, monkeypatch):
        slow(monkeypatch, 0.01)
        dock.start.click()
        stepping(qtbot, dock)
        viewer.layers.remove(painted)
        ended(qtbot, dock)
        assert "scan propagated" in viewer.layers


class TestAnotherImage:
    """What is told of a fit is told beside its own image."""

    @pytest.fixture
    def other(self, viewer, dock, scan):
        return viewer.add_image(scan[::-1], scale=SPACING, units=("mm",) * 3, name="other")

    def told(self, dock):
        return [one.isVisibleTo(dock) for one in (dock.bar, dock.status, dock.curve, dock.copies)]

    def test_how_a_fit_ended_is_told_while_its_image_is_chosen(self, qtbot, dock, source, other):
        assert self.told(dock) == [False] * 4
        dock.start.click()
        ended(qtbot, dock)
        assert self.told(dock) == [True] * 4
        dock.form.image.choose(other)
        assert self.told(dock) == [False] * 4
        assert not dock.start.isHidden()
        dock.form.image.choose(source)
        assert self.told(dock) == [True] * 4
        assert dock.status.text().startswith("Done.")

    def test_a_running_fit_is_told_of_whatever_is_chosen(self, qtbot, dock, source, other, monkeypatch):
        slow(monkeypatch, 0.01)
        dock.start.click()
        stepping(qtbot, dock)
        dock.form.image.choose(other)
        assert self.told(dock) == [True, True, True, False]
        assert shown(dock.pause, dock.stop) == [True, True]
        ended(qtbot, dock)
        assert self.told(dock) == [False] * 4
        dock.form.image.choose(source)
        assert self.told(dock) == [True] * 4

    @pytest.mark.parametrize("gone", ["deleted", "from a file"])
    def test_where_the_image_is_gone_it_is_told_until_another_one_is_chosen(
        self, qtbot, viewer, dock, source, other, model, gone, monkeypatch
    ):
        if gone == "deleted":
            slow(monkeypatch, 0.01)
            dock.start.click()
            stepping(qtbot, dock)
            viewer.layers.remove(source)
        else:
            config = medgs.FitConfig(axis="2", preset="fast", steps=20)
            stopped = medgs.fit_model(model.volume, config, progress=Never())
            session_of(viewer).add(fitted_from_file(stopped.model, "file.medgs", stopped.checkpoint))
            dock.resume.click()
        ended(qtbot, dock)
        assert self.told(dock)[:3] == [True] * 3
        viewer.add_image(np.zeros((3, 4, 5)), name="third")
        assert self.told(dock)[:3] == [True] * 3
        dock.form.image.setCurrentText("third")
        assert self.told(dock) == [False] * 4


def test_stop_keeps_the_model_and_resume_finishes_it(qtbot, viewer, dock, monkeypatch):
    with monkeypatch.context() as patch:
        slow(patch)
        dock.start.click()
        stepping(qtbot, dock)
        dock.stop.click()
        assert not dock.stop.isEnabled()
        ended(qtbot, dock)
    (fitted,) = session_of(viewer).models
    assert fitted.checkpoint is not None
    assert shown(dock.start, dock.resume) == [True, True]
    assert dock.status.text().startswith("Stopped; the model as it stands is kept.")
    assert [layer.name for layer in viewer.layers] == ["scan", "scan x2"]
    left = viewer.layers[1]
    dock.resume.click()
    ended(qtbot, dock)
    (finished,) = session_of(viewer).models
    assert list(viewer.layers)[1:] == [left]
    np.testing.assert_array_equal(np.asarray(left.data[0][5]), medgs.render_slice(finished.model, 2.5).T)
    unbroken = medgs.fit_model(finished.model.volume, medgs.FitConfig(axis="2", preset="fast", steps=60)).model
    assert medgs.model_hash(finished.model) == medgs.model_hash(unbroken)


def test_any_stopped_model_can_be_resumed(qtbot, viewer, dock, model):
    for name in ("first", "second"):
        stopped = medgs.fit_model(model.volume, medgs.FitConfig(axis="2", preset="fast", steps=20), progress=Never())
        known = Fitted(name, stopped.model, fitted_from_file(model, "x").frames, checkpoint=stopped.checkpoint)
        session_of(viewer).add(known)
        assert shown(dock.resume, dock.stopped) == [True, name == "second"]
    assert dock.stopped.currentText() == "second"
    dock.stopped.setCurrentText("first")
    dock.resume.click()
    ended(qtbot, dock)
    assert [(one.name, one.checkpoint is None) for one in session_of(viewer).models] == [
        ("second", False),
        ("first", True),
    ]
    assert shown(dock.resume, dock.stopped) == [True, False]


def test_a_stopped_model_stays_if_it_cannot_be_resumed(qtbot, viewer, dock, model, monkeypatch, complaints):
    stopped = medgs.fit_model(model.volume, medgs.FitConfig(axis="2", preset="fast", steps=20), progress=Never())
    known = Fitted("scan", stopped.model, fitted_from_file(model, "x").frames, checkpoint=stopped.checkpoint)
    session_of(viewer).add(known)
    monkeypatch.setattr("medgs_napari._fit_widget.preferences", lambda: Preferences(memory_gib=0.001))
    dock.resume.click()
    ended(qtbot, dock)
    assert complaints[0].startswith("A fit may take")
    assert session_of(viewer).models == [known]


def test_pause_holds_the_fit(qtbot, dock, monkeypatch):
    slow(monkeypatch, 0.02)
    dock.start.click()
    stepping(qtbot, dock)
    dock.pause.click()
    assert dock.pause.text() == "Go on"
    qtbot.wait(2 * POLL_MILLISECONDS)
    held = dock.run.latest.step
    qtbot.wait(2 * POLL_MILLISECONDS)
    assert dock.run.latest.step == held
    dock.pause.click()
    assert dock.pause.text() == "Pause"
    ended(qtbot, dock)


@pytest.mark.window
def test_the_source_may_be_renamed_and_deleted_while_it_is_fitted(qtbot, viewer, dock, source, monkeypatch):
    slow(monkeypatch, 0.01)
    dock.start.click()
    stepping(qtbot, dock)
    source.name = "other"
    viewer.add_image(np.zeros((3, 4, 5)), name="new")
    viewer.layers.remove(source)
    ended(qtbot, dock)
    (fitted,) = session_of(viewer).models
    assert (fitted.name, fitted.source_now(viewer.layers)) == ("scan", "scan (deleted)")
    assert [layer.name for layer in viewer.layers] == ["scan x2", "new"]


@pytest.mark.window
def test_the_preview_may_be_renamed_or_deleted(qtbot, viewer, dock, monkeypatch):
    slow(monkeypatch, 0.01)
    dock.start.click()
    stepping(qtbot, dock)
    assert viewer.layers[1].name == "scan" + FITTING
    viewer.layers[1].name = "mine"
    ended(qtbot, dock)
    assert viewer.layers[1].name == "mine"
    dock.start.click()
    stepping(qtbot, dock)
    viewer.layers.pop()
    ended(qtbot, dock)
    assert [layer.name for layer in viewer.layers] == ["scan", "mine"]
    assert len(session_of(viewer).models) == 2


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError(), torch.OutOfMemoryError("no memory")])
def test_after_an_error_the_buttons_work_again(qtbot, viewer, dock, monkeypatch, complaints, error):
    def fail(*arguments, **settings):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("medgs_core.fit_model", fail)
        dock.start.click()
        ended(qtbot, dock)
    (sentence,) = complaints
    assert sentence == dock.status.text()
    assert [layer.name for layer in viewer.layers] == ["scan"]
    assert shown(dock.start, dock.pause, dock.stop) == [True, False, False]
    dock.start.click()
    ended(qtbot, dock)
    assert len(session_of(viewer).models) == 1


def break_at(monkeypatch, number):
    """Let memory not be enough at a step of the next fit."""
    from medgs_core.descent import Phase

    step, count = Phase.step, iter(range(1000))

    def breaking(*arguments):
        if next(count) == number:
            raise torch.OutOfMemoryError("no memory")
        return step(*arguments)

    monkeypatch.setattr(Phase, "step", breaking)


def test_a_stopped_model_stays_beside_what_an_error_left_of_it(qtbot, viewer, dock, model, monkeypatch, complaints):
    stopped = medgs.fit_model(model.volume, medgs.FitConfig(axis="2", preset="fast", steps=60), progress=Never())
    known = Fitted("scan", stopped.model, fitted_from_file(model, "x").frames, checkpoint=stopped.checkpoint)
    session_of(viewer).add(known)
    break_at(monkeypatch, 45)
    dock.resume.click()
    ended(qtbot, dock)
    assert len(complaints) == 1
    first, second = session_of(viewer).models
    assert first is known
    assert (second.name, second.checkpoint) == ("scan [2]", None)


def test_an_error_on_the_way_keeps_the_last_snapshot(qtbot, viewer, dock, monkeypatch, complaints):
    break_at(monkeypatch, 45)
    dock.start.click()
    ended(qtbot, dock)
    assert len(complaints) == 1
    assert dock.status.text().endswith("The model as it was before is kept.")
    assert len(session_of(viewer).models) == 1
    assert viewer.layers[1].name == "scan x2"


def test_an_exact_prediction_has_no_decibels(model):
    exact = Fitted("a", replace(model, scores={"medgs": math.inf, "linear": math.inf}), ())
    assert _fit_widget._ending(exact, Outcome(None)) == "Done. Hidden slices were predicted exactly."


@pytest.mark.parametrize("stage", ["blank_layers", "first_look"])
def test_a_model_that_cannot_be_shown_is_kept(qtbot, viewer, dock, monkeypatch, complaints, stage):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(f"medgs_napari._live.{stage}", fail)
    dock.start.click()
    ended(qtbot, dock)
    assert len(complaints) == 1
    assert complaints[0].startswith("Memory must hold the image")
    assert [layer.name for layer in viewer.layers] == ["scan"]
    assert len(session_of(viewer).models) == 1
    assert dock.status.text().startswith("Done.")


def test_closing_the_viewer_ends_the_fit(qtbot, make_napari_viewer, scan, monkeypatch):
    slow(monkeypatch, 0.05)
    viewer = make_napari_viewer()
    viewer.add_image(scan, scale=SPACING, name="scan")
    dock = FitWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Train")
    dock.start.click()
    stepping(qtbot, dock)
    job = dock.run.job
    viewer.close()
    qtbot.waitUntil(lambda: job.cancelled, timeout=TIMEOUT)
    assert job.wait(30)
    qtbot.wait(500)


@pytest.mark.window
def test_a_fit_goes_on_when_its_dock_is_closed(qtbot, viewer, dock, add_dock, monkeypatch):
    slow(monkeypatch, 0.01)
    dock.start.click()
    stepping(qtbot, dock)
    session = session_of(viewer)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.wait(100)
    again = open_dock(viewer, add_dock)
    assert shown(again.start, again.stop) == [False, True]
    qtbot.waitUntil(lambda: session.run is None, timeout=TIMEOUT)
    assert len(session.models) == 1
    assert again.status.text().startswith("Done.")


def test_two_images_share_a_model(qtbot, viewer, dock, scan):
    viewer.add_image((scan / 4000).astype(np.float32), scale=SPACING, units=("mm",) * 3, name="second", colormap="red")
    dock.form.second.setCurrentText("second")
    dock.start.click()
    ended(qtbot, dock)
    names = [layer.name for layer in viewer.layers]
    assert names == ["scan", "second", "scan + second image 1 x2", "scan + second image 2 x2"]
    assert viewer.layers[3].colormap.name == "red"
    assert viewer.layers[3].data[0].dtype == np.float32


@pytest.mark.parametrize("first", ["scan", "color"])
def test_a_color_image_shares_a_model_with_another(qtbot, viewer, dock, scan, first, complaints):
    shades = (scan // 16).astype(np.uint8)
    color = np.stack([shades, shades // 2, 255 - shades], axis=3)
    viewer.add_image(color, scale=SPACING, units=("mm",) * 3, rgb=True, name="color")
    second = {"scan": "color", "color": "scan"}[first]
    dock.form.image.setCurrentText(first)
    dock.form.second.setCurrentText(second)
    dock.start.click()
    ended(qtbot, dock)
    assert complaints == []
    (fitted,) = session_of(viewer).models
    assert [layer.rgb for layer in viewer.layers[2:]] == [first == "color", second == "color"]
    for name, layer in zip((first, second), viewer.layers[2:], strict=True):
        np.testing.assert_array_equal(np.asarray(layer.data[0])[::2], viewer.layers[name].data, strict=True)
    assert [frame.rgb for frame in frames_of_model(fitted.model)] == [frame.rgb for frame in fitted.frames]


def test_images_on_other_grids_are_a_sentence(qtbot, viewer, dock, scan, complaints):
    viewer.add_image(scan, scale=(1, 1, 1), name="elsewhere")
    dock.form.second.setCurrentText("elsewhere")
    dock.start.click()
    ended(qtbot, dock)
    assert "must be on one grid" in complaints[0]


class TestChannels:
    """One layer with channels first, the commonest case in microscopy."""

    @pytest.fixture
    def cells(self, viewer, dock, scan):
        layer = viewer.add_image(
            np.stack([scan, scan[:, ::-1]]),
            scale=(1, *SPACING),
            units=("pixel", *["mm"] * 3),
            axis_labels=("c", "z", "y", "x"),
            name="cells",
        )
        dock.form.image.choose(layer)
        dock.form.axis.setCurrentIndex(dock.form.axis.findData(1))
        return layer

    def test_another_channel_of_the_same_layer_is_a_second_image(self, qtbot, viewer, dock, cells):
        assert dock.form.second_where.isHidden()
        dock.form.second.choose(cells)
        assert not dock.form.second_where.isHidden()
        order = dock.form.order()
        first = dock.form.where.steps(cells)[0]
        assert [one.steps[0] for one in order.picks] == [first, 1 - first]
        assert order.name == f"cells c={first} + c={1 - first}"
        dock.start.click()
        ended(qtbot, dock)
        (fitted,) = session_of(viewer).models
        for number, channel in enumerate((first, 1 - first)):
            np.testing.assert_array_equal(fitted.model.volume.voxels[..., number].T, cells.data[channel])

    def test_the_same_channel_twice_is_refused(self, dock, cells, complaints):
        dock.form.second.choose(cells)
        box = next(iter(dock.form.second_where._boxes.values()))
        box.setValue(dock.form.where.steps(cells)[0])
        dock.start.click()
        assert complaints == [
            "A second image must be another one, got 'cells' twice; choose another step of it, or none."
        ]

    def test_a_layer_without_channels_goes_with_one_channel(self, qtbot, viewer, dock, cells):
        dock.form.second.setCurrentText("scan")
        assert dock.form.second_where.isHidden()
        dock.start.click()
        ended(qtbot, dock)
        (fitted,) = session_of(viewer).models
        assert fitted.model.volume.channels == 2


class TestForm:
    def test_without_a_stack_there_is_nothing_to_start(self, qtbot, viewer, add_dock):
        viewer.add_image(np.zeros((5, 6)))
        dock = open_dock(viewer, add_dock)
        qtbot.waitUntil(lambda: dock.plan.text() != "", timeout=TIMEOUT)
        assert "Open a stack of slices" in dock.plan.text()
        assert not dock.start.isEnabled()

    def test_it_begins_with_what_the_user_prefers(self, viewer, monkeypatch):
        monkeypatch.setattr("medgs_napari._fit_form.preferences", lambda: Preferences("cpu", "quality", 9.0))
        form = FitForm(viewer)
        assert form.settings() == {"preset": "quality", "device": "cpu", "seed": 0}
        form.deleteLater()

    def test_names_follow_the_layers(self, viewer, dock, source):
        source.name = "renamed"
        assert dock.form.image.currentText() == "renamed"
        viewer.add_image(np.zeros((3, 4, 5)), name="more")
        assert dock.form.layer is source or dock.form.layer.unique_id == source.unique_id
        viewer.layers.remove("renamed")
        assert dock.form.image.currentText() == "more"

    def test_axes_are_named_and_the_likely_one_is_chosen(self, dock):
        assert dock.form.axis.currentText() == "z: 9 slices, every 3 mm"
        assert [dock.form.axis.itemData(k) for k in range(3)] == [0, 1, 2]

    def test_a_spacing_that_is_not_set_is_told_until_it_is(self, viewer, dock):
        assert dock.form.no_spacing.isHidden()
        layer = viewer.add_image(np.zeros((4, 5, 6)), name="bare")
        dock.form.image.setCurrentText("bare")
        assert not dock.form.no_spacing.isHidden()
        layer.scale = (3, 1, 1)
        assert dock.form.no_spacing.isHidden()
        assert dock.form.axis.currentText() == "z: 4 slices, every 3 px"
        viewer.add_image(np.zeros((4, 5, 6)), name="film", axis_labels=("t", "y", "x"))
        dock.form.image.setCurrentText("film")
        assert dock.form.no_spacing.isHidden()
        viewer.add_image(np.zeros((4, 5, 6)), name="even", units="mm")
        dock.form.image.setCurrentText("even")
        assert dock.form.no_spacing.isHidden()

    def test_other_axes_begin_at_what_is_shown(self, viewer, dock):
        layer = viewer.add_image(np.zeros((4, 5, 6, 7)), name="film", axis_labels=("t", "z", "y", "x"))
        viewer.dims.set_current_step(0, 2)
        dock.form.image.setCurrentText("film")
        assert not dock.form.where.isHidden()
        assert dock.form.order().picks[0].steps == (2, None, None, None)
        dock.form.axis.setCurrentIndex(dock.form.axis.findData(0))
        assert dock.form.order().picks[0].steps[0] is None
        assert layer.ndim == 4

    def test_axes_of_one_step_are_not_asked_for(self, viewer, dock):
        layer = viewer.add_image(np.zeros((1, 2, 5, 6, 7)), name="film", axis_labels=("t", "c", "z", "y", "x"))
        dock.form.image.setCurrentText("film")
        assert list(dock.form.where._boxes) == [1]
        dock.form.second.setCurrentText("film")
        assert [one.steps[:2] for one in dock.form.order().picks] == [(0, 0), (0, 1)]
        layer.data = layer.data[:, :1]
        viewer.add_image(np.zeros((5, 6, 7)), name="other")
        for name in ("other", "film"):
            dock.form.image.setCurrentText(name)
        assert dock.form.where.isHidden()

    def test_layers_to_be_computed_are_not_computed_for_the_plan(self, qtbot, viewer, dock):
        import dask.array

        viewer.add_image(dask.array.zeros((9, 40, 48), chunks=9), name="lazy", contrast_limits=(0, 1))
        dock.form.image.setCurrentText("lazy")
        qtbot.waitUntil(lambda: "read or computed as a whole" in dock.plan.text(), timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("step", "left", "scores", "text"),
    [
        (0, np.nan, {}, ""),
        (1, 900.0, {}, "step 1 of 100"),
        (30, 9.1, {}, "step 30 of 100, at most 9 s left"),
        (50, 4.2, {"medgs": 30.0}, "step 50 of 100, about 4 s left"),
    ],
)
def test_time_left_is_told_once_it_is_known_and_at_most_while_a_fit_may_end_early(step, left, scores, text):
    state = medgs.FitState("fitting", step, 100, seconds_left=left, scores=scores)
    assert _fit_widget._time_left(state) == text
