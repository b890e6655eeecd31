"""Whether two volumes stand on one grid: same shape, same unit, the same places in the world.

Two volumes come in, nothing or one sentence comes out, which says what differs and by how much.
"""

import math

import numpy as np

from medgs_core.volume import Volume

GRID_TOLERANCE = 0.01
"""Part of the finest voxel side that two grids may be apart anywhere: a header's rounding is far below it, and no
interpolation could tell."""


def check_grid(first: Volume, other: Volume, rule: str, names: str) -> None:
    """Refuse a volume that does not stand where the first one does.

    Parameters
    ----------
    first, other : Volume
        Any channels and voxel types.
    rule : str
        What the caller asks for, the beginning of the sentence: "Labels must be on the grid of their image".
    names : str
        What the two are called, in their order: "the image and the labels".

    Raises
    ------
    ValueError
        If shapes or units differ, or a voxel or slice stands more than `GRID_TOLERANCE` of the finest side elsewhere.
    """
    remedy = "resample one onto the other first"
    if first.shape3d != other.shape3d:
        raise ValueError(f"{rule}, got shapes {first.shape3d} and {other.shape3d} of {names}; {remedy}.")
    if first.unit != other.unit:
        raise ValueError(f"{rule}, got the units {first.unit!r} and {other.unit!r} of {names}; correct a header.")
    apart = _distance(first, other)
    if apart > GRID_TOLERANCE * min(first.spacing):
        raise ValueError(
            f"{rule}, got affines {first.affine.tolist()} and {other.affine.tolist()} of {names}, which "
            f"are up to {apart:.3g} {first.unit} apart; {remedy}."
        )
    apart = _slices_apart(first, other)
    if apart > GRID_TOLERANCE * min(first.spacing):
        how = f"up to {apart:.3g} {first.unit} apart" if math.isfinite(apart) else "not as many"
        raise ValueError(f"{rule}, got slice positions of {names} that are {how}; give both the same ones.")


def _distance(first: Volume, other: Volume) -> float:
    """Return the largest distance between the places that two affines give a voxel: it is that of a corner."""
    ends = [(0, length - 1) for length in first.shape3d]
    corners = np.array([(i, j, k, 1) for i in ends[0] for j in ends[1] for k in ends[2]], dtype=np.float64)
    return float(np.linalg.norm((corners @ (first.affine - other.affine).T)[:, :3], axis=1).max())


def _slices_apart(first: Volume, other: Volume) -> float:
    """Return the largest distance between the positions of their slices; infinite if these are not as many."""
    ours, theirs = (np.empty(0) if volume.positions is None else volume.positions for volume in (first, other))
    return float(np.abs(ours - theirs).max(initial=0.0)) if len(ours) == len(theirs) else math.inf
