# mypy: ignore-errors
# numba types these functions, from their arguments
"""One step of descent under the sum rule, in three passes over threads: fold, draw and compare, differentiate and move.

Packed Gaussians and two target slices in; the same Gaussians, moved, and the squared errors out. The equations are
those of `fold`, their derivatives written out by hand, and those of `optimizer`. Row r of every array here is row r of
the slices of the packed matrices that are passed.
"""

import math

import numpy as np
from numba import float32

from medgs_core.rasterize._cpu_kernels import SOURCES
from medgs_core.rasterize._cpu_kernels.bands import BAND_ROWS, GEOMETRY, SUPPORT, bound, entry, kernel
from medgs_core.rasterize._cpu_kernels.lanes import LANES
from medgs_core.rasterize._cpu_kernels.sum_rule import differentiate_splat, draw_band

IMAGES = 2
"""A measured slice, and a target between two."""

X, Y, CENTER, LOG_SPREAD, DRIFT = 0, 1, 2, 3, 4
"""First columns of a packed Gaussian; after the drift come two log scales, angle, logit of opacity, intensities."""

_ONE, _TWO, _HALF, _ZERO = float32(1.0), float32(2.0), float32(0.5), float32(0.0)


@kernel
def _sigmoid(x):
    return _ONE / (_ONE + math.exp(-x))


@kernel
def _shape(row, packed, at):
    """Return half the sum and half the difference of the inverse variances, cosine and sine of twice the angle."""
    first, second = math.exp(-_TWO * packed[row, at]), math.exp(-_TWO * packed[row, at + 1])
    twice = _TWO * packed[row, at + 2]
    return _HALF * (first + second), _HALF * (first - second), math.cos(twice), math.sin(twice)


@entry
def fold_rows(
    first, end, packed, times, degree, peak, reach, height, width, means, conics, opacities, boxes, sources=SOURCES
):
    """Fill rows first..end-1 of what both images see; boxes end at -1 where a Gaussian is not seen.

    means (2, rows, 2), conics (rows, 3), opacities (2, rows), boxes (2, rows, 4).
    """
    shape = DRIFT + 2 * degree
    for row in range(first, end):
        for image in range(IMAGES):
            boxes[image, row, 3] = -1
        spread = math.exp(packed[row, LOG_SPREAD])
        center = packed[row, CENTER]
        furthest = reach * spread
        if abs(times[0] - center) > furthest and abs(times[1] - center) > furthest:
            continue
        mean, difference, cosine, sine = _shape(row, packed, shape)
        conics[row, 0] = mean + difference * cosine
        conics[row, 1] = difference * sine
        conics[row, 2] = mean - difference * cosine
        opacity = peak * _sigmoid(packed[row, shape + 3])
        for image in range(IMAGES):
            u = times[image] - center
            if abs(u) > furthest:
                continue
            x = y = _ZERO
            for power in range(degree - 1, -1, -1):  # Horner's rule
                x = (x + packed[row, DRIFT + 2 * power]) * u
                y = (y + packed[row, DRIFT + 2 * power + 1]) * u
            means[image, row, 0] = packed[row, X] + x
            means[image, row, 1] = packed[row, Y] + y
            faded = u / spread
            opacities[image, row] = opacity * math.exp(-_HALF * faded * faded)
            bound(row, means[image], conics, SUPPORT, height, width, boxes[image])


@entry
def list_pairs(boxes, height, work, sources=SOURCES):
    """Return (lists, starts): the rows that each band of the first image looks at, then of the second.

    Fills `work` (rows + 1,), the running total of the pixels in a row's boxes.
    """
    rows, bands = boxes.shape[1], (height + BAND_ROWS - 1) // BAND_ROWS
    cursors = np.zeros(IMAGES * bands, np.int64)
    work[0] = 0
    for row in range(rows):
        pixels = 1
        for image in range(IMAGES):
            top, bottom = boxes[image, row, 2], boxes[image, row, 3]
            if bottom >= 0:
                pixels += (bottom - top + 1) * (boxes[image, row, 1] - boxes[image, row, 0] + 1)
                for band in range(top // BAND_ROWS, bottom // BAND_ROWS + 1):
                    cursors[image * bands + band] += 1
        work[row + 1] = work[row] + pixels
    starts = np.zeros(IMAGES * bands + 1, np.int64)
    for band in range(IMAGES * bands):
        starts[band + 1] = starts[band] + cursors[band]
        cursors[band] = starts[band]
    lists = np.empty(starts[-1], np.int32)
    for image in range(IMAGES):
        for row in range(rows):
            top, bottom = boxes[image, row, 2], boxes[image, row, 3]
            if bottom >= 0:
                for band in range(image * bands + top // BAND_ROWS, image * bands + bottom // BAND_ROWS + 1):
                    lists[cursors[band]] = row
                    cursors[band] += 1
    return lists, starts


@kernel
def _compare_band(band, planes, target, weights, least):
    """Turn a drawn band into the gradient of its squared error, weighed per channel; return that error, not weighed.

    The rendered value is F_c = weighted_c / max(weight, least). Spare columns become 0.
    """
    channels, height, width = target.shape[2], target.shape[0], target.shape[1]
    error = 0.0
    for row in range(band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)):
        for x in range(width):
            weight = planes[channels, row, x]
            inverse = _ONE / max(weight, least)
            slope = _ZERO
            for channel in range(channels):
                value = planes[channel, row, x] * inverse
                missed = value - target[row, x, channel]
                error += missed * missed
                gradient = weights[channel] * _TWO * missed * inverse
                planes[channel, row, x] = gradient
                slope -= gradient * value
            planes[channels, row, x] = slope if weight >= least else _ZERO
        planes[:, row, width:] = _ZERO
    return error


@entry
def draw_and_compare(
    first,
    end,
    means,
    conics,
    opacities,
    features,
    boxes,
    lists,
    starts,
    planes,
    measured,
    between,
    weights,
    least,
    errors,
    sources=SOURCES,
):
    """Draw bands first..end-1 of both images, turn them into gradients, and write their squared errors.

    planes (2, channels + 1, height, stride), targets (height, width, channels), weights (2, channels), errors (bands of
    both images,).
    """
    bands = (measured.shape[0] + BAND_ROWS - 1) // BAND_ROWS
    for band in range(first, end):
        image = band // bands
        own = band - image * bands
        draw_band(
            own,
            means[image],
            conics,
            opacities[image],
            features,
            boxes[image],
            lists,
            starts[image * bands :],
            planes[image],
        )
        if image == 0:
            errors[band] = _compare_band(own, planes[image], measured, weights[0], least)
        else:
            errors[band] = _compare_band(own, planes[image], between, weights[1], least)


@kernel
def _unfold(row, packed, times, degree, peak, boxes, opacities, splats, gradient):
    """Add up the gradient of one packed Gaussian from the gradients of what both images see of it.

    splats (2, rows, 6 + features): means 2, conics 3, opacity, features.
    """
    shape = DRIFT + 2 * degree
    gradient[:] = _ZERO
    spread = math.exp(packed[row, LOG_SPREAD])
    share = _ONE - _sigmoid(packed[row, shape + 3])
    a = b = c = _ZERO
    for image in range(IMAGES):
        if boxes[image, row, 3] < 0:
            continue
        u = times[image] - packed[row, CENTER]
        x, y = splats[image, row, 0], splats[image, row, 1]
        gradient[X] += x
        gradient[Y] += y
        power, along = _ONE, _ZERO  # u**(d - 1), and the gradient of u by way of the path
        for d in range(degree):
            column = DRIFT + 2 * d
            along += float32(d + 1) * power * (x * packed[row, column] + y * packed[row, column + 1])
            power *= u
            gradient[column] += x * power
            gradient[column + 1] += y * power
        faded = u / spread
        lever = splats[image, row, 5] * opacities[image, row]
        gradient[CENTER] += lever * faded / spread - along
        gradient[LOG_SPREAD] += lever * faded * faded
        gradient[shape + 3] += lever * share
        a += splats[image, row, 2]
        b += splats[image, row, 3]
        c += splats[image, row, 4]
        for channel in range(splats.shape[2] - GEOMETRY):
            gradient[shape + 4 + channel] += splats[image, row, GEOMETRY + channel]
    mean, difference, cosine, sine = _shape(row, packed, shape)
    by_difference = (a - c) * cosine + b * sine
    gradient[shape] = -(mean + difference) * (a + c + by_difference)
    gradient[shape + 1] = -(mean - difference) * (a + c - by_difference)
    gradient[shape + 2] = _TWO * difference * (b * cosine - (a - c) * sine)


@entry
def differentiate_and_move(
    first,
    end,
    packed,
    moments,
    squares,
    seen,
    seeds,
    times,
    degree,
    peak,
    reach,
    means,
    conics,
    opacities,
    features,
    boxes,
    planes,
    splats,
    rates,
    decays,
    corrections,
    limits,
    epsilon,
    sources=SOURCES,
):
    """Move rows first..end-1 that lie within reach of the stretch between both times by one step of Adam.

    packed, moments, squares (rows, columns) and seen (rows,) change in place; times (2,); planes (2, channels + 1,
    height, stride) hold gradients of what was drawn; splats (2, rows, 6 + features) is room to work in; rates
    (columns,); decays (2,) of both moments; corrections (steps, 2) make up for moments that started at 0; limits (3,)
    are the reach of a center from its seed slice, least and largest log spread.
    """
    columns = packed.shape[1]
    gradient = np.empty(columns, np.float32)
    strip, slope = np.empty(BAND_ROWS * LANES, np.float32), np.empty(BAND_ROWS * LANES, np.float32)
    low, high = min(times[0], times[1]), max(times[0], times[1])
    for row in range(first, end):
        center, furthest = packed[row, CENTER], reach * math.exp(packed[row, LOG_SPREAD])
        if center + furthest < low or center - furthest > high:
            continue
        for image in range(IMAGES):
            if boxes[image, row, 3] >= 0:
                splats[image, row, :] = _ZERO
                differentiate_splat(
                    row,
                    means[image],
                    conics,
                    opacities[image],
                    features,
                    boxes[image],
                    planes[image],
                    strip,
                    slope,
                    splats[image],
                )
        _unfold(row, packed, times, degree, peak, boxes, opacities, splats, gradient)
        seen[row] += _ONE
        step = min(int(seen[row]), len(corrections) - 1)
        for column in range(columns):
            moment = moments[row, column]
            moment += (_ONE - decays[0]) * (gradient[column] - moment)
            square = squares[row, column]
            square += (_ONE - decays[1]) * (gradient[column] * gradient[column] - square)
            moments[row, column], squares[row, column] = moment, square
            packed[row, column] -= (
                rates[column] * (moment * corrections[step, 0]) / (math.sqrt(square * corrections[step, 1]) + epsilon)
            )
        packed[row, CENTER] = min(max(packed[row, CENTER], seeds[row] - limits[0]), seeds[row] + limits[0])
        packed[row, LOG_SPREAD] = min(max(packed[row, LOG_SPREAD], limits[1]), limits[2])
