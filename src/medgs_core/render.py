"""A fitted model comes in; a slice, a volume, or a volume that renders on access goes out.

Measured slices are copied, never computed; between them the Gaussians speak, with the detail they left out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from medgs_core.arrays import Image, Voxels
from medgs_core.blending import BlendWeights
from medgs_core.config import RenderConfig
from medgs_core.correspondence import Flows
from medgs_core.detail import add_detail, carry_all
from medgs_core.fold import fold_model
from medgs_core.labels import LabelRenderer
from medgs_core.members import channel_slopes
from medgs_core.model import DetailStrength, ErrorBound, FittedModel
from medgs_core.rasterize import choose_device, render_splats
from medgs_core.sampling import ON_SLICE, Sampling, is_measured, sample_slices
from medgs_core.slices import SliceStack, stack_slices
from medgs_core.tensors import single_threaded_torch
from medgs_core.threads import follow_threads
from medgs_core.uncertainty import bound_error
from medgs_core.volume import Volume, resample_axis

RENDER_BYTES = 400
"""Memory per value of a slice in which it is rendered: ten slices around it and their renderings, and several flows."""


class SliceRenderer:
    """Renders slices of one model under fixed options; safe to use from several threads.

    Parameters
    ----------
    model : FittedModel
        What to render.
    config : RenderConfig
        Only detail, denoise and device are looked at.

    Attributes
    ----------
    source : Volume
        Type and place of what is rendered.
    whole : SliceStack
        All slices: slice coordinates t count these.
    stack : SliceStack
        The measured ones, all but those skipped.

    Raises
    ------
    ValueError
        If the model was fitted to labels alone.
    """

    def __init__(self, model: FittedModel, config: RenderConfig) -> None:
        if not model.has_image:
            raise ValueError("Images need a model that was fitted to one, got one of labels alone; ask for its labels.")
        self.model = model
        self.config = config
        self.source = model.volume
        self.whole: SliceStack = stack_slices(model.volume, model.axis, model.window)
        self.stack: SliceStack = stack_slices(model.volume, model.axis, model.window, model.skipped)
        self._flows = Flows(self.stack, model.flow, model.memory)
        self._device = choose_device(config.device)
        self._gaussians = model.gaussians.to(self._device)
        self._strength = self._chosen_strength()

    def _chosen_strength(self) -> DetailStrength | None:
        if not self.model.has_source or self.config.detail == "off" or len(self.stack) < 2:
            return None
        learned = self.model.detail
        return learned if self.config.detail == "auto" else carry_all(learned)

    def estimate(self, t: float) -> Image:
        """Return what the Gaussians alone show at t: (height, width, channels) in unit intensities."""
        return self._shown(self._seat(t))

    def _seat(self, t: float) -> float:
        """Return where slice coordinate t lies among the measured slices, which the Gaussians count."""
        # by way of the position, because skipped slices leave gaps that are not even
        return self.stack.t_at(self.whole.z_at(t)) if self.model.skipped else t

    def _shown(self, seat: float) -> Image:
        """Return what the Gaussians show at a seat among the measured slices."""

        def compute() -> Image:
            with torch.no_grad(), single_threaded_torch():
                splats = fold_model(self._gaussians, seat)
                shown = render_splats(splats, self.stack.height, self.stack.width, self.model.compositing)
            return np.ascontiguousarray(shown.cpu().numpy())

        if seat != round(seat):
            return compute()
        # the renderings of measured slices serve all slices around them
        image: Image = self.model.memory.get(("estimate", round(seat)), compute, lambda image: image.nbytes)
        return image

    def image(self, t: float) -> Image:
        """Return the slice at t in unit intensities: (height, width, channels)."""
        if self._strength is None or (self.config.denoise and is_measured(self.model, t)):
            return self.estimate(t)
        return add_detail(self.stack, self._flows, self._shown, self._strength, self._seat(t))

    def stored(self, t: float) -> Voxels:
        """Return the slice at t in stored values: (height, width, channels), the volume's dtype.

        A measured slice is copied unless the options ask for the Gaussians' estimate.
        """
        if is_measured(self.model, t) and self.model.has_source and not self.config.denoise:
            measured: Voxels = self.whole.planes[round(t)]
            return measured
        stored: Voxels = self.model.window.to_stored(self.image(t), self.stack.planes.dtype)
        return stored

    def bound(self, t: float) -> Image:
        """Return the bound that nine in ten errors at t stay within: (height, width, channels), stored times slope.

        Zero at measured slices, which are copied; where they are denoised, what that changes.

        Raises
        ------
        ValueError
            If the model knows no bound: too few slices, or no measured voxels.
        """
        model, bound = self.model, check_bounds(self.model)
        scale = (model.window.width * np.abs(channel_slopes(model.volume))).astype(np.float32)
        if is_measured(model, t):
            if not self.config.denoise:
                return np.zeros(self.stack.planes.shape[1:], np.float32)
            changed: Image = scale * np.abs(self.image(t) - self.whole.unclipped(round(t)))
            return changed
        weights = BlendWeights(np.array(model.detail.blend, np.float32))
        limit: Image = scale * bound_error(self._flows, weights, bound, self.image(t), self._seat(t))
        return limit


@dataclass(frozen=True, eq=False)
class Rendering:
    """Slices that are to be rendered.

    Attributes
    ----------
    source : type and place of what they are rendered from
    axis : its slice axis
    sampling : where they lie
    render : gives the slice at a coordinate
    """

    source: Volume
    axis: int
    sampling: Sampling
    render: Callable[[float], Voxels]

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """(height, width) or (height, width, channels), as the source has it."""
        return tuple(size for place, size in enumerate(self.source.voxels.shape) if place != self.axis)

    @property
    def working_bytes(self) -> int:
        """Memory in which one slice is rendered."""
        return RENDER_BYTES * math.prod(self.plane_shape)

    def plane(self, i: int) -> Voxels:
        """Return slice i."""
        return self.render(float(self.sampling.coordinates[i])).reshape(self.plane_shape)

    def placed(self, source: Volume, voxels: Voxels) -> Volume:
        """Return voxels of all slices as a volume like the source, or like one of its images."""
        start, step, positions = self.sampling.start, self.sampling.step, self.sampling.positions
        return resample_axis(source, self.axis, voxels, start=start, step=step, positions=positions)


def choose_renderer(model: FittedModel, config: RenderConfig) -> SliceRenderer | LabelRenderer:
    """Return what renders the image of a model, or its labels where the options ask for them."""
    return LabelRenderer(model, config) if config.labels else SliceRenderer(model, config)


def check_coordinate(model: FittedModel, t: float) -> None:
    """Refuse a coordinate outside the stack.

    Raises
    ------
    ValueError
        If t is not between the first and the last slice.
    """
    last = model.volume.shape3d[model.axis] - 1
    if not -ON_SLICE <= t <= last + ON_SLICE:
        msg = f"t must lie between the first and the last slice (0 to {last}), got {t:g}; choose t in that range"
        raise ValueError(msg)


def check_bounds(model: FittedModel) -> ErrorBound:
    """Return what the model knows of its errors.

    Raises
    ------
    ValueError
        If that is nothing: it was fitted to too few slices, or saved without them.
    """
    if model.error_bound is None or not model.has_source:
        slices = model.volume.shape3d[model.axis] - len(model.skipped)
        got = f"{slices} slices" if model.has_source else "a model saved without its slices"
        msg = f"uncertainty needs a model with at least 3 measured slices, got {got}; fit more, with their source"
        raise ValueError(msg)
    return model.error_bound


def settle_options(config: RenderConfig | None, options: dict[str, Any]) -> RenderConfig:
    """Return the config with single settings over it, checked."""
    return RenderConfig(**{**(config.model_dump() if config else {}), **options})


def shaped_plane(renderer: SliceRenderer | LabelRenderer, t: float) -> Voxels:
    """Return a slice as its volume has it: (height, width), or (height, width, channels) where that has channels."""
    plane = renderer.stored(t)
    shaped: Voxels = plane.reshape(plane.shape[:2]) if renderer.source.voxels.ndim == 3 else plane
    return shaped


def render_slice(model: FittedModel, t: float, config: RenderConfig | None = None, **options: Any) -> Voxels:
    """Return one slice at coordinate t, in stored values.

    Parameters
    ----------
    model : FittedModel
        What to render.
    t : float
        Slice coordinate in [0, slices - 1]; 12.5 lies half-way between slices 12 and 13.
    config : RenderConfig, optional
        Detail, denoise, device.
    **options
        Single settings of `RenderConfig`, instead of a config or over it.

    Returns
    -------
    (height, width) or (height, width, channels)
        The volume's dtype and the order of its axes without the slice axis; measured slices are exact.

    Raises
    ------
    ValueError
        If t lies outside the stack or an option breaks its rule.
    """
    config = settle_options(config, options)
    renderer = choose_renderer(model, config)
    check_coordinate(model, t)
    return np.array(shaped_plane(renderer, t))


def render_volume(
    model: FittedModel,
    config: RenderConfig | None = None,
    *,
    report: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Volume:
    """Return the volume at the wanted slice positions.

    Parameters
    ----------
    model : FittedModel
        What to render.
    config : RenderConfig, optional
        Sampling, detail, denoise, device; the measured slices alone by default.
    report : Callable, optional
        Called with (slices done, slices in all) after each slice.
    **options
        Single settings of `RenderConfig`, instead of a config or over it: `render_volume(model, factor=4)`.

    Returns
    -------
    Volume
        Dtype, axis order, unit and intensity scale of the input; only the slice column of its affine differs.

    Raises
    ------
    ValueError
        If an option breaks its rule or positions leave the stack.

    Examples
    --------
    >>> dense = render_volume(model, factor=4)  # doctest: +SKIP
    """
    config = settle_options(config, options)
    return _assemble(plan_rendering(model, config), report)


def render_uncertainty(
    model: FittedModel,
    config: RenderConfig | None = None,
    *,
    report: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Volume:
    """Return, for every voxel that `render_volume` gives, the bound that nine in ten errors stay within.

    Of labels (`labels=True`), the probability that each is right instead, see `labels.LabelRenderer.confidence`.

    Learned from how well the volume predicts its own slices, so it is as honest as they are typical. Zero at measured
    slices, largest half-way between. Learned across gaps twice as wide, it leans to the safe side: see docs/method.md.

    Parameters
    ----------
    model, config, report, **options
        As for `render_volume`.

    Returns
    -------
    Volume
        Float32 in measured values (stored times slope), a bound for each channel where the input has channels.

    Raises
    ------
    ValueError
        If the model has fewer than 3 slices or no measured voxels, or an option breaks its rule.
    """
    config = settle_options(config, options)
    return _assemble(plan_rendering(model, config, bounds=True), report)


def plan_rendering(model: FittedModel, config: RenderConfig, *, bounds: bool = False) -> Rendering:
    """Return what renders the slices that the options ask for, or the bounds of their errors; nothing is rendered yet.

    Raises
    ------
    ValueError
        If an option breaks its rule, positions leave the stack, or the model knows no bounds where they are wanted.
    """
    sampling, renderer = sample_slices(model, config), choose_renderer(model, config)
    source = renderer.source
    if not bounds:
        return Rendering(source, model.axis, sampling, partial(shaped_plane, renderer))
    measured = tuple(replace(member, dtype="float32", slope=1.0, intercept=0.0) for member in source.members)
    blank = np.broadcast_to(np.zeros((), np.float32), source.voxels.shape)
    place = replace(source, voxels=blank, slope=1.0, intercept=0.0, members=measured)
    if isinstance(renderer, LabelRenderer):
        return Rendering(place, model.axis, sampling, renderer.confidence)
    check_bounds(model)
    return Rendering(place, model.axis, sampling, renderer.bound)


def _assemble(rendering: Rendering, report: Callable[[int, int], None] | None) -> Volume:
    """Return the volume of all slices."""
    count = len(rendering.sampling.coordinates)
    planes = np.empty((count, *rendering.plane_shape), rendering.source.voxels.dtype)

    def place(i: int) -> None:
        planes[i] = rendering.plane(i)

    for i, _ in enumerate(follow_threads(place, range(count), rendering.working_bytes)):
        if report:
            report(i + 1, count)
    return rendering.placed(rendering.source, np.moveaxis(planes, 0, rendering.axis))
