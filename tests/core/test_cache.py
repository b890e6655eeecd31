import threading
import time

import numpy as np
import pytest

from medgs_core.cache import RecentlyUsed


def never():
    pytest.fail("a result at hand was computed again")


def size(value):
    return len(value)


def test_a_result_at_hand_is_not_computed_again():
    memory = RecentlyUsed(10)
    first = memory.get("key", lambda: [1, 2, 3], size)
    assert memory.get("key", never, size) is first


def test_the_least_recently_used_result_leaves_first():
    memory = RecentlyUsed(3)
    for key in "abc":
        memory.get(key, lambda: "x", size)
    memory.get("a", never, size)  # now b is the oldest
    memory.get("d", lambda: "x", size)
    for key in "acd":
        memory.get(key, never, size)
    assert memory.get("b", lambda: "again", size) == "again"


def test_several_small_results_leave_for_a_large_one():
    memory = RecentlyUsed(4)
    for key in "abcd":
        memory.get(key, lambda: "x", size)
    memory.get("large", lambda: "xxx", size)  # 4 + 3 units: three must go
    memory.get("d", never, size)
    assert memory.get("c", lambda: "again", size) == "again"


def test_a_result_above_the_limit_stays_until_the_next():
    memory = RecentlyUsed(2)
    memory.get("huge", lambda: "xxxxx", size)
    memory.get("huge", never, size)
    memory.get("small", lambda: "x", size)
    assert memory.get("huge", lambda: "again", size) == "again"


def test_what_left_no_longer_counts():
    memory = RecentlyUsed(3)
    for _ in range(50):
        memory.get("large", lambda: "xxx", size)
        memory.get("small", lambda: "x", size)
    memory.get("small2", lambda: "x", size)
    memory.get("small3", lambda: "x", size)
    for key in ("small", "small2", "small3"):
        memory.get(key, never, size)


def test_a_result_that_two_computed_counts_once():
    # the inner call stands for a thread that was faster
    memory = RecentlyUsed(3)
    memory.get("twice", lambda: memory.get("twice", lambda: "x", size), size)
    for key in ("b", "c"):
        memory.get(key, lambda: "x", size)
    for key in ("twice", "b", "c"):
        memory.get(key, never, size)


def test_a_failed_computation_leaves_nothing():
    def fail():
        raise OSError("no slice")

    memory = RecentlyUsed(3)
    with pytest.raises(OSError, match="no slice"):
        memory.get("key", fail, size)
    assert memory.get("key", lambda: "ok", size) == "ok"


def test_a_computation_may_ask_the_memory_itself():
    memory = RecentlyUsed(9)
    outer = memory.get("outer", lambda: memory.get("inner", lambda: "xy", size) + "z", size)
    assert outer == "xyz"
    assert memory.get("inner", never, size) == "xy"


def test_two_threads_compute_different_results_at_once():
    # neither returns before both have begun: a lock held while computing would break the barrier
    memory = RecentlyUsed(9)
    together = threading.Barrier(2, timeout=10)
    found = []

    def ask(key):
        found.append(memory.get(key, lambda: str(key) * (1 + 0 * together.wait()), size))

    threads = [threading.Thread(target=ask, args=(key,)) for key in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["a", "b"]


def test_hammering_threads_get_the_right_results_within_the_limit():
    keys, each, limit = 40, 80, 10 * 80
    memory = RecentlyUsed(limit)
    wrong = []

    def compute(key):
        value = np.full(each // 8, key, np.float64)
        time.sleep(0)  # lets another thread in between computing and keeping
        return value

    def hammer(seed):
        for key in np.random.default_rng(seed).integers(keys, size=1500):
            value = memory.get(int(key), lambda key=key: compute(key), lambda array: array.nbytes)
            if not (value == key).all():
                wrong.append(key)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    # ten results fit: had threads that raced for a key counted it twice, fewer would stay
    recomputed = []
    for key in range(keys, keys + 10):
        memory.get(key, lambda key=key: compute(key), lambda array: array.nbytes)
    for key in range(keys, keys + 10):
        memory.get(key, lambda key=key: recomputed.append(key) or compute(key), lambda array: array.nbytes)
    assert recomputed == []


def test_room_is_how_many_fit_at_least_one():
    assert [RecentlyUsed(100).room(size) for size in (0, 30, 50, 101)] == [100, 3, 2, 1]


def test_a_part_keeps_the_results_of_one_kind_and_goes_its_own_way():
    memory = RecentlyUsed(10)
    for key in (("flow", 1), ("estimate", 1), "plain"):
        memory.get(key, lambda: "x", size)
    part = memory.part("flow")
    part.get(("flow", 1), never, size)
    assert part.get(("estimate", 1), lambda: "anew", size) == "anew"
    assert memory.get(("estimate", 1), never, size) == "x"


def test_a_look_computes_nothing_and_is_no_use_of_the_result():
    memory = RecentlyUsed(20)
    assert memory.peek("a") is None
    for key in ("a", "b"):
        memory.get(key, lambda key=key: key.upper(), lambda value: 10)
    assert memory.peek("a") == "A"
    memory.get("c", lambda: "C", lambda value: 10)
    assert (memory.peek("a"), memory.peek("b"), memory.peek("c")) == (None, "B", "C")
