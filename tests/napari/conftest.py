"""What tests of the plugin share: small scans, a fitted model, and patience with threads."""

import gc
import importlib
import os
import sys
import threading
import time

import numpy as np
import pytest
from napari import Viewer
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy

import medgs_core as medgs

SHAPE, SPACING = (9, 40, 48), (3.0, 0.8, 0.7)

needs_display = pytest.mark.skipif(
    sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys(),
    reason="needs a display",
)


@pytest.fixture(scope="session")
def scan():
    """Return the voxels of a small stack, in the order z, y, x."""
    return medgs.drifting_phantom(SHAPE, np.random.default_rng(3)).thick.voxels


@pytest.fixture(scope="session")
def model(scan):
    """Return a model of the small stack, in the order of a file: x, y, z."""
    affine = np.diag([*SPACING[::-1], 1.0])
    volume = medgs.Volume(scan.transpose(2, 1, 0), affine, "mm")
    return medgs.fit_model(volume, medgs.FitConfig(preset="fast", steps=20, axis="2")).model


@pytest.fixture(scope="session", autouse=True)
def loaded_once():
    """Look only once for what is installed, and let no collection of garbage go through what stays loaded.

    Each viewer reads the manifests of all plugins, and is followed by a collection; together they took as long as the
    tests themselves.
    """
    from npe2 import PluginManifest

    for heavy in ("torch", "cv2", "napari.viewer"):
        importlib.import_module(heavy)
    found = list(PluginManifest.discover())
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda *_, **__: iter(found))
        yield
    gc.unfreeze()


@pytest.fixture
def viewer(request, monkeypatch):
    """Return a viewer as docks get it: with its window for a test that is marked so, else without, which is quick."""
    if request.node.get_closest_marker("window"):
        return request.getfixturevalue("make_napari_viewer_proxy")()
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    return PublicOnlyProxy(ViewerModel())


@pytest.fixture
def add_dock(qtbot, viewer):
    """Return what puts a widget into the window of the viewer, or keeps it where there is none."""

    def add(widget, name):
        if isinstance(viewer, Viewer):
            viewer.window.add_dock_widget(widget, name=name)
        else:
            qtbot.addWidget(widget)
        return widget

    return add


@pytest.fixture
def complaints(monkeypatch):
    """Return the sentences that the docks have told as errors."""
    import medgs_napari._qt

    heard = []
    monkeypatch.setattr(medgs_napari._qt, "show_error", heard.append)
    return heard


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Fail a test that leaves a thread of the plugin behind."""
    yield
    end = time.monotonic() + 20
    while left := [one.name for one in threading.enumerate() if one.name in ("medgs job", "medgs preview")]:
        assert time.monotonic() < end, f"threads are left: {left}"
        time.sleep(0.02)
