"""Which slices of a volume are kept and which are withheld, so that methods can be compared on these.

A volume and a stride come in; the numbers of both kinds of slices go out, and the volume of those kept.
"""

from dataclasses import dataclass, replace

import numpy as np

from medgs_core.config import EvaluateConfig, FitConfig
from medgs_core.plan import check_skipped
from medgs_core.volume import Volume, resolve_axis, slice_positions

FEWEST_SLICES = 3
"""One slice to predict and both of its neighbors."""


@dataclass(frozen=True)
class Split:
    """The slices of a volume, shared out; those after the last one kept are in neither part.

    Attributes
    ----------
    axis : slice axis in the file's order
    kept, held_out : slices given to the methods, and predicted by them
    """

    axis: int
    kept: tuple[int, ...]
    held_out: tuple[int, ...]


def split_slices(volume: Volume, config: FitConfig, stride: int) -> Split:
    """Return slices 0, K, 2K .. as kept, those between as held out; skipped ones are neither.

    Parameters
    ----------
    volume : Volume
        Its geometry alone matters.
    config : FitConfig
        Axis and skipped slices.
    stride : int
        K, at least 2.

    Raises
    ------
    ValueError
        If there are fewer than three slices, the stride is below 2, or stride and skipped slices leave fewer than two
        to keep or none to predict.
    """
    stride = EvaluateConfig(stride=stride).stride
    axis = resolve_axis(volume, config.axis)
    count = volume.shape3d[axis]
    if count < FEWEST_SLICES:
        msg = (
            f"an evaluation needs at least {FEWEST_SLICES} slices along its axis, got {count} along axis {axis} of "
            f"shape {volume.shape3d}; choose another axis or a volume with more slices"
        )
        raise ValueError(msg)
    check_skipped(count, config.skip)
    kept = tuple(k for k in range(0, count, stride) if k not in config.skip)
    if len(kept) < 2 and not config.skip:
        msg = f"stride must leave 2 or more of the {count} slices along axis {axis}, got {stride}; choose a smaller one"
        raise ValueError(msg)
    held_out = tuple(k for k in range(kept[-1]) if k % stride and k not in config.skip)
    if not held_out:
        msg = (
            f"skip and stride must leave 2 slices to keep and one between them to predict, got {len(config.skip)} "
            f"skipped of {count} slices and stride {stride}; skip fewer or choose another stride"
        )
        raise ValueError(msg)
    return Split(axis, kept, held_out)


def keep_slices(volume: Volume, split: Split) -> Volume:
    """Return the kept slices alone, at the positions where they stood."""
    positions = slice_positions(volume, split.axis)[list(split.kept)]
    return replace(volume, voxels=np.take(volume.voxels, split.kept, split.axis), positions=positions)
