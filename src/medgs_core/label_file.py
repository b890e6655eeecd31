"""*label_file*: the label head in a model file.

A label head comes in, its facts and compressed tensors go out, and back.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from medgs_core.annotation import Annotation
from medgs_core.arrays import Voxels
from medgs_core.formats.container import Bytes, Container, Parameters
from medgs_core.formats.geometry import geometry_facts, volume_from
from medgs_core.formats.model_header import (
    LabelFacts,
    ModelHeader,
    VoxelFacts,
    voxel_facts,
)
from medgs_core.formats.packing import pack_voxels, unpack_voxels
from medgs_core.model import LABEL_LEVELS, LABEL_RANGE, FittedModel, LabelHead
from medgs_core.volume import content_hash, slice_positions

LABEL_VALUES, LABEL_VOXELS = "label_values", "label_voxels"
"""Tensors of the label head: what each Gaussian knows, a byte per class, and the annotated slices; both compressed."""


def label_facts(head: LabelHead, has_source: bool) -> LabelFacts:
    """Return the facts of a label head; its annotated slices are part of the source."""
    volume = head.annotation.volume
    return LabelFacts(
        ids=head.annotation.ids,
        annotated=head.annotation.annotated,
        weights=tuple(float(weight) for weight in head.weights),
        looseness=float(head.looseness),
        geometry=geometry_facts(volume),
        voxels=voxel_facts(volume.voxels, content_hash(volume) if has_source else None),
    )


def pack_labels(model: FittedModel, header: ModelHeader, tensors: Mapping[str, Parameters]) -> dict[str, Bytes]:
    """Return the tensors of the label head as they stand in a file."""
    if model.labels is None or header.labels is None:
        return {}
    levels = np.rint(tensors[LABEL_VALUES].T * (LABEL_LEVELS / LABEL_RANGE)).astype(np.int8)
    packed = {LABEL_VALUES: pack_voxels(levels, (0, 1))}
    if model.has_source:
        packed[LABEL_VOXELS] = pack_voxels(model.labels.annotation.volume.voxels, header.labels.voxels.order)
    return {name: np.frombuffer(b"".join(parts), np.uint8) for name, parts in packed.items()}


def read_annotation(container: Container, header: ModelHeader) -> Annotation | None:
    """Return the annotated slices of a model, all zero where they are not in the file."""
    facts = header.labels
    if facts is None:
        return None
    packed = container.row(LABEL_VOXELS) if header.has_source else None
    voxels = read_voxels(facts.voxels, None if packed is None else ([packed.tobytes()], len(packed)))
    volume = volume_from(facts.geometry, voxels)
    if volume.shape3d != header.voxels.shape[:3] or facts.annotated[-1] >= volume.shape3d[header.axis]:
        raise ValueError(f"the labels of shape {volume.shape3d} do not fit the volume of {header.voxels.shape}")
    return Annotation(volume, header.axis, slice_positions(volume, header.axis), facts.annotated, facts.ids)


def read_values(container: Container, count: int, classes: int) -> Parameters:
    """Return the label values of all Gaussians: (count, classes)."""
    packed = container.row(LABEL_VALUES)
    levels = unpack_voxels([packed.tobytes()], len(packed), (classes, count), np.dtype(np.int8), (0, 1))
    return np.ascontiguousarray(levels.T, np.float32) * np.float32(LABEL_RANGE / LABEL_LEVELS)


def read_voxels(facts: VoxelFacts, stream: tuple[Iterable[bytes], int] | None) -> Voxels:
    """Return the voxels in a stream; where they are not in the file, zeros that take no memory."""
    dtype = np.dtype(facts.dtype)
    if stream is None:
        return np.broadcast_to(np.zeros((), dtype), facts.shape)
    return unpack_voxels(*stream, facts.shape, dtype, facts.order)
