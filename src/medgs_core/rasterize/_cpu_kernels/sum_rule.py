# mypy: ignore-errors
# numba types these functions, from their arguments
"""The sum rule: every splat adds its weight inside 3 sigma, whatever the others do.

Lists of splats in, planes out; gradients of planes in, gradients of splats out.
"""

import math

import numpy as np
from numba import float32

from medgs_core.rasterize._cpu_kernels import SOURCES
from medgs_core.rasterize._cpu_kernels.bands import (
    BAND_ROWS,
    GEOMETRY,
    SUPPORT,
    clear,
    entry,
    exponents,
    kernel,
    profile,
    write_geometry,
)
from medgs_core.rasterize._cpu_kernels.lanes import (
    LANES,
    add,
    at_least,
    broadcast,
    choose,
    exp2,
    load,
    multiply,
    multiply_add,
    ramp,
    store,
    total,
)

_EDGE = float32(math.exp(-SUPPORT / 2))  # the profile at the end of the support
_ZERO, _ONE = float32(0.0), float32(1.0)


@kernel
def draw_band(band, means, conics, opacities, features, boxes, lists, starts, planes):
    """Add the splats of one band to its rows of every plane."""
    height, stride = planes.shape[1], planes.shape[2]
    first_row, end_row = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)
    channels = features.shape[1]
    clear(planes, channels + 1, first_row, end_row)
    flat, size = planes.reshape(-1), height * stride
    zero, edge = broadcast(_ZERO), broadcast(_EDGE)
    shape = np.empty(BAND_ROWS * LANES, np.float32)
    for position in range(starts[band], starts[band + 1]):
        splat = lists[position]
        ka, kb, kc, chained = exponents(conics, splat)
        growth = exp2(broadcast(kc + kc))
        opacity = opacities[splat]
        peak, colored = broadcast(opacity), broadcast(opacity * features[splat, 0])
        top, bottom = max(boxes[splat, 2], first_row), min(boxes[splat, 3], end_row - 1)
        for x in range(boxes[splat, 0], boxes[splat, 1] + 1, LANES):
            dx = add(ramp(), broadcast(float32(x) - means[splat, 0]))
            for start in range(top, bottom + 1, chained):
                value, ratio = profile(dx, float32(start) - means[splat, 1], ka, kb, kc)
                rows, at = min(chained, bottom + 1 - start), start * stride + x
                if channels == 1:  # the common case keeps all in registers
                    for row in range(rows):
                        pixel = at + row * stride
                        inside = choose(at_least(value, edge), value, zero)
                        store(flat, pixel, multiply_add(inside, colored, load(flat, pixel)))
                        store(flat, pixel + size, multiply_add(inside, peak, load(flat, pixel + size)))
                        value, ratio = multiply(value, ratio), multiply(ratio, growth)
                else:
                    for row in range(rows):
                        store(shape, row * LANES, choose(at_least(value, edge), value, zero))
                        value, ratio = multiply(value, ratio), multiply(ratio, growth)
                    for plane in range(channels + 1):
                        factor = broadcast(opacity * features[splat, plane] if plane < channels else opacity)
                        for row in range(rows):
                            pixel = plane * size + at + row * stride
                            store(flat, pixel, multiply_add(load(shape, row * LANES), factor, load(flat, pixel)))


@entry
def draw_sum(first, end, means, conics, opacities, features, boxes, lists, starts, planes, sources=SOURCES):
    """Fill bands first..end-1 of `planes` (features + 1, height, stride): weighted sums, last the sum of weights."""
    for band in range(first, end):
        draw_band(band, means, conics, opacities, features, boxes, lists, starts, planes)


@kernel
def differentiate_splat(splat, means, conics, opacities, features, boxes, planes, shape, slope, gradients):
    """Write one splat's row of gradients: means 2, conics 3, opacity, features."""
    stride, size = planes.shape[2], planes.shape[1] * planes.shape[2]
    flat, channels = planes.reshape(-1), features.shape[1]
    weights = channels * size
    ka, kb, kc, chained = exponents(conics, splat)
    growth = exp2(broadcast(kc + kc))
    zero, one, edge = broadcast(_ZERO), broadcast(_ONE), broadcast(_EDGE)
    opacity, feature = opacities[splat], broadcast(features[splat, 0])
    m0 = mx = mxx = my = mxy = myy = colored = zero
    for x in range(boxes[splat, 0], boxes[splat, 1] + 1, LANES):
        dx = add(ramp(), broadcast(float32(x) - means[splat, 0]))
        c0 = cy = cyy = zero  # moments of these columns; dx is the same on every row, so it waits
        for start in range(boxes[splat, 2], boxes[splat, 3] + 1, chained):
            dy = float32(start) - means[splat, 1]
            value, ratio = profile(dx, dy, ka, kb, kc)
            dy_row = broadcast(dy)
            rows, at = min(chained, boxes[splat, 3] + 1 - start), start * stride + x
            if channels > 1:
                for row in range(rows):
                    store(slope, row * LANES, load(flat, weights + at + row * stride))
                    store(shape, row * LANES, choose(at_least(value, edge), value, zero))
                    value, ratio = multiply(value, ratio), multiply(ratio, growth)
                for channel in range(channels):
                    its_feature, its_color = broadcast(features[splat, channel]), zero
                    for row in range(rows):
                        gradient = load(flat, channel * size + at + row * stride)
                        its_color = multiply_add(load(shape, row * LANES), gradient, its_color)
                        store(slope, row * LANES, multiply_add(gradient, its_feature, load(slope, row * LANES)))
                    gradients[splat, GEOMETRY + channel] += opacity * total(its_color)
            for row in range(rows):
                if channels == 1:  # the common case keeps all in registers
                    inside = choose(at_least(value, edge), value, zero)
                    gradient = load(flat, at + row * stride)
                    colored = multiply_add(inside, gradient, colored)
                    weighted = multiply(
                        inside, multiply_add(gradient, feature, load(flat, weights + at + row * stride))
                    )
                    value, ratio = multiply(value, ratio), multiply(ratio, growth)
                else:
                    weighted = multiply(load(shape, row * LANES), load(slope, row * LANES))
                lever = multiply(weighted, dy_row)
                c0, cy, cyy = add(c0, weighted), add(cy, lever), multiply_add(lever, dy_row, cyy)
                dy_row = add(dy_row, one)
        lever = multiply(c0, dx)
        m0, mx, mxx = add(m0, c0), add(mx, lever), multiply_add(lever, dx, mxx)
        my, mxy, myy = add(my, cy), multiply_add(cy, dx, mxy), add(myy, cyy)
    write_geometry(splat, conics, opacity, (m0, mx, mxx, my, mxy, myy), gradients, splat)
    if channels == 1:
        gradients[splat, GEOMETRY] = opacity * total(colored)


@entry
def differentiate_sum(first, end, means, conics, opacities, features, boxes, planes, gradients, sources=SOURCES):
    """Fill rows first..end-1 of `gradients` (splats, 6 + features) from the gradients of the planes.

    Those are 0 in spare columns. In a sum no splat depends on another, so each reads the image under its own box: no
    bands, no lists.
    """
    shape, slope = np.empty(BAND_ROWS * LANES, np.float32), np.empty(BAND_ROWS * LANES, np.float32)
    for splat in range(first, end):
        gradients[splat, :] = 0.0
        if boxes[splat, 3] >= 0:
            differentiate_splat(splat, means, conics, opacities, features, boxes, planes, shape, slope, gradients)
