"""*surface*: from a fitted model to closed meshes in the world, of labels or at a level of intensity.

In: a model and what surface is wanted. Out: a `Surface`, traced through the smooth field that the model renders
at any position, never through its voxels.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from medgs_core.arrays import Image
from medgs_core.config import Device, RenderConfig, SurfaceConfig
from medgs_core.isosurface import partition_fields, trace_border
from medgs_core.labels import LabelRenderer
from medgs_core.lattice import build_lattice
from medgs_core.members import members_of
from medgs_core.mesh import Surface, simplify_surface, smooth_surface
from medgs_core.model import FittedModel
from medgs_core.render import RENDER_BYTES, SliceRenderer
from medgs_core.slices import stack_slices
from medgs_core.volume import Volume

LABEL_BYTES = 64
"""Memory per value of a label field while a slice is made: rendered, resampled, sorted, compared with the others."""

Report = Callable[[int, int], None]
"""Called with (slices done, slices in all) after each slice."""


@runtime_checkable
class LabelFields(Protocol):
    """Smooth fields of labels, one per class: about the signed distance in pixels / 3 within ±1, positive inside."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Return the label of each class."""
        ...

    def fields(self, t: float) -> Float32[np.ndarray, "height width classes"]:
        """Return the fields at slice coordinate t, up to half a gap beyond the outermost slices."""
        ...


def extract_surface(
    model: FittedModel, config: SurfaceConfig | None = None, *, report: Report | None = None, **options: Any
) -> Surface:
    """Return the closed surface of a label, or of what lies above a level.

    A label ends where its field meets the largest other one, or zero, so that neighbors share their border. At the
    ends of the volume surfaces are closed flat, where the outermost voxels end; a label that shrinks towards the first
    or last slice goes on shrinking until there. Not differentiable.

    Parameters
    ----------
    model : FittedModel
        What to take the surface from.
    config : SurfaceConfig, optional
        Label or level, channel, spacing, smoothing, number of faces, device.
    report : Callable, optional
        Called with (slices done, slices in all) after each slice.
    **options
        Single settings of `SurfaceConfig`, instead of a config or over it.

    Returns
    -------
    Surface
        In the world and the unit of the model's volume.

    Raises
    ------
    ValueError
        If neither or both of label and level are given, there is no such label, channel or level, the surface is
        empty, or an option breaks its rule.

    Examples
    --------
    >>> extract_surface(model, level=300.0, smooth=10).volume  # doctest: +SKIP
    """
    config = _settle(config, options)
    if config.label is not None:
        head = label_fields(model, config.device)
        check_label(head, config.label)
        (surface,) = trace_labels(head, model.volume, model.axis, config, report=report)
        return surface
    if config.level is None:
        msg = "a surface needs a label or a level, got neither; give one of them"
        raise ValueError(msg)
    return _trace_level(model, config.level, config, report)


def extract_surfaces(
    model: FittedModel, config: SurfaceConfig | None = None, *, report: Report | None = None, **options: Any
) -> tuple[Surface, ...]:
    """Return the surfaces of all labels from one rendering, in the order of the labels.

    Those that touch share the vertices of their border exactly, but for the few inside a cell whose connections are
    ambiguous, unless they are smoothed or reduced: each is by itself. Labels that win nowhere have no surface.

    Parameters
    ----------
    model, config, report, **options
        As for `extract_surface`, without a label or a level.

    Raises
    ------
    ValueError
        If a label or level is given, the model has no labels, no label wins anywhere, or an option breaks its rule.
    """
    config = _settle(config, options)
    for name, value in (("label", config.label), ("level", config.level)):
        if value is not None:
            msg = f"the surfaces of all labels need no {name}, got {value:g}; leave it out"
            raise ValueError(msg)
    return trace_labels(label_fields(model, config.device), model.volume, model.axis, config, report=report)


def label_fields(model: FittedModel, device: Device = "auto") -> LabelFields:
    """Return what renders the label fields of a model.

    Raises
    ------
    ValueError
        If it has no labels.
    """
    return LabelRenderer(model, RenderConfig(device=device))


def check_label(head: LabelFields, label: int) -> None:
    """Refuse a label that does not exist.

    Raises
    ------
    ValueError
        Naming those that do.
    """
    if label not in head.ids:
        known = ", ".join(str(one) for one in head.ids)
        raise ValueError(f"label should be one of {known}, got {label}; choose one of these")


def trace_labels(
    head: LabelFields, volume: Volume, axis: int, config: SurfaceConfig, *, report: Report | None = None
) -> tuple[Surface, ...]:
    """Return the surface of the label in the settings, or those of all labels that win somewhere.

    Parameters
    ----------
    head : LabelFields
        What renders the fields.
    volume : Volume
        Its geometry alone matters.
    axis : int
        Slice axis in the file's order.
    config : SurfaceConfig
        Label, spacing, smoothing, number of faces.
    report : Callable, optional
        Called with (slices done, slices in all) after each slice.

    Raises
    ------
    ValueError
        If that label, or every label, wins nowhere.
    """
    lattice = build_lattice(volume, axis, config.spacing)
    wanted = head.ids if config.label is None else (config.label,)
    working = LABEL_BYTES * lattice.shape[1] * lattice.shape[2] * len(head.ids)
    partition = partition_fields(head.fields, lattice, working_bytes=working, report=report)
    classes = [(label, head.ids.index(label)) for label in wanted]
    surfaces = tuple(
        finish(Surface(*trace_border(partition, c), volume.unit, label=label), config)
        for label, c in classes
        if not partition.margins[c].is_empty
    )
    if not surfaces:
        names = ", ".join(str(label) for label in wanted)
        msg = f"a surface needs a label that wins somewhere, got {names}, which never does; choose another label"
        raise ValueError(msg)
    return surfaces


def _trace_level(model: FittedModel, level: float, config: SurfaceConfig, report: Report | None) -> Surface:
    """Return the surface around what measures more than a level in one channel."""
    renderer = SliceRenderer(model, RenderConfig(device=config.device))
    threshold, sign = _unit_threshold(model, level, config.channel)
    lattice = build_lattice(model.volume, model.axis, config.spacing)

    last = len(renderer.whole) - 1

    def render(t: float) -> Image:
        inside = min(max(t, 0.0), float(last))  # a voxel has one value up to its end
        return sign * (renderer.image(inside)[..., config.channel : config.channel + 1] - threshold)

    working = RENDER_BYTES * renderer.stack.height * renderer.stack.width * renderer.stack.channels
    partition = partition_fields(render, lattice, working_bytes=working, report=report)
    if partition.margins[0].is_empty:
        msg = f"a surface needs values above the level, got none above {level:g}; lower it"
        raise ValueError(msg)
    return finish(Surface(*trace_border(partition, 0), model.volume.unit, level=level), config)


def _unit_threshold(model: FittedModel, level: float, channel: int) -> tuple[np.float32, np.float32]:
    """Return a level in unit intensities, and the sign that makes what measures more positive.

    Raises
    ------
    ValueError
        If there is no such channel, or the level lies outside what it measures.
    """
    volume, window = model.volume, model.window.of_channels(channel, channel + 1)
    if channel >= volume.channels:
        msg = f"channel should be at most {volume.channels - 1}, the last one, got {channel}; correct it"
        raise ValueError(msg)
    slope, intercept = _measured_scale(volume, channel)
    low, width = float(np.ravel(window.low)[0]), float(window.width.flat[0])
    if model.has_source:
        values = stack_slices(volume, model.axis, model.window, model.skipped).planes[..., channel]
        stored = float(values.min()), float(values.max())
    else:
        shown = model.gaussians.intensity[:, channel]  # what is rendered lies between theirs
        stored = low + width * float(shown.min()), low + width * float(shown.max())
    least, most = sorted(slope * value + intercept for value in stored)
    if not least < level < most:
        msg = f"level should lie between {least:g} and {most:g}, the range of the data, got {level:g}; choose one there"
        raise ValueError(msg)
    return np.float32(((level - intercept) / slope - low) / width), np.float32(np.sign(slope))


def _measured_scale(volume: Volume, channel: int) -> tuple[float, float]:
    """Return slope and intercept of a channel, that of the image it belongs to."""
    scales = [(one.slope, one.intercept) for one in members_of(volume) for _ in range(one.channels)]
    return scales[channel]


def finish(surface: Surface, config: SurfaceConfig) -> Surface:
    """Return the surface smoothed and reduced as the settings ask."""
    surface = smooth_surface(surface, config.smooth)
    return surface if config.faces is None else simplify_surface(surface, config.faces)


def _settle(config: SurfaceConfig | None, options: dict[str, Any]) -> SurfaceConfig:
    """Return the config with single settings over it, checked."""
    return SurfaceConfig(**{**(config.model_dump() if config else {}), **options})
