import nibabel
import numpy as np
import pytest

from medgs_core.volume import (
    IntensityWindow,
    NiftiOrientation,
    Volume,
    content_hash,
    fit_dtype,
    is_regular,
    resample_axis,
    resolve_axis,
    robust_window,
    slice_positions,
    stack_affine,
)

WORLD_TOLERANCE_MM = 1e-4


def make(shape=(4, 5, 6), affine=None, dtype=np.int16, **more):
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return Volume(voxels, np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine, **more)


def oblique(generator, spacing):
    rotation, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    return nibabel.affines.from_matvec(rotation * spacing, generator.uniform(-500, 500, 3))


class TestChecks:
    @pytest.mark.parametrize(("shape"), [(4, 5), (2, 3, 4, 5, 6), (4,)])
    def test_wrong_number_of_dimensions_is_refused(self, shape):
        with pytest.raises(ValueError, match=r"must have 3 dimensions.*got shape"):
            make(shape)

    def test_empty_axis_is_refused(self):
        with pytest.raises(ValueError, match=r"at least one voxel.*\(4, 0, 6\)"):
            make((4, 0, 6))

    def test_non_finite_voxels_are_counted(self):
        voxels = np.zeros((3, 4, 5), np.float32)
        voxels[0, 1, 2], voxels[2, 3, 4], voxels[1, 0, 0] = np.nan, np.inf, -np.inf
        with pytest.raises(ValueError, match=r"finite, got 3 of 60"):
            Volume(voxels, np.eye(4))

    def test_complex_voxels_are_refused(self):
        with pytest.raises(ValueError, match="got complex64"):
            make(dtype=np.complex64)

    @pytest.mark.parametrize("diagonal", [(1.0, 0.0, 1.0, 1.0), (1.0, np.nan, 1.0, 1.0), (1.0, np.inf, 1.0, 1.0)])
    def test_degenerate_spacing_is_refused(self, diagonal):
        with pytest.raises(ValueError, match="spacing must be positive"):
            make(affine=np.diag(diagonal))

    def test_singular_affine_is_refused(self):
        affine = np.eye(4)
        affine[:3, 2] = affine[:3, 0] + affine[:3, 1]
        with pytest.raises(ValueError, match="must be invertible"):
            make(affine=affine)

    def test_small_voxels_are_not_singular(self):
        assert make(affine=np.diag([1e-6, 1e-6, 1e-6, 1.0])).spacing == (1e-6, 1e-6, 1e-6)

    def test_positions_must_increase(self):
        with pytest.raises(ValueError, match=r"increase, got 2\.0 and then 2\.0"):
            make(positions=np.array([0.0, 2.0, 2.0, 3.0]))

    def test_positions_must_be_finite(self):
        with pytest.raises(ValueError, match="finite, got nan for slice 2"):
            make(positions=np.array([0.0, 1.0, np.nan, 3.0]))

    def test_positions_must_fit_an_axis(self):
        with pytest.raises(ValueError, match="one position per slice, got 3"):
            make(positions=np.array([0.0, 1.0, 2.0]))


class TestGeometry:
    def test_spacing_is_the_length_of_the_affine_columns(self):
        generator = np.random.default_rng(1)
        np.testing.assert_allclose(make(affine=oblique(generator, (0.5, 2.0, 3.5))).spacing, (0.5, 2.0, 3.5))

    def test_channels_are_the_fourth_axis(self):
        assert (make().channels, make((4, 5, 6, 3)).channels) == (1, 3)
        assert make((4, 5, 6, 3)).shape3d == (4, 5, 6)

    def test_stack_affine_maps_z_y_x_to_world_x_y_z(self):
        world = stack_affine((3.0, 2.0, 1.0)) @ [10, 20, 30, 1]
        np.testing.assert_array_equal(world, [30.0, 40.0, 30.0, 1.0])

    def test_factor_keeps_first_and_last_slice_in_the_world(self):
        generator = np.random.default_rng(2)
        for _ in range(200):
            shape = tuple(generator.integers(2, 60, 3))
            affine = oblique(generator, generator.uniform(0.2, 6.0, 3))
            axis, factor = int(generator.integers(3)), int(generator.integers(1, 9))
            source = Volume(np.zeros(shape, np.uint8), affine)
            dense_shape = list(shape)
            dense_shape[axis] = (shape[axis] - 1) * factor + 1
            dense = resample_axis(source, axis, np.zeros(dense_shape, np.uint8), step=1.0 / factor)
            # nibabel's own arithmetic on the corners of the first and last slice
            corner = generator.integers(0, shape)
            for old, new in ((0, 0), (shape[axis] - 1, dense_shape[axis] - 1)):
                corner_dense = corner.copy()
                corner[axis], corner_dense[axis] = old, new
                np.testing.assert_allclose(
                    nibabel.affines.apply_affine(dense.affine, corner_dense),
                    nibabel.affines.apply_affine(affine, corner),
                    atol=WORLD_TOLERANCE_MM,
                )
            others = [other for other in range(3) if other != axis]
            np.testing.assert_array_equal(dense.affine[:, others], affine[:, others])
            np.testing.assert_array_equal(dense.affine[:, 3], affine[:, 3])

    def test_start_shifts_the_origin_along_the_axis(self):
        affine = oblique(np.random.default_rng(3), (1.0, 2.0, 4.0))
        moved = resample_axis(make(affine=affine), 1, np.zeros((4, 2, 6), np.int16), start=1.5, step=2.0)
        for new, t in ((0, 1.5), (1, 3.5)):
            np.testing.assert_allclose(
                nibabel.affines.apply_affine(moved.affine, [2, new, 5]),
                nibabel.affines.apply_affine(affine, [2, t, 5]),
            )

    def test_both_nifti_affines_are_scaled_and_codes_kept(self):
        sform, qform = np.diag([1.0, 1.0, 5.0, 1.0]), np.diag([2.0, 2.0, 4.0, 1.0])
        source = make(orientation=NiftiOrientation(sform, 4, qform, 1, "sec"))
        orientation = resample_axis(source, 2, source.voxels, step=0.5).orientation
        np.testing.assert_array_equal(orientation.sform, np.diag([1.0, 1.0, 2.5, 1.0]))
        np.testing.assert_array_equal(orientation.qform, np.diag([2.0, 2.0, 2.0, 1.0]))
        assert (orientation.sform_code, orientation.qform_code, orientation.time_unit) == (4, 1, "sec")

    def test_resampling_keeps_unit_and_intensity_scale(self):
        dense = resample_axis(make(unit="um", slope=0.5, intercept=-3.0), 0, np.zeros((7, 5, 6), np.int16))
        assert (dense.unit, dense.slope, dense.intercept) == ("um", 0.5, -3.0)


class TestAxis:
    @pytest.mark.parametrize(
        ("spacing", "axis"),
        [
            ((3, 1, 1), 0),
            ((1, 3, 1), 1),
            ((1, 1, 3), 2),
            ((1, 1, 1), 2),
            ((3, 3, 1), 1),
            ((3, 1, 3.0000001), 2),
        ],
    )
    def test_auto_is_the_largest_spacing_and_the_last_on_ties(self, spacing, axis):
        assert resolve_axis(make(affine=np.diag([*map(float, spacing), 1.0])), "auto") == axis

    def test_named_axis_is_taken(self):
        assert [resolve_axis(make(), axis) for axis in "012"] == [0, 1, 2]

    @pytest.mark.parametrize("axis", ["7", "-1", "z", ""])
    def test_other_axes_are_refused(self, axis):
        with pytest.raises(ValueError, match="must be auto, 0, 1 or 2"):
            resolve_axis(make(), axis)

    def test_positions_follow_from_the_spacing(self):
        np.testing.assert_allclose(slice_positions(make(), 2), [0, 3, 6, 9, 12, 15])

    def test_own_positions_win(self):
        positions = np.array([0.0, 1.0, 5.0, 6.0])
        np.testing.assert_array_equal(slice_positions(make(positions=positions), 0), positions)

    def test_own_positions_of_another_axis_are_refused(self):
        with pytest.raises(ValueError, match="each of the 6 slices along axis 2, got 4"):
            slice_positions(make(positions=np.arange(4.0)), 2)

    @pytest.mark.parametrize(
        ("positions", "regular"),
        [([0, 1, 2, 3], True), ([0, 1, 2.1], False), ([5], True), ([0, 1.00001, 2], True)],
    )
    def test_regular_means_equal_gaps(self, positions, regular):
        assert is_regular(np.array(positions, dtype=np.float64)) is regular


class TestWindow:
    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
    def test_every_stored_value_comes_back(self, dtype):
        limits = np.iinfo(dtype)
        every = np.arange(limits.min, limits.max + 1).astype(dtype)
        for low, high in ((0.0, 1.0), (-17.3, 101.9), (float(limits.min), float(limits.max))):
            window = IntensityWindow(low, high)
            np.testing.assert_array_equal(window.to_stored(window.to_unit(every), every.dtype), every)

    @pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
    def test_wide_integers_in_a_narrow_window_come_back(self, dtype):
        # The offset alone needs more digits than float32 has.
        values = np.arange(1_000_000_000, 1_000_001_000).astype(dtype)
        window = robust_window(values.reshape(10, 10, 10))
        np.testing.assert_array_equal(window.to_stored(window.to_unit(values), values.dtype), values)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_floats_come_back_to_float32_precision(self, dtype):
        values = np.random.default_rng(4).normal(1000.0, 200.0, 1000).astype(dtype)
        window = IntensityWindow(500.0, 1500.0)
        np.testing.assert_allclose(window.to_stored(window.to_unit(values), values.dtype), values, atol=1e-3)

    def test_unit_is_not_clipped(self):
        np.testing.assert_allclose(
            IntensityWindow(10.0, 20.0).to_unit(np.array([0, 10, 15, 40], np.uint8)), [-1.0, 0.0, 0.5, 3.0]
        )

    def test_unit_is_float32(self):
        assert IntensityWindow(0.0, 9.0).to_unit(np.zeros(3, np.int64)).dtype == np.float32

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
    def test_stored_values_are_clipped_to_the_type(self, dtype):
        limits = np.iinfo(dtype)
        least, most = IntensityWindow(0.0, 1e20).to_stored(np.array([-1.0, 1.0], np.float32), np.dtype(dtype))
        assert least == limits.min
        # 64-bit limits have no float64 of their own; the next one below differs by at most 2048
        assert 0 <= int(limits.max) - int(most) <= 2048

    def test_float_values_are_clipped_to_the_finite(self):
        window = IntensityWindow(0.0, 1e30)
        stored = window.to_stored(np.array([-1.0, 1.0], np.float32), np.dtype(np.float16))
        np.testing.assert_array_equal(stored, [-65504.0, 65504.0])

    def test_stored_integers_are_rounded(self):
        window = IntensityWindow(0.0, 10.0)
        np.testing.assert_array_equal(window.to_stored(np.array([0.14, 0.16], np.float32), np.dtype("u1")), [1, 2])

    def test_window_is_the_robust_percentiles(self):
        voxels = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)
        assert robust_window(voxels) == IntensityWindow(5.0, 995.0)

    def test_constant_volume_gets_a_window_of_width_one(self):
        assert robust_window(np.full((3, 4, 5), 7, np.int16)) == IntensityWindow(7.0, 8.0)

    def test_nearly_constant_volume_gets_its_full_range(self):
        voxels = np.zeros((10, 10, 10), np.int16)
        voxels[5, 5, 5] = 300
        assert robust_window(voxels) == IntensityWindow(0.0, 300.0)

    def test_each_channel_has_a_window_of_its_own(self):
        dark = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)
        voxels = np.stack([dark, 100.0 * dark + 7.0, np.full_like(dark, 3.0)], axis=-1)
        assert robust_window(voxels) == IntensityWindow((5.0, 507.0, 3.0), (995.0, 99507.0, 4.0))
        assert robust_window(dark[..., np.newaxis]) == IntensityWindow((5.0,), (995.0,))

    def test_channels_are_scaled_apart_and_come_back(self):
        window = IntensityWindow((0.0, 1000.0), (10.0, 5000.0))
        stored = np.array([[5, 3000], [20, 0]], np.int16)
        np.testing.assert_array_equal(window.to_unit(stored), np.array([[0.5, 0.5], [2.0, -0.25]], np.float32))
        np.testing.assert_array_equal(window.to_stored(window.to_unit(stored), stored.dtype), stored)
        assert window.width.tolist() == [10.0, 4000.0]
        assert window.of_channels(1, 2) == IntensityWindow((1000.0,), (5000.0,))

    def test_one_number_counts_for_all_channels(self):
        one, many = IntensityWindow(-3.1, 877.7), IntensityWindow((-3.1,) * 3, (877.7,) * 3)
        stored = np.random.default_rng(0).integers(-100, 1000, (50, 3)).astype(np.int16)
        np.testing.assert_array_equal(one.to_unit(stored), many.to_unit(stored))
        unit = one.to_unit(stored)
        for dtype in ("int16", "float32", "float64"):
            np.testing.assert_array_equal(one.to_stored(unit, np.dtype(dtype)), many.to_stored(unit, np.dtype(dtype)))
        assert one.of_channels(1, 2) == one


class TestFitDtype:
    @pytest.mark.parametrize(
        ("values", "dtype", "expected"),
        [
            (np.array([-3, 0, 255, 700], np.int16), "uint8", [0, 0, 255, 255]),
            (np.array([-3, 9], np.int16), "int64", [-3, 9]),
            (np.array([0, 2**64 - 1], np.uint64), "int64", [0, 2**63 - 1]),
            (np.array([-0.6, 2.5, 1e9], np.float32), "uint8", [0, 2, 255]),
            (np.array([-1e30, 0.1]), "float16", [-65504.0, np.float16(0.1)]),
        ],
        ids=str,
    )
    def test_values_are_rounded_and_clipped_to_what_the_type_holds(self, values, dtype, expected):
        found = fit_dtype(values, np.dtype(dtype))
        assert found.dtype == dtype
        assert found.tolist() == expected


class TestHash:
    def test_equal_content_has_equal_hash_in_any_layout(self):
        volume = make()
        fortran = Volume(np.asfortranarray(volume.voxels).astype(">i2"), volume.affine)
        assert content_hash(volume) == content_hash(fortran)

    def test_hash_is_stable_across_releases(self):
        assert content_hash(make((1, 1, 2))) == ("b570685b269e293806a568a7f1b841476337ee765b5a63f25af58f36cc9ad132")

    @pytest.mark.parametrize(
        "other",
        [
            make(dtype=np.int32),
            make((5, 4, 6)),
            make(affine=np.diag([1.0, 2.0, 3.5, 1.0])),
            make(slope=2.0),
            make(positions=np.array([0.0, 1.0, 2.0, 4.0])),
            Volume(make().voxels + np.int16(1), make().affine),
        ],
        ids=["dtype", "shape", "affine", "slope", "positions", "voxels"],
    )
    def test_any_difference_changes_the_hash(self, other):
        assert content_hash(other) != content_hash(make())
