"""Rendered volumes that are filled slice by slice, in memory or in folders, those nearest to what is shown first.

Layers that render on access come in; layers of their final shape go out, and fill up in the thread of a job. What an
ended job has left out is filled by the next one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._amounts import memory
from medgs_napari._arrays import LayerArray, Part, virtual_levels
from medgs_napari._coarse import Thinned
from medgs_napari._jobs import Done, Job
from medgs_napari._rendered import METADATA as SLICES
from medgs_napari._rendered import Drawn
from medgs_napari._results import find_results
from medgs_napari._runs import Run
from medgs_napari._subject import WORDS, Subject

if TYPE_CHECKING:
    from napari.components import ViewerModel

METADATA = "medgs_stream"
"""Key in the metadata of a layer under which the `Stream` stands that fills it."""

FOLDER_ENDING = ".ome.zarr"


@dataclass(frozen=True, eq=False)
class Filled:
    """An array, and the array-like that it is filled from."""

    array: Any
    source: Any
    axis: int

    def fill(self, i: int) -> None:
        """Render slice i into its place."""
        key = (slice(None),) * self.axis + (slice(i, i + 1),)
        self.array[key] = self.source[key]


class Stream:
    """Work for jobs: fills the layers that show one rendering.

    Parameters
    ----------
    layers : sequence of Drawn
        Of the final shape, black where nothing is rendered yet; run by run, where they are of several.
    ready : (slices,)
        Which slices are there already, those of all runs one after another; kept up to date.
    fill : Callable
        Renders a slice into its place in all layers.

    Attributes
    ----------
    layers : as given, with what is ready in their metadata
    firsts : the number of the first slice of each run
    ready : as given
    shown : the slice to begin with; may be moved while slices are filled
    running : whether a job fills them now
    """

    def __init__(self, layers: Sequence[Drawn], ready: Any, fill: Callable[[int], None]) -> None:
        self.ready, self.shown, self.running = ready, 0, False
        self.firsts = first_slices(layers)
        self.layers = [replace(drawn, settings=self._settings(drawn)) for drawn in layers]
        self._fill: Callable[[int], None] | None = fill

    @property
    def finished(self) -> bool:
        """Whether all slices are there."""
        return bool(self.ready.all())

    def describe(self) -> str:
        """Say how many slices are there already; nothing where all are."""
        return "" if self.finished else f"{int(self.ready.sum())} are there; the same button renders the others."

    def __call__(self, job: Job[bool]) -> bool:
        """Fill all slices that are missing; called in the thread of the job."""
        waiting, count = {int(i) for i in np.flatnonzero(~self.ready)}, len(self.ready)
        try:
            while waiting:
                assert self._fill is not None
                job.checkpoint()
                i = min(waiting, key=lambda k: abs(k - self.shown))
                self._fill(i)
                self.ready[i] = True
                waiting.remove(i)
                job.report(Done(count - len(waiting), count))
            self._fill = None  # lets go of the model
        finally:
            self.running = False
        return True

    def _settings(self, drawn: Drawn) -> dict[str, Any]:
        first = self.firsts[drawn.run]
        slices = replace(drawn.slices, ready=self.ready[first : first + len(drawn.slices.measured)])  # a view
        settings = {**drawn.settings, "metadata": {SLICES: slices, METADATA: self}}
        plain = drawn.kind == "image" and not drawn.frame.rgb
        if plain and "contrast_limits" not in settings:  # napari would guess from black slices
            settings["contrast_limits"] = (0.0, 1.0)
        return settings


def first_slices(layers: Sequence[Drawn]) -> list[int]:
    """Return the number of the first slice of each run, when those of all runs are counted one after another."""
    counts = {drawn.run: len(drawn.slices.measured) for drawn in layers}
    return [0, *accumulate(counts.values())][:-1]


def _fill_runs(firsts: Sequence[int], fills: Sequence[Callable[[int], None]]) -> Callable[[int], None]:
    """Return what renders a slice, counted over all runs, by what does so for a slice of its run."""

    def fill(i: int) -> None:
        run = bisect_right(firsts, i) - 1
        fills[run](i - firsts[run])

    return fill


def stream_in_memory(layers: Sequence[Drawn], most_bytes: int) -> Stream:
    """Return what fills arrays from layers that render on access; they may take so many bytes.

    Raises
    ------
    ValueError
        If the arrays would take more memory than they may.
    """
    whole = sum(math.prod(drawn.shape) * drawn.dtype.itemsize for drawn in map(_finest, layers))
    if whole > most_bytes:
        raise ValueError(
            f"Slices may take {memory(most_bytes)} of memory at most, got {memory(whole)} of them; stream them into a "
            "folder, show them as a virtual layer, or raise the limit in Preferences."
        )
    firsts, made = first_slices(layers), []
    filled: list[list[Filled]] = [[] for _ in firsts]
    for drawn in layers:
        source = _finest(drawn).direct()
        one = Filled(np.zeros(source.shape, source.dtype), source, drawn.frame.slice_axis)
        filled[drawn.run].append(one)
        made.append(replace(drawn, data=one.array, settings={**drawn.settings, "multiscale": False}))

    def fill_all(run: Sequence[Filled], i: int) -> None:
        for one in run:
            one.fill(i)

    count = firsts[-1] + len(layers[-1].slices.measured)
    return Stream(made, np.zeros(count, bool), _fill_runs(firsts, [partial(fill_all, run) for run in filled]))


def _finest(drawn: Drawn) -> Any:
    return drawn.data[0] if isinstance(drawn.data, list) else drawn.data


def stream_in_folders(subject: Subject, layers: Sequence[Drawn], path: str) -> Stream:
    """Return what fills OME-Zarr folders, one per run and image, with layers that read from them; called in a thread.

    A folder that was begun by the same model under the same settings is gone on with.

    Raises
    ------
    ValueError
        If a folder is taken by something else, or cannot be written.
    """
    import medgs_core as medgs

    model, bounds = subject.fitted.model, subject.what == "uncertainty"
    streams = [
        medgs.stream_volume(model, folders_of(path, subject, run), run.config, bounds=bounds) for run in subject.runs
    ]
    like = replace(model.volume, members=())
    made = []
    for drawn in layers:
        part, store = Part(channel=drawn.part.channel), streams[drawn.run].images[drawn.part.image]
        if subject.what == "interpolated" and isinstance(drawn.data, list):  # measured slices are at hand for 3-D
            levels = [LayerArray(store, drawn.frame, part, like), *drawn.data[1:]]
        else:
            levels = virtual_levels(store, Thinned(store), drawn.frame, part, like)
        made.append(drawn.with_levels(levels))
    ready = np.concatenate([stream.written for stream in streams])
    return Stream(made, ready, _fill_runs(first_slices(layers), [stream.fill for stream in streams]))


def folders_of(path: str, subject: Subject, run: Run) -> list[str]:
    """Return the folders of the images of a run, named alike: `fine.ome.zarr`, `fine image 2 at 12.ome.zarr`."""
    stem = str(Path(path).with_name(Path(path).name.removesuffix(FOLDER_ENDING).removesuffix(".zarr")))
    ending, word = path[len(stem) :] or FOLDER_ENDING, WORDS[subject.what]
    numbers = ["", *(f" image {number}" for number in range(2, subject.images + 1))]
    return [f"{stem}{word}{number}{run.file_words}{ending}" for number in numbers]


def find_stream(viewer: ViewerModel, owner: Any, whats: Sequence[str]) -> Stream | None:
    """Return what fills the layers of an owner that show something, in whichever of them it is found."""
    found = find_results(viewer, owner)
    for what in whats:
        if what in found and METADATA in found[what].metadata:
            stream: Stream = found[what].metadata[METADATA]
            return stream
    return None
