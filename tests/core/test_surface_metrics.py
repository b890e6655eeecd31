import math

import numpy as np
import pytest
import trimesh

from medgs_core.surface_metrics import SurfaceDistances, chamfer, surface_distances

SHAPE = (40, 40, 40)

VOXEL = 0.15
"""Part of a voxel by which distances between digital spheres differ from those between true ones."""


ODD = 1.05
"""A tolerance that no distance between voxels equals."""


def ball(radius, center=(20, 20, 20), spacing=(1.0, 1.0, 1.0), shape=SHAPE):
    places = [(index - middle) * step for index, middle, step in zip(np.indices(shape), center, spacing, strict=True)]
    return np.sqrt(sum(place**2 for place in places)) < radius


def box(first, last):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = True
    return mask


def rotation():
    """Return a rotation about an oblique axis."""
    return trimesh.transformations.rotation_matrix(0.7, [1.0, 2.0, -0.5])


def scores(found):
    return found.assd, found.hausdorff, found.hausdorff95, found.surface_dice(ODD)


class TestBoxes:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    @pytest.mark.parametrize("steps", [1, 3])
    def test_a_shift_is_the_hausdorff_distance(self, axis, steps):
        spacing = (2.5, 1.0, 0.5)
        a = box((10, 10, 10), (20, 20, 20))
        found = surface_distances(a, np.roll(a, steps, axis), spacing)
        assert found.hausdorff == pytest.approx(steps * spacing[axis])
        assert 0 < found.assd < found.hausdorff

    def test_one_end_of_a_long_bar(self):
        # 4 x 4 x 20 against 4 x 4 x 24: of all the area, 16 at the end of the one is 4 off, 16 at the end of the other
        # within 2, and its 4 x 4 x 4 sides 0 to 4 off
        a, b = box((10, 10, 8), (14, 14, 28)), box((10, 10, 8), (14, 14, 32))
        found = surface_distances(a, b)
        assert found.hausdorff == pytest.approx(4.0, abs=VOXEL)
        area = 2 * (4 * 4 * 20 + 4 * 4 * 24) / 2 + 4 * 16
        assert found.assd == pytest.approx((16 * 4 + 64 * 2 + 16 * 1) / area, rel=0.2)
        assert found.surface_dice(4.2) == 1.0

    def test_plates_apart(self):
        # one voxel thick, 3 apart: the faces that look at each other are 2 apart, the others 3, on either side
        a, b = box((10, 2, 2), (11, 38, 38)), box((13, 2, 2), (14, 38, 38))
        found = surface_distances(a, b, (2.0, 1.0, 1.0))
        assert found.assd == pytest.approx(2.0 * 2.5, rel=0.02)
        assert found.hausdorff == pytest.approx(2.0 * 3)
        assert found.surface_dice(3.9) == 0.0
        faces, sides = 2 * 36 * 36, 4 * 36 * 2
        assert found.surface_dice(4.1) == pytest.approx(faces / 2 / (faces + sides), abs=0.02)


class TestSpheres:
    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.5, 1.0, 1.0)])
    def test_concentric_ones_are_the_difference_of_their_radii_apart(self, spacing):
        a, b = (ball(radius, (30, 20, 20), spacing, (60, 40, 40)) for radius in (8, 12))
        found = surface_distances(a, b, spacing)
        assert found.assd == pytest.approx(4.0, abs=VOXEL)
        assert found.hausdorff95 == pytest.approx(4.0, abs=2 * max(spacing) * VOXEL + 0.3)
        assert found.surface_dice(3.0) == 0.0
        assert found.surface_dice(5.0) == 1.0

    def test_two_against_one_of_them(self):
        # a sphere of radius r whose center is d away from another one: mean distance d + r² / 3 d - r, largest d
        radius, apart = 6, 20
        one = ball(radius, (20, 20, 10))
        two = one | ball(radius, (20, 20, 10 + apart))
        found = surface_distances(two, one)
        mean = apart + radius**2 / (3 * apart) - radius
        assert found.assd == pytest.approx(mean / 3, rel=0.02)  # of three spheres, one is off
        assert found.hausdorff == pytest.approx(apart, abs=VOXEL)
        assert found.back.max() == 0.0
        assert found.surface_dice(1.0) == pytest.approx(2 / 3, abs=0.01)

    def test_specks_do_not_count_in_the_robust_distance(self):
        a = ball(10)
        found = surface_distances(a, a | box((1, 1, 1), (2, 2, 2)))
        assert found.hausdorff > 15
        assert found.hausdorff95 == 0.0


class TestWorld:
    def test_a_rotation_of_the_world_changes_nothing(self):
        a, b = ball(8), ball(10, (21, 18, 20))
        affine = np.diag([2.0, 0.7, 1.0, 1.0])
        turned = rotation() @ affine
        turned[:3, 3] = (100.0, -40.0, 7.0)
        expected = surface_distances(a, b, (2.0, 0.7, 1.0))
        assert scores(surface_distances(a, b, affine=turned)) == pytest.approx(scores(expected))

    def test_shear_counts(self):
        # columns at 60 degrees: a plate moved by 3 voxels along the oblique axis is 3 sin 60 away
        affine = np.eye(4)
        affine[:3, 0] = (math.sin(math.pi / 3), math.cos(math.pi / 3), 0.0)
        a, b = box((10, 2, 2), (12, 38, 38)), box((13, 2, 2), (15, 38, 38))
        found = surface_distances(a, b, affine=affine)
        middle = np.percentile(found.forth, 50)
        assert middle == pytest.approx(2 * math.sin(math.pi / 3), rel=0.6)
        assert found.hausdorff95 == pytest.approx(3 * math.sin(math.pi / 3), rel=0.05)

    def test_a_surface_closes_at_the_border_of_the_volume(self):
        full = np.ones((4, 4, 4), bool)
        found = surface_distances(full, full)
        assert found.assd == 0.0
        assert 80 < found.areas_forth.sum() < 96  # six sides of 16, their edges cut

    def test_labels_are_compared_one_by_one(self):
        a, b = ball(8), ball(10)
        found = surface_distances(np.where(a, 4, 1), np.where(b, 4, 0), label=4)
        assert scores(found) == scores(surface_distances(a, b))


class TestEmpty:
    def test_two_empty_masks_agree(self):
        empty = np.zeros(SHAPE, bool)
        assert scores(surface_distances(empty, empty)) == (0.0, 0.0, 0.0, 1.0)

    @pytest.mark.parametrize("turned", [False, True])
    def test_one_empty_mask_is_infinitely_far(self, turned):
        pair = (np.zeros(SHAPE, bool), ball(8))
        assert scores(surface_distances(*(pair[::-1] if turned else pair))) == (math.inf, math.inf, math.inf, 0.0)


def test_means_and_percentiles_are_over_area():
    found = SurfaceDistances(np.array([1.0, 5.0]), np.array([98.0, 2.0]), np.array([2.0]), np.array([50.0]))
    assert found.assd == pytest.approx((98 + 10 + 100) / 150)
    assert found.hausdorff == 5.0
    assert found.hausdorff95 == 2.0  # 98 % of the first surface are within 1, all of the second within 2
    assert found.surface_dice(1.0) == pytest.approx(98 / 150)


class TestChamfer:
    @staticmethod
    def sphere(radius):
        mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
        return np.asarray(mesh.vertices), np.asarray(mesh.faces)

    def test_equal_surfaces_are_at_the_floor(self):
        found, floor = chamfer(self.sphere(10.0), self.sphere(10.0), 20_000)
        assert found == pytest.approx(floor, rel=0.05)
        # n random points on an area S are 1/2 sqrt(S / n) from the nearest on average
        assert floor == pytest.approx(0.5 * math.sqrt(4 * math.pi * 100 / 20_000), rel=0.05)

    def test_concentric_spheres_are_the_difference_of_their_radii_apart(self):
        found, floor = chamfer(self.sphere(10.0), self.sphere(13.0), 20_000)
        assert found == pytest.approx(3.0, rel=0.01)
        assert floor < 0.2

    def test_the_seed_decides(self):
        pair = self.sphere(10.0), self.sphere(11.0)
        assert chamfer(*pair, 500, seed=3) == chamfer(*pair, 500, seed=3)
        assert chamfer(*pair, 500, seed=3) != chamfer(*pair, 500, seed=4)

    def test_surfaces_without_faces_are_refused(self):
        with pytest.raises(ValueError, match=r"must have faces to be compared, got one without; choose"):
            chamfer(self.sphere(1.0), (np.empty((0, 3)), np.empty((0, 3), int)))
