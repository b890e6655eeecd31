from dataclasses import replace

import numpy as np
import pytest
import tifffile

from medgs_core.formats import read_volume, write_volume
from medgs_core.volume import Volume, resample_axis, stack_affine

OME_DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
SPACING_TOLERANCE = 1e-6  # relative: TIFF keeps resolution as a ratio of two 32-bit integers


def random_voxels(dtype="uint16", shape=(5, 8, 10)):
    return (np.random.default_rng(0).random(shape) * 100).astype(dtype)


def save_imagej(path, voxels, axes="ZYX", **metadata):
    tifffile.imwrite(path, voxels, imagej=True, resolution=(1 / 0.2, 1 / 0.3), metadata={"axes": axes, **metadata})
    return path


def save_ome(path, voxels, axes="ZYX", **metadata):
    tifffile.imwrite(path, voxels, ome=True, photometric="minisblack", metadata={"axes": axes, **metadata})
    return path


class TestReading:
    def test_imagej_spacing_and_unit(self, tmp_path):
        voxels = random_voxels()
        volume = read_volume(save_imagej(tmp_path / "a.tif", voxels, spacing=1.5, unit="um"))
        np.testing.assert_array_equal(volume.voxels, voxels)
        np.testing.assert_allclose(volume.spacing, (1.5, 0.3, 0.2), rtol=SPACING_TOLERANCE)
        assert volume.unit == "um"

    @pytest.mark.parametrize(
        ("name", "unit"),
        [("micron", "um"), ("\\u00B5m", "um"), ("mm", "mm"), ("inch", "inch"), ("pixel", "unknown")],
    )
    def test_imagej_unit_names(self, tmp_path, name, unit):
        assert read_volume(save_imagej(tmp_path / "a.tif", random_voxels(), spacing=2.0, unit=name)).unit == unit

    def test_ome_spacing_and_unit(self, tmp_path):
        sizes = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3, "PhysicalSizeZ": 1.5}
        units = {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}
        volume = read_volume(save_ome(tmp_path / "a.ome.tif", random_voxels(), **sizes, **units))
        np.testing.assert_allclose(volume.spacing, (1.5, 0.3, 0.2), rtol=SPACING_TOLERANCE)
        assert volume.unit == "mm"

    def test_ome_default_unit_is_micrometer(self, tmp_path):
        sizes = {"PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0, "PhysicalSizeZ": 2.0}
        assert read_volume(save_ome(tmp_path / "a.ome.tif", random_voxels(), **sizes)).unit == "um"

    def test_ome_axes_in_different_units_become_one(self, tmp_path):
        sizes = {"PhysicalSizeX": 200.0, "PhysicalSizeY": 300.0, "PhysicalSizeZ": 1.5}
        units = {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm", "PhysicalSizeZUnit": "µm"}
        volume = read_volume(save_ome(tmp_path / "a.ome.tif", random_voxels(), **sizes, **units))
        np.testing.assert_allclose(volume.spacing, (1500.0, 300.0, 200.0), rtol=SPACING_TOLERANCE)
        assert volume.unit == "nm"

    def test_given_voxel_size_wins(self, tmp_path):
        path = save_imagej(tmp_path / "a.tif", random_voxels(), spacing=1.5, unit="um")
        volume = read_volume(path, voxel_size=(4.0, 0.5, 0.25))
        np.testing.assert_allclose(volume.spacing, (4.0, 0.5, 0.25))

    def test_plain_tiff_has_unit_voxels_and_says_so(self, tmp_path, caplog):
        tifffile.imwrite(tmp_path / "a.tif", random_voxels(), resolution=(72, 72), resolutionunit="INCH")
        volume = read_volume(tmp_path / "a.tif")
        assert (volume.spacing, volume.unit) == ((1.0, 1.0, 1.0), "unknown")
        assert "--voxel-size" in caplog.text

    @pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "packbits"])
    def test_compressed_pages_are_read(self, tmp_path, compression):
        voxels = random_voxels()
        tifffile.imwrite(tmp_path / "a.tif", voxels, compression=compression)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").voxels, voxels)

    @pytest.mark.parametrize("dtype", [*OME_DTYPES, "int64", "uint64", "float16"])
    def test_every_type_is_read_as_stored(self, tmp_path, dtype):
        voxels = random_voxels(dtype)
        tifffile.imwrite(tmp_path / "a.tif", voxels, byteorder=">")
        volume = read_volume(tmp_path / "a.tif")
        assert volume.voxels.dtype == voxels.dtype
        np.testing.assert_array_equal(volume.voxels, voxels)

    def test_one_bit_pixels_become_bytes(self, tmp_path):
        mask = random_voxels() > 50
        tifffile.imwrite(tmp_path / "a.tif", mask)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").voxels, mask.astype(np.uint8))

    @pytest.mark.parametrize("ending", [".tif", ".ome.tif"])
    def test_all_volumes_of_a_series_are_channels_and_are_written_as_a_series(self, tmp_path, ending):
        series = random_voxels("uint16", (3, 5, 8, 10))
        volume = read_volume(save_ome(tmp_path / "a.ome.tif", series, "TZYX"), volume="all", voxel_size=(2.0, 1.0, 1.0))
        np.testing.assert_array_equal(volume.voxels, np.moveaxis(series, 0, -1))
        assert volume.series
        write_volume(volume, tmp_path / f"b{ending}")
        with tifffile.TiffFile(tmp_path / f"b{ending}") as written:
            assert written.series[0].axes == "TZYX"
            np.testing.assert_array_equal(written.asarray(), series)

    def test_all_volumes_with_channels_are_refused(self, tmp_path):
        path = save_ome(tmp_path / "a.ome.tif", random_voxels("uint16", (3, 5, 2, 8, 10)), "TZCYX")
        with pytest.raises(ValueError, match=r"only if they have none, got 2 channels in '.*'; choose one volume"):
            read_volume(path, volume="all", voxel_size=(2.0, 1.0, 1.0))

    def test_channels_move_last(self, tmp_path):
        voxels = random_voxels(shape=(5, 2, 8, 10))
        volume = read_volume(save_imagej(tmp_path / "a.tif", voxels, "ZCYX"))
        np.testing.assert_array_equal(volume.voxels, np.moveaxis(voxels, 1, -1))

    def test_channels_before_slices_move_last(self, tmp_path):
        voxels = random_voxels(shape=(2, 5, 8, 10))
        volume = read_volume(save_ome(tmp_path / "a.ome.tif", voxels, "CZYX"))
        np.testing.assert_array_equal(volume.voxels, np.moveaxis(voxels, 0, -1))

    def test_rgb_pages_are_three_channels(self, tmp_path):
        voxels = random_voxels("uint8", (5, 8, 10, 3))
        tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="rgb")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").voxels, voxels)

    def test_frames_without_z_are_slices(self, tmp_path):
        voxels = random_voxels()
        np.testing.assert_array_equal(read_volume(save_imagej(tmp_path / "a.tif", voxels, "TYX")).voxels, voxels)

    def test_one_of_many_time_points_is_taken(self, tmp_path):
        voxels = random_voxels(shape=(3, 5, 8, 10))
        path = save_imagej(tmp_path / "a.tif", voxels, "TZYX")
        np.testing.assert_array_equal(read_volume(path, volume=1).voxels, voxels[1])

    def test_time_points_without_a_choice_are_refused(self, tmp_path):
        path = save_imagej(tmp_path / "a.tif", random_voxels(shape=(3, 5, 8, 10)), "TZYX")
        with pytest.raises(ValueError, match="with 3 volumes; choose one from 0 to 2 with --volume"):
            read_volume(path)


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", OME_DTYPES)
    @pytest.mark.parametrize("ending", [".tif", ".tiff", ".ome.tif", ".ome.tiff"])
    def test_voxels_spacing_and_unit_are_kept(self, tmp_path, dtype, ending):
        source = Volume(random_voxels(dtype), stack_affine((2.5, 0.898, 0.4)), unit="um")
        write_volume(source, tmp_path / f"a{ending}")
        back = read_volume(tmp_path / f"a{ending}")
        assert back.voxels.dtype == source.voxels.dtype
        np.testing.assert_array_equal(back.voxels, source.voxels)
        np.testing.assert_allclose(back.affine, source.affine, rtol=SPACING_TOLERANCE)
        assert back.unit == "um"

    @pytest.mark.parametrize("unit", ["m", "cm", "mm", "um", "nm", "inch", "unknown"])
    @pytest.mark.parametrize("ending", [".tif", ".ome.tif"])
    def test_every_unit_is_kept(self, tmp_path, unit, ending):
        write_volume(Volume(random_voxels(), stack_affine((3.0, 2.0, 2.0)), unit=unit), tmp_path / f"a{ending}")
        assert read_volume(tmp_path / f"a{ending}").unit == unit

    @pytest.mark.parametrize("ending", [".tif", ".ome.tif"])
    @pytest.mark.parametrize("channels", [2, 3])
    def test_channels_come_back(self, tmp_path, ending, channels):
        voxels = random_voxels("uint8", (5, 8, 10, channels))
        write_volume(Volume(voxels, stack_affine((1.0, 1.0, 1.0))), tmp_path / f"a{ending}")
        np.testing.assert_array_equal(read_volume(tmp_path / f"a{ending}").voxels, voxels)

    def test_imagej_opens_what_it_can_hold(self, tmp_path):
        write_volume(Volume(random_voxels(), stack_affine((1.0, 1.0, 1.0))), tmp_path / "a.tif")
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            assert tiff.is_imagej

    def test_factor_scales_only_the_slice_spacing(self, tmp_path):
        source = Volume(random_voxels(), stack_affine((3.0, 0.5, 0.25)), unit="um")
        write_volume(resample_axis(source, 0, random_voxels(shape=(17, 8, 10)), step=0.25), tmp_path / "a.ome.tif")
        back = read_volume(tmp_path / "a.ome.tif")
        np.testing.assert_allclose(back.spacing, (0.75, 0.5, 0.25), rtol=SPACING_TOLERANCE)

    def test_axes_of_a_nifti_are_turned_to_z_y_x(self, tmp_path):
        voxels = random_voxels(shape=(4, 5, 6))
        write_volume(Volume(voxels, np.diag([1.0, -2.0, 3.0, 1.0])), tmp_path / "a.tif")
        back = read_volume(tmp_path / "a.tif")
        np.testing.assert_array_equal(back.voxels, voxels.transpose())
        np.testing.assert_allclose(back.spacing, (3.0, 2.0, 1.0), rtol=SPACING_TOLERANCE)

    def test_axes_through_nifti_and_back_are_the_same(self, tmp_path):
        source = Volume(random_voxels(), stack_affine((2.5, 0.5, 0.25)), unit="um")
        write_volume(source, tmp_path / "a.nii.gz")
        write_volume(read_volume(tmp_path / "a.nii.gz"), tmp_path / "a.tif")
        back = read_volume(tmp_path / "a.tif")
        np.testing.assert_array_equal(back.voxels, source.voxels)
        np.testing.assert_allclose(back.affine, source.affine, rtol=SPACING_TOLERANCE)


class TestBadInput:
    def test_two_dimensions(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", random_voxels(shape=(8, 10)))
        with pytest.raises(ValueError, match="one 2-D image; stack the images"):
            read_volume(tmp_path / "a.tif")

    def test_five_dimensions(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", random_voxels(shape=(2, 3, 5, 8, 10)))
        with pytest.raises(ValueError, match=r"must have 3 dimensions.*\(2, 3, 5, 8, 10\)"):
            read_volume(tmp_path / "a.tif")

    # ImageJ's voxels end at 80 % of this file; what follows them is not needed to read it.
    @pytest.mark.parametrize(
        ("writer", "part"),
        [(writer, part) for writer in (save_imagej, save_ome) for part in (0.02, 0.3, 0.7)] + [(save_ome, 0.95)],
    )
    def test_truncated_file(self, tmp_path, writer, part):
        path = writer(tmp_path / "a.tif", random_voxels())
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        with pytest.raises(ValueError, match=r"must be a complete TIFF file, got .*; copy or export it again\."):
            read_volume(path)

    def test_truncated_compressed_file(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", random_voxels(), compression="lzw")
        content = (tmp_path / "a.tif").read_bytes()
        for part in (0.3, 0.7, 0.9, 0.98):
            (tmp_path / "a.tif").write_bytes(content[: int(len(content) * part)])
            with pytest.raises(ValueError, match="must be a complete TIFF file"):
                read_volume(tmp_path / "a.tif")

    def test_broken_private_tag_does_no_harm(self, tmp_path):
        voxels = random_voxels()
        tifffile.imwrite(tmp_path / "a.tif", voxels, extratags=[(65000, "s", 0, "x" * 20, True)])
        content = bytearray((tmp_path / "a.tif").read_bytes())
        entry = content.index((65000).to_bytes(2, "little"))
        content[entry + 8 : entry + 12] = (10**9).to_bytes(4, "little")  # its value lies behind the end
        (tmp_path / "a.tif").write_bytes(content)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").voxels, voxels)

    @pytest.mark.parametrize("size", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (1.0, float("nan"), 1.0)])
    def test_bad_voxel_size(self, tmp_path, size):
        path = save_imagej(tmp_path / "a.tif", random_voxels())
        with pytest.raises(ValueError, match="three positive numbers Z,Y,X, got"):
            read_volume(path, voxel_size=size)

    def test_bad_spacing_in_the_file_can_be_overruled(self, tmp_path):
        path = save_imagej(tmp_path / "a.tif", random_voxels(), spacing=0.0, unit="um")
        with pytest.raises(ValueError, match=r"spacing must be positive, .*--voxel-size"):
            read_volume(path)
        assert read_volume(path, voxel_size=(2.0, 1.0, 1.0)).spacing == (2.0, 1.0, 1.0)

    def test_non_finite_voxels(self, tmp_path):
        voxels = random_voxels("float32")
        voxels[1, 2, 3] = np.nan
        tifffile.imwrite(tmp_path / "a.tif", voxels)
        with pytest.raises(ValueError, match="finite, got 1 of 400"):
            read_volume(tmp_path / "a.tif")


class TestBadOutput:
    @pytest.mark.parametrize("dtype", ["int64", "uint64"])
    @pytest.mark.parametrize("ending", [".tif", ".ome.tif"])
    def test_types_that_tiff_cannot_hold(self, tmp_path, dtype, ending):
        volume = Volume(random_voxels(dtype), stack_affine((1.0, 1.0, 1.0)))
        with pytest.raises(ValueError, match=f"cannot hold voxels of type {dtype}; write NIfTI"):
            write_volume(volume, tmp_path / f"a{ending}")
        assert list(tmp_path.iterdir()) == []

    def test_intensity_scale_cannot_be_held(self, tmp_path):
        volume = Volume(random_voxels(), stack_affine((1.0, 1.0, 1.0)))
        for scaled in (replace(volume, slope=2.0), replace(volume, intercept=-1024.0)):
            with pytest.raises(ValueError, match="cannot hold an intensity scale, got slope"):
                write_volume(scaled, tmp_path / "a.tif")
        assert list(tmp_path.iterdir()) == []
