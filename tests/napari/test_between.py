import numpy as np
import pytest

import medgs_core as medgs
from medgs_napari._between import Between

WHOLE = slice(None)


@pytest.fixture
def volume():
    return medgs.Volume(np.random.default_rng(0).integers(0, 999, (4, 6, 5), dtype=np.int16), np.eye(4))


def test_measured_slices_are_themselves_and_others_the_mean_of_their_neighbors(volume):
    between = Between(volume, 1, (), np.arange(11) / 2)
    assert between.shape == (4, 11, 5)
    whole = between[WHOLE, WHOLE, WHOLE]
    np.testing.assert_array_equal(whole[:, ::2], volume.voxels, strict=True)
    mean = (volume.voxels[:, :-1].astype(float) + volume.voxels[:, 1:]) / 2
    np.testing.assert_array_equal(whole[:, 1::2], np.rint(mean))


def test_skipped_slices_are_bridged(volume):
    between = Between(volume, 1, (0, 2), np.arange(6.0))
    whole = between[WHOLE, WHOLE, WHOLE]
    np.testing.assert_array_equal(whole[:, [0, 1]], volume.voxels[:, [1, 1]])
    np.testing.assert_array_equal(whole[:, 2], np.rint((volume.voxels[:, 1] + volume.voxels[:, 3]) / 2.0))


def test_labels_come_from_the_nearer_slice(volume):
    between = Between(volume, 1, (), np.arange(21) / 4, labels=True)
    np.testing.assert_array_equal(between[WHOLE, slice(5, 8), WHOLE], volume.voxels[:, [1, 1, 2]][:, [0, 1, 2]])


def test_an_index_picks_what_it_picks_of_the_whole(volume):
    between = Between(volume, 1, (), np.arange(11) / 2)
    whole = between[WHOLE, WHOLE, WHOLE]
    for key in ((slice(2, 3), WHOLE, slice(1, 3)), (WHOLE, slice(9, 2, -3), slice(0, 1)), (WHOLE, slice(3, 3), WHOLE)):
        np.testing.assert_array_equal(between[key], whole[key], strict=True)
