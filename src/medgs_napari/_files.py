"""*files → layers*: models, NIfTI files and OME-Zarr folders become layers, where they stand in their world.

Readers as npe2 calls them. All geometry passes through frames, as it does in the writers, so what is written reads back
in place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import medgs_core as medgs

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str | Sequence[str]], list[LayerData]]

MODEL_ENDING = ".medgs"
FACTOR = 4
"""Slices per measured step of a model that is opened from a file."""

ZARR_ATTRIBUTES = {"zarr.json": "attributes", ".zattrs": None}
"""Files in which an OME-Zarr folder tells what is in it, and where in them."""

RENDERED = ("RENDERED", "RENDERED", "slice")
"""What slices are called that are in a folder which is still to be filled."""


def get_model_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of `.medgs` files, None for others."""
    return read_models if all(str(one).lower().endswith(MODEL_ENDING) for one in _paths(path)) else None


def get_nifti_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of NIfTI files, None for others."""
    return read_niftis if all(str(one).lower().endswith((".nii", ".nii.gz")) for one in _paths(path)) else None


def get_zarr_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of OME-Zarr folders that hold an image, None for others: plates and plain arrays."""
    return read_zarrs if all(_is_image_folder(Path(one)) for one in _paths(path)) else None


def read_models(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers that render the models on access; the viewer's list of models takes them in."""
    return [layer for one in _paths(path) for layer in _read_model(str(one))]


def read_niftis(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers of the volumes, where they stand in the world of their files."""
    return [nifti_layer(str(one)) for one in _paths(path)]


def read_zarrs(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers of the images in OME-Zarr folders, where they stand in their world."""
    return [zarr_layer(str(one)) for one in _paths(path)]


def nifti_layer(path: str, *, straight: bool = False) -> LayerData:
    """Return the layer of a NIfTI file: measured values, the volumes of a series along a first axis.

    Parameters
    ----------
    path : str
        Ends in .nii or .nii.gz.
    straight : bool
        Whether to leave out a tilt of the scan, so that its slices lie flat.
    """
    import medgs_core as medgs

    return volume_layer(medgs.read_volume(path, volume="all"), path, 2, straight=straight)


def zarr_layer(path: str) -> LayerData:
    """Return the layer of an OME-Zarr folder; slices of our own are read when they are looked at.

    Raises
    ------
    ValueError
        If the folder is damaged, or holds no volume.
    """
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
    """Return the layer of a folder of ours that reads slices when they are looked at, and tells which are missing."""
    from medgs_napari._arrays import LayerArray, Part
    from medgs_napari._frames import frame_of_volume
    from medgs_napari._rendered import METADATA, Slices

    frame = frame_of_volume(place, store.axis)
    settings: dict[str, Any] = {**frame.place, "rgb": frame.rgb, "name": _stem(path)}
    if not store.written.all():
        written = store.written
        settings["metadata"] = {
            METADATA: Slices(frame.slice_axis, np.arange(len(written)), written, RENDERED, ready=written)
        }
    return LayerArray(store, frame, Part(), place), settings, "image"


def volume_layer(stored: medgs.Volume, path: str, axis: int, *, straight: bool = False) -> LayerData:
    """Return the layer of a volume that was read: measured values, the volumes of a series along a first axis.

    Parameters
    ----------
    stored : Volume
        As it was read.
    path : str
        From where.
    axis : int
        Its slice axis.
    straight : bool
        Whether to leave out a tilt.
    """
    from medgs_napari._frames import frame_of_volume
    from medgs_napari._layers import METADATA, Origin, layer_data

    volume = measured_values(stored)
    frame = frame_of_volume(volume, axis, straight=straight)
    origin = Origin(volume, path if volume is stored else None, frame)
    settings: dict[str, Any] = {**frame.place, "rgb": False, "name": _stem(path), "metadata": {METADATA: origin}}
    data = layer_data(volume, frame.order)
    if volume.series:
        settings |= _with_first_axis(frame.place)
    elif data.ndim == 4:  # channels
        data = np.moveaxis(data, 3, 0)
        settings |= _with_first_axis(frame.place, "channel")
        settings["metadata"] = {}
    return data, settings, "image"


def measured_values(volume: medgs.Volume) -> medgs.Volume:
    """Return the volume with its slope and intercept applied: integers while these are, else float32."""
    slope, intercept = float(volume.slope), float(volume.intercept)
    if (slope, intercept) == (1.0, 0.0):
        return volume
    voxels = volume.voxels
    if slope.is_integer() and intercept.is_integer() and voxels.dtype.kind in "iu":
        ends = [int(one) * int(slope) + int(intercept) for one in (voxels.min(), voxels.max())]
        dtype = np.result_type(*(np.min_scalar_type(end) for end in ends), np.int16)
        whole = voxels.astype(np.int64) * int(slope) + int(intercept)
        return replace(volume, voxels=whole.astype(dtype), slope=1.0, intercept=0.0)
    real = voxels.astype(np.float64) * slope + intercept
    return replace(volume, voxels=real.astype(np.float32), slope=1.0, intercept=0.0)


def _read_model(path: str) -> list[LayerData]:
    from napari import current_viewer
    from napari.utils.notifications import show_warning

    import medgs_core as medgs
    from medgs_napari._session import load_fitted, session_of
    from medgs_napari._virtual import virtual_layers

    fitted, trouble = load_fitted(path)
    if trouble:
        show_warning(trouble)
    viewer = current_viewer()
    if viewer is not None:
        from medgs_napari._sections import watch_sections

        session_of(viewer).add(fitted)
        watch_sections(viewer)
    config = medgs.RenderConfig(factor=FACTOR)
    layers = virtual_layers(f"{fitted.name} x{FACTOR}", fitted.model, fitted.frames, config)
    return [(drawn.data, drawn.settings, "image") for drawn in layers]


def _with_first_axis(place: Any, label: str = "t") -> dict[str, Any]:
    """Return the place of a layer that has one more axis, before the others."""
    affine, rotate = np.eye(5), np.eye(4)
    affine[1:, 1:], rotate[1:, 1:] = place["affine"], place["rotate"]
    return {
        "scale": (1.0, *place["scale"]),
        "translate": (0.0, *place["translate"]),
        "rotate": rotate,
        "shear": np.zeros(6),
        "affine": affine,
        "units": ("pixel", *place["units"]),
        "axis_labels": (label, *place["axis_labels"]),
    }


def _paths(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else [str(one) for one in path]


def _stem(path: str) -> str:
    name = Path(path).name
    ending = next((one for one in (".nii.gz", ".ome.zarr") if name.lower().endswith(one)), Path(path).suffix)
    return name[: len(name) - len(ending)]


def _is_image_folder(path: Path) -> bool:
    """Return whether a folder says that it is an OME-Zarr image; without zarr, for napari asks of every folder."""
    if not path.name.lower().endswith(".zarr") or not path.is_dir():
        return False
    for name, inside in ZARR_ATTRIBUTES.items():
        try:
            told = json.loads((path / name).read_text(encoding="utf-8"))
            attributes = told[inside] if inside else told
            if "multiscales" in attributes.get("ome", attributes):
                return True
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            continue
    return False
