"""*isosurface*: where a smooth field passes through zero, as a closed mesh, closer than the points it is sampled at.

In: a function from slice coordinates to fields, positive inside. Out: the vertices and faces of each field's zero
level. Nothing is binarised, and of each field only what surrounds its inside is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int

from medgs_core.arrays import Image
from medgs_core.lattice import Lattice
from medgs_core.mesh import Faces, Vertices
from medgs_core.threads import follow_threads, thread_count

OUTSIDE = -1.0
"""Value of a field where it is not kept: any negative one, as no triangle comes near."""

SMALLEST = float(np.finfo(np.float16).tiny)
"""Magnitude that values are raised to, so that half precision keeps their sign."""

LARGEST = float(np.finfo(np.float16).max)

CLEARANCE = 1e-3
"""Part of a step that vertices keep from the points of the lattice: closer, triangles shrink to nothing in float32."""

ENDS_THAT_MEET = 2
"""Points at the ends of so many axes lie on an edge of the volume, where the mesh is folded."""

AHEAD = 2
"""Slices under way per thread: rendering runs ahead of what comes after it, but not out of memory."""

Margins = Callable[[Image], Float32[np.ndarray, "fields rows columns"]]
"""From what is rendered, on the lattice, to fields that are positive inside."""

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


class CroppedField:
    """A field on a lattice, kept where it is positive and one point around; slices are added in order."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._boxes: list[Box | None] = []
        self._crops: dict[int, tuple[Box, Float16[np.ndarray, "rows columns"]]] = {}
        self._last: Float16[np.ndarray, "rows columns"] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the field is positive nowhere so far."""
        return not any(self._boxes)

    def add(self, plane: Float16[np.ndarray, "rows columns"]) -> None:
        """Append the next slice."""
        self._boxes.append(_surroundings(plane))
        if self._last is not None:
            self._keep(len(self._boxes) - 2, self._last)
        self._last = plane

    def close(self) -> None:
        """Say that the last slice has been added."""
        if self._last is not None:
            self._keep(len(self._boxes) - 1, self._last)
        self._last = None

    def _keep(self, k: int, plane: Float16[np.ndarray, "rows columns"]) -> None:
        """Keep of slice k what surrounds the inside of its neighbors too: the cells between them need it."""
        boxes = [box for box in self._boxes[max(k - 1, 0) : k + 2] if box]
        if boxes:
            box = _union(boxes)
            self._crops[k] = box, plane[box[0] : box[1], box[2] : box[3]].copy()

    def assemble(self) -> tuple[Float32[np.ndarray, "z rows columns"], Int[np.ndarray, "3"]]:
        """Return the kept part in one block with a rim that is outside, and the index of its first point."""
        first, last = min(self._crops), max(self._crops)
        top, bottom, left, right = _union([box for box, _ in self._crops.values()])
        block = np.full((last - first + 3, bottom - top + 2, right - left + 2), OUTSIDE, np.float32)
        for k, (box, crop) in self._crops.items():
            rows = slice(box[0] - top + 1, box[1] - top + 1)
            block[k - first + 1, rows, box[2] - left + 1 : box[3] - left + 1] = crop
        return block, np.array([first, top, left]) - 1


def sample_fields(
    render: Callable[[float], Image],
    margins: Margins,
    lattice: Lattice,
    *,
    working_bytes: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> tuple[CroppedField, ...]:
    """Return all fields, sampled on the lattice from one rendering of each slice.

    Parameters
    ----------
    render : Callable
        From slice coordinate t to (height, width, channels); smooth, called from several threads.
    margins : Callable
        From such a slice, resampled to (rows, columns, channels), to (fields, rows, columns), positive inside.
    lattice : Lattice
        Where to sample.
    working_bytes : int
        Memory that one call of `render` works in.
    report : Callable, optional
        Called with (slices done, slices in all) after each slice.
    """

    def sample(t: float) -> Float16[np.ndarray, "fields rows columns"]:
        return _half_precision(margins(lattice.resample(render(t))))

    fields: tuple[CroppedField, ...] = ()
    coordinates = lattice.coordinates.tolist()
    for i, planes in enumerate(_a_few_at_once(sample, coordinates, working_bytes)):
        fields = fields or tuple(CroppedField(lattice.shape) for _ in planes)
        # the outermost slices reach to the ends of their voxels
        for _ in range(1 + (i == 0) + (i == len(coordinates) - 1)):
            for field, plane in zip(fields, planes, strict=True):
                field.add(plane)
        if report:
            report(i + 1, len(coordinates))
    for field in fields:
        field.close()
    return fields


def trace_zero(field: CroppedField, lattice: Lattice, slope: float | None = None) -> tuple[Vertices, Faces]:
    """Return the vertices and faces of the zero level of a field that is not empty; closed, outward, in the world.

    Two fields of which one is the negative of the other meet in the same vertices if they are given the same slope.

    Parameters
    ----------
    field : CroppedField
        Positive inside.
    lattice : Lattice
        Where it was sampled.
    slope : float, optional
        By how much the field changes from point to point near zero; estimated from the field if not given.
    """
    from skimage.measure import marching_cubes

    block, first = field.assemble()
    least = CLEARANCE * (slope or _usual_step(block))
    np.copysign(np.maximum(np.abs(block), np.float32(least)), block, out=block)
    rough, triangles, _, _ = marching_cubes(block, 0.0, gradient_direction="descent")  # type: ignore[no-untyped-call]
    places = lattice.place(_exact_crossings(block, rough.astype(np.float64)) + first)
    at_ends = np.stack([np.isin(places[:, axis], ticks[[0, -1]]) for axis, ticks in enumerate(lattice.ticks)])
    places, faces = _join(places, triangles.astype(np.int64), at_ends.sum(axis=0) >= ENDS_THAT_MEET)
    if not lattice.is_mirrored:  # marching cubes winds them for a left-handed system
        faces = np.ascontiguousarray(faces[:, ::-1])
    return lattice.to_world(places), faces


def _half_precision(fields: Float32[np.ndarray, "fields rows columns"]) -> Float16[np.ndarray, "fields rows columns"]:
    """Return the fields in half the memory; a crossing moves by a four-thousandth of a step at most."""
    magnitude = np.clip(np.abs(fields), SMALLEST, LARGEST)
    half: Float16[np.ndarray, "fields rows columns"] = np.copysign(magnitude, fields).astype(np.float16)
    return half


def _a_few_at_once(
    sample: Callable[[float], Float16[np.ndarray, "fields rows columns"]],
    coordinates: Sequence[float],
    working_bytes: int,
) -> Iterator[Float16[np.ndarray, "fields rows columns"]]:
    edges = [*range(0, len(coordinates), AHEAD * thread_count()), len(coordinates)]
    for first, end in pairwise(edges):
        yield from follow_threads(sample, coordinates[first:end], working_bytes)


def _surroundings(plane: Float16[np.ndarray, "rows columns"]) -> Box | None:
    """Return the box of what is positive, one point larger where the plane goes on."""
    inside = plane > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return None
    height, width = plane.shape
    top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    return top, min(int(rows[-1]) + 2, height), left, min(int(columns[-1]) + 2, width)


def _union(boxes: Sequence[Box]) -> Box:
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def _usual_step(block: Float32[np.ndarray, "z rows columns"]) -> float:
    """Return by how much a field usually changes from one point to the next where it passes through zero."""
    steps = []
    for axis in range(3):
        along = np.moveaxis(block[1:-1, 1:-1, 1:-1], axis, 0)  # the rim is not of the field
        here, there = along[:-1], along[1:]
        crossed = (here > 0) != (there > 0)
        steps.append(np.abs(here[crossed] - there[crossed]))
    found = np.concatenate(steps)
    return float(np.median(found)) if len(found) else abs(OUTSIDE)


def _exact_crossings(
    block: Float32[np.ndarray, "z rows columns"], rough: Float64[np.ndarray, "points 3"]
) -> Float64[np.ndarray, "points 3"]:
    """Return crossings computed anew in float64: float32 rounds them differently in two blocks.

    Nearly all lie on an edge between two points. The others, inside an ambiguous cell, stay.
    """
    low = np.floor(rough).astype(np.int64)
    off = rough != low
    on_edge = off.sum(axis=1) == 1
    axis = off[on_edge].argmax(axis=1)
    low, rows = low[on_edge], np.arange(on_edge.sum())
    high = low.copy()
    high[rows, axis] += 1
    here, there = (block[tuple(corner.T)].astype(np.float64) for corner in (low, high))
    exact, crossings = rough.copy(), low.astype(np.float64)
    crossings[rows, axis] += here / (here - there)
    exact[on_edge] = crossings
    return exact


def _join(
    places: Float64[np.ndarray, "points 3"], faces: Faces, doubtful: Bool[np.ndarray, " points"]
) -> tuple[Float64[np.ndarray, "joined 3"], Faces]:
    """Return points and faces with doubtful points at one place made one, and faces without area left out.

    They come in pairs where two ends of the volume meet: the rim beyond the ends has no width.
    """
    if not doubtful.any():
        return places, faces
    candidates = np.flatnonzero(doubtful)
    _, chosen, member = np.unique(places[candidates], axis=0, return_index=True, return_inverse=True)
    target = np.arange(len(places))
    target[candidates] = candidates[chosen[member.ravel()]]
    faces = target[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, renumbered = np.unique(faces, return_inverse=True)
    return places[used], renumbered.reshape(faces.shape).astype(np.int64)
