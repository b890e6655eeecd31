"""What a fit would take, before it starts: an order comes in, a sentence or two go out."""

from __future__ import annotations

import os

from medgs_napari._fit_task import Order
from medgs_napari._jobs import Job

MIB, GIB = 2**20, 2**30


def estimate_job(order: Order) -> Job[str]:
    """Return the job that plans a fit; it loads what the core computes with, which takes a second or two."""
    return Job(lambda job: describe_plan(order))


def describe_plan(order: Order) -> str:
    """Return the size of a fit, its memory, and the device it runs on."""
    import medgs_core as medgs

    volume = medgs.combine_volumes(*(one.volume() for one in order.picks))
    plan = medgs.plan_fit(volume, order.config)
    most = "at most " if plan.hidden and order.config.steps is None else ""
    hidden = f", {len(plan.hidden)} of them hidden at first to score the model" if plan.hidden else ""
    size = plan.memory_bytes
    memory = f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"
    return (
        f"{len(plan.stack)} slices of {plan.stack.height} × {plan.stack.width} pixels{hidden}; "
        f"{sum(plan.counts):,} Gaussians, {most}{sum(plan.steps):,} steps, about {memory} of memory, "
        f"{_where(plan.device.type)}."
    )


def _where(device: str) -> str:
    if device == "cuda":
        import torch

        return f"on the GPU {torch.cuda.get_device_name()}"
    cores = os.cpu_count() or 1
    return f"on the CPU with {cores} core{'s' if cores > 1 else ''}"
