"""The moving picture of a volume that sharpens while its model is fitted, made anew.

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

SLICE, FACTOR = 42, 4
"""Half-way between two measured slices of the sample, in the middle of the head; slices of the live layer per step."""

EVERY = 0.7
"""Seconds of the fit between two frames."""

SHOWN_MILLISECONDS, FIRST_MILLISECONDS, LAST_MILLISECONDS = 250, 1200, 3000
WIDTH, COLORS = 960, 96
"""Of a frame: small enough for a page, with colors enough for grays and the curves."""


def record(viewer: napari.Viewer, train: Any) -> list[np.ndarray]:
    """Fit, and return what the window looked like from the first slice that is shown until the model is ready."""
    frames: list[np.ndarray] = []
    begun = len(viewer.layers)
    train.start.click()
    keep_going(lambda: len(viewer.layers) > begun)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 1.1
    viewer.dims.set_current_step(viewer.dims.ndim - 3, SLICE)
    wait(0.1)
    taken = 0.0
    while train.run is not None:
        if time.monotonic() - taken > EVERY:
            taken = time.monotonic()
            frames.append(viewer.screenshot(canvas_only=False, flash=False))
        wait(0.02)
    wait(1.0)
    return [*frames, viewer.screenshot(canvas_only=False, flash=False)]


def save_moving(frames: list[np.ndarray], path: Path) -> None:
    """Write frames as one GIF that starts over at its end."""
    height = round(WIDTH * frames[0].shape[0] / frames[0].shape[1])
    small = [Image.fromarray(one[..., :3]).resize((WIDTH, height), Image.Resampling.LANCZOS) for one in frames]
    plain = [one.quantize(COLORS, dither=Image.Dither.NONE) for one in small]
    times = [FIRST_MILLISECONDS, *[SHOWN_MILLISECONDS] * (len(plain) - 2), LAST_MILLISECONDS]
    plain[0].save(path, save_all=True, append_images=plain[1:], duration=times, loop=0, optimize=True)


def main() -> None:
    """Fit the sample, and take pictures on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=IMAGES / "sharpening.gif", help="the picture")
    path = parser.parse_args().output
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    viewer.open_sample("medgs-napari", "brain_mri")
    train = open_dock(viewer, "Train")
    train.form.factor.setValue(FACTOR)
    keep_going(lambda: "Gaussians" in train.plan.text())
    frames = record(viewer, train)
    save_moving(frames, path)
    print(f"wrote {path}: {len(frames)} frames, {path.stat().st_size / 2**20:.1f} MiB")
    viewer.close()


if __name__ == "__main__":
    main()
