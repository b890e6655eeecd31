"""*mesh*: a closed surface of triangles in the world, and what can be measured on it.

In: vertices and faces. Out: area, volume, centroids, topology; the same surface smoother, or of fewer triangles.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

if TYPE_CHECKING:
    import trimesh

LEVEL_DIGITS = 12
"""Of a level in the name of its surface: all that were chosen, and none that come from arithmetic."""

FEWEST_FACES = 4
"""A closed surface has no fewer triangles: those of a tetrahedron."""

SHRINK = 0.5
"""Share of the way to the mean of its neighbors that a vertex moves first; from 1 on the steps would overshoot."""

PASS_BAND = 0.1
"""Spatial frequency that smoothing keeps: what Taubin advises, in units in which a mesh has none above 2."""

INFLATE = 1.0 / (1.0 / SHRINK - PASS_BAND)
"""Share of the way back that follows: the one of Taubin's filter with this pass band, so that volume is kept."""

AGGRESSIVENESS = (7.0, 5.0, 3.0, 1.0)
"""How fast the simplifier lowers its threshold: its default, then slower, which tears a surface less often."""

Vertices = Float64[np.ndarray, "_ 3"]
"""World (x, y, z), in the unit of the surface."""

Faces = Int64[np.ndarray, "_ 3"]
"""Rows of the vertices of each triangle, counter-clockwise seen from outside."""

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Surface:
    """A surface of triangles in world coordinates.

    Attributes
    ----------
    vertices : (V, 3) float64, world (x, y, z) in `unit`
    faces : (F, 3) int64, rows of the vertices of each triangle, outward by the right-hand rule in the world
    unit : unit of length, as in `Volume.unit`
    label : the label that it encloses, None for a level
    level : the measured value on it, which is higher inside; None for a label
    """

    vertices: Vertices
    faces: Faces
    unit: str = "mm"
    label: int | None = None
    level: float | None = None

    @cached_property
    def _origin(self) -> Float64[np.ndarray, "3"]:
        """A point among the vertices, to measure from: far from the world's origin volumes would lose digits."""
        return np.asarray(self.vertices.mean(axis=0))

    @cached_property
    def _centered(self) -> "trimesh.Trimesh":
        import trimesh

        return trimesh.Trimesh(self.vertices - self._origin, self.faces, process=False)

    @property
    def name(self) -> str:
        """What it is the surface of, in one word: label_3, level_120.5, or surface."""
        if self.label is not None:
            return f"label_{self.label}"
        return "surface" if self.level is None else f"level_{self.level:.{LEVEL_DIGITS}g}"

    @property
    def area(self) -> float:
        """Area of all triangles, in the square of `unit`."""
        return float(self._centered.area)

    @property
    def volume(self) -> float:
        """Enclosed volume in the cube of `unit`, cavities taken off; only meaningful if `watertight`."""
        return float(self._centered.volume)

    @property
    def surface_centroid(self) -> Point:
        """Mean position of the surface, every piece weighted by its area: world (x, y, z) in `unit`."""
        return self._in_world(self._centered.centroid)

    @property
    def volume_centroid(self) -> Point:
        """Mean position of the enclosed volume: world (x, y, z) in `unit`; only meaningful if `watertight`."""
        return self._in_world(self._centered.center_mass)

    @property
    def watertight(self) -> bool:
        """Whether every edge belongs to exactly two triangles, which pass it in opposite directions."""
        return bool(self._centered.is_watertight and self._centered.is_winding_consistent)

    @cached_property
    def components(self) -> int:
        """Number of connected surfaces; a cavity has a surface of its own."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        edges = self._centered.edges_unique
        links = coo_array((np.ones(len(edges), np.int8), edges.T), shape=(len(self.vertices),) * 2)
        _, component = connected_components(links, directed=False)
        return len(np.unique(component[self.faces[:, 0]]))  # vertices without a face do not count

    @property
    def genus(self) -> int | None:
        """Number of handles of all components together, from V − E + F = 2 (components − genus); None if it is open."""
        if not self.watertight:
            return None
        characteristic = len(np.unique(self.faces)) - len(self._centered.edges_unique) + len(self.faces)
        return self.components - characteristic // 2

    def _in_world(self, point: Float64[np.ndarray, "3"]) -> Point:
        x, y, z = (point + self._origin).tolist()
        return x, y, z


def smooth_surface(surface: Surface, iterations: int) -> Surface:
    """Return the surface after Taubin smoothing, which takes off steps and noise and keeps the volume.

    Each iteration moves all vertices towards the mean of their neighbors, v ← v + λ Δv, and back a little further,
    v ← v − μ Δv, with 1/λ − 1/μ the pass band. Faces stay; sharp edges, those where a volume ends included, become
    round, and borders that two surfaces share are shared no longer.

    Parameters
    ----------
    surface : Surface
        What to smooth.
    iterations : int
        Steps there and back; none for 0.
    """
    if iterations == 0:
        return surface
    import trimesh

    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    # trimesh counts steps there and steps back one by one
    trimesh.smoothing.filter_taubin(mesh, lamb=SHRINK, nu=INFLATE, iterations=2 * iterations)
    return replace(surface, vertices=np.array(mesh.vertices, dtype=np.float64))


def simplify_surface(surface: Surface, faces: int) -> Surface:
    """Return a surface of at most so many triangles that deviates least, by quadric error; closed if it was.

    Raises
    ------
    ValueError
        If the surface would tear or could not be brought under the budget.
    """
    if len(surface.faces) <= faces:
        return surface
    import fast_simplification

    origin = surface.vertices.mean(axis=0)  # the simplifier works in float32, exact only near the origin
    centered = (surface.vertices - origin).astype(np.float32)
    for aggressiveness in AGGRESSIVENESS:
        vertices, triangles = fast_simplification.simplify(
            centered, surface.faces.astype(np.int32), target_count=faces, agg=aggressiveness
        )
        simple = replace(surface, vertices=vertices.astype(np.float64) + origin, faces=triangles.astype(np.int64))
        if FEWEST_FACES <= len(triangles) <= faces and simple.watertight >= surface.watertight:
            return simple
    msg = (
        f"faces must leave {surface.name} closed, got a budget of {faces} for {len(surface.faces)} triangles in "
        f"{surface.components} component(s), too few to keep its shape; allow more"
    )
    raise ValueError(msg)
