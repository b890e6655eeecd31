"""What labels add to the time of a fit: the parts of their head, done on some slices in the middle, timed, counted up.

A volume, its annotation and the plan of the fit come in; seconds go out.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from medgs_core.annotation import Annotation
from medgs_core.arrays import Fields, Positions
from medgs_core.blending import BlendWeights
from medgs_core.config import FitConfig, RenderConfig
from medgs_core.correspondence import Flows
from medgs_core.detail import strength_of
from medgs_core.initialize import seed_slice
from medgs_core.label_evidence import MOST_PREDICTED, gather_samples
from medgs_core.label_fit import LOOKS, all_classes, improve_values
from medgs_core.labels import LabelRenderer, build_propagation
from medgs_core.model import FittedModel, FoldedGaussians, LabelHead
from medgs_core.optimizer import RowAdam
from medgs_core.plan import FitPlan
from medgs_core.propagation import WAYS
from medgs_core.scribbles import fill_unknown
from medgs_core.slices import stack_slices
from medgs_core.stopwatch import Stopwatch, in_rounds
from medgs_core.tensors import single_threaded_torch
from medgs_core.threads import thread_count
from medgs_core.volume import Volume

ANNOTATED, MOST_APART = 3, 6
"""Annotated slices that are looked at, as one is predicted from the two beside it; and slices from one to the next, at
most: they may be many, and each wants a flow."""

FIELDS, STEPS, UNTIMED_STEPS = 5, 4, 1
"""Slices whose fields are made, steps of their label values, and those of them that do not count."""


def time_labels(
    volume: Volume, annotation: Annotation, plan: FitPlan, config: FitConfig, watch: Stopwatch, *, with_image: bool
) -> float:
    """Return the seconds that the label head takes.

    Parameters
    ----------
    volume, annotation, plan, config
        What is fitted, and how.
    watch : Stopwatch
        May raise `Cancelled` between any two parts.
    with_image : bool
        Whether the volume is an image, not the outlines of the labels.
    """
    some, model = _few_slices(volume, annotation, plan, config, with_image)
    whole = stack_slices(model.volume, model.axis, model.window)
    filled, fill = watch.timed(lambda: fill_unknown(some, whole if with_image else None))
    ways = len(WAYS) if with_image else len(WAYS) - 1
    values = torch.full((len(model.gaussians), len(filled.ids)), -1.0)
    head = LabelHead(values, filled, (1.0 / ways,) * ways, 1.0)
    model = replace(model, labels=head)
    if with_image:  # the flow is there by then
        watch.each(Flows(whole, model.flow, model.memory).between, range(len(whole) - 1))
    propagation, outlines = watch.timed(lambda: build_propagation(model, head))
    sample = watch.once(lambda: gather_samples(propagation))
    renderer = LabelRenderer(model, RenderConfig(device="cpu"))
    field, step = _time_values(renderer, values, len(whole), watch)
    rows = len(annotation.annotated)
    inner = min(max(rows - 2, 0), MOST_PREDICTED)
    threads = thread_count()
    return (
        (fill + outlines) * rows / len(filled.annotated)
        + sample * in_rounds(inner, threads) / threads
        + (field + LOOKS * step) * len(plan.stack)
    )


def _few_slices(
    volume: Volume, annotation: Annotation, plan: FitPlan, config: FitConfig, with_image: bool
) -> tuple[Annotation, FittedModel]:
    """Return annotated slices from the middle, and a model without labels of as many slices as they need.

    The annotated slices stand as far apart as they do on average, or `MOST_APART`.
    """
    rows = annotation.annotated
    first = max(0, (len(rows) - ANNOTATED) // 2)
    chosen = rows[first : first + ANNOTATED]
    steps = len(chosen) - 1
    apart = min(MOST_APART, round((chosen[-1] - chosen[0]) / steps), (len(plan.stack) - 1) // steps)
    apart = max(1, apart)
    count = steps * apart + 1
    middle = range((len(plan.stack) - count) // 2, (len(plan.stack) + count) // 2)
    positions = plan.stack.positions[middle.start : middle.stop]
    scan = _taken(volume, annotation.axis, [plan.numbers[k] for k in middle], positions)
    labels = _taken(annotation.volume, annotation.axis, [0] * count, positions)
    for place, number in enumerate(chosen):
        np.moveaxis(labels.voxels, annotation.axis, 0)[place * apart] = annotation.plane(number)
    annotated = tuple(range(0, count, apart))
    return (
        replace(annotation, volume=labels, positions=positions, annotated=annotated),
        FittedModel(
            gaussians=_gaussians(plan, config, middle),
            compositing=plan.compositing,
            volume=scan,
            axis=annotation.axis,
            window=plan.stack.window,
            detail=strength_of(BlendWeights.prior(plan.stack.channels), (), ()),
            flow=config.effort.flow,
            has_image=with_image,
        ),
    )


def _taken(volume: Volume, axis: int, numbers: list[int], positions: Positions) -> Volume:
    """Return some slices of a volume, at other positions."""
    return replace(volume, voxels=np.take(volume.voxels, numbers, axis), positions=positions)


def _gaussians(plan: FitPlan, config: FitConfig, middle: range) -> FoldedGaussians:
    """Return Gaussians as the slices in the middle have them, at rest."""
    stack = plan.stack.select(list(middle))
    flows, generator = Flows(stack, config.effort.flow), np.random.default_rng(config.seed)
    places = np.arange(len(stack), dtype=np.float64)
    packed = [
        seed_slice(flows, k, places, plan.counts[number], config.drift_degree, generator, moving=False).pack()
        for k, number in enumerate(middle)
    ]
    return FoldedGaussians.unpack(torch.cat(packed), stack.channels)


def _time_values(renderer: LabelRenderer, values: Tensor, slices: int, watch: Stopwatch) -> tuple[float, float]:
    """Return what the fields of one slice cost, and one step of the label values."""
    optimizer = RowAdam.start(values)
    places = [round(place) for place in np.linspace(0, slices - 1, FIELDS)]
    made: list[Fields] = []

    def make(k: int) -> None:
        made.append(all_classes(renderer, float(k)))

    fields = [watch.once(partial(make, k)) for k in places]
    steps = []
    for number in range(STEPS):
        k, known = places[number % FIELDS], made[number % FIELDS]
        with single_threaded_torch():
            steps.append(watch.once(partial(improve_values, optimizer, renderer.model, k, known)))
    return float(np.mean(fields)), float(np.median(steps[UNTIMED_STEPS:]))
