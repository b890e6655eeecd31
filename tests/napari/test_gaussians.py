import dataclasses

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Points

import medgs_core as medgs
from medgs_napari._fit_task import order_fit
from medgs_napari._gaussians import DIAMETER, FAINTEST, gaussian_points, show_gaussians
from medgs_napari._layers import pick
from medgs_napari._session import Fitted, fitted_from_file

from .conftest import SPACING
from .test_shown import PLACES

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

QUICK = {"preset": "fast", "steps": 2, "gaussians": 300, "hide": 0}


@pytest.fixture
def fitted(model):
    return fitted_from_file(model, "scan.medgs")


def fit_layers(*layers, axis=0):
    """Return a model of layers as the Train dock makes it."""
    order = order_fit("id", tuple(pick(one, axis) for one in layers), medgs.FitConfig(**QUICK), factor=2, seconds=0.0)
    return Fitted("scan", medgs.fit_model(order.volume(), order.config).model, order.frames, "id")


def world_positions(model):
    """Return the places of all Gaussians in the world of the model, (N, 3), x first."""
    return medgs.tabulate_gaussians(model).positions @ model.volume.affine[:3, :3].T + model.volume.affine[:3, 3]


@pytest.mark.parametrize(("place", "axis"), [*((place, 0) for place in PLACES), ("negative", 1), ("tilted", 2)])
def test_gaussians_stand_where_their_image_does(scan, place, axis):
    viewer = ViewerModel()
    image = viewer.add_image(scan, **PLACES[place])
    fitted = fit_layers(image, axis=axis)
    layer = show_gaussians(viewer, fitted)
    world = np.array([layer.data_to_world(one) for one in layer.data[:50]])[:, ::-1]
    all_of_them = world_positions(fitted.model)
    apart = np.linalg.norm(world[:, np.newaxis] - all_of_them, axis=2).min(axis=1)
    assert apart.max() < 1e-6 * np.abs(all_of_them).max()
    assert layer.units == image.units
    assert np.all(layer.extent.world[0] >= image.extent.world[0] - 0.5 * np.abs(image.scale))
    before = ViewerModel()
    before.add_image(scan, **PLACES[place])
    assert viewer.dims.range == before.dims.range


def test_gaussians_of_a_file_stand_in_its_world(model):
    tilt = np.array([[0.1, -0.7, 0.3, 1.0], [0.9, 0.2, -0.01, -88.0], [0.0, 0.5, 3.1, 3.0], [0, 0, 0, 1.0]])
    there = dataclasses.replace(model, volume=dataclasses.replace(model.volume, affine=tilt), skipped=(3,))
    layer = show_gaussians(ViewerModel(), fitted_from_file(there, "scan.medgs"))
    world = np.array([layer.data_to_world(one) for one in layer.data[:50]])[:, ::-1]
    apart = np.linalg.norm(world[:, np.newaxis] - world_positions(there), axis=2).min(axis=1)
    assert apart.max() < 1e-6


def test_one_time_of_a_film_has_its_gaussians_there(scan):
    viewer = ViewerModel()
    film = viewer.add_image(np.stack([scan, scan]), scale=(2.0, *SPACING))
    picked = pick(film, 1, (1, 0, 0, 0))
    model = medgs.fit_model(picked.volume(), medgs.FitConfig(**QUICK, axis=str(picked.frame.volume_axis))).model
    layer = show_gaussians(viewer, Fitted("film", model, (picked.frame,)))
    assert layer.ndim == 4
    assert {layer.data_to_world(one)[0] for one in layer.data} == {2.0}


def test_what_a_gaussian_shows_is_its_color_and_how_much_it_counts_its_opacity(fitted, model):
    table = medgs.tabulate_gaussians(model)
    _, settings = gaussian_points(fitted)
    colors, features = settings["face_color"], settings["features"]
    low, high = (float(np.ravel(one)[0]) for one in (model.window.low, model.window.high))
    shade = np.clip((features["value"] - low) / (high - low), 0, 1)
    for channel in range(3):
        np.testing.assert_allclose(colors[:, channel], shade, atol=0.01)
    np.testing.assert_allclose(colors[:, 3], np.maximum(features["opacity"] / table.opacities.max(), FAINTEST))
    middle = np.sqrt(features["longer deviation (px)"] * features["shorter deviation (px)"])
    np.testing.assert_allclose(settings["size"] * SPACING[2], DIAMETER * middle * np.sqrt(SPACING[1] * SPACING[2]))


def test_colors_are_those_of_the_image(scan):
    viewer = ViewerModel()
    shades = (scan // 16).astype(np.uint8)
    color = viewer.add_image(np.stack([shades, shades // 2, 255 - shades], axis=3), rgb=True)
    red = viewer.add_image(scan, colormap="red", contrast_limits=(0, 4000))
    table = medgs.tabulate_gaussians(fit_layers(color).model)
    expected = np.clip(table.values / 255, 0, 1)
    inside = ((table.positions >= 0) & (table.positions <= np.array(scan.shape[::-1]) - 1)).all(axis=1)
    np.testing.assert_allclose(gaussian_points(fit_layers(color))[1]["face_color"][:, :3], expected[inside])
    alone = gaussian_points(fit_layers(red))[1]
    np.testing.assert_allclose(alone["face_color"][:, 1:3], 0)
    both = gaussian_points(fit_layers(color, red))[1]
    assert {"value 0", "value 3"} <= set(both["features"])
    values = np.stack([both["features"][f"value {k}"] for k in range(4)], axis=1)
    over = np.clip(values[:, :3] / 255, None, None)
    over[:, 0] += np.clip(values[:, 3] / 4000, 0, 1)
    np.testing.assert_allclose(both["face_color"][:, :3], np.clip(over, 0, 1), atol=0.01)


def test_the_weightiest_are_shown_and_the_name_says_how_many_of_all(fitted, model):
    points, settings = gaussian_points(fitted, most=100)
    assert len(points) == len(settings["size"]) == len(settings["face_color"]) == 100
    assert settings["name"] == f"scan Gaussians (100 of {len(model.gaussians):,})"
    assert np.all(np.diff(settings["features"]["weight"]) <= 0)


def test_labels_are_a_column_and_color_a_model_of_outlines(fitted, model):
    drawn = np.zeros(model.volume.shape3d, np.uint8)
    drawn[10:30, 10:30, ::4] = 3
    labels = medgs.Volume(drawn, model.volume.affine, "mm")
    labeled = dataclasses.replace(fitted, model=medgs.fit_labels(model, labels))
    assert set(np.unique(gaussian_points(labeled)[1]["features"]["label"])) == {0, 3}
    outlines = medgs.fit_model(None, medgs.FitConfig(**QUICK, axis="2"), labels=labels).model
    settings = gaussian_points(fitted_from_file(outlines, "outlines.medgs"))[1]
    assert "value" not in settings["features"]
    colors = settings["face_color"][settings["features"]["label"] == 3, :3]
    assert len(colors) > 0
    assert len(np.unique(colors, axis=0)) == 1


def test_asked_for_again_the_one_layer_is_updated_and_comes_to_the_fore(fitted, model):
    viewer = ViewerModel()
    layer = show_gaussians(viewer, fitted)
    viewer.add_image(np.zeros((4, 5, 6)))
    layer.visible, layer.opacity = False, 0.5
    drawn = np.zeros(model.volume.shape3d, np.uint8)
    drawn[10:30, 10:30, ::4] = 3
    fitted.model = medgs.fit_labels(model, medgs.Volume(drawn, model.volume.affine, "mm"))
    assert show_gaussians(viewer, fitted) is layer
    assert (len(viewer.layers), layer.visible, layer.opacity) == (2, True, 0.5)
    assert viewer.layers.selection.active is layer
    assert isinstance(layer, Points)
    assert set(np.unique(layer.features["label"])) == {0, 3}
    np.testing.assert_allclose(layer.size, gaussian_points(fitted)[1]["size"])
