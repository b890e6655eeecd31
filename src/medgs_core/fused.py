"""One step of descent on the CPU under the sum rule, in three compiled passes that all processors share.

Packed Gaussians and two target slices come in; the Gaussians move in place, and the squared errors go out. What it
computes is that of `fold`, `rasterize` and `optimizer` with torch's gradients, in a third of the time.
"""

from functools import cache

import numpy as np
from jaxtyping import Float32, Float64, Int

from medgs_core.arrays import Image
from medgs_core.fold import REACH
from medgs_core.model import MAX_OPACITY, PLAIN_COLUMNS
from medgs_core.optimizer import EPSILON, FIRST_DECAY, SECOND_DECAY, RowAdam
from medgs_core.rasterize import LEAST_WEIGHT
from medgs_core.threads import evenly, share

STEPS_CORRECTED = 4096
"""Steps after which the moments of Adam no longer need the correction for having started at 0: 0.99**4096 is 1e-18."""

SEEN_AT_ONCE = 2
"""Slices that a step looks at."""


class StepRoom:
    """Memory that steps work in, kept from one to the next because fresh pages cost as much as the arithmetic.

    Parameters
    ----------
    height, width, channels : int
        Of the slices.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        from medgs_core.rasterize._cpu_kernels.lanes import LANES

        self.height = height
        self.width = width
        self.channels = channels
        self.planes = np.empty((SEEN_AT_ONCE, channels + 1, height, width + LANES), np.float32)
        self._rows = 0
        self.make_room(1)

    def make_room(self, rows: int) -> None:
        """Hold more than so many rows: parts of the whole, so that the kernels always meet the same memory layout."""
        if rows < self._rows:
            return
        rows += 1
        from medgs_core.rasterize._cpu_kernels.bands import GEOMETRY

        self._rows = rows
        self.means = np.empty((SEEN_AT_ONCE, rows, 2), np.float32)
        self.conics = np.empty((rows, 3), np.float32)
        self.opacities = np.empty((SEEN_AT_ONCE, rows), np.float32)
        self.boxes = np.empty((SEEN_AT_ONCE, rows, 4), np.int32)
        self.splats = np.empty((SEEN_AT_ONCE, rows, GEOMETRY + self.channels), np.float32)


@cache
def _corrections() -> Float32[np.ndarray, "steps 2"]:
    """Return what the moments are multiplied by after 0, 1, 2.. steps."""
    steps = np.maximum(np.arange(STEPS_CORRECTED), 1)[:, None]
    return (1.0 / (1.0 - np.array([FIRST_DECAY, SECOND_DECAY]) ** steps)).astype(np.float32)


def step_on_cpu(
    room: StepRoom,
    optimizer: RowAdam,
    rows: slice,
    seeds: Float32[np.ndarray, " rows"],
    times: tuple[float, float],
    targets: tuple[Image, Image],
    weights: Float32[np.ndarray, "2 channels"],
    rates: Float32[np.ndarray, " columns"],
    limits: Float32[np.ndarray, " 3"],
) -> tuple[float, float]:
    """Bring the Gaussians closer to two slices by one step of Adam; return the sums of squared errors before it.

    Parameters
    ----------
    room : StepRoom
        To work in.
    optimizer : RowAdam
        On the CPU; moved in place.
    rows : slice
        Of its rows: all that may be seen at either time; those seen between both move.
    seeds : (rows,)
        The slice that each of these rows was seeded on.
    times : (float, float)
        Slice coordinates of the targets.
    targets : two of (height, width, channels)
        Unit intensities.
    weights : (2, channels)
        Of the squared errors of each target in each channel; the sums returned are not weighed.
    rates : (columns,)
        Step per column.
    limits : (3,)
        How far a center may leave its seed slice, and the range of the logarithm of the spread.
    """
    from medgs_core.rasterize._cpu_kernels.step import (
        differentiate_and_move,
        draw_and_compare,
        fold_rows,
        list_pairs,
    )

    packed, mean, square = (tensor[rows].numpy() for tensor in (optimizer.parameters, optimizer.mean, optimizer.square))
    count, columns = packed.shape
    room.make_room(count)
    degree = (columns - room.channels - PLAIN_COLUMNS) // 2
    features = packed[:, columns - room.channels :]
    coordinates = np.array(times, np.float32)
    means, boxes = room.means[:, :count], room.boxes[:, :count]
    opacities, conics = room.opacities[:, :count], room.conics[:count]
    peak, reach = np.float32(MAX_OPACITY), np.float32(REACH)
    folding = (packed, coordinates, degree, peak, reach, room.height, room.width)
    share(fold_rows, evenly(count), *folding, means, conics, opacities, boxes)
    work: Int[np.ndarray, " running"] = np.empty(count + 1, np.int64)
    lists, starts = list_pairs(boxes, room.height, work)
    errors: Float64[np.ndarray, " bands"] = np.empty(len(starts) - 1, np.float64)
    comparing = (room.planes, *targets, weights, np.float32(LEAST_WEIGHT), errors)
    share(draw_and_compare, starts, means, conics, opacities, features, boxes, lists, starts, *comparing)
    moving = (
        np.array([FIRST_DECAY, SECOND_DECAY], np.float32),
        _corrections(),
        limits,
        np.float32(EPSILON),
    )
    share(
        differentiate_and_move,
        work,
        packed,
        mean,
        square,
        optimizer.seen[rows].numpy(),
        seeds,
        coordinates,
        degree,
        peak,
        reach,
        means,
        conics,
        opacities,
        features,
        boxes,
        room.planes,
        room.splats[:, :count],
        rates,
        *moving,
    )
    half = len(errors) // SEEN_AT_ONCE
    return float(errors[:half].sum()), float(errors[half:].sum())
