"""Rendered volumes as napari asks for them: in the axis order of a layer, one image or channel at a time.

A model and its frame come in; array-likes that render only what is looked at go out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medgs_napari._frames import Frame

if TYPE_CHECKING:
    import medgs_core as medgs

LARGEST_COARSE_SIDE = 256
"""Pixels of a slice of the coarse level: that is enough in 3-D, and napari takes it in 2-D only for canvases smaller
than that."""


class Source(Protocol):
    """A volume in its own axis order that can be indexed with integers and slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Return a part of it."""
        ...


@dataclass(frozen=True)
class Part:
    """What one layer shows of a volume.

    Attributes
    ----------
    image : which of the images that were combined
    channel : which of its channels; None for all of them, as color, or where there are none
    """

    image: int = 0
    channel: int | None = None


def parts_of(volume: medgs.Volume, *, rgb: bool) -> list[Part]:
    """Return the layers that it takes to show a volume: one per image and channel, one for color."""
    if volume.members:
        counts = [None if member.layout == "plain" else member.channels for member in volume.members]
    else:
        counts = [None if volume.voxels.ndim == 3 else volume.channels]
    if rgb and len(counts) == 1:
        return [Part()]
    return [
        Part(image, channel)
        for image, count in enumerate(counts)
        for channel in ([None] if count is None else list(range(count)))
    ]


class LayerArray:
    """A volume as the data of a layer: axes in the layer's order, those without a part in the volume of length 1.

    Parameters
    ----------
    source : Source
        In the volume's order; asked only for what is looked at.
    frame : Frame
        Of the layer.
    part : Part
        What to show of it.
    like : Volume
        Tells the images that were combined.
    """

    def __init__(self, source: Source, frame: Frame, part: Part, like: medgs.Volume) -> None:
        self.source = source
        self._order = frame.order
        self._cut = _cutter(like, part)
        probe = self._cut(np.empty((1, 1, 1, *source.shape[3:]), source.dtype))
        self.dtype: np.dtype[Any] = probe.dtype
        axes = tuple(1 if axis is None else int(source.shape[axis]) for axis in self._order)
        self.shape: tuple[int, ...] = (*axes, *(int(n) for n in probe.shape[3:]))

    @property
    def ndim(self) -> int:
        """Number of axes, color included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return what the same NumPy index picks; of the slices only those that integers and slices touch are made."""
        index = self._expanded(key)
        wanted: list[Any] = [slice(None)] * 3
        for place, axis in enumerate(self._order):
            if axis is not None and isinstance(index[place], int | np.integer):
                number = range(self.shape[place])[index[place]]
                wanted[axis], index[place] = slice(number, number + 1), 0
            elif axis is not None and isinstance(index[place], slice):
                wanted[axis], index[place] = index[place], slice(None)
        block = self._cut(self.source[tuple(wanted)])
        return self._arranged(block)[tuple(index)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return all of it, all of it rendered."""
        if copy is False:
            raise ValueError(
                "A volume that renders on access becomes an array by a copy only, got copy=False; leave it out."
            )
        return np.asarray(self[...], dtype=dtype)

    def _expanded(self, key: Any) -> list[Any]:
        given = list(key) if isinstance(key, tuple) else [key]
        dots = next((place for place, entry in enumerate(given) if entry is Ellipsis), len(given))
        rest = given[dots + 1 :]
        fill = [slice(None)] * (self.ndim - dots - len(rest))
        return given[:dots] + fill + rest

    def _arranged(self, block: Any) -> Any:
        """Return a block in the volume's order as the layer has it."""
        axes = [axis for axis in self._order if axis is not None]
        turned = block.transpose(*axes, *range(3, block.ndim))
        return np.expand_dims(turned, tuple(place for place, axis in enumerate(self._order) if axis is None))


def _cutter(like: medgs.Volume, part: Part) -> Callable[[Any], Any]:
    """Return the function that takes a part out of a block of voxels."""
    if not like.members:
        return lambda block: block if part.channel is None else block[..., part.channel]
    import medgs_core as medgs

    def cut(block: Any) -> Any:
        images = medgs.split_volume(replace(like, voxels=block, positions=None, orientation=None))
        voxels = images[part.image].voxels
        return voxels if part.channel is None else voxels[..., part.channel]

    return cut


class Nearest:
    """The measured slices nearest to evenly spread places of a finer volume, thinned in plane: instantly there.

    napari takes it for views in 3-D. Slice i of n stands where napari puts it, at i times the ratio of the lengths.

    Parameters
    ----------
    volume : Volume
        What was measured.
    axis : int
        Its slice axis.
    skipped : tuple of int
        Slices that count as not measured.
    coordinates : (slices,)
        Slice coordinates of the finer volume.
    """

    def __init__(self, volume: medgs.Volume, axis: int, skipped: tuple[int, ...], coordinates: Any) -> None:
        voxels = volume.voxels
        measured = np.array([k for k in range(voxels.shape[axis]) if k not in skipped])
        count = min(len(measured), len(coordinates))
        places = np.asarray(coordinates)[np.arange(count) * len(coordinates) // count]
        self._slices = measured[np.abs(places[:, np.newaxis] - measured).argmin(axis=1)]
        stride = -(-max(n for k, n in enumerate(voxels.shape[:3]) if k != axis) // LARGEST_COARSE_SIDE)
        thin = tuple(slice(None) if k == axis else slice(None, None, stride) for k in range(3))
        self._axis, self._thinned = axis, voxels[thin]
        self.dtype = voxels.dtype
        shape = list(self._thinned.shape)
        shape[axis] = count
        self.shape: tuple[int, ...] = tuple(shape)

    def __getitem__(self, key: Any) -> Any:
        """Return a part of the whole, which is small."""
        return np.take(self._thinned, self._slices, axis=self._axis)[key]


def virtual_levels(fine: Source, coarse: Nearest, frame: Frame, part: Part, like: medgs.Volume) -> list[LayerArray]:
    """Return the levels of a layer that renders on access: napari shows the fine one in 2-D and the last one in 3-D.

    One level where the volume is no finer than what was measured.
    """
    levels = [fine, coarse] if np.prod(coarse.shape) < np.prod(fine.shape) else [fine]
    return [LayerArray(level, frame, part, like) for level in levels]
