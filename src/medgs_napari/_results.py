"""Layers that are made anew: what was made before is found and updated, so that no copies pile up.

Data and settings of a layer come in; the layer that shows them goes out. Its name, if the user changed it, its opacity
and its visibility stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

METADATA = "medgs_result"
"""Key in the metadata of a layer under which its `Result` stands."""

PLACE = ("scale", "translate", "rotate", "shear")
LOOK = ("colormap", "edge_color", "features", "size", "face_color")
"""What belongs to the data of a layer, as far as its type has it."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a layer shows.

    Attributes
    ----------
    owner : of whom, a model of the list for instance
    what : in a word; one layer per owner and word
    name : which the layer was given
    """

    owner: Any
    what: str
    name: str


def find_results(viewer: ViewerModel, owner: Any) -> dict[str, Layer]:
    """Return the layers that show something of an owner, by what they show."""
    found: dict[str, Layer] = {}
    for layer in viewer.layers:
        result = layer.metadata.get(METADATA)
        if isinstance(result, Result) and result.owner is owner:
            found.setdefault(result.what, layer)  # not the copy that a user made of it
    return found


def show_result(viewer: ViewerModel, owner: Any, what: str, kind: str, data: Any, settings: Mapping[str, Any]) -> Layer:
    """Show data in the layer that showed them before, or in a new one; the active layer stays active.

    Parameters
    ----------
    viewer : ViewerModel
        Where.
    owner, what
        As of a `Result`.
    kind : str
        Type of the layer: labels, image, surface, vectors, points.
    data, settings
        As `add_labels` and the like take them.
    """
    layer = find_results(viewer, owner).get(what)
    if layer is None:
        active = viewer.layers.selection.active
        layer = getattr(viewer, f"add_{kind}")(data, **marked(owner, what, settings))
        if active is not None:
            viewer.layers.selection.active = active
        return layer
    update_result(layer, owner, what, data, settings)
    return layer


def update_result(layer: Layer, owner: Any, what: str, data: Any, settings: Mapping[str, Any]) -> None:
    """Show other data in the layer of a result, which may be another one from now on; settings that are left out stay.

    Parameters
    ----------
    layer : Layer
        With the mark of a result. A name that the user gave it stays.
    owner, what, data, settings
        As of `show_result`.
    """
    if layer.name == layer.metadata[METADATA].name:
        layer.name = settings["name"]
    layer.metadata = {**layer.metadata, **marked(owner, what, settings)["metadata"]}
    _update(layer, data, settings)


def show_once(viewer: ViewerModel, owner: Any, what: str, kind: str, data: Any, settings: Mapping[str, Any]) -> Layer:
    """Show data that do not change: bring the layer that shows them to the fore, or add one.

    Parameters
    ----------
    viewer, owner, what, kind, data, settings
        As of `show_result`.
    """
    layer = find_results(viewer, owner).get(what)
    if layer is None:
        layer = getattr(viewer, f"add_{kind}")(data, **marked(owner, what, settings))
    bring_to_front(viewer, owner, [what])
    return layer


def bring_to_front(viewer: ViewerModel, owner: Any, whats: Sequence[str]) -> bool:
    """Make the layers that show some things visible, the last of them active; return whether all of them are there."""
    found = find_results(viewer, owner)
    for what in whats:
        if what in found:
            found[what].visible = True
            viewer.layers.selection.active = found[what]
    return all(what in found for what in whats)


def marked(owner: Any, what: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by which a layer is found again."""
    result = Result(owner, what, settings["name"])
    return {**settings, "metadata": {**settings.get("metadata", {}), METADATA: result}}


def _update(layer: Layer, data: Any, settings: Mapping[str, Any]) -> None:
    """Give a layer other data, and the place and colors that belong to them."""
    layer.data = data
    for name in PLACE:
        if name in settings and not np.allclose(getattr(layer, name), settings[name]):
            setattr(layer, name, settings[name])
    if "affine" in settings and not np.allclose(layer.affine.affine_matrix, settings["affine"]):
        layer.affine = settings["affine"]
    for name in LOOK:
        if name in settings:
            setattr(layer, name, settings[name])
