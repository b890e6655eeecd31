import dataclasses
import itertools

import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._frames import frame_of_volume, matrix_of, place_of
from medgs_napari._label_layers import show_labels
from medgs_napari._layers import pick
from medgs_napari._mesh_files import write_meshes
from medgs_napari._session import Fitted
from medgs_napari._surface_layers import drop_labels, layer_surface, layer_vertices, show_surfaces

RED = np.array([1.0, 0.0, 0.0, 1.0])
PLACES = {
    "anisotropic": {"scale": (3.0, 0.8, 0.7), "translate": (10.0, -4.0, 2.0)},
    "negative": {"scale": (-3.0, 0.8, -0.7), "translate": (1.0, 2.0, 3.0)},
    "rotated in plane": {"scale": (3.0, 0.8, 0.7), "rotate": (0.0, 0.0, 20.0), "translate": (5.0, 6.0, 7.0)},
    "affine": {
        "scale": (2.0, 1.0, 1.0),
        "affine": np.array([[1.5, 0, 0, 4], [0, 0.9, 0.1, -2], [0, -0.1, 0.9, 3], [0, 0, 0, 1.0]]),
    },
}


@pytest.fixture(scope="module")
def model(scan):
    """Return a model whose labels are two boxes, one of them at a corner."""
    drawn = np.zeros(scan.shape, np.uint8)
    drawn[:, 4:20, 5:30] = 1
    drawn[:, 20:, 30:] = 2
    still = np.repeat(scan[4:5], len(scan), axis=0)  # nothing moves, so boxes stay boxes between slices
    volume = medgs.Volume(still.transpose(2, 1, 0), np.eye(4))
    config = medgs.FitConfig(preset="fast", steps=2, gaussians=60, hide=0, axis="2")
    fitted = medgs.fit_model(volume, config).model
    return medgs.fit_labels(fitted, medgs.Volume(drawn.transpose(2, 1, 0), np.eye(4)))


def shown(viewer, scan, model, **place):
    """Return the painted layer and the model in the list, both at a place; what was fitted does not depend on it."""
    picked = pick(viewer.add_image(scan, name="scan", **place), 0)
    annotation = model.labels.annotation
    painted = viewer.add_labels(annotation.volume.voxels.transpose(2, 1, 0), **place)
    moved = dataclasses.replace(annotation.volume, affine=picked.affine, unit=picked.unit)
    head = dataclasses.replace(model.labels, annotation=dataclasses.replace(annotation, volume=moved))
    volume = dataclasses.replace(model.volume, affine=picked.affine, unit=picked.unit)
    there = dataclasses.replace(model, volume=volume, labels=head)
    return painted, Fitted("scan", there, (picked.frame,))


@pytest.fixture
def fitted(scan, model):
    return shown(ViewerModel(), scan, model, **PLACES["rotated in plane"])[1]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_vertices_stand_in_the_world_of_their_file_and_face_outward(scan, model, place):
    viewer = ViewerModel()
    _, fitted = shown(viewer, scan, model, **place)
    surface = medgs.extract_surface(fitted.model, label=1)
    (layer,) = show_surfaces(viewer, fitted, [surface], [RED])
    world = np.array([layer.data_to_world(vertex) for vertex in layer.data[0][:20]])
    np.testing.assert_allclose(world[:, ::-1], surface.vertices[:20], atol=1e-9)
    # napari expects triangles that face outward in the order of the layer's axes, and lights no mirrored layers
    assert min(layer.scale) > 0
    assert medgs.Surface(layer.data[0].astype(float), np.ascontiguousarray(layer.data[1], np.int64)).volume > 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_vertices_are_counted_along_the_axes_of_the_layer(axis):
    affine = np.array([[0.0, 0, -3, 5], [0.7, 0, 0, 1], [0, 0.8, 0, 2], [0, 0, 0, 1]])
    volume = medgs.Volume(np.zeros((4, 5, 6), np.int16), affine)
    frame = frame_of_volume(volume, axis)
    surface = medgs.Surface((affine @ [1.0, 2.0, 3.0, 1.0])[np.newaxis, :3], np.zeros((0, 3), np.int64))
    (vertex,) = layer_vertices(surface, volume, frame)
    np.testing.assert_allclose(vertex, np.array([1.0, 2.0, 3.0])[list(frame.order)])
    at = matrix_of(frame.place) @ [*vertex, 1.0]
    np.testing.assert_allclose(at[2::-1], surface.vertices[0], atol=1e-9)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_image_labels_and_surfaces_end_where_the_voxels_do(scan, model, place):
    viewer = ViewerModel()
    painted, fitted = shown(viewer, scan, model, **place)
    given = show_labels(viewer, fitted, medgs.render_volume(fitted.model, labels=True), painted)
    np.testing.assert_array_equal(given.data, painted.data)
    np.testing.assert_allclose(given.extent.world, viewer.layers["scan"].extent.world, atol=1e-9)
    surfaces = medgs.extract_surfaces(fitted.model)
    half = 0.5 * np.abs(matrix_of(place_of(painted))[:3, :3]).sum(axis=1)
    for surface, layer in zip(surfaces, show_surfaces(viewer, fitted, surfaces, [RED, RED]), strict=True):
        inside = np.argwhere(painted.data == surface.label)
        least, most = inside.min(axis=0) - 0.5, inside.max(axis=0) + 0.5
        vertices = layer_vertices(surface, fitted.model.volume, fitted.frames[0])
        np.testing.assert_allclose([vertices.min(axis=0), vertices.max(axis=0)], [least, most], atol=0.5)
        corners = np.array([painted.data_to_world(one) for one in itertools.product(*zip(least, most, strict=True))])
        box = [corners.min(axis=0), corners.max(axis=0)]
        assert np.all(np.abs(layer.extent.world - box) <= half + 1e-6)


def test_uneven_slices_are_steps_of_a_layer():
    positions = np.array([0.0, 1.0, 3.0, 7.0])
    volume = medgs.Volume(np.zeros((4, 5, 6), np.int16), np.eye(4), positions=positions)
    frame = frame_of_volume(volume, 0)
    ends = np.array([[0.0, 0, 0], [2.0, 1, 2], [5.0, 0, 0], [9.0, 0, 0], [-0.5, 0, 0]])
    surface = medgs.Surface(ends, np.zeros((0, 3), np.int64))
    vertices = layer_vertices(surface, volume, frame)
    np.testing.assert_allclose(vertices[:, frame.slice_axis], [0.0, 1.5, 2.5, 3.5, -0.5])


class TestLayers:
    def test_extracting_again_updates_the_layer(self, fitted):
        viewer = ViewerModel()
        first = show_surfaces(viewer, fitted, medgs.extract_surfaces(fitted.model, spacing=3.0), [RED, RED])
        second = show_surfaces(viewer, fitted, medgs.extract_surfaces(fitted.model, spacing=2.0), [RED, RED])
        assert first == second
        assert [layer.name for layer in second] == ["scan label 1", "scan label 2"]
        assert len(viewer.layers) == 2

    def test_a_level_moves_its_layer_and_renames_it_unless_the_user_did(self, fitted):
        viewer = ViewerModel()
        levels = [medgs.extract_surface(fitted.model, level=one, spacing=3.0) for one in (1000.0, 1500.0, 2000.0)]
        (layer,) = show_surfaces(viewer, fitted, levels[:1], [RED])
        show_surfaces(viewer, fitted, levels[1:2], [RED])
        assert layer.name == "scan level 1500"
        layer.name = "bone"
        show_surfaces(viewer, fitted, levels[2:], [RED])
        assert layer.name == "bone"
        assert len(layer.data[0]) == len(levels[2].vertices)

    def test_surfaces_of_labels_that_are_no_more_go(self, fitted):
        viewer = ViewerModel()
        surfaces = medgs.extract_surfaces(fitted.model, spacing=3.0)
        show_surfaces(viewer, fitted, surfaces, [RED, RED])
        drop_labels(viewer, fitted, surfaces[:1])
        assert [layer.name for layer in viewer.layers] == ["scan label 1"]

    def test_the_layer_has_the_color_of_the_label(self, fitted):
        viewer = ViewerModel()
        (layer,) = show_surfaces(viewer, fitted, [medgs.extract_surface(fitted.model, label=1, spacing=3.0)], [RED])
        np.testing.assert_allclose(layer.colormap.map(1.0)[0], RED)


class TestWriting:
    @pytest.mark.parametrize("ending", [".ply", ".stl", ".obj", ".glb"])
    def test_meshes_are_written_in_the_world_of_their_file(self, fitted, tmp_path, ending):
        import trimesh

        viewer = ViewerModel()
        surface = medgs.extract_surface(fitted.model, label=1, spacing=2.0)
        layers = show_surfaces(viewer, fitted, [surface], [RED])
        (path,) = write_meshes(str(tmp_path / f"mesh{ending}"), [layer.as_layer_data_tuple() for layer in layers])
        read = trimesh.load_mesh(path)
        np.testing.assert_allclose(read.bounds, [surface.vertices.min(axis=0), surface.vertices.max(axis=0)], rtol=1e-5)

    def test_a_surface_of_another_plugin_is_written_where_it_stands(self):
        vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
        faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])  # outward
        layer = ViewerModel().add_surface((vertices, faces), scale=(3.0, 2.0, 1.0), units=("um",) * 3)
        surface = layer_surface("other", *layer.as_layer_data_tuple()[:2])
        np.testing.assert_allclose(surface.vertices, vertices[:, ::-1] * (1.0, 2.0, 3.0))
        assert (surface.unit, surface.volume) == ("um", pytest.approx(1.0))

    def test_a_surface_of_more_axes_is_refused(self):
        data = (np.zeros((4, 4)), np.array([[0, 1, 2]]), np.ones(4))
        with pytest.raises(ValueError, match="holds 3 axes, got the 4-D surface 'film'; slice it first"):
            layer_surface("film", data, {})
