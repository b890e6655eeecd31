import threading
import time

import numpy as np
import pytest

import medgs_core as medgs
from medgs_napari._preview import Preview

WHOLE = slice(None)


@pytest.fixture
def changed():
    return threading.Event()


@pytest.fixture
def preview(model, changed):
    made = Preview(model.volume, model.axis, 2, changed.set)
    yield made
    made.close()
    made.wait()


def plane(preview, i):
    return preview[WHOLE, WHOLE, slice(i, i + 1)][..., 0]


def test_before_the_first_snapshot_slices_are_blended(preview, model):
    voxels = model.volume.voxels
    assert preview.shape == (48, 40, 17)
    np.testing.assert_array_equal(plane(preview, 4), voxels[..., 2])
    np.testing.assert_array_equal(plane(preview, 5), np.rint((voxels[..., 2].astype(float) + voxels[..., 3]) / 2))


def test_what_is_looked_at_is_rendered_from_the_snapshot(preview, model, changed):
    plane(preview, 5)
    preview.offer(model)
    assert changed.wait(20)
    np.testing.assert_array_equal(plane(preview, 5), medgs.render_slice(model, 2.5))


def test_another_snapshot_renders_it_anew(preview, model, changed):
    plane(preview, 5)
    for version in (1, 2):
        changed.clear()
        preview.offer(model)
        assert changed.wait(20)
        assert preview._rendered[5][0] == version


def test_measured_slices_are_never_rendered(preview, model, changed):
    plane(preview, 4)
    preview.offer(model)
    assert not changed.wait(0.3)


def test_an_index_answers_at_once_while_slices_are_rendered(preview, model):
    preview.offer(model)
    begun = time.perf_counter()
    assert preview[WHOLE, WHOLE, WHOLE].shape == preview.shape
    assert time.perf_counter() - begun < 0.5


def test_a_snapshot_that_cannot_be_rendered_ends_the_preview_alone(preview, changed, caplog):
    plane(preview, 5)
    preview._model, preview._version = object(), 1
    preview.offer(type("Broken", (), {"skipped": ()})())
    preview.wait()
    assert "The preview stops" in caplog.text
    assert plane(preview, 5).shape == (48, 40)


def test_a_cross_section_is_rendered_from_the_slice_that_was_looked_at_outward(preview, model, monkeypatch):
    order = []
    monkeypatch.setattr(preview, "_keep", lambda i, version, plane: order.append(i))
    plane(preview, 9)
    preview[slice(3, 4), WHOLE, WHOLE]
    preview.offer(model)
    end = time.monotonic() + 20
    while len(order) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    assert order[0] == 9
    assert {*order[1:3]} == {7, 11}


def test_no_more_slices_are_kept_than_there_is_memory_for(preview, model):
    preview._room = 3
    preview[slice(3, 4), WHOLE, WHOLE]
    preview.offer(model)
    end = time.monotonic() + 20
    while preview._stale() and time.monotonic() < end:
        time.sleep(0.01)
    assert preview._stale() == []
    assert sorted(preview._rendered) == [1, 3, 5]
    plane(preview, 11)
    while 11 not in preview._rendered and time.monotonic() < end:
        time.sleep(0.01)
    assert len(preview._rendered) == 3
