import time

import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._fit_run import resume_order
from medgs_napari._fit_task import FitTask, order_fit
from medgs_napari._jobs import Job
from medgs_napari._layer_choice import is_scan
from medgs_napari._layers import pick
from medgs_napari._live import FITTING, LiveLayers
from medgs_napari._preferences import Preferences
from medgs_napari._rendered import METADATA
from medgs_napari._results import find_results, marked
from medgs_napari._session import Fitted, fitted_from_file
from medgs_napari._subject import VIRTUAL, first_look

from .conftest import SPACING


def color(scan):
    shades = (scan / 4000 * 255).clip(0, 255).astype(np.uint8)
    return np.stack([shades, shades // 2, 255 - shades], axis=3)


LAYERS = {
    "stack": (lambda scan: scan, {"scale": SPACING}, None, (0, 0, 0)),
    "mirrored": (lambda scan: scan, {"scale": (-3.0, 0.8, -0.7), "translate": (9.0, 1.0, 2.0)}, None, (0, 0, 0)),
    "across": (lambda scan: scan.transpose(2, 0, 1), {"scale": (0.7, 3.0, 0.8)}, 1, (0, 0, 0)),
    "color": (color, {"rgb": True, "scale": SPACING}, 0, (0, 0, 0)),
    "film": (lambda scan: np.stack([scan * 0, scan]), {"scale": (1.0, *SPACING)}, 1, (1, 0, 0, 0)),
}


def run_fit(viewer, layer, axis, steps, factor, between=None):
    """Fit a layer with live layers, as a window would; return the model of the list."""
    config = medgs.FitConfig(preset="fast", steps=20)
    order = order_fit(layer.unique_id, (pick(layer, axis, steps),), config, factor=factor, seconds=0.0)
    return run_order(viewer, order, between)


def run_order(viewer, order, between=None, stopped=None):
    begun = []
    task = FitTask(order, lambda: begun.append(True), lambda: None)
    live, job, outcomes = LiveLayers(viewer, task, stopped), Job(task), []
    job.ended.connect(outcomes.append)
    job.start()
    while job.poll():
        if begun and not live.shown:
            live.show()
            if between:
                between()
        if live.shown:
            live.refresh()
        time.sleep(0.01)
    live.show()
    assert outcomes[0].error == ""
    fit = outcomes[0].result
    fitted = Fitted(order.name, fit.model, order.frames, checkpoint=fit.checkpoint)
    live.finish(fitted)
    return fitted


@pytest.mark.parametrize(("make", "settings", "axis", "steps"), LAYERS.values(), ids=LAYERS)
def test_measured_slices_stand_where_they_stood_and_are_what_they_were(scan, make, settings, axis, steps):
    viewer = ViewerModel()
    source = viewer.add_image(make(scan), name="scan", **settings)
    names = []
    run_fit(viewer, source, axis, steps, 2, lambda: names.append(viewer.layers[-1].name))
    along = axis or 0
    layer = viewer.layers[-1]
    assert names == ["scan" + FITTING]
    assert layer.name == "scan x2"
    assert (layer.rgb, layer.ndim, layer.dtype) == (source.rgb, source.ndim, source.dtype)
    data = np.asarray(layer.data[0])
    measured = source.data[1:] if source.ndim == 4 else source.data
    np.testing.assert_array_equal(np.take(data, np.arange(0, data.shape[along], 2), along), measured)
    for k in range(measured.shape[along]):
        index = np.array([1] * source.ndim)
        coarse, fine = index.copy(), index.copy()
        coarse[along], fine[along] = k, 2 * k
        if source.ndim == 4:
            fine[0] = 0
        np.testing.assert_allclose(layer.data_to_world(fine), source.data_to_world(coarse), atol=1e-9)


def test_the_slider_leaves_the_measured_slice_for_one_between(scan):
    viewer = ViewerModel()
    source = viewer.add_image(scan, scale=SPACING)
    viewer.dims.set_point(0, 4 * SPACING[0])
    run_fit(viewer, source, 0, None, 4)
    assert viewer.dims.point[0] == pytest.approx(4.5 * SPACING[0])


def test_with_one_slice_per_step_there_is_one_level(scan):
    viewer = ViewerModel()
    source = viewer.add_image(scan, scale=SPACING)
    run_fit(viewer, source, 0, None, 1)
    assert not viewer.layers[-1].multiscale
    np.testing.assert_array_equal(np.asarray(viewer.layers[-1].data), scan)


def test_a_fit_that_left_nothing_leaves_no_layer(scan):
    viewer = ViewerModel()
    source = viewer.add_image(scan)
    order = order_fit("", (pick(source),), medgs.FitConfig(), factor=2, seconds=1.0)
    task = FitTask(order, lambda: None, lambda: None)
    live = LiveLayers(viewer, task)
    job = Job(task)
    job.start()
    while task.preview is None:
        time.sleep(0.01)
    job.cancel()
    live.show()
    assert len(viewer.layers) == 2
    live.finish(None)
    assert len(viewer.layers) == 1
    job.wait()


def test_a_live_layer_is_no_scan_whatever_it_is_called(scan):
    viewer, found = ViewerModel(), []
    source = viewer.add_image(scan)

    def rename():
        viewer.layers[-1].name = "mine"
        found.append([is_scan(layer) for layer in viewer.layers])

    run_fit(viewer, source, 0, None, 2, rename)
    assert found == [[True, False]]
    assert [is_scan(layer) for layer in viewer.layers] == [True, False]


def test_a_finished_layer_is_found_as_what_the_model_shows(scan):
    viewer = ViewerModel()
    source = viewer.add_image(scan, scale=SPACING)
    fitted = run_fit(viewer, source, 0, None, 2)
    assert find_results(viewer, fitted) == {first_look(fitted, 2).results(VIRTUAL)[0]: viewer.layers[-1]}


class Never:
    """Stops a fit before its first step."""

    cancelled, paused = True, False

    def report(self, state):
        """Hear nothing."""


def stopped_fit(volume, labels=None):
    config = medgs.FitConfig(preset="fast", steps=20, axis="2")
    fit = medgs.fit_model(volume, config, labels=labels, progress=Never())
    return fitted_from_file(fit.model, "scan.medgs", fit.checkpoint)


def volume_of(scan, **settings):
    return medgs.Volume(scan.transpose(2, 1, 0), np.diag([*SPACING[::-1], 1.0]), "mm", **settings)


UNEVEN = np.array([0, 2, 4, 5, 7, 9, 11, 13, 20.0])


class TestResumed:
    @pytest.fixture(params=["even", "uneven"])
    def stopped(self, request, scan):
        return stopped_fit(volume_of(scan, positions=None if request.param == "even" else UNEVEN))

    @pytest.fixture
    def viewer(self, stopped):
        """Return a viewer with what the stopped fit left, and what a user made of it."""
        viewer = ViewerModel()
        viewer.add_image(np.zeros((9, 40, 48)), name="other")
        (drawn,), (what,) = first_look(stopped, 4).layers(), first_look(stopped, 4).results(VIRTUAL)
        layer = viewer.add_image(drawn.data, **marked(stopped, what, drawn.settings))
        layer.contrast_limits, layer.colormap, layer.visible = (5.0, 500.0), "green", False
        return viewer

    def resume(self, viewer, stopped, **settings):
        return run_order(viewer, resume_order(stopped, factor=4, chosen=Preferences()), stopped=stopped, **settings)

    def test_the_layer_that_the_stopped_fit_left_sharpens_on(self, viewer, stopped):
        left, seen = viewer.layers[-1], []

        def look():
            seen.append((left.name, METADATA in left.metadata, left.data[0].shape[0], float(left.scale[0])))

        fitted = self.resume(viewer, stopped, between=look)
        assert seen == [("scan" + FITTING, False, 33, 0.75)]
        assert list(viewer.layers)[1:] == [left]
        (drawn,) = first_look(fitted, 4).layers()
        assert (left.name, left.visible) == (drawn.settings["name"], True)
        np.testing.assert_allclose(left.scale, drawn.settings["scale"])
        assert (left.contrast_limits, left.colormap.name) == ([5.0, 500.0], "green")
        np.testing.assert_array_equal(np.asarray(left.data[0][5]), np.asarray(drawn.data[0][5]))
        assert len(left.metadata[METADATA].measured) == left.data[0].shape[0]
        assert list(find_results(viewer, fitted).values()) == [left]
        assert find_results(viewer, stopped) == {}

    def test_a_name_and_a_place_that_the_user_gave_stay(self, viewer, stopped):
        viewer.layers[-1].name, viewer.layers[-1].translate = "mine", (1, 2, 3)
        self.resume(viewer, stopped)
        assert viewer.layers[-1].name == "mine"
        np.testing.assert_array_equal(viewer.layers[-1].translate, (1, 2, 3))

    def test_it_is_as_it_was_where_nothing_came_of_it(self, viewer, stopped):
        left = viewer.layers[-1]
        before = (left.name, left.data[0].shape, tuple(left.scale), np.asarray(left.data[0][5]))
        task = FitTask(resume_order(stopped, factor=4, chosen=Preferences()), lambda: None, lambda: None)
        live, job = LiveLayers(viewer, task, stopped), Job(task)
        job.start()
        while task.preview is None:
            time.sleep(0.01)
        live.show()
        job.cancel()
        assert left.name == "scan" + FITTING
        live.finish(None)
        job.wait()
        assert list(viewer.layers)[1:] == [left]
        assert (left.name, left.data[0].shape, tuple(left.scale)) == before[:3]
        np.testing.assert_array_equal(np.asarray(left.data[0][5]), before[3])
        assert list(find_results(viewer, stopped).values()) == [left]


def test_a_resumed_fit_of_labels_alone_has_no_live_layer():
    voxels = np.zeros((48, 40, 9), np.uint8)
    voxels[8:20, 10:22, [0, 4, 8]] = 1
    viewer, stopped = ViewerModel(), stopped_fit(None, medgs.Volume(voxels, np.diag([*SPACING[::-1], 1.0]), "mm"))
    run_order(viewer, resume_order(stopped, factor=4, chosen=Preferences()), stopped=stopped)
    assert len(viewer.layers) == 0
