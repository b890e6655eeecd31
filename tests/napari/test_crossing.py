import numpy as np
import pytest

from medgs_napari._crossing import Crossing

WHOLE = slice(None)


class Lazy:
    """Knows two of its slices."""

    axis, shape, dtype = 1, (3, 6, 4), np.dtype(np.uint8)

    def known(self, i):
        return np.full((3, 4), 10 + i, np.uint8) if i in (1, 4) else None


@pytest.fixture
def standin():
    return np.broadcast_to(np.arange(6, dtype=np.uint8)[:, np.newaxis], (3, 6, 4)).copy()


def test_what_is_known_is_shown_and_the_rest_is_stood_in_for(standin):
    crossing = Crossing(Lazy(), standin, (slice(1, 2), WHOLE, WHOLE))
    assert crossing.missing == {0, 2, 3, 5}
    shown = crossing.pick(WHOLE)
    assert shown.shape == (1, 6, 4)
    np.testing.assert_array_equal(shown[0, :, 0], [0, 11, 2, 3, 14, 5])


def test_without_anything_to_stand_in_the_rest_is_blank():
    crossing = Crossing(Lazy(), None, (WHOLE, WHOLE, slice(0, 2)))
    np.testing.assert_array_equal(crossing.pick(slice(0, 2)), np.stack([np.zeros((3, 2)), np.full((3, 2), 11)], 1))


def test_the_nearest_comes_first_until_none_is_missing(standin):
    crossing, order = Crossing(Lazy(), standin, (slice(0, 1), WHOLE, WHOLE)), []
    while (i := crossing.nearest(3)) is not None:
        order.append(i)
        crossing.put(i, np.full((3, 4), 20 + i, np.uint8))
    assert order == [3, 2, 5, 0]
    np.testing.assert_array_equal(crossing.pick(WHOLE)[0, :, 0], [20, 11, 22, 23, 14, 25])


def test_what_was_picked_does_not_change_later(standin):
    crossing = Crossing(Lazy(), standin, (slice(0, 1), WHOLE, WHOLE))
    before = crossing.pick(WHOLE)
    crossing.put(0, np.full((3, 4), 99, np.uint8))
    assert before.max() < 99
    assert crossing.pick(WHOLE)[0, 0, 0] == 99
