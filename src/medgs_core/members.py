"""Several images on one grid: combined on one channel axis, so that one fit serves them all, and split again.

Volumes of any voxel types come in, one volume that knows them as its members goes out, and back: each with its
own type, intensity scale and channel axis.
"""

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from jaxtyping import Float64

from medgs_core.arrays import Voxels
from medgs_core.grid import check_grid
from medgs_core.volume import Layout, Member, Volume, fit_dtype


def combine_volumes(first: Volume, *others: Volume) -> Volume:
    """Return one volume of all images, side by side on its channel axis, to be fitted as one.

    Parameters
    ----------
    first : Volume
        Its place in the world is that of the result.
    *others : Volume
        On the same grid: shape, unit, affine and positions. Combined volumes are taken as their members.

    Returns
    -------
    Volume
        Voxels (i, j, k, channels) of a type that holds all values exactly, with `members`; slope 1 and intercept 0,
        because each member has its own. A single volume comes back as it is.

    Raises
    ------
    ValueError
        If they are not on one grid, or no type holds their values exactly.

    Examples
    --------
    >>> both = combine_volumes(t1, t2)  # doctest: +SKIP
    >>> t1_fine, t2_fine = split_volume(render_volume(fit_model(both).model, factor=4))  # doctest: +SKIP
    """
    if not others:
        return first
    for number, other in enumerate(others, start=2):
        check_grid(first, other, "Volumes that are fitted together must be on one grid", f"volumes 1 and {number}")
    volumes = [member for volume in (first, *others) for member in split_volume(volume)]
    dtype = np.result_type(*(volume.voxels.dtype for volume in volumes))
    members = tuple(_describe(volume) for volume in volumes)
    planes = np.empty((sum(member.channels for member in members), *first.shape3d), dtype)
    voxels = np.moveaxis(planes, 0, -1)
    for volume, channels in zip(volumes, channel_ranges(members), strict=True):
        _check_exact(volume, dtype)
        voxels[..., channels] = volume.voxels if volume.voxels.ndim == 4 else volume.voxels[..., np.newaxis]
    return replace(first, voxels=voxels, slope=1.0, intercept=0.0, members=members, series=False)


def split_volume(volume: Volume) -> tuple[Volume, ...]:
    """Return the members of a combined volume, each with its own voxel type, intensity scale and channel axis.

    The inverse of `combine_volumes`, for rendered volumes too: values are rounded where a member's type is an integer,
    and clipped to what it can hold. A volume that was not combined is its only member.
    """
    if not volume.members:
        return (volume,)
    return tuple(
        replace(
            volume,
            voxels=voxels,
            slope=member.slope,
            intercept=member.intercept,
            members=(),
            series=member.layout == "series",
        )
        for member, voxels in zip(volume.members, split_voxels(volume.members, volume.voxels), strict=True)
    )


def split_voxels(members: tuple[Member, ...], voxels: Voxels) -> tuple[Voxels, ...]:
    """Return the channels of each member, in its own type; of voxels without members, these alone."""
    if not members:
        return (voxels,)
    ranges = channel_ranges(members)
    return tuple(member_values(member, voxels[..., one]) for member, one in zip(members, ranges, strict=True))


def members_of(volume: Volume) -> tuple[Member, ...]:
    """Return the members of a volume; itself as the only one where it was not combined."""
    return volume.members or (_describe(volume),)


def member_values(member: Member, stored: Any) -> Any:
    """Return a member's channels in its own type, without the channel axis where it has none."""
    values = fit_dtype(stored, np.dtype(member.dtype))
    return values[..., 0] if member.layout == "plain" else values


def channel_ranges(members: tuple[Member, ...]) -> list[slice]:
    """Return where each member stands on the channel axis."""
    ends = accumulate((member.channels for member in members), initial=0)
    return [slice(first, last) for first, last in pairwise(ends)]


def channel_slopes(volume: Volume) -> Float64[np.ndarray, " channels"]:
    """Return by how much the measured value of each channel grows with its stored one."""
    return np.concatenate([np.full(member.channels, float(member.slope)) for member in members_of(volume)])


def _describe(volume: Volume) -> Member:
    layout: Layout = "plain" if volume.voxels.ndim == 3 else "series" if volume.series else "channels"
    return Member(volume.channels, volume.voxels.dtype.name, float(volume.slope), float(volume.intercept), layout)


def _check_exact(volume: Volume, dtype: np.dtype[Any]) -> None:
    """Refuse integers that the type which has to hold them would round."""
    own = volume.voxels.dtype
    if dtype.kind != "f" or own.kind == "f":
        return
    largest = 2 ** (np.finfo(dtype).nmant + 1)  # up to here a floating-point type has every integer
    least, most = int(volume.voxels.min()), int(volume.voxels.max())
    if least < -largest or most > largest:
        raise ValueError(
            f"Volumes that are fitted together must have values that one type holds exactly, got {least} to {most} of "
            f"type {own}, which {dtype} would round; convert the volumes to one type first."
        )
