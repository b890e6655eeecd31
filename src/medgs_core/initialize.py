"""The first Gaussians of every slice: where the image has structure, of its color, moving as its flow does.

A stack with its correspondence comes in, packed rows of parameters go out; nothing is random but the jitter.
"""

import math

import numpy as np
import torch
from jaxtyping import Float64

from medgs_core.arrays import Flow, Plane, Positions
from medgs_core.correspondence import Flows
from medgs_core.model import FoldedGaussians

GRID_SHARE = 0.2
"""Share of the Gaussians on a jittered grid, so that every pixel is seen; the others follow the gradient."""

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
    """
    stack = flows.stack
    image = stack.image(k)
    density = _density(image.mean(axis=2))
    rows, columns = _sample(density, count, generator)
    pixel = (np.minimum(rows.astype(int), stack.height - 1), np.minimum(columns.astype(int), stack.width - 1))
    spacing = 1.0 / np.sqrt(max(count, 1) * density[pixel])
    scale = np.maximum(SCALE_PER_SPACING * spacing, SMALLEST_SCALE)
    drift = np.zeros((count, degree, 2), np.float32)
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


def _sample(
    density: Plane, count: int, generator: np.random.Generator
) -> tuple[Float64[np.ndarray, " count"], Float64[np.ndarray, " count"]]:
    """Return fractional (rows, columns) from the image's corner: a jittered grid, then samples of the structure."""
    height, width = density.shape
    gridded = math.ceil(GRID_SHARE * count)
    per_row = max(1, math.ceil(math.sqrt(gridded * width / height)))
    grid_rows = max(1, math.ceil(gridded / per_row))
    cell = np.arange(gridded)
    rows = (cell // per_row + generator.random(gridded)) * height / grid_rows
    columns = (cell % per_row + generator.random(gridded)) * width / per_row
    rest = count - gridded
    structure = density - density.min()
    cumulative = np.cumsum(structure if structure.any() else density, dtype=np.float64)
    # one draw per equal share of the structure: as random as needed, and no clumps
    drawn = (np.arange(rest) + generator.random(rest)) / max(rest, 1) * cumulative[-1]
    index = np.minimum(np.searchsorted(cumulative, drawn, side="right"), density.size - 1)
    return (
        np.concatenate([rows, index // width + generator.random(rest)]),
        np.concatenate([columns, index % width + generator.random(rest)]),
    )


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
