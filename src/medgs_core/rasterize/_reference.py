"""The definition of both rules in plain torch: dense, any dtype, any device, slow.

Splats in, weighted features and weights out. The other rasterizers are tested against this one.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from medgs_core.model import Compositing
from medgs_core.tensors import Conics, Features, Means, PerSplat, RenderedFeatures, RenderedWeight, Splats2D

SUM_SUPPORT = 9.0
"""Squared Mahalanobis distance at which a splat of the sum ends: three standard deviations."""

MAX_ALPHA = 0.999
"""Cap of one splat's opacity at a pixel, so that the transmittance behind it never reaches 0."""

MIN_ALPHA = 1.0 / 255.0
"""An opacity under one gray level of an 8-bit image is dropped."""

MIN_TRANSMITTANCE = 1e-4
"""A pixel ends before the splat that would bring its transmittance down to this."""

_PAIRS_AT_ONCE = 2**21
"""Pixel-splat pairs held in memory together: about 200 MB with all temporaries in float64."""


def rasterize_reference(
    splats: Splats2D, height: int, width: int, compositing: Compositing
) -> tuple[RenderedFeatures, RenderedWeight]:
    """Return (weighted, weight): the sums of W_i f_i and of W_i at every pixel.

    Every pixel looks at every splat, a few rows of pixels at a time; the backward pass computes them again,
    so memory stays bounded. Differentiable in means, conics, opacities and features.

    Parameters
    ----------
    splats
        N splats, any float dtype
    height, width
        image size in pixels
    compositing
        "sum" (W = alpha) or "alpha" (W = alpha times the transmittance of the rows before)

    Returns
    -------
    weighted : (height, width, features)
    weight : (height, width)
    """
    means, conics, opacities, features = splats.means, splats.conics, splats.opacities, splats.features
    y, x = torch.meshgrid(
        torch.arange(height, dtype=means.dtype, device=means.device),
        torch.arange(width, dtype=means.dtype, device=means.device),
        indexing="ij",
    )
    pixels = torch.stack((x, y), dim=-1).reshape(-1, 2)  # (height * width, 2)
    composite = _composite_sum if compositing == "sum" else _composite_alpha
    parts = [
        checkpoint(composite, chunk, means, conics, opacities, features, use_reentrant=False)
        for chunk in torch.split(pixels, max(1, _PAIRS_AT_ONCE // max(1, len(splats))))
    ]
    weighted = torch.cat([part[0] for part in parts]).reshape(height, width, features.shape[1])
    return weighted, torch.cat([part[1] for part in parts]).reshape(height, width)


def _squared_distances(
    pixels: Float[Tensor, "pixels 2"], means: Means, conics: Conics
) -> Float[Tensor, "pixels splats"]:
    """Return the squared Mahalanobis distance of every pixel from every splat."""
    dx, dy = (pixels[:, None] - means).unbind(-1)  # (pixels, splats) each
    a, b, c = conics.unbind(-1)
    return a * dx * dx + 2 * b * dx * dy + c * dy * dy


def _composite_sum(
    pixels: Float[Tensor, "pixels 2"], means: Means, conics: Conics, opacities: PerSplat, features: Features
) -> tuple[Float[Tensor, "pixels features"], Float[Tensor, " pixels"]]:
    """Return (weighted, weight) of a plain sum with support 3 sigma."""
    distance = _squared_distances(pixels, means, conics)
    alpha = opacities * torch.exp(-0.5 * distance)
    weights = torch.where(distance <= SUM_SUPPORT, alpha, 0.0)
    return weights @ features, weights.sum(dim=1)


def _composite_alpha(
    pixels: Float[Tensor, "pixels 2"], means: Means, conics: Conics, opacities: PerSplat, features: Features
) -> tuple[Float[Tensor, "pixels features"], Float[Tensor, " pixels"]]:
    """Return (weighted, weight) of front-to-back compositing in row order."""
    alpha = (opacities * torch.exp(-0.5 * _squared_distances(pixels, means, conics))).clamp(max=MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, 0.0)
    after = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat((torch.ones_like(after[:, :1]), after[:, :-1]), dim=1)
    # transmittance only falls, so what comes behind the ending splat is past the limit as well
    weights = torch.where(after > MIN_TRANSMITTANCE, alpha * before, 0.0)
    return weights @ features, weights.sum(dim=1)
