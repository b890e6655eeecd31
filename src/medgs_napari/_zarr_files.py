"""*folders → layers*: OME-Zarr images and labels become layers, where they stand in their world.

The reader as npe2 calls it. Slices of images of our own are read when they are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._files import LayerData, Reader, paths_of, stem, volume_layer

if TYPE_CHECKING:
    import medgs_core as medgs
    from medgs_napari._arrays import LayerArray

ZARR_ATTRIBUTES = {"zarr.json": "attributes", ".zattrs": None}
"""Files in which an OME-Zarr folder tells what is in it, and where in them."""

LABELS = "image-label"
"""What an OME-Zarr image says of itself whose values are label ids."""

IMAGE_ONLY = ("rgb", "contrast_limits", "multiscale")
"""Settings that labels in memory do not have."""

RENDERED = ("RENDERED", "RENDERED", "slice")
"""What slices are called that are in a folder which is still to be filled."""


def get_zarr_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of OME-Zarr folders that hold an image, None for others: plates and plain arrays."""
    return None if any(_image_facts(Path(one)) is None for one in paths_of(path)) else read_zarrs


def read_zarrs(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers of the images in OME-Zarr folders, where they stand in their world."""
    return [layer for one in paths_of(path) for layer in zarr_layers(str(one))]


def zarr_layers(path: str) -> list[LayerData]:
    """Return the layers of an OME-Zarr folder; slices of our own images are read when they are looked at.

    Labels are read as a whole, for they are to be painted on.

    Raises
    ------
    ValueError
        If the folder is damaged, or holds no volume.
    """
    labels = LABELS in (_image_facts(Path(path)) or {})
    return [_as_labels(*layer) if labels else layer for layer in _zarr_images(path)]


def _as_labels(data: Any, settings: dict[str, Any], kind: str) -> LayerData:
    """Return the layer of labels that an image holds; the image itself if its values are no ids."""
    finest = data[0] if settings.get("multiscale") else data
    if finest.dtype.kind not in "iu":
        return data, settings, kind
    return np.asarray(finest), {name: one for name, one in settings.items() if name not in IMAGE_ONLY}, "labels"


def _zarr_images(path: str) -> list[LayerData]:
    import medgs_core as medgs
    from medgs_napari._frames import frame_of_volume

    try:
        store = medgs.open_volume(path)
    except ValueError:  # another program's, or damaged: then this says how
        return [volume_layer(medgs.read_volume(path, volume="all"), path, 0)]
    place = store.place
    rescaled = (place.slope, place.intercept) != (1.0, 0.0)
    plain = store.ndim == 3 or frame_of_volume(place, store.axis).rgb
    if store.written.all() and (rescaled or not plain):
        return [volume_layer(medgs.read_volume(path, volume="all"), path, store.axis)]
    return store_layers(store, place, path)


def store_layers(store: medgs.StreamedVolume, place: medgs.Volume, path: str) -> list[LayerData]:
    """Return the layers of a folder of ours, one per channel, that read slices when they are looked at.

    They tell which slices are missing; what is larger than that is thinned for 3-D.
    """
    from medgs_napari._arrays import virtual_levels
    from medgs_napari._coarse import Thinned
    from medgs_napari._frames import frame_of_volume
    from medgs_napari._rendered import METADATA, Slices, blank_layers

    frame, written = frame_of_volume(place, store.axis), store.written
    layers: list[LayerData] = []
    for drawn in blank_layers(stem(path), place, (frame,), 0.0, 1.0):
        settings = drawn.settings
        if not written.all():
            settings["metadata"] = {
                METADATA: Slices(frame.slice_axis, np.arange(len(written)), written, RENDERED, ready=written)
            }
        levels = virtual_levels(store, Thinned(store), frame, drawn.part, place)
        if len(levels) > 1:
            settings["multiscale"] = True
            if not frame.rgb:  # napari would read all of the coarse level to guess it
                settings["contrast_limits"] = _contrast(levels[0], frame.slice_axis)
        layers.append((levels if len(levels) > 1 else levels[0], settings, "image"))
    return layers


def _contrast(finest: LayerArray, axis: int) -> tuple[float, float]:
    """Return the least and the largest value on a few slices along an axis."""
    count = finest.shape[axis]
    planes = np.stack([finest[(slice(None),) * axis + (i,)] for i in (0, count // 2, count - 1)])
    low, high = float(planes.min()), float(planes.max())
    return low, high if high > low else low + 1.0


def _image_facts(path: Path) -> dict[str, Any] | None:
    """Return what a folder says of its OME-Zarr image; without zarr, for napari asks of every folder. None without."""
    if not path.name.lower().endswith(".zarr") or not path.is_dir():
        return None
    for name, inside in ZARR_ATTRIBUTES.items():
        try:
            told = json.loads((path / name).read_text(encoding="utf-8"))
            attributes = told[inside] if inside else told
            facts: dict[str, Any] = attributes.get("ome", attributes)
            if "multiscales" in facts:
                return facts
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            continue
    return None
