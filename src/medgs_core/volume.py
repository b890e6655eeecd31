"""*volume*: the voxels as they are stored, where they stand in the world, how they become intensities.

In: an array in the axis order of its file, with an affine. Out: spacing, slice positions, a robust window,
and the volume that a resampling along one axis gives, with its geometry.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from medgs_core.arrays import Affine, Positions, Voxels

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
"""What maps to 0 and 1: the tails are left out because a few hot voxels would squeeze all others together."""

MIN_PARALLELEPIPED = 1e-6
"""Least volume spanned by the affine's unit columns: below it the axes lie in a plane, up to float32."""

LARGEST_MAGNITUDE = 1e30
"""Beyond it the squares of differences leave float32, in which intensities are compared."""

TIE_TOLERANCE = 1e-6
"""Spacings that differ by less are a tie: headers keep float32, and oblique axes are rounded one by one."""

REGULAR_TOLERANCE = 1e-4
"""Positions count as regular if no gap differs from the mean gap by more than this part of it."""


Layout = Literal["plain", "channels", "series"]
"""What the last axis of an image is: there is none, or it counts channels, or the volumes of a series."""


@dataclass(frozen=True)
class Member:
    """One of the images that a combined volume holds side by side on its channel axis; see `members`.

    Attributes
    ----------
    channels : how many of the channels are its own
    dtype : name of its stored type, which the volume's own may exceed
    slope, intercept : its measured value is stored * slope + intercept
    layout : its last axis; plain has one channel
    """

    channels: int
    dtype: str
    slope: float
    intercept: float
    layout: Layout


@dataclass(frozen=True, eq=False)
class NiftiOrientation:
    """What a NIfTI header says about the world beyond one affine, kept to be written back.

    Attributes
    ----------
    sform, qform : (4, 4) voxel index to world, None where the header's code is 0
    sform_code, qform_code : what each world is (1 scanner, 2 aligned, 3 Talairach, 4 MNI), 0 for none
    time_unit : unit of the time axis in nibabel's words
    time_step : of a series, in that unit
    """

    sform: Affine | None
    sform_code: int
    qform: Affine | None
    qform_code: int
    time_unit: str = "unknown"
    time_step: float = 1.0


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan: stored voxels in the axis order of the file, and their place in the world.

    Attributes
    ----------
    voxels : (i, j, k) or (i, j, k, channels) stored values, dtype of the file
    affine : (4, 4) voxel index to world (x, y, z), in `unit`
    unit : unit of length, "mm" or "um" for instance, "unknown" where the file names none
    slope, intercept : the measured value is stored * slope + intercept
    positions : increasing positions along the slice axis in `unit`, None where they follow from the affine
    orientation : the two affines of a NIfTI header, None for other origins
    series : whether the last of four axes counts the volumes of a series, which a file tells from channels
    members : the images that were combined into this volume, in the order of their channels; empty for others

    Raises
    ------
    ValueError
        If the voxels are not three-dimensional, empty or not finite, the geometry is degenerate, or the members do not
        share out the channels.
    """

    voxels: Voxels
    affine: Affine
    unit: str = "mm"
    slope: float = 1.0
    intercept: float = 0.0
    positions: Positions | None = None
    orientation: NiftiOrientation | None = None
    series: bool = False
    members: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        """Refuse voxels and geometry that nothing later could use."""
        _check_voxels(self.voxels)
        _check_affine(self.affine)
        if self.positions is not None:
            _check_positions(self.positions, self.voxels.shape[:3])
        if self.members:
            _check_members(self.members, self.voxels.shape)

    @property
    def shape3d(self) -> tuple[int, int, int]:
        """Number of voxels along the three spatial axes."""
        i, j, k = self.voxels.shape[:3]
        return i, j, k

    @property
    def channels(self) -> int:
        """Number of channels, 1 where the voxels have no channel axis."""
        return self.voxels.shape[3] if self.voxels.ndim == 4 else 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighboring voxels along each axis, in `unit`."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


@dataclass(frozen=True)
class IntensityWindow:
    """The affine map between stored values and unit intensities, invertible because it never clips.

    Attributes
    ----------
    low, high : stored values that become 0 and 1, low < high; one number, or one per channel of the last axis
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]

    @property
    def width(self) -> Float64[np.ndarray, "..."]:
        """Stored values from 0 to 1: one number, or one per channel."""
        return np.asarray(np.subtract(self.high, self.low, dtype=np.float64))

    def of_channels(self, first: int, last: int) -> "IntensityWindow":
        """Return the window of channels first .. last - 1."""
        if isinstance(self.low, tuple) and isinstance(self.high, tuple):
            return IntensityWindow(self.low[first:last], self.high[first:last])
        return self

    def to_unit(self, stored: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Return float32 unit intensities of stored values, outside [0, 1] beyond the window.

        Types that float32 cannot hold are subtracted in float64, so only the difference is rounded.
        """
        working = _working_dtype(stored.dtype)
        unit = (stored.astype(working) - np.asarray(self.low, working)) / self.width.astype(working)
        return np.asarray(unit, np.float32)

    def to_stored(self, unit: Shaped[np.ndarray, "..."], dtype: np.dtype[Any]) -> Shaped[np.ndarray, "..."]:
        """Return stored values of unit intensities, clipped to the dtype, rounded where it is an integer."""
        working = _working_dtype(dtype)
        return fit_dtype(unit.astype(working) * self.width.astype(working) + np.asarray(self.low, working), dtype)


def fit_dtype(values: Shaped[np.ndarray, "..."], dtype: np.dtype[Any]) -> Shaped[np.ndarray, "..."]:
    """Return values in another dtype: rounded to the nearest where it is an integer, clipped to what it can hold."""
    limits: Any = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
    if values.dtype.kind in "iu":
        held = np.iinfo(values.dtype)
        least, most = max(held.min, limits.min), min(held.max, limits.max)
    else:
        least, most = float(limits.min), float(limits.max)
        if most > limits.max:  # 64-bit limits round up in float64, to a value that no longer fits
            most = float(np.nextafter(most, 0.0))
        if np.issubdtype(dtype, np.integer):
            values = np.rint(values)
    clipped: Voxels = np.clip(values, least, most).astype(dtype, copy=False)
    return clipped


def robust_window(voxels: Voxels) -> IntensityWindow:
    """Return the window between the 0.5 and 99.5 percentiles, of width 1 where they coincide.

    One number for voxels (i, j, k), one per channel for voxels (i, j, k, channels): channels are measured apart, and
    the range of one says nothing about another.
    """
    if voxels.ndim < 4:
        return IntensityWindow(*_robust_range(voxels))
    low, high = zip(*(_robust_range(voxels[..., c]) for c in range(voxels.shape[3])), strict=True)
    return IntensityWindow(low, high)


def _robust_range(voxels: Voxels) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(voxels, (LOW_PERCENTILE, HIGH_PERCENTILE)))
    if high <= low:
        # Nearly all voxels are equal: the full range still tells the others apart, if there are others.
        low, high = float(voxels.min()), float(voxels.max())
    return low, high if high > low else low + 1.0


def resolve_axis(volume: Volume, axis: str) -> int:
    """Return the slice axis in the file's order; "auto" is the axis of largest spacing, the last on ties.

    Raises
    ------
    ValueError
        If `axis` is not one of auto, 0, 1, 2.
    """
    if axis == "auto":
        spacing = np.asarray(volume.spacing)
        return int(np.flatnonzero(spacing >= spacing.max() * (1.0 - TIE_TOLERANCE))[-1])
    if axis not in ("0", "1", "2"):
        raise ValueError(f"The slice axis must be auto, 0, 1 or 2, got {axis!r}; leave it out to take auto.")
    return int(axis)


def slice_positions(volume: Volume, axis: int) -> Positions:
    """Return the physical position z of each slice along the axis, in the volume's unit.

    Raises
    ------
    ValueError
        If the volume has positions of its own and their number is not the number of slices.
    """
    slices = volume.shape3d[axis]
    if volume.positions is None:
        return np.arange(slices, dtype=np.float64) * volume.spacing[axis]
    if len(volume.positions) != slices:
        raise ValueError(
            f"There must be one position for each of the {slices} slices along axis {axis}, got "
            f"{len(volume.positions)}; correct the list or choose another axis."
        )
    return volume.positions


def is_regular(positions: Positions) -> bool:
    """Return whether all gaps are equal, up to the rounding of a file."""
    gaps = np.diff(positions)
    return len(gaps) == 0 or bool(np.all(np.abs(gaps - gaps.mean()) <= REGULAR_TOLERANCE * gaps.mean()))


def resample_axis(
    volume: Volume,
    axis: int,
    voxels: Voxels,
    *,
    start: float = 0.0,
    step: float = 1.0,
    positions: Positions | None = None,
) -> Volume:
    """Return new voxels in the world of the volume they were rendered from; only the slice column is scaled.

    Parameters
    ----------
    volume : Volume
        Where the slices were measured.
    axis : int
        The slice axis.
    voxels : Voxels
        Stored values, same axis order; any number of slices along the axis.
    start, step : float
        New slice i stands at start + i * step, in slices of `volume.affine` (t, where the stack is regular).
    positions : Positions, optional
        Positions of the new slices in `volume.unit`, where they are irregular.
    """
    orientation = volume.orientation
    if orientation is not None:
        orientation = replace(
            orientation,
            sform=_step_along(orientation.sform, axis, start, step),
            qform=_step_along(orientation.qform, axis, start, step),
        )
    affine = _step_along(volume.affine, axis, start, step)
    assert affine is not None
    return replace(volume, voxels=voxels, affine=affine, positions=positions, orientation=orientation)


def stack_affine(spacing_zyx: tuple[float, float, float]) -> Affine:
    """Return the affine of voxels in (z, y, x) order, for files that have none: world axes are x, y, z."""
    z, y, x = spacing_zyx
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = z, y, x, 1.0
    return affine


def content_hash(volume: Volume) -> str:
    """Return the SHA-256 of voxels, geometry and members in hexadecimal, equal on every machine."""
    little_endian = volume.voxels.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{little_endian.str} {volume.voxels.shape}".encode())
    for plane in volume.voxels:  # plane by plane: a copy of the whole volume would double the memory
        digest.update(np.ascontiguousarray(plane, dtype=little_endian).data)
    for numbers in _geometry(volume):
        digest.update(np.ascontiguousarray(numbers, dtype="<f8").data)
    for member in volume.members:
        digest.update(repr(astuple(member)).encode())
    return digest.hexdigest()


def _geometry(volume: Volume) -> Iterator[Shaped[np.ndarray, "..."]]:
    yield volume.affine
    yield np.array([volume.slope, volume.intercept])
    if volume.positions is not None:
        yield volume.positions


def _step_along(affine: Affine | None, axis: int, start: float, step: float) -> Affine | None:
    if affine is None:
        return None
    stepped = affine.copy()
    stepped[:3, 3] += start * affine[:3, axis]
    stepped[:3, axis] *= step
    return stepped


def _working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)


def _check_voxels(voxels: Voxels) -> None:
    if voxels.ndim not in (3, 4):
        raise ValueError(
            f"A volume must have 3 dimensions, or 4 with channels last, got shape {voxels.shape}; "
            "stack 2-D images into one volume, or choose one volume of a series."
        )
    if 0 in voxels.shape:
        raise ValueError(
            f"Every axis of a volume must hold at least one voxel, got shape {voxels.shape}; export the file again."
        )
    if voxels.dtype.kind not in "iuf":
        raise ValueError(
            f"Voxels must be integers or real numbers, got {voxels.dtype}; convert them to such a type first."
        )
    if voxels.dtype.kind == "f":
        bad = voxels.size - sum(int(np.isfinite(plane).sum()) for plane in voxels)
        if bad:
            raise ValueError(
                f"All voxels must be finite, got {bad} of {voxels.size} that are NaN or infinite; "
                "replace them before fitting, for instance with numpy.nan_to_num."
            )
        largest = max(float(np.abs(plane).max()) for plane in voxels)
        if largest > LARGEST_MAGNITUDE:
            raise ValueError(
                f"Voxels must lie within {LARGEST_MAGNITUDE:g} of zero, got {largest:g}; "
                "replace such values, which no scanner measures, before fitting."
            )


def _check_affine(affine: Affine) -> None:
    columns = affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not np.all(np.isfinite(affine)) or not np.all(lengths > 0):
        spacing = tuple(float(length) for length in lengths)
        raise ValueError(
            f"Voxel spacing must be positive and the affine finite, got spacing {spacing}; correct the file's header."
        )
    if abs(np.linalg.det(columns / lengths)) < MIN_PARALLELEPIPED:
        raise ValueError(
            f"The affine must be invertible, got {columns.tolist()}, whose axes lie in one plane; "
            "correct the file's header."
        )


def _check_positions(positions: Positions, shape3d: tuple[int, ...]) -> None:
    if len(positions) not in shape3d:
        raise ValueError(
            f"There must be one position per slice, got {len(positions)} for a volume of shape {shape3d}; "
            "correct the list."
        )
    finite = np.isfinite(positions)
    if not finite.all():
        place = int(np.argmin(finite))
        raise ValueError(f"Slice positions must be finite, got {positions[place]} for slice {place}; correct the list.")
    rising = np.diff(positions) > 0
    if not rising.all():
        place = int(np.argmin(rising))
        raise ValueError(
            f"Slice positions must increase, got {positions[place]} and then {positions[place + 1]}; "
            "sort the slices and leave out repeated ones."
        )


def _check_members(members: tuple[Member, ...], shape: tuple[int, ...]) -> None:
    shares = [member.channels for member in members]
    plain = [member.channels for member in members if member.layout == "plain"]
    if len(shape) != 4 or min(shares) < 1 or sum(shares) != shape[3] or any(share != 1 for share in plain):
        raise ValueError(
            f"The members of a volume must share out its channels, got {shares} for voxels of shape {shape}; "
            "combine the volumes again."
        )
