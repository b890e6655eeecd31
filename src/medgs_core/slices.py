"""`SliceStack`: a volume as ordered 2-D slices at known positions.

A volume and its slice axis come in; slices in unit intensities go out, converted on access so that nothing is
held twice.
"""

from dataclasses import dataclass

import numpy as np

from medgs_core.arrays import Image, Positions, Stack, Voxels
from medgs_core.volume import IntensityWindow, Volume, robust_window, slice_positions


@dataclass(frozen=True)
class SliceStack:
    """Slices in order along the slice axis, at strictly increasing positions.

    Attributes
    ----------
    planes : (slices, height, width, channels) stored values, a view of the volume
    positions : (slices,) physical z in the file's unit, strictly increasing
    window : maps stored values to unit intensities
    """

    planes: Voxels
    positions: Positions
    window: IntensityWindow

    def __len__(self) -> int:
        """Return the number of slices."""
        return int(self.planes.shape[0])

    @property
    def height(self) -> int:
        """Rows of a slice, in pixels."""
        return int(self.planes.shape[1])

    @property
    def width(self) -> int:
        """Columns of a slice, in pixels."""
        return int(self.planes.shape[2])

    @property
    def channels(self) -> int:
        """Channels of a slice."""
        return int(self.planes.shape[3])

    def image(self, k: int) -> Image:
        """Return slice k in unit intensities, clipped to [0, 1]: what is fitted and compared."""
        clipped: Image = np.clip(self.unclipped(k), np.float32(0), np.float32(1))
        return clipped

    def unclipped(self, k: int) -> Image:
        """Return slice k in unit intensities, beyond [0, 1] where the stored values leave the window."""
        # row by row in memory, whatever the order in the file: kernels are compiled for that alone
        return np.ascontiguousarray(self.window.to_unit(self.planes[k]))

    def images(self) -> Stack:
        """Return all slices as `image` does."""
        return np.stack([self.image(k) for k in range(len(self))])

    def select(self, indices: list[int]) -> "SliceStack":
        """Return the stack of the given slices, which must increase, with a copy of their planes."""
        return SliceStack(self.planes[indices], self.positions[indices], self.window)

    def bracket(self, t: float) -> tuple[int, float]:
        """Return (k, alpha) with t = k + alpha: the gap k, k + 1 that holds t, and the fraction of it.

        The last slice ends the last gap: there alpha is 1, elsewhere 0 <= alpha < 1.
        """
        k = min(max(int(np.floor(t)), 0), max(len(self) - 2, 0))
        return k, t - k

    def z_at(self, t: float) -> float:
        """Return the physical position of slice coordinate t, that of the end slice beyond the stack."""
        return float(np.interp(t, np.arange(len(self)), self.positions))

    def t_at(self, z: float) -> float:
        """Return the slice coordinate of physical position z, that of the end slice beyond the stack."""
        return float(np.interp(z, self.positions, np.arange(len(self))))


def measured_slices(count: int, skipped: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers of the slices that are left when some of so many are skipped."""
    return tuple(k for k in range(count) if k not in skipped)


def stack_slices(
    volume: Volume, axis: int, window: IntensityWindow | None = None, skipped: tuple[int, ...] = ()
) -> SliceStack:
    """Return the slices of a volume along one of its axes, as views; copied if some are skipped.

    Parameters
    ----------
    volume : Volume
        Voxels (i, j, k) or (i, j, k, channels).
    axis : int
        Slice axis, 0, 1 or 2, in the file's order.
    window : IntensityWindow, optional
        Maps stored values to unit intensities; the robust window of the volume if not given.
    skipped : tuple of int
        Bad slices: they are left out of the stack, and the robust window does not look at them.

    Returns
    -------
    SliceStack
        Height and width are the two other axes in the file's order.

    Raises
    ------
    ValueError
        If the volume has positions of its own for another axis, or the window has another number of channels.
    """
    if window is not None and window.width.size not in (1, volume.channels):
        msg = (
            f"a window must have one range, or one for each of the {volume.channels} channels, got "
            f"{window.width.size}; give as many"
        )
        raise ValueError(msg)
    voxels, positions = volume.voxels, slice_positions(volume, axis)
    if skipped:
        voxels, positions = np.delete(voxels, list(skipped), axis), np.delete(positions, list(skipped))
    planes = np.moveaxis(voxels, axis, 0)
    if planes.ndim == 3:
        planes = planes[..., np.newaxis]
    return SliceStack(planes, positions, window or robust_window(voxels))
