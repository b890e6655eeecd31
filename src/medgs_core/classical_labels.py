"""The classical ways to fill a gap between annotated slices: nearest, signed distances, and ITK's contours.

An annotation comes in, label ids at any slice coordinate go out. They are the baselines of every comparison of labels.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int32, Shaped

from medgs_core.annotation import Annotation
from medgs_core.arrays import Classes, LabelPlane, Mask, Positions
from medgs_core.classical import interpolate_pchip
from medgs_core.contours import PACKAGE, fill_between, has_itk
from medgs_core.signed_distance import signed_distance

LabelMethod = Literal["nearest", "linear", "pchip", "itk"]
LABEL_METHODS: tuple[LabelMethod, ...] = ("nearest", "linear", "pchip", "itk")

Box = tuple[slice, ...]

MOST_STEPS = 48
"""Parts into which ITK may divide a gap; a place between two of them takes the nearer one."""

PLACE_TOLERANCE = 1e-6
"""Part of a gap: places that differ by less are the same slice."""

GAPS_KEPT = 4
"""Gaps that ITK has filled and that are kept, for callers that ask slice by slice."""


def available_methods() -> tuple[LabelMethod, ...]:
    """Return the methods that work here: all, or all but ITK's where it is not installed."""
    return LABEL_METHODS if has_itk() else tuple(method for method in LABEL_METHODS if method != "itk")


def interpolate_labels(annotation: Annotation, t: float, method: LabelMethod = "linear") -> LabelPlane:
    """Return the label ids at slice coordinate t by one classical method; see `interpolate_label_volume`."""
    plane: LabelPlane = interpolate_label_volume(annotation, [t], method)[0]
    return plane


def interpolate_label_volume(
    annotation: Annotation, coordinates: Sequence[float] | Positions, method: LabelMethod = "linear"
) -> Shaped[np.ndarray, "slices height width"]:
    """Return the label ids at several slice coordinates by one classical method.

    Parameters
    ----------
    annotation : Annotation
        Only its annotated slices are looked at; what is unknown there counts as background.
    coordinates : sequence of float
        Slice coordinates t in [0, slices - 1]. Annotated slices come back as stored; beyond the first and the last of
        them, the nearest one does.
    method : {'nearest', 'linear', 'pchip', 'itk'}
        Nearest takes the closer annotated slice, the earlier one half-way. Linear and PCHIP interpolate the signed
        distance of each class over physical positions (Raya and Udupa 1990; Herman, Zheng and Bucholtz 1992): the label
        is that of the largest one, background where none is positive. ITK morphs contours; see `contours`.

    Returns
    -------
    (coordinates, height, width)
        Label ids in the type of the map.

    Raises
    ------
    ValueError
        If a coordinate lies outside the stack, the method is unknown, or ITK is not installed.
    """
    _check(annotation, coordinates, method)
    out = np.zeros((len(coordinates), annotation.height, annotation.width), annotation.volume.voxels.dtype)
    ids = np.array([0, *annotation.ids], out.dtype)
    places = np.interp(coordinates, np.arange(len(annotation)), annotation.positions)
    known = annotation.positions[list(annotation.annotated)]
    gaps = (np.searchsorted(known, places, side="right") - 1).clip(0, len(known) - 2)
    for gap in np.unique(gaps):
        rows = np.flatnonzero(gaps == gap)
        fractions = ((places[rows] - known[gap]) / (known[gap + 1] - known[gap])).clip(0.0, 1.0)
        inside = np.minimum(fractions, 1.0 - fractions) > PLACE_TOLERANCE
        if method == "nearest":
            inside[:] = False
        for row, fraction in zip(rows[~inside], fractions[~inside], strict=True):
            out[row] = annotation.plane(annotation.annotated[gap + int(fraction > 1 / 2)])
        if inside.any():
            fill = _carve_contours if method == "itk" else _blend_distances
            out[rows[inside]] = ids[fill(annotation, int(gap), fractions[inside], method)]
    return out


def _check(annotation: Annotation, coordinates: Sequence[float] | Positions, method: LabelMethod) -> None:
    last = len(annotation) - 1
    for t in coordinates:
        if not 0 <= t <= last:
            raise ValueError(
                f"t must lie between the first and the last slice, 0 to {last}, got {t}; choose t in that range."
            )
    if method not in LABEL_METHODS:
        raise ValueError(f"method must be one of {', '.join(LABEL_METHODS)}, got {method!r}; choose one of them.")
    if method not in available_methods():
        raise ValueError(f"The method must be installed, got {method!r} without its package; pip install {PACKAGE}.")


def _blend_distances(
    annotation: Annotation, gap: int, fractions: Positions, method: LabelMethod
) -> Int32[np.ndarray, "places height width"]:
    """Return the classes at fractions of a gap, of the largest interpolated signed distance."""
    reach = 2 if method == "pchip" else 1
    rows = range(max(0, gap + 1 - reach), min(len(annotation.annotated), gap + 1 + reach))
    planes = [annotation.classes(annotation.annotated[row]) for row in rows]
    positions = annotation.positions[[annotation.annotated[row] for row in rows]]
    inner = gap - rows.start
    z = positions[inner] + fractions * (positions[inner + 1] - positions[inner])
    shape = (len(fractions), annotation.height, annotation.width)
    best, classes = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    boxes = [_boxes(plane, len(annotation.ids)) for plane in planes]
    for number, seen in enumerate(zip(*boxes, strict=True), start=1):
        if seen[inner] is None and seen[inner + 1] is None:
            continue  # negative on both slices, and so between them
        box = _around([side for side in seen if side is not None], shape[1:])
        fields = _distances([plane[box] == number for plane in planes], annotation.spacing, inner)[..., np.newaxis]
        for place, fraction in enumerate(fractions):
            if method == "pchip":
                value = interpolate_pchip(fields, positions, inner, float(z[place]))[..., 0]
            else:
                value = (np.float32(1 - fraction) * fields[inner] + np.float32(fraction) * fields[inner + 1])[..., 0]
            nearer = value > best[place][box]
            best[place][box][nearer] = value[nearer]
            classes[place][box][nearer] = number
    return classes


def _boxes(classes: Classes, count: int) -> list[Box | None]:
    from scipy.ndimage import find_objects

    return list(find_objects(classes.clip(min=0), count))


def _around(boxes: list[Box], shape: tuple[int, ...]) -> Box:
    """Return the box that holds all of them and a pixel around: within it, distances are those of the whole slice."""
    return tuple(
        slice(max(0, min(side.start for side in sides) - 1), min(length, max(side.stop for side in sides) + 1))
        for sides, length in zip(zip(*boxes, strict=True), shape, strict=True)
    )


def _distances(masks: list[Mask], spacing: tuple[float, float], inner: int) -> Float32[np.ndarray, "rows h w"]:
    """Return the signed distances of one class on several slices; absent, it is as far away as it is deep in the gap.

    A structure that ends in the gap then shrinks and is gone half-way (linear) or later (PCHIP). The distance of an
    absent structure is not defined, and this choice made the strongest baseline on six label maps of CT, MRI,
    microscopy and sections: mean Dice with every 2nd and every 4th slice kept

    - depth in the gap: PCHIP .867 and .819, linear .852 and .805
    - half of that: PCHIP .865 and .816, linear .853 and .799
    - diagonal of the slice: PCHIP .868 and .816, linear .852 and .768
    - all distances clipped at 10 pixels: PCHIP .863 and .809, linear .852 and .797
    """
    fields = np.stack([signed_distance(mask, spacing) for mask in masks])
    depth = fields[inner : inner + 2].max()
    for field, mask in zip(fields, masks, strict=True):
        if not mask.any():
            field[:] = -depth
    return fields


def _carve_contours(
    annotation: Annotation, gap: int, fractions: Positions, method: LabelMethod
) -> Int32[np.ndarray, "places height width"]:
    """Return the classes at fractions of a gap as ITK fills it."""
    every = np.outer(np.arange(1, MOST_STEPS + 1), fractions)
    meets = np.abs(every - np.rint(every)).max(axis=1) <= PLACE_TOLERANCE * MOST_STEPS
    steps = int(np.argmax(meets)) + 1 if meets.any() else MOST_STEPS
    filled: Int32[np.ndarray, "places height width"] = _filled_gap(annotation, gap, steps)[
        np.rint(fractions * steps).astype(int)
    ]
    return filled


@lru_cache(maxsize=GAPS_KEPT)
def _filled_gap(annotation: Annotation, gap: int, steps: int) -> Int32[np.ndarray, "slices height width"]:
    first, last = annotation.annotated[gap : gap + 2]
    return fill_between(annotation.classes(first), annotation.classes(last), steps)
