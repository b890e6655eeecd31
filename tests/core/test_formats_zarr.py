import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr

from medgs_core.formats import check_volume_output, read_volume, write_volume
from medgs_core.formats.streamed import open_volume
from medgs_core.volume import NiftiOrientation, Volume, stack_affine

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]
OBLIQUE = np.array([[-0.5, 0.1, 0.2, 10.0], [0.1, -0.6, 0.5, -20.0], [0.05, 0.2, -3.0, 30.0], [0.0, 0.0, 0.0, 1.0]])


def random_voxels(dtype="uint16", shape=(8, 10, 5)):
    return (np.random.default_rng(0).random(shape) * 100).astype(dtype)


def oblique_volume(**changes):
    orientation = NiftiOrientation(OBLIQUE, 1, None, 0, "sec", 2.0)
    known = {"voxels": random_voxels(), "affine": OBLIQUE, "unit": "mm", "orientation": orientation}
    return Volume(**{**known, **changes})


def save(path, voxels, axes, *, scale=None, translation=None, units=None, version="0.5", both=None):
    """Write a store as other programs do."""
    group = zarr.create_group(str(path), zarr_format=2 if version in ("0.1", "0.3", "0.4") else 3)
    group.create_array("scale0", shape=voxels.shape, dtype=voxels.dtype, chunks=voxels.shape)[...] = voxels
    types = {"t": "time", "c": "channel"}
    named = [
        {"name": axis, "type": types.get(axis, "space")} | ({"unit": unit} if unit else {})
        for axis, unit in zip(axes, units or [None] * len(axes), strict=True)
    ]
    places = [] if scale is None else [{"type": "scale", "scale": scale}]
    if translation is not None:
        places.append({"type": "translation", "translation": translation})
    image = {"datasets": [{"path": "scale0", "coordinateTransformations": places}, {"path": "scale1"}]}
    if both is not None:
        image["coordinateTransformations"] = [{"type": "scale", "scale": both}]
    if version == "0.3":
        image["axes"] = list(axes)
    elif version != "0.1":
        image["axes"] = named
    group.attrs.update({"ome": {"multiscales": [image]}} if version == "0.5" else {"multiscales": [image]})
    return path


def attributes(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_type_comes_back(self, tmp_path, dtype):
        volume = oblique_volume(voxels=random_voxels(dtype))
        write_volume(volume, tmp_path / "a.ome.zarr")
        back = read_volume(tmp_path / "a.ome.zarr")
        assert back.voxels.dtype == volume.voxels.dtype
        np.testing.assert_array_equal(back.voxels, volume.voxels)

    def test_oblique_affine_unit_scale_and_orientation_come_back_exactly(self, tmp_path):
        volume = oblique_volume(slope=0.5, intercept=-1000.0, unit="um")
        write_volume(volume, tmp_path / "a.zarr")
        back = read_volume(tmp_path / "a.zarr")
        np.testing.assert_array_equal(back.affine, OBLIQUE)
        assert (back.unit, back.slope, back.intercept) == ("um", 0.5, -1000.0)
        np.testing.assert_array_equal(back.orientation.sform, OBLIQUE)
        assert (back.orientation.sform_code, back.orientation.qform, back.orientation.time_step) == (1, None, 2.0)

    def test_channels_stay_last_and_are_first_in_the_folder(self, tmp_path):
        volume = oblique_volume(voxels=random_voxels("uint8", (8, 10, 5, 3)))
        write_volume(volume, tmp_path / "a.ome.zarr")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.ome.zarr").voxels, volume.voxels)
        assert zarr.open(str(tmp_path / "a.ome.zarr"))["0"].shape == (3, 5, 10, 8)

    def test_series_comes_back_whole_or_one_by_one(self, tmp_path):
        volume = oblique_volume(voxels=random_voxels("uint8", (8, 10, 5, 3)), series=True)
        write_volume(volume, tmp_path / "a.ome.zarr")
        back = read_volume(tmp_path / "a.ome.zarr", volume="all")
        assert back.series
        np.testing.assert_array_equal(back.voxels, volume.voxels)
        one = read_volume(tmp_path / "a.ome.zarr", volume=1)
        assert not one.series
        np.testing.assert_array_equal(one.voxels, volume.voxels[..., 1])
        with pytest.raises(ValueError, match=r"One volume must be chosen from a series, got .* with 3 volumes"):
            read_volume(tmp_path / "a.ome.zarr")
        time, *_ = attributes(tmp_path / "a.ome.zarr")["ome"]["multiscales"][0]["axes"]
        assert time == {"name": "t", "type": "time", "unit": "second"}

    def test_older_store_is_replaced_and_nothing_is_left_beside(self, tmp_path):
        for factor in (1, 2):
            write_volume(oblique_volume(voxels=factor * random_voxels()), tmp_path / "a.zarr")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").voxels, 2 * random_voxels())
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]

    @pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
    def test_fault_leaves_the_older_store_and_nothing_beside(self, tmp_path, monkeypatch, fault):
        write_volume(oblique_volume(), tmp_path / "a.zarr")

        def fail(*_):
            raise fault

        monkeypatch.setattr("medgs_core.formats.streamed.StreamedVolume.write_slice", fail)
        with pytest.raises((KeyboardInterrupt, ValueError), match=r"No space left|^$"):
            write_volume(oblique_volume(voxels=2 * random_voxels()), tmp_path / "a.zarr")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").voxels, random_voxels())
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


class TestWhatOthersSee:
    def test_axes_are_zyx_with_units_scale_and_translation(self, tmp_path):
        affine = np.diag([-0.5, 0.6, 3.0, 1.0])  # x to the left
        affine[:3, 3] = 10.0, -20.0, 30.0
        write_volume(oblique_volume(affine=affine, orientation=None), tmp_path / "scan.ome.zarr")
        ome = attributes(tmp_path / "scan.ome.zarr")["ome"]
        (image,) = ome["multiscales"]
        assert (ome["version"], image["name"]) == ("0.5", "scan")
        assert image["axes"] == [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
        scale, translation = image["datasets"][0]["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [3.0, 0.6, -0.5]}
        assert translation == {"type": "translation", "translation": [30.0, -20.0, 10.0]}
        array = zarr.open(str(tmp_path / "scan.ome.zarr"))[image["datasets"][0]["path"]]
        np.testing.assert_array_equal(array[...], random_voxels().T)
        assert array.metadata.dimension_names == ("z", "y", "x")

    def test_chunks_are_slices_along_the_coarse_axis_of_even_pieces(self, tmp_path):
        volume = Volume(np.zeros((3, 600, 20), np.uint8), stack_affine((5.0, 1.0, 1.0)))
        write_volume(volume, tmp_path / "a.zarr")
        assert zarr.open(str(tmp_path / "a.zarr"))["0"].chunks == (1, 300, 20)

    def test_place_that_another_program_changed_wins_with_a_warning(self, tmp_path, caplog):
        write_volume(oblique_volume(), tmp_path / "a.zarr")
        facts = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
        level = facts["attributes"]["ome"]["multiscales"][0]["datasets"][0]
        level["coordinateTransformations"] = [{"type": "scale", "scale": [7.0, 2.0, 1.0]}]
        (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(facts))
        with caplog.at_level(logging.WARNING):
            back = read_volume(tmp_path / "a.zarr")
        np.testing.assert_array_equal(back.affine, stack_affine((7.0, 2.0, 1.0)))
        np.testing.assert_array_equal(back.voxels, random_voxels().T)
        assert "another program has changed the place" in caplog.text


class TestStoresOfOthers:
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_scale_translation_and_unit_are_read(self, tmp_path, version):
        voxels = random_voxels(shape=(5, 8, 10))
        facts = {"scale": [2.0, 0.5, 0.25], "translation": [1.0, 2.0, 3.0], "units": ["micrometer"] * 3}
        volume = read_volume(save(tmp_path / "a.zarr", voxels, "zyx", version=version, **facts))
        np.testing.assert_array_equal(volume.voxels, voxels)
        affine = stack_affine((2.0, 0.5, 0.25))
        affine[:3, 3] = 3.0, 2.0, 1.0
        np.testing.assert_array_equal(volume.affine, affine)
        assert volume.unit == "um"

    def test_scale_of_all_levels_comes_after_that_of_one(self, tmp_path):
        facts = {"scale": [2.0, 1.0, 1.0], "translation": [1.0, 0.0, 0.0], "both": [3.0, 0.5, 0.5]}
        volume = read_volume(save(tmp_path / "a.zarr", random_voxels(), "zyx", **facts))
        np.testing.assert_array_equal(volume.spacing, (6.0, 0.5, 0.5))
        assert volume.affine[2, 3] == 3.0

    def test_axes_in_different_units_become_one(self, tmp_path):
        facts = {"scale": [2.0, 0.5, 0.5], "units": ["millimeter", "micrometer", "micrometer"]}
        volume = read_volume(save(tmp_path / "a.zarr", random_voxels(), "zyx", **facts))
        np.testing.assert_allclose(volume.spacing, (2000.0, 0.5, 0.5))

    @pytest.mark.parametrize("version", ["0.1", "0.3", "0.4", "0.5"])
    def test_single_time_and_channel_are_no_axes(self, tmp_path, version):
        voxels = random_voxels(shape=(1, 1, 5, 8, 10))
        volume = read_volume(save(tmp_path / "a.zarr", voxels, "tczyx", version=version))
        np.testing.assert_array_equal(volume.voxels, voxels[0, 0])

    def test_channels_move_last_and_a_time_is_chosen(self, tmp_path):
        voxels = random_voxels(shape=(3, 2, 5, 8, 10))
        path = save(tmp_path / "a.zarr", voxels, "tczyx", scale=[1.0, 1.0, 2.0, 1.0, 1.0])
        np.testing.assert_array_equal(read_volume(path, volume=1).voxels, np.moveaxis(voxels[1], 0, -1))
        with pytest.raises(ValueError, match="with 3 volumes; choose one from 0 to 2"):
            read_volume(path)

    def test_film_has_its_frames_as_slices(self, tmp_path):
        voxels = random_voxels(shape=(5, 8, 10))
        volume = read_volume(save(tmp_path / "a.zarr", voxels, "tyx", scale=[0.1, 2.0, 2.0]))
        np.testing.assert_array_equal(volume.voxels, voxels)
        np.testing.assert_allclose(volume.spacing, (0.1, 2.0, 2.0))

    def test_image_in_a_numbered_group_is_found(self, tmp_path):
        zarr.create_group(str(tmp_path / "a.zarr"), attributes={"ome": {"bioformats2raw.layout": 3}})
        save(tmp_path / "a.zarr" / "0", random_voxels(), "zyx", scale=[2.0, 1.0, 1.0])
        np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").voxels, random_voxels())

    def test_missing_spacing_is_said_and_can_be_given(self, tmp_path, caplog):
        path = save(tmp_path / "a.zarr", random_voxels(), "zyx")
        assert read_volume(path).spacing == (1.0, 1.0, 1.0)
        assert "--voxel-size" in caplog.text
        assert read_volume(path, voxel_size=(3.0, 2.0, 1.0)).spacing == (3.0, 2.0, 1.0)

    def test_plain_array_is_a_volume(self, tmp_path):
        zarr.create_array(str(tmp_path / "a.zarr"), data=random_voxels())
        np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").voxels, random_voxels())

    @pytest.mark.parametrize("code", ["q", "Q", "l", "L", "i", "I"])
    def test_integers_of_c_are_those_of_their_size(self, tmp_path, code):
        voxels = random_voxels("int16").astype(code)
        write_volume(Volume(voxels, np.eye(4)), tmp_path / "a.zarr")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").voxels, voxels, strict=True)

    def test_voxels_of_the_other_byte_order_become_native(self, tmp_path):
        volume = read_volume(save(tmp_path / "a.zarr", random_voxels(">i2"), "zyx", scale=[2.0, 1.0, 1.0]))
        assert volume.voxels.dtype == np.dtype(np.int16)
        np.testing.assert_array_equal(volume.voxels, random_voxels("int16"))


class TestRefused:
    def refused(self, path, match, **how):
        with pytest.raises(ValueError, match=match) as caught:
            read_volume(path, **how)
        assert "\n" not in str(caught.value)

    def test_folder_that_is_no_store(self, tmp_path):
        (tmp_path / "a.zarr").mkdir()
        self.refused(tmp_path / "a.zarr", "must be a complete OME-Zarr folder, got")

    def test_file_with_the_name_of_a_folder(self, tmp_path):
        (tmp_path / "a.zarr").write_bytes(b"PK")
        self.refused(tmp_path / "a.zarr", "must be a folder, got the file")

    def test_missing_path(self, tmp_path):
        self.refused(tmp_path / "a.zarr", "must be an existing file")
        assert not (tmp_path / "a.zarr").exists()

    @pytest.mark.parametrize("text", ["", "{", '{"zarr_format": 3, "node_type": "group", "attributes": {"ome": 3}}'])
    def test_damaged_attributes(self, tmp_path, text):
        write_volume(oblique_volume(), tmp_path / "a.zarr")
        (tmp_path / "a.zarr" / "zarr.json").write_text(text)
        self.refused(tmp_path / "a.zarr", "must be a complete OME-Zarr folder, got")

    def test_lost_chunk(self, tmp_path):
        write_volume(oblique_volume(voxels=np.zeros((8, 10, 5), np.uint8)), tmp_path / "a.zarr")
        shutil.rmtree(tmp_path / "a.zarr" / "0" / "c" / "3")
        self.refused(tmp_path / "a.zarr", "1 of 5 chunks are missing")

    def test_damaged_chunk(self, tmp_path):
        write_volume(oblique_volume(), tmp_path / "a.zarr")
        (chunk,) = [path for path in (tmp_path / "a.zarr" / "0" / "c" / "3").rglob("*") if path.is_file()]
        chunk.write_bytes(chunk.read_bytes()[:-9] + b"123456789")
        self.refused(tmp_path / "a.zarr", "must be a complete OME-Zarr folder, got")

    def test_plane_without_slices(self, tmp_path):
        self.refused(save(tmp_path / "a.zarr", random_voxels(shape=(8, 10)), "yx"), "must be a stack of slices")

    def test_transformation_that_is_no_scale(self, tmp_path):
        path = save(tmp_path / "a.zarr", random_voxels(), "zyx", scale=[2.0, 1.0, 1.0])
        text = (path / "zarr.json").read_text().replace('"scale",', '"rotation",', 1)
        (path / "zarr.json").write_text(text)
        self.refused(path, "a coordinate transformation of type 'rotation'")

    def test_combined_images(self, tmp_path):
        from medgs_core.members import combine_volumes

        with pytest.raises(ValueError, match="A file must hold one image, got 2 combined ones"):
            write_volume(combine_volumes(oblique_volume(), oblique_volume()), tmp_path / "a.zarr")

    def test_uneven_positions(self, tmp_path):
        volume = replace(oblique_volume(), positions=np.array([0.0, 1.0, 3.0, 4.0, 5.0]))
        with pytest.raises(ValueError, match="must be evenly spaced"):
            write_volume(volume, tmp_path / "a.zarr")

    def test_voxel_type_that_zarr_lacks(self, tmp_path):
        volume = oblique_volume(voxels=random_voxels(np.longdouble))
        for refuse in (
            lambda: write_volume(volume, tmp_path / "a.zarr"),
            lambda: check_volume_output("a.zarr", volume),
        ):
            with pytest.raises(ValueError, match=r"OME-Zarr cannot hold voxels of type .*; write NIfTI"):
                refuse()

    def test_labels_say_that_they_are_labels_and_images_do_not(self, tmp_path):
        import zarr

        for name, labels in (("labels.zarr", True), ("image.zarr", False)):
            write_volume(oblique_volume(), tmp_path / name, labels=labels)
            assert ("image-label" in zarr.open(str(tmp_path / name)).attrs["ome"]) == labels
            np.testing.assert_array_equal(read_volume(tmp_path / name).voxels, oblique_volume().voxels)

    def test_folder_of_other_things_is_not_replaced(self, tmp_path):
        (tmp_path / "a.zarr").mkdir()
        (tmp_path / "a.zarr" / "thesis.txt").write_text("mine")
        for refuse in (write_volume, lambda volume, path: check_volume_output(path, volume)):
            with pytest.raises(ValueError, match="must replace nothing but a Zarr store, got the folder"):
                refuse(oblique_volume(), tmp_path / "a.zarr")
        assert (tmp_path / "a.zarr" / "thesis.txt").read_text() == "mine"

    def test_file_in_the_way(self, tmp_path):
        (tmp_path / "a.zarr").write_text("mine")
        with pytest.raises(ValueError, match="The output must be a folder, got the file"):
            write_volume(oblique_volume(), tmp_path / "a.zarr")

    def test_slice_by_slice_needs_a_folder_of_ours(self, tmp_path):
        save(tmp_path / "a.zarr", random_voxels(), "zyx", scale=[2.0, 1.0, 1.0])
        with pytest.raises(ValueError, match="must have been written by medgs"):
            open_volume(tmp_path / "a.zarr")
