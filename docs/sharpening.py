"""The moving picture of a volume that sharpens while its model is fitted, made anew.

Every second slice of the phantom, seen from the side: as they are above, and below the volume that is fitted to them.

Needs napari with a Qt, and a display, as `xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX"` gives one.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from screenshots import IMAGES, SIZE, keep_going, open_dock, wait

STEP, FACTOR = 2, 8
"""Of the sample's slices this one in how many is kept; slices of the live layer per step."""

NAME = "every 2nd slice"
PLACE, ZOOM = 38, 1.1
"""The row that the section goes through, where tubes cross, and how much larger than to fit it is shown."""

EVERY = 0.4
"""Seconds of the fit between two frames."""

SHOWN_MILLISECONDS, FIRST_MILLISECONDS, LAST_MILLISECONDS = 200, 1500, 4000
WIDTH, GRAYS, COLORS = 960, 96, 96
"""Of a frame, in pixels; how many grays its palette has, and how many colors for what is not gray."""

COLORFUL = 40
"""Difference between the channels of a pixel, from which it is not gray."""


def open_thick(viewer: napari.Viewer) -> None:
    """Add a part of the sample's slices, as a stack of slices that are further apart."""
    viewer.open_sample("medgs-napari", "phantom")
    whole = viewer.layers["phantom, thick slices"]
    thick, scale = whole.data[::STEP], whole.scale * (STEP, 1, 1)
    place = {"scale": scale, "units": whole.units, "axis_labels": whole.axis_labels}
    viewer.layers.clear()
    viewer.add_image(thick, name=NAME, contrast_limits=whole.contrast_limits, **place)


def record(viewer: napari.Viewer, train: Any) -> list[np.ndarray]:
    """Fit, and return what the window looked like before, on the way, and when the model is ready."""
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, PLACE)
    grid = viewer.canvas.grid
    grid.enabled, grid.shape = True, (2, 1)
    viewer.reset_view()
    viewer.scene.camera.zoom *= ZOOM
    wait(1.0)
    frames = [viewer.screenshot(canvas_only=False, flash=False)]
    train.start.click()
    keep_going(lambda: len(viewer.layers) > 1)
    taken = 0.0
    while train.run is not None:
        if time.monotonic() - taken > EVERY:
            taken = time.monotonic()
            frames.append(viewer.screenshot(canvas_only=False, flash=False))
        wait(0.02)
    wait(3.0)  # for the last slices to be rendered
    return [*frames, viewer.screenshot(canvas_only=False, flash=False)]


def palette_of(frame: Image.Image) -> Image.Image:
    """Return a palette in which the few colored pixels of a frame are not lost among the many gray ones."""
    pixels = np.asarray(frame).reshape(-1, 3)
    colorful = np.ptp(pixels.astype(int), axis=1) > COLORFUL
    parts = []
    for chosen, count in ((~colorful, GRAYS), (colorful, COLORS)):
        row = Image.fromarray(np.ascontiguousarray(pixels[chosen][np.newaxis]))
        parts += row.quantize(count).getpalette()[: 3 * count]
    palette = Image.new("P", (1, 1))
    palette.putpalette(parts)
    return palette


def save_moving(frames: list[np.ndarray], path: Path) -> None:
    """Write frames as one GIF that starts over at its end."""
    height = round(WIDTH * frames[0].shape[0] / frames[0].shape[1])
    small = [Image.fromarray(one[..., :3]).resize((WIDTH, height), Image.Resampling.LANCZOS) for one in frames]
    palette = palette_of(small[-1])  # it has both curves
    plain = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in small]
    times = [FIRST_MILLISECONDS, *[SHOWN_MILLISECONDS] * (len(plain) - 2), LAST_MILLISECONDS]
    plain[0].save(path, save_all=True, append_images=plain[1:], duration=times, loop=0, optimize=True)


def main() -> None:
    """Fit the sample, and take pictures on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=IMAGES / "sharpening.gif", help="the picture")
    path = parser.parse_args().output
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    open_thick(viewer)
    train = open_dock(viewer, "Train")
    train.form.factor.setValue(FACTOR)
    keep_going(lambda: "It takes" in train.plan.text())
    frames = record(viewer, train)
    save_moving(frames, path)
    print(f"wrote {path}: {len(frames)} frames, {path.stat().st_size / 2**20:.1f} MiB")
    viewer.close()


if __name__ == "__main__":
    main()
