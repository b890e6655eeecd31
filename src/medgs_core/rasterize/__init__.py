"""Splats in, weighted feature sums and weights out: chooses who computes them, and says so.

The CPU's kernels, the GPU's, or the definition in plain torch. Numba and gsplat are loaded at the first
call that needs them.
"""

import logging
from typing import Literal

import torch

from medgs_core.model import Compositing
from medgs_core.rasterize import _cuda
from medgs_core.rasterize._cpu import rasterize_on_cpu
from medgs_core.rasterize._reference import rasterize_reference
from medgs_core.tensors import RenderedFeatures, RenderedWeight, Splats2D

Backend = Literal["cpu", "cuda", "reference"]

LEAST_WEIGHT = 1e-6
"""Floor of the denominator: a pixel that no Gaussian reaches becomes 0, not NaN."""

_log = logging.getLogger(__name__)


def rasterize_splats(
    splats: Splats2D, height: int, width: int, compositing: Compositing, backend: Backend | None = None
) -> tuple[RenderedFeatures, RenderedWeight]:
    """Return (weighted, weight): the numerator and denominator of the rendered weighted mean.

    With alpha_i = o_i exp(-d_i / 2) and d_i the squared Mahalanobis distance of a pixel from splat i,

        weighted = sum_i W_i f_i      weight = sum_i W_i

    where W_i is alpha_i inside 3 sigma for "sum" (order-free), and alpha_i times the transmittance of the
    rows before for "alpha" (alpha capped at 0.999, dropped below 1/255; a pixel ends before the splat that
    would bring its transmittance to 1e-4). Differentiable in means, conics, opacities and features.

    Parameters
    ----------
    splats
        N splats; draw order is row order
    height, width
        image size in pixels
    compositing
        "sum" or "alpha"
    backend
        who computes; None takes the device of the tensors. On CUDA, gsplat draws "alpha" and the definition
        in torch draws "sum", on the GPU too: gsplat knows no sum. "reference" is that definition, on any
        device.

    Returns
    -------
    weighted : (height, width, features)
    weight : (height, width)

    Raises
    ------
    ValueError
        A size or the number of features is below 1, or the backend cannot draw tensors of this device or
        dtype.

    Examples
    --------
    >>> import torch
    >>> one = Splats2D(
    ...     torch.tensor([[1.0, 1.0]]),
    ...     torch.tensor([[1.0, 0.0, 1.0]]),
    ...     torch.tensor([0.25]),
    ...     torch.ones(1, 1),
    ... )
    >>> rasterize_splats(one, 3, 3, "sum")[1][1, 1].item()
    0.25
    """
    device, dtype = splats.means.device.type, splats.means.dtype
    if min(height, width, splats.features.shape[1]) < 1:
        raise ValueError(
            "an image needs at least one row, one column and one feature, got "
            f"{height} x {width} x {splats.features.shape[1]}: pass sizes of 1 or more."
        )
    backend = backend or ("cuda" if device == "cuda" else "cpu")
    if backend == "reference":
        return rasterize_reference(splats, height, width, compositing)
    if device != backend:
        raise ValueError(
            f"the {backend} rasterizer draws tensors on the device {backend}, got {device}: "
            'move the splats there, or ask for backend="reference".'
        )
    if dtype != torch.float32:
        raise ValueError(
            f"the {backend} rasterizer computes in float32, got {dtype}: convert the splats, or ask for "
            'backend="reference".'
        )
    if backend == "cpu":
        return rasterize_on_cpu(splats, height, width, compositing)
    if compositing == "sum":
        return rasterize_reference(splats, height, width, compositing)
    return _cuda.rasterize_alpha(splats, height, width)


def render_splats(splats: Splats2D, height: int, width: int, compositing: Compositing) -> RenderedFeatures:
    """Return the weighted mean of the features at every pixel; differentiable as `rasterize_splats`.

    F(x) = sum_i W_i f_i / max(sum_i W_i, 1e-6), so flat regions are flat and no background shows.

    Parameters
    ----------
    splats
        N splats; draw order is row order
    height, width
        image size in pixels
    compositing
        the rule that gives the weights W, "sum" or "alpha"

    Returns
    -------
    (height, width, features)
    """
    weighted, weight = rasterize_splats(splats, height, width, compositing)
    return weighted / weight.clamp_min(LEAST_WEIGHT)[..., None]


def choose_device(wish: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device to compute on; what decided is logged.

    Parameters
    ----------
    wish
        "auto" takes CUDA where it can start at once, else the CPU, and never compiles for minutes; "cuda"
        compiles gsplat where that is still to be done, and never falls back

    Raises
    ------
    ValueError
        CUDA was asked for and there is none, or gsplat is missing or cannot compile.
    """
    if wish == "cpu" or (wish == "auto" and not _can_start_at_once()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            f"the device cuda needs an NVIDIA GPU, got a torch {torch.__version__} that sees none: "
            "install torch's CUDA build and a driver, or choose the device cpu."
        )
    _cuda.build()
    _log.info("Rendering on CUDA: %s.", torch.cuda.get_device_name())
    return torch.device("cuda")


def _can_start_at_once() -> bool:
    """Return whether CUDA and compiled gsplat kernels are here; log what is missing."""
    if not torch.cuda.is_available():
        _log.info("Rendering on the CPU: torch sees no CUDA device.")
        return False
    if not _cuda.is_built():
        missing = "compiled yet" if _cuda.is_installed() else "installed"
        _log.warning(
            "Rendering on the CPU although CUDA is here: gsplat is not %s. Choose the device cuda, or run "
            "`medgs doctor`, to set it up.",
            missing,
        )
        return False
    return True


def describe_devices(build: bool = False) -> dict[str, str]:
    """Return what can render here, one line per device, for a report.

    Parameters
    ----------
    build
        compile gsplat where CUDA is present and its kernels are not

    Returns
    -------
    dict
        Keys "cpu", "cuda" and "gsplat".
    """
    from importlib.metadata import version

    lines = {"cpu": f"numba {version('numba')}, torch {torch.__version__}, {torch.get_num_threads()} threads"}
    if not torch.cuda.is_available():
        lines["cuda"] = "none: torch sees no CUDA device"
    else:
        lines["cuda"] = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    if not _cuda.is_installed():
        lines["gsplat"] = "not installed: pip install 'medgs-napari[cuda]'"
    elif build and torch.cuda.is_available():
        try:
            _cuda.build()
            lines["gsplat"] = f"{version('gsplat')}, ready"
        except ValueError as error:
            lines["gsplat"] = str(error)
    else:
        state = "ready" if torch.cuda.is_available() and _cuda.is_built() else "not compiled"
        lines["gsplat"] = f"{version('gsplat')}, {state}"
    return lines
