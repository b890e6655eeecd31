"""Every number a user may set: its default, range, unit and help, written once.

The command line and the plugin build their options from these models; nothing else holds a default.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Preset = Literal["fast", "balanced", "quality"]
Axis = Literal["auto", "0", "1", "2"]
Device = Literal["auto", "cpu", "cuda"]
CompositingChoice = Literal["auto", "sum", "alpha"]
DetailChoice = Literal["auto", "on", "off"]

LARGEST_SEED = 2**31 - 1


def _sentence(error: ValidationError) -> str:
    """Return the first problem as one sentence: the rule, the value got, the remedy."""
    problem = error.errors()[0]
    if not problem["loc"]:
        return str(problem["ctx"]["error"]) if "ctx" in problem else problem["msg"]
    name = str(problem["loc"][0])
    rule = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a setting, got {problem['input']!r}; leave it out"
    return f"{name} should be {rule}, got {problem['input']!r}; choose such a value"


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
            raise ValueError(_sentence(error)) from None


class Effort(Settings):
    """What a preset spends, as functions of the slice size and the number of slices.

    One slice of H x W pixels gets H W / `pixels_per_gaussian` Gaussians, a stack of n slices n * `steps_per_slice`
    steps; so the time per slice does not depend on n, nor the time per pixel on the size.
    """

    pixels_per_gaussian: float = Field(gt=0, description="slice pixels per Gaussian seeded on that slice")
    steps_per_slice: float = Field(gt=0, description="optimization steps per slice of the stack")
    fewest_steps: int = Field(gt=0, description="steps of the shortest fit, however few the slices")
    flow_variants: int = Field(ge=1, le=2, description="optical flows averaged per pair of slices")


EFFORTS: dict[str, Effort] = {
    "fast": Effort(pixels_per_gaussian=16, steps_per_slice=4, fewest_steps=60, flow_variants=2),
    "balanced": Effort(pixels_per_gaussian=10, steps_per_slice=16, fewest_steps=240, flow_variants=2),
    "quality": Effort(pixels_per_gaussian=8, steps_per_slice=48, fewest_steps=720, flow_variants=2),
}


class ReadConfig(Settings):
    """How a file becomes a volume."""

    volume: int | None = Field(None, ge=0, description="which 3-D volume of a 4-D file to read, from 0")
    axis: Axis = Field("auto", description="slice axis in the file's order; auto: the axis of largest spacing")
    slice_positions: str | None = Field(
        None, description="text file with one slice position per line, in the file's unit, for uneven spacing"
    )
    voxel_size: tuple[float, float, float] | None = Field(
        None, description="voxel size Z,Y,X of a TIFF in its unit, instead of the file's own"
    )


class FitConfig(Settings):
    """How a model is fitted."""

    axis: Axis = Field("auto", description="slice axis in the file's order; auto: the axis of largest spacing")
    preset: Preset = Field("balanced", description="how much to spend: Gaussians, steps and flows")
    steps: int | None = Field(None, ge=1, le=10_000_000, description="optimization steps in all; default: by preset")
    gaussians: int | None = Field(
        None, ge=1, le=100_000_000, description="number of Gaussians in all; default: by preset"
    )
    compositing: CompositingChoice = Field(
        "auto", description="rendering rule; auto: sum on the CPU, alpha on CUDA"
    )
    hide: int | None = Field(
        None, ge=0, le=100_000, description="slices hidden in a first phase and scored; 0: none; default: by stack"
    )
    device: Device = Field("auto", description="where to compute; auto: CUDA where it is ready, else the CPU")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of every random choice")
    drift_degree: int = Field(1, ge=1, le=3, description="degree of the Gaussians' path across slices")

    @property
    def effort(self) -> Effort:
        """What the preset spends."""
        return EFFORTS[self.preset]


class RenderConfig(Settings):
    """Which slices are rendered from a model, and how; at most one of the sampling options."""

    factor: int | None = Field(
        None, ge=1, le=10_000, description="slices per slice step: K gives (n - 1) K + 1 slices"
    )
    spacing: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="distance between slices in the file's unit, from the first slice on"
    )
    isotropic: bool = Field(False, description="distance between slices as the finest in-plane spacing")
    positions: tuple[float, ...] | None = Field(
        None, description="slice coordinates t, comma-separated: 0 is the first slice, 0.5 lies half-way to the second"
    )
    detail: DetailChoice = Field(
        "auto",
        description="what the measured slices add to the Gaussians: auto by the evidence in the volume, on in full, off none",
    )
    denoise: bool = Field(False, description="give the Gaussians' estimate at measured slices too, not the stored values")
    device: Device = Field("auto", description="where to compute; auto: CUDA where it is ready, else the CPU")

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


class EvaluateConfig(Settings):
    """Which slices are hidden and predicted when methods are compared."""

    stride: int = Field(2, ge=2, le=1000, description="keep every stride-th slice, predict the others")
