"""Small stacks of slices whose content between the slices is known."""

import numpy as np
from scipy.ndimage import gaussian_filter

from medgs_core.blending import AGREEMENT_CENTERS, INGREDIENTS, BlendWeights
from medgs_core.correspondence import Flows
from medgs_core.evidence import gather_evidence, solve_blend
from medgs_core.slices import SliceStack
from medgs_core.volume import IntensityWindow

UNEVEN = np.array([0.0, 0.7, 2.2, 2.9, 4.6, 5.0, 6.5])
"""Slice positions with gaps from 0.4 to 1.7."""

UNIT_WINDOW = IntensityWindow(0.0, 1.0)
"""Stored values are unit intensities, so a float32 slice comes back bit by bit."""

MARGIN = 10
"""Pixels left out at the border, where what moved in was not in the other slice."""

FLOAT32 = 2e-6
"""A dozen float32 operations on values of order 1."""

REGIONS, KINDS = len(AGREEMENT_CENTERS), len(INGREDIENTS)
EVENLY = (0.5, 0.5)


def stack_of(images, positions=None):
    """Return a stack of float32 images, at 0, 1, 2.. if no positions are given."""
    planes = np.asarray(images, np.float32)
    places = np.arange(len(planes)) if positions is None else positions
    return SliceStack(planes, np.asarray(places, np.float64), UNIT_WINDOW)


def flows_of(images, positions=None, flow="both"):
    """Return the flows of a stack of images."""
    return Flows(stack_of(images, positions), flow)


def table_of(*weights):
    """Return the same weights of the ingredients in all regions of one channel."""
    return BlendWeights(np.tile(np.array(weights, np.float32), (1, REGIONS, 1)))


def random_images(slices, height=9, width=7, channels=2, seed=0):
    """Return white noise in [0, 1]: nothing about one slice follows from another."""
    return np.random.default_rng(seed).random((slices, height, width, channels), dtype=np.float32)


def blobs(shift_x=0.0, shift_y=0.0, height=64, width=72):
    """Return a smooth one-channel image in [0, 1], its content moved by (shift_x, shift_y) pixels."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    generator = np.random.default_rng(3)
    image = np.zeros((height, width))
    for _ in range(40):
        center_x, center_y = generator.uniform(-10, width + 10), generator.uniform(-10, height + 10)
        radius, intensity = generator.uniform(4, 8), generator.uniform(0.2, 0.6)
        distance = (x - center_x - shift_x) ** 2 + (y - center_y - shift_y) ** 2
        image += intensity * np.exp(-distance / (2 * radius**2))
    return (image / 2.5)[..., np.newaxis].astype(np.float32)


def drifting_blobs(slices, step_x, step_y=0.0, **size):
    """Return blobs that travel by (step_x, step_y) pixels from slice to slice."""
    return np.stack([blobs(k * step_x, k * step_y, **size) for k in range(slices)])


def drifting_texture(step):
    """Return a function of t: a fine random pattern (64, 64, 1) that travels by `step` pixels per slice.

    It moves by whole pixels at every whole `step * t`, so the truth between slices is exact. Its grain, 2 pixels, is
    less than what it travels: interpolation straight along the axis must fail.
    """
    size, slices = 64, 10
    noise = np.random.default_rng(0).standard_normal((size, size + slices * step))
    wide = gaussian_filter(noise, 2.0, mode="wrap")
    wide = np.clip(0.5 + 0.2 * wide / wide.std(), 0, 1).astype(np.float32)[..., np.newaxis]
    return lambda t: wide[:, round(t * step) : round(t * step) + size]


def inner(field):
    """Return a field (.. height width channels) without its margin."""
    return field[..., MARGIN:-MARGIN, MARGIN:-MARGIN, :]


def learn_blend(flows):
    """Return the weights with which a stack predicts its own inner slices best."""
    return solve_blend(gather_evidence(flows), flows.stack.channels)
