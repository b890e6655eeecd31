import subprocess
import sys

import pytest
import torch

from medgs_core.faults import is_out_of_memory


@pytest.mark.parametrize(
    "fault", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_whatever_says_that_memory_was_not_enough_is_known(fault):
    assert is_out_of_memory(fault)


@pytest.mark.parametrize("fault", [ValueError("memory"), RuntimeError("shapes differ"), OSError(12, "no space")])
def test_nothing_else_is(fault):
    assert not is_out_of_memory(fault)


def test_to_know_it_no_torch_is_loaded():
    code = "import sys, medgs_core; medgs_core.is_out_of_memory(RuntimeError('x')); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
