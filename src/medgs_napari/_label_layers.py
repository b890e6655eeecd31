"""Layers of labels that a model gives: on the slices of its image, on finer ones, and how sure they are.

A model of the list and its labels come in; layers are added to a viewer, or brought up to date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._ahead import Ahead
from medgs_napari._arrays import Nearest, Part, virtual_levels
from medgs_napari._between import Between
from medgs_napari._grids import METADATA as GRID
from medgs_napari._grids import Grid
from medgs_napari._rendered import METADATA, Slices
from medgs_napari._results import find_results, show_result
from medgs_napari._sections import watch_sections
from medgs_napari._session import Fitted

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    import medgs_core as medgs

LABELS, FINE, CONFIDENCE = "labels", "fine labels", "label confidence"
"""What layers of a model show, in the words of `Result.what`."""

WORDS = ("PAINTED", "PROPAGATED", "slice")
OPACITY = 0.5
NEW_TYPE = np.uint8
SURE = (0.5, 1.0)
"""The least and the largest probability that the likeliest of two labels has."""

CONFIDENCE_COLORS = "viridis"


def grid_of(fitted: Fitted) -> Grid:
    """Return the voxels of a model in napari."""
    return Grid(fitted.model.volume, fitted.frames[0])


def new_labels(viewer: ViewerModel, name: str, grid: Grid, *, known: bool) -> Labels:
    """Add an empty layer to paint on, ready for the brush.

    Parameters
    ----------
    viewer : ViewerModel
        Where.
    name : str
        Of the model or the image.
    grid : Grid
        Its voxels.
    known : bool
        Whether these are the voxels of a file, in whose world the labels are saved then.
    """
    metadata = {GRID: grid} if known else {}
    layer = viewer.add_labels(
        np.zeros(grid.shape, NEW_TYPE),
        **grid.frame.placed(),
        name=f"{name} painted",
        opacity=OPACITY,
        metadata=metadata,
    )
    layer.mode = "paint"
    return layer


def show_labels(viewer: ViewerModel, fitted: Fitted, labels: medgs.Volume, painted: Labels | None) -> Layer:
    """Show labels on the slices of the image, below what was painted and in its colors if that is still there."""
    grid = grid_of(fitted)
    known = LABELS in find_results(viewer, fitted)
    settings = {
        **grid.frame.placed(),
        "name": f"{fitted.name} labels",
        "opacity": OPACITY,
        **({} if painted is None else {"colormap": painted.colormap}),
        "metadata": {GRID: grid, METADATA: _slices(fitted, range(len(_annotation(fitted))))},
    }
    layer = show_result(viewer, fitted, LABELS, "labels", grid.layer_data(labels), settings)
    if not known and painted is not None and painted in viewer.layers:
        viewer.layers.move(viewer.layers.index(painted), len(viewer.layers))
    return layer


def show_fine_labels(viewer: ViewerModel, fitted: Fitted, labels: medgs.Volume, painted: Labels, factor: int) -> Layer:
    """Show labels on finer slices, each rendered when it is looked at."""
    import medgs_core as medgs

    model, frame = fitted.model, fitted.frames[0]
    lazy = medgs.lazy_volume(model, labels=True, factor=factor)
    coarse = Nearest(labels, model.axis, (), lazy.coordinates)
    settings = {
        **frame.placed(step=1.0 / factor),
        "name": f"{fitted.name} labels, finer",
        "opacity": OPACITY,
        "colormap": painted.colormap,
        "multiscale": True,
        "metadata": {METADATA: _slices(fitted, lazy.coordinates)},
    }
    fine = Ahead(lazy, Between(labels, model.axis, (), lazy.coordinates, labels=True))
    levels = virtual_levels(fine, coarse, frame, Part(), labels)
    layer = show_result(viewer, fitted, FINE, "labels", levels, settings)
    watch_sections(viewer)
    return layer


def show_confidence(viewer: ViewerModel, fitted: Fitted, sure: medgs.Volume) -> Layer:
    """Show how likely each label is right."""
    grid = grid_of(fitted)
    settings = {
        **grid.frame.placed(),
        "name": f"{fitted.name} label confidence",
        "colormap": CONFIDENCE_COLORS,
        "contrast_limits": SURE,
        "opacity": OPACITY,
        "metadata": {METADATA: _slices(fitted, range(len(_annotation(fitted))))},
    }
    return show_result(viewer, fitted, CONFIDENCE, "image", grid.layer_data(sure), settings)


def label_color(viewer: ViewerModel, fitted: Fitted, label: int) -> Any:
    """Return the color of a label of a model, (4,) red, green, blue, alpha: that of its layer, or napari's own."""
    from napari.layers import Labels
    from napari.utils.colormaps import label_colormap

    layer = find_results(viewer, fitted).get(LABELS)
    color = layer.get_color(label) if isinstance(layer, Labels) else None
    chosen = label_colormap().map(label) if color is None else color
    return np.array([*np.ravel(chosen)[:3], 1.0])


def _annotation(fitted: Fitted) -> medgs.Annotation:
    head = fitted.model.labels
    assert head is not None
    return head.annotation


def _slices(fitted: Fitted, coordinates: Any) -> Slices:
    """Return which slices of a layer were painted."""
    where = np.asarray(coordinates, dtype=np.float64)
    return Slices(fitted.frames[0].slice_axis, where, np.isin(where, _annotation(fitted).annotated), WORDS)
