"""TIFF and OME-TIFF through tifffile: voxels in (z, y, x) order, channels last, spacing from the metadata.

TIFF holds no directions: world axes are x, y, z along the pixel axes, and a writer orders axes by them.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np

from medgs_core.arrays import Voxels
from medgs_core.formats._axes import cut_volume, given_spacing, world_order
from medgs_core.formats._decoding import Choice, decoding
from medgs_core.volume import Volume, stack_affine

logger = logging.getLogger(__name__)

METERS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "inch": 0.0254}
UNIT_NAMES = {
    **{name: name for name in METERS},
    "µm": "um",  # micro sign
    "μm": "um",  # Greek mu
    "\\u00B5m": "um",  # ImageJ writes the escape itself
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "millimeter": "mm",
    "in": "inch",
}
OME_UNITS = {"um": "µm", "inch": "in", "unknown": "pixel"}

OME_DTYPES = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"}
IMAGEJ_DTYPES = {"uint8", "uint16", "float32"}
IMAGEJ_BYTES = 2**32 - 2**25
"""Above this ImageJ's layout is no valid TIFF any more; OME becomes a BigTIFF."""

FIRST_PRIVATE_TAG = 32768


def read(path: Path, chosen: Choice, voxel_size: Sequence[float] | None) -> Volume:
    """Return the volume of a TIFF file, voxels as stored, (z, y, x) or (z, y, x, channels).

    Raises
    ------
    ValueError
        If the file is damaged, or is no volume, or a series without a choice, or its spacing is not positive.
    """
    import tifffile

    with decoding(path, "TIFF"), _damage_reported(), tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        axes, stored = series.axes, series.asarray()
        steps, unit = _metadata_spacing(tiff)
    cut = cut_volume(path, axes, stored.shape, chosen)
    voxels = stored[cut.index].transpose(cut.order)
    if voxels.dtype == np.bool_:
        voxels = voxels.astype(np.uint8)  # one bit per pixel: no format writes it back as a volume
    spacing = _known_spacing(path, steps) if voxel_size is None else given_spacing(voxel_size)
    return Volume(
        voxels=np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("=")),
        affine=stack_affine(spacing),
        unit=unit,
        series=cut.series,
    )


def check_holds(volume: Volume) -> None:
    """Refuse a volume whose voxel type or intensity scale TIFF cannot hold.

    Raises
    ------
    ValueError
        Names the type or the scale.
    """
    if volume.voxels.dtype.name not in OME_DTYPES:
        raise ValueError(
            f"TIFF with a voxel size cannot hold voxels of type {volume.voxels.dtype}; "
            "write NIfTI or convert them first."
        )
    if volume.slope != 1.0 or volume.intercept != 0.0:
        raise ValueError(
            f"TIFF cannot hold an intensity scale, got slope {volume.slope:g} and intercept "
            f"{volume.intercept:g}; write NIfTI instead."
        )


def write(volume: Volume, file: BinaryIO, *, as_ome: bool) -> None:
    """Write the volume as OME-TIFF, or as ImageJ's TIFF where that holds the voxel type.

    Raises
    ------
    ValueError
        If TIFF cannot hold the voxel type or the intensity scale.
    """
    import tifffile

    check_holds(volume)
    voxels, spacing = _world_order(volume)
    axes = "ZYX"
    if voxels.ndim == 4:
        axes, voxels = ("TZYX", np.moveaxis(voxels, -1, 0)) if volume.series else ("ZCYX", np.moveaxis(voxels, -1, 1))
    z, y, x = spacing
    in_imagej = not as_ome and voxels.dtype.name in IMAGEJ_DTYPES and voxels.nbytes < IMAGEJ_BYTES
    if in_imagej:
        unit = "pixel" if volume.unit == "unknown" else volume.unit
        tifffile.imwrite(
            file,
            voxels,
            imagej=True,
            photometric="minisblack",
            resolution=(1.0 / x, 1.0 / y),
            metadata={"axes": axes, "spacing": z, "unit": unit},
        )
        return
    unit = OME_UNITS.get(volume.unit, volume.unit)
    sizes = {f"PhysicalSize{axis}": step for axis, step in zip("ZYX", spacing, strict=True)}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "ZYX"}
    tifffile.imwrite(file, voxels, ome=True, photometric="minisblack", metadata={"axes": axes, **sizes, **units})


def _world_order(volume: Volume) -> tuple[Voxels, tuple[float, float, float]]:
    """Return voxels and spacing in (z, y, x) order of the world axes that each voxel axis is nearest to."""
    order = world_order(volume.affine)
    z, y, x = (volume.spacing[axis] for axis in order)
    rest = range(3, volume.voxels.ndim)
    return volume.voxels.transpose(*order, *rest), (z, y, x)


def _known_spacing(path: Path, steps: dict[str, float]) -> tuple[float, float, float]:
    if not all(np.isfinite(step) and step > 0 for step in steps.values()):
        raise ValueError(
            f"Voxel spacing must be positive, got {steps} in the metadata of '{path}'; "
            "give the right one with --voxel-size Z,Y,X."
        )
    missing = [axis for axis in "ZYX" if axis not in steps]
    if missing:
        logger.warning("'%s' has no spacing along %s: 1 is taken; give --voxel-size Z,Y,X", path, ", ".join(missing))
    return steps.get("Z", 1.0), steps.get("Y", 1.0), steps.get("X", 1.0)


def _metadata_spacing(tiff: Any) -> tuple[dict[str, float], str]:
    """Return the spacing along those of Z, Y, X that the metadata name, and its unit."""
    if tiff.is_ome:
        return _ome_spacing(tiff.ome_metadata)
    if tiff.is_imagej:
        return _imagej_spacing(tiff)
    return {}, "unknown"  # plain TIFF knows dots per inch of paper, which programs fill in as they like


def _ome_spacing(xml: str) -> tuple[dict[str, float], str]:
    pixels = next(node for node in ElementTree.fromstring(xml).iter() if node.tag.endswith("}Pixels"))
    steps, units = {}, {}
    for axis in "XYZ":
        size = pixels.get(f"PhysicalSize{axis}")
        if size is not None:
            steps[axis] = float(size)
            units[axis] = UNIT_NAMES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), "unknown")
    unit = next(iter(units.values()), "unknown")
    if unit in METERS:
        for axis, other in units.items():
            steps[axis] *= METERS.get(other, METERS[unit]) / METERS[unit]
    return steps, unit


def _imagej_spacing(tiff: Any) -> tuple[dict[str, float], str]:
    metadata = tiff.imagej_metadata
    tags = tiff.pages[0].tags
    unit = UNIT_NAMES.get(metadata.get("unit", ""), "unknown")
    steps = {}
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        if tag in tags and "unit" in metadata:
            pixels, length = tags[tag].value
            steps[axis] = length / pixels if pixels else 0.0
    if "spacing" in metadata:
        steps["Z"] = float(metadata["spacing"])
    return steps, unit


@contextmanager
def _damage_reported() -> Iterator[None]:
    """Raise what tifffile only logs: of a truncated file it reads what is left, pages or metadata missing."""
    handler = _ErrorList(logging.ERROR)
    tifffile_logger = logging.getLogger("tifffile")
    tifffile_logger.addHandler(handler)
    try:
        yield
    finally:
        tifffile_logger.removeHandler(handler)
    for message in handler.messages:
        tag = re.search(r"TiffTag (\d+)", message)
        # a maker's own tag may be broken without harm
        if tag is None or int(tag.group(1)) < FIRST_PRIVATE_TAG:
            raise ValueError(message)


class _ErrorList(logging.Handler):
    """Keeps the messages it is given."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
