"""The state of a fit between two steps, and how it becomes a checkpoint and comes back.

All that a fit needs to end where an unbroken one would; the volume and the settings are known by hash and by value.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from medgs_core.config import FitConfig
from medgs_core.descent import Parameters
from medgs_core.model import FitCheckpoint
from medgs_core.optimizer import RowAdam


@dataclass
class Running:
    """A fit under way.

    Attributes
    ----------
    parameters : the Gaussians, moved in place
    generator : of every random choice
    totals : steps of both phases, fewer than planned once the hidden slices have stopped the first
    phase : 0 while slices hide, 1 when all are seen
    trust, smoothing : see `model.DetailStrength`; the usual ones until hidden slices tell
    step : steps done in the phase
    checks : mean PSNR in dB of the Gaussians alone on hidden slices, one per check so far
    order : slices still to come before all are drawn anew
    loss : running mean of the squared error; nan before the first step
    scores : mean PSNR in dB by method, once known
    """

    parameters: Parameters
    generator: np.random.Generator
    totals: tuple[int, int]
    phase: int
    trust: tuple[float, ...]
    smoothing: tuple[float, ...]
    step: int = 0
    checks: list[float] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    loss: float = math.nan
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Steps done in all."""
        return self.step + (self.totals[0] if self.phase == 1 else 0)


def capture(state: Running | None, config: FitConfig, identity: str) -> FitCheckpoint:
    """Return the state, or that before there is one, as a checkpoint of a volume and settings."""
    asked = {"settings": _settings(config), "input_sha256": identity}
    if state is None:
        return FitCheckpoint({}, {**asked, "phase": None})
    optimizer = state.parameters.optimizer
    tensors = {
        "parameters": optimizer.parameters,
        "mean": optimizer.mean,
        "square": optimizer.square,
        "seen": optimizer.seen,
    }
    facts = {
        **asked,
        "generator": state.generator.bit_generator.state,
        "starts": state.parameters.starts.tolist(),
        "totals": list(state.totals),
        "phase": state.phase,
        "step": state.step,
        "checks": state.checks,
        "order": state.order,
        "loss": None if math.isnan(state.loss) else state.loss,
        "scores": state.scores,
        "trust": list(state.trust),
        "smoothing": list(state.smoothing),
    }
    return FitCheckpoint({name: tensor.clone().cpu() for name, tensor in tensors.items()}, facts)


def restore(
    checkpoint: FitCheckpoint, config: FitConfig, identity: str, channels: int, device: torch.device
) -> Running | None:
    """Return the state that a checkpoint holds; None if the fit was stopped before it had one.

    Raises
    ------
    ValueError
        If it belongs to another volume or other settings, or is not such a state as this version writes.
    """
    try:
        _check_same(checkpoint.facts, config, identity)
        return None if checkpoint.facts["phase"] is None else _running(checkpoint, channels, device)
    except (KeyError, TypeError, IndexError) as error:
        msg = (
            f"a fit resumes from a state that this version wrote, got one that lacks {error}; start anew without "
            "--resume"
        )
        raise ValueError(msg) from error


def _running(checkpoint: FitCheckpoint, channels: int, device: torch.device) -> Running:
    facts = checkpoint.facts
    # a copy also where the device is the same: the fit moves them in place, and a checkpoint may serve again
    tensors = {name: tensor.to(device, copy=True) for name, tensor in checkpoint.tensors.items()}
    generator = np.random.default_rng()
    generator.bit_generator.state = facts["generator"]
    parameters = Parameters(
        RowAdam(tensors["parameters"], tensors["mean"], tensors["square"], tensors["seen"]),
        np.array(facts["starts"], dtype=np.int64),
        channels,
    )
    return Running(
        parameters=parameters,
        generator=generator,
        totals=(facts["totals"][0], facts["totals"][1]),
        phase=facts["phase"],
        step=facts["step"],
        checks=list(facts["checks"]),
        order=list(facts["order"]),
        loss=math.nan if facts["loss"] is None else facts["loss"],
        scores=dict(facts["scores"]),
        trust=tuple(facts["trust"]),
        smoothing=tuple(facts["smoothing"]),
    )


def _settings(config: FitConfig) -> dict[str, Any]:
    """Return what a fit was asked for, and what its preset stands for in this version."""
    return {**config.model_dump(mode="json"), "effort": config.effort.model_dump(mode="json")}


def _check_same(facts: Mapping[str, Any], config: FitConfig, identity: str) -> None:
    if facts["input_sha256"] != identity:
        msg = (
            f"a fit resumes on the volume it began with, got one with hash {identity[:12]} instead of "
            f"{facts['input_sha256'][:12]}; give the first volume, or start anew without --resume"
        )
        raise ValueError(msg)
    ours, theirs = _settings(config), facts["settings"]
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            msg = (
                f"a fit resumes with the settings it began with, got {name} {ours.get(name)} instead of "
                f"{theirs.get(name)}; "
                "give the first settings, or start anew without --resume"
            )
            raise ValueError(msg)
