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
    return [zarr_layer(str(one)) for one in paths_of(path)]


def zarr_layer(path: str) -> LayerData:
    """Return the layer of an OME-Zarr folder; slices of our own images are read when they are looked at.

    Labels are read as a whole, for they are to be painted on.

    Raises
    ------
    ValueError
        If the folder is damaged, or holds no volume.
    """
    data, settings, kind = _zarr_image(path)
    finest = data[0] if settings.get("multiscale") else data
    if LABELS not in (_image_facts(Path(path)) or {}) or finest.dtype.kind not in "iu":
        return data, settings, kind
    return np.asarray(finest), {name: one for name, one in settings.items() if name not in IMAGE_ONLY}, "labels"


def _zarr_image(path: str) -> LayerData:
    import medgs_core as medgs

    try:
        store = medgs.open_volume(path)
    except ValueError:  # another program's, or damaged: then this says how
        return volume_layer(medgs.read_volume(path, volume="all"), path, 0)
    place = store.place
    if store.written.all() and (store.ndim > 3 or (place.slope, place.intercept) != (1.0, 0.0)):
        return volume_layer(medgs.read_volume(path, volume="all"), path, store.axis)
    return store_layer(store, place, path)


def store_layer(store: medgs.StreamedVolume, place: medgs.Volume, path: str) -> LayerData:
    """Return the layer of a folder of ours that reads slices when they are looked at, and tells which are missing.

    What is larger than that is thinned for 3-D.
    """
    from medgs_napari._arrays import Part, virtual_levels
    from medgs_napari._coarse import Thinned
    from medgs_napari._frames import frame_of_volume
    from medgs_napari._rendered import METADATA, Slices

    frame = frame_of_volume(place, store.axis)
    settings: dict[str, Any] = {**frame.place, "rgb": frame.rgb, "name": stem(path)}
    if not store.written.all():
        written = store.written
        settings["metadata"] = {
            METADATA: Slices(frame.slice_axis, np.arange(len(written)), written, RENDERED, ready=written)
        }
    levels = virtual_levels(store, Thinned(store), frame, Part(), place)
    if len(levels) == 1:
        return levels[0], settings, "image"
    settings["multiscale"] = True
    if not frame.rgb:  # napari would read all of the coarse level to guess it
        settings["contrast_limits"] = _contrast(store)
    return levels, settings, "image"


def _contrast(store: medgs.StreamedVolume) -> tuple[float, float]:
    """Return the least and the largest value on a few slices."""
    count = store.shape[store.axis]
    planes = np.stack([store[(slice(None),) * store.axis + (i,)] for i in (0, count // 2, count - 1)])
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
