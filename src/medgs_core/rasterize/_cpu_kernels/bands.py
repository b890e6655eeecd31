# mypy: ignore-errors
# numba types these functions, from their arguments
"""Which splats each band of the image must look at, and the profile that both rules draw along a band's rows.

The image is cut into bands of `BAND_ROWS` full rows. A band belongs to one thread and takes its splats in
row order, so results do not depend on the number of threads. Images are planes (planes, height, stride)
whose rows have `LANES` spare columns at the end: vectors may run over the edge.
"""

import math
from typing import Any

import numpy as np
from numba import float32, njit

from medgs_core.rasterize._cpu_kernels import SOURCES
from medgs_core.rasterize._cpu_kernels.lanes import broadcast, exp2, multiply_add, total

BAND_ROWS = 16
"""Rows per band: most splats then lie in one or two, and a band of a 1000-pixel row still fits the L2
cache."""

GEOMETRY = 6
"""Gradient columns before the features: means 2, conics 3, opacity 1."""

SUPPORT = 9.0
"""Squared Mahalanobis distance at which a splat of the sum ends: three standard deviations."""

MIN_ALPHA = float32(1.0 / 255.0)
"""An opacity below this is dropped by the alpha rule."""

_HALF_LOG2E = float32(0.5 / math.log(2.0))  # exp(-d / 2) = 2**(-d * this)

_MAX_SKEW = float32(0.64)
"""Squared correlation of x and y up to which rows are chained: in the box exp(-d / 2) then stays above
2**-80."""

_ONE, _TWO, _HALF = float32(1.0), float32(2.0), float32(0.5)

kernel: Any = njit(nogil=True, error_model="numpy")
"""A kernel called by kernels: compiled into its callers, never kept on disk by itself."""

entry: Any = njit(nogil=True, error_model="numpy", cache=True)
"""A kernel called from Python: without the interpreter's lock, and kept on disk. Must take `sources=SOURCES` last.

None is parallel by itself: callers give each thread a range of bands or splats (`threads.share`)."""


@kernel
def bound(splat, means, conics, support, height, width, boxes):
    """Write the pixel box (x0, x1, y0, y1) of d <= support; y1 = -1 if it holds no pixel of the image."""
    x, y = np.float64(means[splat, 0]), np.float64(means[splat, 1])
    a, b, c = np.float64(conics[splat, 0]), np.float64(conics[splat, 1]), np.float64(conics[splat, 2])
    determinant = a * c - b * b
    boxes[splat, 3] = -1
    if support > 0.0 and determinant > 0.0:
        reach_x, reach_y = math.sqrt(support * c / determinant), math.sqrt(support * a / determinant)
        # compared as floats first: a splat may be larger, or farther away, than any integer
        if x + reach_x >= 0.0 and y + reach_y >= 0.0 and x - reach_x <= width - 1 and y - reach_y <= height - 1:
            x0, x1 = math.ceil(max(x - reach_x, 0.0)), math.floor(min(x + reach_x, width - 1.0))
            y0, y1 = math.ceil(max(y - reach_y, 0.0)), math.floor(min(y + reach_y, height - 1.0))
            if x0 <= x1 and y0 <= y1:
                boxes[splat, 0], boxes[splat, 1], boxes[splat, 2], boxes[splat, 3] = x0, x1, y0, y1


@entry
def bound_splats(first, end, means, conics, opacities, alpha, height, width, boxes, sources=SOURCES):
    """Fill rows first..end-1 of `boxes` (splats, 4): pixels (x0, x1, y0, y1), y1 = -1 where there are none."""
    for splat in range(first, end):
        support = SUPPORT
        if alpha:  # where opacity * exp(-d / 2) reaches MIN_ALPHA
            peak = np.float64(opacities[splat]) / MIN_ALPHA
            support = 2.0 * math.log(peak) if peak > 1.0 else 0.0
        bound(splat, means, conics, support, height, width, boxes)


@entry
def list_splats(boxes, height, sources=SOURCES):
    """Return (lists, starts).

    Band k looks at the splats lists[starts[k]:starts[k + 1]], in row order: a counting sort.
    """
    cursors = np.zeros((height + BAND_ROWS - 1) // BAND_ROWS, np.int64)
    for splat in range(len(boxes)):
        if boxes[splat, 3] >= 0:
            for band in range(boxes[splat, 2] // BAND_ROWS, boxes[splat, 3] // BAND_ROWS + 1):
                cursors[band] += 1
    starts = np.zeros(len(cursors) + 1, np.int64)
    for band in range(len(cursors)):
        starts[band + 1] = starts[band] + cursors[band]
        cursors[band] = starts[band]
    lists = np.empty(starts[-1], np.int32)
    for splat in range(len(boxes)):
        if boxes[splat, 3] >= 0:
            for band in range(boxes[splat, 2] // BAND_ROWS, boxes[splat, 3] // BAND_ROWS + 1):
                lists[cursors[band]] = splat
                cursors[band] += 1
    return lists, starts


@kernel
def exponents(conics, splat):
    """Return (ka, kb, kc, rows): the profile is 2**(ka x^2 + kb x y + kc y^2), and `rows` may be chained."""
    a, b, c = conics[splat, 0], conics[splat, 1], conics[splat, 2]
    rows = BAND_ROWS if b * b < _MAX_SKEW * a * c else 1
    return -_HALF_LOG2E * a, -_TWO * _HALF_LOG2E * b, -_HALF_LOG2E * c, rows


@kernel
def profile(dx, dy, ka, kb, kc):
    """Return (value, ratio): exp(-d / 2) along a row, and the factor that leads to the next row.

    The profile is the exponential of a quadratic in y, so the ratio of successive rows itself grows by the
    constant 2**(2 kc): a row costs two products instead of an exponential. Rounding grows with the square
    of the rows chained, hence a fresh start after `BAND_ROWS`, and at every row where the ellipse is so
    skewed that a value could underflow before it is needed.
    """
    value = exp2(multiply_add(multiply_add(dx, broadcast(ka), broadcast(kb * dy)), dx, broadcast(kc * dy * dy)))
    ratio = exp2(multiply_add(dx, broadcast(kb), broadcast(kc * (dy + dy + _ONE))))
    return value, ratio


@kernel
def clear(planes, count, first, end):
    """Set rows first..end-1 of the first `count` planes to 0."""
    for plane in range(count):
        for row in range(first, end):
            planes[plane, row, :] = 0.0


@kernel
def write_geometry(splat, conics, opacity, moments, gradients, row):
    """Write the gradients of means, conics and opacity, from six moments of the profile times its gradient.

    With alpha = opacity * exp(-d / 2) and d = a x^2 + 2 b x y + c y^2, each follows from the
    moments 1, x, xx, y, xy, yy.
    """
    m0, mx, mxx, my, mxy, myy = moments
    a, b, c = conics[splat, 0], conics[splat, 1], conics[splat, 2]
    sum_x, sum_y = total(mx), total(my)
    gradients[row, 0] = opacity * (a * sum_x + b * sum_y)
    gradients[row, 1] = opacity * (b * sum_x + c * sum_y)
    gradients[row, 2] = -_HALF * opacity * total(mxx)
    gradients[row, 3] = -opacity * total(mxy)
    gradients[row, 4] = -_HALF * opacity * total(myy)
    gradients[row, 5] = total(m0)
