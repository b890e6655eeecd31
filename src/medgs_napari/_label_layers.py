"""Layers of labels that a model gives: on the slices of its image, on finer ones, and how sure they are.

A model of the list and its labels come in; layers are added to a viewer, or brought up to date.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._grids import METADATA as GRID
from medgs_napari._grids import Grid
from medgs_napari._rendered import METADATA, describe_slices, named
from medgs_napari._results import find_results, show_result
from medgs_napari._sections import watch_sections
from medgs_napari._session import Fitted
from medgs_napari._virtual import OPACITY, virtual_confidence, virtual_labels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    import medgs_core as medgs

LABELS, FINE, CONFIDENCE = "labels", "fine labels", "label confidence"
"""What layers of a model show, in the words of `Result.what`."""

PAINTED, CARRIED = "painted", "propagated"
"""With which the names of layers end."""

PIXELS_PER_LINE, OUTLINE_OPACITY = 300, 0.8
"""Pixels of an image for each one that outlines are thick: by them, what was propagated is told from what was painted,
which is filled."""

UNSURE = (
    (0.0, (1.0, 0.9, 0.0, 0.0)),
    (0.45, (1.0, 0.9, 0.0, 0.0)),
    (0.49, (1.0, 0.9, 0.0, 1.0)),
    (0.75, (1.0, 0.5, 0.0, 0.7)),
    (1.0, (1.0, 0.2, 0.0, 0.0)),
)
"""Colors of how sure labels are, from 0.5, a toss-up, to 1; what is sure is not covered, nor what is 0, not made."""

UNSURE_OPACITY = 0.8

NEW_TYPE = np.uint8


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
        name=f"{name} {PAINTED}",
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
        "name": f"{fitted.name} {CARRIED}",
        "opacity": OUTLINE_OPACITY,
        **({} if painted is None else {"colormap": painted.colormap}),
        "metadata": {GRID: grid, METADATA: describe_slices(fitted.model, _label_config(), grid.frame.slice_axis)},
    }
    layer = _show_outlines(viewer, fitted, LABELS, grid.layer_data(labels), settings)
    if not known and painted is not None and painted in viewer.layers:
        viewer.layers.move(viewer.layers.index(painted), len(viewer.layers))
    return layer


def show_fine_labels(viewer: ViewerModel, fitted: Fitted, labels: medgs.Volume, painted: Labels, factor: int) -> Layer:
    """Show labels on finer slices, each rendered when it is looked at."""
    (drawn,) = virtual_labels(fitted.name, fitted.model, fitted.frames, _label_config(factor), labels)
    settings = {**named(drawn.settings, f"{CARRIED}, finer"), "opacity": OUTLINE_OPACITY, "colormap": painted.colormap}
    layer = _show_outlines(viewer, fitted, FINE, drawn.data, settings)
    watch_sections(viewer)
    return layer


def _show_outlines(viewer: ViewerModel, fitted: Fitted, what: str, data: Any, settings: Mapping[str, Any]) -> Layer:
    """Show labels as outlines; how the user shows them afterwards stays."""
    known = what in find_results(viewer, fitted)
    layer = show_result(viewer, fitted, what, "labels", data, settings)
    if not known:
        layer.contour = max(max(layer.extent.data[1].astype(int) + 1) // PIXELS_PER_LINE, 1)
    return layer


def show_confidence(viewer: ViewerModel, fitted: Fitted, factor: int) -> Layer:
    """Show how likely each label is right, on as fine slices as the labels; each is computed when it is looked at."""
    from napari.utils import Colormap

    drawn = virtual_confidence(fitted.name, fitted.model, fitted.frames, _label_config(factor))
    controls, colors = zip(*UNSURE, strict=True)
    settings = {
        **named(drawn.settings, "label confidence"),
        "colormap": Colormap(colors, controls=controls, name="unsure"),
        "contrast_limits": (0.0, 1.0),
        "opacity": UNSURE_OPACITY,
        "rendering": "minip",
    }
    layer = show_result(viewer, fitted, CONFIDENCE, "image", drawn.data, settings)
    watch_sections(viewer)
    return layer


def label_colors(viewer: ViewerModel, fitted: Fitted) -> dict[str, Any]:
    """Return the colors of the labels of a model as a further layer takes them; nothing where no layer has them."""
    layer = find_results(viewer, fitted).get(LABELS)
    return {} if layer is None else {"colormap": layer.colormap}


def label_color(viewer: ViewerModel, fitted: Fitted, label: int) -> Any:
    """Return the color of a label of a model, (4,) red, green, blue, alpha: that of its layer, or napari's own."""
    from napari.layers import Labels
    from napari.utils.colormaps import label_colormap

    layer = find_results(viewer, fitted).get(LABELS)
    color = layer.get_color(label) if isinstance(layer, Labels) else None
    chosen = label_colormap().map(label) if color is None else color
    return np.array([*np.ravel(chosen)[:3], 1.0])


def _label_config(factor: int = 1) -> medgs.RenderConfig:
    import medgs_core as medgs

    return medgs.RenderConfig(labels=True, factor=factor)
