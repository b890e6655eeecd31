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
    for coming in ahead._coming.values():
        coming.exception()


def test_the_next_slices_come_in_the_direction_of_the_slider(ahead):
    assert (ahead[WHOLE, WHOLE, slice(3, 4)] == 3).all()
    settle(ahead)
    assert ahead._lazy.rendered == [3, 4, 5]
    ahead[WHOLE, WHOLE, slice(2, 3)]
    settle(ahead)
    assert ahead._lazy.rendered == [3, 4, 5, 2, 1, 0]


def test_at_the_end_there_is_nothing_ahead(ahead):
    ahead[WHOLE, WHOLE, slice(8, 9)]
    settle(ahead)
    assert ahead._lazy.rendered == [8]


def test_several_slices_at_once_are_only_passed_on(ahead):
    assert ahead[WHOLE, WHOLE, slice(0, 3)].shape == (3, 4, 3)
    assert ahead._coming == {}


def test_an_error_comes_up_where_its_slice_is_asked_for(ahead):
    ahead[WHOLE, WHOLE, slice(6, 7)]
    settle(ahead)
    with pytest.raises(MemoryError):
        ahead[WHOLE, WHOLE, slice(7, 8)]
