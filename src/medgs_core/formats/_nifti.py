"""NIfTI through nibabel: voxels unscaled, both affines with their codes, slope and intercept kept aside.

Axes keep the file's order (i, j, k). Channels are a fifth dimension in the file, or RGB voxels.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medgs_core.arrays import Affine, Voxels
from medgs_core.formats._decoding import Choice, check_channel_axis, chosen_volume, decoding
from medgs_core.volume import NiftiOrientation, Volume

UNIT_OF_NIFTI = {"meter": "m", "mm": "mm", "micron": "um", "unknown": "unknown"}
NIFTI_OF_UNIT = {unit: name for name, unit in UNIT_OF_NIFTI.items()}

CONVERTED_UNITS = {"nm": ("um", 1e-3), "cm": ("mm", 10.0), "inch": ("mm", 25.4)}
"""Units that NIfTI cannot name, with one that it can and the factor to it; all others become "unknown"."""

ALIGNED = 2
"""Code of a world that is some other file's, not the scanner's: all we know where no header gave one."""

VECTOR_INTENT = 1007
LAST_SHORT = 32767
"""Longest axis that NIfTI-1 can hold; longer ones take NIfTI-2."""

SINGLE_FILE_OFFSET = 16
"""Voxel data of a single file start at a multiple of this many bytes."""

GZIP_LEVEL = 3
"""Twice as fast as gzip's 6 and within a few percent of its size on scans."""

CHUNK_BYTES = 2**20

SHEAR_TOLERANCE = 1e-5
"""Greatest cosine between axes that a quaternion may drop: float32 in the header rounds as much."""

BASE_TOLERANCE = 1e-4
"""Greatest difference, in the file's unit, from the world of a header without codes that needs none."""


def read(path: Path, chosen: Choice) -> Volume:
    """Return the volume of a NIfTI file, voxels as stored.

    Raises
    ------
    ValueError
        If the file is damaged, or is no volume, or a series without a choice.
    """
    import nibabel
    from nibabel.openers import ImageOpener

    with decoding(path, "NIfTI"), _unlogged():
        image: Any = nibabel.load(path)
        with ImageOpener(str(path)) as file:
            # nibabel mends a spacing of 0 silently: look at the header before that
            pixdim = type(image.header).from_fileobj(file, check=False)["pixdim"][1:4]
        stored = np.asanyarray(image.dataobj.get_unscaled())
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        unit, time_unit = image.header.get_xyzt_units()
        sform, sform_code = image.header.get_sform(coded=True)
        qform, qform_code = image.header.get_qform(coded=True)
        if path.name.lower().endswith(".gz"):
            _check_sum(path)
    if not sform_code and not np.all(pixdim > 0):
        raise ValueError(
            f"Voxel spacing must be positive, got {tuple(float(step) for step in pixdim)} in '{path}'; "
            "correct the file's header."
        )
    voxels, series = _three_dimensions(path, stored, chosen)
    step = float(image.header.get_zooms()[3]) if stored.ndim > 3 else 1.0
    step = step if np.isfinite(step) and step >= 0.0 else 1.0
    return Volume(
        voxels=voxels,
        affine=np.asarray(image.affine, dtype=np.float64),
        unit=UNIT_OF_NIFTI[unit],
        slope=slope,
        intercept=intercept,
        orientation=NiftiOrientation(sform, int(sform_code), qform, int(qform_code), time_unit, step),
        series=series,
    )


def write(volume: Volume, file: BinaryIO, *, compressed: bool) -> None:
    """Write the volume as one NIfTI file, stored values as they are.

    Raises
    ------
    ValueError
        If NIfTI has no such voxel type.
    """
    stored = _file_dimensions(volume)
    header = _header(volume, stored)
    if not compressed:
        _write_voxels(file, header, stored)
        return
    # Without name and time the same volume gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0) as packed:
        _write_voxels(packed, header, stored)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep nibabel from logging what it mends: what matters is told in our own words."""
    from nibabel.imageglobals import logger

    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _check_sum(path: Path) -> None:
    """Read a compressed file to its end, where its checksum is: nibabel stops at the last voxel."""
    with gzip.open(path) as file:
        while file.read(CHUNK_BYTES):
            pass


def _three_dimensions(path: Path, stored: Voxels, chosen: Choice) -> tuple[Voxels, bool]:
    """Return (i, j, k) or (i, j, k, channels), and whether these are volumes, of (i, j, k, volumes, channels)."""
    if stored.ndim < 3:
        return stored, False  # for `Volume` to refuse
    if stored.dtype.names is not None:  # RGB24 or RGBA32: one byte per channel in each voxel
        stored = np.ascontiguousarray(stored)[..., None].view(np.uint8)
        stored = stored[:, :, :, None] if stored.ndim == 4 else stored
    elif stored.ndim < 5:
        stored = stored.reshape(*stored.shape, *(1,) * (5 - stored.ndim))
    while stored.ndim > 5 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim > 5:
        return stored, False
    series = isinstance(chosen, str) and stored.shape[3] > 1
    if series:
        check_channel_axis(path, stored.shape[4])
        stored = stored[..., 0]
    else:
        index = chosen_volume(path, stored.shape[3], None if isinstance(chosen, str) else chosen)
        stored = stored[:, :, :, index]
    if stored.shape[3] == 1:
        stored = stored[..., 0]
    # A copy, as the file may be replaced while it is mapped; and the native byte order, which numba needs.
    return np.array(stored, dtype=stored.dtype.newbyteorder("=")), series


def _file_dimensions(volume: Volume) -> Voxels:
    """Return the voxels as the file holds them: a series as it is, RGB where they are, else channels as axis 4."""
    voxels = volume.voxels
    if voxels.ndim == 3 or volume.series:
        return voxels
    plain = volume.slope == 1.0 and volume.intercept == 0.0
    if voxels.dtype == np.uint8 and voxels.shape[3] == 3 and plain:
        rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        return np.ascontiguousarray(voxels).view(rgb)[..., 0]
    return voxels[:, :, :, None, :]


def _header(volume: Volume, stored: Voxels) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError

    kind: Any = Nifti1Header if max(stored.shape) <= LAST_SHORT else Nifti2Header
    header = kind(endianness="<")
    header["magic"] = kind.single_magic
    try:
        header.set_data_dtype(stored.dtype)
    except HeaderDataError as error:
        raise ValueError(
            f"NIfTI cannot hold voxels of type {stored.dtype}; write a TIFF or convert them first."
        ) from error
    header.set_data_shape(stored.shape)
    header["scl_slope"], header["scl_inter"] = volume.slope, volume.intercept
    if stored.ndim == 5:
        header.set_intent(VECTOR_INTENT)
    unit, factor = CONVERTED_UNITS.get(volume.unit, (volume.unit, 1.0))
    time_unit = "unknown" if volume.orientation is None else volume.orientation.time_unit
    header.set_xyzt_units(NIFTI_OF_UNIT.get(unit, "unknown"), time_unit)
    _set_orientation(header, volume, factor)
    header.set_data_offset(-(-int(header.single_vox_offset) // SINGLE_FILE_OFFSET) * SINGLE_FILE_OFFSET)
    return header


def _set_orientation(header: Any, volume: Volume, factor: float) -> None:
    affine = _scaled(volume.affine, factor)
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    known = volume.orientation
    time_step = known.time_step if known and volume.series else 1.0
    header.set_zooms((*zooms, *(time_step, 1.0)[: len(header.get_data_shape()) - 3]))
    if known is None:
        header.set_sform(affine, ALIGNED)
        if _is_orthogonal(affine):
            header.set_qform(affine, ALIGNED)
        return
    if known.qform is not None:
        header.set_qform(_scaled(known.qform, factor), known.qform_code)
    if known.sform is not None:
        header.set_sform(_scaled(known.sform, factor), known.sform_code)
    if known.qform is None and known.sform is None:
        # Without codes the origin is the middle of the volume: one that ends elsewhere must say so.
        if not np.allclose(header.get_base_affine(), affine, rtol=0.0, atol=BASE_TOLERANCE):
            header.set_sform(affine, ALIGNED)


def _scaled(affine: Affine, factor: float) -> Affine:
    scaled = affine.copy()
    scaled[:3] *= factor
    return scaled


def _is_orthogonal(affine: Affine) -> bool:
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.all(np.abs(columns.T @ columns - np.eye(3)) < SHEAR_TOLERANCE))


def _write_voxels(file: Any, header: Any, stored: Voxels) -> None:
    header.write_to(file)
    file.write(b"\0" * (header.get_data_offset() - file.tell()))
    for slab in np.moveaxis(stored, -1, 0):  # slab by slab, the first axis fastest: no second copy in memory
        file.write(slab.astype(slab.dtype.newbyteorder("<"), copy=False).tobytes(order="F"))
