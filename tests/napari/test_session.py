import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from medgs_napari._session import Fitted, Session, fitted_from_file, score_text, session_of


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
    assert replace(fitted.frames[0]).slice_name == "z"
