"""The facts in a `.medgs` file: everything of a fitted model that is not an array of numbers.

A file comes in, its facts go out as JSON types. Free of torch, so that a header is read at once.
"""

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from medgs_core.arrays import Voxels
from medgs_core.config import FlowKind
from medgs_core.formats.container import FileKind, Part, open_container, parse_header
from medgs_core.formats.geometry import GeometryFacts, VoxelType
from medgs_core.formats.packing import memory_order

MODEL_ENDING, STATE_ENDING = ".medgs", ".state"

MODEL = FileKind(
    format="medgs model",
    version=1,
    noun="model",
    origin="name a file that medgs fit wrote",
    remedy="copy it again or repeat the fit",
)

MOST_ABSENT_VOXELS = 2**36
"""Voxels that a model without them may claim, 4096 in each direction: the claim costs no memory, but looking
at it costs time. Voxels that are there vouch for their own number."""

MOST_DRIFT_DEGREE = 3
"""Of the polynomial path that a Gaussian takes across slices."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Shares = Share | Annotated[tuple[Share, ...], Field(min_length=1)]
Levels = float | Annotated[tuple[float, ...], Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def state_path(model: str | os.PathLike[str]) -> Path:
    """Return where the state of a stopped fit lies: beside its model.

    Examples
    --------
    >>> state_path("scan.medgs").name
    'scan.medgs.state'
    """
    return Path(f"{os.fspath(model)}{STATE_ENDING}")


class VoxelFacts(Part):
    """What must be known to unpack the voxels, and their hash; without it they are not in the file."""

    shape: Annotated[tuple[PositiveInt, ...], Field(min_length=3, max_length=4)]
    dtype: VoxelType
    order: tuple[int, ...]
    content_sha256: Digest | None

    @model_validator(mode="after")
    def _fits(self) -> "VoxelFacts":
        if sorted(self.order) != list(range(len(self.shape))):
            raise ValueError("the memory order must name each axis once")
        if self.content_sha256 is None and math.prod(self.shape) > MOST_ABSENT_VOXELS:
            raise ValueError(f"a model without voxels may stand for {MOST_ABSENT_VOXELS} of them at most")
        return self


class WindowFacts(Part):
    """The fields of `IntensityWindow`."""

    low: Levels
    high: Levels

    @model_validator(mode="after")
    def _is_open(self) -> "WindowFacts":
        if np.shape(self.low) != np.shape(self.high):
            raise ValueError("low and high must be of the same number of channels")
        if np.any(np.asarray(self.low) >= np.asarray(self.high)):
            raise ValueError("low must be below high")
        return self


class DetailFacts(Part):
    """The fields of `DetailStrength`; trust and smoothing are one number where the channels share it."""

    blend: tuple[tuple[tuple[float, ...], ...], ...]
    trust: Shares
    smoothing: Shares


class ErrorBoundFacts(Part):
    """The fields of `ErrorBound`."""

    cues: Annotated[tuple[Annotated[float, Field(ge=0.0)], ...], Field(min_length=5, max_length=5)]
    deviations: Annotated[tuple[Annotated[float, Field(gt=0.0)], ...], Field(min_length=1)]
    bounds: tuple[Annotated[float, Field(ge=0.0)], ...]

    @model_validator(mode="after")
    def _pairs(self) -> "ErrorBoundFacts":
        if len(self.bounds) != len(self.deviations):
            raise ValueError("there must be one bound per deviation")
        return self


class LabelFacts(Part):
    """The fields of `LabelHead` besides its values, and those of its annotation."""

    ids: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    annotated: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    weights: Annotated[tuple[Share, ...], Field(min_length=1)]
    looseness: Annotated[float, Field(gt=0.0)]
    geometry: GeometryFacts
    voxels: VoxelFacts

    @model_validator(mode="after")
    def _in_order(self) -> "LabelFacts":
        for name, numbers in (("ids", self.ids), ("annotated", self.annotated)):
            if list(numbers) != sorted(set(numbers)):
                raise ValueError(f"the {name} must increase")
        return self


class GaussianFacts(Part):
    """Sizes of the parameter tensors."""

    count: Annotated[int, Field(ge=0)]
    degree: Annotated[int, Field(ge=0, le=MOST_DRIFT_DEGREE)]
    channels: PositiveInt


class ModelHeader(Part):
    """Everything in a model file that is not a tensor."""

    format: Literal["medgs model"]
    version: Annotated[int, Field(ge=1)]
    compositing: Literal["sum", "alpha"]
    axis: Annotated[int, Field(ge=0, le=2)]
    geometry: GeometryFacts
    voxels: VoxelFacts
    window: WindowFacts
    detail: DetailFacts
    error_bound: ErrorBoundFacts | None
    flow: FlowKind
    skipped: tuple[Annotated[int, Field(ge=0)], ...] = ()
    labels: LabelFacts | None = None
    has_image: bool = True
    gaussians: GaussianFacts
    scores: dict[str, Annotated[float, Field(allow_inf_nan=True)]]
    provenance: dict[str, Any]
    sha256: Digest

    @property
    def has_source(self) -> bool:
        """Whether the measured voxels are in the file."""
        return self.voxels.content_sha256 is not None


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says about itself, without loading its tensors or torch.

    Returns
    -------
    dict
        JSON types: format, version, compositing, axis, geometry, voxels (shape, dtype, order,
        content_sha256), window, detail, error_bound, flow, skipped, labels (ids,
        annotated, weights, looseness, geometry, voxels) or None, has_image, gaussians (count, degree, channels),
        scores, provenance, sha256 (the `model_hash`), has_source.

    Raises
    ------
    ValueError
        If the file is missing, no model, too new, cut short or inconsistent.
    """
    check_model_name(path)
    with open_container(path, MODEL) as container:
        header = parse_header(container.header, ModelHeader)
    return {**header.model_dump(), "has_source": header.has_source}


def check_model_name(path: str | os.PathLike[str]) -> None:
    """Refuse a path that does not look like a model's.

    Raises
    ------
    ValueError
        If it does not end in .medgs.
    """
    if not Path(path).name.lower().endswith(MODEL_ENDING):
        raise ValueError(f"The name of a model must end in {MODEL_ENDING}, got '{path}'; change its ending.")


def check_voxel_type(voxels: Voxels) -> None:
    """Refuse voxels that a model cannot hold, before long work is done for it.

    Raises
    ------
    ValueError
        If their type is neither an integer of up to 64 bits nor IEEE half, single or double.
    """
    *others, last = get_args(VoxelType)
    if voxels.dtype.name not in (*others, last):
        raise ValueError(
            f"The voxels of a model must be of type {', '.join(others)} or {last}, got {voxels.dtype.name}; "
            "convert the volume before fitting."
        )


def voxel_facts(voxels: Voxels, content_sha256: str | None) -> VoxelFacts:
    """Return shape, type and memory order of voxels, with their hash where they go into the file."""
    return VoxelFacts.model_validate(
        {
            "shape": voxels.shape,
            "dtype": voxels.dtype.name,
            "order": memory_order(voxels),
            "content_sha256": content_sha256,
        }
    )
