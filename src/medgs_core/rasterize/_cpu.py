"""Both rules on the CPU in float32: autograd functions around the numba kernels.

Splats in, weighted features and weights out. Numba is imported, and its kernels compiled or read from their
cache, at the first call.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from medgs_core.model import Compositing
from medgs_core.tensors import RenderedFeatures, RenderedWeight, Splats2D
from medgs_core.threads import evenly, share

_GEOMETRY = 6
"""Gradient columns before the features: means 2, conics 3, opacity 1."""

_Array = npt.NDArray[np.float32]


def rasterize_on_cpu(
    splats: Splats2D, height: int, width: int, compositing: Compositing
) -> tuple[RenderedFeatures, RenderedWeight]:
    """Return (weighted, weight): the sums of W_i f_i and of W_i at every pixel, from compiled kernels.

    The same bits on every run and for every number of threads. Differentiable once, in means, conics,
    opacities and features.

    Parameters
    ----------
    splats
        N splats in float32 on the CPU
    height, width
        image size in pixels
    compositing
        "sum" or "alpha"

    Returns
    -------
    weighted : (height, width, features), a view into planes: not contiguous
    weight : (height, width), a view as well
    """
    rule: Any = _SumRule if compositing == "sum" else _AlphaRule
    weighted, weight = rule.apply(splats.means, splats.conics, splats.opacities, splats.features, height, width)
    return weighted, weight


class _SumRule(Function):
    """Sum over the splats, order-free, support 3 sigma."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, conics: Tensor, opacities: Tensor, features: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        from medgs_core.rasterize._cpu_kernels.sum_rule import draw_sum

        splats = _arrays(means, conics, opacities, features)
        boxes = np.empty((len(means), 4), np.int32)
        planes = _empty_planes(features.shape[1] + 1, height, width)
        lists, starts = _listed(splats, False, height, width, boxes)
        share(draw_sum, starts, *splats, boxes, lists, starts, planes.numpy())
        ctx.save_for_backward(means, conics, opacities, features)
        ctx.boxes = boxes
        return _as_images(planes, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weighted: Tensor, weight: Tensor) -> tuple[Tensor | None, ...]:
        from medgs_core.rasterize._cpu_kernels.sum_rule import differentiate_sum

        splats = _arrays(*ctx.saved_tensors)
        gradients = torch.empty(len(ctx.boxes), _GEOMETRY + weighted.shape[2])
        planes = _as_planes(weighted, weight)
        share(differentiate_sum, evenly(len(ctx.boxes)), *splats, ctx.boxes, planes, gradients.numpy())
        return _per_input(gradients)


class _AlphaRule(Function):
    """Front-to-back compositing in row order."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, conics: Tensor, opacities: Tensor, features: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        from medgs_core.rasterize._cpu_kernels.alpha_rule import draw_alpha

        splats = _arrays(means, conics, opacities, features)
        boxes = np.empty((len(means), 4), np.int32)
        planes = _empty_planes(features.shape[1] + 1, height, width)
        transmittance, ends = _empty_planes(2, height, width).numpy()
        lists, starts = _listed(splats, True, height, width, boxes)
        share(draw_alpha, starts, *splats, boxes, lists, starts, planes.numpy(), transmittance, ends)
        ctx.save_for_backward(means, conics, opacities, features)
        ctx.composited = (boxes, lists, starts), (transmittance, ends)
        return _as_images(planes, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weighted: Tensor, weight: Tensor) -> tuple[Tensor | None, ...]:
        from medgs_core.rasterize._cpu_kernels.alpha_rule import count_rows, differentiate_alpha, gather_rows

        splats = _arrays(*ctx.saved_tensors)
        (boxes, lists, starts), left = ctx.composited
        gradients = torch.empty(len(boxes), _GEOMETRY + weighted.shape[2])
        slots = count_rows(boxes)
        pairs = np.empty((slots[-1], gradients.shape[1]), np.float32)
        planes = _as_planes(weighted, weight)
        share(differentiate_alpha, starts, *splats, boxes, lists, starts, planes, *left, slots, pairs)
        share(gather_rows, evenly(len(boxes)), slots, pairs, gradients.numpy())
        return _per_input(gradients)


def _listed(splats: list[_Array], alpha: bool, height: int, width: int, boxes: npt.NDArray[np.int32]) -> Any:
    """Return which splats each band looks at, as `list_splats` does, and fill the boxes."""
    from medgs_core.rasterize._cpu_kernels.bands import bound_splats, list_splats

    share(bound_splats, evenly(len(boxes)), *splats[:3], alpha, height, width, boxes)
    return list_splats(boxes, height)


def _arrays(*tensors: Tensor) -> list[_Array]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _empty_planes(planes: int, height: int, width: int) -> Tensor:
    """Return uninitialized planes whose rows have spare columns, for vectors that run over the edge."""
    from medgs_core.rasterize._cpu_kernels.lanes import LANES

    return torch.empty(planes, height, width + LANES)


def _as_images(planes: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return (weighted, weight): all planes but the last with the channel last, and the last one."""
    return planes[:-1, :, :width].permute(1, 2, 0), planes[-1, :, :width]


def _as_planes(weighted: Tensor, weight: Tensor) -> _Array:
    """Return the gradients of the images as planes, 0 in the spare columns."""
    height, width, channels = weighted.shape
    planes = _empty_planes(channels + 1, height, width)
    planes[:, :, width:] = 0.0
    planes[:-1, :, :width] = weighted.permute(2, 0, 1)
    planes[-1, :, :width] = weight
    return planes.numpy()


def _per_input(gradients: Tensor) -> tuple[Tensor | None, ...]:
    """Return the columns of `gradients` as the inputs of `forward` are ordered; sizes have none."""
    return gradients[:, :2], gradients[:, 2:5], gradients[:, 5], gradients[:, _GEOMETRY:], None, None
