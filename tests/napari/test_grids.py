import numpy as np
import pytest
from napari.layers import Image, Labels

import medgs_core as medgs
from medgs_napari._grids import Grid, grid_of_pick
from medgs_napari._layers import pick

SHAPE = (5, 6, 7)
PAINTED = np.random.default_rng(0).integers(0, 4, SHAPE, dtype=np.uint8)
PLACES = {
    "plain": {},
    "anisotropic": {"scale": (3.0, 0.5, 0.7), "translate": (10.0, -4.0, 2.0)},
    "negative": {"scale": (-3.0, 0.5, -0.7), "translate": (1.0, 2.0, 3.0)},
    "rotated in plane": {"scale": (3.0, 0.5, 0.7), "rotate": (0.0, 0.0, 20.0), "translate": (5.0, 6.0, 7.0)},
}


def grid_of(**place):
    return grid_of_pick(pick(Image(np.zeros(SHAPE, np.int16), **place), 0))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
class TestPlace:
    def test_what_is_painted_is_found_at_its_voxel(self, place):
        grid = grid_of(**place)
        volume = grid.label_volume(Labels(PAINTED, **place))
        np.testing.assert_array_equal(volume.voxels, PAINTED.transpose(2, 1, 0))
        np.testing.assert_array_equal(grid.layer_data(volume), PAINTED)

    def test_an_axis_may_count_the_other_way_round(self, place):
        layer = Labels(PAINTED[::-1, :, ::-1], **place)
        flipped = np.diag([-1.0, 1.0, -1.0, 1.0])
        flipped[0, 3], flipped[2, 3] = SHAPE[0] - 1, SHAPE[2] - 1
        own = layer._transforms["data2physical"].affine_matrix
        layer = Labels(PAINTED[::-1, :, ::-1], affine=own @ flipped)
        volume = grid_of(**place).label_volume(layer)
        np.testing.assert_array_equal(volume.voxels, PAINTED.transpose(2, 1, 0))

    def test_a_layer_that_was_moved_by_a_part_of_a_voxel_is_refused(self, place):
        layer = Labels(PAINTED, **place)
        layer.translate = np.asarray(layer.translate) + 0.2
        with pytest.raises(ValueError, match=r"must have the voxels of the image they are for, got .*; press New"):
            grid_of(**place).label_volume(layer)


class TestGrid:
    def test_units_are_compared(self):
        grid = grid_of(scale=(3.0, 0.5, 0.5), units=("um",) * 3)
        same = Labels(PAINTED, scale=(3000.0, 500.0, 500.0), units=("nm",) * 3)
        np.testing.assert_array_equal(grid.label_volume(same).voxels, PAINTED.transpose(2, 1, 0))
        with pytest.raises(ValueError, match="of another size"):
            grid.label_volume(Labels(PAINTED, scale=(3.0, 0.5, 0.5), units=("nm",) * 3))

    @pytest.mark.parametrize("shape", [(4, 6, 7), (6, 7)])
    def test_too_small_a_layer_is_refused(self, shape):
        with pytest.raises(ValueError, match=r"got (shape 4 x 6 x 7|2 axes) in 'small'"):
            grid_of().label_volume(Labels(np.zeros(shape, np.uint8), name="small"))

    def test_finer_slices_are_refused(self):
        fine = Labels(np.zeros((9, 6, 7), np.uint8), scale=(1.5, 1.0, 1.0))
        with pytest.raises(ValueError, match="another size"):
            grid_of(scale=(3.0, 1.0, 1.0)).label_volume(fine)

    def test_of_a_film_the_time_that_was_fitted_is_taken(self):
        place = {"scale": (2.0, 3.0, 0.5, 0.5)}
        film = Image(np.zeros((4, *SHAPE), np.int16), **place)
        grid = grid_of_pick(pick(film, 1, (2, 0, 0, 0)))
        assert grid.shape == (1, *SHAPE)
        drawn = np.zeros((4, *SHAPE), np.uint8)
        drawn[2] = PAINTED
        for layer in (Labels(drawn, **place), Labels(PAINTED, scale=place["scale"][1:])):
            np.testing.assert_array_equal(grid.label_volume(layer).voxels, PAINTED.transpose(2, 1, 0))

    def test_the_brush_does_not_reach_the_copy(self):
        layer = Labels(PAINTED.copy())
        volume = grid_of().label_volume(layer)
        layer.data[:] = 0
        np.testing.assert_array_equal(volume.voxels, PAINTED.transpose(2, 1, 0))

    def test_labels_are_plain_whatever_the_image_is(self):
        volume = medgs.Volume(np.zeros((7, 6, 5), np.int16), np.eye(4), slope=2.0, intercept=-5.0)
        frame = pick(Image(np.zeros(SHAPE, np.int16)), 0).frame
        labels = Grid(volume, frame).label_volume(Labels(PAINTED))
        assert (labels.slope, labels.intercept, labels.channels) == (1.0, 0.0, 1)
