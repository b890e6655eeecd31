"""The Gaussians of a model as points: a model of the list comes in, a layer with the weightiest of them goes out.

Each stands where its image does, is as large as it is in the plane, and has the color that the image has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._frames import Frame, Matrix
from medgs_napari._rendered import blank_layers
from medgs_napari._results import bring_to_front, show_result
from medgs_napari._session import Fitted

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Points

    import medgs_core as medgs

GAUSSIANS = "gaussians"
"""What the layer shows, in the words of `Result.what`."""

MOST_POINTS = 30_000
"""On two processors without a graphics card napari turns these in 3-D in a quarter of a second, 100,000 in 0.6 s."""

DIAMETER = 2.0
"""Of a point, in standard deviations: from one on one side to one on the other."""

FAINTEST = 0.2
"""Opacity of a point whose Gaussian has next to none."""


def show_gaussians(viewer: ViewerModel, fitted: Fitted) -> Points:
    """Show the Gaussians of a model in the layer that showed them before, or in a new one, and bring it to the fore."""
    layer: Any = show_result(viewer, fitted, GAUSSIANS, "points", *gaussian_points(fitted))
    bring_to_front(viewer, fitted, [GAUSSIANS])
    return layer


def gaussian_points(fitted: Fitted, most: int = MOST_POINTS) -> tuple[Matrix, dict[str, Any]]:
    """Return the centers of the weightiest Gaussians as a layer counts, (points, axes), and the layer's settings.

    Centers beyond those of the outermost voxels are left out: they would make the sliders longer, and put them between
    the slices of the image.

    Parameters
    ----------
    fitted : Fitted
        A model of the list.
    most : int
        Points.
    """
    import medgs_core as medgs

    model, frame = fitted.model, fitted.frames[0]
    table = medgs.tabulate_gaussians(model)
    last = np.array(model.volume.shape3d) - 1
    chosen = np.flatnonzero(((table.positions >= 0) & (table.positions <= last)).all(axis=1))[:most]
    positions = table.positions[chosen]
    columns = [np.zeros(len(chosen)) if axis is None else positions[:, axis] for axis in frame.order]
    opacities = np.clip(table.opacities / table.opacities.max(), FAINTEST, 1.0)
    part = "" if len(chosen) == len(table) else f" ({len(chosen):,} of {len(table):,})"
    settings = {
        **frame.placed(),
        "name": f"{fitted.name} Gaussians{part}",
        "features": {name: column[chosen] for name, column in _features(table, model).items()},
        "size": DIAMETER * np.sqrt(table.in_plane.prod(axis=1))[chosen] * _pixel(frame),
        "face_color": np.column_stack([_colors(table, fitted), opacities])[chosen],
        "border_width": 0.0,
        "border_color": "transparent",
        "blending": "translucent_no_depth",  # or dark ones would hide all that is behind them
    }
    return np.stack(columns, axis=1), settings


def _features(table: medgs.GaussianTable, model: medgs.FittedModel) -> Mapping[str, Any]:
    """Return what is known of each Gaussian beside its place, by the name of its column."""
    features: dict[str, Any] = {
        "weight": table.weights,
        "opacity": table.opacities,
        "longer deviation (px)": table.in_plane[:, 0],
        "shorter deviation (px)": table.in_plane[:, 1],
        "deviation across (slices)": table.across,
    }
    if model.has_image:
        several = table.values.shape[1] > 1
        features |= {f"value {k}" if several else "value": column for k, column in enumerate(table.values.T)}
    if table.labels is not None:
        features["label"] = table.labels
    return features


def _pixel(frame: Frame) -> float:
    """Return how large a pixel of a slice is, in units of the layer's last axis: those that napari counts sizes in."""
    scale = np.abs(np.asarray(frame.place["scale"], dtype=np.float64))
    in_plane = [k for k, axis in enumerate(frame.order) if axis is not None and k != frame.slice_axis]
    return float(np.sqrt(scale[in_plane].prod()) / scale[-1])


def _colors(table: medgs.GaussianTable, fitted: Fitted) -> Matrix:
    """Return what each Gaussian looks like, (N, 3): as its image is shown, several one over the other; or its label."""
    from napari.utils.colormaps import ensure_colormap, label_colormap

    model = fitted.model
    if not model.has_image:
        assert table.labels is not None
        return np.asarray(label_colormap().map(table.labels))[:, :3]
    starts = np.cumsum([0, *(member.channels for member in model.volume.members)])
    colors = np.zeros((len(table), 3))
    for drawn in blank_layers("", model.volume, fitted.frames, 0.0, 1.0, model.window):
        first, settings = starts[drawn.part.image], drawn.settings
        if drawn.frame.rgb:
            colors += _unit_color(table.values[:, first : first + 3], model.volume, drawn.part.image)
            continue
        low, high = settings["contrast_limits"]
        shade = np.clip((table.values[:, first + (drawn.part.channel or 0)] - low) / (high - low), 0.0, 1.0)
        colors += ensure_colormap(settings.get("colormap", "gray")).map(shade ** settings.get("gamma", 1.0))[:, :3]
    return np.clip(colors, 0.0, 1.0)


def _unit_color(values: Matrix, volume: medgs.Volume, image: int) -> Matrix:
    """Return the red, green and blue of a color image from 0 to 1, as napari shows its type."""
    dtype = np.dtype(volume.members[image].dtype if volume.members else volume.voxels.dtype)
    return values / (np.iinfo(dtype).max if dtype.kind in "iu" else 1.0)
