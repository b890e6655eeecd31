"""A volume that renders on access: an array-like whose slices are made when they are looked at.

A fitted model comes in; an object with shape, dtype and indexing goes out, as viewers and dask take it.
"""

from typing import Any

import numpy as np
from jaxtyping import Int

from medgs_core.arrays import Voxels
from medgs_core.cache import RecentlyUsed
from medgs_core.config import RenderConfig
from medgs_core.model import FittedModel
from medgs_core.render import Rendering, plan_rendering, settle_options
from medgs_core.volume import Volume

CACHE_BYTES = 256 * 2**20
"""Memory for the slices looked at last."""


class LazyVolume:
    """A volume that is rendered one slice at a time; safe to use from several threads.

    Attributes
    ----------
    shape : (i, j, k) or (i, j, k, channels), as the whole of it would have
    dtype : the stored dtype of the image or of the labels, float32 of an uncertainty
    coordinates : (slices,) slice coordinate t of each slice along `axis`
    axis : the slice axis
    """

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._rendered: RecentlyUsed[Voxels] = RecentlyUsed(CACHE_BYTES)
        self.axis = rendering.axis
        self.coordinates = rendering.sampling.coordinates
        self.dtype = rendering.source.voxels.dtype
        shape = list(rendering.source.voxels.shape)
        shape[self.axis] = len(self.coordinates)
        self.shape = tuple(shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    @property
    def place(self) -> Volume:
        """The volume that all of it would be: its voxels are zero and take no memory."""
        blank = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        return self._rendering.placed(self._rendering.source, blank)

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return int(self.shape[0])

    def plane(self, i: int) -> Voxels:
        """Return slice i along the slice axis, the other axes in order; do not write to it."""

        def compute() -> Voxels:
            plane = np.array(self._rendering.plane(i))
            plane.setflags(write=False)
            return plane

        rendered: Voxels = self._rendered.get(i, compute, lambda plane: plane.nbytes)
        return rendered

    def known(self, i: int) -> Voxels | None:
        """Return slice i as `plane` does if it was rendered lately, None if it would have to be rendered."""
        return self._rendered.peek(i)

    def __getitem__(self, key: Any) -> Any:
        """Return what the same NumPy index picks of the whole volume; only the slices that it touches are rendered.

        Integers, slices, ellipsis, `None`, and arrays of integers or of booleans along one axis. What views one
        slice cannot be written to.

        Raises
        ------
        IndexError
            If the index has too many entries, lies outside the volume, or is a mask over several axes.
        """
        index, place = self._expanded(key)
        along, count = index[place], len(self.coordinates)
        if isinstance(along, int | np.integer):
            block = np.expand_dims(self.plane(range(count)[along]), self.axis)
            chosen: Any = 0
        else:
            picked = np.arange(count)[along]
            touched = picked if isinstance(along, slice) else np.unique(picked)
            block = self._block(touched)
            chosen = slice(None) if isinstance(along, slice) else np.searchsorted(touched, picked)
        return block[(*index[:place], chosen, *index[place + 1 :])]

    def _block(self, touched: Int[np.ndarray, " slices"]) -> Voxels:
        """Return the whole of some slices, side by side."""
        shape = list(self.shape)
        shape[self.axis] = len(touched)
        block = np.empty(shape, self.dtype)
        planes = np.moveaxis(block, self.axis, 0)
        for place, i in enumerate(touched):
            planes[place] = self.plane(int(i))
        return block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Voxels:
        """Return the whole volume, all of it rendered.

        Raises
        ------
        ValueError
            If a copy is forbidden: there is nothing to share.
        """
        if copy is False:
            msg = "a volume that renders on access cannot become an array without a copy, got copy=False; leave it out"
            raise ValueError(msg)
        return np.asarray(self[...], dtype=dtype)

    def _expanded(self, key: Any) -> tuple[tuple[Any, ...], int]:
        """Return the index with an entry for every axis, and the place in it of the slice axis."""
        given = key if isinstance(key, tuple) else (key,)
        dots = [place for place, entry in enumerate(given) if entry is Ellipsis]
        missing = self.ndim - sum(entry is not None and entry is not Ellipsis for entry in given)
        if missing < 0 or len(dots) > 1 or any(_is_mask_of_axes(entry) for entry in given):
            kinds = ", ".join(type(entry).__name__ for entry in given)
            msg = (
                f"an index must have at most {self.ndim} entries, one ellipsis, and masks of one axis, got {kinds}; "
                "index axis by axis"
            )
            raise IndexError(msg)
        split = dots[0] if dots else len(given)
        index = (*given[:split], *(slice(None),) * missing, *given[split + len(dots) :])
        axes = [place for place, entry in enumerate(index) if entry is not None]
        return index, axes[self.axis]


def _is_mask_of_axes(entry: Any) -> bool:
    """Return whether an entry of an index is boolean over no axis or over several."""
    return not isinstance(entry, slice) and np.asarray(entry).dtype == bool and np.ndim(entry) != 1


def lazy_volume(model: FittedModel, config: RenderConfig | None = None, **options: Any) -> LazyVolume:
    """Return the volume that `render_volume` gives for the same options, rendered slice by slice on access.

    Parameters
    ----------
    model : FittedModel
        What to render.
    config : RenderConfig, optional
        Sampling, detail, denoise, device.
    **options
        Single settings of `RenderConfig`, instead of a config or over it.

    Raises
    ------
    ValueError
        If an option breaks its rule or positions leave the stack.
    """
    return LazyVolume(plan_rendering(model, settle_options(config, options)))


def lazy_uncertainty(model: FittedModel, config: RenderConfig | None = None, **options: Any) -> LazyVolume:
    """Return the volume that `render_uncertainty` gives for the same options, rendered slice by slice on access.

    Parameters
    ----------
    model, config, **options
        As for `lazy_volume`; with `labels=True` how sure each label is.

    Raises
    ------
    ValueError
        If the model knows no bounds, an option breaks its rule or positions leave the stack.
    """
    return LazyVolume(plan_rendering(model, settle_options(config, options), bounds=True))
