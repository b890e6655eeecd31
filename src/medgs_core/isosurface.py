"""*isosurface*: where smooth fields meet, as closed meshes, closer than the points that the fields are sampled at.

In: a function from slice coordinates to the fields of several classes; what belongs to none is background, a class of
its own whose field is zero. Out: the border of each class, where its field stops being the largest. Nothing is
binarised: a border runs where the difference of two fields passes through zero between two points of the lattice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int, Int16

from medgs_core.arrays import Image
from medgs_core.lattice import Lattice
from medgs_core.mesh import Faces, Vertices
from medgs_core.threads import follow_threads, thread_count

OUTSIDE = -1.0
"""Value of a margin where it is not kept: any negative one, as no triangle comes near."""

SMALLEST = float(np.finfo(np.float16).tiny)
"""Magnitude that margins are raised to, so that half precision keeps their sign."""

LARGEST = float(np.finfo(np.float16).max)

CLEARANCE = 1e-3
"""Part of a step that vertices keep from the points of the lattice: closer, triangles shrink to nothing in float32."""

FLATTEST, STEEPEST = 0.01, 10.0
"""Between these parts of their usual step, margins go to marching cubes: it knows a crossing in float32 only, which
must tell it from the points of the lattice. Where it really is, is computed after."""

ENDS_THAT_MEET = 2
"""Points at the ends of so many axes lie on an edge of the volume, where the mesh is folded."""

AHEAD = 2
"""Slices under way per thread: rendering runs ahead of what comes after it, but not out of memory."""

HalfPlane = Float16[np.ndarray, "rows columns"]
Points = Float64[np.ndarray, "_ 3"]
Indices = Int[np.ndarray, "_ 3"]
Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


class CroppedMargin:
    """The margin by which one class wins, kept where it does and one point around; slices are added in order."""

    def __init__(self) -> None:
        self._boxes: list[Box | None] = []
        self._crops: dict[int, tuple[Box, HalfPlane]] = {}
        self._last: HalfPlane | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the class wins nowhere so far."""
        return not any(self._boxes)

    def add(self, plane: HalfPlane) -> None:
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

    def _keep(self, k: int, plane: HalfPlane) -> None:
        """Keep of slice k what surrounds the inside of its neighbors too: the cells between them need it."""
        boxes = [box for box in self._boxes[max(k - 1, 0) : k + 2] if box]
        if boxes:
            box = _union(boxes)
            self._crops[k] = box, plane[box[0] : box[1], box[2] : box[3]].copy()

    def at(self, indices: Indices) -> Float64[np.ndarray, " _"]:
        """Return the margin at points (slice, row, column) that are kept."""
        values = np.empty(len(indices))
        order = np.argsort(indices[:, 0], kind="stable")
        slices, starts = np.unique(indices[order, 0], return_index=True)
        for k, chosen in zip(slices.tolist(), np.split(order, starts[1:]), strict=True):
            (top, _, left, _), crop = self._crops[k]
            values[chosen] = crop[indices[chosen, 1] - top, indices[chosen, 2] - left]
        return values

    def assemble(self) -> tuple[Float32[np.ndarray, "z rows columns"], Int[np.ndarray, "3"]]:
        """Return the kept part in one block with a rim that is outside, and the index of the block's first point."""
        first, last = min(self._crops), max(self._crops)
        top, bottom, left, right = _union([box for box, _ in self._crops.values()])
        block = np.full((last - first + 3, bottom - top + 2, right - left + 2), OUTSIDE, np.float32)
        for k, (box, crop) in self._crops.items():
            rows = slice(box[0] - top + 1, box[1] - top + 1)
            block[k - first + 1, rows, box[2] - left + 1 : box[3] - left + 1] = crop
        return block, np.array([first, top, left]) - 1


@dataclass(frozen=True, eq=False)
class Partition:
    """Which class wins at each point of a lattice, and by how much.

    Attributes
    ----------
    lattice : where the fields were sampled
    winners : (z, rows, columns) number of the class whose field is largest
    margins : of each class, F_c − the largest other one; the last is that of background
    """

    lattice: Lattice
    winners: Int16[np.ndarray, "z rows columns"]
    margins: tuple[CroppedMargin, ...]


def partition_fields(
    render: Callable[[float], Image],
    lattice: Lattice,
    *,
    working_bytes: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Partition:
    """Return who wins where, from one rendering of each slice.

    Parameters
    ----------
    render : Callable
        From slice coordinate t, up to half a gap beyond the outermost slices, to (height, width, classes): smooth
        fields, of which the largest positive one wins, the first one at ties. Called from several threads.
    lattice : Lattice
        Where to sample.
    working_bytes : int
        Memory that one call of `render` works in.
    report : Callable, optional
        Called with (slices done, slices in all) after each slice.
    """

    def sample(t: float) -> tuple[Int16[np.ndarray, "rows columns"], Float16[np.ndarray, "classes rows columns"]]:
        winner, margins = compare_fields(lattice.resample(render(t)))
        return winner, _half_precision(margins)

    winners: list[Int16[np.ndarray, "rows columns"]] = []
    margins: tuple[CroppedMargin, ...] = ()
    coordinates = lattice.coordinates.tolist()
    for i, (winner, planes) in enumerate(_a_few_at_once(sample, coordinates, working_bytes)):
        margins = margins or tuple(CroppedMargin() for _ in planes)
        winners.append(winner)
        for margin, plane in zip(margins, planes, strict=True):
            margin.add(plane)
        if report:
            report(i + 1, len(coordinates))
    for margin in margins:
        margin.close()
    return Partition(lattice, np.stack(winners), margins)


def compare_fields(
    fields: Float32[np.ndarray, "rows columns classes"],
) -> tuple[Int16[np.ndarray, "rows columns"], Float32[np.ndarray, "margins rows columns"]]:
    """Return the winning class of each point and every class's margin F_c − max(others), background last.

    The sign of a margin says who wins, at ties too, where it is that of a zero.
    """
    fields = np.pad(fields, ((0, 0), (0, 0), (0, 1)))  # background is zero everywhere
    winner = fields.argmax(axis=2).astype(np.int16)
    second, first = np.moveaxis(np.partition(fields, (-2, -1), axis=2)[..., -2:], 2, 0)
    margins = np.empty((fields.shape[2], *winner.shape), np.float32)
    for c, margin in enumerate(margins):
        wins = winner == c
        rival = np.where(wins, second, first)
        np.copysign(fields[..., c] - rival, np.where(wins, np.float32(1), np.float32(-1)), out=margin)
    return winner, margins


def trace_border(partition: Partition, c: int) -> tuple[Vertices, Faces]:
    """Return vertices and faces of the border of a class that wins somewhere: closed, outward, in the world.

    Two classes that meet have the same vertices where they do, but for those inside cells of ambiguous connections.

    Parameters
    ----------
    partition : Partition
        Who wins where.
    c : int
        The class.
    """
    from skimage.measure import marching_cubes

    lattice = partition.lattice
    block, first = partition.margins[c].assemble()
    step = np.float32(_usual_step(block))
    np.copysign(np.clip(np.abs(block), FLATTEST * step, STEEPEST * step), block, out=block)
    rough, triangles, _, _ = marching_cubes(block, 0.0, gradient_direction="descent")  # type: ignore[no-untyped-call]
    places = lattice.place(_exact_crossings(partition, rough.astype(np.float64) + first))
    at_ends = np.stack([np.isin(places[:, axis], ticks[[0, -1]]) for axis, ticks in enumerate(lattice.ticks)])
    places, faces = _join(places, triangles.astype(np.int64), at_ends.sum(axis=0) >= ENDS_THAT_MEET)
    if not lattice.is_mirrored:  # marching cubes winds them for a left-handed system
        faces = np.ascontiguousarray(faces[:, ::-1])
    return lattice.to_world(places), faces


def _half_precision(
    margins: Float32[np.ndarray, "classes rows columns"],
) -> Float16[np.ndarray, "classes rows columns"]:
    """Return the margins in half the memory; a crossing moves by a four-thousandth of a step at most."""
    magnitude = np.clip(np.abs(margins), SMALLEST, LARGEST)
    half: Float16[np.ndarray, "classes rows columns"] = np.copysign(magnitude, margins).astype(np.float16)
    return half


def _a_few_at_once(
    sample: Callable[[float], tuple[Int16[np.ndarray, "_ _"], Float16[np.ndarray, "_ _ _"]]],
    coordinates: Sequence[float],
    working_bytes: int,
) -> Iterator[tuple[Int16[np.ndarray, "_ _"], Float16[np.ndarray, "_ _ _"]]]:
    edges = [*range(0, len(coordinates), AHEAD * thread_count()), len(coordinates)]
    for first, end in pairwise(edges):
        yield from follow_threads(sample, coordinates[first:end], working_bytes)


def _surroundings(plane: HalfPlane) -> Box | None:
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
    """Return by how much a margin usually changes from one point to the next where it passes through zero."""
    steps = []
    for axis in range(3):
        along = np.moveaxis(block[1:-1, 1:-1, 1:-1], axis, 0)  # the rim is not of the field
        here, there = along[:-1], along[1:]
        crossed = (here > 0) != (there > 0)
        steps.append(np.abs(here[crossed] - there[crossed]))
    found = np.concatenate(steps)
    return float(np.median(found)) if len(found) else abs(OUTSIDE)


def _exact_crossings(partition: Partition, rough: Points) -> Points:
    """Return crossings computed anew from the two classes that meet between two points, in float64.

    A margin bends where its rival changes, often right at a border, and straight lines through it would miss the zero:
    the difference of the two fields does not bend there. It is what the loser lacks at either point, the same numbers
    for both classes. Vertices inside an ambiguous cell and those beyond the ends of the volume stay.
    """
    low = np.floor(rough).astype(np.int64)
    off = rough != low
    high = low + off
    within = (low >= 0).all(axis=1) & (high < partition.winners.shape).all(axis=1)
    on_edge = (off.sum(axis=1) == 1) & within
    low, high, axis = low[on_edge], high[on_edge], off[on_edge].argmax(axis=1)
    here, there = _lead(partition, low, high), _lead(partition, high, low)
    share = np.clip(here / (here + there), CLEARANCE, 1.0 - CLEARANCE)
    exact = rough.copy()
    exact[np.flatnonzero(on_edge), axis] = low[np.arange(len(low)), axis] + share
    return exact


def _lead(partition: Partition, points: Indices, neighbors: Indices) -> Float64[np.ndarray, " _"]:
    """Return by how much the class that wins at each point leads there over the one that wins at its neighbor."""
    rivals = partition.winners[tuple(neighbors.T)]
    lead = np.empty(len(points))
    for rival in np.unique(rivals).tolist():
        chosen = rivals == rival
        lead[chosen] = -partition.margins[rival].at(points[chosen])
    return lead


def _join(places: Points, faces: Faces, doubtful: Bool[np.ndarray, " _"]) -> tuple[Points, Faces]:
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
