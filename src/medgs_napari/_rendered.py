"""Layers that a model renders, without their data: where they stand, and which of their slices were measured.

A model, its frames and the settings of a rendering come in; settings of layers and words about slices go out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._arrays import Part, parts_of
from medgs_napari._frames import Frame, frame_of_volume, is_color, tilt_left_out

if TYPE_CHECKING:
    import medgs_core as medgs

METADATA = "medgs_slices"
"""Key in the metadata of a layer under which its `Slices` stand."""

FLAT = "shown_flat"
"""Key in the provenance of a model whose image was shown without its tilt."""

MIB = 2**20

ON_SLICE = 1e-6
"""Slice coordinates this close to a slice of the scan are that slice."""

NOT_READY = "NOT RENDERED YET"

LABEL_WORDS = ("PAINTED", "PROPAGATED", "slice")
"""What slices of labels are called."""

CHANNEL_COLORS = ("gray", "magenta", "green", "cyan", "yellow")


@dataclass(frozen=True, eq=False)
class Slices:
    """What the slices of a rendered layer are.

    Attributes
    ----------
    axis : of the layer, along which they lie
    coordinates : slice coordinate t of each
    measured : whether its voxels are the stored ones
    words : what a slice is called whose voxels are, and one whose are not; and what goes before the
        number of the latter
    ready : whether each is there already, kept up to date by who fills them; None where all are
    tilt : (4, 4) what leads from where they lie flat in napari to where the file says, in the order z, y, x; None where
        they stand there
    """

    axis: int
    coordinates: Any
    measured: Any
    words: tuple[str, str, str] = ("MEASURED", "SYNTHETIC", "in place of slice")
    ready: Any = None
    tilt: Any = None

    @property
    def finished(self) -> bool:
        """Whether all slices are there."""
        return self.ready is None or bool(self.ready.all())

    def summary(self) -> str:
        """Say what all slices are."""
        count, measured = len(self.measured), int(self.measured.sum())
        rest = "" if self.finished else f"\n{count - int(self.ready.sum())} {NOT_READY}"
        return f"{measured} of {count} slices {self.words[0]}{rest}"

    def describe(self, index: int) -> str:
        """Say what one slice is."""
        t = float(self.coordinates[index])
        stored, made, instead = self.words
        if self.ready is not None and not self.ready[index]:
            made = NOT_READY
            if self.measured[index]:
                return f"{NOT_READY}\nslice {round(t)}"
        if self.measured[index]:
            return f"{stored}\nslice {round(t)}"
        if abs(t - round(t)) < ON_SLICE:
            return f"{made}\n{instead} {round(t)}"
        return f"{made}\nbetween slices {int(t)} and {int(t) + 1} ({t:.2f})"


@dataclass(frozen=True, eq=False)
class Drawn:
    """One layer to be added: `viewer.add_image(data, **settings)`, or `add_labels` where that is its kind.

    Attributes
    ----------
    data, settings, kind : of the layer
    part : what it shows of the volume
    frame : where the volume stands
    run : which run of evenly spaced slices, where a rendering has several
    """

    data: Any
    settings: dict[str, Any]
    part: Part
    frame: Frame
    kind: str = "image"
    run: int = 0

    @property
    def slices(self) -> Slices:
        """What the slices of the layer are."""
        slices: Slices = self.settings["metadata"][METADATA]
        return slices

    def with_levels(self, levels: list[Any]) -> Drawn:
        """Return the layer with data of one level or several, the finest first."""
        several = len(levels) > 1
        settings = {**self.settings, "multiscale": several}
        return replace(self, data=levels if several else levels[0], settings=settings)


def regular_sampling(model: medgs.FittedModel, config: medgs.RenderConfig) -> medgs.Sampling:
    """Return where the slices of a layer lie.

    Raises
    ------
    ValueError
        If they are not evenly spaced: one layer cannot show that.
    """
    import medgs_core as medgs

    sampling = medgs.sample_slices(model, config)
    if sampling.positions is not None:
        gaps = np.diff(sampling.positions)
        raise ValueError(
            f"The slices of a layer must be evenly spaced, got gaps from {gaps.min():g} to {gaps.max():g} "
            f"{model.volume.unit}; give a spacing, or positions at equal distances."
        )
    return sampling


def slices_in(frame: Frame, model: medgs.FittedModel, config: medgs.RenderConfig) -> Slices:
    """Return what the slices of a rendering are that is shown in a frame."""
    return replace(describe_slices(model, config, frame.slice_axis), tilt=tilt_left_out(model.volume, frame))


def describe_slices(model: medgs.FittedModel, config: medgs.RenderConfig, axis: int) -> Slices:
    """Return what the slices of a rendering are: of labels, which were painted."""
    import medgs_core as medgs

    coordinates = medgs.sample_slices(model, config).coordinates
    if config.labels and model.labels is not None:
        whole = np.rint(coordinates)
        painted = np.isin(whole, model.labels.annotation.annotated) & (np.abs(coordinates - whole) < ON_SLICE)
        return Slices(axis, coordinates, painted & model.has_source, LABEL_WORDS)
    stored = model.has_source and not config.denoise
    measured = np.array([stored and medgs.is_measured(model, float(t)) for t in coordinates])
    return Slices(axis, coordinates, measured)


def describe_rendering(model: medgs.FittedModel, config: medgs.RenderConfig, layers: int, kept_in: str = "") -> str:
    """Return how many slices a rendering has, how far apart, and what they take where they are kept.

    Parameters
    ----------
    model, config
        What is rendered.
    layers : int
        How many layers it takes to show the slices of an image.
    kept_in : str
        Where slices are kept, in words; empty where they are not.
    """
    import medgs_core as medgs

    sampling = medgs.sample_slices(model, config)
    slices = describe_slices(model, config, 0)
    count, measured = len(sampling.coordinates), int(slices.measured.sum())
    spacing = model.volume.spacing[model.axis] * sampling.step
    voxels = model.volume.voxels
    size = voxels.size / voxels.shape[model.axis] * count * voxels.dtype.itemsize / MIB
    apart = f", {spacing:.3g} {unit_of(model.volume)} apart" if layers == 1 else ""
    spread = f", in {layers} layers of even spacing" if layers > 1 else ""
    amount = f"; {size:,.0f} MiB {kept_in}" if kept_in else ""
    return f"{count} slices{apart}, {measured} of them {slices.words[0].lower()}{spread}{amount}."


def unit_of(volume: medgs.Volume) -> str:
    """Return the unit of length of a volume as it is told."""
    return "px" if volume.unit == "unknown" else volume.unit


def describe_result(shown: str, config: medgs.RenderConfig, part: Part) -> str:
    """Return what a layer shows: the same words for the same choices, others for others."""
    return f"{shown} {config.model_dump_json()} of image {part.image}, channel {part.channel}"


def frames_of_model(model: medgs.FittedModel) -> tuple[Frame, ...]:
    """Return how the images of a model are shown that has no layer: in the world of its file, or flat as before."""
    frame = frame_of_volume(model.volume, model.axis, straight=bool(model.provenance.get(FLAT)))
    members = model.volume.members
    colors = [one.layout == "channels" and is_color(one.channels, one.dtype) for one in members]
    return tuple(replace(frame, rgb=color) for color in colors) or (frame,)


def blank_layers(
    name: str,
    volume: medgs.Volume,
    frames: Sequence[Frame],
    start: float,
    step: float,
    window: medgs.IntensityWindow | None = None,
) -> list[Drawn]:
    """Return layers without data for every image and channel of a volume, placed for slices at start + i * step."""
    parts = parts_of(volume, [frame.rgb for frame in frames])
    layers = []
    for number, part in enumerate(parts):
        frame = frames[part.image]
        settings = frame.settings(start, step)
        if not frame.rgb:
            settings = {**_look(volume, part, number, len(parts), window), **settings}
        settings["name"] = name + _suffix(volume, part)
        layers.append(Drawn(None, settings, part, frame))
    return layers


def _look(
    volume: medgs.Volume, part: Part, number: int, count: int, window: medgs.IntensityWindow | None
) -> Mapping[str, Any]:
    """Return contrast and color where no layer gives them."""
    look: dict[str, Any] = {}
    if window is not None:
        place = number if isinstance(window.low, tuple) else 0
        low, high = (np.atleast_1d(one)[place] for one in (window.low, window.high))
        look["contrast_limits"] = (float(low), float(high))
    if count > 1:
        look |= {"colormap": CHANNEL_COLORS[number % len(CHANNEL_COLORS)], "blending": "additive"}
    return look


def _suffix(volume: medgs.Volume, part: Part) -> str:
    image = f" image {part.image + 1}" if volume.members else ""
    return image + ("" if part.channel is None else f" channel {part.channel}")


def named(settings: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the settings of a layer with a word more in its name."""
    return {**settings, "name": f"{settings['name']} {what}"}
