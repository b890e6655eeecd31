import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QFileDialog

import medgs_core as medgs
from medgs_napari._commands import open_model
from medgs_napari._preferences import Preferences, preferences
from medgs_napari._render_widget import RenderWidget
from medgs_napari._session import session_of

from .conftest import SPACING, needs_display

NAME = "medgs-napari"
ROOT = Path(__file__).parents[2]


def test_manifest_is_valid():
    manifest = PluginManifest.from_file(ROOT / "src" / "medgs_napari" / "napari.yaml")
    manifest.validate_imports()
    assert manifest.name == NAME


def test_installed_distribution_is_found_as_a_plugin():
    manifest = PluginManifest.from_distribution(NAME)
    assert manifest.name == NAME
    assert manifest.package_version == importlib.metadata.version(NAME)


def test_manifest_at_the_root_is_the_packaged_one():
    assert (ROOT / "napari.yaml").read_text() == (ROOT / "src" / "medgs_napari" / "napari.yaml").read_text()


def test_importing_the_plugin_loads_neither_core_nor_gui():
    probe = "import sys, medgs_napari; print([m for m in ('napari', 'qtpy', 'medgs_core') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.fixture
def contributions():
    return PluginManifest.from_distribution(NAME).contributions


def test_every_menu_and_contribution_names_a_command_that_is_there(contributions):
    known = {command.id for command in contributions.commands}
    parts = [*contributions.widgets, *contributions.readers, *contributions.writers, *contributions.sample_data]
    entries = [entry for menu in contributions.menus.values() for entry in menu]
    assert {part.command for part in [*parts, *entries]} == known


def test_preferences_offer_what_the_config_does(contributions):
    offered = contributions.configurations["fit"].properties
    for name in ("device", "preset"):
        field = medgs.FitConfig.model_fields[name]
        assert tuple(offered[name].enum) == get_args(field.annotation)
        assert offered[name].default == field.default
    assert offered["preview_seconds"].default == Preferences().preview_seconds


@needs_display
class TestInstalled:
    @pytest.fixture
    def viewer(self, make_napari_viewer):
        return make_napari_viewer()

    def test_docks_open_under_their_names(self, viewer):
        for name in ("Train", "Interpolate", "Segment", "Surface"):
            _, widget = viewer.window.add_plugin_dock_widget(NAME, name)
            assert widget.isVisibleTo(widget.parent())

    @pytest.mark.parametrize("key", ["brain_mri", "phantom"])
    def test_samples_open(self, viewer, key):
        viewer.open_sample(NAME, key)
        assert all(layer.ndim >= 3 for layer in viewer.layers)

    def test_a_model_that_is_dropped_on_the_window_is_a_layer_and_in_the_list(self, viewer, model, tmp_path):
        medgs.save_model(model, tmp_path / "scan.medgs")
        viewer.open(tmp_path / "scan.medgs", plugin=NAME)
        assert [layer.name for layer in viewer.layers] == ["scan x4"]
        (fitted,) = session_of(viewer).models
        assert fitted.name == "scan"
        widget = RenderWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Interpolate")
        widget.interpolate.click()
        assert len(viewer.layers) == 1, "what the reader showed is what the dock offers"

    def test_a_model_is_opened_from_the_menu(self, viewer, model, tmp_path, monkeypatch):
        medgs.save_model(model, tmp_path / "scan.medgs")
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "scan.medgs"), ""))
        open_model(viewer)
        assert [layer.name for layer in viewer.layers] == ["scan x4"]

    def test_a_layer_is_saved_as_nifti(self, viewer, scan, tmp_path):
        viewer.add_image(scan, scale=SPACING, units=("mm",) * 3)
        viewer.layers[0].save(str(tmp_path / "scan.nii.gz"), plugin=NAME)
        assert medgs.read_volume(tmp_path / "scan.nii.gz").spacing == pytest.approx(SPACING[::-1])

    def test_a_layer_is_saved_as_ome_zarr_and_opens_in_place(self, viewer, scan, tmp_path):
        viewer.add_image(scan, scale=SPACING, translate=(1, 2, 3), units=("mm",) * 3)
        viewer.layers[0].save(str(tmp_path / "scan.ome.zarr"), plugin=NAME)
        viewer.open(tmp_path / "scan.ome.zarr", plugin=NAME)
        for name in ("scale", "translate"):
            np.testing.assert_allclose(getattr(viewer.layers[1], name), getattr(viewer.layers[0], name))
        np.testing.assert_array_equal(np.asarray(viewer.layers[1].data), scan)

    def test_preferences_are_those_of_the_page(self, viewer):
        assert preferences() == Preferences()
