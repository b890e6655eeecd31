# mypy: ignore-errors
# numba types these functions, from their arguments
"""The alpha rule: splats in row order, each behind the ones before it.

Lists of splats in, planes out; gradients of planes in, gradients of splats out.
"""

import numpy as np
from numba import float32

from medgs_core.rasterize._cpu_kernels import SOURCES
from medgs_core.rasterize._cpu_kernels.bands import (
    BAND_ROWS,
    GEOMETRY,
    MIN_ALPHA,
    clear,
    entry,
    exponents,
    kernel,
    profile,
    write_geometry,
)
from medgs_core.rasterize._cpu_kernels.lanes import (
    LANES,
    above,
    add,
    at_least,
    both,
    broadcast,
    choose,
    divide,
    exp2,
    load,
    multiply,
    multiply_add,
    ramp,
    store,
    subtract,
    total,
)

_MAX_ALPHA = float32(0.999)
_MIN_TRANSMITTANCE = float32(1e-4)
_NEVER = float32(3e38)  # beyond every position of a list: this pixel has not ended
_ZERO, _ONE = float32(0.0), float32(1.0)


@kernel
def _draw_band(band, means, conics, opacities, features, boxes, lists, starts, planes, transmittance, ends):
    """Composite the splats of one band into its rows of every plane, front to back."""
    height, stride = planes.shape[1], planes.shape[2]
    first_row, end_row = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)
    channels = features.shape[1]
    clear(planes, channels, first_row, end_row)
    transmittance[first_row:end_row, :] = _ONE
    ends[first_row:end_row, :] = _NEVER
    flat, size = planes.reshape(-1), height * stride
    passing, ending = transmittance.reshape(-1), ends.reshape(-1)
    zero, one, limit = broadcast(_ZERO), broadcast(_ONE), broadcast(_MIN_TRANSMITTANCE)
    least, most = broadcast(MIN_ALPHA), broadcast(_MAX_ALPHA)
    weights = np.empty(BAND_ROWS * LANES, np.float32)
    for position in range(starts[band], starts[band + 1]):
        splat = lists[position]
        ka, kb, kc, chained = exponents(conics, splat)
        growth, peak = exp2(broadcast(kc + kc)), broadcast(opacities[splat])
        place = broadcast(float32(position - starts[band]))
        top, bottom = max(boxes[splat, 2], first_row), min(boxes[splat, 3], end_row - 1)
        for x in range(boxes[splat, 0], boxes[splat, 1] + 1, LANES):
            dx = add(ramp(), broadcast(float32(x) - means[splat, 0]))
            for start in range(top, bottom + 1, chained):
                value, ratio = profile(dx, float32(start) - means[splat, 1], ka, kb, kc)
                rows, at = min(chained, bottom + 1 - start), start * stride + x
                for row in range(rows):
                    pixel = at + row * stride
                    alpha = multiply(peak, value)
                    alpha = choose(above(alpha, most), most, alpha)
                    before, end = load(passing, pixel), load(ending, pixel)
                    after = multiply(before, subtract(one, alpha))
                    seen = both(at_least(alpha, least), above(end, place))
                    counts = both(seen, above(after, limit))
                    store(weights, row * LANES, choose(counts, multiply(alpha, before), zero))
                    store(passing, pixel, choose(counts, after, before))
                    store(ending, pixel, choose(counts, end, choose(seen, place, end)))
                    value, ratio = multiply(value, ratio), multiply(ratio, growth)
                for channel in range(channels):
                    feature = broadcast(features[splat, channel])
                    for row in range(rows):
                        pixel = channel * size + at + row * stride
                        store(flat, pixel, multiply_add(load(weights, row * LANES), feature, load(flat, pixel)))
    for row in range(first_row, end_row):
        for x in range(stride):
            planes[channels, row, x] = _ONE - transmittance[row, x]


@entry
def draw_alpha(
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
    transmittance,
    ends,
    sources=SOURCES,
):
    """Fill bands first..end-1 of `planes` (features + 1, height, stride): weighted sums, last the sum of weights.

    For the backward pass also `transmittance` (height, stride) behind the last splat and `ends` (height,
    stride), the place in the band's list at which the pixel ended.
    """
    for band in range(first, end):
        _draw_band(band, means, conics, opacities, features, boxes, lists, starts, planes, transmittance, ends)


@kernel
def _slopes(features, splat, flat, size, at, stride, rows, slope):
    """Write d(loss) / d(weight of this splat): the weight's gradient plus features times theirs."""
    channels = features.shape[1]
    for row in range(rows):
        store(slope, row * LANES, load(flat, channels * size + at + row * stride))
    for channel in range(channels):
        feature = broadcast(features[splat, channel])
        for row in range(rows):
            gradient = load(flat, channel * size + at + row * stride)
            store(slope, row * LANES, multiply_add(gradient, feature, load(slope, row * LANES)))


@kernel
def _differentiate_band(
    band,
    means,
    conics,
    opacities,
    features,
    boxes,
    lists,
    starts,
    planes,
    transmittance,
    ends,
    slots,
    gradients,
):
    """Write one row of gradients per splat of the band, back to front.

    Going back, the transmittance before a splat is the one behind it divided by 1 - alpha, and `behind`
    gathers what the splats behind contribute: what a more opaque splat would take from them.
    """
    height, stride = planes.shape[1], planes.shape[2]
    first_row, end_row = band * BAND_ROWS, min(height, (band + 1) * BAND_ROWS)
    offset = first_row * stride
    channels = features.shape[1]
    flat, size, ending = planes.reshape(-1), height * stride, ends.reshape(-1)
    passing = transmittance[first_row:end_row].copy().reshape(-1)
    behind = np.zeros(passing.shape[0], np.float32)
    zero, one = broadcast(_ZERO), broadcast(_ONE)
    least, most = broadcast(MIN_ALPHA), broadcast(_MAX_ALPHA)
    weights, slope = np.empty(BAND_ROWS * LANES, np.float32), np.empty(BAND_ROWS * LANES, np.float32)
    for position in range(starts[band + 1] - 1, starts[band] - 1, -1):
        splat = lists[position]
        slot = slots[splat] + band - boxes[splat, 2] // BAND_ROWS
        gradients[slot, :] = 0.0
        ka, kb, kc, chained = exponents(conics, splat)
        growth, peak = exp2(broadcast(kc + kc)), broadcast(opacities[splat])
        place = broadcast(float32(position - starts[band]))
        top, bottom = max(boxes[splat, 2], first_row), min(boxes[splat, 3], end_row - 1)
        m0 = mx = mxx = my = mxy = myy = zero
        for x in range(boxes[splat, 0], boxes[splat, 1] + 1, LANES):
            dx = add(ramp(), broadcast(float32(x) - means[splat, 0]))
            c0 = cy = cyy = zero
            for start in range(top, bottom + 1, chained):
                dy = float32(start) - means[splat, 1]
                value, ratio = profile(dx, dy, ka, kb, kc)
                dy_row = broadcast(dy)
                rows, at = min(chained, bottom + 1 - start), start * stride + x
                _slopes(features, splat, flat, size, at, stride, rows, slope)
                for row in range(rows):
                    pixel = at - offset + row * stride
                    alpha = multiply(peak, value)
                    capped = above(alpha, most)
                    alpha = choose(capped, most, alpha)
                    counts = both(at_least(alpha, least), above(load(ending, pixel + offset), place))
                    after, rest, its_slope = (
                        load(passing, pixel),
                        load(behind, pixel),
                        load(slope, row * LANES),
                    )
                    opening = divide(one, subtract(one, alpha))
                    before = multiply(after, opening)
                    weight = choose(counts, multiply(alpha, before), zero)
                    store(weights, row * LANES, weight)
                    store(passing, pixel, choose(counts, before, after))
                    store(behind, pixel, multiply_add(weight, its_slope, rest))
                    steep = subtract(multiply(before, its_slope), multiply(rest, opening))
                    weighted = choose(counts, choose(capped, zero, multiply(value, steep)), zero)
                    lever = multiply(weighted, dy_row)
                    c0, cy, cyy = add(c0, weighted), add(cy, lever), multiply_add(lever, dy_row, cyy)
                    dy_row = add(dy_row, one)
                    value, ratio = multiply(value, ratio), multiply(ratio, growth)
                for channel in range(channels):
                    color = zero
                    for row in range(rows):
                        gradient = load(flat, channel * size + at + row * stride)
                        color = multiply_add(load(weights, row * LANES), gradient, color)
                    gradients[slot, GEOMETRY + channel] += total(color)
            lever = multiply(c0, dx)
            m0, mx, mxx = add(m0, c0), add(mx, lever), multiply_add(lever, dx, mxx)
            my, mxy, myy = add(my, cy), multiply_add(cy, dx, mxy), add(myy, cyy)
        write_geometry(splat, conics, opacities[splat], (m0, mx, mxx, my, mxy, myy), gradients, slot)


@entry
def count_rows(boxes, sources=SOURCES):
    """Return `slots` (splats + 1,): splat i fills rows slots[i]..slots[i + 1] - 1, one per band it touches."""
    splats = boxes.shape[0]
    slots = np.zeros(splats + 1, np.int64)
    for splat in range(splats):
        bands = boxes[splat, 3] // BAND_ROWS - boxes[splat, 2] // BAND_ROWS + 1 if boxes[splat, 3] >= 0 else 0
        slots[splat + 1] = slots[splat] + bands
    return slots


@entry
def differentiate_alpha(
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
    transmittance,
    ends,
    slots,
    pairs,
    sources=SOURCES,
):
    """Fill the rows of `pairs` that bands first..end-1 own, from the gradients of the planes, 0 in spare columns."""
    for band in range(first, end):
        _differentiate_band(
            band,
            means,
            conics,
            opacities,
            features,
            boxes,
            lists,
            starts,
            planes,
            transmittance,
            ends,
            slots,
            pairs,
        )


@entry
def gather_rows(first, end, slots, pairs, gradients, sources=SOURCES):
    """Add up the rows that the bands wrote for splats first..end-1 into `gradients`, top band first."""
    for splat in range(first, end):
        for column in range(gradients.shape[1]):
            gathered = _ZERO
            for slot in range(slots[splat], slots[splat + 1]):
                gathered += pairs[slot, column]
            gradients[splat, column] = gathered
