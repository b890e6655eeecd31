"""The pictures of the docks in these pages, made anew.

Needs napari with a Qt, and a display, as `xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX"` gives one.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtWidgets import QApplication

IMAGES = Path(__file__).parent / "images"
SIZE = (1280, 800)
SLICE = 42
"""Of the finer volume: half-way between two measured slices, in the middle of the head."""

PROPAGATED = 56
"""Half-way between two painted slices, where the ventricles are wide."""

SMOOTH, FACES = 10, "40000"
FROM, CLOSER = (-0.4, 1.0, 0.5), 1.4
"""Where the surfaces are looked at from, and how near."""


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
    """Return a dock of the plugin, opened in the place of the others."""
    _, widget = viewer.window.add_plugin_dock_widget("medgs-napari", name, tabify=True)
    return widget


def show(viewer: napari.Viewer, name: str, docks: dict[str, Any]) -> None:
    """Show one dock and hide the others, and bring a slice between measured ones into view."""
    for other, widget in docks.items():
        widget.parent().setVisible(other == name)
    wait(0.2)
    viewer.reset_view()
    viewer.dims.set_current_step(viewer.dims.ndim - 3, SLICE)


def paint(viewer: napari.Viewer, segment: Any) -> None:
    """Mark brain and ventricles on every fourth slice, by thresholds: nobody is here to paint."""
    from mesh_picture import mark

    segment.form.new.click()
    painted = viewer.layers[segment.form.layer.name]
    marked = mark(segment.form.source.fitted.model.volume).voxels
    painted.data[0] = marked.transpose(2, 1, 0)
    painted.refresh()
    painted.events.paint(value=[])


def structures(viewer: napari.Viewer, docks: dict[str, Any], folder: Path) -> None:
    """Propagate what was painted, extract its surfaces, and take a picture of each dock."""
    segment, surface = docks["Segment"], docks["Surface"]
    for layer in viewer.layers:
        layer.visible = layer.name == "brain MRI"
    paint(viewer, segment)
    segment.propagate.click()
    keep_going(lambda: segment.panel.bar.isHidden())
    viewer.layers[segment.form.layer.name].visible = False
    show(viewer, "Segment", docks)
    viewer.dims.set_current_step(viewer.dims.ndim - 3, PROPAGATED)
    keep_going(lambda: "Labeled slices" in segment.slices.text())
    take(viewer, folder / "segment.png")
    surface.form.values["smooth"].value = SMOOTH
    surface.form.values["faces"].value = FACES
    surface.extract.click()
    keep_going(lambda: surface.panel.bar.isHidden())
    for layer in viewer.layers:
        layer.visible = layer.name.startswith("brain MRI label ")
    viewer.layers["brain MRI label 1"].blending = "additive"  # to look through
    viewer.dims.ndisplay = 3
    show(viewer, "Surface", docks)
    viewer.layers.selection.active = viewer.layers["brain MRI label 2"]
    viewer.scene.camera.set_view_direction(view_direction=FROM, up_direction=(1, 0, 0))
    viewer.scene.camera.zoom *= CLOSER
    take(viewer, folder / "surface.png")


def main() -> None:
    """Fit the sample, and take pictures on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=IMAGES, help="folder of the pictures")
    folder = parser.parse_args().output
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    viewer.open_sample("medgs-napari", "brain_mri")
    docks = {name: open_dock(viewer, name) for name in ("Train", "Interpolate", "Segment", "Surface")}
    train, interpolate = docks["Train"], docks["Interpolate"]
    keep_going(lambda: "It takes" in train.plan.text())
    train.start.click()
    keep_going(lambda: train.run is None)
    show(viewer, "Train", docks)
    take(viewer, folder / "train.png")
    interpolate.form.shown_as.setCurrentIndex(1)
    interpolate.interpolate.click()
    keep_going(lambda: interpolate.panel.bar.isHidden())
    interpolate.uncertainty.click()
    keep_going(lambda: interpolate.panel.bar.isHidden())
    show(viewer, "Interpolate", docks)
    take(viewer, folder / "interpolate.png")
    structures(viewer, docks, folder)
    viewer.close()


if __name__ == "__main__":
    main()
