"""From a digitised solid through a fit of its labels to its surface."""

import numpy as np
import pytest

from medgs_core.fit import fit_model
from medgs_core.surface import extract_surface, extract_surfaces
from medgs_core.volume import Volume, stack_affine

from ._fits import settings

RADIUS = 20.0
CENTER = np.array([26.0, 24.7, 24.3])
"""In (z, y, x): the poles are 2 beyond the last slices that hold the ball, half of the way to the next."""

SLICES, SIDE, GAP = 14, 50, 4.0
BALL_VOLUME, BALL_AREA = 4 / 3 * np.pi * RADIUS**3, 4 * np.pi * RADIUS**2
AFFINE = stack_affine((GAP, 1.0, 1.0))


def ball():
    """Return the voxels whose centers lie in the ball."""
    z, y, x = np.ogrid[:SLICES, :SIDE, :SIDE]
    return (GAP * z - CENTER[0]) ** 2 + (y - CENTER[1]) ** 2 + (x - CENTER[2]) ** 2 <= RADIUS**2


def model_of(labels, affine=AFFINE):
    """Return a model of labels alone: its Gaussians do not matter where it has its source."""
    quick = settings(preset="fast", steps=SLICES, gaussians=200)
    return fit_model(None, quick, labels=Volume(labels.astype(np.uint8), affine)).model


@pytest.fixture(scope="module")
def model():
    return model_of(ball())


@pytest.fixture(scope="module")
def surface(model):
    return extract_surface(model, label=1)


class TestBall:
    def test_ends_half_way_beyond_the_slices_that_hold_it(self):
        held = np.flatnonzero(ball().any(axis=(1, 2)))
        assert GAP * held[0] - (CENTER[0] - RADIUS) == 2.0
        assert CENTER[0] + RADIUS - GAP * held[-1] == 2.0

    def test_is_one_closed_surface(self, surface):
        assert surface.watertight
        assert (surface.components, surface.genus) == (1, 0)

    def test_has_its_volume_and_area(self, surface):
        assert surface.volume == pytest.approx(BALL_VOLUME, rel=0.01)
        assert surface.area == pytest.approx(BALL_AREA, rel=0.02)

    def test_no_vertex_is_half_a_pixel_off(self, surface):
        off = np.linalg.norm(surface.vertices - CENTER[::-1], axis=1) - RADIUS
        assert np.abs(off).max() < 0.5

    def test_centroid_is_its_center(self, surface):
        assert surface.volume_centroid == pytest.approx(CENTER[::-1], abs=0.05)

    def test_turned_and_mirrored_world_changes_nothing_but_the_world(self, surface):
        a, b = 0.7, -1.1
        about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        move = np.eye(4)
        move[:3, :3] = about_z @ about_x @ np.diag([-1.0, 1.0, 1.0])
        move[:3, 3] = [100.0, -50.0, 7.0]
        moved = extract_surface(model_of(ball(), move @ AFFINE), label=1)
        assert moved.volume == pytest.approx(surface.volume, rel=1e-5)  # positive: outward in both worlds
        assert moved.area == pytest.approx(surface.area, rel=1e-5)
        np.testing.assert_allclose(moved.vertices, surface.vertices @ move[:3, :3].T + move[:3, 3], atol=1e-5)

    def test_finer_samples_change_little(self, model, surface):
        fine = extract_surface(model, label=1, spacing=0.7)
        assert fine.volume == pytest.approx(surface.volume, rel=2e-3)
        assert fine.area == pytest.approx(surface.area, rel=5e-3)


def test_halves_of_a_ball_share_their_border():
    halves = ball() * (1 + (np.arange(SIDE) > 24))
    first, second = extract_surfaces(model_of(halves))
    assert (first.label, second.label) == (1, 2)
    assert first.watertight
    assert second.watertight
    assert first.volume + second.volume == pytest.approx(BALL_VOLUME, rel=0.01)
    rounded = [set(map(tuple, one.vertices.round(6))) for one in (first, second)]
    border = np.array(sorted(rounded[0] & rounded[1]))
    # a disk of radius 20, a vertex per pixel but at its rim
    assert len(border) > 0.9 * np.pi * RADIUS**2
    assert np.abs(border[:, 0] - 24.5).max() < 0.5
