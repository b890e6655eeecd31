"""*propagation*: the structures of annotated slices, carried to any position between and beyond them.

Outlines and the chained flow of an image come in; one field per class goes out, positive inside. How much each way of
carrying counts is for `label_evidence` to say.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64

from medgs_core.arrays import Flow, Plane, Positions
from medgs_core.carrying import bent_paths, lagrange_weights, warp, widen
from medgs_core.chaining import Chains
from medgs_core.classical import interpolate_cubic, interpolate_pchip
from medgs_core.correspondence import Motion
from medgs_core.outlines import REACH, Box, ClassPlanes, GapShapes, Outlines
from medgs_core.threads import map_in_threads

WAYS = ("straight", "outline", "image")
"""How structures are carried: straight across, along the flow of their outlines, along the flow of the image; the last
only where there is one."""

LIMIT = 3.0
"""Pixels to which the fields of the ways are clipped before they are weighed: beyond, how much they differ says nothing
about the border, and one that errs far would outvote the others."""

AROUND = 4
"""Slices that a place looks at, where there are two on each side."""

CUBIC_SHARE = np.float32(0.5)
"""How far to follow the cubic through all four slices where a structure is widest or narrowest: PCHIP is flat there,
but what is equally wide on two slices is wider between them. For Dice it makes no difference up to here."""

Path = tuple[Flow | None, ...]
"""Displacement to each of the slices around, in their order; None where it is zero."""

Part = Float32[np.ndarray, "rows columns"]
"""What a plane holds in a box."""

Values = Float32[np.ndarray, " pixels"]
ClassNumbers = Int32[np.ndarray, " classes"]


@dataclass(frozen=True)
class Place:
    """A position among annotated rows, and the rows that it looks at.

    Attributes
    ----------
    rows : annotated rows around, in order, at most two on each side
    gap : index in them of the last one before the position
    z : the position
    """

    rows: tuple[int, ...]
    gap: int
    z: float


def place_among(rows: tuple[int, ...], positions: Positions, z: float) -> Place:
    """Return where z lies among some of the annotated rows, in order; it is not beyond them."""
    known = positions[list(rows)]
    k = int(np.clip(np.searchsorted(known, z, side="right") - 1, 0, len(rows) - 2))
    first = max(0, k - 1)
    return Place(rows[first : k + 3], k - first, z)


class Propagation:
    """Carries the structures of annotated slices to any position.

    Parameters
    ----------
    outlines : Outlines
        The structures.
    chains : Chains, optional
        The flow of the image that they were drawn on.
    """

    def __init__(self, outlines: Outlines, chains: Chains | None = None) -> None:
        self.outlines = outlines
        self.chains = chains
        self.ways = WAYS if chains else WAYS[:2]

    def fields(self, z: float, weights: tuple[float, ...]) -> tuple[ClassNumbers, ClassPlanes]:
        """Return the classes that may be at a position, and their fields.

        Parameters
        ----------
        z : float
            Position in the unit of the stack, also beyond the annotated slices.
        weights : tuple of float
            How much each of `ways` counts; they add to one.

        Returns
        -------
        classes : (classes,)
            Numbers from 0; all others are absent.
        fields : (classes, height, width)
            Signed distances in pixels, clipped to `LIMIT`.
        """
        positions = self.outlines.positions
        row = int(np.argmin(np.abs(positions - z)))
        if z == positions[row] or not positions[0] <= z <= positions[-1]:
            return self._beside(row, z)
        place = place_among(tuple(range(len(positions))), positions, z)
        counted = [way for way, weight in zip(self.ways, weights, strict=True) if weight > 0]
        carried = self.by_way(place, counted)
        mixed: ClassPlanes = np.zeros_like(carried[0])
        for fields, weight in zip(carried, [weight for weight in weights if weight > 0], strict=True):
            mixed += np.float32(weight) * fields
        return self.classes(place), mixed

    def classes(self, place: Place) -> ClassNumbers:
        """Return the classes that either slice beside a place holds."""
        return self._gap(place).classes

    def by_way(self, place: Place, ways: list[str]) -> list[ClassPlanes]:
        """Return the fields of `classes` at a place, clipped to `LIMIT`, as each way carries them."""
        return map_in_threads(lambda way: self._carry(place, way), ways)

    def _gap(self, place: Place) -> GapShapes:
        return self.outlines.gap(place.rows[place.gap], place.rows[place.gap + 1])

    def _beside(self, row: int, z: float) -> tuple[ClassNumbers, ClassPlanes]:
        """Return the structures of one annotated slice, carried along the image where there is one."""
        classes = np.flatnonzero(self.outlines.present[row]).astype(np.int32)
        shape = (len(classes), self.outlines.annotation.height, self.outlines.annotation.width)
        fields = np.zeros(shape, np.float32)
        carried = self.chains is not None and z != self.outlines.positions[row]
        paths = self.chains.displacements(z, self._seat(row)) if self.chains and carried else [None]
        everywhere = np.s_[:, :]
        for path in paths:
            for place, number in enumerate(classes):
                fields[place] += _sampled(self.outlines.distances(row, int(number)), everywhere, path)
        return classes, np.clip(fields / np.float32(len(paths)), -LIMIT, LIMIT)

    def beyond(self, end: float, z: float) -> tuple[ClassNumbers, ClassPlanes]:
        """Return the structures a little beyond the first or the last slice of a stack, which stands at `end`.

        What shrinks towards an annotated end goes on shrinking: its area follows the parabola through the last three
        slices that hold it, as that of a ball, a cone or an ellipsoid does. All else stays as it is.
        """
        positions = self.outlines.positions
        row = int(np.argmin(np.abs(positions - end)))
        rows = [row, row + 1, row + 2] if row == 0 else [row, row - 1, row - 2]
        classes, fields = self._beside(row, end)
        if end != positions[row] or len(positions) < len(rows):
            return classes, fields
        weights = lagrange_weights(positions[rows], z)
        for number, field in zip(classes, fields, strict=True):
            areas = np.array([self.outlines.area(one, int(number)) for one in rows])
            share = float(np.clip(weights @ areas / areas[0], 0.0, 1.0))
            if areas.all() and share < 1.0:
                ending = self.outlines.ending(row, int(number))
                # half its depth is what takes the whole area off, see `Ending`
                field[:] = np.clip(ending.ridge - np.float32((1.0 - share) / 2) * ending.depth, -LIMIT, LIMIT)
        return classes, fields

    def _seat(self, row: int) -> int:
        """Return the slice of the image that an annotated row was drawn on."""
        assert self.chains is not None
        return round(self.chains.flows.stack.t_at(float(self.outlines.positions[row])))

    def _carry(self, place: Place, way: str) -> ClassPlanes:
        """Return the fields of the classes at a place as one way carries them, clipped to `LIMIT`."""
        gap = self._gap(place)
        positions = self.outlines.positions[list(place.rows)]
        step = float(positions[place.gap + 1] - positions[place.gap])
        alpha = float(place.z - positions[place.gap]) / step
        total = self._absent(len(gap.classes))
        for path, share in self._paths(place, positions, alpha, way):
            beside = path[place.gap], path[place.gap + 1]
            left = ((gap.first, alpha, beside[0]), (gap.second, 1.0 - alpha, beside[1]))
            for index, plane in enumerate(total):
                number = int(gap.classes[index])
                box = self._around(place, number, beside)
                field = self._between(place, positions, number, box, path)
                for endings, gone, to in left:
                    for ending in endings:
                        if ending.place == index:
                            remains = _sampled(ending.ridge, box, to) - np.float32(gone) * _sampled(
                                ending.depth, box, to
                            )
                            np.maximum(field, remains, out=field)
                plane[box] += np.float32(share) * (np.clip(field, -LIMIT, LIMIT) + np.float32(LIMIT))
        return total

    def _absent(self, count: int) -> ClassPlanes:
        """Return fields of so many classes that are nowhere."""
        annotation = self.outlines.annotation
        return np.full((count, annotation.height, annotation.width), -LIMIT, np.float32)

    def _around(self, place: Place, number: int, beside: Path) -> Box:
        """Return the part of a slice in which a class can be less than `LIMIT` outside its border at a place."""
        moved = max(0.0 if to is None else float(np.abs(to).max()) for to in beside)
        boxes = [self.outlines.box(row, number) for row in place.rows[place.gap : place.gap + 2]]
        margin = math.ceil(LIMIT + moved) + 1
        rows, columns = (
            slice(max(0, min(side.start for side in sides) - margin), max(side.stop for side in sides) + margin)
            for sides in zip(*(box for box in boxes if box), strict=True)
        )
        return rows, columns

    def _between(self, place: Place, positions: Positions, number: int, box: Box, path: Path) -> Part:
        """Return the distances of a class in part of a slice, over the slices around, by PCHIP and a cubic.

        Where only one of the two slices beside the place holds it, there are nothing but endings. Where both are beyond
        `LIMIT` on one side, so is what lies between, and is not computed.
        """
        present = [bool(self.outlines.present[row, number]) for row in place.rows]
        k = place.gap
        if not (present[k] and present[k + 1]):
            held = place.rows[k if present[k] else k + 1]
            return np.full_like(self.outlines.distances(held, number)[box], -LIMIT)
        first, second = (_sampled(self.outlines.distances(place.rows[j], number), box, path[j]) for j in (k, k + 1))
        pixels = np.flatnonzero((np.maximum(first, second) > -LIMIT) & (np.minimum(first, second) < LIMIT))
        known: dict[int, Any] = {k: first.ravel()[pixels], k + 1: second.ravel()[pixels]}
        for outer, inner in ((k - 1, k), (k + 2, k + 1)):
            if 0 <= outer < len(present):
                if present[outer]:
                    known[outer] = _sampled_at(
                        self.outlines.distances(place.rows[outer], number), box, path[outer], pixels
                    )
                else:  # the structure is no longer there: its border falls by its depth, which is `REACH` at most
                    known[outer] = known[inner] - np.float32(REACH)
        around = np.stack([known[j] for j in sorted(known)])[:, :, np.newaxis, np.newaxis]
        between = interpolate_pchip(around, positions, k, place.z)
        if len(around) == AROUND and all(present):
            turns = (around[1] - around[0]) * (around[3] - around[2]) < 0
            between += CUBIC_SHARE * turns * (interpolate_cubic(around, positions, place.z) - between)
        field = first.copy()
        field.reshape(-1)[pixels] = between[:, 0, 0]
        return field

    def _paths(self, place: Place, positions: Positions, alpha: float, way: str) -> Iterator[tuple[Path, float]]:
        """Yield displacements from a place to the slices around it, and how much each path counts."""
        if way == "straight":
            yield (None,) * len(place.rows), 1.0
        elif way == "outline":
            motion = self._motion(place)
            for to_first, to_second, share in bent_paths(motion, positions, place.gap, place.z, alpha):
                path: list[Flow | None] = [to_first, to_second]
                if motion.before:
                    path.insert(0, _further(to_first, motion.before.backward[-1]))
                if motion.after:
                    path.append(_further(to_second, motion.after.forward[-1]))
                yield tuple(path), share
        else:
            assert self.chains is not None
            to_rows = [self.chains.displacements(place.z, self._seat(row)) for row in place.rows]
            for path in map(list, zip(*to_rows, strict=True)):
                yield tuple(path), 1.0 / self.chains.variants

    def _motion(self, place: Place) -> Motion:
        flows, rows, gap = self.outlines.flows, place.rows, place.gap
        before = flows.across(rows[gap - 1], rows[gap]) if gap > 0 else None
        after = flows.across(rows[gap + 1], rows[gap + 2]) if gap + 2 < len(rows) else None
        return Motion(flows.across(rows[gap], rows[gap + 1]), before, after)


def _further(to_slice: Flow, link: Any) -> Flow:
    """Return a displacement followed by that from the slice it leads to."""
    further: Flow = to_slice + warp(widen(link), to_slice, bounded=True)
    return further


def _sampled(plane: Plane, box: Box, path: Flow | None) -> Part:
    """Return part of what a plane shows at pixel + displacement, sampled linearly."""
    if path is None:
        return plane[box]
    import cv2

    rows, columns = (
        np.arange(*side.indices(length), dtype=np.float32) for side, length in zip(box, plane.shape, strict=True)
    )
    map_x, map_y = path[box][..., 0] + columns, path[box][..., 1] + rows[:, np.newaxis]
    sampled: Part = cv2.remap(plane, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled


def _sampled_at(plane: Plane, box: Box, path: Flow | None, pixels: Int64[np.ndarray, " pixels"]) -> Values:
    """Return what `_sampled` gives at some pixels of the part, counted row by row."""
    values: Values
    if path is None:
        values = plane[box].ravel()[pixels]
        return values
    from scipy.ndimage import map_coordinates

    part = path[box]
    rows, columns = np.unravel_index(pixels, part.shape[:2])
    moved = part[rows, columns]
    places = [box[0].start + rows + moved[:, 1], box[1].start + columns + moved[:, 0]]
    values = map_coordinates(plane, places, order=1, mode="nearest", output=np.float32)
    return values
