"""How far two surfaces are from each other, in world units: no rescaling, no registration.

Masks with their spacing or affine come in, or triangle meshes; distances go out, weighed by surface area.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Integer, Shaped

from medgs_core.arrays import Affine, Voxels
from medgs_core.overlap import Region, regions

Points = Float64[np.ndarray, "_ 3"]
PerElement = Float64[np.ndarray, " _"]
Surface = tuple[Shaped[np.ndarray, "_ 3"], Integer[np.ndarray, "_ 3"]]
"""(vertices, 3) world coordinates, and (faces, 3) the vertices of each face."""

BORDER = 0.5
"""The surface of a mask, between 0 outside and 1 inside: half-way between voxel centers."""

ROBUST_PERCENT = 95.0
"""Part of a surface that counts in the robust Hausdorff distance; the rest may be specks."""

CHAMFER_SAMPLES = 100_000
"""Points per surface: the noise floor falls with the root of their number."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from every element of one surface to the other surface, both ways, and the areas of the elements.

    After Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck anatomy for
    radiotherapy" (arXiv 1809.04430, 2018): all averages are over area, because elements differ in size, the more so
    with anisotropic voxels.

    Attributes
    ----------
    forth, back : (elements,) from the first surface to the second, and from the second to the first; infinite if the
        other surface is empty
    areas_forth, areas_back : (elements,) of the same elements, in squared units
    """

    forth: PerElement
    areas_forth: PerElement
    back: PerElement
    areas_back: PerElement

    @property
    def assd(self) -> float:
        """Average symmetric surface distance: the mean over both surfaces together (Heimann et al. 2009)."""
        return _mean(np.concatenate([self.forth, self.back]), np.concatenate([self.areas_forth, self.areas_back]))

    @property
    def hausdorff(self) -> float:
        """Largest distance from either surface to the other."""
        return float(np.concatenate([self.forth, self.back]).max(initial=0.0))

    @property
    def hausdorff95(self) -> float:
        """Distance within which 95 % of each surface lies from the other: the larger of the two percentiles."""
        return max(_percentile(self.forth, self.areas_forth), _percentile(self.back, self.areas_back))

    def surface_dice(self, tolerance: float) -> float:
        """Return the part of both surfaces that is within the tolerance of the other, 1 for two empty ones."""
        areas = np.concatenate([self.areas_forth, self.areas_back])
        near = np.concatenate([self.forth, self.back]) <= tolerance
        return float(areas[near].sum() / areas.sum()) if len(areas) else 1.0


def surface_distances(
    a: Voxels,
    b: Voxels,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    affine: Affine | None = None,
    label: int | None = None,
) -> SurfaceDistances:
    """Return how far the surfaces of two masks are from each other.

    A surface is that of marching cubes, half-way between the centers of voxels inside and outside; it closes at the
    border of the volume. Its elements are the triangles, each at its mid-point, and distances are between mid-points:
    zero for equal surfaces, and for others too long by less than the size of a voxel's triangles.

    Parameters
    ----------
    a, b : (i, j, k)
        Masks, or label maps of which one label is compared.
    spacing : (float, float, float)
        Distance between neighboring voxels along each axis.
    affine : (4, 4), optional
        Voxel index to world, in place of the spacing: oblique and sheared volumes too.
    label : int, optional
        The label; masks need none.

    Returns
    -------
    SurfaceDistances
        In the unit of the spacing or affine. Two empty masks agree: all distances are 0. If one is empty, they are
        infinite and the surface Dice is 0.

    Raises
    ------
    ValueError
        If the shapes differ, or label maps are given without a label.

    Examples
    --------
    >>> a, b = np.zeros((2, 9, 9, 9), bool)
    >>> a[2:5, 2:7, 2:7] = b[3:6, 2:7, 2:7] = True
    >>> surface_distances(a, b, (2.0, 1.0, 1.0)).hausdorff
    2.0
    """
    first, second = regions(a, b, label)
    world = np.diag([*spacing, 1.0]) if affine is None else affine
    centers, areas = _elements(first, world)
    other_centers, other_areas = _elements(second, world)
    return SurfaceDistances(_nearest(centers, other_centers), areas, _nearest(other_centers, centers), other_areas)


def chamfer(truth: Surface, predicted: Surface, samples: int = CHAMFER_SAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the Chamfer distance of two surfaces, and the noise floor below which it says nothing.

    Half of the mean distance from points of one to the nearest point of the other plus half of the mean back, not
    squared (after Fan, Su and Guibas 2017). Since points are drawn at random, it is not zero for equal surfaces: the
    floor is the same quantity between two independent drawings from the truth.

    Parameters
    ----------
    truth, predicted : (vertices, faces)
        (vertices, 3) world coordinates and (faces, 3) the vertices of each triangle.
    samples : int
        Points drawn from each surface, uniformly by area.
    seed : int
        The same seed draws the same points.

    Returns
    -------
    (float, float)
        Distance and floor, in the unit of the vertices.

    Raises
    ------
    ValueError
        If a surface has no faces.
    """
    seeds = np.random.SeedSequence(seed).generate_state(3).tolist()
    first, again = _draw(truth, samples, seeds[0]), _draw(truth, samples, seeds[1])
    other = _draw(predicted, samples, seeds[2])
    return _both_ways(first, other), _both_ways(first, again)


def _draw(surface: Surface, samples: int, seed: int) -> Points:
    import trimesh

    vertices, faces = surface
    if not len(faces):
        raise ValueError("Surfaces must have faces to be compared, got one without; choose another level or label.")
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    return np.asarray(trimesh.sample.sample_surface(mesh, samples, seed=seed)[0], np.float64)


def _both_ways(first: Points, other: Points) -> float:
    return float(_nearest(first, other).mean() + _nearest(other, first).mean()) / 2


def _elements(mask: Region, world: Affine) -> tuple[Points, PerElement]:
    """Return the mid-point and the area of each triangle of a mask's surface, in the world."""
    from skimage.measure import marching_cubes

    if not mask.any():
        return np.empty((0, 3)), np.empty(0)
    box = [_extent(np.asarray(mask.any(axis=others))) for others in ((1, 2), (0, 2), (0, 1))]
    # a voxel of background all around, so that the surface closes
    inside = np.pad(mask[tuple(slice(*ends) for ends in box)], 1).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(inside, BORDER)  # type: ignore[no-untyped-call]
    corner = np.array([first for first, _ in box]) - 1
    places = (vertices.astype(np.float64) + corner) @ world[:3, :3].T + world[:3, 3]
    a, b, c = places[faces].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    solid = areas > 0
    return ((a + b + c) / 3)[solid], areas[solid]


def _extent(present: Shaped[np.ndarray, " voxels"]) -> tuple[int, int]:
    places = np.flatnonzero(present)
    return int(places[0]), int(places[-1]) + 1


def _nearest(points: Points, others: Points) -> PerElement:
    """Return the distance of each point to the nearest of the others, infinite if there are none."""
    from scipy.spatial import cKDTree

    if not len(others):
        return np.full(len(points), math.inf)
    return np.asarray(cKDTree(others).query(points)[0], np.float64)


def _mean(distances: PerElement, areas: PerElement) -> float:
    return float((distances * areas).sum() / areas.sum()) if len(areas) else 0.0


def _percentile(distances: PerElement, areas: PerElement) -> float:
    """Return the least distance within which the robust part of the area lies; 0 for an empty surface."""
    if not len(areas):
        return 0.0
    order = np.argsort(distances)
    covered = np.cumsum(areas[order])
    return float(distances[order][np.searchsorted(covered, covered[-1] * ROBUST_PERCENT / 100)])
