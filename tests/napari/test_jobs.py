import gc
import re
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

import medgs_core as medgs
from medgs_core.progress import FitState, Progress
from medgs_napari._fit_task import FitTask, order_fit
from medgs_napari._jobs import Job, explain
from medgs_napari._layers import pick

ERRORS = {
    "runtime": (RuntimeError("kernel failed"), "should not have happened: RuntimeError: kernel failed; the traceback"),
    "memory": (MemoryError(), "Memory must hold .* got too little .*; close other images"),
    "gpu memory": (torch.OutOfMemoryError("CUDA out of memory"), "Memory must hold .* got too little"),
    "cpu memory": (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "Memory must hold"),
    "mistake": (
        ValueError("hide should be at most 3, got 9; hide fewer"),
        "^hide should be at most 3, got 9; hide fewer$",
    ),
    "disk": (
        FileNotFoundError(2, "No such file", "a.h5"),
        r"^Data on a disk must be within reach, got \[Errno 2\] No such file: 'a.h5'; look for the file",
    ),
    "exit": (SystemExit(), "should not have happened: SystemExit"),
}
STAGES = ("reading", "comparing the classical methods", "fitting, some slices hidden", "fitting all slices")


class Ended:
    """Starts a job and polls it as a window would."""

    def __init__(self, job, seconds=60.0):
        self.states, self.outcomes = [], []
        job.news.connect(self.states.append)
        job.ended.connect(self.outcomes.append)
        job.start()
        end = time.monotonic() + seconds
        while job.poll():
            assert time.monotonic() < end, "the job did not end"
            time.sleep(0.005)
        (self.outcome,) = self.outcomes


def test_a_job_is_what_the_core_takes_as_progress():
    assert isinstance(Job(lambda job: None), Progress)


def test_the_result_comes_where_it_is_polled():
    places = []
    job = Job(lambda job: threading.current_thread())
    job.ended.connect(lambda outcome: places.append((outcome.result, threading.current_thread())))
    Ended(job)
    ((worked, told),) = places
    assert told is threading.current_thread()
    assert worked is not told
    assert not job.running


def test_only_the_last_of_the_news_is_handed_on():
    def work(job):
        for number in range(1000):
            job.report(number)
        return "done"

    job = Job(work)
    heard = []
    job.news.connect(heard.append)
    job.start()
    job.wait()
    assert job.poll() is False
    assert heard == [999]


@pytest.mark.parametrize(("error", "sentence"), ERRORS.values(), ids=ERRORS)
def test_an_error_ends_the_job_with_a_sentence_and_what_was_kept(error, sentence):
    def work(job):
        job.keep("half")
        raise error

    outcome = Ended(Job(work)).outcome
    assert outcome.result == "half"
    assert re.search(sentence, outcome.error)


def test_after_an_error_nothing_holds_the_memory():
    class Large:
        pass

    seen = []

    def work(job):
        large = Large()
        seen.append(weakref.ref(large))
        raise RuntimeError("no more")

    Ended(Job(work))
    gc.collect()
    assert seen[0]() is None


def test_a_paused_job_waits_and_goes_on():
    passed = threading.Event()

    def work(job):
        job.checkpoint()
        passed.set()

    job = Job(work)
    job.pause()
    job.start()
    assert not passed.wait(0.2)
    job.pause(False)
    assert passed.wait(5)
    job.wait()


def test_a_stopped_job_without_steps_leaves_what_it_kept():
    def work(job):
        job.keep("some")
        while True:
            job.checkpoint()

    job = Job(work)
    job.start()
    job.cancel()
    job.wait()
    outcomes = []
    job.ended.connect(outcomes.append)
    job.poll()
    assert (outcomes[0].result, outcomes[0].error) == ("some", "")


def test_an_unknown_error_is_explained_on_one_line():
    assert "\n" not in explain(KeyError("a\nb"))


@pytest.fixture
def order(scan):
    from napari.layers import Image

    layer = Image(scan, scale=(3.0, 0.8, 0.7), units=("mm",) * 3, name="scan")
    config = medgs.FitConfig(preset="fast", steps=40)
    return order_fit(layer.unique_id, (pick(layer),), config, factor=2, seconds=0.0)


def task_for(order):
    return FitTask(order, lambda: None, lambda: None)


@pytest.fixture(autouse=True)
def hear_every_step(monkeypatch):
    monkeypatch.setattr("medgs_core.fit.REPORT_SECONDS", -1.0)


class At(FitTask):
    """A fit in which something happens at a stage."""

    def __init__(self, order, stage, happening):
        super().__init__(order, lambda: None, lambda: None)
        self.stage, self.happening, self.happened = stage, happening, False
        if stage == "reading":
            self.order = replace(order, picks=(Reading(order.picks[0], self),))

    def report(self, state):
        super().report(state)
        if state.phase == self.stage and not self.happened:
            self.happened = True
            self.happening(self._job)


class Reading:
    """A picked layer whose data cannot be read without something happening."""

    def __init__(self, picked, task):
        self.picked, self.task = picked, task

    def volume(self):
        self.task.happening(self.task._job)
        return self.picked.volume()


class TestFit:
    def test_a_fit_gives_the_model_of_the_core(self, order):
        fit = Ended(Job(task_for(order))).outcome.result
        direct = medgs.fit_model(order.picks[0].volume(), order.config).model
        assert medgs.model_hash(fit.model) == medgs.model_hash(direct)
        assert fit.checkpoint is None

    def test_the_model_does_not_share_the_memory_of_the_layer(self, order):
        fit = Ended(Job(task_for(order))).outcome.result
        assert not np.shares_memory(fit.model.volume.voxels, order.picks[0].data)

    def test_news_hold_no_model(self, order):
        states = Ended(Job(task_for(order))).states
        assert states
        assert all(isinstance(state, FitState) and state.snapshot is None for state in states)

    @pytest.mark.parametrize("stage", STAGES)
    @pytest.mark.parametrize("kind", ["runtime", "memory", "gpu memory"])
    def test_an_error_at_any_stage_leaves_the_last_snapshot(self, order, stage, kind):
        error, _ = ERRORS[kind]

        def fail(job):
            raise error

        outcome = Ended(Job(At(order, stage, fail))).outcome
        assert outcome.error
        kept = outcome.result is not None
        assert kept == stage.startswith("fitting")
        if kept:
            assert medgs.render_slice(outcome.result.model, 0.5).shape == (48, 40)

    @pytest.mark.parametrize("stage", STAGES)
    def test_a_stop_at_any_stage_keeps_the_model_and_resumes_to_the_same(self, order, stage):
        outcome = Ended(Job(At(order, stage, lambda job: job.cancel()))).outcome
        assert outcome.error == ""
        if stage == "reading":
            assert outcome.result is None
            return
        assert outcome.result.checkpoint is not None
        resumed = replace(order, picks=(), resumed=outcome.result)
        finished = Ended(Job(task_for(resumed))).outcome.result
        unbroken = medgs.fit_model(order.picks[0].volume(), order.config).model
        assert medgs.model_hash(finished.model) == medgs.model_hash(unbroken)

    def test_a_fit_that_pauses_ends_as_one_that_does_not(self, order):
        def hold(job):
            job.pause()
            threading.Timer(0.3, lambda: job.pause(False)).start()

        fit = Ended(Job(At(order, "fitting all slices", hold))).outcome.result
        unbroken = medgs.fit_model(order.picks[0].volume(), order.config).model
        assert medgs.model_hash(fit.model) == medgs.model_hash(unbroken)

    def test_a_layer_that_cannot_be_fitted_is_a_sentence(self, order):
        bad = replace(order, config=medgs.FitConfig(hide=99))
        assert "Slices kept for a test should be at most" in Ended(Job(task_for(bad))).outcome.error
