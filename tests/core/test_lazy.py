from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from medgs_core.cache import RecentlyUsed
from medgs_core.fit import fit_model
from medgs_core.lazy import lazy_uncertainty, lazy_volume
from medgs_core.model import MEMORY_BYTES
from medgs_core.render import SliceRenderer, render_uncertainty, render_volume

from ._fits import moving_voxels, scan, settings
from ._models import fitted, random_voxels

BASIC = [
    (),
    ...,
    None,
    3,
    -1,
    np.int64(2),
    slice(None),
    slice(1, 4),
    slice(None, None, 2),
    slice(None, None, -1),
    slice(-3, None),
    slice(4, 1, -2),
    slice(3, 3),
    (2, 3, 4),
    (-2, -3, -4),
    (1, 2),
    (slice(1, 3), 2),
    (slice(None), 2),
    (slice(None), slice(None), 2),
    (slice(0, 5, 2), slice(1, None), slice(None, -1)),
    (..., 2),
    (2, ...),
    (1, ..., 3),
    (..., 1, 2, 3),
    (1, 2, 3, ...),
    (slice(None), ..., slice(2, 3)),
    (None, 2, ..., None),
    (slice(1, 4), None, 2),
    (slice(2, 2), 1),
]
"""Every kind of NumPy's basic indices: integers, slices, ellipsis, newaxis."""

ARRAYS = [
    [0, 2, 2],
    np.array([[1, 0], [-1, 1]]),
    (slice(None), [2, 0]),
    (0, slice(None), [1, 2]),
    ([1, 2], slice(None), 0),
    ([0, 1], [1, 2], [3, 4]),
    (slice(None), slice(None), np.array([True, False, True, True, False])),
    (..., [4, 0, 4]),
]
"""Arrays among the indices, where the place of an integer decides the order of the axes."""

OUT_OF_RANGE = [9, -10, (0, 9), (0, 0, 9)]


@pytest.fixture(scope="module", params=[0, 1, 2])
def pair(request):
    """Return a lazy volume of 5 x 5 x 5 voxels, slices along each axis in turn, and the same as an array."""
    shape = [5, 5, 5]
    shape[request.param] = 3
    model = fitted(random_voxels("int16", tuple(shape)), axis=request.param)
    return lazy_volume(model, factor=2), render_volume(model, factor=2).voxels


def spied(model, monkeypatch, **options):
    """Return a lazy volume, and the list of coordinates it rendered."""
    rendered, usual = [], SliceRenderer.stored

    def stored(self, t):
        rendered.append(t)
        return usual(self, t)

    monkeypatch.setattr(SliceRenderer, "stored", stored)
    return lazy_volume(model, **options), rendered


class TestIndexing:
    def test_the_whole_is_what_render_volume_gives(self, pair):
        lazy, whole = pair
        np.testing.assert_array_equal(np.asarray(lazy), whole)

    @pytest.mark.parametrize("index", BASIC, ids=repr)
    def test_basic_indices_pick_what_numpy_picks(self, pair, index):
        lazy, whole = pair
        picked, expected = lazy[index], whole[index]
        assert np.shape(picked) == expected.shape
        assert picked.dtype == expected.dtype
        np.testing.assert_array_equal(picked, expected)

    @pytest.mark.parametrize("index", ARRAYS, ids=repr)
    def test_arrays_of_indices_pick_what_numpy_picks(self, pair, index):
        lazy, whole = pair
        np.testing.assert_array_equal(lazy[index], whole[index], strict=True)

    @pytest.mark.parametrize("index", OUT_OF_RANGE, ids=repr)
    def test_an_index_outside_is_an_error(self, pair, index):
        with pytest.raises(IndexError):
            pair[0][index]

    @pytest.mark.parametrize(
        "index",
        [(0, 0, 0, 0), (..., ...), np.ones((5, 5, 5), bool), np.ones((5, 5), bool), True],
        ids=["too many", "two ellipses", "mask of all axes", "mask of two axes", "mask of none"],
    )
    def test_other_indices_are_refused_in_one_sentence(self, pair, index):
        with pytest.raises(IndexError, match=r"at most 3 entries.*; index axis by axis"):
            pair[0][index]

    def test_channels_are_the_last_axis(self):
        voxels = np.random.default_rng(0).integers(0, 255, (3, 8, 9, 3)).astype(np.uint8)
        model = fit_model(scan(voxels), settings(steps=1)).model
        lazy, whole = lazy_volume(model, factor=2), render_volume(model, factor=2).voxels
        assert lazy.shape == (5, 8, 9, 3)
        for index in (..., 1, (1, 2, 3, 0), (..., 1), (slice(1, 4), ..., slice(0, 2)), ([0, 3], ..., 1)):
            np.testing.assert_array_equal(lazy[index], whole[index], strict=True)


class TestArrayLike:
    def test_it_has_the_shape_and_type_of_the_whole(self, pair):
        lazy, whole = pair
        assert (lazy.shape, lazy.dtype, lazy.ndim, lazy.size) == (whole.shape, whole.dtype, 3, whole.size)
        assert len(lazy) == len(whole)
        assert len(lazy.coordinates) == whole.shape[lazy.axis]

    def test_it_becomes_an_array_of_another_type(self, pair):
        lazy, whole = pair
        np.testing.assert_array_equal(np.asarray(lazy, np.float64), whole.astype(np.float64), strict=True)

    def test_it_cannot_become_an_array_without_a_copy(self, pair):
        with pytest.raises(ValueError, match="without a copy, got copy=False; leave it out"):
            pair[0].__array__(copy=False)

    def test_iterating_gives_the_parts_along_the_first_axis(self, pair):
        lazy, whole = pair
        for part, expected in zip(lazy, whole, strict=True):
            np.testing.assert_array_equal(part, expected)

    @pytest.mark.parametrize(
        "options", [{"spacing": 2.0}, {"isotropic": True}, {"positions": (0.5, 1.0)}, {"denoise": True}]
    )
    def test_all_options_of_rendering_hold(self, options):
        model = fitted(axis=1)
        np.testing.assert_array_equal(np.asarray(lazy_volume(model, **options)), render_volume(model, **options).voxels)

    def test_an_option_that_breaks_its_rule_is_refused(self):
        with pytest.raises(ValueError, match="factor should be at least 1, got 0"):
            lazy_volume(fitted(), factor=0)

    def test_it_tells_what_and_where_all_of_it_would_be(self):
        model = fitted(axis=1, unit="um", slope=2.0)
        lazy, whole = lazy_volume(model, spacing=2.0), render_volume(model, spacing=2.0)
        assert lazy.place.voxels.strides == (0, 0, 0)
        np.testing.assert_array_equal(lazy.place.affine, whole.affine)
        for name in ("shape3d", "unit", "slope", "intercept", "members"):
            assert getattr(lazy.place, name) == getattr(whole, name)


@pytest.fixture(scope="module")
def bounded():
    """Return a model of two channels that knows how far it may be off."""
    voxels = np.stack([moving_voxels(9, 24, 28), 2 * moving_voxels(9, 24, 28)], axis=3)
    return fit_model(scan(voxels), settings(gaussians=400)).model


class TestUncertainty:
    def test_the_whole_is_what_render_uncertainty_gives(self, bounded):
        lazy, whole = lazy_uncertainty(bounded, factor=2), render_uncertainty(bounded, factor=2)
        np.testing.assert_array_equal(np.asarray(lazy), whole.voxels, strict=True)
        np.testing.assert_array_equal(lazy.place.affine, whole.affine)
        assert lazy.place.members == whole.members
        assert np.asarray(lazy)[1].any()

    def test_only_the_slice_that_is_looked_at_is_bounded(self, bounded, monkeypatch):
        bounds, usual = [], SliceRenderer.bound
        monkeypatch.setattr(SliceRenderer, "bound", lambda one, t: (bounds.append(t), usual(one, t))[1])
        lazy = lazy_uncertainty(bounded, factor=2)
        assert bounds == []
        for _ in range(2):
            lazy[3]
        assert bounds == [1.5]

    def test_a_model_that_knows_no_bounds_is_refused_at_once(self):
        with pytest.raises(ValueError, match="uncertainty needs a model with at least 3 measured slices"):
            lazy_uncertainty(fitted(), factor=2)


class TestWork:
    def test_nothing_is_rendered_before_it_is_looked_at(self, monkeypatch):
        lazy, rendered = spied(fitted(axis=0), monkeypatch, factor=2)
        assert lazy.shape == (9, 6, 7)
        assert lazy.size == 9 * 6 * 7
        assert rendered == []

    @pytest.mark.parametrize(
        ("index", "touched"),
        [
            (3, [1.5]),
            (-1, [4.0]),
            ((3, 2, 1), [1.5]),
            (slice(1, 7, 2), [0.5, 1.5, 2.5]),
            ((slice(None, None, -4), 0), [0.0, 2.0, 4.0]),
            (slice(2, 2), []),
            ([5, 1, 5], [0.5, 2.5]),
            ((..., 0), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]),
        ],
    )
    def test_only_the_touched_slices_are_rendered(self, monkeypatch, index, touched):
        lazy, rendered = spied(fitted(axis=0), monkeypatch, factor=2)
        lazy[index]
        assert sorted(rendered) == touched

    def test_a_slice_looked_at_again_is_not_rendered_again(self, monkeypatch):
        lazy, rendered = spied(fitted(axis=0), monkeypatch, factor=2)
        lazy[1:4]
        np.asarray(lazy)
        assert sorted(rendered) == lazy.coordinates.tolist()

    def test_the_slices_looked_at_last_are_kept_while_memory_lasts(self, monkeypatch):
        monkeypatch.setattr("medgs_core.lazy.CACHE_BYTES", 2 * 6 * 7 * 2)  # two int16 slices
        lazy, rendered = spied(fitted(axis=0), monkeypatch, factor=2)
        for i in (0, 1, 0, 2, 0, 1):
            lazy[i]
        assert rendered == [0.0, 0.5, 1.0, 0.5]

    def test_what_is_known_is_told_without_rendering(self, monkeypatch):
        lazy, rendered = spied(fitted(axis=0), monkeypatch, factor=2)
        assert lazy.known(1) is None
        np.testing.assert_array_equal(lazy[1], lazy.known(1), strict=True)
        assert rendered == [0.5]

    def test_a_slice_cannot_be_written_to_by_one_of_its_readers(self):
        lazy = lazy_volume(fitted(axis=0), factor=2)
        with pytest.raises(ValueError, match="read-only"):
            lazy[1][0, 0] = 5
        part = lazy[0:2]
        part[:] = 0
        assert np.asarray(lazy[0]).any()


class TestThreads:
    def test_many_readers_see_what_one_sees(self):
        model = fit_model(scan(moving_voxels(9, 24, 28)), settings(gaussians=900)).model
        serial = render_volume(model, factor=4, detail="on").voxels
        threads = torch.get_num_threads()
        fresh = replace(model, memory=RecentlyUsed(MEMORY_BYTES))  # flows and renderings are computed again
        lazy = lazy_volume(fresh, factor=4, detail="on")
        order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(lazy)), 4))
        with ThreadPoolExecutor(8) as pool:
            planes = list(pool.map(lambda i: lazy[int(i)], order))
        for i, plane in zip(order, planes, strict=True):
            np.testing.assert_array_equal(plane, serial[i])
        assert torch.get_num_threads() == threads
        with ThreadPoolExecutor(1) as pool:  # what torch hands on to threads that start later
            assert pool.submit(torch.get_num_threads).result() == threads
