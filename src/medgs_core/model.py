"""The model: Gaussians that live across slices, and what belongs to them once they are fitted.

No optimizer and no files: `fold` turns the parameters into what one slice sees, `render` a fitted model into slices.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from medgs_core.annotation import Annotation
from medgs_core.cache import RecentlyUsed
from medgs_core.config import FlowKind
from medgs_core.tensors import Rows
from medgs_core.volume import IntensityWindow, Volume

Compositing = Literal["sum", "alpha"]

MEMORY_BYTES = 384 * 2**20
"""What a model may keep of flows and rendered slices, so that a slider does not compute them twice."""

MAX_OPACITY = 0.3
"""Cap of the peak opacity: several Gaussians must share every pixel, so none can hide the others."""

LABEL_RANGE, LABEL_LEVELS = 4.0, 124
"""Largest label value, and the steps from 0 to there in which values are kept, so that they need a byte each in a file:
beyond what a field can be, because the small ones stand against what surrounds them."""

PLAIN_COLUMNS = 8
"""Columns of one Gaussian besides drift and intensity: two coordinates, center, spread, two scales, angle, opacity."""


@dataclass(frozen=True)
class FoldedGaussians:
    """N Gaussians with in-plane shape, a presence along the slice axis and a path across slices.

    Attributes
    ----------
    position : (N, 2) pixels, (x, y) at the Gaussian's own slice position
    center : (N,) slice coordinate t at which it is strongest, counting the slices that were seen
    log_spread : (N,) natural logarithm of the standard deviation along the slice axis, in slices
    drift : (N, D, 2) pixels per slice**d, coefficient of u**d in the path, d = 1..D
    log_scale : (N, 2) natural logarithm of the in-plane standard deviations, in pixels
    angle : (N,) radians, from x towards y
    logit_opacity : (N,) logit of opacity / `MAX_OPACITY`
    intensity : (N, C) unit intensities
    """

    position: Float[Tensor, "N 2"]
    center: Float[Tensor, " N"]
    log_spread: Float[Tensor, " N"]
    drift: Float[Tensor, "N degree 2"]
    log_scale: Float[Tensor, "N 2"]
    angle: Float[Tensor, " N"]
    logit_opacity: Float[Tensor, " N"]
    intensity: Float[Tensor, "N channels"]

    def __len__(self) -> int:
        """Return the number of Gaussians."""
        return self.position.shape[0]

    @property
    def spread(self) -> Float[Tensor, " N"]:
        """Standard deviation along the slice axis, in slices."""
        return self.log_spread.exp()

    @property
    def scale(self) -> Float[Tensor, "N 2"]:
        """In-plane standard deviations, in pixels."""
        return self.log_scale.exp()

    @property
    def opacity(self) -> Float[Tensor, " N"]:
        """Peak opacity at the center, in (0, `MAX_OPACITY`)."""
        return MAX_OPACITY * torch.sigmoid(self.logit_opacity)

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor) of every parameter, in the order of the fields."""
        for parameter in fields(self):
            yield parameter.name, getattr(self, parameter.name)

    def rows(self, index: Rows) -> "FoldedGaussians":
        """Return the Gaussians at the given rows, differentiable."""
        # not tensor[index]: the gradient of that is several times slower
        return FoldedGaussians(**{name: tensor.index_select(0, index) for name, tensor in self.named()})

    def pack(self) -> Float[Tensor, "N columns"]:
        """Return all parameters side by side, one row per Gaussian, in the order of the fields."""
        return torch.cat([tensor.reshape(len(self), math.prod(tensor.shape[1:])) for _, tensor in self.named()], dim=1)

    @staticmethod
    def unpack(matrix: Float[Tensor, "N columns"], channels: int) -> "FoldedGaussians":
        """Return the Gaussians whose `pack` is the matrix, as views of it; differentiable."""
        count, columns = matrix.shape
        degree = (columns - channels - PLAIN_COLUMNS) // 2
        widths = [2, 1, 1, 2 * degree, 2, 1, 1, channels]
        parts = torch.split(matrix, widths, dim=1)
        position, center, log_spread, drift, log_scale, angle, logit_opacity, intensity = parts
        return FoldedGaussians(
            position,
            center[:, 0],
            log_spread[:, 0],
            drift.reshape(count, degree, 2),
            log_scale,
            angle[:, 0],
            logit_opacity[:, 0],
            intensity,
        )

    def to(self, device: torch.device) -> "FoldedGaussians":
        """Return the same Gaussians on a device."""
        return FoldedGaussians(**{name: tensor.to(device) for name, tensor in self.named()})


@dataclass(frozen=True)
class DetailStrength:
    """How the measured slices and the Gaussians share the slices between.

    Attributes
    ----------
    blend : (channels, regions, 4) nested tuples, the weights of the ingredients, see `blending.BlendWeights`
    trust : (channels,) in [0, 1], how far to follow the Gaussians where they differ from the blend of their own
        measured slices
    smoothing : (channels,) in [0, 1], share of what the Gaussians leave out at measured slices that is withheld
        half-way between
    """

    blend: tuple[tuple[tuple[float, ...], ...], ...]
    trust: tuple[float, ...]
    smoothing: tuple[float, ...]


@dataclass(frozen=True)
class ErrorBound:
    """How far rendered slices may be off, as a function of what the slices around them show; see `uncertainty`.

    Attributes
    ----------
    cues : (5 numbers) share of the error's variance per cue
    deviations : increasing standard deviations in unit intensities
    bounds : bound of the error at each of them, in unit intensities
    """

    cues: tuple[float, ...]
    deviations: tuple[float, ...]
    bounds: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class LabelHead:
    """The second head of a model: what the Gaussians know of labels, and the annotated slices themselves.

    Attributes
    ----------
    values : (N, classes) float32 within +-`LABEL_RANGE`, in `LABEL_LEVELS` steps on either side of 0
        What each Gaussian knows of each class: the weighted mean is positive inside, and near the border the distance
        to it in units of `propagation.LIMIT` pixels.
    annotation : Annotation
        The labels; nothing in it is unknown. Their voxels are read only where the model has its source.
    weights : tuple of float
        How much each of `propagation.WAYS` of carrying counts between annotated slices.
    looseness : float
        Pixels by which a carried border is off, on average, per unit of distance from the nearest annotated slice.
    memory : RecentlyUsed
        Outlines and what was carried lately; holds nothing that cannot be computed again.
    """

    values: Float[Tensor, "N classes"]
    annotation: Annotation
    weights: tuple[float, ...]
    looseness: float
    memory: RecentlyUsed[Any] = field(default_factory=lambda: RecentlyUsed(MEMORY_BYTES), repr=False)


@dataclass(frozen=True, eq=False)
class FittedModel:
    """Gaussians with the volume they explain: all that rendering needs.

    Attributes
    ----------
    gaussians : FoldedGaussians
        On the CPU, float32.
    compositing : {'sum', 'alpha'}
        The rendering rule they were fitted with.
    volume : Volume
        What was measured, or only its geometry where `has_source` is False (all voxels read as zero).
    axis : int
        Slice axis in the file's order.
    window : IntensityWindow
        Stored values to unit intensities.
    detail : DetailStrength
        Learned from the volume.
    flow : {'stiff', 'supple', 'both'}
        Flows along which detail is carried between slices.
    skipped : tuple of int
        Slices that count as not measured: nothing of the model has seen them, and rendering predicts them.
    error_bound : ErrorBound, optional
        Learned from the volume; None if it has too few slices for that.
    labels : LabelHead, optional
        What was annotated, where labels were given.
    has_image : bool
        False where the model was fitted to labels alone: then the volume shows their outlines.
    has_source : bool
        Whether the measured voxels are there; without them slices come from the Gaussians alone.
    scores : mapping
        Mean PSNR in dB on hidden slices, by method, or by cross-validation where none were; empty for two slices.
    provenance : mapping
        Versions, settings, seed and hash of the input; JSON types only.
    memory : RecentlyUsed
        Flows and renderings that were needed lately; holds nothing that cannot be computed again.
    """

    gaussians: FoldedGaussians
    compositing: Compositing
    volume: Volume
    axis: int
    window: IntensityWindow
    detail: DetailStrength
    flow: FlowKind
    skipped: tuple[int, ...] = ()
    error_bound: ErrorBound | None = None
    labels: LabelHead | None = None
    has_image: bool = True
    has_source: bool = True
    scores: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    memory: RecentlyUsed[Any] = field(default_factory=lambda: RecentlyUsed(MEMORY_BYTES), repr=False)


@dataclass(frozen=True, eq=False)
class FitCheckpoint:
    """An unfinished fit, complete enough to end where an unbroken one would.

    Attributes
    ----------
    tensors : mapping
        Named float32 tensors: parameters and moments of the optimizer.
    facts : mapping
        Settings, hash of the input, counters, the state of the random generator, scores; JSON types only.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
