import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._fit_run import resume_order
from medgs_napari._fit_task import FitTask
from medgs_napari._jobs import Job
from medgs_napari._preferences import Preferences
from medgs_napari._rendered import frames_of_model
from medgs_napari._session import (
    Fitted,
    Session,
    fitted_from_file,
    load_fitted,
    save_fitted,
    score_text,
    session_of,
)


def test_docks_of_one_viewer_share_a_session_and_viewers_do_not():
    one, other = ViewerModel(), ViewerModel()
    assert session_of(one) is session_of(one)
    assert session_of(one) is not session_of(other)


def test_a_session_goes_with_its_viewer():
    viewer = ViewerModel()
    session = weakref.ref(session_of(viewer))
    del viewer
    gc.collect()
    assert session() is None


def test_models_come_and_go_with_events(model):
    session, heard = Session(), []
    session.models_changed.connect(lambda: heard.append(len(session.models)))
    fitted = Fitted("scan", model, ())
    session.add(fitted)
    session.saved(fitted, "scan.medgs")
    session.remove(fitted)
    assert heard == [1, 1, 0]
    assert fitted.path == "scan.medgs"


def test_models_of_one_name_are_told_apart(model):
    session = Session()
    for _ in range(3):
        session.add(Fitted("scan", model, ()))
    assert [one.name for one in session.models] == ["scan", "scan [2]", "scan [3]"]


def test_a_model_is_renamed_to_what_no_other_is_called(model):
    session, told = Session(), []
    one, other = Fitted("scan", model, ()), Fitted("other", model, ())
    for fitted in (one, other):
        session.add(fitted)
    session.models_changed.connect(lambda: told.append(other.name))
    for name in ("scan", " mine ", "  ", "mine"):
        session.rename(other, name)
    assert told == ["scan [2]", "mine", "mine", "mine"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("brain MRI", "brain MRI.medgs"),
        ("a/b: c?\n", "a_b_ c__.medgs"),
        ("é" * 100, "é" * 60 + ".medgs"),
        (" . ", "model.medgs"),
    ],
)
def test_a_model_is_offered_a_file_name_that_any_system_takes(model, name, file):
    assert Fitted(name, model, ()).file_name == file


def test_what_a_model_is_is_said_in_words(model):
    fitted = Fitted("scan", model, ())
    count = f"{len(model.gaussians):,} Gaussians for 9 slices of 48 × 40"
    assert fitted.describe() == f"{count}; not saved."
    drawn = np.zeros(model.volume.shape3d, np.uint8)
    drawn[10:30, 10:30, ::4] = 3
    labeled = medgs.fit_labels(model, medgs.Volume(drawn, model.volume.affine, "mm"))
    bare = replace(labeled, has_source=False)
    fitted = Fitted("scan", bare, (), checkpoint=medgs.FitCheckpoint({}, {}), path="scan.medgs")
    words = "label 3; no measured slices; stopped early, the Train dock resumes it."
    assert fitted.describe() == f"{count}; {words}"


def test_the_source_is_known_after_renaming_and_after_deleting(model):
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 4, 5)), name="first")
    fitted = Fitted("m", model, (), source_id=layer.unique_id, source_name="first")
    layer.name = "second"
    assert fitted.source_now(viewer.layers) == "second"
    viewer.layers.clear()
    assert fitted.source_now(viewer.layers) == "first (deleted)"
    assert fitted_from_file(model, "/data/scan.medgs").source_now(viewer.layers) == "scan.medgs"


def test_one_fit_runs_at_a_time():
    session, heard = Session(), []
    session.run_changed.connect(lambda: heard.append(session.run))
    session.begin("fit")
    with pytest.raises(ValueError, match="One fit runs at a time, got another one"):
        session.begin("other")
    session.end()
    assert heard == ["fit", None]


def test_scores_are_told_beside_linear(model):
    assert score_text({"medgs": 27.26, "linear": 26.63}) == "27.3 (linear 26.6)"
    assert score_text({"linear": 26.63, "blend": 27.0}) == "none (linear 26.6)"
    assert score_text({}) == "none"
    assert "linear" in Fitted("m", model, ()).score


def test_a_model_from_a_file_stands_in_the_world_of_its_file(model):
    fitted = fitted_from_file(model, "/data/scan.medgs")
    assert (fitted.name, fitted.path) == ("scan", "/data/scan.medgs")
    np.testing.assert_allclose(fitted.frames[0].settings()["scale"], (3.0, 0.8, 0.7))
    assert fitted.frames[0].place["axis_labels"][fitted.frames[0].slice_axis] == "z"


class TestStoppedInAFile:
    """A fit that was stopped, saved, and goes on elsewhere."""

    SETTINGS = medgs.FitConfig(axis="2", preset="fast", steps=20)

    @pytest.fixture
    def scan_file(self, model, tmp_path):
        medgs.write_volume(model.volume, tmp_path / "scan.nii.gz")
        return tmp_path / "scan.nii.gz"

    @pytest.fixture
    def stopped(self, scan_file):
        class After:
            paused, step = False, 0

            @property
            def cancelled(self):
                return self.step >= 5

            def report(self, state):
                self.step = state.step

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("medgs_core.fit.REPORT_SECONDS", -1.0)
            fit = medgs.fit_model(medgs.read_volume(scan_file), self.SETTINGS, progress=After())
        return Fitted("scan", fit.model, frames_of_model(fit.model), checkpoint=fit.checkpoint)

    def test_it_is_loaded_with_its_state_and_ends_as_an_unbroken_fit(self, stopped, scan_file, tmp_path):
        save_fitted(stopped, str(tmp_path / "scan.medgs"))
        loaded, trouble = load_fitted(str(tmp_path / "scan.medgs"))
        assert trouble == ""
        task = FitTask(resume_order(loaded, factor=2, chosen=Preferences()), lambda: None, lambda: None)
        job = Job(task)
        outcomes = []
        job.ended.connect(outcomes.append)
        job.start()
        job.wait()
        job.poll()
        unbroken = medgs.fit_model(medgs.read_volume(scan_file), self.SETTINGS).model
        assert outcomes[0].error == ""
        assert medgs.model_hash(outcomes[0].result.model) == medgs.model_hash(unbroken)

    def test_the_command_resumes_it(self, stopped, scan_file, tmp_path):
        from medgs_core.cli import main

        save_fitted(stopped, str(tmp_path / "scan.medgs"))
        words = ["fit", scan_file, "-o", tmp_path / "scan.medgs", "--axis", "2", "--preset", "fast", "--steps", "20"]
        assert main([*(str(word) for word in words), "--resume", "--quiet"]) == 0
        unbroken = medgs.fit_model(medgs.read_volume(scan_file), self.SETTINGS).model
        assert medgs.model_hash(medgs.load_model(tmp_path / "scan.medgs")) == medgs.model_hash(unbroken)
        assert not medgs.state_path(tmp_path / "scan.medgs").exists()

    def test_a_finished_model_in_its_place_takes_the_state_away(self, stopped, model, tmp_path):
        path = str(tmp_path / "scan.medgs")
        save_fitted(stopped, path)
        save_fitted(fitted_from_file(model, path), path)
        assert not medgs.state_path(path).exists()
        assert load_fitted(path)[0].checkpoint is None

    def test_a_damaged_state_is_told_and_the_model_is_loaded(self, stopped, tmp_path):
        path = str(tmp_path / "scan.medgs")
        save_fitted(stopped, path)
        medgs.state_path(path).write_bytes(b"nothing")
        loaded, trouble = load_fitted(path)
        assert loaded.checkpoint is None
        assert "scan.medgs.state" in trouble

    def test_the_state_of_another_image_is_told(self, stopped, model, tmp_path):
        path = str(tmp_path / "scan.medgs")
        save_fitted(stopped, path)
        elsewhere = replace(model.volume, unit="um")
        medgs.save_model(medgs.fit_model(elsewhere, medgs.FitConfig(axis="2", preset="fast", steps=3)).model, path)
        loaded, trouble = load_fitted(path)
        assert loaded.checkpoint is None
        assert trouble.startswith("A fit is resumed with the slices that it was stopped on, got none in 'scan.medgs'")
