"""The pictures of the docks in these pages, made anew.

Needs napari with a Qt, and a display, as `xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX"` gives one.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtWidgets import QApplication, QWidget

IMAGES = Path(__file__).parent / "images"
SIZE = (1280, 800)
SLICE = 42
"""Of the finer volume: half-way between two measured slices, in the middle of the head."""


def keep_going(until: Callable[[], bool], limit: float = 300.0) -> None:
    """Let the window live until something has happened."""
    end = time.monotonic() + limit
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def wait(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    keep_going(lambda: time.monotonic() > end)


def take(viewer: napari.Viewer, path: Path) -> None:
    """Save a picture of the whole window."""
    wait(1.0)
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    print(f"wrote {path}")


def open_dock(viewer: napari.Viewer, name: str) -> Any:
    """Return a dock of the plugin, opened beside the others."""
    _, widget = viewer.window.add_plugin_dock_widget("medgs-napari", name, tabify=True)
    return widget


def show(viewer: napari.Viewer, widget: QWidget) -> None:
    """Bring a dock to the front, and a slice between measured ones into view."""
    widget.parent().raise_()
    viewer.reset_view()
    viewer.dims.set_current_step(viewer.dims.ndim - 3, SLICE)


def main() -> None:
    """Fit the sample, and take pictures on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=IMAGES, help="folder of the pictures")
    folder = parser.parse_args().output
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    viewer.open_sample("medgs-napari", "brain_mri")
    train = open_dock(viewer, "Train")
    interpolate = open_dock(viewer, "Interpolate")
    keep_going(lambda: "Gaussians" in train.plan.text())
    train.start.click()
    keep_going(lambda: train.run is None)
    show(viewer, train)
    take(viewer, folder / "train.png")
    interpolate.form.shown_as.setCurrentIndex(1)
    interpolate.interpolate.click()
    keep_going(lambda: interpolate.bar.isHidden())
    interpolate.uncertainty.click()
    keep_going(lambda: interpolate.bar.isHidden())
    show(viewer, interpolate)
    take(viewer, folder / "interpolate.png")
    viewer.close()


if __name__ == "__main__":
    main()
