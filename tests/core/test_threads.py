import threading
import time

import pytest

from medgs_core.threads import WORKING_BYTES, evenly, follow_threads, map_in_threads, share, work_alone


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


def test_helpers_share_nothing_out_again():
    places = []

    def inner(_):
        return threading.get_ident()

    def outer(_):
        here = threading.get_ident()
        places.append((here, *map_in_threads(inner, range(3))))
        share(lambda first, end: places.append((here, threading.get_ident(), end - first)), evenly(7))

    map_in_threads(outer, range(2))
    nested = [place for place in places if len(place) == 4]
    shared = [place for place in places if len(place) == 3]
    assert len(nested) == len(shared) == 2
    assert all(set(inside) == {here} for here, *inside in nested)
    assert all(here == there and items == 7 for here, there, items in shared)


def test_whoever_stops_asking_ends_what_has_not_begun():
    begun = []

    def work(thing):
        begun.append(thing)
        time.sleep(0.002)
        return thing

    followed = follow_threads(work, range(1000), WORKING_BYTES)
    assert next(followed) == 0
    followed.close()
    assert len(begun) < 100


def test_a_thread_that_works_alone_shares_nothing_out():
    places = []

    def work():
        work_alone()
        places.extend([threading.get_ident(), *map_in_threads(lambda _: threading.get_ident(), range(3))])
        share(lambda first, end: places.append(threading.get_ident()), evenly(7))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(places) == 5
    assert set(places) == {thread.ident}
