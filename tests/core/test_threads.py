import threading
import time

import pytest

from medgs_core.threads import WORKING_BYTES, map_in_threads


def test_results_come_in_order_whoever_is_first():
    second_done = threading.Event()

    def wait_or_tell(thing):
        if thing == "second":
            second_done.set()
        else:
            second_done.wait(0.2)
        return thing.upper()

    assert map_in_threads(wait_or_tell, ["first", "second"]) == ["FIRST", "SECOND"]


def test_nothing_gives_nothing():
    assert map_in_threads(str, []) == []


def test_an_exception_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda x: 1 / x, [1, 0])


def test_what_needs_all_the_memory_runs_alone():
    running = threading.Semaphore(1)

    def alone(_):
        assert running.acquire(blocking=False)
        time.sleep(0.005)
        running.release()

    map_in_threads(alone, range(8), WORKING_BYTES)
