"""Solids whose fields are known everywhere, and the scans that they stand in."""

import numpy as np

from medgs_core.volume import Volume, stack_affine

LABEL_PIXELS = 3.0
"""A label field is the signed distance in pixels over this."""


class Solids:
    """Fields of labels: each from the signed distance, in world units and positive inside, at (z, y, x)."""

    def __init__(self, volume, distances, axis=0):
        self.ids = tuple(distances)
        self._distances = tuple(distances.values())
        self._depths = np.arange(volume.shape3d[axis]) * volume.spacing[axis]
        if volume.positions is not None:
            self._depths = volume.positions
        height, width = (volume.shape3d[other] for other in range(3) if other != axis)
        y_spacing, x_spacing = (volume.spacing[other] for other in range(3) if other != axis)
        self._y, self._x = np.arange(height)[:, np.newaxis] * y_spacing, np.arange(width) * x_spacing
        self._pixel = min(y_spacing, x_spacing)
        self.calls = []

    def fields(self, t):
        self.calls.append(t)
        z = np.interp(t, np.arange(len(self._depths)), self._depths)
        shape = (self._y.shape[0], len(self._x))
        distances = [np.broadcast_to(distance(z, self._y, self._x), shape) for distance in self._distances]
        return np.clip(np.stack(distances, axis=-1) / self._pixel / LABEL_PIXELS, -1.0, 1.0).astype(np.float32)


def scan(slices, height, width, spacing=(4.0, 1.0, 1.0), affine=None, **place):
    """Return a volume of which only the geometry matters, slices along axis 0."""
    affine = stack_affine(spacing) if affine is None else affine
    return Volume(np.zeros((slices, height, width), np.uint8), affine, **place)


def ball(center, radius):
    """Return the signed distance of a ball."""
    cz, cy, cx = center
    return lambda z, y, x: radius - np.sqrt((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2)


def torus(center, radius, thickness):
    """Return the signed distance of a torus around the z axis."""
    cz, cy, cx = center
    return lambda z, y, x: thickness - np.hypot(np.hypot(y - cy, x - cx) - radius, z - cz)


def left_of(edge):
    """Return the signed distance of all that has a smaller x."""
    return lambda z, y, x: edge - x


def either(*solids):
    """Return the signed distance of a union, exact outside."""
    return lambda z, y, x: np.maximum.reduce(np.broadcast_arrays(*(solid(z, y, x) for solid in solids)))
