"""OME-Zarr folders through zarr: the finest level of the first image, as a volume; and new ones, slice by slice.

Axes of our own folders come back in the volume's order; those of others are (z, y, x), channels last.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from medgs_core.arrays import Voxels
from medgs_core.formats._axes import cut_volume
from medgs_core.formats._decoding import Choice, chosen_volume, decoding
from medgs_core.formats._ngff import (
    LABELS,
    LEVEL,
    OURS,
    Image,
    StoreFacts,
    find_facts,
    find_image,
    ome_facts,
    place_image,
)
from medgs_core.formats.geometry import VoxelType, volume_from
from medgs_core.volume import Volume

LARGEST_CHUNK_SIDE = 512
"""Pixels: a slice of a scan is one file, and of a large one a viewer fetches what it shows, half a megabyte each."""

MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files by which a folder is known as a Zarr store."""

COLLECTION = "bioformats2raw.layout"
"""Attribute of a store that holds several images in numbered groups."""


def is_store(path: Path) -> bool:
    """Return whether a folder is a Zarr store."""
    return any((path / mark).is_file() for mark in MARKS)


def read(path: Path, chosen: Choice, voxel_size: Sequence[float] | None) -> Volume:
    """Return the volume of an OME-Zarr folder, voxels as stored.

    Raises
    ------
    ValueError
        If the store is damaged or unfinished, or is no volume, or a series without a choice.
    """
    with decoding(path, "OME-Zarr", "folder"):
        group, array, image = open_image(path)
    facts = None if voxel_size is not None else find_facts(path, dict(group.attrs), array.shape)
    if facts is None:
        cut = cut_volume(path, image.axes, array.shape, chosen)
        affine, unit = place_image(path, image, cut, voxel_size)
        with decoding(path, "OME-Zarr", "folder"):
            voxels = array[cut.index].transpose(cut.order)
        return Volume(_native(voxels), affine, unit, series=cut.series)
    check_finished(path, facts, array)
    with decoding(path, "OME-Zarr", "folder"):
        voxels = to_volume_order(array[...], facts)
    if facts.geometry.series and not isinstance(chosen, str):
        voxels = voxels[..., chosen_volume(path, voxels.shape[3], chosen)]
        facts = facts.model_copy(update={"geometry": facts.geometry.model_copy(update={"series": False})})
    return volume_from(facts.geometry, _native(voxels))


def open_image(path: Path, mode: str = "r") -> tuple[Any, Any, Image]:
    """Return the group of the first image in a store, its finest array, and what the store says of it.

    Raises
    ------
    ValueError, LookupError, TypeError, OSError
        If there is none.
    """
    import zarr

    node = zarr.open(str(path), mode=mode)
    if isinstance(node, zarr.Array):
        names = getattr(node.metadata, "dimension_names", None) or "tczyx"[-node.ndim :]
        axes = "".join((name or "?")[:1].upper() for name in names)
        return node, node, Image("", axes, None, (0.0,) * node.ndim, ("",) * node.ndim)
    if COLLECTION in node.attrs.get("ome", node.attrs) and "multiscales" not in node.attrs.get("ome", node.attrs):
        node = node["0"]
    image = find_image(dict(node.attrs))
    array = node[image.path]
    if len(image.axes) != array.ndim:
        raise ValueError(f"axes {image.axes} for {array.ndim} dimensions")
    return node, array, image


def check_holds(volume: Volume) -> None:
    """Refuse a volume whose voxel type Zarr does not have.

    Raises
    ------
    ValueError
        Naming the type.
    """
    if volume.voxels.dtype.name not in get_args(VoxelType):
        raise ValueError(
            f"OME-Zarr cannot hold voxels of type {volume.voxels.dtype}; write NIfTI or convert them first."
        )


def create(
    path: Path, facts: StoreFacts, shape: Sequence[int], dtype: np.dtype[Any], name: str, *, labels: bool
) -> tuple[Any, Any]:
    """Return the group and the array of a new store for a volume of a shape, or for labels."""
    import zarr
    from zarr.codecs import ZstdCodec

    ndim = len(shape)
    ome = ome_facts(facts, ndim, name) | ({LABELS: {}} if labels else {})
    axes = ome["multiscales"][0]["axes"]
    sizes = [*shape[3:], *(shape[axis] for axis in facts.order)]
    pieces = [1] * (ndim - 3) + [1 if axis == facts.axis else _piece(shape[axis]) for axis in facts.order]
    attributes = {"ome": ome, OURS: facts.model_dump(mode="json")}
    group = zarr.create_group(str(path), zarr_format=3, attributes=attributes)
    array = group.create_array(
        LEVEL,
        shape=tuple(sizes),
        dtype=np.dtype(dtype.str),  # of the types of C that are the same to NumPy, zarr knows one
        chunks=tuple(pieces),
        compressors=ZstdCodec(checksum=True),
        dimension_names=[axis["name"] for axis in axes],
        config={"write_empty_chunks": True},  # or a slice that is lost could not be told from a black one
    )
    return group, array


def check_finished(path: Path, facts: StoreFacts, array: Any) -> None:
    """Refuse a store of ours without all of its slices, or that has lost files.

    Raises
    ------
    ValueError
        Naming how many are missing.
    """
    count = array.shape[array.ndim - 3 + facts.order.index(facts.axis)]
    there = sum(last - first + 1 for first, last in facts.written)
    if there < count:
        raise ValueError(
            f"The input must have all its slices, got '{path}' with {there} of {count} written; "
            "render to it again, which writes the others, or look at what there is with open_volume."
        )
    with decoding(path, "OME-Zarr", "folder"):
        if array.nchunks_initialized < array.nchunks:
            raise ValueError(f"{array.nchunks - array.nchunks_initialized} of {array.nchunks} chunks are missing")


def to_volume_order(block: Voxels, facts: StoreFacts) -> Voxels:
    """Return a block in the order of the array as the volume has it: channels last."""
    lead = block.ndim - 3
    spatial = [lead + place for place in np.argsort(facts.order)]
    return block.transpose(*spatial, *range(lead))


def to_array_order(block: Voxels, facts: StoreFacts) -> Voxels:
    """Return a block of the volume in the order of the array."""
    return block.transpose(*range(3, block.ndim), *facts.order)


def _piece(size: int) -> int:
    """Return the side of chunks, all about as large."""
    return -(-size // -(-size // LARGEST_CHUNK_SIDE))


def _native(voxels: Voxels) -> Voxels:
    if voxels.dtype == np.bool_:
        return voxels.astype(np.uint8)
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
