"""The alpha rule on a CUDA device through gsplat: the only file that imports it.

Splats in, weighted features and weights out. gsplat's source wheel compiles itself with nvcc when its
backend is first imported, which takes minutes; `is_built` tells beforehand, `build` does it.
"""

import importlib.util
import logging
import sysconfig
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from medgs_core.rasterize._reference import MIN_ALPHA
from medgs_core.tensors import RenderedFeatures, RenderedWeight, Splats2D

TILE = 16
"""Pixels along a tile's side: gsplat's own default."""

FEATURES_AT_ONCE = 32
"""Features per pass: gsplat keeps a pixel's sums in registers, and spills them to memory beyond this."""

PIXEL_CENTER = 0.5
"""gsplat's pixel centers lie half a pixel after ours, which are at integers."""

_FARTHEST = 2.0**30
"""Cap of a radius in pixels, so that a splat of any size has one that fits an int32."""

_EXTENSION = "gsplat_cuda"  # what gsplat names the extension that it compiles

_log = logging.getLogger(__name__)


def is_installed() -> bool:
    """Return whether gsplat is installed, without importing it."""
    return importlib.util.find_spec("gsplat") is not None


def is_built() -> bool:
    """Return whether gsplat's kernels exist already, so that using them starts no compilation."""
    specification = importlib.util.find_spec("gsplat")
    if specification is None or specification.origin is None:
        return False
    package = Path(specification.origin).parent
    if (package / f"csrc{sysconfig.get_config_var('EXT_SUFFIX')}").exists():
        return True  # a wheel that brings its kernels along
    # the directory depends on the Python, torch and CUDA versions; gsplat asks the same function
    from torch.utils.cpp_extension import _get_build_directory

    built = Path(_get_build_directory(_EXTENSION, verbose=False))
    return any((built / f"{_EXTENSION}{suffix}").exists() for suffix in (".so", ".pyd", ".lib"))


def build() -> None:
    """Load gsplat's kernels, and compile them first where needed.

    Raises
    ------
    ValueError
        gsplat is not installed, or it cannot compile on this machine.
    """
    if not is_installed():
        raise ValueError(
            "CUDA rendering needs the package gsplat, which is not installed: "
            "pip install 'medgs-napari[cuda]', or choose the device cpu."
        )
    if not is_built():
        _log.info("Compiling gsplat's CUDA kernels: this takes some minutes, once.")
    reason = "no CUDA toolkit with nvcc was found"
    try:
        from gsplat.cuda._backend import _C as kernels
    except Exception as error:  # a foreign compiler's: its text goes into the sentence below
        _log.debug("gsplat did not compile", exc_info=True)
        kernels, reason = None, str(error).strip().partition("\n")[0] or type(error).__name__
    if kernels is None:
        raise ValueError(
            f"CUDA is here, but gsplat could not compile its kernels, got: {reason}; install the CUDA "
            "toolkit (nvcc) that torch was built for and a C++ compiler, or choose the device cpu."
        )


def rasterize_alpha(splats: Splats2D, height: int, width: int) -> tuple[RenderedFeatures, RenderedWeight]:
    """Return (weighted, weight) of front-to-back compositing in row order, as gsplat computes it.

    Differentiable in means, conics, opacities and features.

    Parameters
    ----------
    splats
        N splats in float32 on a CUDA device
    height, width
        image size in pixels

    Returns
    -------
    weighted : (height, width, features)
    weight : (height, width)
    """
    from gsplat.cuda._wrapper import isect_offset_encode, isect_tiles, rasterize_to_pixels

    tiles_across, tiles_down = -(-width // TILE), -(-height // TILE)
    means = (splats.means + PIXEL_CENTER)[None]  # (1, N, 2): gsplat draws a batch of images
    rows = torch.arange(len(splats), dtype=torch.float32, device=means.device)  # depth = row: sorted into row order
    listed: tuple[Any, Any, Any] = isect_tiles(
        means.detach(), _radii(splats)[None], rows[None], TILE, tiles_across, tiles_down
    )
    _, keys, order = listed
    if order.numel() == 0:  # gsplat would return memory that it never wrote
        return _nothing(splats, height, width)
    offsets = isect_offset_encode(keys, 1, tiles_across, tiles_down)
    images, weight = [], None
    for features in torch.split(splats.features, FEATURES_AT_ONCE, dim=1):
        image, opacity = rasterize_to_pixels(
            means,
            splats.conics[None],
            features[None],
            splats.opacities[None],
            width,
            height,
            TILE,
            offsets.reshape(1, tiles_down, tiles_across),
            order,
        )
        images.append(image[0])
        weight = opacity[0, :, :, 0] if weight is None else weight
    assert weight is not None
    return torch.cat(images, dim=-1), weight


@torch.no_grad()
def _radii(splats: Splats2D) -> Int[Tensor, "splats 2"]:
    """Return half the sides of the box where opacity * exp(-d / 2) reaches `MIN_ALPHA`; 0 if nowhere."""
    a, b, c = splats.conics.unbind(-1)
    support = 2 * torch.log((splats.opacities / MIN_ALPHA).clamp(min=1.0))
    variances = torch.stack((c, a), dim=-1) / (a * c - b * b)[:, None]
    return (support[:, None] * variances).sqrt().ceil().clamp(max=_FARTHEST).int()


def _nothing(splats: Splats2D, height: int, width: int) -> tuple[RenderedFeatures, RenderedWeight]:
    """Return zeros that still hang on every input, so that a backward pass finds zero gradients."""
    tie = 0.0 * (splats.means.sum() + splats.conics.sum() + splats.opacities.sum() + splats.features.sum())
    image = torch.zeros(height, width, splats.features.shape[1], device=splats.means.device)
    return image + tie, image[..., 0] + tie
