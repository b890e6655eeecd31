from copy import deepcopy

import numpy as np
import pytest

import medgs_core as medgs
from medgs_napari._ahead import Ahead
from medgs_napari._arrays import DRAWING, LayerArray, Part, parts_of
from medgs_napari._coarse import Nearest
from medgs_napari._frames import Frame
from medgs_napari._rendered import frames_of_model
from medgs_napari._virtual import virtual_layers

PLAIN = {"scale": (1, 1, 1)}


class Source:
    """Counts the slices that are asked for."""

    def __init__(self, voxels):
        self.voxels, self.shape, self.dtype, self.asked = voxels, voxels.shape, voxels.dtype, []

    def __getitem__(self, key):
        self.asked.extend(range(self.shape[2])[key[2]])
        return self.voxels[key]


@pytest.fixture
def voxels():
    return np.random.default_rng(0).integers(0, 999, (4, 5, 6), dtype=np.int16)


@pytest.fixture
def shown(voxels):
    """Return a source with slices along z, as a layer with a single time before z, y, x."""
    volume = medgs.Volume(voxels, np.eye(4))
    return LayerArray(Source(voxels), Frame((None, 2, 1, 0), 1, False, PLAIN), Part(), volume)


INDICES = [
    (0, 3),
    (0, 3, slice(None), slice(None)),
    (slice(0, 1), slice(3, 4), slice(None), slice(None)),
    (slice(None), slice(2, 6, 2), slice(1, 4), 2),
    (Ellipsis, 1),
    (0, -1, Ellipsis),
    (slice(None), slice(5, 2, -1), slice(None, None, -2), slice(3, 1)),
    (0, slice(None), 2, 3),
]


@pytest.mark.parametrize("index", INDICES)
def test_an_index_picks_what_it_picks_of_the_whole(shown, voxels, index):
    np.testing.assert_array_equal(shown[index], voxels.transpose(2, 1, 0)[np.newaxis][index], strict=True)


def test_the_whole_is_an_array_of_the_stored_type(shown, voxels):
    np.testing.assert_array_equal(np.asarray(shown), voxels.transpose(2, 1, 0)[np.newaxis], strict=True)
    assert (shown.ndim, shown.size, len(shown), shown.dtype) == (4, 120, 1, np.int16)
    with pytest.raises(ValueError, match="by a copy only"):
        np.array(shown, copy=False)


def test_only_the_slice_in_sight_is_rendered(shown):
    in_sight = shown[:, :, 1:3, 2:4]
    assert shown.source.asked == []
    assert in_sight.shape == (1, 6, 2, 2)
    assert np.asarray(in_sight[0:1, 4:5]).shape == (1, 1, 2, 2)
    assert shown.source.asked == [4]


def test_views_of_views_pick_the_same(shown, voxels):
    view = shown[:, :, 1:, ::2][:, :, ::2, 1:]
    np.testing.assert_array_equal(np.asarray(view), voxels.transpose(2, 1, 0)[np.newaxis, :, 1::2, 2::2])


def test_combined_images_come_apart_in_their_own_types():
    rng = np.random.default_rng(0)
    first = medgs.Volume(rng.integers(0, 200, (4, 5, 6), dtype=np.uint8), np.eye(4))
    second = medgs.Volume(rng.random((4, 5, 6), dtype=np.float32), np.eye(4))
    both = medgs.combine_volumes(first, second)
    parts = parts_of(both, [False, False])
    assert parts == [Part(0), Part(1)]
    frame = Frame((2, 1, 0), 0, False, PLAIN)
    for part, volume in zip(parts, (first, second), strict=True):
        array = LayerArray(both.voxels, frame, part, both)
        np.testing.assert_array_equal(np.asarray(array), volume.voxels.transpose(2, 1, 0), strict=True)


def test_each_channel_is_a_layer_unless_they_are_color(voxels):
    volume = medgs.Volume(np.stack([voxels] * 3, axis=3), np.eye(4))
    assert parts_of(volume, [False]) == [Part(0, 0), Part(0, 1), Part(0, 2)]
    assert parts_of(volume, [True]) == [Part()]
    both = medgs.combine_volumes(medgs.Volume(voxels, np.eye(4)), volume)
    assert parts_of(both, [False, True]) == [Part(0), Part(1)]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_coarse_level_shows_the_measured_slice_nearest_to_where_it_stands(voxels, factor):
    volume = medgs.Volume(voxels, np.eye(4))
    coordinates = np.arange(5 * factor + 1) / factor
    coarse = Nearest(volume, 2, (), coordinates)
    assert coarse.shape == (4, 5, 6)
    for k in range(6):
        t = coordinates[int(k * len(coordinates) / 6)]
        shown = coarse[slice(None), slice(None), k][..., 0]
        assert np.array_equal(shown, voxels[..., int(t)]) or np.array_equal(shown, voxels[..., int(np.ceil(t))])


def test_the_coarse_level_leaves_out_skipped_slices_and_is_thin_where_slices_are_large():
    voxels = np.zeros((600, 30, 4), np.uint8)
    voxels[..., 1] = 9
    coarse = Nearest(medgs.Volume(voxels, np.eye(4)), 2, (1,), np.arange(13) / 4)
    assert coarse.shape == (200, 10, 3)
    assert not coarse[slice(None), slice(None), slice(None)].any()


def test_only_what_napari_draws_may_be_stood_in_for(model, monkeypatch):
    lazy = medgs.lazy_volume(model, factor=2)
    ahead = Ahead(lazy, np.full(lazy.shape, 7, lazy.dtype))
    ahead.better = lambda: None
    monkeypatch.setattr(ahead._pool, "submit", lambda *_: None)
    array = LayerArray(ahead, Frame((2, 1, 0), 0, False, PLAIN), Part(), model.volume)
    napari = {"__name__": DRAWING, "array": array, "numpy": np}
    for drawn in ("array[:, 3]", "array[:, :, 1:9][:, 3]", "numpy.asarray(array)"):
        assert (eval(drawn, napari) == 7).all()
    truth = medgs.render_volume(model, factor=2).voxels.transpose(2, 1, 0)
    np.testing.assert_array_equal(array[:, 3], truth[:, 3])
    np.testing.assert_array_equal(np.asarray(array), truth)
    np.testing.assert_array_equal(eval("array[5]", napari), truth[5])


def test_a_duplicate_of_a_layer_shares_what_renders(model):
    (drawn,) = virtual_layers("scan", model, frames_of_model(model), medgs.RenderConfig(factor=2))
    again = deepcopy(drawn.data)
    assert again[0].source is drawn.data[0].source
    np.testing.assert_array_equal(np.asarray(again[0][3]), np.asarray(drawn.data[0][3]))
