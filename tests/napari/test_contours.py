from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._contours import CONTOUR, Contours, Wish, contour_segments, measured_scale
from medgs_napari._frames import frame_of_volume
from medgs_napari._results import find_results
from medgs_napari._session import Fitted, fitted_from_file

COLOR = (1.0, 0.5, 0.0, 1.0)
LEVEL = 1200.0


@pytest.fixture
def fitted(model):
    return fitted_from_file(model, "scan.medgs")


def run_at_once(job):
    job.start()
    job.wait()
    job.poll()


def test_the_contour_parts_what_is_above_the_level_from_the_rest(fitted, model):
    vectors, colors = contour_segments(Wish(fitted, 4.0, level=(LEVEL, COLOR)))
    assert vectors.shape[1:] == (2, 3)
    np.testing.assert_array_equal(colors, np.tile(COLOR, (len(vectors), 1)))
    assert np.all(vectors[:, 0, 0] == 4.0)
    assert not vectors[:, 1, 0].any()
    plane = model.volume.voxels[:, :, 4].T.astype(float)
    for start, _ in vectors[:: len(vectors) // 20]:
        row, column = start[1:]
        near = plane[int(row) : int(np.ceil(row)) + 1, int(column) : int(np.ceil(column)) + 1]
        assert near.min() <= LEVEL <= near.max()


def test_contours_are_closed_also_at_the_border_of_the_image(fitted):
    vectors, _ = contour_segments(Wish(fitted, 4.0, level=(1e-3 + 400.0, COLOR)))
    ends = np.concatenate([vectors[:, 0], vectors.sum(axis=1)]).round(6)
    _, counts = np.unique(ends, axis=0, return_counts=True)
    assert np.all(counts % 2 == 0)


def test_slices_between_have_contours_too(fitted):
    vectors, _ = contour_segments(Wish(fitted, 4.5, level=(LEVEL, COLOR)))
    assert np.all(vectors[:, 0, 0] == 4.5)
    assert len(vectors) > 20


def test_slope_and_intercept_count():
    volume = medgs.Volume(np.zeros((4, 5, 6), np.int16), np.eye(4), slope=2.0, intercept=-10.0)
    assert measured_scale(volume, 0) == (2.0, -10.0)
    plain = medgs.Volume(np.zeros((4, 5, 6), np.int16), np.eye(4))
    assert measured_scale(medgs.combine_volumes(plain, volume), 1) == (2.0, -10.0)


class TestLayer:
    def test_one_layer_follows_the_wishes(self, fitted):
        viewer, failures = ViewerModel(), []
        contours = Contours(viewer, run_at_once, failures.append)
        for t in (3.0, 4.0, 5.0):
            contours.ask(Wish(fitted, t, level=(LEVEL, COLOR)))
        (layer,) = viewer.layers
        assert np.all(layer.data[:, 0, 0] == 5.0)
        assert failures == []

    def test_a_level_that_nothing_crosses_shows_nothing(self, fitted):
        viewer = ViewerModel()
        contours = Contours(viewer, run_at_once, print)
        contours.ask(Wish(fitted, 3.0, level=(LEVEL, COLOR)))
        contours.ask(Wish(fitted, 3.0, level=(1e6, COLOR)))
        assert len(find_results(viewer, contours)[CONTOUR].data) == 0
        contours.ask(Wish(fitted, 3.0, level=(LEVEL, COLOR)))
        assert len(find_results(viewer, contours)[CONTOUR].data) > 0

    def test_no_wish_takes_the_layer_away(self, fitted):
        viewer = ViewerModel()
        contours = Contours(viewer, run_at_once, print)
        contours.ask(Wish(fitted, 3.0, level=(LEVEL, COLOR)))
        contours.ask(None)
        assert len(viewer.layers) == 0

    def test_wishes_that_are_overtaken_are_forgotten(self, fitted):
        viewer, jobs = ViewerModel(), []
        contours = Contours(viewer, jobs.append, print)
        for t in (1.0, 2.0, 3.0):
            contours.ask(Wish(fitted, t, level=(LEVEL, COLOR)))
        assert len(jobs) == 1
        run_at_once(jobs[0])
        run_at_once(jobs[1])
        assert len(jobs) == 2
        assert np.all(viewer.layers[0].data[:, 0, 0] == 3.0)

    def test_contours_that_nobody_looks_at_are_not_made(self, fitted):
        viewer, jobs = ViewerModel(), []
        contours = Contours(viewer, jobs.append, print)
        contours.ask(Wish(fitted, 3.0, level=(LEVEL, COLOR)))
        contours.sleep()
        run_at_once(jobs.pop())
        assert len(viewer.layers) == 0
        contours.wake()
        contours.ask(Wish(fitted, 3.0, level=(LEVEL, COLOR)))
        run_at_once(jobs.pop())
        assert viewer.layers[0].visible

    def test_contours_sleep_and_wake_but_the_user_decides(self, fitted):
        viewer = ViewerModel()
        contours = Contours(viewer, run_at_once, print)
        contours.ask(Wish(fitted, 3.0, level=(LEVEL, COLOR)))
        (layer,) = viewer.layers
        contours.sleep()
        contours.sleep()
        assert contours.asleep
        assert not layer.visible
        layer.visible = True
        assert not contours.asleep
        layer.visible = False
        contours.wake()
        assert layer.visible
        layer.visible = False
        contours.sleep()
        contours.wake()
        assert not layer.visible

    def test_another_model_may_have_another_number_of_axes(self, fitted, model):
        frame = fitted.frames[0]
        place = {**frame.place, "affine": np.eye(5)}
        for name, one in (("scale", 1.0), ("translate", 0.0), ("units", "pixel"), ("axis_labels", "t")):
            place[name] = (one, *place[name])
        film = replace(frame, place=place, order=(None, *frame.order), slice_axis=frame.slice_axis + 1)
        viewer, failures = ViewerModel(), []
        contours = Contours(viewer, run_at_once, failures.append)
        for one in (fitted, Fitted("film", model, (film,)), fitted):
            contours.ask(Wish(one, 3.0, level=(LEVEL, COLOR)))
            assert [layer.ndim for layer in viewer.layers] == [len(one.frames[0].order)]
        assert failures == []

    def test_what_goes_wrong_is_told(self, model):
        failures = []
        bare = Fitted("bare", model, frames=(frame_of_volume(model.volume, 2),))
        Contours(ViewerModel(), run_at_once, failures.append).ask(Wish(bare, 3.0, labels=((1, COLOR),)))
        assert "Labels need a model that was fitted with a label map" in failures[0]
