"""*outlines*: the structures on annotated slices, as signed distances, and the flow of their borders.

An annotation comes in; distances per class go out, where a structure ends, and one gray image per slice in which the
borders of all classes can be followed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32

from medgs_core.annotation import Annotation
from medgs_core.arrays import Classes, Mask, Plane
from medgs_core.cache import RecentlyUsed
from medgs_core.carrying import warp, widen
from medgs_core.correspondence import Correspondence, Flows
from medgs_core.signed_distance import signed_distance, signed_distances
from medgs_core.slices import SliceStack
from medgs_core.volume import IntensityWindow

REACH = 40.0
"""Pixels to which distances are clipped, and what an absent class is away from everywhere: where a structure ends, its
border falls by at least as much from one annotated slice to the next. 30 to 60 were equally good; without a limit the
slice beside a blunt end came out a third too large, at 10 small structures lost their rounding."""

STAIR_SIGMA = 0.7
"""Pixels over which distances are blurred to take away the stairs of the pixels; 1 rounds corners by 40 % more."""

KEPT_DEPTH, BLURRED_DEPTH = 2.0, 4.0
"""Largest distance nearby, in pixels, up to which nothing and from which on all is blurred: vessels and ribs of two
pixels would lose half their area."""

DEPTH_WINDOW = 9
"""Pixels, the side of the square in which the largest distance nearby is looked for."""

LEAST_SIDE = 0.2
"""Part of its distance that a pixel keeps at least, so that it stays on its side of the border."""

GUIDE_REACH = 8.0
"""Pixels around a border over which the guide changes; 3 to 20 gave flows that predicted equally well."""

GUIDE_LEVELS = 255
LEAST_DEPTH = 0.5
"""Pixels; the depth of a structure of one pixel."""

MET = 0.5
"""Share of a carried pixel that must lie in a mask to be in it."""

ClassPlanes = Float32[np.ndarray, "classes height width"]
Box = tuple[slice, slice]
Present = Bool[np.ndarray, "annotated classes"]


@dataclass(frozen=True)
class Ending:
    """A part of a class that one annotated slice holds and the next does not.

    Attributes
    ----------
    place : which of the classes under way, by its index
    ridge : (height, width) its distances, rounded so that its area falls to zero linearly as `depth` is taken off
    depth : (height, width) the largest distance in the nearest component
    """

    place: int
    ridge: Plane
    depth: Plane


@dataclass(frozen=True)
class GapShapes:
    """What is known of the structures between two annotated slices before anything is carried.

    Attributes
    ----------
    classes : (classes,) those that either slice holds, from 0
    first, second : parts that end between, seen from the first and from the second slice
    """

    classes: Int32[np.ndarray, " classes"]
    first: tuple[Ending, ...]
    second: tuple[Ending, ...]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(ending.ridge.nbytes + ending.depth.nbytes for ending in (*self.first, *self.second))


class Outlines:
    """The structures on the annotated slices, which rows count from 0.

    Parameters
    ----------
    annotation : Annotation
        Unknown pixels must have been filled in before, see `fill_unknown`; those that are left count as background.
    memory : RecentlyUsed
        Where distances, endings and the flows of the borders are kept; no other flows must be.

    Attributes
    ----------
    positions : (annotated,) physical z
    present : (annotated, classes) which classes each holds
    flows : of the guides
    """

    def __init__(self, annotation: Annotation, memory: RecentlyUsed[Any]) -> None:
        from scipy.ndimage import find_objects

        self.annotation = annotation
        self.positions = annotation.positions[list(annotation.annotated)]
        self._memory = memory
        self._boxes: list[Any] = [
            find_objects(self.classes(row).clip(min=0), len(annotation.ids)) for row in range(len(self))
        ]
        self.present: Present = np.array([[box is not None for box in boxes] for boxes in self._boxes])
        self.flows = Flows(self._guides(), "both", memory, (1.0,))

    def __len__(self) -> int:
        """Return the number of annotated slices."""
        return len(self.annotation.annotated)

    def classes(self, row: int) -> Classes:
        """Return the class of every pixel of an annotated slice."""
        return self.annotation.classes(self.annotation.annotated[row])

    def distances(self, row: int, number: int) -> Plane:
        """Return the signed distances of a class that an annotated slice holds, in pixels, clipped to `REACH`."""

        def measure() -> ClassPlanes:
            places = np.cumsum(np.concatenate([[0], self.present[row]])).astype(np.int32)
            found = self.classes(row).clip(min=0)
            sides = pixel_sides(self.annotation)
            fields = signed_distances(places[found], int(places[-1]), sides, REACH)
            return np.stack([smooth_border(plane, sides) for plane in np.moveaxis(fields, 2, 0)])

        known: ClassPlanes = self._memory.get(("distances", row), measure, lambda fields: fields.nbytes)
        plane: Plane = known[int(self.present[row, :number].sum())]
        return plane

    def box(self, row: int, number: int) -> Box | None:
        """Return the smallest rectangle that holds a class on an annotated slice; None where it is absent."""
        found: Box | None = self._boxes[row][number]
        return found

    def area(self, row: int, number: int) -> int:
        """Return the number of pixels of a class on an annotated slice."""
        return int((self.classes(row) == number + 1).sum())

    def ending(self, row: int, number: int) -> Ending:
        """Return a class of an annotated slice as it would end there."""

        def end() -> Ending:
            return _ending(number, self.classes(row) == number + 1, pixel_sides(self.annotation))

        found: Ending = self._memory.get(("ending", row, number), end, lambda one: one.ridge.nbytes + one.depth.nbytes)
        return found

    def _guides(self) -> SliceStack:
        """Return the image that the flow sees: gray by the distance to the nearest border of any class."""
        height, width = self.annotation.height, self.annotation.width
        planes = np.empty((len(self), height, width, 1), np.uint8)
        for row in range(len(self)):
            planes[row, ..., 0] = guide_plane(self.classes(row), pixel_sides(self.annotation))
        return SliceStack(planes, self.positions, IntensityWindow(0.0, float(GUIDE_LEVELS)))

    def gap(self, first: int, second: int) -> GapShapes:
        """Return the structures between two annotated rows."""

        def look() -> GapShapes:
            held = self.present[first], self.present[second]
            classes = np.flatnonzero(held[0] | held[1]).astype(np.int32)
            between = self.flows.across(first, second)
            here, there = self.classes(first), self.classes(second)
            ends: tuple[list[Ending], list[Ending]] = ([], [])
            for place, number in enumerate(classes):
                masks = here == number + 1, there == number + 1
                met = _meeting(masks, between) if held[0][number] and held[1][number] else None
                for side in (0, 1):
                    lone = _lone(masks[side], met[side]) if met else masks[side]
                    if lone.any():
                        ends[side].append(_ending(place, lone, pixel_sides(self.annotation)))
            return GapShapes(classes, tuple(ends[0]), tuple(ends[1]))

        found: GapShapes = self._memory.get(("gap", first, second), look, lambda gap: gap.nbytes)
        return found


def pixel_sides(annotation: Annotation) -> tuple[float, float]:
    """Return the sides of a pixel, of which the finer is 1: the unit of all distances here."""
    row, column = annotation.spacing
    finest = min(row, column)
    return row / finest, column / finest


def guide_plane(classes: Classes, sides: tuple[float, float]) -> Plane:
    """Return the gray image of one slice: half-way at every border, lighter inside any class, darker outside."""
    inside = classes > 0
    count = int(classes.max(initial=0))
    depth = signed_distance(inside, sides)
    if count > 1:
        borders = signed_distances(classes.clip(min=0), count, sides, GUIDE_REACH)
        depth = np.where(inside, np.minimum(depth, borders.max(axis=2)), depth)
    gray = 0.5 + 0.5 * np.clip(depth / GUIDE_REACH, -1.0, 1.0)
    plane: Plane = np.rint(GUIDE_LEVELS * gray)
    return plane


def smooth_border(distances: Plane, sides: tuple[float, float]) -> Plane:
    """Return signed distances whose zero level no longer follows the stairs of the pixels.

    They are blurred, where the structure is deep enough not to be blurred away, and every pixel stays on its side of
    the border. A digitised ball then has the area of a ball to 0.6 %, not 3 % more.

    Parameters
    ----------
    distances : (height, width)
        Signed distances in pixels.
    sides : (float, float)
        Sides of a pixel.
    """
    import cv2

    row, column = sides
    blurred = cv2.GaussianBlur(
        distances, (0, 0), STAIR_SIGMA / column, sigmaY=STAIR_SIGMA / row, borderType=cv2.BORDER_REPLICATE
    )
    window = np.ones((DEPTH_WINDOW, DEPTH_WINDOW), np.uint8)
    depth = cv2.dilate(distances, window, borderType=cv2.BORDER_REPLICATE)
    share = np.clip((depth - KEPT_DEPTH) / (BLURRED_DEPTH - KEPT_DEPTH), 0, 1)
    smooth = distances + share * (blurred - distances)
    least = np.float32(LEAST_SIDE) * distances
    result: Plane = np.where(distances > 0, np.maximum(smooth, least), np.minimum(smooth, least))
    return result


def _meeting(masks: tuple[Mask, Mask], between: Correspondence) -> tuple[Mask, Mask]:
    """Return where each of two masks lies on the slice of the other, straight across or along the flow."""
    first, second = masks
    on_first, on_second = second.copy(), first.copy()
    for forward, backward in zip(between.forward, between.backward, strict=True):
        on_first |= _carried(second, forward)
        on_second |= _carried(first, backward)
    return on_first, on_second


def _carried(mask: Mask, flow: Any) -> Mask:
    share = warp(mask.astype(np.float32)[..., np.newaxis], widen(flow), bounded=True)[..., 0]
    inside: Mask = share > MET
    return inside


def _lone(mask: Mask, met: Mask) -> Mask:
    """Return the components of a mask that do not meet the other one."""
    import cv2

    count, components = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    meets = np.zeros(count, bool)
    meets[np.unique(components[mask & met])] = True
    lone: Mask = mask & ~meets[components]
    return lone


def _ending(place: int, mask: Mask, sides: tuple[float, float]) -> Ending:
    """Return the ending of a mask, all of whose components end.

    With s the distance and d the depth of the component, the ridge is s - s^2 / (2 d) inside: of a disk of radius d,
    (d^2 - r^2) / (2 d), so that its area falls linearly with what is taken off, as that of a rounded end does.
    """
    import cv2

    distances = smooth_border(signed_distance(mask, sides), sides)
    count, components = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    depths = np.zeros(count, np.float32)
    np.maximum.at(depths, components[mask], distances[mask])
    # every pixel of the mask is a source with a number of its own, and those outside get that of the nearest
    _, sources = cv2.distanceTransformWithLabels(
        (~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_source = np.zeros(int(sources.max()) + 1, np.float32)
    of_source[sources[mask]] = depths[components[mask]]
    depth = np.clip(of_source[sources], LEAST_DEPTH, REACH)
    inside = np.minimum(distances, depth)
    ridge = np.where(distances > 0, inside - np.square(inside) / (2 * depth), np.maximum(distances, -REACH))
    return Ending(place, np.asarray(ridge, np.float32), np.asarray(depth, np.float32))
