"""Draw docs/images/mesh.png: two structures of a brain MRI, marked on every fourth slice, as surfaces over a slice.

The MRI is the one that comes with nibabel. The marks are made by thresholds, in place of a painter's hand:
`python docs/mesh_picture.py` takes about a minute.
"""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from scipy import ndimage

import medgs_core as medgs

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import LightSource
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

PICTURE = Path(__file__).parent / "images" / "mesh.png"
BRAIN, VENTRICLES = 1, 2
EVERY = 4
SHOWN = 12
BRIGHT, FLUID = 0.35, 0.82
"""Parts of the brightest percentile above which a voxel is taken for brain, and for fluid."""

CENTER, LOWEST = (slice(50, 78), slice(26, 72)), 8
"""Where the ventricles lie, and from which slice on: fluid elsewhere is outside the brain."""

COLORS = {BRAIN: (0.62, 0.7, 0.84, 0.16), VENTRICLES: (0.86, 0.3, 0.24, 1.0)}
FACES = {BRAIN: 24_000, VENTRICLES: 12_000}
LIGHT = LightSource(azdeg=315, altdeg=40)


def mark(scan: medgs.Volume) -> medgs.Volume:
    """Return labels of brain and ventricles on every fourth slice, nothing on the others."""
    labels = np.zeros(scan.voxels.shape, np.uint8)
    for k in range(0, scan.voxels.shape[2], EVERY):
        plane = ndimage.gaussian_filter(scan.voxels[..., k].astype(float), 0.7)
        brightest = np.percentile(plane, 99)
        brain = ndimage.binary_fill_holes(ndimage.binary_opening(plane > BRIGHT * brightest, iterations=3))
        fluid = np.zeros_like(brain)
        if k >= LOWEST:
            fluid[CENTER] = plane[CENTER] > FLUID * brightest
        parts, count = ndimage.label(ndimage.binary_opening(fluid))
        sizes = ndimage.sum_labels(fluid, parts, range(1, count + 1))
        labels[..., k][brain] = BRAIN
        for part in np.flatnonzero(np.asarray(sizes) >= 12):
            labels[..., k][parts == part + 1] = VENTRICLES
    return replace(scan, voxels=labels, slope=1.0, intercept=0.0)


def draw(scan: medgs.Volume, marks: medgs.Volume, surfaces: tuple[medgs.Surface, ...]) -> None:
    """Write the picture: the marked slices on the left, the surfaces on the right."""
    figure = plt.figure(figsize=(9.6, 4.6), facecolor="white")
    grid = figure.add_gridspec(3, 3, width_ratios=(1, 1, 3.6), left=0.01, right=0.99, top=0.9, bottom=0.02, wspace=0.05)
    for place, k in enumerate(range(0, scan.voxels.shape[2], EVERY)):
        axes = figure.add_subplot(grid[place // 2, place % 2])
        axes.imshow(scan.voxels[..., k].T[:, ::-1], cmap="gray", origin="lower")
        for label, color in COLORS.items():
            axes.contour(marks.voxels[..., k].T[:, ::-1] == label, [0.5], colors=[color[:3]], linewidths=1.2)
        axes.set_axis_off()
    figure.text(0.2, 0.93, "marked: 6 of 24 slices", ha="center", fontsize=11)
    figure.text(0.7, 0.93, "two closed surfaces in millimetres, over slice 12", ha="center", fontsize=11)
    view = figure.add_subplot(grid[:, 2], projection="3d", computed_zorder=False)
    draw_slice(view, scan)
    for surface in sorted(surfaces, key=lambda one: -(one.label or 0)):
        triangles = surface.vertices[surface.faces]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        color = COLORS[surface.label or 0]
        shades = LIGHT.shade_normals(normals / np.linalg.norm(normals, axis=1, keepdims=True))
        colors = np.clip(np.outer(0.55 + 0.45 * shades, color[:3]), 0, 1)
        view.add_collection3d(
            Poly3DCollection(triangles, facecolors=np.column_stack([colors, np.full(len(colors), color[3])]))
        )
    ends = np.concatenate([surface.vertices for surface in surfaces])
    low, high = ends.min(0), ends.max(0)
    view.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    view.set_box_aspect(high - low, zoom=1.35)
    view.view_init(elev=24, azim=-52)
    view.set_axis_off()
    figure.savefig(PICTURE, dpi=110)


def draw_slice(view: plt.Axes, scan: medgs.Volume) -> None:
    """Add one slice of the scan where it stands in the world."""
    plane = scan.voxels[..., SHOWN] / np.percentile(scan.voxels, 99.8)
    rows, columns = np.indices(np.array(plane.shape) + 1) - 0.5
    corners = np.stack([rows, columns, np.full(rows.shape, float(SHOWN)), np.ones(rows.shape)], axis=-1)
    x, y, z = np.moveaxis(corners @ scan.affine[:3].T, -1, 0)
    gray = np.clip(plane, 0, 1)[..., np.newaxis]
    seen = np.where(plane > 0.3, 1.0, 0.0)[..., np.newaxis]
    view.plot_surface(
        x, y, z, facecolors=np.concatenate([gray, gray, gray, seen], -1), rstride=1, cstride=1, shade=False, linewidth=0
    )


def main() -> None:
    """Mark, fit, extract, draw."""
    scan = medgs.read_volume(medgs.find_example(), volume=0)
    marks = mark(scan)
    model = medgs.fit_model(scan, medgs.FitConfig(), labels=marks).model
    surfaces = tuple(
        medgs.extract_surface(model, label=label, smooth=10, faces=count, spacing=1.0) for label, count in FACES.items()
    )
    for surface in surfaces:
        print(surface.label, f"{surface.volume / 1000:.1f} ml", surface.watertight)
    draw(scan, marks, surfaces)


if __name__ == "__main__":
    main()
