"""How close do surfaces of drawn labels come to the true solid, and what do marching cubes give of the same masks.

    python benchmarks/surfaces.py [--results FILE]

draws a sphere, an ellipsoid and a torus on slices four pixels apart, fits a model to the labels alone, and extracts its
surface. The distance from the last slice that holds the solid to its pole goes from 0.5 to 3.5 pixels, because the
ends are what slices do not show. The same sphere is extracted again under an affine that rotates and mirrors.
Distances are between points drawn densely on both surfaces.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh
from _setting import Row, make_parser, parse, print_table, run_cases, setting, warm_up
from jaxtyping import Bool, Float64
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

import medgs_core as medgs

GAP, PIXELS, SLICES = 4.0, 64, 15
"""Distance between slices in pixels, pixels along both sides of a slice, and slices."""

MIDDLE_YX = (31.7, 32.2)
"""Off the centers of pixels, or all four quadrants would be drawn alike."""

RADIUS = 20.0
ELLIPSOID_ZYX = (20.0, 14.0, 24.0)
TORUS = (18.0, 8.0)
"""Radius of the ring and of its tube, around the slice axis."""

OFFSETS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
USUAL_OFFSET = 2.0
"""From the last slice that holds the solid to its pole; from the first one it is what is left of the gap."""

BLUR_VOXELS = 1.0
BORDER = 0.5
FINENESS = 600
"""Points along half of the true surface, either way."""

SAMPLES = 300_000
"""Points per surface for distances: about 0.1 pixel apart."""

TURNED = trimesh.transformations.rotation_matrix(0.7, (1.0, 2.0, 3.0), (5.0, 6.0, 7.0)) @ np.diag([-1, 1, 1, 1])
"""Rotated, shifted and mirrored."""

Mask = Bool[np.ndarray, "z y x"]
Coordinates = Float64[np.ndarray, "z y x"]

METHODS = ("medgs", "mask", "blurred mask")


def main() -> None:
    """Run the cases that have no result yet, then print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--results", type=Path, default=Path("surfaces.jsonl"))
    args = parse(parser, measure)
    cases = [{"solid": "sphere", "offset": offset, "turned": False} for offset in OFFSETS]
    cases += [{"solid": "sphere", "offset": USUAL_OFFSET, "turned": True}]
    cases += [{"solid": solid, "offset": USUAL_OFFSET, "turned": False} for solid in ("ellipsoid", "torus")]
    print(f"{setting()}\n")
    print_rows(run_cases(__file__, cases, args.results))


def measure(solid: str, offset: float, turned: bool) -> Row:
    """Return what every method gives of one solid, kernels compiled before."""
    warm_up()
    truth, inside = build_solid(solid, offset)
    affine = (TURNED if turned else np.eye(4)) @ np.diag([GAP, 1.0, 1.0, 1.0])
    truth.apply_transform(TURNED if turned else np.eye(4))
    mask = draw(inside)
    rows = {}
    for method, extract in (("medgs", extract_ours), ("mask", march), ("blurred mask", march_blurred)):
        begun = time.perf_counter()
        mesh = extract(mask, affine)
        seconds = round(time.perf_counter() - begun, 2)
        rows[method] = compare(truth, mesh) | {"seconds": seconds}
    return {"methods": rows}


def build_solid(solid: str, offset: float) -> tuple[trimesh.Trimesh, Callable[..., Mask]]:
    """Return the true surface in (z, y, x) pixels, and what tells which points are inside."""
    half = TORUS[1] if solid == "torus" else RADIUS
    center = np.array([GAP * (SLICES // 2 + int(half / GAP)) + offset - half, *MIDDLE_YX])
    u = np.linspace(0, 2 * np.pi, 2 * FINENESS, endpoint=False)
    if solid == "torus":
        around, tube = np.meshgrid(u, u, indexing="ij")
        ring = TORUS[0] + TORUS[1] * np.cos(tube)
        points = np.stack([TORUS[1] * np.sin(tube), ring * np.sin(around), ring * np.cos(around)], axis=-1)
    else:
        radii = ELLIPSOID_ZYX if solid == "ellipsoid" else (RADIUS,) * 3
        v = np.linspace(0, np.pi, FINENESS)
        down, around = np.meshgrid(v, u, indexing="ij")
        unit = np.stack([np.cos(down), np.sin(down) * np.sin(around), np.sin(down) * np.cos(around)], axis=-1)
        points = unit * radii

    def inside(
        z: Float64[np.ndarray, "..."], y: Float64[np.ndarray, "..."], x: Float64[np.ndarray, "..."]
    ) -> Bool[np.ndarray, "..."]:
        z, y, x = z - center[0], y - center[1], x - center[2]
        if solid == "torus":
            return np.hypot(np.hypot(y, x) - TORUS[0], z) < TORUS[1]
        return (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2 < 1.0

    return close_grid(points + center, closed=solid == "torus"), inside


def close_grid(points: Float64[np.ndarray, "m n 3"], closed: bool) -> trimesh.Trimesh:
    """Return a mesh of a grid of points that closes along its second direction, and along the first where asked."""
    rows, columns = points.shape[:2]
    number = np.arange(rows * columns).reshape(rows, columns)
    below = np.roll(number, -1, axis=0) if closed else number[1:]
    above = number if closed else number[:-1]
    corners = above, np.roll(above, -1, 1), below, np.roll(below, -1, 1)
    a, b, c, d = (corner.ravel() for corner in corners)
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)])
    mesh = trimesh.Trimesh(points.reshape(-1, 3), faces, process=True)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def draw(inside: Callable[..., Mask]) -> Mask:
    """Return the solid as an annotator draws it: a pixel belongs to it where its center does."""
    z, y, x = np.indices((SLICES, PIXELS, PIXELS)).astype(np.float64)
    return np.asarray(inside(z * GAP, y, x), np.bool_)


def extract_ours(mask: Mask, affine: Float64[np.ndarray, "4 4"]) -> trimesh.Trimesh:
    """Return the surface of a model that was fitted to the mask."""
    labels = medgs.Volume(mask.astype(np.uint8), affine)
    model = medgs.fit_model(None, medgs.FitConfig(axis="0"), labels=labels).model
    surface = medgs.extract_surface(model, label=1)
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def march(values: Float64[np.ndarray, "z y x"], affine: Float64[np.ndarray, "4 4"]) -> trimesh.Trimesh:
    """Return the surface of marching cubes half-way between outside and inside."""
    vertices, faces, _, _ = marching_cubes(np.pad(values, 1).astype(np.float32), BORDER)
    mesh = trimesh.Trimesh(trimesh.transform_points(vertices - 1.0, affine), faces, process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def march_blurred(mask: Mask, affine: Float64[np.ndarray, "4 4"]) -> trimesh.Trimesh:
    """Return the surface of marching cubes of the blurred mask."""
    return march(gaussian_filter(mask.astype(np.float64), BLUR_VOXELS), affine)


def compare(truth: trimesh.Trimesh, mesh: trimesh.Trimesh) -> Row:
    """Return errors of volume and area in percent, and the largest distances both ways in pixels."""
    true, found = (trimesh.sample.sample_surface(one, SAMPLES, seed=0)[0] for one in (truth, mesh))
    return {
        "volume": 100 * float(mesh.volume / truth.volume - 1),
        "area": 100 * float(mesh.area / truth.area - 1),
        "to_truth": float(cKDTree(true).query(found)[0].max()),
        "from_truth": float(cKDTree(found).query(true)[0].max()),
        "watertight": bool(mesh.is_watertight),
        "faces": len(mesh.faces),
    }


def print_rows(rows: list[Row]) -> None:
    """Print what every method gives of every solid, as markdown."""
    table = []
    for row in rows:
        name = f"{row['solid']}{', turned' if row['turned'] else ''}"
        for method in METHODS:
            one = row["methods"][method]
            table.append(
                [
                    name,
                    f"{row['offset']:g}",
                    method,
                    f"{one['volume']:+.2f}",
                    f"{one['area']:+.2f}",
                    f"{one['to_truth']:.2f}",
                    f"{one['from_truth']:.2f}",
                    "yes" if one["watertight"] else "no",
                    f"{one['faces']:,}",
                    f"{one['seconds']:.1f}",
                ]
            )
    distances = ["farthest from the truth", "truth farthest from it"]
    print_table(["solid", "pole", "method", "volume, %", "area, %", *distances, "closed", "faces", "s"], table)


if __name__ == "__main__":
    main()
