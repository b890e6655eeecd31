"""What a fit would take, before it starts: an order comes in, a sentence or two go out."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from medgs_napari._amounts import duration, memory
from medgs_napari._fit_task import Order, plan_within
from medgs_napari._jobs import Job

if TYPE_CHECKING:
    import medgs_core as medgs


def estimate_job(order: Order) -> Job[str]:
    """Return the job that plans a fit, tells the plan as its news, and then measures how long the fit would take.

    It loads what the core computes with, which takes a second or two.
    """
    return Job(lambda job: _estimate(order, job))


def what_matters(order: Order) -> Any:
    """Return what the time and the memory of a fit depend on: orders that agree in it need no further estimate."""
    images = tuple((id(one.data), one.steps) for one in order.picks)
    labels = None if order.labels is None else order.labels.layer_id
    return images, labels, order.config.model_dump(exclude={"seed"}), order.most_bytes


def _estimate(order: Order, job: Job[str]) -> str:
    import medgs_core as medgs

    volume = order.volume()
    labels, label_config = order.labels_on(volume)
    job.checkpoint()
    said = describe_plan(plan_within(volume, labels, label_config, order))
    job.report(said)
    estimate = medgs.probe_fit(volume, order.config, labels=labels, label_config=label_config, progress=job)
    if math.isnan(estimate.seconds):
        return said
    most = "at most " if estimate.at_most else ""
    return f"{said} It takes {most}about {duration(estimate.seconds)}."


def describe_plan(plan: medgs.FitPlan) -> str:
    """Return the size of a fit, its memory, and the device it runs on."""
    most = "at most " if plan.may_end_early else ""
    hidden = f", {len(plan.hidden)} of them hidden at first to score the model" if plan.hidden else ""
    labels = f"{plan.classes} label{'s' if plan.classes > 1 else ''}, " if plan.classes else ""
    return (
        f"{len(plan.stack)} slices of {plan.stack.height} × {plan.stack.width} pixels{hidden}; "
        f"{sum(plan.counts):,} Gaussians, {most}{sum(plan.steps):,} steps, {labels}about "
        f"{memory(plan.memory_bytes)} of memory, {_where(plan.device.type)}."
    )


def _where(device: str) -> str:
    if device == "cuda":
        import torch

        return f"on the GPU {torch.cuda.get_device_name()}"
    cores = os.cpu_count() or 1
    return f"on the CPU with {cores} core{'s' if cores > 1 else ''}"
