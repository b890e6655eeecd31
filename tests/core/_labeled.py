"""A scan whose content travels, with label maps drawn on it, and what is true of them between the slices."""

import numpy as np

from medgs_core.overlap import dice
from medgs_core.volume import Volume, stack_affine

from ._annotations import HEIGHT, WIDTH, disk
from ._fits import settings
from ._stacks import drifting_blobs

SLICES = 9
STEP = 3.0
"""Pixels that all content travels from slice to slice: as far as a structure is wide from one annotated slice to the
next."""

ANNOTATED = (0, 4, 8)
IDS = (3, 40)
AFFINE = stack_affine((3.0, 0.8, 0.8))
FULL_SCALE = 3000


def truth_at(t):
    """Return the label ids at slice coordinate t."""
    return IDS[0] * disk(16 + STEP * t, 13) + IDS[1] * disk(14 + STEP * t, 29, radius=5)


def moving_scan(**place):
    """Return the image, slices along axis 0."""
    images = drifting_blobs(SLICES, STEP, height=HEIGHT, width=WIDTH)[..., 0]
    return Volume(np.rint(FULL_SCALE * images).astype(np.uint16), **{"affine": AFFINE, **place})


def drawn(slices=ANNOTATED, dtype=np.uint8, ids=IDS, **place):
    """Return the map with labels on some slices."""
    voxels = np.zeros((SLICES, HEIGHT, WIDTH), dtype)
    for k in slices:
        plane = truth_at(k)
        for usual, own in zip(IDS, ids, strict=True):
            voxels[k][plane == usual] = own
    return Volume(voxels, **{"affine": AFFINE, **place})


def quick(**changes):
    """Return settings of a fit in a fraction of a second, whose Gaussians are small enough to know the structures."""
    return settings(**{"preset": "fast", "steps": 18, "gaussians": 900, **changes})


def mean_dice(render, coordinates):
    """Return how well planes of ids agree with the truth, averaged over slices and labels."""
    return float(np.mean([dice(render(float(t)), truth_at(t), label=label) for t in coordinates for label in IDS]))


BETWEEN = tuple(t for t in range(SLICES) if t not in ANNOTATED)
