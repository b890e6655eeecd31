"""*lattice*: the points at which a stack of slices is sampled evenly in all three directions, and their world.

In: the geometry of a volume and a spacing. Out: slice coordinates to render, slices resampled in the plane, and the
world position of every point. The lattice ends half a voxel beyond the outermost voxel centers, where voxels end.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from medgs_core.arrays import Image, Positions
from medgs_core.volume import Volume, slice_positions

SPLINE_DEGREE = 3
"""Cubic splines between pixels: smooth fields need no more, and lower degrees cut off crests."""

STEP_TOLERANCE = 1e-6
"""Part of a step by which the rounding of a header may exceed it before one more point is taken."""

MOST_POINTS = 2**30
"""Largest lattice: one field on it takes 4 GiB, and beyond it a spacing was mistyped."""

HALF_PIXEL = 0.5

Ticks = Float64[np.ndarray, " _"]
Weights = Float32[np.ndarray, "_ _"]


@dataclass(frozen=True, eq=False)
class Lattice:
    """Points along the slice axis, the rows and the columns of a stack.

    Attributes
    ----------
    coordinates : (n,) slice coordinates t of the slices to render; they reach half a gap beyond the outermost slices
    ticks : where the points lie: z in the volume's unit (n), rows (m + 2) and columns (l + 2) in pixels; first and last
        are the ends of the outermost voxels, the others lie between their centers
    weights : (m, height) and (l, width), from the pixels of a slice to its points; None where these are the pixels
    columns : (3, 3) world vectors of one unit of z, one row and one column, side by side
    origin : (3,) world position of z = row = column = 0
    """

    coordinates: Positions
    ticks: tuple[Ticks, Ticks, Ticks]
    weights: tuple[Weights | None, Weights | None]
    columns: Float64[np.ndarray, "3 3"]
    origin: Float64[np.ndarray, "3"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of points along z, rows and columns, with those at the ends of the outermost voxels."""
        z, rows, columns = (len(ticks) for ticks in self.ticks)
        return z, rows, columns

    @property
    def is_mirrored(self) -> bool:
        """Whether z, row, column form a left-handed system in the world."""
        return bool(np.linalg.det(self.columns) < 0)

    def resample(self, image: Image) -> Float32[np.ndarray, "rows columns channels"]:
        """Return a slice at the lattice's rows and columns: (m + 2, l + 2, channels), smooth between pixels."""
        by_row, by_column = self.weights
        if by_row is not None:
            image = np.tensordot(by_row, image, axes=1)
        if by_column is not None:
            image = np.matmul(by_column, image)
        return np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")  # a voxel has one value up to its end

    def place(self, indices: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 3"]:
        """Return (z, row, column) of fractional indices into the ticks; beyond the last tick it is the last."""
        axes = [np.interp(indices[:, axis], np.arange(len(ticks)), ticks) for axis, ticks in enumerate(self.ticks)]
        return np.stack(axes, axis=1)

    def to_world(self, places: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 3"]:
        """Return world (x, y, z) of (z, row, column)."""
        world: Float64[np.ndarray, "points 3"] = places @ self.columns.T + self.origin
        return world


def build_lattice(volume: Volume, axis: int, spacing: float | None = None) -> Lattice:
    """Return the lattice that samples a volume no more coarsely than asked.

    From the first voxel center to the last, points are evenly spaced: exactly by the spacing where it divides that
    length, a little finer elsewhere.

    Parameters
    ----------
    volume : Volume
        Only its geometry is looked at.
    axis : int
        Slice axis in the file's order.
    spacing : float, optional
        Largest distance between points in the volume's unit; the finest spacing of the volume if not given.

    Raises
    ------
    ValueError
        If there would be more points than memory holds.
    """
    z = slice_positions(volume, axis)
    in_plane = [other for other in range(3) if other != axis]
    spacing = spacing or finest_spacing(volume, axis)
    height, width = (volume.shape3d[other] for other in in_plane)
    lengths = [z[-1] - z[0], *((volume.shape3d[other] - 1) * volume.spacing[other] for other in in_plane)]
    counts = [_points_along(length, spacing) for length in lengths]
    _check_size(counts, spacing, volume.unit)
    depths, rows, columns = (
        np.linspace(first, last, count)
        for first, last, count in zip((z[0], 0.0, 0.0), (z[-1], height - 1.0, width - 1.0), counts, strict=True)
    )
    gaps = np.diff(z) if len(z) > 1 else np.array([volume.spacing[axis]])
    slice_vector = volume.affine[:3, axis] / volume.spacing[axis]
    before, after = _beyond(gaps[0] / 2, spacing)[::-1], _beyond(gaps[-1] / 2, spacing)
    inside = np.interp(depths, z, np.arange(len(z)))
    return Lattice(
        coordinates=np.concatenate([-before / gaps[0], inside, len(z) - 1 + after / gaps[-1]]),
        ticks=(
            np.concatenate([z[0] - before, depths, z[-1] + after]),
            _with_ends(rows, HALF_PIXEL, HALF_PIXEL),
            _with_ends(columns, HALF_PIXEL, HALF_PIXEL),
        ),
        weights=(_spline_weights(rows, height), _spline_weights(columns, width)),
        columns=np.stack([slice_vector, *(volume.affine[:3, other] for other in in_plane)], axis=1),
        # the first slice stands where the affine puts it, whatever its position is called
        origin=volume.affine[:3, 3] - z[0] * slice_vector,
    )


def finest_spacing(volume: Volume, axis: int) -> float:
    """Return the finest in-plane spacing, or the usual gap between slices where that is finer."""
    z = slice_positions(volume, axis)
    in_plane = [spacing for other, spacing in enumerate(volume.spacing) if other != axis]
    return min(*in_plane, float(np.median(np.diff(z))) if len(z) > 1 else math.inf)


def _points_along(length: float, spacing: float) -> int:
    return math.ceil(length / spacing - STEP_TOLERANCE) + 1 if length > 0 else 1


def _beyond(length: float, spacing: float) -> Ticks:
    """Return how far the points beyond the last voxel center lie from it, the last one at the voxel's end."""
    points: Ticks = np.linspace(0.0, length, max(2, _points_along(length, spacing)))[1:]
    return points


def _check_size(counts: list[int], spacing: float, unit: str) -> None:
    points = math.prod(counts)
    if points > MOST_POINTS:
        msg = (
            f"spacing must give at most {MOST_POINTS:,} points, got {points:,} for {spacing:g} {unit}; "
            "take a larger spacing"
        )
        raise ValueError(msg)


def _with_ends(points: Ticks, before: float, after: float) -> Ticks:
    return np.concatenate([points[:1] - before, points, points[-1:] + after])


def _spline_weights(points: Ticks, pixels: int) -> Weights | None:
    """Return what each pixel counts in the spline through all of them at each point; None if points are pixels."""
    if len(points) == pixels:
        return None
    from scipy.interpolate import make_interp_spline

    degree = min(SPLINE_DEGREE, pixels - 1)
    weights: Weights = make_interp_spline(np.arange(pixels), np.eye(pixels), k=degree)(points).astype(np.float32)
    return weights
