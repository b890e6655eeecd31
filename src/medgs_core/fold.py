"""Gaussians across slices in, the splats that one slice position sees out.

With u = t - center, a Gaussian is seen at position + sum_d drift_d u^d, and its opacity is opacity *
exp(-u^2 / (2 spread^2)). Its ellipse does not change with t: fading the opacity keeps slices smooth.
"""

import torch

from medgs_core.model import FoldedGaussians
from medgs_core.tensors import Conics, Rows, Splats2D

REACH = 3.0
"""A Gaussian is seen within this many spreads of its center; beyond, less than 1.2 % of its opacity is
left."""


@torch.no_grad()
def visible_rows(gaussians: FoldedGaussians, t: float) -> Rows:
    """Return the rows, ascending, of the Gaussians with abs(t - center) <= 3 spread.

    Parameters
    ----------
    gaussians
        N Gaussians
    t
        slice coordinate
    """
    return ((gaussians.center - t).abs() <= REACH * gaussians.spread).nonzero()[:, 0]


def fold_model(gaussians: FoldedGaussians, t: float) -> Splats2D:
    """Return the splats that slice position t sees, in row order; invisible Gaussians are left out.

    Pure, and differentiable in every parameter.

    Parameters
    ----------
    gaussians
        N Gaussians, any float dtype and device
    t
        slice coordinate; t = k on slice k

    Examples
    --------
    >>> import torch
    >>> one = FoldedGaussians(
    ...     position=torch.tensor([[8.0, 5.0]]),
    ...     center=torch.tensor([2.0]),
    ...     log_spread=torch.zeros(1),
    ...     drift=torch.tensor([[[2.0, 0.0]]]),
    ...     log_scale=torch.zeros(1, 2),
    ...     angle=torch.zeros(1),
    ...     logit_opacity=torch.zeros(1),
    ...     intensity=torch.ones(1, 1),
    ... )
    >>> fold_model(one, 2.5).means
    tensor([[9., 5.]])
    """
    return fold_visible(gaussians.rows(visible_rows(gaussians, t)), t)


def fold_visible(seen: FoldedGaussians, t: float) -> Splats2D:
    """Return the splats of Gaussians that were chosen with `visible_rows` before; else as `fold_model`."""
    u = t - seen.center
    path = seen.drift[:, -1]  # Horner's rule, from the highest power down
    for degree in range(seen.drift.shape[1] - 2, -1, -1):
        path = torch.addcmul(seen.drift[:, degree], path, u[:, None])
    presence = torch.exp(-0.5 * torch.square(u * torch.exp(-seen.log_spread)))
    return Splats2D(
        means=torch.addcmul(seen.position, path, u[:, None]),
        conics=_conics(seen),
        opacities=seen.opacity * presence,
        features=seen.intensity,
    )


def _conics(gaussians: FoldedGaussians) -> Conics:
    """Return (a, b, c) of the inverse covariance R diag(1 / scale^2) R^T, R the rotation by `angle`.

    Written with the double angle: (a, c) = mean +- difference * cos(2 angle), b = difference * sin(2
    angle), where mean and difference are half the sum and half the difference of the inverse variances.
    """
    first, second = torch.exp(-2.0 * gaussians.log_scale).unbind(-1)
    mean, difference = 0.5 * (first + second), 0.5 * (first - second)
    twice = 2.0 * gaussians.angle
    across = difference * torch.cos(twice)
    return torch.stack((mean + across, difference * torch.sin(twice), mean - across), dim=-1)
