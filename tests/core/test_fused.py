"""The compiled step against the differentiated one: gradients, Adam, bounds, and odd input."""

import math

import numpy as np
import pytest
import torch

from medgs_core import threads
from medgs_core.blending import BlendWeights
from medgs_core.correspondence import Flows
from medgs_core.descent import CENTER_REACH, SPREAD_RANGE, Parameters, Phase, column_rates
from medgs_core.fused import STEPS_CORRECTED
from medgs_core.optimizer import FIRST_DECAY, RowAdam

from ._stacks import random_images, stack_of

SLICES, PER_SLICE = 9, 40

GRADIENT_TOLERANCE = 1e-5
"""Of the largest gradient in its column: float32 sums over some 300 pixels with signs, in another order."""

MOVE_TOLERANCE = 1e-4
"""Of a column's rate: Adam divides by a root of float32 moments, and a position of 20 px is rounded by 2e-6."""


def phase_of(channels=1, compositing="sum", height=21, width=26):
    """Return a phase of slices of white noise, so that no gradient vanishes, the less the later the channel."""
    contrasts = np.linspace(1.0, 0.3, channels, dtype=np.float32)
    stack = stack_of(contrasts * random_images(SLICES, height, width, channels))
    return Phase(stack, stack, Flows(stack, "stiff"), BlendWeights.prior(channels), compositing, torch.device("cpu"))


def random_parameters(channels=1, degree=1, height=21, width=26, seed=0):
    """Return Gaussians of every kind: near and far, seen by both slices, by one and by none, inside and outside."""
    generator = torch.Generator().manual_seed(seed)

    def spread(low, high, *shape):
        return low + (high - low) * torch.rand(SLICES * PER_SLICE, *shape, generator=generator)

    home = torch.arange(SLICES).repeat_interleave(PER_SLICE)
    columns = [
        torch.tensor([width, height]) * spread(-0.2, 1.2, 2),
        (home + spread(-1, 1))[:, None],
        spread(math.log(0.3), math.log(1.5), 1),
        spread(-0.5, 0.5, 2 * degree),
        spread(-0.3, 1.3, 2),
        spread(-2, 2, 1),
        spread(-2, 2, 1),
        spread(0, 1, channels),
    ]
    packed = torch.cat(columns, dim=1)
    return Parameters(RowAdam.start(packed), np.arange(SLICES + 1) * PER_SLICE, channels)


def moved(phase, parameters, compiled, k=4, gap=3):
    phase._compiled = compiled
    error = phase.step(parameters, k, gap, column_rates(parameters.gaussians()))
    return error, parameters.optimizer


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_gradients_are_those_of_torch(channels, degree):
    phase = phase_of(channels)
    # the noisier, the less a channel counts
    weights = phase.channel_weights
    assert weights[-1] == 1.0
    assert (np.diff(weights) > 0).all()
    assert channels == 1 or weights[0] < 0.2
    error, ours = moved(phase, random_parameters(channels, degree), True)
    expected_error, theirs = moved(phase, random_parameters(channels, degree), False)
    assert error == pytest.approx(expected_error, rel=1e-6)
    assert torch.equal(ours.seen, theirs.seen)
    assert 0 < ours.seen.sum() < len(ours.seen)
    # after one step from rest the moments are shares of the gradient and of its square
    for got, truth in ((ours.mean, theirs.mean), (ours.square, theirs.square)):
        largest = truth.abs().amax(dim=0)
        assert (largest > 0).all()
        assert ((got - truth).abs().amax(dim=0) <= GRADIENT_TOLERANCE * largest).all()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_channel_drives_as_much_as_it_weighs(compiled):
    def gradient(weights):
        phase = phase_of(2)
        phase.channel_weights[:] = weights  # in memory that both ways of moving share
        error, optimizer = moved(phase, random_parameters(2), compiled)
        return error, optimizer.mean

    whole, half, first, second = (gradient(weights) for weights in ((1, 1), (1, 0.5), (1, 0), (0, 1)))
    assert {error for error, _ in (whole, half, first, second)} == {whole[0]}  # reported as it is, not weighed
    for got, expected in ((whole[1], first[1] + second[1]), (half[1], first[1] + 0.5 * second[1])):
        assert (got - expected).abs().amax(dim=0).le(GRADIENT_TOLERANCE * whole[1].abs().amax(dim=0)).all()


def test_a_row_moves_as_adam_moves_it():
    phase, parameters = phase_of(2), random_parameters(2, 2)
    rates = column_rates(parameters.gaussians())
    phase._compiled = True
    for step in range(4):
        before = parameters.optimizer
        twin = RowAdam(before.parameters.clone(), before.mean.clone(), before.square.clone(), before.seen.clone())
        phase.step(parameters, 4, 3 + step % 2, rates)
        rows = (parameters.optimizer.seen > twin.seen).nonzero()[:, 0]
        gradient = (parameters.optimizer.mean - FIRST_DECAY * twin.mean)[rows] / (1 - FIRST_DECAY)
        twin.move(rows, gradient, rates)
        Parameters(twin, parameters.starts, 2).keep_bounds(rows)
        # where the gradient is next to nothing its recovery from the moments is rounding alone
        clear = gradient.abs() > 1e-3 * gradient.abs().amax(dim=0)
        missed = ((parameters.optimizer.parameters - twin.parameters)[rows].abs() / rates)[clear]
        assert missed.max() < MOVE_TOLERANCE


def test_centers_and_spreads_stay_within_bounds():
    phase, parameters = phase_of(), random_parameters()
    rates = 40.0 * column_rates(parameters.gaussians())
    phase._compiled = True
    for _ in range(3):
        phase.step(parameters, 4, 4, rates)
    gaussians = parameters.gaussians()
    touched = parameters.optimizer.seen > 0
    home = torch.arange(SLICES).repeat_interleave(PER_SLICE)
    assert (gaussians.center - home)[touched].abs().max() == CENTER_REACH
    low, high = (pytest.approx(limit, rel=1e-6) for limit in SPREAD_RANGE)
    assert (gaussians.spread[touched].min(), gaussians.spread[touched].max()) == (low, high)


def test_rows_that_neither_slice_sees_stay_as_they_are():
    phase, parameters = phase_of(), random_parameters()
    before = parameters.optimizer.parameters.clone()
    _, optimizer = moved(phase, parameters, True)
    unseen = optimizer.seen == 0
    assert torch.equal(optimizer.parameters[unseen], before[unseen])
    assert not torch.equal(optimizer.parameters[~unseen], before[~unseen])


def test_a_row_seen_for_ages_moves_without_correction():
    phase, parameters = phase_of(), random_parameters()
    parameters.optimizer.seen.fill_(10.0 * STEPS_CORRECTED)
    twin = random_parameters()
    twin.optimizer.seen.fill_(10.0 * STEPS_CORRECTED)
    _, ours = moved(phase, parameters, True)
    _, theirs = moved(phase, twin, False)
    rates = column_rates(parameters.gaussians())
    assert ((ours.parameters - theirs.parameters).abs() / rates).median() < MOVE_TOLERANCE


@pytest.mark.parametrize("count", [1, 3, 40])
def test_number_of_threads_does_not_change_a_bit(count, monkeypatch):
    usual = moved(phase_of(3), random_parameters(3), True)[1].parameters
    monkeypatch.setattr(threads, "thread_count", lambda: count)
    assert torch.equal(moved(phase_of(3), random_parameters(3), True)[1].parameters, usual)


def test_other_rules_are_differentiated():
    phase = phase_of(compositing="alpha")
    assert not phase._compiled
    error, optimizer = moved(phase, random_parameters(), phase._compiled)
    assert error > 0
    assert optimizer.seen.sum() > 0
