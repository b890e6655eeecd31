"""Folding against the equations, written out again here with NumPy."""

import numpy as np
import pytest
import torch

from medgs_core.fold import fold_model, visible_rows
from medgs_core.model import MAX_OPACITY, FoldedGaussians


def random_gaussians(count: int, degree: int = 1, channels: int = 1, seed: int = 0) -> FoldedGaussians:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return FoldedGaussians(
        position=10 * normal(count, 2),
        center=3 * normal(count),
        log_spread=0.3 * normal(count),
        drift=normal(count, degree, 2),
        log_scale=0.5 * normal(count, 2),
        angle=2 * normal(count),
        logit_opacity=normal(count),
        intensity=normal(count, channels),
    )


def test_fold_at_center_is_identity():
    gaussians = random_gaussians(1)
    splats = fold_model(gaussians, float(gaussians.center[0]))
    assert torch.equal(splats.means, gaussians.position)
    assert torch.equal(splats.opacities, gaussians.opacity)
    assert torch.equal(splats.features, gaussians.intensity)


def test_fold_of_one_gaussian_is_what_one_computes_by_hand():
    gaussians = FoldedGaussians(
        position=torch.tensor([[8.0, 5.0]]),
        center=torch.tensor([2.0]),
        log_spread=torch.log(torch.tensor([0.5])),
        drift=torch.tensor([[[2.0, -1.0], [4.0, 0.0]]]),
        log_scale=torch.log(torch.tensor([[2.0, 1.0]])),
        angle=torch.tensor([torch.pi / 2]),
        logit_opacity=torch.tensor([0.0]),
        intensity=torch.tensor([[0.7]]),
    )
    splats = fold_model(gaussians, 2.5)
    # u = 0.5: (8 + 2 * 0.5 + 4 * 0.25, 5 - 0.5) = (10, 4.5)
    torch.testing.assert_close(splats.means, torch.tensor([[10.0, 4.5]]))
    # exp(-0.5^2 / (2 * 0.5^2)) = exp(-0.5) = 0.60653; times 0.3 * sigmoid(0) = 0.15
    torch.testing.assert_close(splats.opacities, torch.tensor([0.15 * 0.60653066]))
    # the long axis, 2 px, turned by 90 degrees lies along y: a = 1 / 1^2, c = 1 / 2^2
    torch.testing.assert_close(splats.conics, torch.tensor([[1.0, 0.0, 0.25]]), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_mean_follows_the_polynomial_path(degree):
    gaussians = random_gaussians(1, degree)
    center, position, drift = (
        gaussians.center.item(),
        gaussians.position[0].numpy(),
        gaussians.drift[0].numpy(),
    )
    u = 0.6
    expected = position + sum(drift[d] * u ** (d + 1) for d in range(degree))
    np.testing.assert_allclose(fold_model(gaussians, center + u).means[0].numpy(), expected, rtol=1e-12)


def test_conic_is_the_inverse_of_the_rotated_covariance():
    gaussians = random_gaussians(50)
    t = 0.5
    seen = gaussians.rows(visible_rows(gaussians, t))
    conics = fold_model(gaussians, t).conics.numpy()
    for row in range(len(seen)):
        angle, scale = seen.angle[row].item(), seen.scale[row].numpy()
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        inverse = np.linalg.inv(turn @ np.diag(scale**2) @ turn.T)
        np.testing.assert_allclose(conics[row], [inverse[0, 0], inverse[0, 1], inverse[1, 1]], rtol=1e-9, atol=1e-12)


def test_gaussians_beyond_three_spreads_are_culled():
    gaussians = random_gaussians(200)
    t = 1.0
    reach = (t - gaussians.center).abs() / gaussians.spread
    rows = visible_rows(gaussians, t)
    assert torch.equal(rows, torch.tensor([row for row in range(200) if reach[row] <= 3]))
    assert 0 < len(rows) < 200
    assert len(fold_model(gaussians, t)) == len(rows)


def test_rows_gathered_beforehand_fold_to_the_same_splats():
    gaussians = random_gaussians(200)
    whole = fold_model(gaussians, 1.0)
    gathered = fold_model(gaussians.rows(visible_rows(gaussians, 1.0)), 1.0)
    assert torch.equal(whole.means, gathered.means)
    assert torch.equal(whole.opacities, gathered.opacities)


def test_a_position_that_no_gaussian_reaches_has_no_splats():
    assert len(fold_model(random_gaussians(20), 1e6)) == 0


def test_opacity_stays_under_its_cap():
    assert fold_model(random_gaussians(200), 0.0).opacities.max() < MAX_OPACITY


def test_gradients_of_the_fold_are_right():
    gaussians = random_gaussians(4, degree=2, channels=2)
    tensors = [tensor.requires_grad_() for _, tensor in gaussians.named()]
    t = gaussians.center.mean().item()  # not on any |u| = 3 spread, where a Gaussian comes or goes

    def fold(*parameters):
        splats = fold_model(FoldedGaussians(*parameters), t)
        return splats.means, splats.conics, splats.opacities, splats.features

    assert torch.autograd.gradcheck(fold, tensors)
