"""How much two masks have in common: Dice and intersection over union.

Two masks come in, or two label maps and an id; one number from 0 to 1 goes out.
"""

import numpy as np
from jaxtyping import Bool, Shaped

from medgs_core.arrays import Voxels

Region = Bool[np.ndarray, "..."]
"""Which voxels or pixels belong to one structure, of any shape."""


def dice(a: Voxels, b: Voxels, *, label: int | None = None) -> float:
    """Return the Dice coefficient 2 |A ∩ B| / (|A| + |B|) (Dice 1945).

    Parameters
    ----------
    a, b : same shape
        Masks, or label maps of which one label is compared.
    label : int, optional
        The label; masks need none.

    Returns
    -------
    float
        From 0 to 1. Two empty masks agree: 1, so that a structure rightly left out counts as right.

    Raises
    ------
    ValueError
        If the shapes differ, or label maps are given without a label.

    Examples
    --------
    >>> dice(np.array([0, 3, 3, 3]), np.array([3, 3, 0, 0]), label=3)
    0.4
    """
    first, second = regions(a, b, label)
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return float(2 * np.count_nonzero(first & second) / total) if total else 1.0


def iou(a: Voxels, b: Voxels, *, label: int | None = None) -> float:
    """Return intersection over union |A ∩ B| / |A ∪ B| (Jaccard 1912); parameters and empty masks as in `dice`.

    Examples
    --------
    >>> iou(np.array([True, True, True]), np.array([True, True, False])) == 2 / 3
    True
    """
    first, second = regions(a, b, label)
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def regions(a: Voxels, b: Voxels, label: int | None) -> tuple[Region, Region]:
    """Return what is compared: two masks as they are, or where two label maps hold the label."""
    if a.shape != b.shape:
        raise ValueError(f"Masks must have one shape to be compared, got {a.shape} and {b.shape}; resample one.")
    return _region(a, label), _region(b, label)


def _region(values: Shaped[np.ndarray, "..."], label: int | None) -> Region:
    if label is None and values.dtype != np.bool_:
        raise ValueError(f"Masks must be boolean, got {values.dtype} without a label; name the label to compare.")
    return np.asarray(values if label is None else values == label, np.bool_)
