import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._frames import frame_of_volume
from medgs_napari._grids import METADATA, Grid
from medgs_napari._writers import compact_integers, write_labels

SHAPE = (5, 6, 7)
PAINTED = np.random.default_rng(0).integers(0, 4, SHAPE, dtype=np.uint8)


def saved(layer, tmp_path):
    data, meta, _ = layer.as_layer_data_tuple()
    (path,) = write_labels(str(tmp_path / "labels"), data, meta)
    return medgs.read_volume(path)


def test_labels_are_written_where_they_stand(tmp_path):
    place = {"scale": (-3.0, 0.5, 0.7), "translate": (1.0, 2.0, 3.0), "units": ("mm",) * 3}
    layer = ViewerModel().add_labels(PAINTED, **place)
    read = saved(layer, tmp_path)
    np.testing.assert_array_equal(read.voxels, PAINTED.transpose(2, 1, 0), strict=True)
    for index in ((0, 0, 0), (4, 5, 6)):
        at = read.affine @ [*index[::-1], 1.0]
        np.testing.assert_allclose(at[2::-1], layer.data_to_world(index), atol=1e-5)


class TestOnTheGridOfAnImage:
    def tilted(self):
        turn = np.deg2rad(10)
        affine = np.diag([-0.7, 0.5, 3.0, 1.0])
        affine[1:3, 1:3] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * (0.5, 3.0)
        volume = medgs.Volume(np.zeros(SHAPE[::-1], np.int16), affine, "mm", slope=2.0)
        return Grid(volume, frame_of_volume(volume, 2, straight=True))

    def test_labels_are_written_in_its_world_even_if_that_is_shown_straight(self, tmp_path):
        grid = self.tilted()
        layer = ViewerModel().add_labels(PAINTED, **grid.frame.placed(), metadata={METADATA: grid})
        read = saved(layer, tmp_path)
        np.testing.assert_allclose(read.affine, grid.volume.affine, atol=1e-5)
        np.testing.assert_array_equal(read.voxels, PAINTED.transpose(2, 1, 0))

    def test_a_layer_that_was_moved_is_written_where_it_stands(self, tmp_path):
        grid = self.tilted()
        layer = ViewerModel().add_labels(PAINTED, **grid.frame.placed(), metadata={METADATA: grid})
        layer.translate = np.asarray(layer.translate) + 0.3
        read = saved(layer, tmp_path)
        np.testing.assert_allclose((read.affine @ [0, 0, 0, 1])[2::-1], layer.data_to_world((0, 0, 0)), atol=1e-5)


@pytest.mark.parametrize(
    ("largest", "dtype", "stored"),
    [(200, np.int64, np.uint8), (70_000, np.uint64, np.uint32), (9, np.int32, np.int32), (2**40, np.int64, np.uint64)],
)
def test_long_integers_are_shortened_where_they_fit(largest, dtype, stored):
    voxels = np.array([0, largest], dtype)
    short = compact_integers(voxels)
    assert short.dtype == stored
    np.testing.assert_array_equal(short, voxels)


def test_integers_never_become_real_numbers():
    voxels = np.array([-5, 2**40])
    assert compact_integers(voxels) is voxels


def test_labels_of_virtual_layers_are_computed(tmp_path):
    levels = [PAINTED, PAINTED[:, ::2, ::2]]
    layer = ViewerModel().add_labels(levels, multiscale=True)
    np.testing.assert_array_equal(saved(layer, tmp_path).voxels, PAINTED.transpose(2, 1, 0))
