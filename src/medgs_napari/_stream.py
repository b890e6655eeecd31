"""Rendered volumes that are filled slice by slice, those nearest to what is shown first.

Layers that render on access come in; arrays of their final shape go out, and fill up in the thread of a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medgs_napari._jobs import Done, Job
from medgs_napari._rendered import Drawn


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
    """Work for a `Job`: fills the arrays of several layers that show one rendering.

    Parameters
    ----------
    layers : sequence of Drawn
        Layers that render on access, with their finest level first.

    Attributes
    ----------
    filled : one array per layer, black where nothing is rendered yet
    shown : the slice to begin with; may be moved while slices are filled
    """

    def __init__(self, layers: Sequence[Drawn]) -> None:
        self.filled = []
        for drawn in layers:
            source = drawn.data[0] if isinstance(drawn.data, list) else drawn.data
            array = np.zeros(source.shape, source.dtype)
            self.filled.append(Filled(array, source, drawn.frame.slice_axis))
        self.count = int(self.filled[0].array.shape[self.filled[0].axis])
        self.shown = 0

    def __call__(self, job: Job[bool]) -> bool:
        """Fill all slices; called in the thread of the job."""
        waiting = set(range(self.count))
        while waiting:
            job.checkpoint()
            i = min(waiting, key=lambda k: abs(k - self.shown))
            for one in self.filled:
                one.fill(i)
            waiting.remove(i)
            job.report(Done(self.count - len(waiting), self.count))
        return True
