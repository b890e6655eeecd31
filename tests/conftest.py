"""Shapes and dtypes of every call into the core are checked while tests run; GPU tests are counted aloud."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import pytest
from jaxtyping import install_import_hook

KERNELS = ("medgs_core.rasterize._cpu_kernels", "medgs_core.mixing")
GPU_REASON = "needs CUDA and gsplat"


class _Unchecked(MetaPathFinder):
    """Finds the kernels past the hook below: numba cannot compile what it wraps."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        kernels = any(name == place or name.startswith(f"{place}.") for place in KERNELS)
        return PathFinder.find_spec(name, path, target) if kernels else None


install_import_hook("medgs_core", "beartype.beartype")
sys.meta_path.insert(0, _Unchecked())


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() and importlib.util.find_spec("gsplat") is not None


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Return each device that tensors can live on here."""
    if request.param == "cuda" and not _has_gpu():
        pytest.skip(GPU_REASON)
    return request.param


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if GPU_REASON in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} GPU tests were skipped: {GPU_REASON}", yellow=True, bold=True)
