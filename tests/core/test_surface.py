from dataclasses import replace

import numpy as np
import pytest

from medgs_core.config import SurfaceConfig
from medgs_core.fit import fit_model
from medgs_core.members import combine_volumes
from medgs_core.surface import (
    LabelFields,
    extract_surface,
    extract_surfaces,
    finish,
    trace_labels,
)
from medgs_core.volume import Volume, stack_affine

from ._fits import settings
from ._models import fitted
from ._shapes import Solids, ball, either, left_of, scan, torus

RADIUS = 20.0
BALL_VOLUME, BALL_AREA = 4 / 3 * np.pi * RADIUS**3, 4 * np.pi * RADIUS**2
CENTER = (26.2, 24.7, 24.3)


def surfaces_of(volume, distances, **options):
    return trace_labels(Solids(volume, distances), volume, 0, SurfaceConfig(**options))


def rigid(affine, mirrored):
    """Return an affine turned, mirrored if asked, and moved, with what was done to it."""
    a, b = 0.7, -1.1
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    move = np.eye(4)
    move[:3, :3] = about_z @ about_x @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    move[:3, 3] = [100.0, -50.0, 7.0]
    return move @ affine, move


@pytest.fixture(scope="module")
def volume():
    return scan(14, 50, 50)


@pytest.fixture(scope="module")
def surface(volume):
    (surface,) = surfaces_of(volume, {3: ball(CENTER, RADIUS)})
    return surface


class TestBall:
    def test_measures_those_of_the_ball(self, surface):
        assert surface.volume == pytest.approx(BALL_VOLUME, rel=5e-3)
        assert surface.area == pytest.approx(BALL_AREA, rel=1e-2)
        assert surface.watertight
        assert (surface.components, surface.genus) == (1, 0)

    def test_centroids_are_its_center_in_the_world(self, surface):
        assert surface.surface_centroid == pytest.approx(CENTER[::-1], abs=1e-3)
        assert surface.volume_centroid == pytest.approx(CENTER[::-1], abs=1e-3)

    def test_vertices_lie_on_it_closer_than_a_hundredth_of_a_sample(self, surface):
        off = np.linalg.norm(surface.vertices - CENTER[::-1], axis=1) - RADIUS
        assert np.abs(off).max() < 0.01

    def test_knows_its_label_and_unit(self, volume):
        (surface,) = surfaces_of(replace(volume, unit="um"), {3: ball(CENTER, RADIUS)})
        assert (surface.label, surface.level, surface.unit) == (3, None, "um")

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_turned_and_mirrored_world_changes_nothing_but_the_world(self, volume, surface, mirrored):
        affine, move = rigid(volume.affine, mirrored)
        (moved,) = surfaces_of(replace(volume, affine=affine), {3: ball(CENTER, RADIUS)})
        assert moved.volume == pytest.approx(surface.volume, rel=1e-5)  # positive: outward in both worlds
        assert moved.area == pytest.approx(surface.area, rel=1e-5)
        np.testing.assert_allclose(moved.vertices, surface.vertices @ move[:3, :3].T + move[:3, 3], atol=1e-5)

    @pytest.mark.parametrize("spacing", [0.5, 2.0, 3.0])
    def test_any_spacing_gives_its_volume(self, volume, spacing):
        (surface,) = surfaces_of(volume, {3: ball(CENTER, RADIUS)}, spacing=spacing)
        # chords of length s lie up to s² / 8R below the sphere, the diagonals of faces twice that
        assert surface.volume == pytest.approx(BALL_VOLUME, rel=2e-3 + 3 * spacing**2 / (4 * RADIUS**2))
        assert surface.watertight

    def test_pixels_need_not_be_square(self):
        volume = scan(14, 25, 63, spacing=(4.0, 2.0, 0.8))
        (surface,) = surfaces_of(volume, {3: ball(CENTER, RADIUS)}, spacing=1.0)
        assert surface.volume == pytest.approx(BALL_VOLUME, rel=5e-3)
        assert surface.volume_centroid == pytest.approx(CENTER[::-1], abs=0.02)

    def test_slices_need_not_be_even(self):
        positions = np.array([100, 103, 104, 110, 112, 118, 119, 125, 131, 133, 140, 141, 148, 155.0])
        center = (CENTER[0] + 100.0, *CENTER[1:])
        (surface,) = surfaces_of(scan(14, 50, 50, positions=positions), {3: ball(center, RADIUS)})
        assert surface.volume == pytest.approx(BALL_VOLUME, rel=5e-3)
        # the affine places the first slice, whose position is 100
        assert surface.volume_centroid == pytest.approx(CENTER[::-1], abs=0.01)

    @pytest.mark.parametrize("axis", [1, 2])
    def test_slices_need_not_lie_along_the_first_axis(self, axis):
        shape, spacing = np.full(3, 50), np.ones(3)
        shape[axis], spacing[axis] = 14, 4.0
        affine = np.diag([*spacing, 1.0])
        volume = Volume(np.zeros(shape, np.uint8), affine)
        center = np.insert([24.7, 24.3], axis, 26.2)
        head = Solids(volume, {3: ball(CENTER, RADIUS)}, axis)
        (surface,) = trace_labels(head, volume, axis, SurfaceConfig())
        assert surface.volume == pytest.approx(BALL_VOLUME, rel=5e-3)
        assert surface.volume_centroid == pytest.approx(center, abs=1e-3)

    def test_smoothing_and_budget_are_kept_together(self, volume, surface):
        (small,) = surfaces_of(volume, {3: ball(CENTER, RADIUS)}, smooth=10, faces=2000)
        assert len(small.faces) <= 2000
        assert small.watertight
        assert small.volume == pytest.approx(BALL_VOLUME, rel=1e-2)
        assert finish(surface, SurfaceConfig()) is surface


class TestShapes:
    def test_mask_that_fills_all_slices_has_the_volume_of_its_voxels(self):
        # 21 columns wide, border at 20.5: linear fields are exact, but for half precision
        (surface,) = surfaces_of(scan(6, 30, 40), {1: left_of(20.5)})
        assert surface.watertight
        assert surface.volume == pytest.approx(6 * 4 * 30 * 21, rel=1e-4)
        np.testing.assert_allclose(surface.vertices.min(axis=0), [-0.5, -0.5, -2.0], atol=1e-12)
        np.testing.assert_allclose(surface.vertices.max(axis=0), [20.5, 29.5, 22.0], atol=1e-3)

    def test_label_everywhere_is_the_box_of_the_volume(self):
        (surface,) = surfaces_of(scan(6, 30, 40), {1: left_of(1e3)})
        assert surface.volume == pytest.approx(6 * 4 * 30 * 40, rel=1e-12)
        assert (surface.components, surface.genus) == (1, 0)

    def test_two_halves_share_their_border_exactly(self):
        head = {1: left_of(17.3), 2: lambda z, y, x: x - 17.3}
        one, other = surfaces_of(scan(6, 30, 40), head)
        first, second = ({tuple(v) for v in surface.vertices} for surface in (one, other))
        border = {v for v in first if 17 < v[0] < 18}
        assert border
        # where three fields are zero at once margins bend, and a straight line through one would end at 17.18
        assert max(abs(x - 17.3) for x, _, _ in border) < 1e-3
        assert border == {v for v in second if 17 < v[0] < 18}
        assert one.volume + other.volume == pytest.approx(6 * 4 * 30 * 40, rel=1e-12)

    def test_touching_labels_of_unequal_crops_share_their_border_exactly(self):
        volume = scan(10, 40, 60)
        left, right = ball((18.0, 19.0, 22.0), 14.0), ball((18.0, 19.0, 40.0), 13.0)
        one, other = surfaces_of(volume, {1: left, 2: right})
        gap = abs(left(*one.vertices.T[::-1]) - right(*one.vertices.T[::-1]))
        # of the border: as far inside the one as inside the other, and inside both
        border = {tuple(v) for v in one.vertices[(gap < 1e-2) & (left(*one.vertices.T[::-1]) > 1.0)]}
        assert len(border) > 100
        assert border <= {tuple(v) for v in other.vertices}

    def test_border_on_the_samples_belongs_to_the_first_label(self):
        head = {1: left_of(17.0), 2: lambda z, y, x: x - 17.0}
        one, other = surfaces_of(scan(6, 30, 40), head)
        assert one.watertight
        assert other.watertight
        assert one.volume + other.volume == pytest.approx(6 * 4 * 30 * 40, rel=1e-12)
        assert one.volume == pytest.approx(6 * 4 * 30 * 17.5, rel=1e-3)

    def test_two_balls_are_two_components(self):
        both = either(ball((12.0, 15.0, 15.0), 9.0), ball((26.0, 34.0, 34.0), 9.0))
        (surface,) = surfaces_of(scan(10, 50, 50), {1: both})
        assert (surface.components, surface.genus) == (2, 0)
        assert surface.volume == pytest.approx(2 * 4 / 3 * np.pi * 9**3, rel=1e-2)

    def test_hollow_ball_has_a_surface_inside_that_takes_its_volume_off(self):
        outer, inner = ball((20.0, 20.0, 20.0), 16.0), ball((20.0, 20.0, 20.0), 9.0)
        shell = {1: lambda z, y, x: np.minimum(outer(z, y, x), -inner(z, y, x))}
        (surface,) = surfaces_of(scan(11, 41, 41), shell)
        assert surface.components == 2
        assert surface.volume == pytest.approx(4 / 3 * np.pi * (16**3 - 9**3), rel=1e-2)

    def test_torus_has_genus_one(self):
        (surface,) = surfaces_of(scan(9, 60, 60), {1: torus((16.0, 29.5, 29.5), 18.0, 8.0)})
        assert (surface.components, surface.genus) == (1, 1)
        assert surface.volume == pytest.approx(2 * np.pi**2 * 18 * 8**2, rel=1e-2)

    def test_thin_sheet_stays_closed(self):
        sheet = {1: lambda z, y, x: 0.3 - np.abs(0.6 * x + 0.5 * y + 0.3 * z - 20.0)}
        (surface,) = surfaces_of(scan(6, 30, 40), sheet, spacing=0.5)
        assert surface.watertight

    def test_all_labels_come_from_one_rendering(self):
        volume = scan(6, 30, 40)
        head = Solids(volume, {1: left_of(9.5), 5: lambda z, y, x: x - 30.0, 8: ball((10.0, 15.0, 20.0), 6.0)})
        surfaces = trace_labels(head, volume, 0, SurfaceConfig())
        assert [surface.label for surface in surfaces] == [1, 5, 8]
        assert sorted(head.calls) == np.linspace(-0.5, 5.5, 25).tolist()

    def test_one_label_is_the_same_as_among_all(self):
        distances = {1: left_of(17.3), 2: ball((10.0, 15.0, 20.0), 9.0)}
        _, among = surfaces_of(scan(6, 30, 40), distances)
        (alone,) = surfaces_of(scan(6, 30, 40), distances, label=2)
        np.testing.assert_array_equal(alone.vertices, among.vertices)
        np.testing.assert_array_equal(alone.faces, among.faces)

    def test_label_that_wins_nowhere_is_left_out_of_all_and_refused_alone(self):
        distances = {1: left_of(17.3), 2: left_of(-5.0)}
        (surface,) = surfaces_of(scan(6, 30, 40), distances)
        assert surface.label == 1
        with pytest.raises(ValueError, match=r"^a surface needs a label that wins somewhere, got 2, .*; choose"):
            surfaces_of(scan(6, 30, 40), distances, label=2)

    def test_solids_of_the_tests_are_label_fields(self):
        assert isinstance(Solids(scan(2, 3, 4), {1: left_of(2.0)}), LabelFields)


INSIDE, AROUND = 900.0, 100.0
MIDDLE = (INSIDE + AROUND) / 2
BRIGHT_CENTER, BRIGHT_RADIUS = (16.0, 14.6, 15.3), 10.0


def bright_ball(slices=17, slope=1.0, intercept=0.0, positions=None):
    """Return a scan of a ball with soft edges that measures 900 in 100, as int16 of the given scale."""
    z = np.arange(slices) * 2.0 if positions is None else positions
    y, x = np.mgrid[:30, :32]
    inside = np.stack([ball(BRIGHT_CENTER, BRIGHT_RADIUS)(depth, y, x) for depth in z])
    measured = AROUND + (INSIDE - AROUND) / 2 * (1 + np.tanh(inside / 1.5))
    stored = np.rint((measured - intercept) / slope).astype(np.int16)
    return Volume(stored, stack_affine((2.0, 1.0, 1.0)), slope=slope, intercept=intercept, positions=positions)


@pytest.fixture(scope="module")
def bright():
    return fit_model(bright_ball(), settings()).model


def without_slices(model):
    """Return a model as it is loaded from a file that has no measured voxels."""
    return replace(model, has_source=False, volume=replace(model.volume, voxels=model.volume.voxels * 0))


class TestLevel:
    def test_ball_is_found_at_the_level_of_its_edge(self, bright):
        surface = extract_surface(bright, level=MIDDLE)
        assert surface.watertight
        assert surface.volume == pytest.approx(4 / 3 * np.pi * BRIGHT_RADIUS**3, rel=0.02)
        assert surface.volume_centroid == pytest.approx(BRIGHT_CENTER[::-1], abs=0.1)
        assert (surface.label, surface.level, surface.unit) == (None, MIDDLE, "mm")

    @pytest.mark.parametrize(("slope", "intercept"), [(2.0, -50.0), (-1.0, 1000.0)])
    def test_level_is_a_measured_value(self, bright, slope, intercept):
        model = fit_model(bright_ball(slope=slope, intercept=intercept), settings()).model
        surface = extract_surface(model, level=MIDDLE)
        assert surface.volume == pytest.approx(extract_surface(bright, level=MIDDLE).volume, rel=0.01)

    def test_higher_level_lies_inside(self, bright):
        assert extract_surface(bright, level=700.0).volume < extract_surface(bright, level=300.0).volume

    def test_channel_is_chosen_with_the_scale_of_its_image(self, bright):
        flat = replace(bright_ball(), voxels=np.zeros_like(bright_ball().voxels), slope=3.0)
        flat.voxels[0, 0, 0] = 1
        model = fit_model(combine_volumes(flat, bright_ball(slope=2.0, intercept=10.0)), settings()).model
        surface = extract_surface(model, level=MIDDLE, channel=1)
        assert surface.volume == pytest.approx(extract_surface(bright, level=MIDDLE).volume, rel=0.01)
        with pytest.raises(ValueError, match=r"^channel should be at most 1, the last one, got 2; correct it$"):
            extract_surface(model, level=MIDDLE, channel=2)

    def test_uneven_slices_keep_their_place(self):
        positions = np.array([5.0, 6, 9, 11, 12, 15, 17, 18, 20, 23, 24, 26, 28, 31, 32, 34, 37]) - 5.0
        model = fit_model(bright_ball(positions=positions), settings()).model
        surface = extract_surface(model, level=MIDDLE)
        assert surface.volume == pytest.approx(4 / 3 * np.pi * BRIGHT_RADIUS**3, rel=0.03)
        assert surface.volume_centroid == pytest.approx(BRIGHT_CENTER[::-1], abs=0.15)

    def test_progress_is_reported_to_its_end(self, bright):
        heard = []
        extract_surface(bright, level=MIDDLE, spacing=2.0, report=lambda done, total: heard.append((done, total)))
        assert heard == [(k + 1, 19) for k in range(19)]

    def test_model_without_its_slices_gives_a_surface_too(self, bright):
        surface = extract_surface(without_slices(bright), level=MIDDLE)
        assert surface.watertight
        assert surface.volume_centroid == pytest.approx(BRIGHT_CENTER[::-1], abs=2.0)  # of a fit in no time

    @pytest.mark.parametrize("level", [-1e4, 1e6, 32767])
    def test_level_outside_the_data_is_refused_with_the_range(self, level):
        with pytest.raises(
            ValueError, match=r"^level should lie between -\d+ and \d+, the range of the data, got .*; ch"
        ):
            extract_surface(fitted(np.arange(-105, 105, dtype=np.int16).reshape(5, 6, 7)), level=level)

    def test_level_that_nothing_rendered_exceeds_is_refused(self, bright):
        bare = without_slices(bright)
        brightest = np.interp(bare.gaussians.intensity.max(), (0, 1), (bare.window.low, bare.window.high))
        with pytest.raises(ValueError, match=r"^a surface needs values above the level, got none above .*; lower it$"):
            extract_surface(bare, level=float(brightest) - 1e-3)


class TestRefusals:
    def test_neither_label_nor_level_is_refused(self):
        with pytest.raises(ValueError, match=r"^a surface needs a label or a level, got neither; give one of them$"):
            extract_surface(fitted())

    def test_both_are_refused(self):
        with pytest.raises(
            ValueError, match=r"^label and level exclude one another, got label 1 and level 2; give one"
        ):
            extract_surface(fitted(), SurfaceConfig(level=2.0), label=1)

    def test_model_without_labels_is_refused(self):
        for ask in (lambda: extract_surface(fitted(), label=1), lambda: extract_surfaces(fitted())):
            with pytest.raises(ValueError, match=r"^Labels need a model that was fitted with a label map, got one wi"):
                ask()

    @pytest.mark.parametrize("options", [{"label": 1}, {"level": 2.0}])
    def test_all_labels_take_no_label_and_no_level(self, options):
        with pytest.raises(
            ValueError, match=r"^the surfaces of all labels need no (label|level), got [12]; leave it out$"
        ):
            extract_surfaces(fitted(), **options)

    def test_label_that_does_not_exist_is_refused_with_those_that_do(self, monkeypatch):
        head = Solids(scan(5, 6, 7), {1: left_of(2.0), 4: left_of(3.0)})
        monkeypatch.setattr("medgs_core.surface.label_fields", lambda model, *_: head)
        with pytest.raises(ValueError, match=r"^label should be one of 1, 4, got 3; choose one of these$"):
            extract_surface(fitted(), label=3)
        assert head.calls == []
