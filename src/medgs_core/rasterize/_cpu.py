"""Both rules on the CPU in float32: autograd functions around the numba kernels.

Splats in, weighted features and weights out. Numba is imported, and its kernels compiled or read from their
cache, at the first call.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from medgs_core.model import Compositing
from medgs_core.tensors import RenderedFeatures, RenderedWeight, Splats2D

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
        from medgs_core.rasterize._cpu_kernels.bands import list_splats
        from medgs_core.rasterize._cpu_kernels.sum_rule import draw_sum

        splats = _arrays(means, conics, opacities, features)
        boxes = np.empty((len(means), 4), np.int32)
        planes = _empty_planes(features.shape[1] + 1, height, width)
        lists, starts = list_splats(*splats[:3], False, height, width, boxes)
        _share(draw_sum, starts, *splats, boxes, lists, starts, planes.numpy())
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
        _share(differentiate_sum, _evenly(len(ctx.boxes)), *splats, ctx.boxes, planes, gradients.numpy())
        return _per_input(gradients)


class _AlphaRule(Function):
    """Front-to-back compositing in row order."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, conics: Tensor, opacities: Tensor, features: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        from medgs_core.rasterize._cpu_kernels.alpha_rule import draw_alpha
        from medgs_core.rasterize._cpu_kernels.bands import list_splats

        splats = _arrays(means, conics, opacities, features)
        boxes = np.empty((len(means), 4), np.int32)
        planes = _empty_planes(features.shape[1] + 1, height, width)
        transmittance, ends = _empty_planes(2, height, width).numpy()
        lists, starts = list_splats(*splats[:3], True, height, width, boxes)
        _share(draw_alpha, starts, *splats, boxes, lists, starts, planes.numpy(), transmittance, ends)
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
        _share(differentiate_alpha, starts, *splats, boxes, lists, starts, planes, *left, slots, pairs)
        _share(gather_rows, _evenly(len(boxes)), slots, pairs, gradients.numpy())
        return _per_input(gradients)


def thread_count() -> int:
    """Return how many threads draw: the processors this process may use, or NUMBA_NUM_THREADS."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads that help the calling one.

    Threads that sleep while they wait: those of OpenMP spin, and beside a busy program every parallel region then costs
    a scheduler slice, which made a call thirty times slower. They also serve several callers at once.
    """
    return ThreadPoolExecutor(max(thread_count() - 1, 1), thread_name_prefix="rasterize")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _share(kernel: Any, starts: npt.NDArray[Any], *arguments: Any) -> None:
    """Run kernel(first, end, *arguments) over all items, split among the threads into ranges of equal work.

    Items do not depend on one another, so results do not depend on the number of threads.

    Parameters
    ----------
    kernel
        compiled function of a range
    starts
        (items + 1,) running total of the work before each item
    *arguments
        passed on
    """
    threads = thread_count()
    shares = np.arange(1, threads) * (starts[-1] / threads)
    edges = [0, *np.searchsorted(starts[1:], shares).tolist(), len(starts) - 1]
    ranges = [(first, end) for first, end in pairwise(edges) if end > first]
    if not ranges:
        return
    helped = [_pool().submit(kernel, first, end, *arguments) for first, end in ranges[1:]]
    kernel(*ranges[0], *arguments)
    for task in helped:
        task.result()


def _evenly(items: int) -> npt.NDArray[Any]:
    """Return the running total of work where every item costs the same."""
    return np.arange(items + 1)


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
