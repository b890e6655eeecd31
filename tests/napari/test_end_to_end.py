"""The whole way as a user goes it: a sample is fitted, rendered, painted, propagated, measured, saved, read back."""

import numpy as np
import pytest

import medgs_core as medgs
from medgs_napari._fit_widget import FitWidget
from medgs_napari._label_layers import LABELS
from medgs_napari._render_widget import RenderWidget
from medgs_napari._results import find_results
from medgs_napari._segment_widget import SegmentWidget
from medgs_napari._session import session_of
from medgs_napari._surface_widget import SurfaceWidget

from .conftest import needs_display

pytestmark = needs_display

NAME = "medgs-napari"
TIMEOUT = 90_000
DRAWN = (8, 12, 16)


def test_from_a_sample_to_a_mesh_and_back(qtbot, make_napari_viewer, tmp_path, complaints):
    viewer = make_napari_viewer()
    docks = [one(viewer) for one in (FitWidget, RenderWidget, SegmentWidget, SurfaceWidget)]
    for dock in docks:
        viewer.window.add_dock_widget(dock)
    train, interpolate, segment, surface = docks
    viewer.open_sample(NAME, "phantom")
    image = viewer.layers["phantom, thick slices"]

    train.form.image.setCurrentIndex(train.form.image.findData(image.unique_id))
    train.form.plain["preset"].value, train.form.advanced["steps"].value = "fast", "20"
    qtbot.waitUntil(train.start.isEnabled, timeout=TIMEOUT)
    train.start.click()
    qtbot.waitUntil(lambda: train.run is None, timeout=TIMEOUT)
    (fitted,) = session_of(viewer).models

    live = viewer.layers[-1]
    interpolate.interpolate.click()
    assert viewer.layers[-1] is live, "the same slices are not shown twice"
    assert live.data[0].shape[0] == 93

    segment.form.new.click()
    painted = viewer.layers[-1]
    bright = image.data > np.percentile(image.data, 85)
    for k in DRAWN:
        painted.data[k] = bright[k]
    painted.refresh()
    qtbot.waitUntil(segment.propagate.isEnabled, timeout=TIMEOUT)
    segment.propagate.click()
    qtbot.waitUntil(lambda: segment.panel.job is None, timeout=TIMEOUT)
    labels = find_results(viewer, fitted)[LABELS]
    np.testing.assert_array_equal(labels.data[list(DRAWN)], bright[list(DRAWN)])

    surface.extract.click()
    qtbot.waitUntil(lambda: surface.panel.job is None, timeout=TIMEOUT)
    mesh = viewer.layers[f"{fitted.name} label 1"]
    half = 0.5 * np.abs(image.scale)
    for one in (labels, mesh):
        outside = [image.extent.world[0] - one.extent.world[0], one.extent.world[1] - image.extent.world[1]]
        assert np.all(np.array(outside) <= half + 1e-6)

    painted.save(str(tmp_path / "painted.nii.gz"), plugin=NAME)
    labels.save(str(tmp_path / "labels.nii.gz"), plugin=NAME)
    mesh.save(str(tmp_path / "mesh.ply"), plugin=NAME)
    medgs.save_model(fitted.model, tmp_path / "phantom.medgs")
    read = medgs.load_model(tmp_path / "phantom.medgs")
    np.testing.assert_array_equal(
        medgs.render_volume(read, labels=True).voxels, medgs.read_volume(tmp_path / "labels.nii.gz").voxels
    )
    again = medgs.fit_labels(read, medgs.read_volume(tmp_path / "painted.nii.gz"))
    assert again.labels.annotation.annotated == DRAWN
    extracted = medgs.extract_surface(read, label=1)
    (shown,) = surface.measures.surfaces
    assert extracted.volume == pytest.approx(shown.volume, rel=1e-6)
    assert (tmp_path / "mesh.ply").read_bytes().startswith(b"ply")
    viewer.open(tmp_path / "labels.nii.gz", plugin=NAME)
    np.testing.assert_allclose(viewer.layers[-1].extent.world, image.extent.world, atol=1e-4)
    assert complaints == []
