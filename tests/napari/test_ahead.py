import gc
import threading
import time
import weakref

import numpy as np
import pytest

from medgs_napari._ahead import Ahead

WHOLE = slice(None)


class Lazy:
    """Counts how often a slice is rendered, and by which thread's name."""

    axis, shape, dtype = 2, (3, 4, 9), np.dtype(np.uint8)

    def __init__(self):
        self.rendered = []

    def plane(self, i):
        if i not in self.rendered:
            self.rendered.append(i)
        if i == 7:
            raise MemoryError
        return np.full((3, 4), i, np.uint8)

    def known(self, i):
        return self.plane(i) if i in self.rendered else None

    def __getitem__(self, key):
        along = key[2]
        touched = range(9)[along] if isinstance(along, slice) else [along]
        return np.stack([self.plane(i) for i in touched], axis=2)


@pytest.fixture
def ahead():
    made = Ahead(Lazy())
    yield made
    made._pool.shutdown()


def settle(ahead):
    ahead._pool.submit(lambda: None).result(10)  # behind what it renders


def test_the_next_slices_come_in_the_direction_of_the_slider(ahead):
    assert (ahead[WHOLE, WHOLE, slice(3, 4)] == 3).all()
    settle(ahead)
    assert ahead.lazy.rendered == [3, 4, 5, 6]
    ahead[WHOLE, WHOLE, slice(2, 3)]
    settle(ahead)
    assert ahead.lazy.rendered == [3, 4, 5, 6, 2, 1, 0]


def test_at_the_end_there_is_nothing_ahead(ahead):
    ahead[WHOLE, WHOLE, slice(8, 9)]
    settle(ahead)
    assert ahead.lazy.rendered == [8]


def test_several_slices_at_once_are_only_passed_on(ahead):
    assert ahead[WHOLE, WHOLE, slice(0, 3)].shape == (3, 4, 3)
    settle(ahead)
    assert ahead.lazy.rendered == [0, 1, 2]


def test_nothing_is_rendered_ahead_while_the_window_draws(ahead, monkeypatch):
    monkeypatch.setattr("medgs_napari._ahead.DRAW_SECONDS", 0.2)
    begun = time.monotonic()
    ahead[WHOLE, WHOLE, slice(3, 4)]
    assert ahead.lazy.rendered == [3]
    settle(ahead)
    assert time.monotonic() - begun > 0.2
    assert ahead.lazy.rendered == [3, 4, 5, 6]


def test_a_slice_that_is_being_rendered_is_waited_for(ahead, monkeypatch):
    begun, events = threading.Event(), []

    def plane(lazy, i):
        events.append(("begins", i))
        if i == 4 and not begun.is_set():
            begun.set()
            time.sleep(0.2)
        events.append(("ends", i))
        return np.full((3, 4), i, np.uint8)

    monkeypatch.setattr(Lazy, "plane", plane)
    ahead[WHOLE, WHOLE, slice(3, 4)]
    assert begun.wait(10)
    ahead[WHOLE, WHOLE, slice(4, 5)]
    assert events[:4] == [("begins", 3), ("ends", 3), ("begins", 4), ("ends", 4)]


def test_an_error_comes_up_where_its_slice_is_asked_for(ahead):
    ahead[WHOLE, WHOLE, slice(6, 7)]
    settle(ahead)
    with pytest.raises(MemoryError):
        ahead[WHOLE, WHOLE, slice(7, 8)]


class TestGlance:
    """What napari draws of a cross-section."""

    STANDIN = np.full((3, 4, 9), 99, np.uint8)
    ACROSS = (slice(1, 2), WHOLE, WHOLE)

    @pytest.fixture
    def told(self):
        return threading.Event()

    @pytest.fixture
    def ahead(self, told, monkeypatch):
        monkeypatch.setattr("medgs_napari._ahead.TELL_SECONDS", 100.0)
        monkeypatch.setattr(Lazy, "plane", lambda lazy, i: lazy.rendered.append(i) or np.full((3, 4), i, np.uint8))
        made = Ahead(Lazy(), self.STANDIN)
        made.better = told.set
        yield made
        made._pool.shutdown()

    def test_it_is_stood_in_for_at_once_and_rendered_soon(self, ahead, told):
        ahead._last = 4
        assert (ahead.glance(self.ACROSS) == 99).all()
        assert told.wait(10)
        assert ahead.lazy.rendered == [4, 3, 5, 2, 6, 1, 7, 0, 8]
        assert ahead.missing == frozenset()
        np.testing.assert_array_equal(ahead.glance(self.ACROSS)[0, 0], np.arange(9))

    def test_unless_nobody_would_draw_it_again(self, ahead):
        ahead.better = None
        np.testing.assert_array_equal(ahead.glance(self.ACROSS)[0, 0], np.arange(9))

    def test_a_single_slice_is_rendered_and_ends_it(self, ahead, monkeypatch):
        monkeypatch.setattr(ahead._pool, "submit", lambda *_: None)
        ahead.glance(self.ACROSS)
        assert ahead.crossed
        assert len(ahead.missing) == 9
        assert (ahead.glance((WHOLE, WHOLE, slice(3, 4))) == 3).all()
        assert not ahead.crossed

    def test_whoever_reads_gets_the_truth(self, ahead):
        ahead.glance(self.ACROSS)
        np.testing.assert_array_equal(ahead[self.ACROSS][0, 0], np.arange(9))

    def test_nothing_is_rendered_for_a_layer_that_is_gone(self, told, monkeypatch):
        begun, go_on = threading.Event(), threading.Event()

        def plane(lazy, i):
            lazy.rendered.append(i)
            begun.set()
            assert go_on.wait(10)
            return np.zeros((3, 4), np.uint8)

        monkeypatch.setattr(Lazy, "plane", plane)
        lazy = Lazy()
        ahead = Ahead(lazy, self.STANDIN)
        ahead.better = told.set
        ahead.glance(self.ACROSS)
        assert begun.wait(10)
        gone, threads = weakref.ref(ahead), list(ahead._pool._threads)
        del ahead
        go_on.set()
        for thread in threads:
            thread.join(10)
        gc.collect()
        assert gone() is None
        assert lazy.rendered == [0]
        assert not any(thread.is_alive() for thread in threads)

    def test_an_error_leaves_what_there_is(self, ahead, told, monkeypatch, caplog):
        def broken(lazy, i):
            raise MemoryError

        monkeypatch.setattr(Lazy, "plane", broken)
        ahead.glance(self.ACROSS)
        assert told.wait(10)
        assert "The cross-section stays as it is" in caplog.text
        assert len(ahead.missing) == 9
