import re
from dataclasses import replace

import numpy as np
import pytest

import medgs_core as medgs
from medgs_napari._amounts import GIB
from medgs_napari._estimate import estimate_job, what_matters
from medgs_napari._fit_task import order_fit
from medgs_napari._layers import pick

from ._orders import Ended, image, order, painted


def test_the_plan_comes_first_and_then_the_time(scan):
    told = Ended(estimate_job(order(scan)))
    (plan,) = told.news
    assert plan.startswith("9 slices of 48 × 40 pixels, 1 of them hidden")
    assert "40 steps" in plan
    assert re.fullmatch(re.escape(plan) + r" It takes about \d+ s\.", told.outcome.result)


def test_a_fit_that_may_end_early_takes_at_most_as_long(scan):
    said = Ended(estimate_job(order(scan, config={"steps": None}))).outcome.result
    assert "at most 120 steps" in said
    assert "It takes at most about " in said


def test_a_cancelled_estimate_is_the_plan(scan, monkeypatch):
    job = estimate_job(order(scan))
    probe = medgs.probe_fit

    def cancelling(*arguments, **settings):
        job.cancel()
        return probe(*arguments, **settings)

    monkeypatch.setattr("medgs_core.probe_fit", cancelling)
    told = Ended(job)
    assert told.outcome.result == told.news[0]


def test_labels_are_part_of_the_plan(scan):
    with_labels = Ended(estimate_job(order(scan, painted(scan)))).outcome.result
    assert "2 labels, about" in with_labels


def test_too_much_memory_is_told_before_the_start_with_the_limit_and_the_remedy(scan):
    outcome = Ended(estimate_job(order(scan, most_bytes=GIB // 1024))).outcome
    assert outcome.result is None
    assert re.fullmatch(
        r"A fit may take 1 MiB of memory at most, got one that needs about \d+ MiB; take the preset fast or fewer "
        r"Gaussians, cut the image, or raise the limit in Preferences\.",
        outcome.error,
    )


def test_labels_that_the_core_refuses_are_told_before_the_start(scan):
    assert "at least 2 annotated slices" in Ended(estimate_job(order(scan, painted(scan, (4,))))).outcome.error


def test_only_what_matters_asks_for_another_estimate(scan):
    layer = image(scan)

    def matters(steps=None, factor=2, labels=None, **changes):
        config = medgs.FitConfig(preset="fast", **changes)
        one = order_fit("", (pick(layer, 0, steps),), config, factor=factor, seconds=0.0, most_bytes=GIB)
        return what_matters(one)

    usual = matters()
    assert matters(factor=3) == usual
    assert matters(seed=7) == usual
    for changes in ({"steps": [0]}, {"gaussians": 50}, {"device": "cpu"}):
        if "steps" not in changes:
            assert matters(**changes) != usual
    film = image(np.stack([scan, scan]), scale=(1, *layer.scale), units=("s", *["mm"] * 3))
    first, second = (
        what_matters(order_fit("", (pick(film, 1, [k, 0, 0, 0]),), medgs.FitConfig(), factor=2, seconds=0.0))
        for k in (0, 1)
    )
    assert first != second
    assert what_matters(order(scan, painted(scan))) != usual


def test_another_limit_asks_for_another_estimate(scan):
    one = order(scan)
    assert what_matters(replace(one, most_bytes=GIB)) != what_matters(one)


@pytest.mark.parametrize("classes", [1, 2])
def test_one_label_is_no_labels(scan, classes):
    layer = painted(scan)
    if classes == 1:
        layer.data[layer.data == 3] = 1
    plan = Ended(estimate_job(order(scan, layer))).news[0]
    assert ("1 label, " in plan) == (classes == 1)
