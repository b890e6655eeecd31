"""*phantom*: synthetic anatomy whose true slice is known at every position.

In: a shape and a generator. Out: ellipses that move and deform across slices, and volumes sampled from them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from medgs_core.arrays import Plane, Positions, Voxels
from medgs_core.volume import IntensityWindow, Volume, stack_affine

FULL_SCALE = 4000.0
"""Stored value of unit intensity: 12 bits, as most scanners give."""

BACKGROUND = 0.1
"""Unit intensity outside the body: not 0, so that noise is not cut off at the bottom of the range."""

BODY_INTENSITY = 0.3
EDGE_PIXELS = 1.0
"""Width of the smooth edges: sharper ones would alias, and no slice position could be predicted exactly."""

SPACING_ZYX_MM = (3.0, 0.8, 0.8)
"""Spacing of the thick slices and of the pixels, as in a clinical scan."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """E soft ellipses inside one body, each a smooth function of the slice coordinate t.

    Attributes
    ----------
    height, width : pixels of a slice
    center : (E, 2) pixels, (x, y) at t = 0
    velocity : (E, 2) pixels per slice
    sway : (E, 2) pixels, amplitude of the periodic part of the path
    radius : (E, 2) pixels, half axes
    swelling : (E,) relative amplitude with which the half axes change
    angle, turning : (E,) radians, and radians per slice
    phase, period : (E,) radians, and slices, of sway and swelling
    intensity : (E,) unit intensity
    """

    height: int
    width: int
    center: Float64[np.ndarray, "ellipses 2"]
    velocity: Float64[np.ndarray, "ellipses 2"]
    sway: Float64[np.ndarray, "ellipses 2"]
    radius: Float64[np.ndarray, "ellipses 2"]
    swelling: Float64[np.ndarray, " ellipses"]
    angle: Float64[np.ndarray, " ellipses"]
    turning: Float64[np.ndarray, " ellipses"]
    phase: Float64[np.ndarray, " ellipses"]
    period: Float64[np.ndarray, " ellipses"]
    intensity: Float64[np.ndarray, " ellipses"]

    def slice_at(self, t: float) -> Plane:
        """Return the true slice at slice coordinate t, any real number, in unit intensities."""
        y, x = np.mgrid[: self.height, : self.width].astype(np.float64)
        plane = np.full((self.height, self.width), BACKGROUND)
        wave = np.sin(2.0 * np.pi * t / self.period + self.phase)
        centers = self.center + t * self.velocity + wave[:, None] * self.sway
        radii = self.radius * (1.0 + self.swelling * wave)[:, None]
        angles = self.angle + t * self.turning
        for center, radius, angle, intensity in zip(centers, radii, angles, self.intensity, strict=True):
            dx, dy = x - center[0], y - center[1]
            along = (np.cos(angle) * dx + np.sin(angle) * dy) / radius[0]
            across = (np.cos(angle) * dy - np.sin(angle) * dx) / radius[1]
            inside = (1.0 - np.hypot(along, across)) * radius.min() / EDGE_PIXELS  # about pixels from the rim
            cover = 0.5 * (1.0 + np.tanh(inside))
            plane += cover * (intensity - plane)
        return plane.astype(np.float32)

    def slices_at(self, positions: Positions) -> Float32[np.ndarray, "slices height width"]:
        """Return the true slices at several slice coordinates, in unit intensities."""
        return np.stack([self.slice_at(float(t)) for t in positions])


@dataclass(frozen=True, eq=False)
class Phantom:
    """A thick-slice scan, the truth at `factor` times as many positions, and the anatomy behind both.

    Attributes
    ----------
    thick : Volume
        (slices, height, width) uint16, with noise if asked for: what a scanner would give.
    dense : Volume
        ((slices - 1) * factor + 1, height, width) uint16, free of noise; slice i stands at t = i / factor.
    anatomy : Anatomy
        True at every position.
    factor : int
        Dense slices per thick slice.
    """

    thick: Volume
    dense: Volume
    anatomy: Anatomy
    factor: int


def draw_anatomy(height: int, width: int, slices: int, generator: np.random.Generator, organs: int = 6) -> Anatomy:
    """Return a body that fills most of the image and smaller ellipses that travel through it."""
    size = np.array([width, height], dtype=np.float64)
    middle = (size - 1.0) / 2.0
    count = organs + 1  # the body comes first, so the others are painted over it
    center = middle + generator.uniform(-0.22, 0.22, (count, 2)) * size
    velocity = generator.uniform(-0.12, 0.12, (count, 2)) * size / max(slices - 1, 1)
    sway = generator.uniform(-0.04, 0.04, (count, 2)) * size
    radius = generator.uniform(0.06, 0.14, (count, 2)) * size
    intensity = generator.uniform(0.45, 0.95, count)
    center[0], velocity[0], sway[0], radius[0], intensity[0] = middle, 0.0, 0.0, 0.42 * size, BODY_INTENSITY
    return Anatomy(
        height=height,
        width=width,
        center=center,
        velocity=velocity,
        sway=sway,
        radius=radius,
        swelling=generator.uniform(0.0, 0.15, count),
        angle=generator.uniform(0.0, np.pi, count) * (np.arange(count) > 0),
        turning=generator.uniform(-0.5, 0.5, count) * (np.arange(count) > 0) / max(slices - 1, 1),
        phase=generator.uniform(0.0, 2.0 * np.pi, count),
        period=generator.uniform(0.8, 1.6, count) * max(slices - 1, 1),
        intensity=intensity,
    )


def drifting_phantom(
    shape: tuple[int, int, int], generator: np.random.Generator, *, factor: int = 4, noise: float = 0.0
) -> Phantom:
    """Return a thick-slice scan of drifting ellipses, with its truth.

    Parameters
    ----------
    shape : tuple of int
        Slices, height and width of the thick scan.
    generator : numpy.random.Generator
        Draws the anatomy, then the noise.
    factor : int
        Dense slices per thick slice, at least 1.
    noise : float
        Standard deviation of the noise in the thick scan, in unit intensities.

    Raises
    ------
    ValueError
        If the shape, the factor or the noise is out of range.

    Examples
    --------
    >>> phantom = drifting_phantom((5, 32, 48), np.random.default_rng(0), factor=2)
    >>> phantom.thick.voxels.shape, phantom.dense.voxels.shape, phantom.dense.spacing
    ((5, 32, 48), (9, 32, 48), (1.5, 0.8, 0.8))
    """
    if min(shape) < 1:
        raise ValueError(f"A phantom must have at least one voxel along every axis, got shape {shape}; enlarge it.")
    if factor < 1:
        raise ValueError(f"The factor must be at least 1, got {factor}; take 1 for no slices in between.")
    if noise < 0.0:
        raise ValueError(f"The noise must not be negative, got {noise}; take 0 for none.")
    slices, height, width = shape
    anatomy = draw_anatomy(height, width, slices, generator)
    truth = anatomy.slices_at(np.arange((slices - 1) * factor + 1) / factor)
    measured = truth[::factor] + noise * generator.standard_normal(shape)
    z, y, x = SPACING_ZYX_MM
    return Phantom(
        thick=Volume(_stored(measured), stack_affine((z, y, x))),
        dense=Volume(_stored(truth), stack_affine((z / factor, y, x))),
        anatomy=anatomy,
        factor=factor,
    )


def _stored(unit: Float32[np.ndarray, "s h w"] | Float64[np.ndarray, "s h w"]) -> Voxels:
    return IntensityWindow(0.0, FULL_SCALE).to_stored(unit, np.dtype(np.uint16))
