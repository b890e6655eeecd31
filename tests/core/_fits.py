"""Small scans, settings that take no time, and hands that stop, hold or follow a fit."""

import numpy as np
import torch

from medgs_core.config import FitConfig
from medgs_core.phantom import drifting_phantom
from medgs_core.volume import Volume, stack_affine

STEPS = 12
GAUSSIANS = 270
UNEVEN_MM = np.array([0.0, 1.0, 2.5, 3.0, 7.0, 8.0, 8.5, 10.0, 11.5])
"""Nine slice positions with gaps from 0.5 to 4."""


def settings(**changes):
    """Return settings that fit a small scan in a tenth of a second, the same on every machine."""
    return FitConfig(**{"steps": STEPS, "gaussians": GAUSSIANS, "device": "cpu", "compositing": "sum", **changes})


def moving_voxels(slices=9, height=14, width=18):
    """Return uint16 slices, along axis 0, of ellipses that drift."""
    return drifting_phantom((slices, height, width), np.random.default_rng(1)).thick.voxels


def scan(voxels=None, **place):
    """Return a volume with slices 3 apart along axis 0 and pixels of 1."""
    return Volume(moving_voxels() if voxels is None else np.asarray(voxels), stack_affine((3.0, 1.0, 1.0)), **place)


class Follower:
    """Follows a fit, and cancels it once it heard of so many steps; the fixture `hear_every_step` makes that exact."""

    def __init__(self, steps=None):
        self.steps = steps
        self.states = []
        self.paused = False

    @property
    def cancelled(self):
        return self.steps is not None and self.steps <= (self.states[-1].step if self.states else 0)

    def report(self, state):
        self.states.append(state)


class Quitter(Follower):
    """Cancels once something is being done, and counts what it hears after that."""

    def __init__(self, words, *, scored=False):
        super().__init__()
        self.words, self.scored, self.heard_after, self.quits = words, scored, 0, False

    @property
    def cancelled(self):
        return self.quits

    def report(self, state):
        self.heard_after += self.quits
        self.quits = self.quits or (state.phase.startswith(self.words) and bool(state.scores) == self.scored)


def assert_same_fit(one, other):
    for (name, ours), (_, theirs) in zip(one.model.gaussians.named(), other.model.gaussians.named(), strict=True):
        assert torch.equal(ours, theirs), name
    assert one.scores == other.scores
    assert one.model.detail == other.model.detail
    assert one.model.provenance == other.model.provenance
    assert one.complete == other.complete
