"""*files → layers*: models and NIfTI files become layers, where they stand in their world.

Readers as npe2 calls them. All geometry passes through frames, as it does in the writers, so what is written reads back
in place.
"""

from __future__ import annotations

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


def get_model_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of `.medgs` files, None for others."""
    return read_models if all(str(one).lower().endswith(MODEL_ENDING) for one in paths_of(path)) else None


def get_nifti_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of NIfTI files, None for others."""
    return read_niftis if all(str(one).lower().endswith((".nii", ".nii.gz")) for one in paths_of(path)) else None


def read_models(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers that render the images of models on access, or their labels where there is nothing else.

    The viewer's list of models takes them in.
    """
    return [layer for one in paths_of(path) for layer in _read_model(str(one))]


def read_niftis(path: str | Sequence[str]) -> list[LayerData]:
    """Return layers of the volumes, where they stand in the world of their files."""
    return [nifti_layer(str(one)) for one in paths_of(path)]


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
    settings: dict[str, Any] = {**frame.place, "rgb": False, "name": stem(path), "metadata": {METADATA: origin}}
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

    from medgs_napari._results import marked
    from medgs_napari._session import load_fitted, session_of
    from medgs_napari._subject import VIRTUAL, first_look

    fitted, trouble = load_fitted(path)
    if trouble:
        show_warning(trouble)
    viewer = current_viewer()
    if viewer is not None:
        from medgs_napari._sections import watch_sections

        session_of(viewer).add(fitted)
        watch_sections(viewer)
    subject = first_look(fitted, FACTOR)
    return [
        (drawn.data, marked(subject.owner, result, drawn.settings), drawn.kind)
        for result, drawn in zip(subject.results(VIRTUAL), subject.layers(), strict=True)
    ]


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


def paths_of(path: str | Sequence[str]) -> list[str]:
    """Return what napari asks to read as a list."""
    return [path] if isinstance(path, str) else [str(one) for one in path]


def stem(path: str) -> str:
    """Return the name of a file without its ending."""
    name = Path(path).name
    ending = next((one for one in (".nii.gz", ".ome.zarr") if name.lower().endswith(one)), Path(path).suffix)
    return name[: len(name) - len(ending)]
