"""Where a surface would cut the slice that is shown: a model and a slice coordinate come in, line segments go out.

`Contours` keeps them in a layer that follows the slider; the slice is rendered in the thread of a job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._frames import Frame, Matrix
from medgs_napari._jobs import Job, Outcome
from medgs_napari._results import METADATA, Result, find_results, show_result
from medgs_napari._session import Fitted

if TYPE_CHECKING:
    from napari.components import ViewerModel

    import medgs_core as medgs

CONTOUR = "contour"
NAME = "contour preview"
WIDTH = 0.5
"""Of the lines, in pixels of the image."""

INSIDE = 0.5
"""Between the values of a mask."""


@dataclass(frozen=True, eq=False)
class Wish:
    """Which contours are wanted.

    Attributes
    ----------
    fitted : whose
    t : slice coordinate
    level : measured value and color, of one channel
    labels : label and color
    channel : of the level
    """

    fitted: Fitted
    t: float
    level: tuple[float, Any] | None = None
    labels: tuple[tuple[int, Any], ...] = ()
    channel: int = 0


def contour_segments(wish: Wish) -> tuple[Matrix, Matrix]:
    """Return the segments as a vectors layer takes them, (segments, 2, axes), and their colors (segments, 4)."""
    import medgs_core as medgs

    model, frame = wish.fitted.model, wish.fitted.frames[0]
    found = []
    if wish.level is not None:
        level, color = wish.level
        plane = medgs.render_slice(model, wish.t).astype(np.float64)
        plane = plane.reshape(*plane.shape[:2], -1)[..., wish.channel]
        slope, intercept = measured_scale(model.volume, wish.channel)
        found.append((_segments(plane * slope + intercept, level), color))
    if wish.labels:
        ids = medgs.render_slice(model, wish.t, labels=True)
        found += [(_segments(np.asarray(ids == label, np.float64), INSIDE), color) for label, color in wish.labels]
    vectors = np.concatenate([_in_layer(segments, wish.t, frame) for segments, _ in found])
    colors = np.concatenate([np.tile(np.asarray(color), (len(segments), 1)) for segments, color in found])
    return vectors, colors


def measured_scale(volume: medgs.Volume, channel: int) -> tuple[float, float]:
    """Return the slope and the intercept of a channel, those of the image it belongs to."""
    first = 0
    for member in volume.members:
        first += member.channels
        if channel < first:
            return float(member.slope), float(member.intercept)
    return float(volume.slope), float(volume.intercept)


class Contours:
    """The layer with the contours of one dock.

    Parameters
    ----------
    viewer : ViewerModel
        Where it is shown.
    follow : Callable
        Starts a job and polls it.
    failed : Callable
        Hears what went wrong, in a sentence.
    """

    def __init__(self, viewer: ViewerModel, follow: Callable[[Job[Any]], None], failed: Callable[[str], None]) -> None:
        self._viewer, self._follow, self._failed = viewer, follow, failed
        self._wish: Wish | None = None
        self._busy = self._asleep = False
        self._hidden: list[Any] = []

    @property
    def asleep(self) -> bool:
        """Whether nobody looks at the contours until `wake`: the user may have made their layer visible again."""
        return self._asleep and not any(layer.visible for layer in find_results(self._viewer, self).values())

    def sleep(self) -> None:
        """Hide the layer until `wake`."""
        if self._asleep:
            return
        self._asleep = True
        self._hidden = [layer for layer in find_results(self._viewer, self).values() if layer.visible]
        for layer in self._hidden:
            layer.visible = False

    def wake(self) -> None:
        """Show the layer that `sleep` hid, if it is still there."""
        self._asleep = False
        for layer in self._hidden:
            layer.visible = True
        self._hidden = []

    @property
    def wanted(self) -> bool:
        """Whether there are contours to show."""
        return self._wish is not None

    def is_theirs(self, layer: Any) -> bool:
        """Return whether a layer, which may be gone from the viewer, shows these contours."""
        result = layer.metadata.get(METADATA)
        return isinstance(result, Result) and result.owner is self

    def ask(self, wish: Wish | None) -> None:
        """Show these contours as soon as they are known, or none; wishes that are overtaken are forgotten."""
        self._wish = wish
        if wish is None:
            self.clear()
        elif not self._busy:
            self._begin(wish)

    def clear(self) -> None:
        """Take the layer away."""
        self._wish = None
        for layer in find_results(self._viewer, self).values():
            self._viewer.layers.remove(layer)

    def _begin(self, wish: Wish) -> None:
        job: Job[tuple[Matrix, Matrix]] = Job(lambda job: contour_segments(wish))

        def ended(outcome: Outcome[tuple[Matrix, Matrix]]) -> None:
            self._busy = False
            if self._wish is None or self.asleep:
                return
            if outcome.error and self._wish is wish:
                self._failed(outcome.error)
            if outcome.result is not None:
                self._show(wish, *outcome.result)
            if self._wish is not wish:
                self._begin(self._wish)

        self._busy = True
        job.ended.connect(ended)
        self._follow(job)

    def _show(self, wish: Wish, vectors: Matrix, colors: Matrix) -> None:
        settings: dict[str, Any] = {**wish.fitted.frames[0].placed(), "name": NAME, "edge_color": colors}
        settings |= {"vector_style": "line", "edge_width": WIDTH}
        if len(vectors) == 0:
            settings["edge_color"] = "white"
        known = find_results(self._viewer, self).get(CONTOUR)
        # napari can neither recolor hidden vectors nor give them another number of axes: made anew, they stay hidden
        if known is not None and not (known.visible and known.ndim == vectors.shape[-1]):
            settings["visible"] = known.visible
            latest = self._wish
            self.clear()
            self._wish = latest
        show_result(self._viewer, self, CONTOUR, "vectors", vectors, settings)


def _segments(plane: Matrix, level: float) -> Matrix:
    """Return pieces of the lines at a level: (segments, 2 ends, 2)."""
    from skimage.measure import find_contours

    lines = find_contours(np.pad(plane, 1, mode="constant", constant_values=plane.min()), level)  # type: ignore[no-untyped-call]
    pieces = [np.stack([line[:-1], line[1:]], axis=1) - 1 for line in lines]
    return np.concatenate([np.empty((0, 2, 2)), *pieces])


def _in_layer(segments: Matrix, t: float, frame: Frame) -> Matrix:
    """Return the pieces as start and direction in the coordinates of a layer of the frame."""
    in_plane = [axis for axis in range(3) if axis != frame.volume_axis]
    vectors = np.zeros((len(segments), 2, frame.ndim))
    for k, axis in enumerate(frame.order):
        if axis == frame.volume_axis:
            vectors[:, 0, k] = t
        elif axis is not None:
            ends = segments[..., in_plane.index(axis)]
            vectors[:, 0, k], vectors[:, 1, k] = ends[:, 0], ends[:, 1] - ends[:, 0]
    return vectors
