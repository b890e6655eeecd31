"""Layers that render on access: images, how far they may be off, labels, and how sure these are.

A model, its frames and the settings of a rendering come in; data and settings of layers go out. Nothing is rendered but
what is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._ahead import Ahead
from medgs_napari._arrays import LayerArray, Part, thinned_levels, virtual_levels
from medgs_napari._between import Between
from medgs_napari._coarse import Nearest
from medgs_napari._frames import Frame
from medgs_napari._rendered import METADATA, Drawn, blank_layers, regular_sampling, slices_in

if TYPE_CHECKING:
    import medgs_core as medgs

UNCERTAINTY_COLORS = "red"
BRIGHTEST_PERCENTILE = 99.5

OPACITY = 0.5


def virtual_layers(
    name: str, model: medgs.FittedModel, frames: Sequence[Frame], config: medgs.RenderConfig
) -> list[Drawn]:
    """Return layers of the images of a model, one per image and channel.

    Raises
    ------
    ValueError
        If a setting breaks its rule, or the slices are not evenly spaced.
    """
    import medgs_core as medgs

    sampling = regular_sampling(model, config)
    lazy = medgs.lazy_volume(model, config)
    standin = Between(model.volume, model.axis, model.skipped, lazy.coordinates) if model.has_source else None
    fine = Ahead(lazy, standin)
    coarse = Nearest(model.volume, model.axis, model.skipped, lazy.coordinates)
    layers = []
    for drawn in blank_layers(name, model.volume, frames, sampling.start, sampling.step, model.window):
        if model.has_source:
            levels = virtual_levels(fine, coarse, drawn.frame, drawn.part, model.volume)
        else:
            levels = [LayerArray(fine, drawn.frame, drawn.part, model.volume)]
        metadata = {METADATA: slices_in(drawn.frame, model, config)}
        layers.append(replace(drawn, settings={**drawn.settings, "metadata": metadata}).with_levels(levels))
    return layers


def virtual_bounds(
    name: str,
    model: medgs.FittedModel,
    frames: Sequence[Frame],
    config: medgs.RenderConfig,
    brightest: Sequence[float],
) -> list[Drawn]:
    """Return layers of the bounds of the error, one per image and channel.

    Parameters
    ----------
    name, model, frames, config
        As of `virtual_layers`.
    brightest : sequence of float
        What is shown brightest in each layer, as `brightest_bounds` tells.

    Raises
    ------
    ValueError
        As of `virtual_layers`, or if the model knows no bounds.
    """
    import medgs_core as medgs

    sampling = regular_sampling(model, config)
    lazy = medgs.lazy_uncertainty(model, config)
    fine, place = Ahead(lazy), lazy.place
    layers = []
    blank = blank_layers(name, place, _plain(frames), sampling.start, sampling.step)
    for drawn, end in zip(blank, brightest, strict=True):
        axis = drawn.frame.slice_axis
        levels = thinned_levels(LayerArray(fine, drawn.frame, drawn.part, place), axis)
        settings = {
            **drawn.settings,
            "colormap": UNCERTAINTY_COLORS,
            "blending": "additive",
            "contrast_limits": (0.0, end),
            "metadata": {METADATA: slices_in(drawn.frame, model, config)},
        }
        layers.append(replace(drawn, settings=settings).with_levels(levels))
    return layers


def brightest_bounds(model: medgs.FittedModel, frames: Sequence[Frame], config: medgs.RenderConfig) -> list[float]:
    """Return what of the bounds is shown brightest in each of their layers: one slice is rendered to find it.

    Raises
    ------
    ValueError
        If the model knows no bounds, or a setting breaks its rule.
    """
    import medgs_core as medgs

    lazy = medgs.lazy_uncertainty(model, config)
    middle, ends = _farthest_slice(lazy.coordinates), []
    for drawn in blank_layers("", lazy.place, _plain(frames), 0.0, 1.0):
        index = (slice(None),) * drawn.frame.slice_axis + (middle,)
        typical = LayerArray(lazy, drawn.frame, drawn.part, lazy.place)[index]
        ends.append(float(np.percentile(typical, BRIGHTEST_PERCENTILE)) or 1.0)
    return ends


def _plain(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Return the same places without the look of an image."""
    return tuple(replace(frame, look={}, rgb=False) for frame in frames)


def virtual_labels(
    name: str,
    model: medgs.FittedModel,
    frames: Sequence[Frame],
    config: medgs.RenderConfig,
    known: medgs.Volume | None = None,
) -> list[Drawn]:
    """Return the layer of the labels of a model.

    Parameters
    ----------
    name, model, frames, config
        As of `virtual_layers`; the config asks for labels.
    known : Volume, optional
        The labels on all slices of the image, if they are at hand: they stand in for what is not rendered yet, and are
        shown in 3-D. Without them the painted slices stand in.

    Raises
    ------
    ValueError
        As of `virtual_layers`, or if the model has no labels.
    """
    import medgs_core as medgs

    lazy = medgs.lazy_volume(model, config)
    assert model.labels is not None  # or there would be no such volume
    annotation, places = model.labels.annotation, lazy.coordinates
    if known is None:
        unknown = tuple(k for k in range(len(annotation)) if k not in annotation.annotated)
        fine = Ahead(lazy, Between(annotation.volume, model.axis, unknown, places, labels=True))
        levels = thinned_levels(LayerArray(fine, frames[0], Part(), lazy.place), frames[0].slice_axis)
    else:
        fine = Ahead(lazy, Between(known, model.axis, (), places, labels=True))
        levels = virtual_levels(fine, Nearest(known, model.axis, (), places), frames[0], Part(), known)
    return [replace(_of_labels(name, model, frames[0], config, levels), kind="labels")]


def virtual_confidence(
    name: str, model: medgs.FittedModel, frames: Sequence[Frame], config: medgs.RenderConfig
) -> Drawn:
    """Return the layer of the probability that each label is right; parameters and errors as of `virtual_labels`."""
    import medgs_core as medgs

    lazy = medgs.lazy_uncertainty(model, config)
    levels = thinned_levels(LayerArray(Ahead(lazy), frames[0], Part(), lazy.place), frames[0].slice_axis)
    return _of_labels(name, model, frames[0], config, levels)


def _of_labels(
    name: str, model: medgs.FittedModel, frame: Frame, config: medgs.RenderConfig, levels: list[LayerArray]
) -> Drawn:
    """Return a layer that lies over the image."""
    sampling = regular_sampling(model, config)
    slices = slices_in(frame, model, config)
    settings = {
        **frame.placed(sampling.start, sampling.step),
        "name": name,
        "opacity": OPACITY,
        "metadata": {METADATA: slices},
    }
    return Drawn(None, settings, Part(), frame).with_levels(levels)


def _farthest_slice(coordinates: Any) -> int:
    """Return which slice is farthest from the measured ones beside it; the middle one of several such."""
    apart = np.abs(np.asarray(coordinates) % 1.0 - 0.5)
    farthest = np.flatnonzero(np.isclose(apart, apart.min()))
    return int(farthest[len(farthest) // 2])
