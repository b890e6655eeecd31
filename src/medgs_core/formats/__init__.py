"""*formats*: volumes in files; nothing outside this package knows a file layout.

In: a path, whose ending names the format. Out: a `Volume` with voxels as stored, or a complete file or folder.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medgs_core.formats import _nifti, _tiff, _zarr
from medgs_core.formats._decoding import ALL
from medgs_core.formats.atomic import check_folder_writable, check_writable, replaced_file, replaced_folder
from medgs_core.formats.endings import (
    NIFTI_ENDINGS,
    OME_ENDINGS,
    TIFF_ENDINGS,
    VOLUME_ENDINGS,
    check_evenly_spaced,
    check_single,
    is_store_name,
    listed,
)
from medgs_core.formats.streamed import check_replaceable, create_volume
from medgs_core.threads import follow_threads
from medgs_core.volume import Volume, resolve_axis

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
DICOM_REMEDY = "convert the series to NIfTI first, for instance with dcm2niix"
DICOM_MAGIC_OFFSET, DICOM_MAGIC = 128, b"DICM"

__all__ = ["check_volume_output", "check_writable", "read_volume", "replaced_file", "write_volume"]


def read_volume(
    path: str | os.PathLike[str],
    *,
    volume: int | str | None = None,
    voxel_size: Sequence[float] | None = None,
    positions: Sequence[float] | None = None,
) -> Volume:
    """Return the volume in a NIfTI, TIFF or OME-TIFF file or an OME-Zarr folder, its voxels exactly as stored.

    Parameters
    ----------
    path : path
        Ends in .nii, .nii.gz, .tif, .tiff, .ome.tif, .ome.tiff, .ome.zarr or .zarr.
    volume : int or "all", optional
        Which volume of a series to take, from 0; needed if there are several. All of them become channels.
    voxel_size : sequence of 3 floats, optional
        Z, Y, X spacing of a TIFF or OME-Zarr, instead of what its metadata say.
    positions : sequence of floats, optional
        Increasing positions of the slices in the file's unit, where their gaps are irregular.

    Raises
    ------
    ValueError
        If the file is missing, damaged, unfinished, not a volume, or in need of one of the arguments.
    """
    if isinstance(volume, str) and volume != ALL:
        raise ValueError(f"The chosen volume must be a number or {ALL!r}, got {volume!r}; correct it or leave it out.")
    source = Path(path)
    _check_input(source)
    name = source.name.lower()
    if name.endswith(NIFTI_ENDINGS):
        if voxel_size is not None:
            raise ValueError(
                f"A voxel size can be given for TIFF and OME-Zarr only, got {tuple(voxel_size)} for '{source}'; "
                "correct the spacing in the NIfTI header instead."
            )
        found = _nifti.read(source, volume)
    elif name.endswith(TIFF_ENDINGS):
        found = _tiff.read(source, volume, voxel_size)
    elif is_store_name(source):
        found = _zarr.read(source, volume, voxel_size)
    else:
        raise ValueError(f"The input must end in {listed(VOLUME_ENDINGS)}, got '{source}'; convert it to one of these.")
    if positions is None:
        return found
    return replace(found, positions=np.asarray(positions, dtype=np.float64))


def write_volume(volume: Volume, path: str | os.PathLike[str], *, labels: bool = False) -> None:
    """Write the volume to a NIfTI, TIFF or OME-TIFF file, or an OME-Zarr folder.

    An older one is replaced only by a complete one, and a folder only if it is a Zarr store.

    Parameters
    ----------
    volume : Volume
        What to write. Half precision becomes single, but in OME-Zarr.
    path : path
        Its ending names the format.
    labels : bool
        Whether values are label ids; OME-Zarr tells viewers so, the other formats have no word for it.

    Raises
    ------
    ValueError
        If the ending is unknown, the volume a combined one, the format cannot hold it, or the file cannot be written.
    """
    target = Path(path)
    _check_ending(target)
    if is_store_name(target):
        check_replaceable(target)
        with replaced_folder(target) as folder:
            _write_store(volume, folder, labels)
        return
    check_single(volume, target)
    check_evenly_spaced(volume, target)
    volume = _widened(volume)
    name = target.name.lower()
    with replaced_file(target) as file:
        if name.endswith(NIFTI_ENDINGS):
            _nifti.write(volume, file, compressed=name.endswith(".gz"))
        else:
            _tiff.write(volume, file, as_ome=name.endswith(OME_ENDINGS))


def check_volume_output(path: str | os.PathLike[str], volume: Volume | None = None) -> None:
    """Refuse a path that `write_volume` could not write, before long work is done for it.

    Parameters
    ----------
    path : path
        Where the volume will go.
    volume : Volume, optional
        One of the same voxel type and intensity scale, to see whether the format holds them.

    Raises
    ------
    ValueError
        If the ending is unknown, the folder takes no file, or the format cannot hold such a volume.
    """
    _check_ending(Path(path))
    if is_store_name(Path(path)):
        check_folder_writable(path)
        check_replaceable(Path(path))
        if volume is not None:
            _zarr.check_holds(volume)
        return
    check_writable(path)
    if volume is not None and Path(path).name.lower().endswith(TIFF_ENDINGS):
        _tiff.check_holds(_widened(volume))


def _widened(volume: Volume) -> Volume:
    """Return voxels of half precision in single, the very same values: NIfTI and TIFF volumes lack the former."""
    return replace(volume, voxels=volume.voxels.astype(np.float32)) if volume.voxels.dtype == np.float16 else volume


def _write_store(volume: Volume, folder: Path, labels: bool) -> None:
    """Write all slices into a new OME-Zarr folder, from threads of their own, which an interrupt does not break off."""
    axis = resolve_axis(volume, "auto")
    store = create_volume(folder, volume, axis, labels=labels)
    planes = np.moveaxis(volume.voxels, axis, 0)
    for _ in follow_threads(lambda i: store.write_slice(i, planes[i]), range(len(planes)), volume.voxels[0].nbytes):
        pass


def _check_ending(target: Path) -> None:
    if not target.name.lower().endswith(VOLUME_ENDINGS):
        raise ValueError(f"The output must end in {listed(VOLUME_ENDINGS)}, got '{target}'; change its ending.")


def _check_input(source: Path) -> None:
    try:
        if not source.exists():
            raise ValueError(f"The input must be an existing file, got '{source}'; check the path.")
        if is_store_name(source):
            if not source.is_dir():
                raise ValueError(f"An OME-Zarr input must be a folder, got the file '{source}'; unpack it first.")
            return
        if source.is_dir():
            if any(_is_dicom(entry) for entry in source.iterdir() if entry.is_file()):
                raise ValueError(f"The input must be one file, got the DICOM folder '{source}'; {DICOM_REMEDY}.")
            raise ValueError(f"The input must be a file, got the folder '{source}'; name a file inside it.")
        if source.stat().st_size == 0:
            raise ValueError(f"The input must hold a volume, got the empty file '{source}'; copy or export it again.")
        if _is_dicom(source):
            raise ValueError(f"The input must be NIfTI or TIFF, got the DICOM file '{source}'; {DICOM_REMEDY}.")
    except OSError as error:
        raise ValueError(
            f"The input must be readable, got '{source}' ({error.strerror}); change its permissions or its path."
        ) from error


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(DICOM_ENDINGS):
        return True
    with path.open("rb") as file:
        file.seek(DICOM_MAGIC_OFFSET)
        return file.read(len(DICOM_MAGIC)) == DICOM_MAGIC
