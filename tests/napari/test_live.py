import time

import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._fit_task import FitTask, order_fit
from medgs_napari._jobs import Job
from medgs_napari._layers import pick
from medgs_napari._live import FITTING, LiveLayers

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
    """Fit a layer with live layers, as a window would; return the model."""
    config = medgs.FitConfig(preset="fast", steps=20)
    order = order_fit(layer.unique_id, (pick(layer, axis, steps),), config, factor=factor, seconds=0.0)
    begun = []
    task = FitTask(order, lambda: begun.append(True), lambda: None)
    live, job, outcomes = LiveLayers(viewer, task), Job(task), []
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
    live.finish(outcomes[0].result)
    assert outcomes[0].error == ""
    return outcomes[0].result.model


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
