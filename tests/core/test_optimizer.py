import pytest
import torch

from medgs_core.optimizer import EPSILON, FIRST_DECAY, SECOND_DECAY, RowAdam

ROUNDING = 1e-12
"""Float64 sums in another order than torch's."""

RATES = torch.tensor([0.1, 0.02, 3.0], dtype=torch.float64)


def start(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return RowAdam.start(torch.randn(rows, 3, generator=generator, dtype=torch.float64))


def gradients(steps, rows, seed=1):
    """Return gradients of sizes from 1e-3 to 1e3, as rows and columns of a real fit differ."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.logspace(-3, 3, rows, dtype=torch.float64)[:, None]
    return sizes * torch.randn(steps, rows, 3, generator=generator, dtype=torch.float64)


def torch_adam(parameters, gradients):
    """Return what torch's Adam makes of the parameters, one rate per column."""
    columns = [parameters[:, c].clone().requires_grad_() for c in range(3)]
    groups = [{"params": [column], "lr": float(rate)} for column, rate in zip(columns, RATES, strict=True)]
    adam = torch.optim.Adam(groups, betas=(FIRST_DECAY, SECOND_DECAY), eps=EPSILON)
    for gradient in gradients:
        for c, column in enumerate(columns):
            column.grad = gradient[:, c].clone()
        adam.step()
    return torch.stack([column.detach() for column in columns], dim=1)


def test_rows_seen_in_every_step_move_as_with_torchs_adam():
    optimizer = start(7)
    expected = torch_adam(optimizer.parameters.clone(), gradients(50, 7))
    for gradient in gradients(50, 7):
        optimizer.move(torch.arange(7), gradient, RATES)
    torch.testing.assert_close(optimizer.parameters, expected, rtol=ROUNDING, atol=ROUNDING)


def test_a_row_seen_now_and_then_moves_as_if_the_other_steps_had_not_been():
    optimizer = start(3)
    expected = torch_adam(optimizer.parameters.clone(), gradients(30, 3)[::3])
    for step, gradient in enumerate(gradients(30, 3)):
        rows = torch.tensor([2, 1] if step % 3 == 0 else [0])
        optimizer.move(rows, gradient[rows], RATES)
    torch.testing.assert_close(optimizer.parameters[1:], expected[1:], rtol=ROUNDING, atol=ROUNDING)
    assert optimizer.seen.tolist() == [20, 10, 10]


def test_the_first_step_is_the_rate_against_the_gradients_sign():
    optimizer = RowAdam.start(torch.zeros(2, 3, dtype=torch.float64))
    gradient = torch.tensor([[5.0, -0.01, 1e-4], [-7.0, 2.0, -3.0]], dtype=torch.float64)
    optimizer.move(torch.arange(2), gradient, RATES)
    torch.testing.assert_close(optimizer.parameters, -RATES * gradient.sign(), rtol=1e-7, atol=0.0)


def test_the_second_step_is_the_one_computed_by_hand():
    optimizer = RowAdam.start(torch.zeros(1, 1, dtype=torch.float64))
    rate = torch.tensor([1.0], dtype=torch.float64)
    for gradient in (1.0, 3.0):
        optimizer.move(torch.tensor([0]), torch.tensor([[gradient]], dtype=torch.float64), rate)
    # mean (0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.9^2), mean square (0.99 * 0.01 * 1 + 0.01 * 9) / (1 - 0.99^2)
    expected = -1.0 - (0.39 / 0.19) / (0.0999 / 0.0199) ** 0.5
    assert optimizer.parameters.item() == pytest.approx(expected, rel=1e-9)


def test_rows_that_a_step_does_not_see_keep_everything():
    optimizer = start(5)
    for gradient in gradients(4, 5):
        optimizer.move(torch.arange(5), gradient, RATES)
    before = [tensor.clone() for tensor in (optimizer.parameters, optimizer.mean, optimizer.square, optimizer.seen)]
    optimizer.move(torch.tensor([1, 3]), gradients(1, 2)[0], RATES)
    after = (optimizer.parameters, optimizer.mean, optimizer.square, optimizer.seen)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one[[0, 2, 4]], other[[0, 2, 4]])
        assert not torch.equal(one[[1, 3]], other[[1, 3]])


def test_a_row_without_gradient_stays():
    optimizer = start(2)
    before = optimizer.parameters.clone()
    optimizer.move(torch.arange(2), torch.zeros(2, 3, dtype=torch.float64), RATES)
    assert torch.equal(optimizer.parameters, before)


def test_no_rows_move_nothing():
    optimizer = start(2)
    before = optimizer.parameters.clone()
    optimizer.move(torch.empty(0, dtype=torch.int64), torch.empty(0, 3, dtype=torch.float64), RATES)
    assert torch.equal(optimizer.parameters, before)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_inserted_rows_are_new_and_the_others_keep_their_state(at):
    optimizer = start(4)
    for gradient in gradients(3, 4):
        optimizer.move(torch.arange(4), gradient, RATES)
    new = torch.full((2, 3), 9.0, dtype=torch.float64)
    longer = optimizer.insert(at, new)
    old = [row for row in range(6) if not at <= row < at + 2]
    assert torch.equal(longer.parameters[at : at + 2], new)
    assert torch.equal(longer.parameters[old], optimizer.parameters)
    assert torch.equal(longer.seen[old], optimizer.seen)
    assert torch.equal(longer.mean[old], optimizer.mean)
    assert torch.equal(longer.square[old], optimizer.square)
    for state in (longer.mean, longer.square, longer.seen):
        assert not state[at : at + 2].any()


def test_the_state_of_new_parameters_is_shared_by_none():
    optimizer = start(2)
    optimizer.move(torch.arange(2), gradients(1, 2)[0], RATES)
    assert not torch.equal(optimizer.mean, optimizer.square)
    assert optimizer.seen.tolist() == [1, 1]
