import psutil
import pytest

from medgs_napari._amounts import GIB, duration, memory
from medgs_napari._preferences import Preferences


def test_the_limit_is_what_was_chosen():
    assert Preferences(memory_gib=1.5).most_bytes == 3 * GIB // 2


def test_zero_is_most_of_the_machine():
    total = psutil.virtual_memory().total
    assert 0.79 * total < Preferences().most_bytes < 0.81 * total


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (99.4, "99 s"), (100, "2 min"), (5990, "100 min"), (7300, "2.0 h")]
)
def test_times_are_as_exact_as_an_estimate(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(GIB - 2**20, "1023 MiB"), (GIB, "1.0 GiB"), (2.34 * GIB, "2.3 GiB")])
def test_memory_is_told_in_the_unit_that_fits(size, text):
    assert memory(size) == text
