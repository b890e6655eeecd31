"""Every number a user may set: its default, range, unit and help, written once.

The command line and the plugin build their options from these models; nothing else holds a default.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Preset = Literal["fast", "balanced", "quality"]
Axis = Literal["auto", "0", "1", "2"]
Device = Literal["auto", "cpu", "cuda"]
CompositingChoice = Literal["auto", "sum", "alpha"]
DetailChoice = Literal["auto", "on", "off"]
FlowKind = Literal["stiff", "supple", "both"]

LARGEST_SEED = 2**31 - 1

SLICE_AXIS = "axis that the slices lie along, counted from 0 in the file's order; auto: that of largest spacing"
WHERE_TO_COMPUTE = "where to compute: on the graphics card (cuda) or the processor (cpu); auto: the card if it is ready"

LENGTH_RULES = {"missing": "longer", "too_short": "longer", "too_long": "shorter"}
"""What several numbers in one setting should be when there are too few or too many."""


def _sentence(error: ValidationError, names: Iterable[str]) -> str:
    """Return the first problem as one sentence: the rule, the value got, the remedy."""
    problem = error.errors()[0]
    kind, value = problem["type"], problem["input"]
    if kind == "value_error":  # a sentence of our own
        return str(problem["ctx"]["error"])
    name = problem["loc"][0]
    if kind == "extra_forbidden":
        return f"a setting should be one of {', '.join(names)}, got {name}={value!r}; correct its name"
    rule = LENGTH_RULES.get(kind, problem["msg"].removeprefix("Input should be "))
    rule = rule.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    rule = rule.replace("a valid integer", "a whole number").replace("a valid number", "a number")
    rule = re.split(", (?:unable|got) ", rule)[0]  # how a number was looked for in the value
    return f"{name} should be {rule}, got {value!r}; correct it or leave it out"


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown name is an error.

    Raises
    ------
    ValueError
        One sentence for the first setting that breaks its rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(_sentence(error, type(self).model_fields)) from None


class Effort(Settings):
    """What a preset spends, as functions of the slice size and the number of slices.

    One slice of H x W pixels gets H W / `pixels_per_gaussian` Gaussians, a stack of n slices gets
    n * `steps_per_slice` steps: the time per slice does not depend on n, nor the time per pixel on the size.
    """

    pixels_per_gaussian: float = Field(gt=0, description="slice pixels per Gaussian seeded on that slice")
    steps_per_slice: float = Field(gt=0, description="optimization steps per slice of the stack")
    fewest_steps: int = Field(gt=0, description="steps of the shortest fit, however few the slices")
    flow: FlowKind = Field(description="optical flows per pair of slices: a stiff one, a supple one, or both")
    predicted_slices: int = Field(gt=0, description="inner slices predicted, at most, to weigh the classical methods")


EFFORTS: dict[str, Effort] = {
    "fast": Effort(
        pixels_per_gaussian=36,
        steps_per_slice=12,
        fewest_steps=120,
        flow="supple",
        predicted_slices=16,
    ),
    "balanced": Effort(
        pixels_per_gaussian=16,
        steps_per_slice=48,
        fewest_steps=384,
        flow="both",
        predicted_slices=24,
    ),
    "quality": Effort(
        pixels_per_gaussian=12,
        steps_per_slice=96,
        fewest_steps=768,
        flow="both",
        predicted_slices=24,
    ),
}


class ReadConfig(Settings):
    """How a file becomes a volume."""

    volume: Annotated[int, Field(ge=0)] | Literal["all"] | None = Field(
        default=None, description="which 3-D volume of a 4-D file to read, from 0; all: every one, as channels"
    )
    axis: Axis = Field(default="auto", description=SLICE_AXIS)
    slice_positions: str | None = Field(
        default=None,
        description="text file with one slice position per line, in the file's unit, for uneven spacing",
    )
    voxel_size: tuple[float, float, float] | None = Field(
        default=None, description="voxel size Z,Y,X of a TIFF or OME-Zarr in its unit, instead of the file's own"
    )


class FitConfig(Settings):
    """How a model is fitted."""

    axis: Axis = Field(default="auto", description=SLICE_AXIS)
    preset: Preset = Field(
        default="balanced", description="how much time to spend: fast for a first look, quality for the best"
    )
    steps: int | None = Field(
        default=None,
        title="Steps of the fit",
        ge=1,
        le=10_000_000,
        description="steps in which the model is adjusted to the slices: more take longer; default: by preset",
    )
    gaussians: int | None = Field(
        default=None,
        title="Number of Gaussians",
        ge=1,
        le=100_000_000,
        description="how many Gaussians, soft blobs of brightness, the model is made of: more take longer and show "
        "finer structures; default: by preset",
    )
    compositing: CompositingChoice = Field(
        default="auto", description="rendering rule; auto: sum on the CPU, alpha on CUDA"
    )
    hide: int | None = Field(
        default=None,
        title="Slices kept for a test",
        ge=0,
        le=100_000,
        description="how many slices are hidden from the model at first, to test how well it predicts them; 0: none; "
        "default: by the number of slices",
    )
    skip: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(),
        title="Bad slices to skip",
        description="numbers of bad slices, counted from 0, with commas between: they are never looked at, and "
        "predicted from the others",
    )
    device: Device = Field(default="auto", description=WHERE_TO_COMPUTE)
    seed: int = Field(
        default=0,
        title="Random seed",
        ge=0,
        le=LARGEST_SEED,
        description="where random choices begin: the same number gives the same result again",
    )
    drift_degree: int = Field(default=1, ge=1, le=3, description="degree of the Gaussians' path across slices")

    @field_validator("skip")
    @classmethod
    def _each_once(cls, skip: tuple[int, ...]) -> tuple[int, ...]:
        twice = [k for k in skip if skip.count(k) > 1]
        if twice:
            raise ValueError(f"skip should name each slice once, got {twice[0]} more than once; leave the doubles out")
        return tuple(sorted(skip))

    @property
    def effort(self) -> Effort:
        """What the preset spends."""
        return EFFORTS[self.preset]


class LabelConfig(Settings):
    """Which slices of a label map were annotated."""

    labeled_slices: tuple[Annotated[int, Field(ge=0)], ...] | Literal["all"] | None = Field(
        default=None,
        title="Slices that count",
        description="slices whose labels count, empty ones as background: all, or their numbers from 0, with commas "
        "between; default: all, but with an image only those that hold labels, if they leave gaps",
    )
    unlabeled_value: int | None = Field(
        default=None,
        title="Label for unknown",
        description="label that marks voxels as unknown, not as background: they are filled in from the labels around "
        "them, slice by slice",
    )

    @field_validator("labeled_slices", mode="before")
    @classmethod
    def _all_alone(cls, value: Any) -> Any:
        return "all" if value in (("all",), ["all"]) else value


class RenderConfig(Settings):
    """Which slices are rendered from a model, and how; at most one of the sampling options."""

    factor: int | None = Field(
        default=None,
        title="Slices per step",
        ge=1,
        le=10_000,
        description="slices per slice step: K gives (n - 1) K + 1 slices; 1 where nothing else is asked for",
    )
    spacing: float | None = Field(
        default=None,
        title="Distance between slices",
        gt=0,
        allow_inf_nan=False,
        description="distance between slices in the file's unit, from the first slice on",
    )
    isotropic: bool = Field(default=False, description="distance between slices as the finest in-plane spacing")
    positions: tuple[float, ...] | None = Field(
        default=None,
        title="Chosen positions",
        min_length=1,
        description="where slices are wanted, with commas between: 0 is the first slice, 0.5 half-way to the second",
    )
    detail: DetailChoice = Field(
        default="auto",
        title="Fine detail",
        description="fine detail of the measured slices that the Gaussians lack, carried to the slices between; auto: "
        "as much as proves right in this volume; on: all; off: none",
    )
    denoise: bool = Field(
        default=False,
        title="Denoise measured slices",
        description="show the smoother estimate of the model at measured slices too, not the measured values",
    )
    labels: bool = Field(default=False, description="give the label map instead of the image, in its own type")
    device: Device = Field(default="auto", description=WHERE_TO_COMPUTE)

    @model_validator(mode="after")
    def _one_sampling(self) -> "RenderConfig":
        given = [
            name
            for name, value in (
                ("factor", self.factor is not None),
                ("spacing", self.spacing is not None),
                ("isotropic", self.isotropic),
                ("positions", self.positions is not None),
            )
            if value
        ]
        if len(given) > 1:
            msg = (
                f"factor, spacing, isotropic and positions exclude one another, got {' and '.join(given)}; "
                "give one of them"
            )
            raise ValueError(msg)
        return self


class SurfaceConfig(Settings):
    """Which surface is taken from a model, and how fine; of a label or at a level, not both."""

    label: int | None = Field(default=None, description="label whose surface is wanted")
    level: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="measured value that the surface runs along, higher values inside it",
    )
    channel: int = Field(
        default=0,
        title="Channel of the level",
        ge=0,
        description="channel that the level is one of, counted from 0, where the image has several",
    )
    spacing: float | None = Field(
        default=None,
        title="Distance of samples",
        gt=0,
        allow_inf_nan=False,
        description="largest distance between the points that the surface is sampled at, in the file's unit: larger is "
        "faster and coarser; default: the finest spacing of the volume",
    )
    smooth: int = Field(
        default=0,
        title="Smoothing steps",
        ge=0,
        le=10_000,
        description="how often the surface is smoothed (Taubin), which takes off noise and keeps the volume; 0: never, "
        "10: calm",
    )
    faces: int | None = Field(
        default=None,
        title="Triangles, at most",
        ge=4,
        le=2_000_000_000,
        description="most triangles of a surface; default: all that there are",
    )
    device: Device = Field(default="auto", description=WHERE_TO_COMPUTE)

    @model_validator(mode="after")
    def _one_source(self) -> "SurfaceConfig":
        if self.label is not None and self.level is not None:
            got = f"label {self.label} and level {self.level:g}"
            msg = f"label and level exclude one another, got {got}; give one of them"
            raise ValueError(msg)
        return self


class EvaluateConfig(Settings):
    """Which slices are hidden and predicted when methods are compared."""

    stride: int = Field(default=2, ge=2, le=1000, description="keep every stride-th slice, predict the others")
