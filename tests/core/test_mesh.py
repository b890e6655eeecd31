from dataclasses import replace

import numpy as np
import pytest
import trimesh

from medgs_core.formats.meshes import check_surface_output, write_surface
from medgs_core.mesh import Surface, simplify_surface, smooth_surface

ENDINGS = (".ply", ".stl", ".obj", ".glb")
FLOAT32 = 1e-6
"""Relative rounding of what a format holds in float32, for coordinates of a size like that of the shape."""


def from_trimesh(mesh, **facts):
    return Surface(np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64), **facts)


@pytest.fixture
def cube():
    return from_trimesh(trimesh.creation.box(extents=(1.0, 2.0, 3.0)), unit="mm", label=4)


@pytest.fixture(scope="module")
def sphere():
    return from_trimesh(trimesh.creation.icosphere(subdivisions=4, radius=10.0))


def both(one, other):
    """Return one surface of two that do not touch."""
    faces = np.concatenate([one.faces, other.faces + len(one.vertices)])
    return replace(one, vertices=np.concatenate([one.vertices, other.vertices]), faces=faces)


class TestMeasures:
    def test_box_measures_what_its_sides_say(self, cube):
        assert cube.area == pytest.approx(2 * (2 + 3 + 6))
        assert cube.volume == pytest.approx(6)
        assert cube.watertight
        assert (cube.components, cube.genus) == (1, 0)

    def test_centroids_of_a_moved_box_lie_at_its_middle(self, cube):
        moved = replace(cube, vertices=cube.vertices + np.array([1.0, 20.0, -300.0]))
        assert moved.surface_centroid == pytest.approx((1, 20, -300))
        assert moved.volume_centroid == pytest.approx((1, 20, -300))

    def test_centroids_of_surface_and_volume_differ_where_they_should(self):
        # a cone of height 4 has its volume's centroid 1 above the base, and that of its surface lower than 4 / 3
        cone = from_trimesh(trimesh.creation.cone(radius=3.0, height=4.0, sections=512))
        slant, base = np.pi * 3 * 5, np.pi * 9
        assert cone.volume_centroid[2] == pytest.approx(1.0, abs=1e-3)
        assert cone.surface_centroid[2] == pytest.approx(slant * 4 / 3 / (slant + base), abs=1e-3)

    def test_far_from_the_origin_no_digits_are_lost(self, cube):
        far = replace(cube, vertices=cube.vertices + 2.0**20)
        assert far.volume == pytest.approx(6, rel=1e-12)

    def test_two_boxes_are_two_components(self, cube):
        two = both(cube, replace(cube, vertices=cube.vertices + 10))
        assert (two.components, two.genus) == (2, 0)
        assert two.volume == pytest.approx(12)

    def test_torus_has_genus_one_and_two_of_them_two(self):
        ring = from_trimesh(trimesh.creation.torus(5.0, 2.0))
        assert ring.genus == 1
        assert both(ring, replace(ring, vertices=ring.vertices + 50)).genus == 2

    def test_open_surface_is_not_watertight_and_has_no_genus(self, cube):
        opened = replace(cube, faces=cube.faces[1:])
        assert not opened.watertight
        assert opened.genus is None

    def test_surface_with_one_face_turned_is_not_watertight(self, cube):
        faces = cube.faces.copy()
        faces[0] = faces[0, ::-1]
        assert not replace(cube, faces=faces).watertight

    def test_vertices_without_a_face_do_not_count(self, cube):
        loose = replace(cube, vertices=np.concatenate([cube.vertices, [[9.0, 9.0, 9.0]]]))
        assert (loose.components, loose.genus) == (1, 0)

    def test_name_tells_the_source(self, cube):
        assert cube.name == "label_4"
        assert replace(cube, label=None, level=2.5).name == "level_2.5"
        assert replace(cube, label=None).name == "surface"


class TestSmoothing:
    @pytest.mark.parametrize("iterations", [1, 10, 50])
    def test_sphere_does_not_shrink(self, sphere, iterations):
        fine = from_trimesh(trimesh.creation.icosphere(subdivisions=5, radius=10.0))
        smooth = smooth_surface(fine, iterations)
        # below the pass band an iteration multiplies by up to 1.0007, so fifty of them let it grow a little
        assert -1e-3 < smooth.volume / fine.volume - 1 < 4e-3
        assert -1e-3 < smooth.area / fine.area - 1 < 4e-3

    def test_noise_goes_and_volume_stays(self, sphere):
        noise = np.random.default_rng(0).normal(0.0, 0.1, sphere.vertices.shape)
        noisy = replace(sphere, vertices=sphere.vertices + noise)
        smooth = smooth_surface(noisy, 10)
        off = [np.std(np.linalg.norm(surface.vertices, axis=1)) for surface in (noisy, smooth)]
        assert off[1] < 0.5 * off[0]
        assert smooth.volume == pytest.approx(noisy.volume, rel=5e-3)

    def test_faces_and_closedness_stay(self, sphere):
        smooth = smooth_surface(sphere, 5)
        np.testing.assert_array_equal(smooth.faces, sphere.faces)
        assert smooth.watertight

    def test_no_iterations_change_nothing(self, sphere):
        assert smooth_surface(sphere, 0) is sphere

    def test_the_surface_given_is_left_as_it_was(self, sphere):
        before = sphere.vertices.copy()
        smooth_surface(sphere, 3)
        np.testing.assert_array_equal(sphere.vertices, before)


class TestSimplifying:
    @pytest.mark.parametrize("faces", [2000, 500, 200])
    def test_budget_is_kept_and_the_sphere_stays_closed(self, sphere, faces):
        simple = simplify_surface(sphere, faces)
        assert 0.9 * faces <= len(simple.faces) <= faces
        assert simple.watertight
        assert (simple.components, simple.genus) == (1, 0)
        # inscribed: a sphere of F triangles lacks about 6 / F of its volume at best, half as much again here
        assert simple.volume == pytest.approx(sphere.volume, rel=10 / faces)

    def test_budget_that_is_not_reached_changes_nothing(self, sphere):
        assert simplify_surface(sphere, len(sphere.faces)) is sphere

    def test_far_from_the_origin_it_is_as_exact(self, sphere):
        far = replace(sphere, vertices=sphere.vertices + 2.0**20)
        near, away = simplify_surface(sphere, 500), simplify_surface(far, 500)
        assert away.volume == pytest.approx(near.volume, rel=1e-3)

    def test_facts_stay(self, cube):
        fine = from_trimesh(trimesh.creation.box().subdivide_loop(3), unit="um", label=9)
        simple = simplify_surface(fine, 100)
        assert (simple.unit, simple.label, simple.level) == ("um", 9, None)

    def test_budget_under_which_it_would_tear_is_refused(self, sphere):
        two = both(sphere, replace(sphere, vertices=sphere.vertices + 50))
        with pytest.raises(
            ValueError, match=r"^faces must leave surface closed, got a budget of 4 for .*; allow more$"
        ):
            simplify_surface(two, 4)


def read_parts(path):
    """Return the meshes in a file, vertices at one place made one, as STL has no others."""
    loaded = trimesh.load(path)
    meshes = loaded.geometry if isinstance(loaded, trimesh.Scene) else {"": loaded}
    return {name: from_trimesh(mesh) for name, mesh in meshes.items()}


class TestFiles:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_round_trip_keeps_the_mesh(self, sphere, tmp_path, ending):
        write_surface(sphere, tmp_path / f"a{ending}")
        (back,) = read_parts(tmp_path / f"a{ending}").values()
        assert (len(back.vertices), len(back.faces)) == (len(sphere.vertices), len(sphere.faces))
        assert back.watertight
        assert back.volume == pytest.approx(sphere.volume, rel=FLOAT32)
        assert back.area == pytest.approx(sphere.area, rel=FLOAT32)
        np.testing.assert_allclose(
            np.unique(back.vertices[back.faces].round(3), axis=0).mean(axis=0),
            np.unique(sphere.vertices[sphere.faces].round(3), axis=0).mean(axis=0),
            atol=1e-3,
        )

    @pytest.mark.parametrize("ending", [".ply", ".obj"])
    def test_vertices_and_faces_come_back_in_order(self, sphere, tmp_path, ending):
        write_surface(sphere, tmp_path / f"a{ending}")
        back = trimesh.load(tmp_path / f"a{ending}", process=False)
        np.testing.assert_array_equal(back.faces, sphere.faces)
        np.testing.assert_allclose(back.vertices, sphere.vertices, atol=1e-10)

    @pytest.mark.parametrize(("ending", "exact"), [(".ply", 0.0), (".obj", 1e-11)])
    def test_float64_formats_keep_small_surfaces_far_away(self, cube, tmp_path, ending, exact):
        far = replace(cube, vertices=cube.vertices * 1e-3 + 2.0)
        write_surface(far, tmp_path / f"a{ending}")
        back = trimesh.load(tmp_path / f"a{ending}", process=False)
        assert np.abs(back.vertices - far.vertices).max() <= exact

    def test_several_surfaces_are_named_meshes_in_glb(self, cube, sphere, tmp_path):
        write_surface([cube, replace(sphere, label=7)], tmp_path / "a.glb")
        parts = read_parts(tmp_path / "a.glb")
        assert sorted(parts) == ["label_4", "label_7"]
        assert parts["label_4"].volume == pytest.approx(cube.volume, rel=FLOAT32)
        assert parts["label_7"].volume == pytest.approx(sphere.volume, rel=FLOAT32)

    def test_several_surfaces_are_named_objects_in_obj(self, cube, sphere, tmp_path):
        write_surface([cube, replace(sphere, label=7)], tmp_path / "a.obj")
        lines = (tmp_path / "a.obj").read_text().splitlines()
        assert [line for line in lines if line.startswith("o ")] == ["o label_4", "o label_7"]

    @pytest.mark.parametrize("ending", [".ply", ".stl", ".obj"])
    def test_several_surfaces_are_read_as_one_mesh_elsewhere(self, cube, sphere, tmp_path, ending):
        write_surface([cube, replace(sphere, vertices=sphere.vertices + 50, label=7)], tmp_path / f"a{ending}")
        (back,) = read_parts(tmp_path / f"a{ending}").values()
        assert back.components == 2
        assert back.volume == pytest.approx(cube.volume + sphere.volume, rel=FLOAT32)

    def test_ply_tells_the_label_of_each_face(self, cube, sphere, tmp_path):
        write_surface([cube, replace(sphere, label=7)], tmp_path / "a.ply")
        faces = trimesh.load(tmp_path / "a.ply", process=False).metadata["_ply_raw"]["face"]["data"]
        np.testing.assert_array_equal(faces["label"], [4] * len(cube.faces) + [7] * len(sphere.faces))

    def test_ending_is_read_in_any_case(self, cube, tmp_path):
        write_surface(cube, tmp_path / "a.PLY")
        assert (tmp_path / "a.PLY").read_bytes().startswith(b"ply\n")

    @pytest.mark.parametrize("refuse", [check_surface_output, lambda path: write_surface([], path)])
    def test_unknown_ending_is_refused_with_the_known_ones(self, tmp_path, refuse):
        with pytest.raises(
            ValueError, match=r"^A surface must end in \.ply, \.stl, \.obj or \.glb, got '.*a\.vtk'; ch"
        ):
            refuse(tmp_path / "a.vtk")

    def test_nothing_to_write_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="at least one surface, got none for"):
            write_surface([], tmp_path / "a.ply")

    def test_label_too_large_for_ply_is_refused(self, cube, tmp_path):
        with pytest.raises(ValueError, match=r"must lie between .*, got 4294967295 to 4294967295; write \.obj"):
            write_surface(replace(cube, label=2**32 - 1), tmp_path / "a.ply")

    def test_missing_folder_is_refused_and_no_file_left(self, cube, tmp_path):
        with pytest.raises(ValueError, match="folder must exist"):
            write_surface(cube, tmp_path / "no" / "a.ply")
        assert list(tmp_path.iterdir()) == []
