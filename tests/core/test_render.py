import numpy as np
import pytest
import torch

from medgs_core.config import RenderConfig
from medgs_core.fit import fit_model
from medgs_core.model import DetailStrength, FoldedGaussians
from medgs_core.render import SliceRenderer, render_slice, render_volume
from medgs_core.sampling import is_measured, sample_slices
from medgs_core.volume import IntensityWindow, stack_affine

from ._fits import UNEVEN_MM, moving_voxels, scan, settings
from ._models import fitted, random_voxels


@pytest.fixture(scope="module")
def model():
    return fit_model(scan(), settings()).model


@pytest.fixture(scope="module")
def uneven():
    return fit_model(scan(positions=UNEVEN_MM), settings()).model


def spaced(slice_mm=3.0, row_mm=1.0, column_mm=1.0, slices=5, **changes):
    """Return a model of a stack along axis 0 with such spacing."""
    voxels = random_voxels("int16", (slices, 6, 7))
    return fitted(voxels, affine=stack_affine((slice_mm, row_mm, column_mm)), axis=0, **changes)


def sampling(model, **options):
    return sample_slices(model, RenderConfig(**options))


def world_of_slices(volume, axis):
    """Return the world coordinates of the first voxel of each slice."""
    index = np.zeros((volume.shape3d[axis], 4))
    index[:, axis], index[:, 3] = np.arange(volume.shape3d[axis]), 1
    return (index @ volume.affine.T)[:, :3]


class TestSampling:
    def test_the_measured_slices_are_the_default(self):
        chosen = sampling(spaced())
        assert chosen.coordinates.tolist() == [0, 1, 2, 3, 4]
        assert (chosen.start, chosen.step, chosen.positions) == (0.0, 1.0, None)

    @pytest.mark.parametrize("factor", [1, 2, 3, 7, 10])
    def test_factor_divides_each_gap_and_keeps_first_and_last(self, factor):
        chosen = sampling(spaced(slice_mm=0.7), factor=factor)
        assert len(chosen.coordinates) == 4 * factor + 1
        assert chosen.coordinates[::factor].tolist() == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(np.diff(chosen.coordinates), 1 / factor, rtol=1e-12)
        assert chosen.start == 0.0
        assert chosen.step == pytest.approx(1 / factor)

    @pytest.mark.parametrize("factor", [2, 3])
    def test_first_and_last_slice_stay_where_they_are(self, factor):
        model = fitted()  # oblique, slices along axis 2
        before, after = (world_of_slices(v, 2) for v in (model.volume, render_volume(model, factor=factor)))
        assert len(after) == (len(before) - 1) * factor + 1
        np.testing.assert_allclose(after[::factor], before, atol=1e-9)

    @pytest.mark.parametrize(
        ("spacing", "count"), [(3.0, 5), (1.5, 9), (5.0, 3), (0.7, 18), (12.0, 2), (12.1, 1), (100.0, 1), (0.1, 121)]
    )
    def test_spacing_starts_at_the_first_slice_and_ends_less_than_a_step_before_the_last(self, spacing, count):
        model = spaced()
        z = sampling(model, spacing=spacing).coordinates * 3.0
        assert len(z) == count
        np.testing.assert_allclose(z, spacing * np.arange(count), atol=1e-9)
        assert -1e-9 <= 12.0 - z[-1] < spacing
        volume = render_volume(model, spacing=spacing)
        assert volume.spacing == pytest.approx((spacing, 1.0, 1.0), rel=1e-12)
        np.testing.assert_array_equal(volume.affine[:, 3], model.volume.affine[:, 3])

    @pytest.mark.parametrize(
        ("slice_mm", "row_mm", "column_mm", "wanted"),
        [(3.0, 1.0, 1.5, 1.0), (3.0, 1.5, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0), (0.3, 1.0, 1.0, 0.3)],
    )
    def test_isotropic_is_the_finest_spacing_in_the_slice_and_never_coarsens(self, slice_mm, row_mm, column_mm, wanted):
        volume = render_volume(spaced(slice_mm, row_mm, column_mm), isotropic=True)
        assert volume.spacing == pytest.approx((wanted, row_mm, column_mm))
        assert volume.shape3d[0] == int(4 * slice_mm / wanted + 1e-6) + 1

    def test_isotropic_never_coarsens_the_finest_gap_of_an_uneven_stack(self, uneven):
        chosen = sampling(uneven, isotropic=True)
        assert np.diff(chosen.coordinates).max() <= 1.0
        volume = render_volume(uneven, isotropic=True)
        assert volume.spacing[0] == pytest.approx(0.5)
        assert volume.positions is None
        assert volume.shape3d[0] == 24

    def test_spacing_makes_an_uneven_stack_even(self, uneven):
        coordinates = sampling(uneven, spacing=0.5).coordinates
        # 1 mm is slice 1, 1.75 mm would be half-way to slice 2 at 2.5 mm: 2 mm is two thirds of that gap
        assert coordinates[[0, 2, 4, 5, 6]] == pytest.approx([0, 1, 1 + 2 / 3, 2, 3])

    def test_factor_keeps_the_gaps_of_an_uneven_stack(self, uneven):
        volume = render_volume(uneven, factor=2)
        np.testing.assert_allclose(volume.positions[::2], UNEVEN_MM)
        np.testing.assert_allclose(volume.positions[1::2], (UNEVEN_MM[1:] + UNEVEN_MM[:-1]) / 2)

    def test_measured_slices_of_an_uneven_stack_keep_their_positions(self, uneven):
        volume = render_volume(uneven)
        np.testing.assert_array_equal(volume.positions, UNEVEN_MM)
        np.testing.assert_array_equal(volume.voxels, uneven.volume.voxels)

    def test_even_positions_become_the_affine(self):
        model = spaced()
        volume = render_volume(model, positions=(1.0, 1.5, 2.0))
        assert volume.spacing[0] == pytest.approx(1.5)
        assert world_of_slices(volume, 0)[0].tolist() == pytest.approx(world_of_slices(model.volume, 0)[1].tolist())
        assert volume.positions is None

    def test_uneven_positions_are_kept_in_the_unit_of_the_volume(self):
        volume = render_volume(spaced(), positions=(0.5, 1.0, 4.0))
        np.testing.assert_allclose(volume.positions, [1.5, 3.0, 12.0])

    def test_a_single_position_keeps_the_thickness(self):
        model = spaced()
        volume = render_volume(model, positions=(2.5,))
        assert volume.shape3d == (1, 6, 7)
        assert volume.spacing == pytest.approx(model.volume.spacing)
        assert volume.affine[2, 3] == pytest.approx(7.5)

    @pytest.mark.parametrize(
        ("positions", "sentence"),
        [
            ((-0.1,), r"\(t from 0 to 4\), got -0.1; choose"),
            ((0.0, 4.1), r"got 4.1; choose"),
            ((float("nan"),), "got nan; choose"),
            ((1.0, 1.0), "must increase, got 1 before 1; sort"),
            ((2.0, 1.0), "must increase, got 2 before 1; sort"),
        ],
    )
    def test_positions_must_increase_within_the_stack(self, positions, sentence):
        with pytest.raises(ValueError, match=sentence):
            sampling(spaced(), positions=positions)

    def test_only_one_sampling_option_is_taken(self):
        with pytest.raises(ValueError, match="exclude one another, got factor and isotropic"):
            render_volume(spaced(), RenderConfig(factor=2), isotropic=True)


class TestSlices:
    def test_measured_slices_are_copied(self, model):
        for k in (0, 4, 8):
            np.testing.assert_array_equal(render_slice(model, float(k)), model.volume.voxels[k])

    def test_a_slice_is_measured_within_a_millionth(self, model):
        for t in (4 - 5e-7, 4 + 5e-7):
            assert is_measured(model, t)
            np.testing.assert_array_equal(render_slice(model, t), model.volume.voxels[4])
        assert not is_measured(model, 4 + 2e-6)

    def test_what_is_rendered_is_the_callers_own(self, model):
        before = model.volume.voxels.copy()
        render_slice(model, 4.0)[:] = 0
        render_volume(model).voxels[:] = 0
        np.testing.assert_array_equal(model.volume.voxels, before)

    @pytest.mark.parametrize("detail", ["auto", "on"])
    def test_slices_pass_continuously_through_measured_ones(self, model, detail):
        near = render_slice(model, 4 + 1e-4, detail=detail).astype(float)
        assert np.abs(near - model.volume.voxels[4]).max() <= 2  # of 4000 stored values

    @pytest.mark.parametrize("t", [-0.1, 8.1, float("nan"), float("inf")])
    def test_coordinates_outside_the_stack_are_refused(self, model, t):
        with pytest.raises(ValueError, match=r"t must lie between the first and the last slice \(0 to 8\), got"):
            render_slice(model, t)

    def test_a_volume_is_its_slices(self, model):
        volume = render_volume(model, factor=3)
        for i in (0, 1, 2, 3, 13, 24):
            np.testing.assert_array_equal(volume.voxels[i], render_slice(model, i / 3))

    def test_dtype_unit_and_intensity_scale_are_kept(self):
        model = spaced(slope=0.37, intercept=-12.5, unit="um")
        volume = render_volume(model, factor=2)
        assert volume.voxels.dtype == np.int16
        assert (volume.slope, volume.intercept, volume.unit) == (0.37, -12.5, "um")

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_the_slice_axis_stays_where_it_is(self, axis):
        model = fitted(axis=axis)
        volume = render_volume(model, factor=2)
        shape = list(model.volume.voxels.shape)
        shape[axis] = 2 * shape[axis] - 1
        assert volume.voxels.shape == tuple(shape)
        np.testing.assert_array_equal(np.take(volume.voxels, range(0, shape[axis], 2), axis), model.volume.voxels)
        np.testing.assert_array_equal(np.take(volume.voxels, 3, axis), render_slice(model, 1.5))

    def test_progress_is_told_after_each_slice(self, model):
        told = []
        render_volume(model, factor=2, report=lambda done, total: told.append((done, total)))
        assert told == [(i + 1, 17) for i in range(17)]

    def test_between_equal_extremes_the_extreme_is_stored(self):
        voxels = np.zeros((4, 6, 7), np.uint8)
        voxels[1:3] = 255  # a cubic between overshoots
        over = DetailStrength((((1.0, 0.0, 0.0, 0.0),) * 3,), (0.0,), (0.0,))
        renderer = SliceRenderer(
            fitted(voxels, axis=0, window=IntensityWindow(0.0, 255.0), detail=over), RenderConfig()
        )
        assert np.all(renderer.stored(1.5) == 255)


class TestDenoise:
    def test_measured_slices_are_the_gaussians_estimate(self, model):
        renderer = SliceRenderer(model, RenderConfig(denoise=True))
        for k in (0, 4, 8):
            shown = render_slice(model, float(k), denoise=True)
            expected = model.window.to_stored(renderer.estimate(float(k)), model.volume.voxels.dtype)[..., 0]
            np.testing.assert_array_equal(shown, expected)
            assert not np.array_equal(shown, model.volume.voxels[k])

    def test_slices_between_are_as_without(self, model):
        np.testing.assert_array_equal(render_slice(model, 3.4, denoise=True), render_slice(model, 3.4))


class TestDetail:
    def test_off_is_the_gaussians_alone(self, model):
        renderer = SliceRenderer(model, RenderConfig(detail="off"))
        np.testing.assert_array_equal(renderer.image(3.4), renderer.estimate(3.4))

    def test_auto_and_on_differ_from_it_and_each_other(self, model):
        auto, on, off = (render_slice(model, 3.4, detail=detail) for detail in ("auto", "on", "off"))
        assert not np.array_equal(auto, on)
        assert not np.array_equal(auto, off)
        assert not np.array_equal(on, off)

    def test_without_the_measured_voxels_the_gaussians_speak_alone(self, model):
        alone = fitted(
            np.zeros_like(model.volume.voxels),
            model.gaussians,
            affine=model.volume.affine,
            axis=0,
            window=model.window,
            has_source=False,
        )
        for t in (3.0, 3.4):
            expected = render_slice(model, t, detail="off", denoise=True)
            np.testing.assert_array_equal(render_slice(alone, t), expected)

    def test_one_slice_is_rendered_by_the_gaussians(self):
        one = fitted(random_voxels("int16", (1, 6, 7)), affine=stack_affine((3.0, 1.0, 1.0)), axis=0)
        assert render_slice(one, 0.0, denoise=True).shape == (6, 7)
        np.testing.assert_array_equal(render_volume(one, factor=4).voxels, one.volume.voxels)


class TestGaussiansAlone:
    def test_a_single_wide_gaussian_paints_its_intensity(self):
        gaussian = FoldedGaussians(
            position=torch.tensor([[3.0, 2.5]]),
            center=torch.tensor([1.0]),
            log_spread=torch.zeros(1),
            drift=torch.zeros(1, 1, 2),
            log_scale=torch.full((1, 2), 2.0),
            angle=torch.zeros(1),
            logit_opacity=torch.zeros(1),
            intensity=torch.tensor([[0.25]]),
        )
        model = spaced(gaussians=gaussian, window=IntensityWindow(100.0, 500.0))
        # the weighted mean of one color is that color: 100 + 0.25 * 400, however faint the Gaussian is
        for t in (0.5, 1.0, 3.9):
            assert np.unique(render_slice(model, t, detail="off", denoise=True)).tolist() == [200]

    def test_colors_stay_in_their_channels(self):
        model = fit_model(scan(np.stack([moving_voxels(), np.full_like(moving_voxels(), 7)], -1)), settings()).model
        shown = render_slice(model, 2.5, detail="off")
        assert shown.shape == (14, 18, 2)
        assert np.ptp(shown[..., 1].astype(float)) < 0.05 * np.ptp(shown[..., 0].astype(float))
