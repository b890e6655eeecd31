import math
import time

import numpy as np
import pytest

from medgs_core.config import FitConfig
from medgs_core.fit import fit_model
from medgs_core.phantom import drifting_phantom
from medgs_core.plan import plan_fit
from medgs_core.probe import probe_fit
from medgs_core.stopwatch import Stopwatch

from ._fits import Follower, assert_same_fit, scan, settings
from ._labeled import drawn, moving_scan, quick

TIMES = 3
"""A machine that others use as well may be so much faster or slower from one second to the next."""


def seconds_of(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def test_a_fit_takes_about_as_long_as_was_estimated():
    volume = drifting_phantom((16, 96, 96), np.random.default_rng(0)).thick
    config = FitConfig(preset="fast", device="cpu", steps=200)
    estimate = probe_fit(volume, config)
    real = seconds_of(lambda: fit_model(volume, config))
    assert real / TIMES < estimate.seconds < TIMES * real


def test_a_fit_with_labels_takes_about_as_long_as_was_estimated():
    volume, labels, config = moving_scan(), drawn(), quick(steps=60)
    estimate = probe_fit(volume, config, labels=labels)
    real = seconds_of(lambda: fit_model(volume, config, labels=labels))
    assert real / TIMES < estimate.seconds < TIMES * real


def test_many_more_steps_take_much_longer():
    assert probe_fit(scan(), settings(steps=100_000)).seconds > 10 * probe_fit(scan(), settings()).seconds


def test_labels_alone_can_be_probed():
    estimate = probe_fit(None, quick(), labels=drawn(range(9)))
    assert estimate.seconds > 0
    assert estimate.plan.classes == 2


def test_the_plan_is_that_of_the_fit():
    estimate = probe_fit(scan(), settings())
    plan = plan_fit(scan(), settings())
    assert (estimate.plan.counts, estimate.plan.steps, estimate.memory_bytes) == (
        plan.counts,
        plan.steps,
        plan.memory_bytes,
    )


def test_a_fit_takes_at_most_as_long_only_where_it_may_end_early():
    assert not probe_fit(scan(), settings()).at_most
    assert probe_fit(scan(), FitConfig(preset="fast", device="cpu", gaussians=270)).at_most
    assert not probe_fit(scan(), FitConfig(preset="fast", device="cpu", gaussians=270, hide=0)).at_most


def test_a_probe_changes_nothing_in_the_fit_after_it():
    before = fit_model(scan(), settings())
    probe_fit(scan(), settings())
    assert_same_fit(fit_model(scan(), settings()), before)


def test_skipped_slices_are_no_obstacle():
    assert probe_fit(scan(), settings(skip=(3, 4))).seconds > 0


def test_a_cancelled_probe_knows_the_plan_and_no_time():
    follower = Follower(0)
    taken = seconds_of(lambda: probe_fit(scan(), settings(), progress=follower))
    estimate = probe_fit(scan(), settings(), progress=follower)
    assert math.isnan(estimate.seconds)
    assert sum(estimate.plan.counts) == 270
    assert follower.states == []
    assert taken < 1.0


def test_a_probe_can_be_cancelled_at_any_time(monkeypatch):
    looks = []

    class After(Follower):
        def __init__(self, count):
            super().__init__()
            self.count = count

        @property
        def cancelled(self):
            looks.append(None)
            return len(looks) > self.count

    probe_fit(moving_scan(), quick(), labels=drawn(), progress=After(10**9))
    total = len(looks)
    assert total > 50
    for count in (1, total // 2, total * 9 // 10):
        looks.clear()
        assert math.isnan(probe_fit(moving_scan(), quick(), labels=drawn(), progress=After(count)).seconds)


def test_one_slice_is_refused_as_a_fit_refuses_it():
    with pytest.raises(ValueError, match="at least 2 slices"):
        probe_fit(scan(np.zeros((1, 8, 8), np.uint8)))
    with pytest.raises(ValueError, match="a volume or labels, got neither"):
        probe_fit(None)


@pytest.mark.parametrize("things", [3, 4])
def test_time_is_told_per_thing_with_all_threads_at_work(things, monkeypatch):
    times = iter([10.0, 18.0])
    monkeypatch.setattr("medgs_core.stopwatch.thread_count", lambda: 2)
    monkeypatch.setattr("medgs_core.stopwatch.time.perf_counter", lambda: next(times))
    assert Stopwatch(Follower()).each(abs, range(things)) == 8.0 / 4  # a third thing leaves a thread without work
