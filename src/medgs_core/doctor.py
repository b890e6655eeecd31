"""What a machine can do for the other modules: versions, devices, threads, and how fast a rendering is.

Nothing comes in; a report goes out, to be read or pasted into an issue.
"""

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

STACK = (
    "medgs-napari",
    "torch",
    "numba",
    "numpy",
    "opencv-python-headless",
    "scipy",
    "scikit-image",
    "nibabel",
    "tifffile",
    "zarr",
    "safetensors",
    "pydantic",
    "napari",
)
"""Distributions whose versions explain most reports."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR")

CHECK_SIDE, CHECK_SPLATS, CHECK_SIGMA = 128, 1000, 3.0
"""Pixels a side, splats, and their standard deviation in pixels, of the rendering that is tried."""

MILLISECONDS = 1e3


@dataclass(frozen=True)
class MachineReport:
    """What was found.

    Attributes
    ----------
    facts : lines of text by name, in order
    healthy : whether the CPU renders and differentiates
    """

    facts: Mapping[str, str]
    healthy: bool


def examine_machine() -> MachineReport:
    """Return a report on this machine; with CUDA, gsplat is compiled first, which takes minutes.

    A failure is a line of the report, never an exception: the report is wanted most where something fails.
    """
    facts = {
        "system": f"{platform.platform()}, {platform.machine()}, {_usable_cpus()} CPU cores usable",
        "python": f"{platform.python_version()}, {sys.executable}",
        **{name: _version(name) for name in STACK},
    }
    healthy = True
    for name, look in (("devices", _devices), ("threads", _threads), ("rendering", _rendering)):
        try:
            facts |= look()
        except Exception as error:  # of whatever kind: it is what the report is for
            facts[name] = f"FAILED: {type(error).__name__}: {' '.join(str(error).split())}"
            healthy = False
    return MachineReport(facts, healthy)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _usable_cpus() -> int:
    # a container or a batch system may allow fewer cores than the machine has
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _devices() -> dict[str, str]:
    from medgs_core.rasterize import describe_devices

    return {f"device {name}": line for name, line in describe_devices(build=True).items()}


def _threads() -> dict[str, str]:
    import torch

    chosen = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    return {
        "threads": f"torch {torch.get_num_threads()}, across operations {torch.get_num_interop_threads()}",
        "environment": ", ".join(chosen) or "no variable set that steers threads",
    }


def _rendering() -> dict[str, str]:
    """Render and differentiate twice on the CPU: with compilation where it is the first time, and without."""
    first, second = _timed_rendering(), _timed_rendering()
    from medgs_core.rasterize._cpu_kernels.bands import list_splats

    return {
        "rendering": f"{CHECK_SPLATS} splats on {CHECK_SIDE} x {CHECK_SIDE}, forward and backward: "
        f"{second * MILLISECONDS:.1f} ms (the first time {first:.2f} s)",
        "kernel cache": str(list_splats.stats.cache_path),
    }


def _timed_rendering() -> float:
    """Return the seconds of one rendering with its gradients.

    Raises
    ------
    ArithmeticError
        If a gradient is not finite or nothing was drawn.
    """
    import torch

    from medgs_core.rasterize import rasterize_splats
    from medgs_core.tensors import Splats2D

    generator = torch.Generator().manual_seed(0)
    means = CHECK_SIDE * torch.rand(CHECK_SPLATS, 2, generator=generator)
    means.requires_grad_()
    conics = torch.tensor([1.0, 0.0, 1.0]).div(CHECK_SIGMA**2).repeat(CHECK_SPLATS, 1)
    splats = Splats2D(means, conics, torch.full((CHECK_SPLATS,), 0.5), torch.ones(CHECK_SPLATS, 1))
    begun = time.perf_counter()
    weighted, weight = rasterize_splats(splats, CHECK_SIDE, CHECK_SIDE, "sum")
    weighted.square().sum().backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - begun
    assert means.grad is not None
    if not bool(torch.isfinite(means.grad).all()) or not float(weight.detach().sum()) > 0.0:
        raise ArithmeticError("the rendering is empty or its gradients are not finite")
    return seconds
