import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

import medgs_core as medgs
from medgs_napari._arrays import LayerArray, Part
from medgs_napari._files import (
    get_model_reader,
    get_nifti_reader,
    measured_values,
    nifti_layer,
    read_models,
    read_niftis,
)
from medgs_napari._fit_task import order_fit
from medgs_napari._frames import frame_of_volume
from medgs_napari._layers import layer_volume, pick
from medgs_napari._rendered import FLAT, METADATA
from medgs_napari._sample_data import brain_mri, phantom
from medgs_napari._sections import watch_sections
from medgs_napari._session import Fitted, load_fitted, save_fitted
from medgs_napari._subject import subject_of
from medgs_napari._writers import (
    write_labels,
    write_labels_ome_tiff,
    write_labels_ome_zarr,
    write_nifti,
    write_ome_tiff,
    write_ome_zarr,
)
from medgs_napari._zarr_files import get_zarr_reader, read_zarrs

# napari's own, about tilted slices in 2-D
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
TILT = np.array([[0, 0.1, 3.0, -7], [-0.8, 0, 0, 5], [0, 0.7, -0.4, 9], [0, 0, 0, 1.0]])
AFFINES = {
    "straight": np.diag([0.7, 0.8, 3.0, 1.0]),
    "mirrored": np.array([[-0.7, 0, 0, 30], [0, -0.8, 0, 20], [0, 0, 3.0, -10], [0, 0, 0, 1.0]]),
    "sagittal": np.array([[0, 0, 3.0, -7], [0.8, 0, 0, 5], [0, -0.7, 0, 9], [0, 0, 0, 1.0]]),
    "tilted": TILT,
}


def write(path, affine, voxels=VOXELS, slope=None, intercept=None):
    made = nibabel.Nifti1Image(voxels, affine)
    made.header.set_xyzt_units("mm")
    made.header.set_slope_inter(slope, intercept)
    nibabel.save(made, path)
    return str(path)


def marked(model):
    """Return a model with a label on every fourth slice."""
    voxels = np.zeros(model.volume.shape3d, np.uint8)
    voxels[10:20, 10:20, ::4] = 3
    return medgs.fit_labels(model, medgs.Volume(voxels, model.volume.affine, "mm"))


def layer_of(data, settings, kind="image"):
    return {"image": Image, "labels": Labels}[kind](data, **settings)


@pytest.fixture(params=AFFINES.values(), ids=AFFINES)
def affine(request):
    return request.param


class TestNifti:
    def test_each_voxel_stands_where_the_file_says(self, tmp_path, affine):
        layer = layer_of(*read_niftis(write(tmp_path / "a.nii.gz", affine))[0])
        assert {str(unit) for unit in layer.units} == {"millimeter"}
        where = {
            int(VOXELS[index]): affine[:3] @ [*index, 1]
            for index in ((0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5), (3, 4, 5))
        }
        for index in np.ndindex(layer.data.shape):
            value = int(layer.data[index])
            if value in where:
                np.testing.assert_allclose(np.asarray(layer.data_to_world(index))[::-1], where[value], atol=1e-5)

    def test_axes_go_along_z_y_x_as_near_as_they_can(self, tmp_path, affine):
        layer = layer_of(*read_niftis(write(tmp_path / "a.nii", affine))[0])
        zero = np.asarray(layer.data_to_world((0, 0, 0)))
        for k in range(3):
            step = np.abs(np.asarray(layer.data_to_world(np.eye(3)[k])) - zero)
            assert step.argmax() == k

    def test_what_is_written_reads_back_the_same(self, tmp_path, affine):
        layer = layer_of(*read_niftis(write(tmp_path / "a.nii.gz", affine))[0])
        again = write_nifti(str(tmp_path / "b.nii.gz"), *layer.as_layer_data_tuple()[:2])
        first, second = (nibabel.load(path) for path in (tmp_path / "a.nii.gz", again[0]))
        np.testing.assert_array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj))
        np.testing.assert_allclose(first.affine, second.affine, atol=1e-6)
        assert first.header["sform_code"] == second.header["sform_code"]
        assert second.get_data_dtype() == np.int16

    def test_a_layer_of_any_making_reads_back_in_place(self, tmp_path):
        place = {"scale": (3.0, -0.5, 0.7), "translate": (1.0, 2.0, 3.0), "units": ("um",) * 3}
        layer = Image(VOXELS, rotate=(0.0, 0.0, 30.0), **place)
        (path,) = write_nifti(str(tmp_path / "c.nii"), *layer.as_layer_data_tuple()[:2])
        volume = medgs.read_volume(path)
        assert (volume.unit, volume.shape3d) == ("um", (6, 5, 4))
        for index in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
            at = volume.affine @ [*index[::-1], 1.0]
            np.testing.assert_allclose(at[2::-1], layer.data_to_world(index), atol=1e-5)
            assert volume.voxels[index[::-1]] == VOXELS[index]

    def test_a_rendered_layer_is_written_as_fine_as_it_is(self, tmp_path, model):
        medgs.save_model(model, tmp_path / "scan.medgs")
        ((data, settings, _),) = read_models(str(tmp_path / "scan.medgs"))
        layer = ViewerModel().add_image(data, **settings)
        (path,) = write_nifti(str(tmp_path / "fine"), *layer.as_layer_data_tuple()[:2])
        assert path.endswith("fine.nii.gz")
        wanted, found = medgs.render_volume(model, factor=4), medgs.read_volume(path)
        np.testing.assert_array_equal(found.voxels, wanted.voxels)
        np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-5)

    def test_a_series_is_a_layer_with_time_first(self, tmp_path):
        series = np.stack([VOXELS, VOXELS + 1], axis=3)
        path = write(tmp_path / "s.nii.gz", AFFINES["mirrored"], series)
        layer = layer_of(*read_niftis([path])[0])
        assert (layer.data.shape, layer.axis_labels) == ((2, 6, 5, 4), ("t", "z", "y", "x"))
        for number in (0, 1):
            picked = pick(layer, 1, (number, 0, 0, 0))
            direct = medgs.read_volume(path, volume=number)
            np.testing.assert_array_equal(picked.volume().voxels, direct.voxels)
            assert picked.number == number
        (again,) = write_nifti(str(tmp_path / "t.nii.gz"), *layer.as_layer_data_tuple()[:2])
        np.testing.assert_array_equal(np.asarray(nibabel.load(again).dataobj), series)
        moved = Image(np.array(layer.data), scale=(1, 2, 3, 4))
        assert layer_volume(moved).voxels.shape == (4, 5, 6, 2)

    @pytest.mark.parametrize(
        ("fourth", "count", "labels", "series"),
        [
            (1, 2, ("z", "c", "y", "x"), False),
            (3, 2, ("z", "y", "x", "channel"), False),
            (1, 2, ("z", "t", "y", "x"), True),
            (1, 1, None, True),
        ],
    )
    def test_the_fourth_axis_is_told_by_its_name_or_its_single_step(self, fourth, count, labels, series):
        whole = np.stack([VOXELS.T + number for number in range(count)], axis=fourth)
        scale = np.insert([3.0, 0.5, 0.7], fourth, 1.0)
        written = layer_volume(Image(whole, scale=scale, axis_labels=labels))
        np.testing.assert_array_equal(written.voxels, np.moveaxis(whole, fourth, 0).T)
        assert written.spacing == pytest.approx((0.7, 0.5, 3.0))
        assert written.series == series

    @pytest.mark.parametrize(("shape", "rgb"), [((1, 1, 2, 3, 4), False), ((2, 2, 3, 4, 3), True)])
    def test_a_layer_of_more_axes_is_refused_by_an_error_that_napari_tells(self, tmp_path, shape, rgb):
        layer = Image(np.zeros(shape, np.uint8), rgb=rgb, name="film")
        with pytest.raises(OSError, match=r"holds 3 axes, or 4 with time, got the \d-D (color )?image 'film'; save a"):
            write_nifti(str(tmp_path / "a.nii"), *layer.as_layer_data_tuple()[:2])


PLACES = {
    "anisotropic": {"scale": (3.0, 0.5, 0.7)},
    "moved": {"scale": (3.0, 0.5, 0.7), "translate": (1.0, -2.0, 3.0)},
    "mirrored": {"scale": (3.0, -0.5, 0.7), "translate": (1.0, 2.0, 3.0)},
    "turned": {"scale": (3.0, 0.5, 0.7), "rotate": (10.0, 20.0, 30.0)},
}
UNITS = {"units": ("um",) * 3}


def assert_same_world(first, second):
    """Assert that each voxel of two layers of one order stands at the same place."""
    assert [str(unit) for unit in first.units] == [str(unit) for unit in second.units]
    shape = first.data.shape[-3:]
    for index in ((0, 0, 0), (shape[0] - 1, 0, 0), (0, shape[1] - 1, 0), (1, 2, shape[2] - 1)):
        np.testing.assert_allclose(first.data_to_world(index), second.data_to_world(index), atol=1e-5)


class TestOmeZarr:
    @pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
    def test_a_layer_comes_back_in_place(self, tmp_path, place):
        layer = Image(VOXELS, **place, **UNITS)
        (path,) = write_ome_zarr(str(tmp_path / "a"), *layer.as_layer_data_tuple()[:2])
        assert path.endswith("a.ome.zarr")
        assert get_zarr_reader(path) is read_zarrs
        back = layer_of(*read_zarrs(path)[0])
        assert back.name == "a"
        assert back.dtype == VOXELS.dtype
        assert_same_world(layer, back)
        np.testing.assert_array_equal(np.asarray(back.data), VOXELS)

    def test_the_affine_of_a_file_is_kept_exactly(self, tmp_path, affine):
        layer = layer_of(*read_niftis(write(tmp_path / "a.nii.gz", affine))[0])
        (path,) = write_ome_zarr(str(tmp_path / "b.zarr"), *layer.as_layer_data_tuple()[:2])
        np.testing.assert_array_equal(medgs.read_volume(path).affine, medgs.read_volume(tmp_path / "a.nii.gz").affine)
        assert_same_world(layer, layer_of(*read_zarrs(path)[0]))

    def test_labels_come_back_in_place(self, tmp_path):
        layer = Labels(VOXELS.astype(np.int64), **PLACES["turned"], **UNITS)
        (path,) = write_labels_ome_zarr(str(tmp_path / "a"), *layer.as_layer_data_tuple()[:2])
        back = layer_of(*read_zarrs(path)[0])
        assert_same_world(layer, back)
        np.testing.assert_array_equal(np.asarray(back.data), VOXELS)
        assert back.dtype.itemsize <= 4

    def test_labels_come_back_as_labels_to_paint_on(self, tmp_path):
        layer = Labels(VOXELS, **PLACES["turned"], **UNITS)
        (path,) = write_labels_ome_zarr(str(tmp_path / "a"), *layer.as_layer_data_tuple()[:2])
        back = layer_of(*read_zarrs(path)[0])
        assert isinstance(back, Labels)
        back.data_setitem((np.array([2]), np.array([3]), np.array([1])), 77)
        assert back.data[2, 3, 1] == 77
        assert medgs.read_volume(path).voxels.max() == VOXELS.max()

    def test_streamed_labels_open_as_labels_and_say_what_is_missing(self, tmp_path, model):
        labeled = marked(model)
        stream = medgs.stream_volume(labeled, tmp_path / "a.zarr", labels=True, factor=2)
        stream.fill(4)
        back = layer_of(*read_zarrs(str(tmp_path / "a.zarr"))[0])
        assert isinstance(back, Labels)
        np.testing.assert_array_equal(back.data[4], medgs.render_slice(labeled, 2.0, labels=True).T)
        assert back.metadata[METADATA].summary() == "1 of 17 slices RENDERED\n16 NOT RENDERED YET"

    def test_how_sure_labels_are_opens_as_an_image(self, tmp_path, model):
        medgs.stream_volume(model, tmp_path / "a.zarr", bounds=True).fill_all()
        assert read_zarrs(str(tmp_path / "a.zarr"))[0][2] == "image"

    def test_large_labels_are_in_memory_too(self, tmp_path):
        voxels = np.zeros((6, 4, 300), np.uint8)
        voxels[2:4, :, 100:200] = 5
        medgs.write_volume(medgs.Volume(voxels, np.eye(4)), tmp_path / "a.zarr", labels=True)
        back = layer_of(*read_zarrs(str(tmp_path / "a.zarr"))[0])
        assert (type(back), back.multiscale, type(back.data)) == (Labels, False, np.ndarray)
        np.testing.assert_array_equal(back.data, voxels.transpose(2, 1, 0))

    def test_labels_of_other_programs_open_as_labels(self, tmp_path):
        import zarr

        axes = [{"name": axis, "type": "space"} for axis in "zyx"]
        scale = {"type": "scale", "scale": [3.0, 0.5, 0.7]}
        image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
        facts = {"multiscales": [image], "image-label": {"source": {"image": "../../"}}}
        group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2, attributes=facts)
        group.create_array("0", shape=VOXELS.shape, dtype=VOXELS.dtype)[...] = VOXELS
        back = layer_of(*read_zarrs(str(tmp_path / "a.zarr"))[0])
        assert isinstance(back, Labels)
        np.testing.assert_array_equal(back.data, VOXELS)

    def test_slices_of_ours_are_read_when_they_are_looked_at(self, tmp_path, monkeypatch):
        medgs.write_volume(medgs.Volume(VOXELS, np.eye(4)), tmp_path / "a.zarr")
        ((data, _, _),) = read_zarrs(str(tmp_path / "a.zarr"))
        read = []
        plain = medgs.StreamedVolume.__getitem__
        monkeypatch.setattr(
            medgs.StreamedVolume, "__getitem__", lambda one, key: (read.append(key), plain(one, key))[1]
        )
        np.testing.assert_array_equal(np.asarray(data[2]), VOXELS[:, :, 2].T)
        assert [key[2] for key in read] == [slice(2, 3)]

    def test_in_3d_a_large_one_is_thinned_and_never_read_as_a_whole(self, tmp_path, monkeypatch):
        voxels = np.arange(300, dtype=np.uint16)[:, None, None] + np.zeros((1, 4, 520), np.uint16)
        voxels[:, :, 260:] += 1000
        medgs.write_volume(medgs.Volume(voxels, np.diag([0.5, 2.0, 0.5, 1.0])), tmp_path / "a.zarr")
        layer = layer_of(*read_zarrs(str(tmp_path / "a.zarr"))[0])
        fine, coarse = layer.data
        assert (fine.shape, coarse.shape) == ((520, 4, 300), (256, 4, 256))
        assert layer.contrast_limits == [0.0, 1299.0]
        read, plain = [], medgs.StreamedVolume.__getitem__
        monkeypatch.setattr(
            medgs.StreamedVolume, "__getitem__", lambda one, key: (read.append(plain(one, key)), read[-1])[1]
        )
        shown = np.asarray(coarse)
        assert max(one.size for one in read) <= 520 * 300
        assert sum(one.size for one in read) <= 4 * 520 * 300
        for z, x in ((0, 0), (100, 100), (255, 255)):
            assert shown[z, 0, x] == voxels[x * 300 // 256, 0, z * 520 // 256]

    def test_a_folder_that_is_looked_at_is_not_replaced(self, tmp_path):
        medgs.write_volume(medgs.Volume(VOXELS, np.eye(4)), tmp_path / "a.zarr")
        layer = layer_of(*read_zarrs(str(tmp_path / "a.zarr"))[0])
        with pytest.raises(OSError, match="must be saved to another one"):
            write_ome_zarr(str(tmp_path / "a.zarr"), *layer.as_layer_data_tuple()[:2])
        (path,) = write_ome_zarr(str(tmp_path / "b.zarr"), *layer.as_layer_data_tuple()[:2])
        np.testing.assert_array_equal(medgs.read_volume(path).voxels, VOXELS)

    def test_a_folder_of_labels_that_is_looked_at_is_not_replaced(self, tmp_path, model):
        stream = medgs.stream_volume(marked(model), tmp_path / "a.ome.zarr", labels=True)
        stream.fill_all()
        volume = stream.images[0].place
        frame = frame_of_volume(volume, 2)
        layer = Labels(LayerArray(stream.images[0], frame, Part(), volume), **frame.placed())
        for name in ("a.ome.zarr", "a"):  # the ending comes by itself
            with pytest.raises(OSError, match=r"must be saved to another one, got '.*a\.ome\.zarr'"):
                write_labels_ome_zarr(str(tmp_path / name), *layer.as_layer_data_tuple()[:2])
        (path,) = write_labels_ome_zarr(str(tmp_path / "b"), *layer.as_layer_data_tuple()[:2])
        np.testing.assert_array_equal(medgs.read_volume(path).voxels.T, np.asarray(layer.data))

    def test_channels_of_a_folder_that_is_still_to_be_filled_are_layers(self, tmp_path):
        both = np.stack([VOXELS, VOXELS + 100], axis=3).astype(np.uint16)
        volume = medgs.Volume(both, np.diag([0.5, 0.7, 3.0, 1.0]))
        medgs.create_volume(tmp_path / "a.zarr", volume, 2).write_slice(3, both[:, :, 3])
        layers = [layer_of(*one) for one in read_zarrs(str(tmp_path / "a.zarr"))]
        assert [layer.name for layer in layers] == ["a channel 0", "a channel 1"]
        for channel, layer in enumerate(layers):
            assert tuple(layer.scale) == (3.0, 0.7, 0.5)
            np.testing.assert_array_equal(np.asarray(layer.data[3]), both[:, :, 3, channel].T)
            assert layer.metadata[METADATA].summary() == "1 of 6 slices RENDERED\n5 NOT RENDERED YET"

    def test_color_comes_back_as_color(self, tmp_path):
        color = np.stack([VOXELS, VOXELS + 100, 255 - VOXELS], axis=3).astype(np.uint8)
        layer = Image(color, rgb=True, **PLACES["moved"], **UNITS)
        (path,) = write_ome_zarr(str(tmp_path / "a"), *layer.as_layer_data_tuple()[:2])
        back = layer_of(*read_zarrs(path)[0])
        assert back.rgb
        assert_same_world(layer, back)
        np.testing.assert_array_equal(np.asarray(back.data), color)

    def test_a_series_with_a_slope_shows_what_was_measured(self, tmp_path):
        series = medgs.Volume(np.stack([VOXELS, VOXELS], axis=3), np.eye(4), slope=2.0, series=True)
        medgs.write_volume(series, tmp_path / "a.zarr")
        layer = layer_of(*read_zarrs(str(tmp_path / "a.zarr"))[0])
        assert layer.data.shape == (2, 6, 5, 4)
        assert int(layer.data.max()) == 2 * 119

    def test_a_folder_that_is_still_to_be_filled_says_so(self, tmp_path):
        volume = medgs.Volume(VOXELS, np.eye(4))
        medgs.create_volume(tmp_path / "a.zarr", volume, 2).write_slice(3, VOXELS[:, :, 3])
        layer = layer_of(*read_zarrs(str(tmp_path / "a.zarr"))[0])
        slices = layer.metadata[METADATA]
        assert slices.describe(3) == "RENDERED\nslice 3"
        assert slices.describe(4) == "NOT RENDERED YET\nslice 4"
        assert slices.summary() == "1 of 6 slices RENDERED\n5 NOT RENDERED YET"
        np.testing.assert_array_equal(np.asarray(layer.data[3]), VOXELS[:, :, 3].T)
        with pytest.raises(OSError, match="must have all its slices to be saved, got 'a' with 1 of 6"):
            write_nifti(str(tmp_path / "b.nii"), *layer.as_layer_data_tuple()[:2])

    def test_folders_of_other_programs_open_in_place(self, tmp_path):
        import zarr

        scale = {"type": "scale", "scale": [3.0, 0.5, 0.7]}
        axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
        image = {"axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": [scale]}]}
        group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2, attributes={"multiscales": [image]})
        group.create_array("s0", shape=VOXELS.shape, dtype=VOXELS.dtype)[...] = VOXELS
        back = layer_of(*get_zarr_reader(str(tmp_path / "a.zarr"))(str(tmp_path / "a.zarr"))[0])
        assert_same_world(Image(VOXELS, **PLACES["anisotropic"], **UNITS), back)
        np.testing.assert_array_equal(back.data, VOXELS)

    def test_what_is_no_image_is_left_to_others(self, tmp_path):
        (tmp_path / "empty.zarr").mkdir()
        (tmp_path / "plate.zarr").mkdir()
        (tmp_path / "plate.zarr" / "zarr.json").write_text('{"attributes": {"ome": {"plate": {}}}}')
        (tmp_path / "folder").mkdir()
        (tmp_path / "file.zarr").write_text("{}")
        for name in ("empty.zarr", "plate.zarr", "folder", "file.zarr", "none.zarr"):
            assert get_zarr_reader(str(tmp_path / name)) is None


class TestOmeTiff:
    def test_spacing_and_unit_come_back(self, tmp_path):
        layer = Image(VOXELS, **PLACES["anisotropic"], **UNITS)
        (path,) = write_ome_tiff(str(tmp_path / "a"), *layer.as_layer_data_tuple()[:2])
        assert path.endswith("a.ome.tif")
        back = medgs.read_volume(path)
        np.testing.assert_array_equal(back.voxels, VOXELS)
        np.testing.assert_allclose(back.spacing, (3.0, 0.5, 0.7))
        assert back.unit == "um"

    @pytest.mark.parametrize("place", ["moved", "mirrored", "turned"])
    def test_what_it_cannot_hold_is_told(self, tmp_path, place):
        layer = Image(VOXELS, **PLACES[place], **UNITS)
        with pytest.warns(
            UserWarning, match="holds spacing and unit only, got a layer that is moved, mirrored or turned"
        ):
            (path,) = write_ome_tiff(str(tmp_path / "a.ome.tif"), *layer.as_layer_data_tuple()[:2])
        np.testing.assert_allclose(sorted(medgs.read_volume(path).spacing), (0.5, 0.7, 3.0))

    def test_labels_keep_their_ids(self, tmp_path):
        layer = Labels(VOXELS.astype(np.int64), **PLACES["anisotropic"], **UNITS)
        (path,) = write_labels_ome_tiff(str(tmp_path / "a"), *layer.as_layer_data_tuple()[:2])
        np.testing.assert_array_equal(medgs.read_volume(path).voxels, VOXELS)


class TestMeasuredValues:
    def test_whole_numbers_stay_integers(self):
        volume = medgs.Volume(np.array([[[0, 4000]]], np.uint16), np.eye(4), slope=1.0, intercept=-1024.0)
        measured = measured_values(volume)
        np.testing.assert_array_equal(measured.voxels, [[[-1024, 2976]]])
        assert (measured.voxels.dtype.kind, measured.slope, measured.intercept) == ("i", 1.0, 0.0)

    def test_fractions_become_real_numbers(self):
        volume = medgs.Volume(np.array([[[1, 2]]], np.int16), np.eye(4), slope=0.5)
        np.testing.assert_array_equal(measured_values(volume).voxels, np.array([[[0.5, 1.0]]], np.float32), strict=True)

    def test_a_file_with_a_slope_shows_what_was_measured(self, tmp_path):
        path = write(tmp_path / "ct.nii", AFFINES["straight"], slope=2.0, intercept=-100.0)
        layer = layer_of(*nifti_layer(path))
        assert int(layer.data.max()) == 2 * 119 - 100
        assert pick(layer).origin.path is None


class TestModels:
    def test_a_model_opens_as_a_layer_that_renders(self, tmp_path, model):
        path = str(tmp_path / "scan.medgs")
        medgs.save_model(model, path)
        ((data, settings, kind),) = get_model_reader(path)(path)
        assert (kind, settings["name"]) == ("image", "scan x4")
        layer = ViewerModel().add_image(data, **settings)
        np.testing.assert_allclose(layer.scale, (0.75, 0.8, 0.7))
        np.testing.assert_array_equal(np.asarray(data[0][5]), medgs.render_slice(model, 1.25).T)

    def test_a_model_of_uneven_slices_opens_in_one_layer_of_even_ones(self, tmp_path, scan):
        positions = np.array([0, 2, 4, 5, 7, 9, 11, 13, 20.0])
        volume = medgs.Volume(scan.transpose(2, 1, 0), np.diag([0.7, 0.8, 3.0, 1.0]), "mm", positions=positions)
        fitted = medgs.fit_model(volume, medgs.FitConfig(preset="fast", steps=10, axis="2")).model
        path = str(tmp_path / "uneven.medgs")
        medgs.save_model(fitted, path)
        ((data, settings, _),) = read_models(path)
        layer = ViewerModel().add_image(data, **settings)
        assert (layer.name, layer.scale[0]) == ("uneven 0.5 mm", pytest.approx(0.5))
        np.testing.assert_array_equal(np.asarray(data[0][14]), scan[4])  # at 7 mm, which was measured

    def test_a_model_without_its_source_opens_too(self, tmp_path, model):
        path = str(tmp_path / "small.medgs")
        medgs.save_model(model, path, source=False)
        ((data, settings, _),) = read_models(path)
        assert not settings["metadata"]["medgs_slices"].measured.any()
        assert np.asarray(data[5]).any()

    def test_a_model_of_labels_alone_opens_as_labels_that_nobody_paints_on(self, tmp_path):
        voxels = np.zeros((20, 24, 9), np.uint8)
        voxels[5:15, 5:15] = 4
        drawn = medgs.Volume(voxels, np.diag([0.5, 0.5, 2.0, 1.0]), "um")
        alone = medgs.fit_model(None, medgs.FitConfig(preset="fast", steps=10, axis="2"), labels=drawn).model
        medgs.save_model(alone, tmp_path / "alone.medgs")
        ((data, settings, kind),) = read_models(str(tmp_path / "alone.medgs"))
        assert (kind, settings["name"]) == ("labels", "alone x4 labels")
        viewer = ViewerModel()
        watch_sections(viewer)
        layer = viewer.add_labels(data, **settings)
        assert not layer.editable
        np.testing.assert_allclose(layer.scale, (0.5, 0.5, 0.5))
        wanted = medgs.render_volume(alone, labels=True, factor=4).voxels.transpose(2, 1, 0)
        np.testing.assert_array_equal(np.asarray(layer.data), wanted)
        assert 4 in wanted

    def test_readers_know_their_files(self):
        assert get_model_reader("a.nii") is None
        assert get_nifti_reader(["a.nii", "b.medgs"]) is None
        assert get_nifti_reader("A.NII.GZ") is read_niftis


class TestFlat:
    """A tilted volume whose slices were shown flat."""

    def fitted(self, tmp_path, scan, straight, affine=TILT):
        layer = layer_of(*nifti_layer(write(tmp_path / "a.nii", affine, scan.transpose(2, 1, 0)), straight=straight))
        order = order_fit("", (pick(layer),), medgs.FitConfig(preset="fast", steps=10), factor=2, seconds=1.0)
        return Fitted("scan", medgs.fit_model(order.volume(), order.config).model, order.frames)

    @pytest.mark.parametrize("straight", [True, False])
    def test_a_saved_model_stands_as_it_did_and_knows_where_its_file_says(self, tmp_path, scan, straight):
        fitted, path = self.fitted(tmp_path, scan, straight), str(tmp_path / "scan.medgs")
        for _ in range(2):
            save_fitted(fitted, path)
            loaded, _ = load_fitted(path)
            then, now = fitted.frames[0].place, loaded.frames[0].place
            for name in ("scale", "translate", "rotate", "shear", "affine"):
                np.testing.assert_allclose(now[name], then[name], atol=1e-6)
            assert np.array_equal(now["affine"], np.eye(4)) == straight
            np.testing.assert_allclose(loaded.model.volume.affine, TILT, atol=1e-6)
            assert medgs.model_hash(loaded.model) == medgs.model_hash(fitted.model)
            fitted = loaded

    def test_only_what_lies_flat_is_noted(self, tmp_path, scan):
        for affine, straight in ((TILT, False), (AFFINES["sagittal"], True)):
            save_fitted(self.fitted(tmp_path, scan, straight, affine), str(tmp_path / "scan.medgs"))
            assert FLAT not in medgs.load_model(tmp_path / "scan.medgs").provenance

    @pytest.mark.parametrize("what", ["interpolated", "uncertainty", "labels interpolated"])
    def test_what_it_renders_is_written_where_the_file_says(self, tmp_path, scan, what):
        fitted = self.fitted(tmp_path, scan, True)
        fitted.model = marked(fitted.model)
        (drawn,) = subject_of(fitted, what, medgs.RenderConfig(factor=2)).layers()
        viewer = ViewerModel()
        layer = getattr(viewer, f"add_{drawn.kind}")(drawn.data, **drawn.settings)
        np.testing.assert_array_equal(layer.affine.affine_matrix, np.eye(4))
        writer = write_labels if drawn.kind == "labels" else write_nifti
        (path,) = writer(str(tmp_path / "fine.nii"), *layer.as_layer_data_tuple()[:2])
        wanted = medgs.render_volume(fitted.model, factor=2).affine[:, [2, 0, 1, 3]]  # in the order of the layer
        np.testing.assert_allclose(medgs.read_volume(path).affine, wanted, atol=1e-5)


class TestSamples:
    def test_the_mri_lies_flat(self):
        layer = layer_of(*brain_mri()[0])
        assert layer.data.shape == (2, 24, 96, 128)
        np.testing.assert_array_equal(layer.affine.linear_matrix, np.eye(4))
        assert pick(layer, 1).origin is not None

    def test_the_phantom_stands_in_its_truth(self):
        truth, thick = (layer_of(*one) for one in phantom())
        assert (truth.visible, thick.visible) == (False, True)
        np.testing.assert_array_equal(truth.data[::4].shape, thick.data.shape)
        np.testing.assert_allclose(truth.data_to_world((4, 1, 1)), thick.data_to_world((1, 1, 1)))
