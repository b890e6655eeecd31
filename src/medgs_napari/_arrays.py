"""Rendered volumes as napari asks for them: in the axis order of a layer, one image or channel at a time.

A model and its frame come in; array-likes that render only what is looked at go out.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medgs_napari._ahead import Ahead
from medgs_napari._coarse import thinning
from medgs_napari._frames import Frame

if TYPE_CHECKING:
    import medgs_core as medgs

DRAWING = "napari.layers._scalar_field._slice"
"""The module of napari that asks for what is drawn, and for nothing else. If a version has another one, drawing waits
until all that it shows is rendered."""


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


def parts_of(volume: medgs.Volume, colors: Sequence[bool]) -> list[Part]:
    """Return the layers that it takes to show a volume: one per image and channel; one for each image that is color."""
    if volume.members:
        counts = [None if member.layout == "plain" else member.channels for member in volume.members]
    else:
        counts = [None if volume.voxels.ndim == 3 else volume.channels]
    return [
        Part(image, channel)
        for image, (count, color) in enumerate(zip(counts, colors, strict=True))
        for channel in ([None] if count is None or color else list(range(count)))
    ]


class LayerArray:
    """A volume as the data of a layer: axes in the layer's order, those without a part in the volume of length 1.

    An index of slices that keeps all slices of the volume gives a view, which renders nothing: napari cuts out what is
    in sight first, and picks the slice then. Any other index gives an array, all of it rendered; only napari, when it
    draws a cross-section, gets it as well as it is known.

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
        self._order, self._slice_axis = frame.order, frame.slice_axis
        self._cut = _cutter(like, part)
        probe = self._cut(np.empty((1, 1, 1, *source.shape[3:]), source.dtype))
        self.dtype: np.dtype[Any] = probe.dtype
        axes = [1 if axis is None else int(source.shape[axis]) for axis in self._order]
        self._ranges = tuple(range(n) for n in (*axes, *probe.shape[3:]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Steps along each axis, and of color."""
        return tuple(len(one) for one in self._ranges)

    @property
    def ndim(self) -> int:
        """Number of axes, color included."""
        return len(self._ranges)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return what the same NumPy index picks; integers, slices and an ellipsis are understood."""
        index = self._expanded(key)
        picked = [one[entry] for one, entry in zip(self._ranges, index, strict=True)]
        along = picked[self._slice_axis]
        if all(isinstance(one, range) for one in picked) and along == self._ranges[self._slice_axis] and len(along) > 1:
            view = copy.copy(self)
            view._ranges = tuple(picked)
            return view
        return self._read(picked, _drawn(sys._getframe(1)))

    def __deepcopy__(self, memo: dict[int, Any]) -> LayerArray:
        """Return the same for a duplicate of the layer: what renders is shared, for nothing writes to it."""
        return copy.copy(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return all of it, all of it rendered."""
        if copy is False:
            raise ValueError(
                "A volume that renders on access becomes an array by a copy only, got copy=False; leave it out."
            )
        return np.asarray(self._read(list(self._ranges), _drawn(sys._getframe(1))), dtype=dtype)

    def direct(self) -> LayerArray:
        """Return the same, rendered as it is asked for and nothing ahead of that."""
        plain = copy.copy(self)
        plain.source = self.source.lazy if isinstance(self.source, Ahead) else self.source
        return plain

    def _expanded(self, key: Any) -> list[Any]:
        given = list(key) if isinstance(key, tuple) else [key]
        dots = next((place for place, entry in enumerate(given) if entry is Ellipsis), len(given))
        rest = given[dots + 1 :]
        return [*given[:dots], *[slice(None)] * (self.ndim - dots - len(rest)), *rest]

    def _read(self, picked: list[Any], drawn: bool) -> Any:
        """Return the steps picked of each axis, an integer or a range; only as well as it is known if it is drawn."""
        wanted: list[Any] = [slice(None)] * 3
        for axis, steps in zip(self._order, picked, strict=False):
            if axis is not None:
                wanted[axis] = as_slice(steps)
        source, key = self.source, tuple(wanted)
        block = self._cut(source.glance(key) if drawn and isinstance(source, Ahead) else source[key])
        axes = [axis for axis in self._order if axis is not None]
        turned = block.transpose(*axes, *range(3, block.ndim))
        whole = np.expand_dims(turned, tuple(place for place, axis in enumerate(self._order) if axis is None))
        dropped: list[Any] = [slice(None) if isinstance(one, range) else 0 for one in picked[: len(self._order)]]
        color = [as_slice(one) if isinstance(one, range) else one for one in picked[len(self._order) :]]
        return whole[(*dropped, *color)]


def _drawn(caller: FrameType) -> bool:
    """Return whether it is napari that asks, in order to draw."""
    return caller.f_globals.get("__name__") == DRAWING


def as_slice(steps: int | range) -> slice:
    """Return the slice that picks these steps."""
    if not isinstance(steps, range):
        return slice(steps, steps + 1)
    stop = steps.stop if steps.stop >= 0 else None  # the end of a range that counts down to 0
    return slice(steps.start, stop, steps.step) if len(steps) else slice(0, 0)


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


def virtual_levels(fine: Source, coarse: Source, frame: Frame, part: Part, like: medgs.Volume) -> list[LayerArray]:
    """Return the levels of a layer that renders on access: napari shows the fine one in 2-D and the last one in 3-D.

    One level where the volume is no finer than what was measured.
    """
    levels = [fine, coarse] if np.prod(coarse.shape) < np.prod(fine.shape) else [fine]
    return [LayerArray(level, frame, part, like) for level in levels]


def thinned_levels(fine: LayerArray, slice_axis: int) -> list[LayerArray]:
    """Return the levels of a layer that has no slices to show in 3-D but its own: there they are thinned in plane.

    One level where slices are small.
    """
    thin = thinning(fine.shape, slice_axis)
    return [fine] if all(one.step == 1 for one in thin) else [fine, fine[thin]]
