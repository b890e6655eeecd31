"""Layers that tell how far rendered slices may be off: a model comes in, what its bounds are shown as goes out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medgs_napari._arrays import LayerArray
from medgs_napari._jobs import Job
from medgs_napari._rendered import METADATA, Drawn, blank_layers, describe_slices, named, regular_sampling
from medgs_napari._session import Fitted

if TYPE_CHECKING:
    import medgs_core as medgs

UNCERTAINTY = "uncertainty"
"""What these layers show, in a word."""

UNCERTAINTY_COLORS = "red"
BRIGHTEST_PERCENTILE = 99.5


def uncertainty_layers(fitted: Fitted, config: medgs.RenderConfig, job: Job[Any]) -> list[Drawn]:
    """Return layers with the bounds of the error; called in the thread of a job.

    Raises
    ------
    ValueError
        If the model knows no bounds, or the slices are not evenly spaced.
    """
    import medgs_core as medgs

    model = fitted.model
    sampling = regular_sampling(model, config)
    bounds = medgs.render_uncertainty(model, config, report=job.step)
    plain = tuple(replace(frame, look={}, rgb=False) for frame in fitted.frames)
    layers = []
    for drawn in blank_layers(fitted.name, bounds, plain, sampling.start, sampling.step):
        data = np.asarray(LayerArray(bounds.voxels, drawn.frame, drawn.part, bounds))
        brightest = float(np.percentile(data, BRIGHTEST_PERCENTILE)) or 1.0
        settings = named(drawn.settings, UNCERTAINTY)
        settings |= {"colormap": UNCERTAINTY_COLORS, "blending": "additive", "contrast_limits": (0.0, brightest)}
        settings["metadata"] = {METADATA: describe_slices(model, config, drawn.frame.slice_axis)}
        layers.append(replace(drawn, data=data, settings=settings))
    return layers
