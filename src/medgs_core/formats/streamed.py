"""A volume in an OME-Zarr folder that is written slice by slice, in any order, and looked at all the while.

A volume's place and shape come in; a folder goes out that is complete as far as it says.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from medgs_core.arrays import Voxels
from medgs_core.formats import _zarr
from medgs_core.formats._decoding import decoding
from medgs_core.formats._ngff import OURS, StoreFacts, find_facts, store_facts
from medgs_core.formats.atomic import check_folder_writable, unwritable
from medgs_core.formats.endings import check_evenly_spaced, check_single, check_store_name, stem
from medgs_core.formats.geometry import volume_from
from medgs_core.volume import Volume


class StreamedVolume:
    """A volume on disk whose slices are written one by one; an array-like of its final shape at any time.

    Slices that are not written read as zero. Safe to use from several threads.

    Attributes
    ----------
    path : of the folder
    shape : (i, j, k) or (i, j, k, channels)
    dtype : of the stored values
    axis : along which the slices lie
    made_of : what `create_volume` was told
    """

    def __init__(self, path: Path, group: Any, array: Any, facts: StoreFacts) -> None:
        self.path, self.axis, self.made_of = path, facts.axis, facts.made_of
        self._group, self._array, self._facts = group, array, facts
        lead = array.ndim - 3
        spatial = [array.shape[lead + place] for place in np.argsort(facts.order)]
        self.shape: tuple[int, ...] = (*spatial, *array.shape[:lead])
        self.dtype: np.dtype[Any] = array.dtype.newbyteorder("=")
        self._written = np.zeros(self.shape[self.axis], bool)
        for first, last in facts.written:
            self._written[first : last + 1] = True
        self._lock = threading.Lock()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    @property
    def written(self) -> Bool[np.ndarray, " slices"]:
        """Which slices are there."""
        return self._written.copy()

    @property
    def place(self) -> Volume:
        """The volume that this becomes: its voxels are zero and take no memory."""
        blank = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        return volume_from(self._facts.geometry, blank)

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def write_slice(self, i: int, plane: Voxels) -> None:
        """Write slice i along the slice axis; from then on the folder says that it is there.

        Parameters
        ----------
        i : int
            Which one, from 0.
        plane : (height, width) or (height, width, channels)
            Stored values in the volume's dtype, its axes in the volume's order without the slice axis.

        Raises
        ------
        ValueError
            If the plane is of another shape or dtype, or the folder cannot be written; what was written before stays.
        IndexError
            If there is no such slice.
        """
        number = range(self.shape[self.axis])[i]
        shape = tuple(size for axis, size in enumerate(self.shape) if axis != self.axis)
        if plane.shape != shape or plane.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(
                f"A slice must be of shape {shape} and type {self.dtype}, got {plane.shape} and {plane.dtype}; "
                "render it for this volume."
            )
        block = _zarr.to_array_order(np.expand_dims(plane, self.axis), self._facts)
        along = self._array.ndim - 3 + self._facts.order.index(self.axis)
        try:
            self._array[(slice(None),) * along + (slice(number, number + 1),)] = block
            with self._lock:
                self._written[number] = True
                known = self._facts.model_dump(mode="json") | {"written": _spans(self._written)}
                self._group.update_attributes({OURS: known})
        except OSError as error:
            raise unwritable(self.path, error) from error

    def __getitem__(self, key: Any) -> Voxels:
        """Return what an index of integers, slices and an ellipsis picks, as it is on disk now.

        Raises
        ------
        ValueError
            If the folder has been damaged or deleted meanwhile.
        """
        given = list(key) if isinstance(key, tuple) else [key]
        dots = next((place for place, entry in enumerate(given) if entry is Ellipsis), len(given))
        rest = given[dots + 1 :]
        index = [*given[:dots], *[slice(None)] * (self.ndim - dots - len(rest)), *rest]
        picked = [range(size)[entry] for size, entry in zip(self.shape, index, strict=True)]
        touched = [(one, one) if isinstance(one, int) else _ends(one) for one in picked]
        wanted = [slice(first, last + 1) for first, last in touched]
        inside = [_within(one, first) for one, (first, _) in zip(picked, touched, strict=True)]
        with decoding(self.path, "OME-Zarr", "folder"):
            block = self._array[(*wanted[3:], *(wanted[axis] for axis in self._facts.order))]
        whole: Voxels = _zarr.to_volume_order(block, self._facts).astype(self.dtype, copy=False)
        return np.asarray(whole[tuple(inside)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Voxels:
        """Return the whole volume, all of it read.

        Raises
        ------
        ValueError
            If a copy is forbidden: there is nothing to share.
        """
        if copy is False:
            raise ValueError("A volume on disk becomes an array by a copy only, got copy=False; leave it out.")
        return np.asarray(self[...], dtype=dtype)


def create_volume(
    path: str | os.PathLike[str], like: Volume, axis: int, *, made_of: Mapping[str, Any] | None = None
) -> StreamedVolume:
    """Return a new volume in an OME-Zarr folder, none of its slices written yet.

    Parameters
    ----------
    path : path
        Ends in .ome.zarr or .zarr; nothing may be there yet.
    like : Volume
        The volume that it is to become. Only the shape and dtype of its voxels are looked at, so that
        `numpy.broadcast_to(numpy.zeros((), dtype), shape)` will do, which takes no memory.
    axis : int
        Along which the slices lie, 0, 1 or 2: each becomes one file, or several where it is large.
    made_of : mapping, optional
        JSON types, kept with it, for who wants to know if a folder is the one to go on with.

    Raises
    ------
    ValueError
        If the path is taken or cannot be written, or OME-Zarr cannot hold such a volume.

    Examples
    --------
    >>> fine = create_volume("fine.ome.zarr", volume, axis=0)  # doctest: +SKIP
    >>> fine.write_slice(12, plane)  # doctest: +SKIP
    """
    target = Path(path)
    check_store_name(target)
    check_single(like, target)
    check_evenly_spaced(like, target)
    _zarr.check_holds(like)
    check_folder_writable(target)
    if target.is_dir() and any(target.iterdir()):
        raise ValueError(f"A new volume must have a folder of its own, got '{target}', where one is; change the name.")
    facts = store_facts(like, axis, (), made_of or {})
    try:
        group, array = _zarr.create(target, facts, like.voxels.shape, like.voxels.dtype, stem(target))
    except OSError as error:
        raise unwritable(target, error) from error
    return StreamedVolume(target, group, array, facts)


def open_volume(path: str | os.PathLike[str]) -> StreamedVolume:
    """Return the volume in a folder that `create_volume` or `write_volume` made, to look at it or to go on writing.

    Raises
    ------
    ValueError
        If there is none, or another program made it: `read_volume` reads those.
    """
    source = Path(path)
    with decoding(source, "OME-Zarr", "folder"):
        group, array, _ = _zarr.open_image(source, "r+")
    facts = find_facts(source, dict(group.attrs), array.shape)
    if facts is None:
        raise ValueError(
            f"A volume must have been written by medgs to be opened slice by slice, got '{source}'; "
            "read it with read_volume."
        )
    return StreamedVolume(source, group, array, facts)


def check_replaceable(target: Path) -> None:
    """Refuse to replace a folder with other things than a Zarr store in it.

    Raises
    ------
    ValueError
        Naming the folder.
    """
    if target.is_dir() and any(target.iterdir()) and not _zarr.is_store(target):
        raise ValueError(
            f"The output must replace nothing but a Zarr store, got the folder '{target}' with other files; "
            "change the name."
        )


def _spans(written: Bool[np.ndarray, " slices"]) -> list[list[int]]:
    """Return the first and the last of each run of slices that are there."""
    edges = np.diff(np.concatenate([[False], written, [False]]).astype(np.int8))
    firsts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [[int(first), int(end) - 1] for first, end in zip(firsts, ends, strict=True)]


def _ends(steps: range) -> tuple[int, int]:
    """Return the least and the largest of the steps; nothing lies between 0 and -1."""
    return (min(steps), max(steps)) if len(steps) else (0, -1)


def _within(picked: int | range, first: int) -> int | slice:
    """Return what picks the same of a block that begins at `first`."""
    if isinstance(picked, int):
        return picked - first
    if not len(picked):
        return slice(0, 0)
    stop = picked[-1] - first + (1 if picked.step > 0 else -1)
    return slice(picked[0] - first, stop if stop >= 0 else None, picked.step)
