"""`Annotation`: a label map as annotated slices.

A label map and its slice axis come in, with the image it was drawn on if there is one. Out: which slices count as
annotated, which classes there are, and the class of every pixel of a slice.
"""

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np
from jaxtyping import Bool

from medgs_core.arrays import Classes, LabelPlane, Positions, Voxels
from medgs_core.grid import check_grid
from medgs_core.volume import Volume, slice_positions

UNKNOWN, BACKGROUND = -1, 0
"""Classes of a pixel that nobody labeled, and of one that belongs to nothing."""

LEAST_ANNOTATED = 2
"""One slice says nothing of how a structure goes on."""

RUN = 3
"""Slices that follow one another are named by the first and the last from this many on."""

MOST_NAMED = 12
"""Runs of slices named one by one in a message."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """Labeled slices in order along the slice axis, some or all of them annotated.

    Attributes
    ----------
    volume : labels as stored, (i, j, k), whole numbers; background is 0
    axis : slice axis in the file's order
    positions : (slices,) physical z of all slices in the file's unit, strictly increasing
    annotated : numbers of the slices that count as annotated, increasing; nothing is known of the others
    ids : the classes 1 .. K, increasing: all labels on annotated slices but background and `unlabeled`
    unlabeled : the label of pixels that nobody labeled, None where all pixels of annotated slices are
    """

    volume: Volume
    axis: int
    positions: Positions
    annotated: tuple[int, ...]
    ids: tuple[int, ...]
    unlabeled: int | None = None

    def __len__(self) -> int:
        """Return the number of slices, annotated or not."""
        return len(self.positions)

    @property
    def height(self) -> int:
        """Rows of a slice, in pixels."""
        return int(self.plane(0).shape[0])

    @property
    def width(self) -> int:
        """Columns of a slice, in pixels."""
        return int(self.plane(0).shape[1])

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance between neighboring rows and between neighboring columns, in the file's unit."""
        row, column = np.delete(self.volume.spacing, self.axis).tolist()
        return row, column

    @property
    def reason(self) -> str:
        """Which slices count as annotated, in words."""
        if len(self.annotated) == len(self):
            return f"labeled slices: all {len(self)}"
        return f"labeled slices: {_in_words(self.annotated)}"

    def plane(self, k: int) -> LabelPlane:
        """Return the labels of slice k, (height, width) as stored: a view of the volume, axes as in `SliceStack`."""
        plane: LabelPlane = np.moveaxis(self.volume.voxels, self.axis, 0)[k]
        return plane

    def classes(self, k: int) -> Classes:
        """Return the class of every pixel of slice k: 0 background, 1 .. K in the order of `ids`, -1 unknown.

        Labels that no annotated slice holds are background.
        """
        plane = self.plane(k)
        ids = np.asarray(self.ids, plane.dtype)  # in the map's own type, in which all are exact
        places = np.searchsorted(ids, plane).clip(max=len(ids) - 1)
        classes = np.where(ids[places] == plane, places + 1, BACKGROUND).astype(np.int32)
        if self.unlabeled is not None:
            classes[plane == self.unlabeled] = UNKNOWN
        return classes


def annotate(
    labels: Volume,
    axis: int,
    *,
    image: Volume | None = None,
    labeled_slices: Literal["all"] | tuple[int, ...] | None = None,
    unlabeled: int | None = None,
) -> Annotation:
    """Return a label map as annotated slices.

    Parameters
    ----------
    labels : Volume
        (i, j, k) or (i, j, k, 1) whole numbers, 0 the background, of any integer or floating-point type.
    axis : int
        Slice axis, 0, 1 or 2, in the file's order.
    image : Volume, optional
        What the labels were drawn on. Its slice positions hold for labels that have none of their own.
    labeled_slices : "all" or tuple of int, optional
        Which slices count as annotated, from 0. If not given: all of a map without an image, empty ones too. With an
        image, all if the slices that hold labels follow one another; only those that hold labels if there are gaps.
    unlabeled : int, optional
        The label of voxels that nobody labeled. Slices that hold anything else then count as holding labels, and one
        that holds nothing else never counts as annotated.

    Returns
    -------
    Annotation
        With at least two annotated slices and one class.

    Raises
    ------
    ValueError
        If the labels are not whole, negative, of several channels, on another grid than the image, or too few; or if
        `labeled_slices` names a slice that is not there, that nobody labeled, or that was named before.

    Examples
    --------
    >>> voxels = np.zeros((9, 4, 4), np.uint8)
    >>> voxels[::4, 1:3, 1:3] = 7
    >>> drawn = Volume(voxels, np.eye(4))
    >>> annotate(drawn, 0, image=drawn).reason
    'labeled slices: 0, 4, 8'
    """
    labels = _one_channel(labels)
    if image is not None:
        if labels.positions is None:
            labels = replace(labels, positions=image.positions)
        check_grid(image, labels, "Labels must be on the grid of their image", "the image and the labels")
    present = _labels_present(labels.voxels, axis, unlabeled)
    annotated = _choose(present, image is not None, labeled_slices, unlabeled)
    ids = sorted(set[int]().union(*(present[k] for k in annotated)) - {BACKGROUND, unlabeled})
    if not ids:
        raise ValueError(
            f"Annotated slices must hold a label other than background, got none on {_in_words(annotated)}; "
            "paint a structure, or name the slices that show one."
        )
    if len(annotated) < LEAST_ANNOTATED:
        raise ValueError(
            f"Labels need at least {LEAST_ANNOTATED} annotated slices, got 1, slice {annotated[0]}; paint one more, or "
            "name all slices as labeled if the others are empty in truth."
        )
    return Annotation(labels, axis, slice_positions(labels, axis), annotated, tuple(map(int, ids)), unlabeled)


def _one_channel(labels: Volume) -> Volume:
    if labels.channels > 1:
        raise ValueError(
            f"Labels must have one channel, got {labels.channels}; write one map with a number for each structure."
        )
    if labels.voxels.ndim == 3:
        return labels
    return replace(labels, voxels=labels.voxels[..., 0], series=False, members=())


def _labels_present(voxels: Voxels, axis: int, unlabeled: int | None) -> list[set[int]]:
    """Return the labels of each slice, background included."""
    return [_whole(np.unique(plane), unlabeled) for plane in np.moveaxis(voxels, axis, 0)]


def _whole(values: Voxels, unlabeled: int | None) -> set[int]:
    fractions = values[values != np.rint(values)]
    if len(fractions):
        raise ValueError(
            f"Labels must be whole numbers, got {fractions[0]:g}; give a map of ids, resampled by nearest neighbor."
        )
    labels = {int(value) for value in values}
    negative = sorted(label for label in labels - {unlabeled} if label < 0)
    if negative:
        raise ValueError(
            f"Labels must not be negative, got {negative[0]}; renumber them, or name it as the label for unknown."
        )
    return labels


def _choose(
    present: list[set[int]],
    with_image: bool,
    labeled_slices: Literal["all"] | tuple[int, ...] | None,
    unlabeled: int | None,
) -> tuple[int, ...]:
    """Return which slices count as annotated, from the labels present on each."""
    known = [k for k, labels in enumerate(present) if labels != {unlabeled}]
    drawn = known if unlabeled is not None else [k for k in known if present[k] != {BACKGROUND}]
    if isinstance(labeled_slices, tuple):
        return _named(labeled_slices, np.isin(np.arange(len(present)), known))
    if not drawn:
        raise ValueError("Labels must mark at least two slices, got an empty map; paint a structure on some.")
    contiguous = len(drawn) > 1 and drawn[-1] - drawn[0] == len(drawn) - 1
    return tuple(known if labeled_slices == "all" or not with_image or contiguous else drawn)


def _named(numbers: tuple[int, ...], known: Bool[np.ndarray, " slices"]) -> tuple[int, ...]:
    rule = "Labeled slices must be named once each, by their numbers from 0"
    for number in numbers:
        if not 0 <= number < len(known):
            raise ValueError(f"{rule}, got {number} for {len(known)} slices; correct the list.")
        if numbers.count(number) > 1:
            raise ValueError(f"{rule}, got {number} twice; correct the list.")
        if not known[number]:
            raise ValueError(f"Labeled slices must hold labels, got slice {number}, all unlabeled; leave it out.")
    if not numbers:
        raise ValueError(f"{rule}, got an empty list; leave it out to let the labels decide.")
    return tuple(sorted(numbers))


def _in_words(numbers: tuple[int, ...]) -> str:
    """Return slice numbers as a list, long ones cut short and runs by their ends: 0-4, 8, 16."""
    runs = [
        [number for _, number in run] for _, run in groupby(enumerate(numbers), lambda placed: placed[1] - placed[0])
    ]
    words: list[str] = []
    for run in runs:
        words += [f"{run[0]}-{run[-1]}"] if len(run) >= RUN else [str(number) for number in run]
    if len(words) > MOST_NAMED:
        return f"{', '.join(words[:MOST_NAMED])} ..., {len(numbers)} in all"
    return ", ".join(words)
