from dataclasses import replace

import numpy as np
import pytest

import medgs_core as medgs
from medgs_napari._fit_run import resume_order
from medgs_napari._fit_task import FitTask
from medgs_napari._grids import Grid
from medgs_napari._jobs import Job
from medgs_napari._preferences import Preferences
from medgs_napari._session import Fitted

from ._orders import Ended, order, painted


def run(one, at_news=None):
    task = FitTask(one, lambda: None, lambda: None)
    job = Job(task)
    return task, Ended(job, (lambda news: at_news(job, news)) if at_news else lambda news: None).outcome


@pytest.fixture
def hear_every_step(monkeypatch):
    monkeypatch.setattr("medgs_core.fit.REPORT_SECONDS", -1.0)


def test_a_fit_over_the_limit_does_not_begin(scan):
    task, outcome = run(order(scan, most_bytes=2**20))
    assert outcome.error.startswith("A fit may take 1 MiB of memory at most, got one that needs")
    assert task.preview is None


def test_labels_are_fitted_and_rendered_on_all_slices(scan):
    one = order(scan, painted(scan))
    _, outcome = run(one)
    direct = medgs.fit_model(one.volume(), one.config, labels=one.labels.on(Grid(one.volume(), one.frames[0]))).model
    assert medgs.model_hash(outcome.result.model) == medgs.model_hash(direct)
    assert np.array_equal(outcome.result.labels.voxels, medgs.render_volume(direct, labels=True).voxels)
    np.testing.assert_array_equal(outcome.result.labels.voxels[..., 4], one.labels.data[4].T)


def test_labels_elsewhere_are_the_sentence_of_the_segment_dock(scan):
    _, outcome = run(order(scan, painted(scan, scale=(1.0, 1.0, 1.0))))
    assert outcome.error.startswith("Labels must have the voxels of the image they are for, got voxels")


def test_painting_on_does_not_reach_the_fit(scan):
    layer = painted(scan)
    one = order(scan, layer)
    layer.data[...] = 0
    assert one.labels.data.any()


@pytest.mark.usefixtures("hear_every_step")
@pytest.mark.parametrize("stage", ["following", "fitting all", "fitting labels", "rendering labels"])
def test_a_stopped_fit_with_labels_resumes_to_the_same_model(scan, stage):
    one = order(scan, painted(scan))

    def stop(job, state):
        if state.phase.startswith(stage):
            job.cancel()

    # the news that a window polls come late, what the task is told does not
    task = FitTask(one, lambda: None, lambda: None)
    job = Job(task)
    report = task.report
    task.report = lambda state: (report(state), stop(job, state))
    outcome = Ended(job).outcome
    assert outcome.error == ""
    stopped = outcome.result
    assert stopped.labels is None
    unbroken = medgs.fit_model(one.volume(), one.config, labels=one.labels.on(Grid(one.volume(), one.frames[0]))).model
    if stage == "rendering labels":  # the model is finished
        assert stopped.checkpoint is None
        assert medgs.model_hash(stopped.model) == medgs.model_hash(unbroken)
        return
    listed = Fitted("scan", stopped.model, one.frames, checkpoint=stopped.checkpoint, recipe=one.recipe)
    resumed = resume_order(listed, factor=2, chosen=Preferences())
    _, outcome = run(resumed)
    assert outcome.error == ""
    assert outcome.result.labels is not None
    assert medgs.model_hash(outcome.result.model) == medgs.model_hash(unbroken)


def test_a_resumed_fit_obeys_the_limit_too(scan):
    _, outcome = run(order(scan))
    listed = Fitted("scan", outcome.result.model, order(scan).frames)
    resumed = replace(resume_order(listed, factor=2, chosen=Preferences()), most_bytes=1)
    assert run(resumed)[1].error.startswith("A fit may take")
