"""Does the plugin keep the window answering: how long docks take to open, previews to come, the slider to move.

And what a fit costs there: it runs in turn in the Train dock, with its live layer in sight, and without napari. Needs
napari with a Qt, and a display, as `xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX"` gives one.
"""

import sys
import tempfile
import time
from collections.abc import Callable

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

import medgs_core as medgs
from medgs_napari._fit_widget import FitWidget
from medgs_napari._jobs import Job
from medgs_napari._preferences import preferences
from medgs_napari._sections import ahead_of, watch_sections
from medgs_napari._session import Fitted, session_of
from medgs_napari._stream import stream_in_folders, stream_in_memory
from medgs_napari._subject import subject_of
from medgs_napari._virtual import virtual_layers

TICK_MILLISECONDS = 10
LOOK_MILLISECONDS = 5
"""Between two looks whether something has happened."""

PLAYED = 0.1
"""Seconds between two slices, as napari plays them."""

TURNS = 3
"""Of a fit in napari and one without, of which the medians count."""

REST = 5
"""Seconds in which the dock measures how long a fit would take: nothing else is measured beside that."""

SHARE = 95
SLIDER_SHAPE = (24, 256, 256)


def keep_going(until: Callable[[], bool], limit: float = 300.0) -> None:
    """Let the window live until something has happened, as napari does: asleep while nothing is to be done."""
    end = time.monotonic() + limit
    loop, look = QEventLoop(), QTimer()
    look.setInterval(LOOK_MILLISECONDS)
    look.timeout.connect(lambda: loop.quit() if until() or time.monotonic() > end else None)
    look.start()
    loop.exec()


def wait(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    keep_going(lambda: time.monotonic() > end)


class Delays:
    """How much later than asked for a timer of the window fires."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(TICK_MILLISECONDS)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.milliseconds.append(1000 * (now - self._last) - TICK_MILLISECONDS)
        self._last = now

    def describe(self) -> str:
        """Stop, and say what was seen."""
        self._timer.stop()
        middle, most, longest = np.percentile(self.milliseconds, (50, SHARE, 100))
        return f"median {middle:.0f} ms, {SHARE} in 100 within {most:.0f} ms, longest {longest:.0f} ms"


def slide(viewer: napari.Viewer, every: float = 0.0) -> str:
    """Return how long the slider takes from slice to slice, moved at once or every so many seconds."""
    moves = []
    for k in range(int(viewer.dims.nsteps[0])):
        begun = time.perf_counter()
        viewer.dims.set_current_step(0, k)
        QApplication.processEvents()
        moves.append(1000 * (time.perf_counter() - begun))
        wait(every - (time.perf_counter() - begun))
    return f"median {np.median(moves):.0f} ms, {SHARE} in 100 within {np.percentile(moves, SHARE):.0f} ms"


def turn(viewer: napari.Viewer, layer: napari.layers.Image, model: Fitted) -> str:
    """Return how late the window is when the axes are turned to see slices from the side that nothing rendered yet."""
    (drawn,) = virtual_layers("phantom", model.model, model.frames, medgs.RenderConfig(factor=4))
    layer.data = drawn.data
    watch_sections(viewer)
    ahead = ahead_of(layer)
    assert ahead is not None
    wait(1)
    delays, begun = Delays(), time.perf_counter()
    viewer.dims.order = (1, 0, 2)
    keep_going(lambda: ahead.crossed and not ahead.missing)
    seconds = time.perf_counter() - begun
    wait(0.5)
    seen = f"all rendered after {seconds:.1f} s, window late by: {delays.describe()}"
    viewer.dims.order = (0, 1, 2)
    wait(1)
    return seen


def streams(model: Fitted) -> str:
    """Return how long it takes to fill a volume four times as fine, in memory and in a folder."""
    subject, seconds = subject_of(model, "interpolated", medgs.RenderConfig(factor=4)), []
    with tempfile.TemporaryDirectory() as folder:
        in_folder = stream_in_folders(subject, subject.layers(), f"{folder}/fine.ome.zarr")
        for stream in (stream_in_memory(subject.layers(), preferences().most_bytes), in_folder):
            begun = time.perf_counter()
            stream(Job(lambda job: None))
            seconds.append(time.perf_counter() - begun)
    return f"{seconds[0]:.1f} s in memory, {seconds[1]:.1f} s in a folder"


def show_only(viewer: napari.Viewer, *wanted: Layer) -> None:
    """Hide the layers that earlier measurements left.

    They are not removed: on software OpenGL napari 0.9 crashes when layers go and others come, without this plugin too.
    """
    for layer in viewer.layers:
        layer.visible = layer in wanted


def beside_headless(viewer: napari.Viewer, source: Layer, train: FitWidget) -> str:
    """Return how long the fit that the dock offers takes in napari, how long without, and the ratio."""
    order = train.form.order()
    volume, seconds = order.volume(), ([], [])
    medgs.fit_model(volume, order.config)  # kernels are compiled, files are read
    for _ in range(TURNS):
        show_only(viewer, source)
        begun = time.monotonic()
        train.start.click()
        keep_going(lambda: train.run is None)
        seconds[0].append(time.monotonic() - begun)
        begun = time.monotonic()
        medgs.fit_model(volume, order.config)
        seconds[1].append(time.monotonic() - begun)
    within, without = (float(np.median(one)) for one in seconds)
    return f"{within:.1f} s in napari, {without:.1f} s without, {within / without:.2f} times as long"


def main() -> None:
    """Measure and print."""
    viewer = napari.Viewer()
    (sample,) = viewer.open_sample("medgs-napari", "brain_mri")
    begun = time.perf_counter()
    _, train = viewer.window.add_plugin_dock_widget("medgs-napari", "Train")
    print(f"open Train: {time.perf_counter() - begun:.2f} s, torch loaded: {'torch' in sys.modules}")
    begun = time.perf_counter()
    _, interpolate = viewer.window.add_plugin_dock_widget("medgs-napari", "Interpolate", tabify=True)
    print(f"open Interpolate: {time.perf_counter() - begun:.2f} s, torch loaded: {'torch' in sys.modules}")
    wait(REST)
    for number in (1, 2):
        show_only(viewer, sample)
        delays, begun = Delays(), time.monotonic()
        train.start.click()
        run = train.run
        step, moved = 0, 0.0
        while train.run is not None:
            wait(0.02)
            if run.latest is not None and time.monotonic() - moved > 0.5:  # look around while it runs
                moved, step = time.monotonic(), step + 1
                viewer.dims.set_current_step(1, 20 + step % 40)
        seconds = time.monotonic() - begun
        print(f"fit {number} of the sample: {seconds:.1f} s, first preview after {run.first_preview:.1f} s")
        print(f"  window late by: {delays.describe()}")
    print(f"fit of the sample, preset balanced: {beside_headless(viewer, sample, train)}")
    scan = medgs.drifting_phantom(SLIDER_SHAPE, np.random.default_rng(0)).thick
    source = viewer.add_image(scan.voxels, scale=(3.0, 0.8, 0.8), units=("mm",) * 3, name="phantom")
    show_only(viewer, source)
    train.form.plain["preset"].value = "fast"
    delays, begun = Delays(), time.monotonic()
    train.start.click()
    run = train.run
    keep_going(lambda: train.run is None)
    print(
        f"fit of {SLIDER_SHAPE}, preset fast: {time.monotonic() - begun:.1f} s, first preview {run.first_preview:.1f} s"
    )
    print(f"  window late by: {delays.describe()}")
    train.form.image.choose(source)
    print(f"the same fit: {beside_headless(viewer, source, train)}")
    shown = viewer.layers[-1]
    wait(REST)
    print(f"slider over virtual slices, {1 / PLAYED:.0f} a second: {slide(viewer, PLAYED)}")
    model = session_of(viewer).models[-1]
    (drawn,) = virtual_layers("phantom", model.model, model.frames, medgs.RenderConfig(factor=4))
    shown.data = drawn.data  # which remembers nothing yet
    print(f"as fast as it goes: {slide(viewer)}, again: {slide(viewer)}")
    print(f"turned, new slices: {turn(viewer, shown, model)}")
    print(f"streamed: {streams(model)}")
    interpolate.marks_box.setChecked(False)
    print(f"the same without words in the corner, all slices known: {slide(viewer)}")
    whole = np.asarray(shown.data[0])
    show_only(viewer, source)
    viewer.add_image(whole, scale=(0.75, 0.8, 0.8), units=("mm",) * 3)
    print(f"slider over the same slices in memory: {slide(viewer)}")
    viewer.close()


if __name__ == "__main__":
    main()
