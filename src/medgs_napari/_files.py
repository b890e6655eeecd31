"""*files*: models and NIfTI volumes become layers, image and labels layers become NIfTI files in place.

Readers and writers as npe2 calls them. All geometry passes through frames, so what is written reads back in place.
"""

from __future__ import annotations

import contextlib
import warnings
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

LONGEST_BYTES = 4

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "rgb", "name", "metadata")
"""What the writer needs to know of a layer."""


def get_model_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of `.medgs` files, None for others."""
    return read_models if all(str(one).lower().endswith(MODEL_ENDING) for one in _paths(path)) else None


def get_nifti_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of NIfTI files, None for others."""
    return read_niftis if all(str(one).lower().endswith((".nii", ".nii.gz")) for one in _paths(path)) else None


def read_models(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers that render the models on access; the viewer's list of models takes them in."""
    return [layer for one in _paths(path) for layer in _read_model(str(one))]


def read_niftis(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers of the volumes, where they stand in the world of their files."""
    return [nifti_layer(str(one)) for one in _paths(path)]


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
    from medgs_napari._frames import frame_of_volume
    from medgs_napari._layers import METADATA, Origin, layer_data

    stored = medgs.read_volume(path, volume="all")
    volume = measured_values(stored)
    frame = frame_of_volume(volume, 2, straight=straight)
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


def write_nifti(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer to a NIfTI file where it stands in the world; return the path.

    Raises
    ------
    ValueError
        If the layer is no volume, or the file cannot be written.
    """
    from napari.layers import Image

    import medgs_core as medgs
    from medgs_napari._layers import layer_volume

    known = {name: meta[name] for name in PLACE if name in meta}
    finest = data[0] if meta.get("multiscale") else data
    if not path.lower().endswith((".nii", ".nii.gz")):
        path = f"{path}.nii.gz"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non-orthogonal slicing")  # about how it is shown, and it is not
        layer = Image(finest, contrast_limits=(0, 1), **known)
    medgs.write_volume(layer_volume(layer), path)
    return [path]


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer to a NIfTI file, on the grid of its image where it is known; return the path.

    Raises
    ------
    ValueError
        If the layer is no volume, or the file cannot be written.
    """
    import medgs_core as medgs

    if not path.lower().endswith((".nii", ".nii.gz")):
        path = f"{path}.nii.gz"
    volume = _labels_of(data[0] if meta.get("multiscale") else data, meta)
    medgs.write_volume(replace(volume, voxels=compact_integers(volume.voxels)), path)
    return [path]


def compact_integers(voxels: Any) -> Any:
    """Return integers in 32 bits or fewer where they fit: few programs read longer ones in NIfTI files."""
    if voxels.dtype.itemsize <= LONGEST_BYTES:
        return voxels
    ends = [np.min_scalar_type(int(end)) for end in (voxels.min(), voxels.max())]
    return voxels.astype(np.result_type(*ends))


def _labels_of(data: Any, meta: dict[str, Any]) -> medgs.Volume:
    from napari.layers import Labels

    from medgs_napari._grids import METADATA as GRID
    from medgs_napari._grids import Grid
    from medgs_napari._layers import layer_volume

    grid, name = meta.get("metadata", {}).get(GRID), meta.get("name", "labels")
    if isinstance(grid, Grid):
        with contextlib.suppress(ValueError):  # it was moved since: then it is written where it stands
            return grid.volume_of(name, data, meta)
    known = {key: meta[key] for key in PLACE if key in meta and key not in ("rgb", "metadata")}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non-orthogonal slicing")  # about how it is shown, and it is not
        layer = Labels(np.asarray(data), **known)
    return layer_volume(layer)


def _read_model(path: str) -> list[LayerData]:
    from napari import current_viewer
    from napari.utils.notifications import show_warning

    import medgs_core as medgs
    from medgs_napari._rendered import virtual_layers
    from medgs_napari._session import load_fitted, session_of

    fitted, trouble = load_fitted(path)
    if trouble:
        show_warning(trouble)
    viewer = current_viewer()
    if viewer is not None:
        session_of(viewer).add(fitted)
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
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(path).stem
