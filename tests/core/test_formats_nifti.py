import errno
import gzip
import os
import resource
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medgs_core.formats import check_volume_output, read_volume, write_volume
from medgs_core.volume import Volume, resample_axis, stack_affine

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
WORLD_TOLERANCE_MM = 1e-4


def oblique(generator, spacing=(0.7, 0.9, 3.1)):
    rotation, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    return nibabel.affines.from_matvec(rotation * spacing, generator.uniform(-100, 100, 3))


def random_voxels(dtype, shape=(5, 6, 7), seed=0):
    generator = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return generator.normal(0, 1e5, shape).astype(dtype)


def save(path, voxels, affine=None, kind=nibabel.Nifti1Image, **header):
    """Write a file with nibabel, not with the code under test."""
    image = kind(voxels, np.eye(4) if affine is None else affine, dtype=voxels.dtype)
    for name, value in header.items():
        getattr(image.header, name)(*value)
    nibabel.save(image, path)
    return path


def leftovers(folder):
    return [entry.name for entry in Path(folder).iterdir() if entry.name.startswith(".")]


class TestReading:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_voxels_are_read_as_stored(self, tmp_path, dtype, ending):
        voxels = random_voxels(dtype)
        volume = read_volume(save(tmp_path / f"scan{ending}", voxels))
        assert volume.voxels.dtype == voxels.dtype
        np.testing.assert_array_equal(volume.voxels, voxels)

    def test_big_endian_voxels_come_in_native_order(self, tmp_path):
        voxels = random_voxels("int16")
        header = nibabel.Nifti1Header(endianness=">")
        header.set_data_dtype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4), header), tmp_path / "big.nii")
        volume = read_volume(tmp_path / "big.nii")
        assert volume.voxels.dtype.isnative
        np.testing.assert_array_equal(volume.voxels, voxels)

    def test_affine_is_nibabels(self, tmp_path):
        affine = oblique(np.random.default_rng(5))
        path = save(tmp_path / "scan.nii", random_voxels("int16"), affine)
        np.testing.assert_array_equal(read_volume(path).affine, nibabel.load(path).affine)

    @pytest.mark.parametrize(("name", "unit"), [("mm", "mm"), ("micron", "um"), ("meter", "m"), ("unknown", "unknown")])
    def test_unit_is_read(self, tmp_path, name, unit):
        assert read_volume(save(tmp_path / "a.nii", random_voxels("u1"), set_xyzt_units=(name,))).unit == unit

    def test_slope_and_intercept_stay_beside_the_stored_values(self, tmp_path):
        # floats saved as int16: nibabel chooses slope and intercept
        values = np.random.default_rng(6).normal(3.0, 2.0, (5, 6, 7))
        image = nibabel.Nifti1Image(values, np.eye(4))
        image.header.set_data_dtype(np.int16)
        nibabel.save(image, tmp_path / "scaled.nii")
        volume = read_volume(tmp_path / "scaled.nii")
        assert volume.voxels.dtype == np.int16
        assert volume.slope != 1.0
        measured = volume.voxels * volume.slope + volume.intercept
        np.testing.assert_allclose(measured, nibabel.load(tmp_path / "scaled.nii").get_fdata())

    def test_one_of_many_volumes_is_taken(self, tmp_path):
        voxels = random_voxels("int16", (4, 5, 6, 3))
        path = save(tmp_path / "series.nii.gz", voxels)
        np.testing.assert_array_equal(read_volume(path, volume=2).voxels, voxels[..., 2])

    def test_series_without_a_choice_names_how_many(self, tmp_path):
        path = save(tmp_path / "series.nii", random_voxels("u1", (4, 5, 6, 3)))
        with pytest.raises(ValueError, match=r"with 3 volumes; choose one from 0 to 2 with --volume"):
            read_volume(path)

    @pytest.mark.parametrize("chosen", [3, -1])
    def test_choice_out_of_range_is_refused(self, tmp_path, chosen):
        path = save(tmp_path / "series.nii", random_voxels("u1", (4, 5, 6, 3)))
        with pytest.raises(ValueError, match=f"from 0 to 2, got {chosen}"):
            read_volume(path, volume=chosen)

    def test_choice_from_a_single_volume_is_0_only(self, tmp_path):
        path = save(tmp_path / "one.nii", random_voxels("u1"))
        assert read_volume(path, volume=0).shape3d == (5, 6, 7)
        with pytest.raises(ValueError, match="from 0 to 0, got 1"):
            read_volume(path, volume=1)

    def test_series_of_one_needs_no_choice(self, tmp_path):
        assert read_volume(save(tmp_path / "one.nii", random_voxels("u1", (4, 5, 6, 1)))).voxels.shape == (
            4,
            5,
            6,
        )

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_all_volumes_of_a_series_are_channels_and_are_written_as_a_series(self, tmp_path, ending):
        series = random_voxels("int16", (5, 6, 7, 3))
        source = save(tmp_path / "a.nii", series, set_xyzt_units=("mm", "sec"), set_zooms=((1.0, 1.0, 1.0, 2.5),))
        volume = read_volume(source, volume="all")
        np.testing.assert_array_equal(volume.voxels, series)
        assert (volume.series, volume.channels) == (True, 3)
        write_volume(volume, tmp_path / f"b{ending}")
        written = nibabel.load(tmp_path / f"b{ending}")
        assert written.shape == (5, 6, 7, 3)
        assert written.header.get_zooms() == (1.0, 1.0, 1.0, 2.5)
        assert written.header.get_xyzt_units() == ("mm", "sec")
        np.testing.assert_array_equal(written.dataobj, series)

    @pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 1), (5, 6, 7, 1, 2)])
    def test_all_volumes_of_one_are_that_one(self, tmp_path, shape):
        path = save(tmp_path / "a.nii", random_voxels("u1", shape))
        every, one = read_volume(path, volume="all"), read_volume(path)
        np.testing.assert_array_equal(every.voxels, one.voxels)
        assert not every.series

    def test_all_volumes_with_channels_are_refused(self, tmp_path):
        path = save(tmp_path / "a.nii", random_voxels("u1", (5, 6, 7, 3, 2)))
        with pytest.raises(
            ValueError, match=r"only if they have none, got 2 channels in '.*a\.nii'; choose one volume"
        ):
            read_volume(path, volume="all")

    def test_other_words_for_a_choice_are_refused(self, tmp_path):
        path = save(tmp_path / "a.nii", random_voxels("u1"))
        with pytest.raises(ValueError, match=r"must be a number or 'all', got 'every'; correct it"):
            read_volume(path, volume="every")

    def test_a_step_of_time_that_is_none_is_not_kept(self, tmp_path):
        path = save(tmp_path / "a.nii", random_voxels("u1", (5, 6, 7, 3)))
        with path.open("r+b") as file:
            file.seek(76 + 4 * 4)  # pixdim[4]
            file.write(np.float32(-2.0).tobytes())
        write_volume(read_volume(path, volume="all"), tmp_path / "b.nii")
        assert nibabel.load(tmp_path / "b.nii").header.get_zooms()[3] == 1.0

    def test_fifth_dimension_is_channels(self, tmp_path):
        voxels = random_voxels("float32", (4, 5, 6, 1, 2))
        volume = read_volume(save(tmp_path / "vector.nii", voxels))
        np.testing.assert_array_equal(volume.voxels, voxels[:, :, :, 0])

    def test_rgb_voxels_are_three_channels(self, tmp_path):
        colors = random_voxels("uint8", (4, 5, 6, 3))
        rgb = colors.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
        volume = read_volume(save(tmp_path / "rgb.nii", rgb))
        np.testing.assert_array_equal(volume.voxels, colors)

    def test_positions_are_kept(self, tmp_path):
        path = save(tmp_path / "scan.nii", random_voxels("u1"))
        positions = [0.0, 1.0, 2.5, 6.0, 7.0]
        np.testing.assert_array_equal(read_volume(path, positions=positions).positions, positions)

    def test_nifti2_is_read(self, tmp_path):
        voxels = random_voxels("int16")
        path = save(tmp_path / "two.nii", voxels, kind=nibabel.Nifti2Image)
        np.testing.assert_array_equal(read_volume(path).voxels, voxels)


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_voxels_and_intensity_scale_are_exact(self, tmp_path, dtype, ending):
        voxels = random_voxels(dtype)
        # representable in float32, as the header is
        source = Volume(voxels, oblique(np.random.default_rng(7)), slope=0.25, intercept=-1024.0)
        write_volume(source, tmp_path / f"scan{ending}")
        back = read_volume(tmp_path / f"scan{ending}")
        assert back.voxels.dtype == voxels.dtype
        np.testing.assert_array_equal(back.voxels, voxels)
        assert (back.slope, back.intercept) == (0.25, -1024.0)

    def test_nibabel_reads_the_measured_values(self, tmp_path):
        voxels = random_voxels("int16")
        write_volume(Volume(voxels, np.eye(4), slope=0.5, intercept=3.0), tmp_path / "scan.nii.gz")
        np.testing.assert_array_equal(nibabel.load(tmp_path / "scan.nii.gz").get_fdata(), voxels * 0.5 + 3.0)

    @pytest.mark.parametrize("codes", [(1, 1), (0, 1), (4, 0), (2, 1), (0, 0)])
    def test_codes_affines_and_unit_are_kept(self, tmp_path, codes):
        generator = np.random.default_rng(8)
        sform, qform = oblique(generator), oblique(generator)
        image = nibabel.Nifti1Image(random_voxels("int16"), None)
        image.header.set_xyzt_units("micron", "sec")
        image.header.set_zooms((0.7, 0.9, 3.1))
        image.set_qform(qform, codes[1])
        image.set_sform(sform, codes[0])
        nibabel.save(image, tmp_path / "in.nii")
        write_volume(read_volume(tmp_path / "in.nii"), tmp_path / "out.nii")
        before, after = (nibabel.load(tmp_path / name) for name in ("in.nii", "out.nii"))
        assert (int(after.header["sform_code"]), int(after.header["qform_code"])) == codes
        assert after.header.get_xyzt_units() == ("micron", "sec")
        np.testing.assert_allclose(after.affine, before.affine, atol=WORLD_TOLERANCE_MM)
        if codes[0]:
            np.testing.assert_array_equal(after.get_sform(), before.get_sform())
        if codes[1]:
            np.testing.assert_allclose(after.get_qform(), before.get_qform(), atol=WORLD_TOLERANCE_MM)

    @pytest.mark.parametrize("codes", [(1, 1), (0, 1), (4, 0), (0, 0)])
    def test_world_of_first_and_last_slice_survives_a_factor(self, tmp_path, codes):
        generator = np.random.default_rng(9)
        for axis in range(3):
            for factor in (2, 3, 7):
                affine = oblique(generator)
                image = nibabel.Nifti1Image(random_voxels("int16"), None)
                image.header.set_zooms((0.7, 0.9, 3.1))
                image.set_qform(affine, codes[1])
                image.set_sform(affine, codes[0])
                nibabel.save(image, tmp_path / "in.nii")
                source = read_volume(tmp_path / "in.nii")
                shape = list(source.shape3d)
                shape[axis] = (shape[axis] - 1) * factor + 1
                dense = resample_axis(source, axis, np.zeros(shape, np.int16), step=1 / factor)
                write_volume(dense, tmp_path / "out.nii")
                before, after = (nibabel.load(tmp_path / name) for name in ("in.nii", "out.nii"))
                assert (int(after.header["sform_code"]), int(after.header["qform_code"])) == codes
                np.testing.assert_allclose(
                    after.header.get_zooms()[axis], before.header.get_zooms()[axis] / factor, rtol=1e-6
                )
                for last in (0, 1):
                    corner = np.array([2, 3, 1])
                    corner_dense = corner.copy()
                    corner[axis], corner_dense[axis] = (
                        last * (before.shape[axis] - 1),
                        last * (shape[axis] - 1),
                    )
                    np.testing.assert_allclose(
                        nibabel.affines.apply_affine(after.affine, corner_dense),
                        nibabel.affines.apply_affine(before.affine, corner),
                        atol=WORLD_TOLERANCE_MM,
                    )

    def test_world_without_codes_gets_one_when_the_stack_ends_elsewhere(self, tmp_path):
        image = nibabel.Nifti1Image(random_voxels("int16"), None)
        nibabel.save(image, tmp_path / "in.nii")
        source = read_volume(tmp_path / "in.nii")
        moved = resample_axis(source, 0, np.zeros((3, 6, 7), np.int16), start=1.0, step=1.0)
        write_volume(moved, tmp_path / "out.nii")
        np.testing.assert_allclose(nibabel.load(tmp_path / "out.nii").affine, moved.affine, atol=WORLD_TOLERANCE_MM)

    def test_sheared_affine_is_kept(self, tmp_path):
        affine = np.diag([1.0, 2.0, 3.0, 1.0])
        affine[0, 2] = 0.5
        write_volume(Volume(random_voxels("u1"), affine), tmp_path / "sheared.nii")
        np.testing.assert_allclose(nibabel.load(tmp_path / "sheared.nii").affine, affine)

    @pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint8", 2), ("uint16", 3), ("float32", 4)])
    def test_channels_come_back(self, tmp_path, dtype, channels):
        voxels = random_voxels(dtype, (4, 5, 6, channels))
        write_volume(Volume(voxels, np.eye(4)), tmp_path / "c.nii.gz")
        np.testing.assert_array_equal(read_volume(tmp_path / "c.nii.gz").voxels, voxels)

    def test_rgb_stays_rgb(self, tmp_path):
        write_volume(Volume(random_voxels("uint8", (4, 5, 6, 3)), np.eye(4)), tmp_path / "rgb.nii")
        assert nibabel.load(tmp_path / "rgb.nii").get_data_dtype().names == ("R", "G", "B")

    @pytest.mark.parametrize(("unit", "spacing_um"), [("nm", 0.001), ("cm", 10_000.0), ("inch", 25_400.0), ("um", 1.0)])
    def test_units_unknown_to_nifti_are_converted(self, tmp_path, unit, spacing_um):
        write_volume(Volume(random_voxels("u1"), np.eye(4), unit=unit), tmp_path / "scan.nii")
        back = read_volume(tmp_path / "scan.nii")
        to_um = {"um": 1.0, "mm": 1000.0}[back.unit]
        np.testing.assert_allclose(np.array(back.spacing) * to_um, spacing_um, rtol=1e-6)

    def test_same_volume_gives_the_same_bytes(self, tmp_path):
        volume = Volume(random_voxels("int16"), np.eye(4))
        for name in ("a.nii.gz", "b.nii.gz"):
            write_volume(volume, tmp_path / name)
        assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()

    def test_axis_beyond_nifti1_is_written_as_nifti2(self, tmp_path):
        voxels = np.arange(40_000, dtype=np.int32).reshape(40_000, 1, 1)
        write_volume(Volume(voxels, np.eye(4)), tmp_path / "long.nii")
        np.testing.assert_array_equal(read_volume(tmp_path / "long.nii").voxels, voxels)

    def test_stack_from_a_tiff_lies_along_world_z(self, tmp_path):
        write_volume(Volume(random_voxels("u1"), stack_affine((3.0, 2.0, 1.0))), tmp_path / "stack.nii")
        image = nibabel.load(tmp_path / "stack.nii")
        np.testing.assert_allclose(nibabel.affines.voxel_sizes(image.affine), (3.0, 2.0, 1.0))
        assert int(nibabel.orientations.io_orientation(image.affine)[0, 0]) == 2
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-6)


class TestBadInput:
    """One sentence each, with the remedy after a semicolon."""

    def refused(self, path, match, **arguments):
        with pytest.raises(ValueError, match=match) as caught:
            read_volume(path, **arguments)
        message = str(caught.value)
        assert message.count("\n") == 0
        assert "; " in message
        assert message.endswith(".")

    def test_missing_file(self, tmp_path):
        self.refused(tmp_path / "none.nii", "must be an existing file, got .*none.nii")

    def test_folder(self, tmp_path):
        self.refused(tmp_path, "got the folder")

    def test_dicom_folder_names_a_converter(self, tmp_path):
        (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
        self.refused(tmp_path, "got the DICOM folder .*dcm2niix")

    @pytest.mark.parametrize("name", ["slice.dcm", "slice.IMA", "slice"])
    def test_dicom_file_names_a_converter(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
        self.refused(tmp_path / name, "got the DICOM file .*dcm2niix")

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".tif"])
    def test_empty_file(self, tmp_path, ending):
        (tmp_path / f"empty{ending}").touch()
        self.refused(tmp_path / f"empty{ending}", "got the empty file")

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".tif", ".ome.tif"])
    def test_not_an_image(self, tmp_path, ending):
        (tmp_path / f"text{ending}").write_text("This is no image at all. " * 40)
        self.refused(tmp_path / f"text{ending}", "must be a complete (NIfTI|TIFF) file")

    def test_unknown_ending(self, tmp_path):
        (tmp_path / "scan.png").write_bytes(b"\x89PNG")
        self.refused(tmp_path / "scan.png", r"must end in \.nii, .* or \.zarr, got")

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
    def test_truncated_file(self, tmp_path, ending, part):
        path = save(tmp_path / f"cut{ending}", random_voxels("int16", (20, 20, 20)))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        self.refused(path, "must be a complete NIfTI file")

    def test_damaged_gzip(self, tmp_path):
        path = save(tmp_path / "bad.nii.gz", random_voxels("int16", (20, 20, 20)))
        content = bytearray(path.read_bytes())
        content[5000:6000] = bytes(1000)
        path.write_bytes(content)
        self.refused(path, "must be a complete NIfTI file")

    def test_two_dimensions(self, tmp_path):
        self.refused(save(tmp_path / "flat.nii", random_voxels("int16", (8, 9))), r"must have 3 dimensions.*\(8, 9\)")

    def test_five_dimensions(self, tmp_path):
        self.refused(save(tmp_path / "five.nii", random_voxels("u1", (4, 5, 6, 2, 3))), "with 2 volumes")

    def test_six_dimensions(self, tmp_path):
        self.refused(save(tmp_path / "six.nii", random_voxels("u1", (4, 5, 6, 2, 3, 2))), "must have 3 dimensions")

    def test_axis_of_size_zero(self, tmp_path):
        path = save(tmp_path / "zero.nii", random_voxels("int16"))
        content = bytearray(path.read_bytes())
        content[44:46] = bytes(2)  # dim[2]
        path.write_bytes(content)
        self.refused(path, r"at least one voxel, got shape \(5, 0, 7\)")

    def test_non_finite_voxels(self, tmp_path):
        voxels = random_voxels("float32")
        voxels[0, 0, :2] = np.nan, np.inf
        self.refused(save(tmp_path / "nan.nii", voxels), "finite, got 2 of 210")

    @pytest.mark.parametrize("step", [0.0, -1.0, np.nan])
    def test_spacing_not_positive(self, tmp_path, step):
        image = nibabel.Nifti1Image(random_voxels("int16"), None)
        nibabel.save(image, tmp_path / "flat.nii")
        content = bytearray((tmp_path / "flat.nii").read_bytes())
        content[88:92] = np.float32(step).tobytes()  # pixdim[3]
        (tmp_path / "flat.nii").write_bytes(content)
        self.refused(tmp_path / "flat.nii", "spacing must be positive")

    def test_singular_affine(self, tmp_path):
        image = nibabel.Nifti1Image(random_voxels("int16"), None)
        affine = np.eye(4)
        affine[:3, 2] = affine[:3, 1]
        image.header.set_sform(affine, 1)
        nibabel.save(image, tmp_path / "singular.nii")
        self.refused(tmp_path / "singular.nii", "must be invertible")

    def test_complex_voxels(self, tmp_path):
        self.refused(save(tmp_path / "complex.nii", np.zeros((3, 4, 5), np.complex64)), "got complex64")

    def test_voxel_size_of_a_nifti_is_refused(self, tmp_path):
        path = save(tmp_path / "scan.nii", random_voxels("u1"))
        self.refused(path, "for TIFF and OME-Zarr only", voxel_size=(1.0, 1.0, 1.0))

    def test_unreadable_file(self, tmp_path, monkeypatch):
        path = save(tmp_path / "secret.nii", random_voxels("u1"))

        def refuse(*_):  # root, who runs tests in containers, may read every real file
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(Path, "open", refuse)
        self.refused(path, r"must be readable, got .*Permission denied.*change its permissions")

    def test_reading_leaves_no_log_beside_the_sentence(self, tmp_path, capfd):
        (tmp_path / "text.tif").write_bytes(b"II*\0" + b"\xff" * 400)
        self.refused(tmp_path / "text.tif", "must be a complete TIFF file")
        assert capfd.readouterr().err == ""


class TestBadOutput:
    @pytest.fixture
    def volume(self):
        return Volume(random_voxels("int16", (64, 64, 8)), np.eye(4))

    @pytest.mark.parametrize("name", ["out.png", "out", "out.nii.bz2", "out.medgs"])
    def test_unknown_ending(self, tmp_path, volume, name):
        with pytest.raises(ValueError, match=r"must end in .*change its ending\."):
            write_volume(volume, tmp_path / name)
        with pytest.raises(ValueError, match="must end in"):
            check_volume_output(tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_missing_folder(self, tmp_path, volume):
        with pytest.raises(ValueError, match="folder must exist"):
            write_volume(volume, tmp_path / "no" / "out.nii")
        with pytest.raises(ValueError, match="folder must exist"):
            check_volume_output(tmp_path / "no" / "out.nii")

    def test_folder_in_place_of_a_file(self, tmp_path, volume):
        (tmp_path / "out.nii").mkdir()
        for refuse in (check_volume_output, lambda path: write_volume(volume, path)):
            with pytest.raises(ValueError, match="got the folder"):
                refuse(tmp_path / "out.nii")

    def test_folder_that_takes_no_file(self, volume):
        folder = Path("/proc/self")  # not even root writes there
        for refuse in (check_volume_output, lambda path: write_volume(volume, path)):
            with pytest.raises(ValueError, match=r"must be writable, got .*; make room or choose another folder\."):
                refuse(folder / "out.nii")

    def test_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path, volume):
        target = tmp_path / "out.nii"
        target.write_bytes(b"old")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(ValueError, match="must be writable"):
                write_volume(volume, target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert target.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [target]

    def test_type_that_nifti_cannot_hold(self, tmp_path, volume):
        wide = replace(volume, voxels=volume.voxels.astype(np.longdouble))
        with pytest.raises(ValueError, match="cannot hold"):
            write_volume(wide, tmp_path / "out.nii")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".tif", ".ome.tif", ".ome.zarr"])
    def test_half_precision_keeps_its_values_in_every_format(self, tmp_path, ending):
        half = np.random.default_rng(0).normal(0, 100, (3, 4, 5)).astype(np.float16)
        check_volume_output(tmp_path / f"a{ending}", Volume(half, np.eye(4)))
        write_volume(Volume(half, np.eye(4)), tmp_path / f"a{ending}")
        read = read_volume(tmp_path / f"a{ending}").voxels
        assert read.dtype == (np.float16 if ending == ".ome.zarr" else np.float32)
        np.testing.assert_array_equal(np.sort(read, axis=None), np.sort(half, axis=None))

    def test_irregular_positions_are_refused_with_the_remedy(self, tmp_path, volume):
        positions = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0])
        with pytest.raises(ValueError, match=r"gaps from 1 to 3 mm; render with --spacing"):
            write_volume(replace(volume, positions=positions), tmp_path / "out.nii")

    def test_check_leaves_the_old_file(self, tmp_path):
        (tmp_path / "out.nii").write_bytes(b"old")
        check_volume_output(tmp_path / "out.nii")
        assert (tmp_path / "out.nii").read_bytes() == b"old"
        assert leftovers(tmp_path) == []

    def test_link_stays_a_link(self, tmp_path, volume):
        (tmp_path / "link.nii").symlink_to(tmp_path / "real.nii")
        write_volume(volume, tmp_path / "link.nii")
        assert (tmp_path / "link.nii").is_symlink()
        np.testing.assert_array_equal(read_volume(tmp_path / "real.nii").voxels, volume.voxels)

    def test_new_file_has_ordinary_permissions(self, tmp_path, volume):
        (tmp_path / "plain").touch()
        write_volume(volume, tmp_path / "out.nii.gz")
        assert (tmp_path / "out.nii.gz").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_gzip_is_what_the_ending_says(self, tmp_path, volume):
        write_volume(volume, tmp_path / "out.nii.gz")
        assert gzip.decompress((tmp_path / "out.nii.gz").read_bytes())[344:348] == b"n+1\0"
