"""A volume that renders on access: an array-like whose slices are made when they are looked at.

A fitted model comes in; an object with shape, dtype and indexing goes out, as viewers and dask take it.
"""

from typing import Any

import numpy as np

from medgs_core.arrays import Voxels
from medgs_core.cache import RecentlyUsed
from medgs_core.config import RenderConfig
from medgs_core.model import FittedModel
from medgs_core.render import SliceRenderer, sample_slices, settle_options

CACHE_BYTES = 256 * 2**20
"""Memory for the slices looked at last."""


class LazyVolume:
    """The volume that `render_volume` would return, one slice at a time; safe to use from several threads.

    Attributes
    ----------
    shape : (i, j, k) or (i, j, k, channels), as `render_volume` would give
    dtype : the model's stored dtype
    coordinates : (slices,) slice coordinate t of each slice along `axis`
    axis : the slice axis
    """

    def __init__(self, model: FittedModel, config: RenderConfig) -> None:
        self._renderer = SliceRenderer(model, config)
        self._rendered: RecentlyUsed[Voxels] = RecentlyUsed(CACHE_BYTES)
        self.axis = model.axis
        self.coordinates = sample_slices(model, config).coordinates
        self.dtype = model.volume.voxels.dtype
        shape = list(model.volume.voxels.shape)
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

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def plane(self, i: int) -> Voxels:
        """Return slice i along the slice axis, the other axes in order; do not write to it."""

        def compute() -> Voxels:
            plane = self._renderer.stored(float(self.coordinates[i]))
            plane = np.array(plane if self.ndim == 4 else plane[..., 0])
            plane.flags.writeable = False
            return plane

        return self._rendered.get(i, compute, lambda plane: plane.nbytes)

    def __getitem__(self, key: Any) -> Voxels:
        """Return the part that a NumPy index of integers, slices and ellipsis picks; other axes' indices may be arrays.

        Only the slices that the index touches are rendered.
        """
        index = self._expanded(key)
        along = index[self.axis]
        if isinstance(along, int | np.integer):
            wanted = range(len(self.coordinates))[along]
            rest = index[: self.axis] + index[self.axis + 1 :]
            return self.plane(wanted)[rest]
        wanted_slices = np.arange(len(self.coordinates))[along]
        planes = [self.plane(int(i)) for i in wanted_slices]
        if not planes:
            empty = list(self.shape)
            empty[self.axis] = 0
            return np.empty(empty, self.dtype)[(*index[: self.axis], slice(None), *index[self.axis + 1 :])]
        block = np.stack(planes, axis=self.axis)
        return block[(*index[: self.axis], slice(None), *index[self.axis + 1 :])]

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

    def _expanded(self, key: Any) -> tuple[Any, ...]:
        """Return the index with one entry per axis."""
        given = key if isinstance(key, tuple) else (key,)
        dots = [place for place, entry in enumerate(given) if entry is Ellipsis]
        missing = self.ndim - (len(given) - len(dots))
        if missing < 0 or len(dots) > 1 or any(entry is None for entry in given):
            msg = f"the index must have at most {self.ndim} entries and one ellipsis, got {key!r}; index axis by axis"
            raise IndexError(msg)
        place = dots[0] if dots else len(given)
        return (*given[:place], *(slice(None),) * missing, *given[place + len(dots) :])


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
    return LazyVolume(model, settle_options(config, options))
