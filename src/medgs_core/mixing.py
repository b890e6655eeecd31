# mypy: ignore-errors
# numba types these functions, from their arguments
"""The blend of the classical methods in one pass over the pixels, where `blending` spells it out method by method.

Slices around a gap, what two flows bring, and weights come in; the blended slice goes out. So too what one flow brings,
from both slices. Numba is imported, and the kernels compiled or read from their cache, with this module.
"""

import math

import numpy as np
from numba import float32, njit

_ZERO, _ONE, _TWO, _THREE = float32(0.0), float32(1.0), float32(2.0), float32(3.0)


@njit(nogil=True, error_model="numpy", cache=True)
def meet(from_first, from_second, parts, share, judged, blend, mismatch):
    """Add what one path brings from both slices, and how much these disagree.

    Parameters
    ----------
    from_first, from_second : (height, width, channels)
        both slices, carried along the path
    parts : (2,)
        of each of them in the blend
    share
        how much the path counts
    judged : (judged,)
        weights of the first channels in the mismatch
    blend : (height, width, channels)
        is added to
    mismatch : (height, width)
        is added to
    """
    height, width, channels = blend.shape
    for row in range(height):
        one, other, sums = from_first[row].reshape(-1), from_second[row].reshape(-1), blend[row].reshape(-1)
        for i in range(width * channels):
            sums[i] += share * (parts[0] * one[i] + parts[1] * other[i])
        for x in range(width):
            differs = _ZERO
            for c in range(len(judged)):
                differs += judged[c] * abs(from_first[row, x, c] - from_second[row, x, c])
            mismatch[row, x] += share * differs


@njit(nogil=True, error_model="numpy")
def _middle_slope(outer, inner, outer_step):
    """Return the slope of PCHIP beside a slice between two gaps; see `classical`."""
    weight_outer, weight_inner = _TWO + outer_step, _ONE + _TWO * outer_step
    mean = (weight_outer + weight_inner) * outer * inner / (weight_outer * inner + weight_inner * outer)
    return mean if outer * inner > _ZERO else _ZERO


@njit(nogil=True, error_model="numpy")
def _end_slope(inner, following, following_step):
    """Return the slope of PCHIP at the end of a stack; see `classical`."""
    end = ((_TWO + following_step) * inner - following) / (_ONE + following_step)
    most = _THREE * inner
    limited = most if inner * following <= _ZERO and abs(end) > abs(most) else end
    return limited if end * inner > _ZERO else _ZERO


@njit(nogil=True, error_model="numpy")
def _fill_slopes(slopes, inner, beside, step_beside, beyond, step_beyond):
    """Fill the slopes of PCHIP at one slice beside the gap.

    From the slopes across the gap, across the next one on that side and across the one on the other side; their widths
    are 0 where there is none.
    """
    if step_beside > _ZERO:
        for i in range(len(slopes)):
            slopes[i] = _middle_slope(beside[i], inner[i], step_beside)
    elif step_beyond > _ZERO:
        for i in range(len(slopes)):
            slopes[i] = _end_slope(inner[i], beyond[i], step_beyond)
    else:
        slopes[:] = inner


@njit(nogil=True, error_model="numpy")
def _region(ratio, centers, logs):
    """Return (region, share): the pixel takes that share of the region's weights and the rest from the next one."""
    last = len(centers) - 1
    if ratio <= centers[0]:
        return 0, _ONE
    for region in range(last):
        if ratio < centers[region + 1]:
            return region, float32((logs[region + 1] - math.log(ratio)) / (logs[region + 1] - logs[region]))
    return last - 1, _ZERO


@njit(nogil=True, error_model="numpy")
def _fill_weights(weights, ratio, centers, logs, table):
    """Fill (4, width, channels) weights of the ingredients along a row."""
    _, width, channels = weights.shape
    of_channel = np.arange(channels) % len(table)
    for x in range(width):
        region, share = _region(ratio[x], centers, logs)
        rest = _ONE - share
        for c in range(channels):
            here, other = table[of_channel[c], region], table[of_channel[c], region + 1]
            for way in range(4):
                weights[way, x, c] = share * here[way] + rest * other[way]


@njit(nogil=True, error_model="numpy")
def _row(size):
    return np.empty(size, np.float32)


@njit(nogil=True, error_model="numpy")
def _add(mixed, weight, ingredient, linear):
    """Add to a row what an ingredient adds to linear."""
    for i in range(len(mixed)):
        mixed[i] += weight[i] * (ingredient[i] - linear[i])


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
        ratios that have weights of their own, at least two, increasing
    table : (channels, regions, 4)
        weights of cubic, PCHIP, straight and bent; further channels take them in turn
    out : (height, width, channels)
        the blend
    """
    width, channels = out.shape[1], out.shape[2]
    size, last = width * channels, len(images) - 1
    rise = alpha * alpha * (_THREE - _TWO * alpha)
    enter, leave = alpha * (_ONE - alpha) * (_ONE - alpha), alpha * alpha * (_ONE - alpha)
    linear, inner, before, after = _row(size), _row(size), _row(size), _row(size)
    left, right, pchip, cubic = _row(size), _row(size), _row(size), _row(size)
    weights = np.empty((4, width, channels), np.float32)
    flat = weights.reshape(4, size)
    of_cubic, of_pchip, of_straight, of_bent = flat[0], flat[1], flat[2], flat[3]
    logs, step_before, step_after = np.log(centers), steps[0], steps[1]
    # short loops over few rows, each an array of its own: those the compiler turns into vector instructions
    for row in range(first, end):
        here, there = images[k, row].reshape(size), images[k + 1, row].reshape(size)
        previous, following = images[max(k - 1, 0), row].reshape(size), images[min(k + 2, last), row].reshape(size)
        for i in range(size):
            linear[i] = (_ONE - alpha) * here[i] + alpha * there[i]
        for i in range(size):
            inner[i] = there[i] - here[i]
        for i in range(size):
            before[i] = (here[i] - previous[i]) / step_before
        for i in range(size):
            after[i] = (following[i] - there[i]) / step_after
        _fill_slopes(left, inner, before, step_before, after, step_after)
        _fill_slopes(right, inner, after, step_after, before, step_before)
        for i in range(size):
            pchip[i] = here[i] + rise * inner[i] + enter * left[i] - leave * right[i]
        cubic[:] = _ZERO
        for j in range(len(images)):
            values, weight = images[j, row].reshape(size), spline[j]
            for i in range(size):
                cubic[i] += weight * values[i]
        _fill_weights(weights, ratio[row], centers, logs, table)
        mixed = out[row].reshape(size)
        mixed[:] = linear
        _add(mixed, of_cubic, cubic, linear)
        _add(mixed, of_pchip, pchip, linear)
        _add(mixed, of_straight, straight[row].reshape(size), linear)
        _add(mixed, of_bent, bent[row].reshape(size), linear)
