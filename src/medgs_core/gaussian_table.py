"""`GaussianTable`: the Gaussians of a fitted model as numbers to show or to count, the weightiest first.

A model comes in; where each Gaussian stands in the volume, how large it is, what it shows and how much it counts goes
out. Rendering needs none of it.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from medgs_core.model import FittedModel, LabelHead
from medgs_core.slices import stack_slices

PEAK_INTEGRAL = (2.0 * math.pi) ** 1.5
"""Integral of a Gaussian of three axes, in parts of the product of its peak and its three standard deviations."""

PerGaussian = Float64[np.ndarray, " gaussians"]


@dataclass(frozen=True, eq=False)
class GaussianTable:
    """N Gaussians by falling weight.

    Attributes
    ----------
    positions : (N, 3) voxel indices in the file's order; along the slice axis the slice coordinate t
        At the slice where the Gaussian is strongest; it may lie beyond the voxels.
    in_plane : (N, 2) standard deviations in the plane in pixels, the larger one first
    across : (N,) standard deviation along the slice axis, in slices
    opacities : (N,) at the peak, in (0, 1)
    values : (N, channels) stored values, not rounded
    labels : (N,) label id, 0 for background; None where the model has no labels
    weights : (N,) opacity summed over the volume, in voxels: how much of the rendering a Gaussian has a part in
    """

    positions: Float64[np.ndarray, "gaussians 3"]
    in_plane: Float64[np.ndarray, "gaussians 2"]
    across: PerGaussian
    opacities: PerGaussian
    values: Float64[np.ndarray, "gaussians channels"]
    labels: Int64[np.ndarray, " gaussians"] | None
    weights: PerGaussian

    def __len__(self) -> int:
        """Return the number of Gaussians."""
        return len(self.weights)


def tabulate_gaussians(model: FittedModel) -> GaussianTable:
    """Return the Gaussians of a model by falling weight.

    Parameters
    ----------
    model : FittedModel
        Its measured voxels are not needed. Of a model of labels alone, values are those of the outlines.

    Examples
    --------
    >>> table = tabulate_gaussians(load_model("scan.medgs"))  # doctest: +SKIP
    >>> table.positions[table.labels == 3]  # where label 3 is made of  # doctest: +SKIP
    """
    gaussians = model.gaussians
    x, y = gaussians.position.numpy().astype(np.float64).T
    in_plane = -np.sort(-gaussians.scale.numpy().astype(np.float64), axis=1)
    across = gaussians.spread.numpy().astype(np.float64)
    opacities = gaussians.opacity.numpy().astype(np.float64)
    weights = PEAK_INTEGRAL * opacities * in_plane.prod(axis=1) * across
    order = np.argsort(-weights, kind="stable")
    rows, columns = (axis for axis in range(3) if axis != model.axis)
    positions = np.empty((len(gaussians), 3))
    positions[:, model.axis], positions[:, rows], positions[:, columns] = _slice_coordinates(model), y, x
    values = np.asarray(model.window.low) + gaussians.intensity.numpy().astype(np.float64) * model.window.width
    return GaussianTable(
        positions=positions[order],
        in_plane=in_plane[order],
        across=across[order],
        opacities=opacities[order],
        values=values[order],
        labels=None if model.labels is None else _label_ids(model.labels)[order],
        weights=weights[order],
    )


def _slice_coordinates(model: FittedModel) -> PerGaussian:
    """Return the slice coordinates t of the centers, which count only the slices that were seen."""
    centers = model.gaussians.center.numpy().astype(np.float64)
    if not model.skipped:
        return centers
    whole = stack_slices(model.volume, model.axis, model.window).positions
    seen = np.delete(whole, list(model.skipped))
    coordinates: PerGaussian = np.interp(np.interp(centers, np.arange(len(seen)), seen), whole, np.arange(len(whole)))
    beyond = centers - np.clip(centers, 0, len(seen) - 1)
    return coordinates + beyond


def _label_ids(head: LabelHead) -> Int64[np.ndarray, " gaussians"]:
    """Return the label that each Gaussian is most of, 0 where it is none."""
    values = head.values.numpy()
    ids = np.asarray(head.annotation.ids, np.int64)[values.argmax(axis=1)]
    chosen: Int64[np.ndarray, " gaussians"] = np.where(values.max(axis=1) > 0.0, ids, 0)
    return chosen
