"""Label maps of disks that travel, grow and end, and what carries them."""

import numpy as np

from medgs_core.annotation import annotate
from medgs_core.cache import RecentlyUsed
from medgs_core.correspondence import VARIANTS, Correspondence, Flows
from medgs_core.outlines import Outlines
from medgs_core.propagation import Propagation
from medgs_core.volume import Volume, stack_affine

from ._stacks import stack_of

HEIGHT, WIDTH = 40, 56
MEMORY = 2**26
"""Bytes, enough for all that a small map needs."""

STRAIGHT, ALONG_OUTLINES = (1.0, 0.0), (0.0, 1.0)
"""Weights of the ways where there is no image."""


def disk(x, y=HEIGHT / 2, radius=6.0, height=HEIGHT, width=WIDTH):
    """Return the mask of a disk."""
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def label_map(planes, dtype=np.uint8, spacing=(3.0, 1.0, 1.0), **place):
    """Return masks or planes of ids as a label map with slices along axis 0."""
    return Volume(np.asarray(planes, dtype), stack_affine(spacing), **place)


def outlines_of(planes, rows="all", **place):
    """Return the outlines of the annotated slices of a map."""
    annotation = annotate(label_map(planes, **place), 0, labeled_slices=rows)
    return Outlines(annotation, RecentlyUsed(MEMORY))


def propagation_of(planes, rows="all", chains=None, **place):
    """Return what carries the annotated slices of a map."""
    return Propagation(outlines_of(planes, rows, **place), chains)


def shape_at(propagation, z, weights, label=0):
    """Return where a class is at position z, and nowhere if it cannot be there."""
    classes, fields = propagation.fields(z, weights)
    shape = fields.shape[1:]
    return fields[list(classes).index(label)] > 0 if label in classes else np.zeros(shape, bool)


class Shifting(Flows):
    """Flows of slices whose content travels by (dx, dy) pixels from each to the next, the same or one for each gap."""

    def __init__(self, steps, slices=None, flow="supple", positions=None, height=HEIGHT, width=WIDTH):
        self.steps = np.broadcast_to(steps, (len(steps) if slices is None else slices - 1, 2))
        self.asked = []
        images = np.zeros((len(self.steps) + 1, height, width, 1))
        super().__init__(stack_of(images, positions), flow, RecentlyUsed(MEMORY), (1.0,))

    def across(self, first, second):
        self.asked.append((first, second))
        step = self.steps[first:second].sum(axis=0)
        shape = (len(VARIANTS[self.flow]), self.stack.height, self.stack.width, 2)
        field = np.broadcast_to(step, shape).astype(np.float16)
        return Correspondence(field, -field)
