"""The place of a volume in the world as JSON types, and back: everything of a volume that is not its voxels."""

from dataclasses import asdict
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from medgs_core.arrays import Affine, Voxels
from medgs_core.formats.container import Part
from medgs_core.volume import Layout, Member, NiftiOrientation, Volume

Row = tuple[float, float, float, float]
Matrix = tuple[Row, Row, Row, Row]
VoxelType = Literal[
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"
]


class OrientationFacts(Part):
    """The fields of `NiftiOrientation`."""

    sform: Matrix | None
    sform_code: int
    qform: Matrix | None
    qform_code: int
    time_unit: str
    time_step: float = 1.0


class MemberFacts(Part):
    """The fields of `Member`."""

    channels: PositiveInt
    dtype: VoxelType
    slope: float
    intercept: float
    layout: Layout


class GeometryFacts(Part):
    """The fields of `Volume` besides its voxels."""

    affine: Matrix
    unit: str
    slope: float
    intercept: float
    positions: tuple[float, ...] | None
    orientation: OrientationFacts | None
    series: bool = False
    members: tuple[MemberFacts, ...] = ()


def geometry_facts(volume: Volume) -> GeometryFacts:
    """Return the place of a volume in the world."""
    known = volume.orientation
    return GeometryFacts(
        affine=_matrix(volume.affine),
        unit=volume.unit,
        slope=float(volume.slope),
        intercept=float(volume.intercept),
        positions=None if volume.positions is None else tuple(volume.positions.tolist()),
        orientation=None
        if known is None
        else OrientationFacts(
            sform=None if known.sform is None else _matrix(known.sform),
            sform_code=int(known.sform_code),
            qform=None if known.qform is None else _matrix(known.qform),
            qform_code=int(known.qform_code),
            time_unit=known.time_unit,
            time_step=known.time_step,
        ),
        series=volume.series,
        members=tuple(MemberFacts.model_validate(asdict(member)) for member in volume.members),
    )


def volume_from(geometry: GeometryFacts, voxels: Voxels) -> Volume:
    """Return voxels at the place that the facts name.

    Raises
    ------
    ValueError
        If `Volume` refuses them.
    """
    known = geometry.orientation
    return Volume(
        voxels=voxels,
        affine=np.array(geometry.affine),
        unit=geometry.unit,
        slope=geometry.slope,
        intercept=geometry.intercept,
        positions=None if geometry.positions is None else np.array(geometry.positions, np.float64),
        orientation=None
        if known is None
        else NiftiOrientation(
            sform=None if known.sform is None else np.array(known.sform),
            sform_code=known.sform_code,
            qform=None if known.qform is None else np.array(known.qform),
            qform_code=known.qform_code,
            time_unit=known.time_unit,
            time_step=known.time_step,
        ),
        series=geometry.series,
        members=tuple(Member(**member.model_dump()) for member in geometry.members),
    )


def _matrix(affine: Affine) -> Matrix:
    first, second, third, fourth = ((float(a), float(b), float(c), float(d)) for a, b, c, d in affine)
    return first, second, third, fourth
