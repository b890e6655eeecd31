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
    axis: Axis = Field(default="auto", description="slice axis in the file's order; auto: the axis of largest spacing")
    slice_positions: str | None = Field(
        default=None,
        description="text file with one slice position per line, in the file's unit, for uneven spacing",
    )
    voxel_size: tuple[float, float, float] | None = Field(
        default=None, description="voxel size Z,Y,X of a TIFF or OME-Zarr in its unit, instead of the file's own"
    )


class FitConfig(Settings):
    """How a model is fitted."""

    axis: Axis = Field(default="auto", description="slice axis in the file's order; auto: the axis of largest spacing")
    preset: Preset = Field(default="balanced", description="how much to spend: Gaussians, steps and flows")
    steps: int | None = Field(
        default=None, ge=1, le=10_000_000, description="optimization steps in all; default: by preset"
    )
    gaussians: int | None = Field(
        default=None, ge=1, le=100_000_000, description="number of Gaussians in all; default: by preset"
    )
    compositing: CompositingChoice = Field(
        default="auto", description="rendering rule; auto: sum on the CPU, alpha on CUDA"
    )
    hide: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="slices hidden in a first phase and scored; 0: none; default: by stack",
    )
    skip: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(),
        description="bad slices, comma-separated, counted from 0: never looked at, and predicted from the others",
    )
    device: Device = Field(default="auto", description="where to compute; auto: CUDA where it is ready, else the CPU")
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, description="seed of every random choice")
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
        description="slices that count as annotated, all or comma-separated numbers from 0; default: all, but with an "
        "image only those that hold labels, if they leave gaps",
    )
    unlabeled_value: int | None = Field(
        default=None, description="label of voxels that nobody labeled: they are filled in, slice by slice"
    )

    @field_validator("labeled_slices", mode="before")
    @classmethod
    def _all_alone(cls, value: Any) -> Any:
        return "all" if value in (("all",), ["all"]) else value


class RenderConfig(Settings):
    """Which slices are rendered from a model, and how; at most one of the sampling options."""

    factor: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="slices per slice step: K gives (n - 1) K + 1 slices; 1 where nothing else is asked for",
    )
    spacing: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="distance between slices in the file's unit, from the first slice on",
    )
    isotropic: bool = Field(default=False, description="distance between slices as the finest in-plane spacing")
    positions: tuple[float, ...] | None = Field(
        default=None,
        min_length=1,
        description="slice coordinates t, comma-separated: 0 is the first slice, 0.5 half-way to the second",
    )
    detail: DetailChoice = Field(
        default="auto",
        description="what the measured slices add to the Gaussians: auto: by the evidence in the volume; "
        "on: all; off: nothing",
    )
    denoise: bool = Field(
        default=False,
        description="give the Gaussians' estimate at measured slices too, not the stored values",
    )
    labels: bool = Field(default=False, description="give the label map instead of the image, in its own type")
    device: Device = Field(default="auto", description="where to compute; auto: CUDA where it is ready, else the CPU")

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
    channel: int = Field(default=0, ge=0, description="channel of the level, from 0, where there are several")
    spacing: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="largest distance between samples in the file's unit; default: the finest spacing of the volume",
    )
    smooth: int = Field(
        default=0, ge=0, le=10_000, description="iterations of Taubin smoothing, which keeps the volume; 0: none"
    )
    faces: int | None = Field(
        default=None, ge=4, le=2_000_000_000, description="most triangles of a surface; default: all that there are"
    )
    device: Device = Field(default="auto", description="where to compute; auto: CUDA where it is ready, else the CPU")

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
