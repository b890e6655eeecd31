"""The first Gaussians of every slice: where the image has structure, of its color, moving as its flow does.

A stack with its correspondence comes in, packed rows of parameters go out; nothing is random but the jitter.
"""

import math

import numpy as np
import torch
from jaxtyping import Float64

from medgs_core.arrays import Flow, Plane, Positions
from medgs_core.channels import project
from medgs_core.correspondence import Flows
from medgs_core.model import FoldedGaussians

Coordinates = Float64[np.ndarray, " count"]

GRID_SHARE = 0.2
"""Share of the Gaussians on a jittered grid, so that every pixel is seen; the others follow the gradient."""

GRID_JITTER = 0.25
"""Share of its cell's sides that a Gaussian of the grid may lie in."""

COVERING_SCALE = 0.33
"""Smallest scale of a Gaussian of the grid over the side of its cell: the farthest corner, 0.88 sides away, is then
within 2.7 scales, where neither rendering rule has dropped it. Smaller ones on edges would leave black holes."""

FIRST_SPREAD = 0.85
"""Slices; between 0.7 and 1 the held-out error is flat, below 0.5 slices do not share, above they blur."""

SCALE_PER_SPACING = 0.45
"""In-plane standard deviation over the local distance between Gaussians: less leaves holes, more blurs."""

SMALLEST_SCALE = 0.5
"""Pixels; a Gaussian below it falls between pixel centers."""

DRIFT_SIGMA = 1.0
"""Pixels over which the flow is averaged before a Gaussian takes it."""


def seed_slice(
    flows: Flows,
    k: int,
    coordinates: Positions,
    count: int,
    degree: int,
    generator: np.random.Generator,
    *,
    moving: bool = True,
) -> FoldedGaussians:
    """Return the Gaussians that slice k of a stack gets.

    Parameters
    ----------
    flows : Flows
        The correspondence of the stack: drift starts as half the difference of the flows to both neighbors.
    k : int
        The slice.
    coordinates : (slices,)
        Coordinate of each slice in the model; other than 0, 1, 2.. where the stack leaves slices out.
    count : int
        Number of Gaussians.
    degree : int
        Degree of the path; all terms but the first start at zero.
    generator : numpy Generator
        For the jitter.
    moving : bool
        Whether they start to drift as the flow does, for which it must be known.
    """
    stack = flows.stack
    image = stack.image(k)
    density = _density(project(image, flows.channel_weights))
    gridded = math.ceil(GRID_SHARE * count)
    grid_rows, grid_columns, cell = _grid(density.shape, gridded, generator)
    drawn_rows, drawn_columns = _draw(density, count - gridded, generator)
    rows, columns = np.concatenate([grid_rows, drawn_rows]), np.concatenate([grid_columns, drawn_columns])
    pixel = (np.minimum(rows.astype(int), stack.height - 1), np.minimum(columns.astype(int), stack.width - 1))
    spacing = 1.0 / np.sqrt(max(count, 1) * density[pixel])
    scale = np.maximum(SCALE_PER_SPACING * spacing, SMALLEST_SCALE)
    scale[:gridded] = np.maximum(scale[:gridded], COVERING_SCALE * cell)
    drift = np.zeros((count, degree, 2), np.float32)
    if moving:
        drift[:, 0] = _motion(flows, k, coordinates)[pixel]
    return FoldedGaussians(
        # samples count from the pixel's edge, positions from its center
        position=torch.from_numpy(np.stack([columns, rows], axis=1).astype(np.float32) - np.float32(0.5)),
        center=torch.full((count,), float(coordinates[k])),
        log_spread=torch.full((count,), math.log(FIRST_SPREAD)),
        drift=torch.from_numpy(drift),
        log_scale=torch.from_numpy(np.log(scale).astype(np.float32))[:, None].repeat(1, 2),
        angle=torch.zeros(count),
        logit_opacity=torch.zeros(count),
        intensity=torch.from_numpy(image[pixel]),
    )


def _density(plane: Plane) -> Plane:
    """Return the share of the Gaussians per pixel, adding to one."""
    gradient = np.hypot(*np.gradient(plane)) if min(plane.shape) > 1 else np.zeros_like(plane)
    total = float(gradient.sum())
    uniform = np.float32(1.0 / plane.size)
    if total == 0.0:
        return np.full_like(plane, uniform)
    return (GRID_SHARE * uniform + (1.0 - GRID_SHARE) / total * gradient).astype(np.float32)


def _grid(shape: tuple[int, ...], count: int, generator: np.random.Generator) -> tuple[Coordinates, Coordinates, float]:
    """Return fractional (rows, columns) from the image's corner, one per cell, and the longest side of a cell."""
    height, width = shape
    lines = min(max(1, math.floor(math.sqrt(count * height / width))), max(1, count))
    cell = np.arange(count)
    line = cell * lines // max(count, 1)  # lines whose cells differ by one at most leave no gap at the end
    cells = np.bincount(line, minlength=lines)
    place = cell - (np.cumsum(cells) - cells)[line]
    row_jitter, column_jitter = 0.5 + GRID_JITTER * (generator.random((2, count)) - 0.5)
    rows = (line + row_jitter) * height / lines
    columns = (place + column_jitter) * width / cells[line]
    return rows, columns, max(height / lines, width / max(1, int(cells.min())))


def _draw(density: Plane, count: int, generator: np.random.Generator) -> tuple[Coordinates, Coordinates]:
    """Return fractional (rows, columns) from the image's corner, dense where the structure is."""
    width = density.shape[1]
    structure = density - density.min()
    cumulative = np.cumsum(structure if structure.any() else density, dtype=np.float64)
    # one draw per equal share of the structure: as random as needed, and no clumps
    drawn = (np.arange(count) + generator.random(count)) / max(count, 1) * cumulative[-1]
    index = np.minimum(np.searchsorted(cumulative, drawn, side="right"), density.size - 1)
    return index // width + generator.random(count), index % width + generator.random(count)


def _motion(flows: Flows, k: int, coordinates: Positions) -> Flow:
    """Return the displacement per unit of t at slice k, in pixels: mean of both sides, one-sided at the ends."""
    import cv2

    sides = []
    if k + 1 < len(flows.stack):
        ahead = flows.between(k).forward.astype(np.float32).mean(axis=0)
        sides.append(ahead / np.float32(coordinates[k + 1] - coordinates[k]))
    if k > 0:
        behind = flows.between(k - 1).backward.astype(np.float32).mean(axis=0)
        sides.append(behind / np.float32(coordinates[k - 1] - coordinates[k]))
    motion: Flow = cv2.GaussianBlur(np.mean(sides, axis=0), (0, 0), DRIFT_SIGMA)
    return motion
