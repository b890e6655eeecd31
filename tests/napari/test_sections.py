import gc
import threading
import time
import weakref
from concurrent.futures import Future

import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._marks import describe_shown
from medgs_napari._rendered import frames_of_model
from medgs_napari._sections import ahead_of, watch_sections
from medgs_napari._virtual import brightest_bounds, virtual_bounds, virtual_layers

from .conftest import needs_display

FACTOR = 4


@pytest.fixture
def drawn(model):
    return virtual_layers("scan", model, frames_of_model(model), medgs.RenderConfig(factor=FACTOR))[0]


def add(viewer, drawn):
    return viewer.add_image(drawn.data, **drawn.settings)


def test_virtual_layers_are_followed_whenever_they_come(drawn, model):
    viewer = ViewerModel()
    before = add(viewer, drawn)
    sections = watch_sections(viewer)
    (other,) = virtual_layers("other", model, frames_of_model(model), medgs.RenderConfig(factor=2))
    after, plain = add(viewer, other), viewer.add_image(np.zeros((3, 4, 5)))
    assert ahead_of(before).better is not None
    assert ahead_of(after).better is ahead_of(before).better
    assert ahead_of(plain) is None
    assert watch_sections(viewer) is sections


def test_large_bounds_are_thinned_in_3d_and_filled_as_they_are_rendered(model, monkeypatch):
    monkeypatch.setattr("medgs_napari._coarse.LARGEST_COARSE_SIDE", 24)
    frames, config = frames_of_model(model), medgs.RenderConfig(factor=FACTOR)
    (bounds,) = virtual_bounds("scan", model, frames, config, brightest_bounds(model, frames, config))
    viewer = ViewerModel()
    layer = add(viewer, bounds)
    watch_sections(viewer)
    viewer.dims.ndisplay = 3
    assert layer._slice.image.raw.shape == (33, 20, 24)
    ahead = ahead_of(layer)
    end = time.monotonic() + 60
    while ahead.missing and time.monotonic() < end:
        time.sleep(0.01)
    layer.refresh()
    whole = medgs.render_uncertainty(model, factor=FACTOR).voxels.transpose(2, 1, 0)
    np.testing.assert_array_equal(layer._slice.image.raw, whole[:, ::2, ::2])
    np.testing.assert_array_equal(np.asarray(layer.data[0]), whole)


def test_a_viewer_that_is_gone_keeps_nothing(drawn):
    viewer = ViewerModel()
    watch_sections(viewer)
    gone = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None


def test_the_corner_tells_how_many_slices_are_rendered(drawn, monkeypatch):
    viewer = ViewerModel()
    watch_sections(viewer)
    monkeypatch.setattr(drawn.data[0].source._pool, "submit", lambda *_: Future())
    viewer.add_image(drawn.data[0], **{**drawn.settings, "multiscale": False})
    viewer.dims.order = (1, 0, 2)
    assert describe_shown(viewer) == "CROSS-SECTION, 9 of 33 slices rendered\n9 of 33 slices MEASURED"
    viewer.dims.order = (0, 1, 2)
    assert describe_shown(viewer).startswith(("MEASURED", "SYNTHETIC"))


@needs_display
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)])
def test_a_turned_view_answers_at_once_and_ends_at_the_truth(
    drawn, model, order, make_napari_viewer, qtbot, monkeypatch
):
    viewer = make_napari_viewer(show=True)  # what is not shown is not drawn
    redrawn = threading.Event()
    watch_sections(viewer).drawn.connect(redrawn.set)
    layer = add(viewer, drawn)
    ahead = ahead_of(layer)
    main, asked = threading.current_thread(), []
    render = ahead.lazy.plane
    monkeypatch.setattr(ahead.lazy, "plane", lambda i: asked.append((threading.current_thread(), i)) or render(i))
    viewer.dims.order = order
    # a canvas that is turned is drawn once as if it had one slice, the first, before it is drawn as it is
    assert {i for thread, i in asked if thread is main} <= {0}
    qtbot.waitUntil(lambda: not ahead.missing and redrawn.is_set(), timeout=20000)
    truth = medgs.render_volume(model, factor=FACTOR).voxels.transpose(2, 1, 0)
    shown = np.take(truth, viewer.dims.current_step[order[0]], axis=order[0])
    qtbot.waitUntil(lambda: np.array_equal(layer._slice.image.raw, shown), timeout=5000)
