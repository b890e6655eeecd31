"""What the channels of a stack show in common: the one plane that the flow sees.

A stack comes in, the weight of each channel goes out.
"""

import numpy as np

from medgs_core.arrays import Image, Plane
from medgs_core.noise import NOISE_FLOOR, estimate_noise, representative_slices
from medgs_core.slices import SliceStack

CHANNEL_STEPS = 8
"""Channels weigh in whole multiples of an eighth of the strongest: a stack with some slices left out then sees nearly
always as the whole one does, and shares its flows."""

STRUCTURE_SIGMA = 2.0
"""Pixels over which structure is averaged before it counts, so that noise counts little."""

LEAST_CORRELATION = 0.1
"""Channels whose gradients agree less than this, one way or the other, are taken to be of the same contrast."""

ChannelWeights = tuple[float, ...]
"""Weight of each channel in what the flow sees; negative where its contrast is inverted. Magnitudes add to one."""


def common_structure(stack: SliceStack) -> ChannelWeights:
    """Return the weights with which the channels of a stack show best the structure that they share.

    A channel weighs as the strength of its smoothed gradients over the variance of its noise, which is the best
    there is for one structure under independent noise. Signs are those of the leading eigenvector of the correlation of
    these gradients, so channels of opposite contrast do not cancel.
    """
    import cv2

    if stack.channels == 1:
        return (1.0,)
    covariance = np.zeros((stack.channels, stack.channels))
    for k in representative_slices(stack):
        planes = [np.ascontiguousarray(plane) for plane in np.moveaxis(stack.image(k), 2, 0)]
        smooth = [cv2.GaussianBlur(plane, (0, 0), STRUCTURE_SIGMA) for plane in planes]
        for axis in (0, 1):
            slopes = np.stack([np.diff(plane, axis=axis).ravel() for plane in smooth]).astype(np.float64)
            covariance += slopes @ slopes.T
    strength = np.sqrt(np.diag(covariance))
    if not strength.any():
        return (1.0 / stack.channels,) * stack.channels
    scale = np.where(strength > 0, strength, 1.0)
    correlation = covariance / np.outer(scale, scale)
    correlation[np.abs(correlation) < LEAST_CORRELATION] = 0.0
    leading = np.linalg.eigh(correlation)[1][:, -1]
    leading[np.abs(leading) < LEAST_CORRELATION] = 0.0
    worth = strength / (np.square(estimate_noise(stack)) + NOISE_FLOOR**2)
    # seen as the most telling channel shows it
    signs = np.where(leading * (leading[np.argmax(worth)] or 1.0) < 0, -1.0, 1.0)
    steps = np.rint(CHANNEL_STEPS * worth / worth.max())
    return tuple(float(weight) for weight in np.where(steps > 0, signs, 1.0) * steps / steps.sum())


def project(image: Image, weights: ChannelWeights) -> Plane:
    """Return what the channels show together, in [0, 1]; channels of negative weight count inverted."""
    plane = sum(np.float32(abs(w)) * (1 - image[..., c] if w < 0 else image[..., c]) for c, w in enumerate(weights))
    projected: Plane = np.asarray(plane, np.float32)
    return projected
