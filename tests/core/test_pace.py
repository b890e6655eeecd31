import math

import pytest

from medgs_core import pace
from medgs_core.pace import SECOND_PREPARATION, Pace
from medgs_core.progress import SilentProgress


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only entry is the time."""
    now = [0.0]
    monkeypatch.setattr("medgs_core.pace.time.monotonic", lambda: now[0])
    return now


def steps(clock, fit, count, seconds):
    for _ in range(count):
        clock[0] += seconds
        fit.count_step()


def prepared(clock, seconds=100.0):
    """Return a fit that has prepared its first phase."""
    fit = Pace(SilentProgress())
    clock[0] += seconds
    fit.descend()
    return fit


def test_nothing_is_known_before_the_second_step(clock):
    fit = prepared(clock)
    assert math.isnan(fit.seconds_left(10, second_ahead=False))
    steps(clock, fit, 1, 7.0)
    assert math.isnan(fit.seconds_left(10, second_ahead=False))
    steps(clock, fit, 1, 2.0)
    assert fit.seconds_left(10, second_ahead=False) == 20.0


def test_the_second_preparation_counts_while_it_is_ahead_and_runs_down_as_it_goes(clock):
    fit = prepared(clock)
    steps(clock, fit, 11, 2.0)
    ahead = 100.0 * SECOND_PREPARATION
    assert fit.seconds_left(10, second_ahead=True) == 20.0 + ahead
    fit.prepare()
    begun = clock[0]
    for elapsed, rest in ((0.0, ahead), (10.0, ahead - 10.0), (500.0, 0.0)):
        clock[0] = begun + elapsed
        assert fit.seconds_left(10, second_ahead=True) == pytest.approx(20.0 + rest)


def test_steps_of_both_phases_count_but_for_the_first_of_each(clock):
    fit = prepared(clock)
    steps(clock, fit, 1, 50.0)
    steps(clock, fit, 30, 2.0)
    fit.prepare()
    clock[0] += 1000.0
    fit.descend()
    steps(clock, fit, 1, 50.0)
    steps(clock, fit, 10, 4.0)
    assert fit.seconds_left(10, second_ahead=False) == pytest.approx(10 * (30 * 2.0 + 10 * 4.0) / 40)


def test_a_pause_does_not_count(clock, monkeypatch):
    def paused(progress):
        clock[0] += 3600.0
        return False

    fit = Pace(SilentProgress())
    with monkeypatch.context() as held:
        held.setattr(pace, "must_stop", paused)
        assert not fit.must_stop()
        clock[0] += 10.0
        fit.descend()
        steps(clock, fit, 3, 2.0)
        assert not fit.must_stop()
        steps(clock, fit, 3, 2.0)
    assert fit.seconds_left(5, second_ahead=True) == pytest.approx(10.0 + 10.0 * SECOND_PREPARATION)


def test_at_the_end_nothing_is_left(clock):
    assert prepared(clock).seconds_left(0, second_ahead=False) == 0.0
