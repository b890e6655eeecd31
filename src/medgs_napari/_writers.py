"""*layers → files*: image and labels layers become NIfTI or OME-TIFF files or OME-Zarr folders, where they stand.

Writers as npe2 calls them, one for each format. OME-TIFF holds spacing and unit only, and what it leaves out is told.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._jobs import unmuted

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    import medgs_core as medgs

NIFTI = (".nii.gz", ".nii")
OME_TIFF = (".ome.tif", ".ome.tiff")
OME_ZARR = (".ome.zarr", ".zarr")

LONGEST_BYTES = 4

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "rgb", "name", "metadata")
"""What the writers need to know of a layer."""

STRAIGHT = 1e-6
"""Part of the spacing by which an affine may leave its axes and be what OME-TIFF can hold."""


@unmuted()
def write_nifti(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer to a NIfTI file where it stands in the world; return the path.

    Raises
    ------
    OSError
        If the layer is no volume, or the file cannot be written.
    """
    return _write(path, NIFTI, image_volume(data, meta))


@unmuted()
def write_ome_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer to an OME-TIFF file with its spacing and unit; return the path. As `write_nifti`."""
    return _write(path, OME_TIFF, image_volume(data, meta))


@unmuted()
def write_ome_zarr(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer to an OME-Zarr folder where it stands in the world; return the path. As `write_nifti`."""
    return _write(_another_folder(path, data, meta), OME_ZARR, image_volume(data, meta))


@unmuted()
def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer to a NIfTI file, on the grid of its image where it is known; return the path.

    Raises
    ------
    OSError
        If the layer is no volume, or the file cannot be written.
    """
    return _write(path, NIFTI, labels_volume(data, meta))


@unmuted()
def write_labels_ome_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer to an OME-TIFF file with its spacing and unit; return the path. As `write_labels`."""
    return _write(path, OME_TIFF, labels_volume(data, meta))


@unmuted()
def write_labels_ome_zarr(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer to an OME-Zarr folder, on the grid of its image; return the path. As `write_labels`."""
    return _write(_another_folder(path, data, meta), OME_ZARR, labels_volume(data, meta), labels=True)


def finest_of(data: Any, meta: dict[str, Any]) -> Any:
    """Return the finest level of the data of a layer."""
    return data[0] if meta.get("multiscale") else data


def image_volume(data: Any, meta: dict[str, Any]) -> medgs.Volume:
    """Return an image layer, as napari hands it to writers, as a volume where it stands.

    Raises
    ------
    ValueError
        If the layer has fewer than three axes or more than four.
    """
    from napari.layers import Image

    _check_finished(meta)
    known = {name: meta[name] for name in PLACE if name in meta}
    return _tilted(_volume_of(lambda: Image(finest_of(data, meta), contrast_limits=(0, 1), **known)), meta)


def labels_volume(data: Any, meta: dict[str, Any]) -> medgs.Volume:
    """Return a labels layer as a volume, on the grid of its image where that is known and the layer was not moved.

    Raises
    ------
    ValueError
        If the layer has fewer than three axes or more than four, or slices that are not rendered yet.
    """
    _check_finished(meta)
    volume = _labels_of(finest_of(data, meta), meta)
    return replace(volume, voxels=compact_integers(volume.voxels))


def compact_integers(voxels: Any) -> Any:
    """Return integers in 32 bits or fewer where they fit: few programs read longer ones in NIfTI files."""
    if voxels.dtype.itemsize <= LONGEST_BYTES:
        return voxels
    least = np.result_type(*(np.min_scalar_type(int(end)) for end in (voxels.min(), voxels.max())))
    return voxels.astype(least) if least.kind in "iu" else voxels  # no integer holds both ends, as NumPy sees it


def _labels_of(data: Any, meta: dict[str, Any]) -> medgs.Volume:
    from napari.layers import Labels

    from medgs_napari._grids import METADATA as GRID
    from medgs_napari._grids import Grid

    grid, name = meta.get("metadata", {}).get(GRID), meta.get("name", "labels")
    if isinstance(grid, Grid):
        with contextlib.suppress(ValueError):  # it was moved since: then it is written where it stands
            return grid.volume_of(name, data, meta)
    known = {key: meta[key] for key in PLACE if key in meta and key not in ("rgb", "metadata")}
    return _tilted(_volume_of(lambda: Labels(np.asarray(data), **known)), meta)


def _volume_of(make_layer: Callable[[], Image | Labels]) -> medgs.Volume:
    """Return the volume of a layer that is made for that alone."""
    from medgs_napari._layers import layer_volume

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non-orthogonal slicing")  # about how it is shown, and it is not
        layer = make_layer()
    return layer_volume(layer)


def _tilted(volume: medgs.Volume, meta: dict[str, Any]) -> medgs.Volume:
    """Return a volume with the tilt that was left out where its layer lies flat."""
    from medgs_napari._rendered import METADATA, Slices

    slices = meta.get("metadata", {}).get(METADATA)
    if not isinstance(slices, Slices) or slices.tilt is None:
        return volume
    swap = [2, 1, 0, 3]  # files count x first
    return replace(volume, affine=slices.tilt[swap][:, swap] @ volume.affine)


def _another_folder(path: str, data: Any, meta: dict[str, Any]) -> str:
    """Return the whole path of a folder, and refuse the one that the slices are read from while they are looked at."""
    whole = _ended(path, OME_ZARR)
    source = getattr(getattr(finest_of(data, meta), "source", None), "path", None)
    if source is not None and Path(whole).resolve() == Path(source).resolve():
        raise ValueError(
            f"A layer that is read from a folder must be saved to another one, got '{whole}'; change the name."
        )
    return whole


def _check_finished(meta: dict[str, Any]) -> None:
    """Refuse a layer that is still to be filled: what is missing would be black in the file."""
    from medgs_napari._rendered import METADATA, Slices

    slices = meta.get("metadata", {}).get(METADATA)
    if isinstance(slices, Slices) and not slices.finished:
        raise ValueError(
            f"A layer must have all its slices to be saved, got '{meta.get('name', 'image')}' with "
            f"{int(slices.ready.sum())} of {len(slices.ready)}; ask Interpolate for the same again, which renders the "
            "others."
        )


def _write(path: str, endings: tuple[str, ...], volume: medgs.Volume, *, labels: bool = False) -> list[str]:
    import medgs_core as medgs

    path = _ended(path, endings)
    if endings is OME_TIFF and not _is_upright(volume):
        warnings.warn(
            "OME-TIFF holds spacing and unit only, got a layer that is moved, mirrored or turned, which is left out; "
            "save it as NIfTI or OME-Zarr to keep its place.",
            stacklevel=2,
        )
    medgs.write_volume(volume, path, labels=labels)
    return [path]


def _ended(path: str, endings: tuple[str, ...]) -> str:
    """Return a path with an ending of the format."""
    return path if path.lower().endswith(endings) else path + endings[0]


def _is_upright(volume: medgs.Volume) -> bool:
    """Return whether the axes of a volume go along those of its world, from its origin."""
    least = STRAIGHT * min(volume.spacing)
    along = np.allclose(volume.affine[:3, :3].max(axis=0), volume.spacing, rtol=0.0, atol=least)
    return along and np.allclose(volume.affine[:3, 3], 0.0, atol=least)
