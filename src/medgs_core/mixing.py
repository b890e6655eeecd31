# mypy: ignore-errors
# numba types these functions, from their arguments
"""The blend of the classical methods in one pass over the pixels, where `blending` spells it out method by method.

Slices around a gap, what two flows bring, and weights come in; the blended slice goes out. Numba is imported, and the
kernel compiled or read from its cache, with this module.
"""

import math

import numpy as np
from numba import float32, njit

_ZERO, _ONE, _TWO, _THREE = float32(0.0), float32(1.0), float32(2.0), float32(3.0)


@njit(nogil=True, error_model="numpy")
def _middle_slope(outer, inner, outer_step):
    """Return the slope of PCHIP beside a slice between two gaps; see `classical`."""
    if outer * inner <= _ZERO:
        return _ZERO
    weight_outer, weight_inner = _TWO + outer_step, _ONE + _TWO * outer_step
    return (weight_outer + weight_inner) * outer * inner / (weight_outer * inner + weight_inner * outer)


@njit(nogil=True, error_model="numpy")
def _end_slope(inner, following, following_step):
    """Return the slope of PCHIP at the end of a stack; see `classical`."""
    end = ((_TWO + following_step) * inner - following) / (_ONE + following_step)
    if end * inner <= _ZERO:
        return _ZERO
    if inner * following <= _ZERO and abs(end) > _THREE * abs(inner):
        return _THREE * inner
    return end


@njit(nogil=True, error_model="numpy")
def _region(ratio, centers):
    """Return (region, share): the pixel takes that share of the region's weights and the rest from the next one."""
    last = len(centers) - 1
    place = math.log(ratio) if ratio > _ZERO else centers[0]
    if place <= centers[0]:
        return 0, _ONE
    for region in range(last):
        if place < centers[region + 1]:
            return region, float32((centers[region + 1] - place) / (centers[region + 1] - centers[region]))
    return last - 1, _ZERO


@njit(nogil=True, error_model="numpy", cache=True)
def mix_rows(first, end, images, spline, k, alpha, steps, straight, bent, ratio, centers, table, out):
    """Fill rows first..end-1 of the blend.

    Parameters
    ----------
    first, end
        rows of the image
    images : (slices, height, width, channels)
        what is blended, at k and k + 1 beside the gap
    spline : (slices,)
        weight of each slice in the cubic spline
    k, alpha
        gap, and fraction of it
    steps : (2,)
        widths of the gaps before and after, in units of this one; 0 where there is none
    straight, bent : (height, width, channels)
        what the two flows bring
    ratio : (height, width)
        agreement of the neighbors
    centers : (regions,)
        logarithms of the ratios that have weights of their own, at least two
    table : (channels, regions, 4)
        weights of cubic, PCHIP, straight and bent; further channels take them in turn
    out : (height, width, channels)
        the blend
    """
    width, channels = out.shape[1], out.shape[2]
    cubic = np.empty((width, channels), np.float32)
    rise = alpha * alpha * (_THREE - _TWO * alpha)
    enter, leave = alpha * (_ONE - alpha) * (_ONE - alpha), alpha * alpha * (_ONE - alpha)
    for row in range(first, end):
        cubic[:] = _ZERO
        for j in range(len(images)):
            weight = spline[j]
            for x in range(width):
                for c in range(channels):
                    cubic[x, c] += weight * images[j, row, x, c]
        for x in range(width):
            region, share = _region(ratio[row, x], centers)
            for c in range(channels):
                here, there = images[k, row, x, c], images[k + 1, row, x, c]
                slope = there - here
                left = right = slope
                before = after = _ZERO
                if steps[0] > _ZERO:
                    before = (here - images[k - 1, row, x, c]) / steps[0]
                if steps[1] > _ZERO:
                    after = (images[k + 2, row, x, c] - there) / steps[1]
                if steps[0] > _ZERO:
                    left = _middle_slope(before, slope, steps[0])
                elif steps[1] > _ZERO:
                    left = _end_slope(slope, after, steps[1])
                if steps[1] > _ZERO:
                    right = _middle_slope(after, slope, steps[1])
                elif steps[0] > _ZERO:
                    right = _end_slope(slope, before, steps[0])
                linear = (_ONE - alpha) * here + alpha * there
                pchip = here + rise * slope + enter * left - leave * right
                weights, others = table[c % len(table), region], table[c % len(table), region + 1]
                rest = _ONE - share
                value = linear
                value += (share * weights[0] + rest * others[0]) * (cubic[x, c] - linear)
                value += (share * weights[1] + rest * others[1]) * (pchip - linear)
                value += (share * weights[2] + rest * others[2]) * (straight[row, x, c] - linear)
                value += (share * weights[3] + rest * others[3]) * (bent[row, x, c] - linear)
                out[row, x, c] = value
