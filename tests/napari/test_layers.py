import dask.array
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

import medgs_core as medgs
from medgs_napari._axes import guess_slice_axis, size_note
from medgs_napari._fit_task import order_fit
from medgs_napari._frames import axis_names, frame_of_volume
from medgs_napari._layers import METADATA, Origin, joint_name, layer_data, layer_volume, pick
from medgs_napari._virtual import virtual_layers

VOXELS = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
PLACES = {
    "plain": {},
    "anisotropic": {"scale": (3.0, 0.5, 0.7), "translate": (10.0, -4.0, 2.0)},
    "negative": {"scale": (-3.0, 0.5, -0.7), "translate": (1.0, 2.0, 3.0)},
    "rotated in plane": {"scale": (3.0, 0.5, 0.7), "rotate": (0.0, 0.0, 20.0), "translate": (5.0, 6.0, 7.0)},
    "sheared": {"scale": (3.0, 0.5, 0.7), "shear": (0.0, 0.0, 0.3)},
    "affine": {
        "scale": (2.0, 1.0, 1.0),
        "affine": np.array([[1.5, 0, 0, 4], [0, 0.9, 0.1, -2], [0, -0.1, 0.9, 3], [0, 0, 0, 1.0]]),
    },
}


def image(voxels=VOXELS, **settings):
    return Image(voxels, **settings)


def model_of(picked, axis):
    volume = picked.volume()
    config = medgs.FitConfig(preset="fast", steps=2, gaussians=50, axis=str(axis))
    return medgs.fit_model(volume, config).model


def world(layer, *index):
    return np.asarray(layer.data_to_world(index))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
class TestPlace:
    def test_the_volume_stands_where_the_layer_does(self, place):
        layer = image(**place)
        picked = pick(layer)
        for index in ((0, 0, 0), (4, 5, 6), (1, 3, 2)):
            at = picked.affine @ [*index[::-1], 1.0]
            np.testing.assert_allclose(at[2::-1], world(layer, *index), atol=1e-9)
            assert picked.volume().voxels[index[::-1]] == VOXELS[index]

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_measured_slices_keep_their_place_in_a_finer_layer(self, place, axis):
        layer = image(**place)
        picked = pick(layer, axis)
        model = model_of(picked, picked.frame.volume_axis)
        (drawn,) = virtual_layers("fine", model, (picked.frame,), medgs.RenderConfig(factor=3))
        fine = ViewerModel().add_image(drawn.data, **drawn.settings)
        assert fine.data[0].shape[axis] == (VOXELS.shape[axis] - 1) * 3 + 1
        for k in range(VOXELS.shape[axis]):
            coarse_index, fine_index = [1, 2, 3], [1, 2, 3]
            coarse_index[axis], fine_index[axis] = k, 3 * k
            np.testing.assert_allclose(world(fine, *fine_index), world(layer, *coarse_index), atol=1e-6)
            np.testing.assert_array_equal(
                np.take(np.asarray(fine.data[0]), 3 * k, axis), np.take(VOXELS, k, axis), strict=True
            )

    def test_the_extent_agrees_within_half_a_voxel(self, place):
        layer = image(**place)
        picked = pick(layer, 0)
        model = model_of(picked, picked.frame.volume_axis)
        (drawn,) = virtual_layers("fine", model, (picked.frame,), medgs.RenderConfig(factor=4))
        fine = ViewerModel().add_image(drawn.data, **drawn.settings)
        half = 0.5 * np.abs(world(layer, 1, 1, 1) - world(layer, 0, 0, 0))
        assert np.all(np.abs(fine.extent.world - layer.extent.world) <= half + 1e-6)

    def test_positions_from_a_later_slice_on_stand_there(self, place):
        layer = image(**place)
        picked = pick(layer, 0)
        model = model_of(picked, picked.frame.volume_axis)
        config = medgs.RenderConfig(positions=(1.0, 1.5, 2.0))
        (drawn,) = virtual_layers("part", model, (picked.frame,), config)
        part = ViewerModel().add_image(drawn.data, **drawn.settings)
        np.testing.assert_allclose(world(part, 2, 0, 0), world(layer, 2, 0, 0), atol=1e-6)
        np.testing.assert_allclose(world(part, 0, 0, 0), world(layer, 1, 0, 0), atol=1e-6)


class TestLook:
    def test_everything_but_the_slice_axis_is_kept(self):
        layer = image(
            scale=(3.0, 0.5, 0.7),
            units=("mm", "mm", "mm"),
            axis_labels=("depth", "row", "column"),
            contrast_limits=(3, 90),
            colormap="magma",
            blending="additive",
            gamma=0.8,
        )
        picked = pick(layer)
        model = model_of(picked, picked.frame.volume_axis)
        (drawn,) = virtual_layers("fine", model, (picked.frame,), medgs.RenderConfig(factor=2))
        fine = ViewerModel().add_image(drawn.data, **drawn.settings)
        np.testing.assert_allclose(fine.scale, (1.5, 0.5, 0.7))
        for name in ("units", "axis_labels", "contrast_limits", "blending", "gamma", "dtype"):
            assert getattr(fine, name) == getattr(layer, name)
        assert fine.colormap.name == "magma"

    def test_color_stays_color(self):
        voxels = np.random.default_rng(0).integers(0, 255, (4, 20, 24, 3), dtype=np.uint8)
        layer = image(voxels, rgb=True)
        picked = pick(layer, 0)
        model = model_of(picked, picked.frame.volume_axis)
        (drawn,) = virtual_layers("fine", model, (picked.frame,), medgs.RenderConfig(factor=2))
        fine = ViewerModel().add_image(drawn.data, **drawn.settings)
        assert fine.rgb
        np.testing.assert_array_equal(np.asarray(fine.data[0])[::2], voxels)

    def test_uneven_slices_are_refused(self):
        picked = pick(image(), 0)
        model = model_of(picked, picked.frame.volume_axis)
        with pytest.raises(ValueError, match=r"must be evenly spaced, got gaps from .*; give a spacing"):
            virtual_layers("x", model, (picked.frame,), medgs.RenderConfig(positions=(0.0, 1.0, 3.0)))


class TestAxes:
    def test_axes_without_labels_are_called_x_y_z(self):
        assert axis_names(("-4", "-3", "-2", "-1")) == ("axis -4", "z", "y", "x")
        assert axis_names(("t", "-2", "-1")) == ("t", "y", "x")

    def test_slices_lie_along_the_largest_spacing(self):
        assert guess_slice_axis(image(scale=(1.0, 1.0, 2.5))) == 2
        assert guess_slice_axis(image(scale=(1.0, -4.0, 2.5))) == 1

    def test_units_count_in_the_spacing(self):
        layer = image(scale=(1.0, 400.0, 400.0), units=("um", "nm", "nm"))
        assert guess_slice_axis(layer) == 0

    def test_a_tie_goes_to_the_first_axis(self):
        assert guess_slice_axis(image()) == 0

    def test_the_frames_of_a_film_are_its_slices(self):
        assert guess_slice_axis(image(scale=(1.0, 9.0, 9.0), axis_labels=("t", "y", "x"))) == 0
        assert guess_slice_axis(image(scale=(1.0, 9.0, 9.0), units=("s", "mm", "mm"))) == 0

    def test_a_film_of_stacks_gives_the_stack_of_one_time(self):
        voxels = np.random.default_rng(0).integers(0, 99, (3, 5, 6, 7), dtype=np.int16)
        layer = image(voxels, scale=(9.0, 3.0, 1.0, 1.0), translate=(5.0, 0.0, 0.0, 0.0), axis_labels=tuple("tzyx"))
        picked = pick(layer, steps=(2, 0, 0, 0))
        assert guess_slice_axis(layer) == 1
        np.testing.assert_array_equal(picked.volume().voxels, voxels[2].transpose(2, 1, 0))
        model = model_of(picked, picked.frame.volume_axis)
        (drawn,) = virtual_layers("fine", model, (picked.frame,), medgs.RenderConfig(factor=2))
        fine = ViewerModel().add_image(drawn.data, **drawn.settings)
        assert fine.data[0].shape == (1, 9, 6, 7)
        np.testing.assert_allclose(world(fine, 0, 2, 1, 1), world(layer, 2, 1, 1, 1))
        np.testing.assert_array_equal(np.asarray(fine.data[0])[0, ::2], voxels[2])

    def test_a_film_of_stacks_may_be_fitted_along_time(self):
        voxels = np.random.default_rng(0).integers(0, 99, (3, 5, 6, 7), dtype=np.int16)
        picked = pick(image(voxels), 0, steps=(0, 4, 0, 0))
        np.testing.assert_array_equal(picked.volume().voxels, voxels[:, 4].transpose(2, 1, 0))

    def test_channels_are_no_slices_and_no_part_of_one(self):
        layer = image(np.zeros((5, 3, 6, 7), np.uint8), scale=(2.0, 9.0, 1.0, 1.0), axis_labels=("z", "c", "y", "x"))
        assert guess_slice_axis(layer) == 0
        assert pick(layer, 0, (0, 1, 0, 0)).steps == (None, 1, None, None)

    def test_a_flat_image_is_refused(self):
        with pytest.raises(ValueError, match=r"needs a stack of slices, got the 2-D image 'flat'; choose"):
            pick(image(np.zeros((5, 6)), name="flat"))


class TestData:
    def test_of_several_levels_the_finest_is_fitted(self):
        layer = image([VOXELS, VOXELS[:, ::2, ::2]], multiscale=True)
        np.testing.assert_array_equal(pick(layer).volume().voxels, VOXELS.transpose(2, 1, 0))

    def test_data_to_be_computed_are_computed_and_their_size_is_told(self):
        layer = image(dask.array.from_array(VOXELS))
        assert size_note(layer, 0) == "The image is read or computed as a whole, into 0.1 MiB of memory."
        assert size_note(image(), 0) == ""
        np.testing.assert_array_equal(pick(layer).volume().voxels, VOXELS.transpose(2, 1, 0))

    def test_units_of_length_are_kept_and_mixed_ones_become_one(self):
        picked = pick(image(scale=(2.0, 500.0, 500.0), units=("um", "nm", "nm")))
        assert picked.unit == "nm"
        np.testing.assert_allclose(picked.volume().spacing, (500.0, 500.0, 2000.0))
        assert pick(image()).unit == "unknown"

    def test_what_was_picked_outlives_the_layer(self):
        viewer = ViewerModel()
        layer = viewer.add_image(VOXELS.copy(), name="first")
        picked = pick(layer)
        layer.name = "second"
        viewer.layers.clear()
        assert picked.name == "first"
        np.testing.assert_array_equal(picked.volume().voxels, VOXELS.transpose(2, 1, 0))


class TestOrigin:
    def layer(self, **changes):
        volume = medgs.Volume(VOXELS.transpose(2, 1, 0), np.diag([0.7, -0.5, 3.0, 1.0]), "mm")
        frame = frame_of_volume(volume, 2)
        settings = {**frame.place, "metadata": {METADATA: Origin(volume, "scan.nii", frame)}, **changes}
        return volume, image(layer_data(volume, frame.order), **settings)

    def test_an_untouched_layer_gives_the_volume_of_its_file(self):
        volume, layer = self.layer()
        assert pick(layer).volume() is volume
        assert pick(layer).origin.path == "scan.nii"
        assert layer_volume(layer) is volume

    @pytest.mark.parametrize("change", [{"scale": (3.0, 1.0, 1.0)}, {"translate": (1.0, 0.0, 0.0)}, {"units": None}])
    def test_a_layer_that_was_moved_has_no_file(self, change):
        _, layer = self.layer(**change)
        assert pick(layer).origin is None

    def test_a_layer_with_other_data_has_no_file(self):
        _, layer = self.layer()
        layer.data = layer.data + 1
        assert pick(layer).origin is None

    def test_beside_a_layer_without_a_file_it_counts_as_one_too(self):
        affine = np.array([[0, 0, 3.0, 1], [0.7, 0, 0, 2], [0, 0.5, 0, 3], [0, 0, 0, 1.0]])
        volume = medgs.Volume(VOXELS.transpose(2, 1, 0), affine, "mm")
        frame = frame_of_volume(volume, 2)
        data = layer_data(volume, frame.order)
        first = image(data, **frame.place, metadata={METADATA: Origin(volume, "scan.nii", frame)})
        second = image(data * 2, **frame.place)
        picks = tuple(pick(one, 2) for one in (first, second))
        assert picks[0].frame.order != picks[1].frame.order
        order = order_fit("", picks, medgs.FitConfig(), factor=2, seconds=1.0)
        both = medgs.combine_volumes(*(one.volume() for one in order.picks))
        np.testing.assert_array_equal(both.voxels[..., 0] * 2, both.voxels[..., 1])
        assert [one.path for one in order.recipe.inputs] == [None, None]


@pytest.mark.parametrize(
    ("names", "joint"),
    [
        (["scan"], "scan"),
        (["scan", "second"], "scan + second"),
        (["sample brain ch1", "sample brain ch2"], "sample brain ch1 + ch2"),
        (["sub-01_T1w", "sub-01_T2w"], "sub-01_T1w + T2w"),
        (["brain", "brain [1]"], "brain + brain [1]"),
        (["brain", "brains"], "brain + brains"),
        (["scan", "scan"], "scan + scan"),
    ],
)
def test_words_that_all_names_begin_with_are_said_once(names, joint):
    assert joint_name(names) == joint
