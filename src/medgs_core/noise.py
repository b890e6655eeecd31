"""How much noise the channels of a stack carry, and how much each should then count in a sum of squared errors.

A stack of slices comes in; a standard deviation or a weight per channel goes out.
"""

import numpy as np
from jaxtyping import Float32, Float64

from medgs_core.slices import SliceStack

SLICES_SAMPLED = 8
"""Evenly spread slices that tell what the channels are like."""

NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 3.0
"""Takes noise of standard deviation s to 2 s. A difference of differences, which ramps and most edges leave alone."""

UNIT_MEDIAN = 1.35
"""Median of the magnitude of what `NOISE_KERNEL` makes of unit noise."""

NOISE_FLOOR = 0.03
"""In unit intensities: channels with less noise than this are equally good."""


def representative_slices(stack: SliceStack) -> list[int]:
    """Return the slices that tell what the channels of a stack are like, in order."""
    return sorted({round(k) for k in np.linspace(0, len(stack) - 1, SLICES_SAMPLED)})


def estimate_noise(stack: SliceStack) -> Float64[np.ndarray, " channels"]:
    """Return the standard deviation of each channel's noise, in unit intensities, as a few slices show it."""
    import cv2

    chosen = representative_slices(stack)
    noise: Float64[np.ndarray, " channels"] = np.zeros(stack.channels)
    for k in chosen:
        for c, plane in enumerate(np.moveaxis(stack.image(k), 2, 0)):
            rough = cv2.filter2D(np.ascontiguousarray(plane), -1, NOISE_KERNEL)
            noise[c] += np.median(np.abs(rough)) / UNIT_MEDIAN / len(chosen)
    return noise


def weigh_channels(stack: SliceStack) -> Float32[np.ndarray, " channels"]:
    """Return how much the squared error of each channel counts: 1 for the one with least noise, less for others.

    Inversely as the variance of the noise, floor included, which is best where errors are noise: what is left of them
    is the same in every channel.
    """
    if stack.channels == 1:
        return np.ones(1, np.float32)
    variance = np.square(estimate_noise(stack)) + NOISE_FLOOR**2
    weights: Float32[np.ndarray, " channels"] = (variance.min() / variance).astype(np.float32)
    return weights
