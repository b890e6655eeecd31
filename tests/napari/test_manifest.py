import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from npe2 import PluginManifest

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


@pytest.mark.skipif(importlib.util.find_spec("napari") is None, reason="needs napari")
@pytest.mark.skipif(
    sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys(),
    reason="needs a display",
)
def test_viewer_opens_with_the_plugin_installed(request: pytest.FixtureRequest):
    request.getfixturevalue("make_napari_viewer")()
    from npe2 import PluginManager

    assert NAME in PluginManager.instance()
