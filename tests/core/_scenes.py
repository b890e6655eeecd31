"""Random splats, and which pixels a float32 rasterizer may decide otherwise than a float64 one."""

import math

import torch
from torch import Tensor

from medgs_core.tensors import Splats2D


def random_splats(
    count: int,
    height: int,
    width: int,
    features: int = 1,
    scales: tuple[float, float] = (1.0, 4.0),
    opacities: tuple[float, float] = (0.01, 0.3),
    seed: int = 0,
) -> Splats2D:
    """Return float32 splats all over an image and a little beyond, of any angle."""
    random = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=random, dtype=torch.float64)

    first, second = uniform(*scales, count) ** -2, uniform(*scales, count) ** -2
    angle = uniform(0, math.pi, count)
    cosine, sine = angle.cos(), angle.sin()
    conics = (
        cosine**2 * first + sine**2 * second,
        cosine * sine * (first - second),
        sine**2 * first + cosine**2 * second,
    )
    means = uniform(-0.1, 1.1, count, 2) * torch.tensor([width, height])
    return Splats2D(
        means.float(),
        torch.stack(conics, dim=-1).float(),
        uniform(*opacities, count).float(),
        uniform(-1, 1, count, features).float(),
    )


def tensors_of(splats: Splats2D, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return leaves (means, conics, opacities, features) that gather gradients."""
    fields = (splats.means, splats.conics, splats.opacities, splats.features)
    return [field.detach().to(dtype).requires_grad_() for field in fields]


def decided_pixels(splats: Splats2D, height: int, width: int, compositing: str) -> Tensor:
    """Return (height, width), 1 where no splat is within rounding of a threshold and 0 elsewhere.

    Both rules jump: at 3 sigma, at 1/255, at a transmittance of 1e-4. Next to a jump two precisions may
    differ by the height of the jump, and both are right.
    """
    close = 1e-4  # relative; float32 distances of up to 9 are good to about 1e-5
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack((x, y), dim=-1).double()[:, :, None]  # (height, width, 1, 2)
    dx, dy = (pixels - splats.means.double()).unbind(-1)
    a, b, c = splats.conics.double().unbind(-1)
    distance = a * dx * dx + 2 * b * dx * dy + c * dy * dy
    if compositing == "sum":
        return ((distance / 9 - 1).abs() > close).all(dim=-1).double()
    alpha = (splats.opacities.double() * torch.exp(-distance / 2)).clamp(max=0.999)
    decided = (alpha * 255 - 1).abs() > close
    after = torch.where(alpha >= 1 / 255, 1 - alpha, 1.0).cumprod(dim=-1)
    return (decided & ((after / 1e-4 - 1).abs() > 100 * close)).all(dim=-1).double()
