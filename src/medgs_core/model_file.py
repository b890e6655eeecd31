"""*model_file*: a fitted model, or an unfinished fit, in one file.

A model comes in, a `.medgs` file goes out, and back: a safetensors file with the Gaussians' parameters, the
measured voxels losslessly compressed, and a JSON header. The same container keeps a fit to be resumed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationError

from medgs_core.blending import AGREEMENT_CENTERS, INGREDIENTS
from medgs_core.formats.atomic import check_writable
from medgs_core.formats.container import (
    STREAM,
    Container,
    FileKind,
    Parameters,
    Part,
    broken_rule,
    open_container,
    parse_header,
    write_container,
)
from medgs_core.formats.geometry import geometry_facts, volume_from
from medgs_core.formats.model_header import (
    MODEL,
    DetailFacts,
    Digest,
    ErrorBoundFacts,
    GaussianFacts,
    ModelHeader,
    WindowFacts,
    check_model_name,
    check_voxel_type,
    read_header,
    voxel_facts,
)
from medgs_core.formats.packing import pack_voxels
from medgs_core.label_file import (
    LABEL_VALUES,
    LABEL_VOXELS,
    label_facts,
    pack_labels,
    read_annotation,
    read_values,
    read_voxels,
)
from medgs_core.model import (
    DetailStrength,
    ErrorBound,
    FitCheckpoint,
    FittedModel,
    FoldedGaussians,
    LabelHead,
)
from medgs_core.volume import IntensityWindow, content_hash, slice_positions

__all__ = [
    "check_model_output",
    "load_checkpoint",
    "load_model",
    "model_hash",
    "read_header",
    "save_checkpoint",
    "save_model",
]

CHECKPOINT = FileKind(
    format="medgs fit state",
    version=1,
    noun="state of a fit",
    origin="fit without --resume",
    remedy="fit without --resume",
)

NO_HASH = "0" * 64
"""Stands where the hash will be, while the rest of the header is hashed."""

UNHASHED: dict[str, Any] = {
    "format": True,
    "version": True,
    "scores": True,
    "provenance": True,
    "sha256": True,
    "voxels": {"order"},
    "labels": {"voxels": {"order"}},
}
"""Facts that no rendered voxel depends on."""


class CheckpointHeader(Part):
    """Everything in the state of a fit that is not a tensor."""

    format: Literal["medgs fit state"]
    version: Annotated[int, Field(ge=1)]
    facts: dict[str, Any]
    sha256: Digest


def save_model(model: FittedModel, path: str | os.PathLike[str], *, source: bool = True) -> None:
    """Write a model to a `.medgs` file; an older file is replaced only by a complete one.

    Parameters
    ----------
    model : FittedModel
        Tensors on any device.
    path : path
        Ends in .medgs.
    source : bool
        Whether the measured voxels go into the file. Without them it is small and tells nothing but what the
        Gaussians know, and measured slices no longer come back exactly.

    Raises
    ------
    ValueError
        If the path cannot be written, or the model is of a kind that could not be loaded again.
    """
    check_model_name(path)
    kept = model if source else replace(model, has_source=False)
    header, tensors = _describe(kept)
    stream = pack_voxels(kept.volume.voxels, header.voxels.order) if kept.has_source else None
    write_container(path, header, {**tensors, **pack_labels(kept, header, tensors)}, stream)


def load_model(path: str | os.PathLike[str]) -> FittedModel:
    """Return the model in a `.medgs` file, on the CPU.

    Parameters
    ----------
    path : path
        Ends in .medgs. What stands in the file is checked and never executed.

    Returns
    -------
    FittedModel
        Equal to what was saved. Without source its voxels are zeros, read-only, that take no memory.

    Raises
    ------
    ValueError
        If the file is missing, no model, too new, cut short, damaged or inconsistent.
    """
    check_model_name(path)
    with open_container(path, MODEL) as container:
        header = parse_header(container.header, ModelHeader)
        tensors = _read_tensors(container, header)
        annotation = read_annotation(container, header)
        _check_consistent(header, tensors)
        volume = volume_from(
            header.geometry, read_voxels(header.voxels, container.stream() if header.has_source else None)
        )
        slice_positions(volume, header.axis)  # refuses positions of another axis
        if _digest(_rendering_facts(header), tensors) != header.sha256:
            raise ValueError("the parameters are not those that were saved")
    parameters = {name: torch.from_numpy(array) for name, array in tensors.items()}
    values = parameters.pop(LABEL_VALUES, None)
    facts = header.labels
    return FittedModel(
        gaussians=FoldedGaussians(**parameters),
        compositing=header.compositing,
        volume=volume,
        axis=header.axis,
        window=IntensityWindow(header.window.low, header.window.high),
        detail=_detail_from(header.detail),
        error_bound=ErrorBound(**header.error_bound.model_dump()) if header.error_bound else None,
        flow=header.flow,
        skipped=header.skipped,
        labels=None
        if facts is None or annotation is None or values is None
        else LabelHead(values, annotation, facts.weights, facts.looseness),
        has_image=header.has_image,
        has_source=header.has_source,
        scores=header.scores,
        provenance=header.provenance,
    )


def model_hash(model: FittedModel) -> str:
    """Return the SHA-256, in hexadecimal, of all that rendered slices depend on; it survives saving."""
    return _describe(model)[0].sha256


def check_model_output(path: str | os.PathLike[str]) -> None:
    """Refuse a path that `save_model` could not write, before long work is done for it.

    Raises
    ------
    ValueError
        If the ending is another one or the folder takes no file.
    """
    check_model_name(path)
    check_writable(path)


def save_checkpoint(checkpoint: FitCheckpoint, path: str | os.PathLike[str]) -> None:
    """Write the state of an unfinished fit; an older file is replaced only by a complete one.

    Parameters
    ----------
    checkpoint : FitCheckpoint
        Tensors on any device.
    path : path
        Where it goes.

    Raises
    ------
    ValueError
        If the path cannot be written.
    """
    tensors = {name: _array(tensor) for name, tensor in checkpoint.tensors.items()}
    facts = dict(checkpoint.facts)
    digest = _digest(facts, tensors)
    write_container(path, CheckpointHeader(format="medgs fit state", version=1, facts=facts, sha256=digest), tensors)


def load_checkpoint(path: str | os.PathLike[str]) -> FitCheckpoint:
    """Return the state of an unfinished fit, on the CPU.

    Raises
    ------
    ValueError
        If the file is missing, no such state, too new, cut short or damaged.
    """
    with open_container(path, CHECKPOINT) as container:
        header = parse_header(container.header, CheckpointHeader)
        tensors = {name: container.floats(name) for name in container.names()}
        if _digest(header.facts, tensors) != header.sha256:
            raise ValueError("the numbers are not those that were saved")
    return FitCheckpoint(
        {name: torch.from_numpy(array) for name, array in tensors.items()},
        header.facts,
    )


def _describe(model: FittedModel) -> tuple[ModelHeader, dict[str, Parameters]]:
    """Return header and tensors of a model, checked as they will be when they are loaded."""
    check_voxel_type(model.volume.voxels)
    tensors = {name: _array(tensor) for name, tensor in model.gaussians.named()}
    if model.labels:
        tensors[LABEL_VALUES] = _array(model.labels.values)
    content_sha256 = content_hash(model.volume) if model.has_source else None
    window = model.window
    try:
        header = ModelHeader(
            format="medgs model",
            version=MODEL.version,
            compositing=model.compositing,
            axis=model.axis,
            geometry=geometry_facts(model.volume),
            voxels=voxel_facts(model.volume.voxels, content_sha256),
            window=WindowFacts(low=window.low, high=window.high),
            detail=_detail_facts(model.detail, _channels(model.volume.voxels.shape)),
            error_bound=ErrorBoundFacts(**asdict(model.error_bound)) if model.error_bound else None,
            flow=model.flow,
            skipped=tuple(model.skipped),
            labels=label_facts(model.labels, model.has_source) if model.labels else None,
            has_image=model.has_image,
            gaussians=GaussianFacts(
                count=len(model.gaussians),
                degree=model.gaussians.drift.shape[1],
                channels=model.gaussians.intensity.shape[1],
            ),
            scores={name: float(score) for name, score in model.scores.items()},
            provenance=dict(model.provenance),
            sha256=NO_HASH,
        )
        _check_consistent(header, tensors)
    except ValueError as error:
        reason = broken_rule(error) if isinstance(error, ValidationError) else str(error)
        raise ValueError(f"A model must be consistent to be saved, got one in which {reason}; fit it again.") from error
    return header.model_copy(update={"sha256": _digest(_rendering_facts(header), tensors)}), tensors


def _detail_facts(detail: DetailStrength, channels: int) -> DetailFacts:
    """Return the facts of a strength: one number where the channels share it, as with one channel."""
    for name, values in (("trust", detail.trust), ("smoothing", detail.smoothing)):
        _check_length(name, values, channels)
    trust, smoothing = (
        float(values[0]) if len(set(values)) == 1 else tuple(float(value) for value in values)
        for values in (detail.trust, detail.smoothing)
    )
    blend = tuple(tuple(tuple(float(weight) for weight in row) for row in table) for table in detail.blend)
    return DetailFacts(blend=blend, trust=trust, smoothing=smoothing)


def _detail_from(facts: DetailFacts) -> DetailStrength:
    """Return the strength that the facts tell, one trust and one smoothing per channel."""
    trust, smoothing = (
        values if isinstance(values, tuple) else (values,) * len(facts.blend)
        for values in (facts.trust, facts.smoothing)
    )
    return DetailStrength(facts.blend, trust, smoothing)


def _channels(shape: tuple[int, ...]) -> int:
    return shape[3] if len(shape) > 3 else 1


def _check_length(name: str, values: tuple[float, ...], channels: int) -> None:
    if len(values) != channels:
        raise ValueError(f"the {name} is of {len(values)} channels and the voxels have {channels}")


def _rendering_facts(header: ModelHeader) -> Mapping[str, Any]:
    # what older files lack stands at its default, and must not change their hash
    return header.model_dump(exclude=UNHASHED, exclude_defaults=True)


def _digest(facts: Mapping[str, Any], tensors: Mapping[str, Parameters]) -> str:
    """Return the SHA-256 of facts and tensors, in an order that does not depend on theirs."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}".encode())
        digest.update(tensors[name].astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def _array(tensor: torch.Tensor) -> Parameters:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def _shapes(header: ModelHeader) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter, in the order of the fields of `FoldedGaussians`."""
    count = header.gaussians.count
    inner = {
        "position": (2,),
        "drift": (header.gaussians.degree, 2),
        "log_scale": (2,),
        "intensity": (header.gaussians.channels,),
    }
    shapes = {parameter.name: (count, *inner.get(parameter.name, ())) for parameter in fields(FoldedGaussians)}
    if header.labels:
        shapes[LABEL_VALUES] = (count, len(header.labels.ids))
    return shapes


def _read_tensors(container: Container, header: ModelHeader) -> dict[str, Parameters]:
    names = list(_shapes(header))
    expected = {*names, STREAM} if header.has_source else set(names)
    if header.labels:
        expected |= {LABEL_VALUES, LABEL_VOXELS} if header.has_source else {LABEL_VALUES}
    if container.names() != expected:
        different = ", ".join(sorted(container.names() ^ expected))
        raise ValueError(f"the tensors are not those of its header: {different}")
    tensors = {name: container.floats(name) for name in names if name != LABEL_VALUES}
    if header.labels:
        tensors[LABEL_VALUES] = read_values(container, header.gaussians.count, len(header.labels.ids))
    return tensors


def _check_consistent(header: ModelHeader, tensors: Mapping[str, Parameters]) -> None:
    for name, shape in _shapes(header).items():
        if tensors[name].shape != shape:
            raise ValueError(f"{name} has shape {tensors[name].shape} instead of {shape}")
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"{name} has values that are NaN or infinite")
    shape = header.voxels.shape
    channels = _channels(shape)
    if header.gaussians.channels != channels:
        raise ValueError(f"the Gaussians have {header.gaussians.channels} channels and the voxels {channels}")
    levels = header.window.low
    if isinstance(levels, tuple) and len(levels) != channels:
        raise ValueError(f"the window has {len(levels)} channels and the voxels {channels}")
    for name, values in (("trust", header.detail.trust), ("smoothing", header.detail.smoothing)):
        if isinstance(values, tuple):
            _check_length(name, values, channels)
    inner = range(1, shape[header.axis] - 1)
    if list(header.skipped) != sorted(set(header.skipped) & set(inner)):
        raise ValueError(f"the skipped slices {header.skipped} are not inner ones in order")
    table, expected = header.detail.blend, (channels, len(AGREEMENT_CENTERS), len(INGREDIENTS))
    if (len(table), {len(rows) for rows in table}, {len(row) for rows in table for row in rows}) != (
        expected[0],
        {expected[1]},
        {expected[2]},
    ):
        raise ValueError(f"the weights of the blend are no table of shape {expected}")
