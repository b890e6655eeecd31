import json
from dataclasses import replace

import numpy as np
import pytest

from medgs_core.config import FitConfig
from medgs_core.fit import fit_model
from medgs_core.model_file import load_checkpoint, save_checkpoint
from medgs_core.plan import plan_fit
from medgs_core.render import render_slice

from ._fits import STEPS, Follower, Quitter, assert_same_fit, moving_voxels, scan, settings

pytestmark = pytest.mark.usefixtures("hear_every_step")

BOUNDARY = STEPS // 2
"""Step at which the hidden slices join."""


@pytest.fixture(scope="module")
def unbroken():
    return fit_model(scan(), settings())


def stopped(steps, **changes):
    return fit_model(scan(), settings(**changes), progress=Follower(steps)).checkpoint


@pytest.mark.parametrize("steps", [0, 3, BOUNDARY - 1, BOUNDARY, BOUNDARY + 1, STEPS - 1])
def test_a_resumed_fit_ends_as_an_unbroken_one(unbroken, steps, tmp_path):
    save_checkpoint(stopped(steps), tmp_path / "fit.state")
    resumed = fit_model(scan(), settings(), resume=load_checkpoint(tmp_path / "fit.state"))
    assert_same_fit(resumed, unbroken)
    assert np.array_equal(render_slice(resumed.model, 3.3), render_slice(unbroken.model, 3.3))


@pytest.mark.parametrize(
    "words", ["following", "comparing", "blending slices (2", "judging hidden", "judging hidden slices (1"]
)
def test_it_does_so_when_stopped_between_two_steps(words, tmp_path):
    unbroken = fit_model(scan(), settings(steps=20))
    save_checkpoint(fit_model(scan(), settings(steps=20), progress=Quitter(words)).checkpoint, tmp_path / "fit.state")
    assert_same_fit(fit_model(scan(), settings(steps=20), resume=load_checkpoint(tmp_path / "fit.state")), unbroken)


@pytest.mark.parametrize("words", ["following", "comparing", "blending"])
def test_it_does_so_when_stopped_before_the_hidden_slices_join(words):
    unbroken = fit_model(scan(), settings(steps=20))
    quitter = Quitter(words, scored=True)
    stopped = fit_model(scan(), settings(steps=20), progress=quitter)
    assert quitter.quits
    assert stopped.scores == unbroken.scores
    assert stopped.model.provenance["steps_done"] == 10
    assert_same_fit(fit_model(scan(), settings(steps=20), resume=stopped.checkpoint), unbroken)


def test_it_does_so_without_hidden_slices():
    unbroken = fit_model(scan(), settings(hide=0))
    assert_same_fit(fit_model(scan(), settings(hide=0), resume=stopped(5, hide=0)), unbroken)


def test_it_does_so_with_the_other_rule_and_bent_paths():
    changes = {"compositing": "alpha", "drift_degree": 3, "hide": 2}
    unbroken = fit_model(scan(), settings(**changes))
    assert_same_fit(fit_model(scan(), settings(**changes), resume=stopped(BOUNDARY + 2, **changes)), unbroken)


def test_it_does_so_with_channels_that_differ_in_noise(tmp_path):
    clean = moving_voxels().astype(np.float64)
    noisy = clean + 0.1 * clean.max() * np.random.default_rng(0).standard_normal(clean.shape)
    volume = scan(np.stack([clean, noisy], axis=-1))
    unbroken = fit_model(volume, settings())
    assert len(set(unbroken.model.detail.smoothing)) == 2
    checkpoint = fit_model(volume, settings(), progress=Follower(BOUNDARY + 2)).checkpoint
    save_checkpoint(checkpoint, tmp_path / "fit.state")
    assert_same_fit(fit_model(volume, settings(), resume=load_checkpoint(tmp_path / "fit.state")), unbroken)


def test_it_does_so_when_stopped_again_and_again(unbroken):
    state = None
    for steps in range(0, STEPS, 4):
        state = fit_model(scan(), settings(), progress=Follower(steps), resume=state).checkpoint
    assert_same_fit(fit_model(scan(), settings(), resume=state), unbroken)


def test_it_does_so_from_the_same_state_twice(unbroken):
    state = stopped(BOUNDARY + 3)
    for _ in range(2):
        assert_same_fit(fit_model(scan(), settings(), resume=state), unbroken)


@pytest.mark.parametrize("steps", [3, BOUNDARY + 3])
def test_a_fit_cancelled_as_soon_as_it_resumes_keeps_its_state(steps):
    state = stopped(steps)
    again = fit_model(scan(), settings(), progress=Follower(0), resume=state).checkpoint
    assert again.facts == state.facts
    assert all(np.array_equal(again.tensors[name], state.tensors[name]) for name in state.tensors)


def test_the_facts_of_a_state_are_plain_json():
    facts = stopped(BOUNDARY + 1).facts
    assert json.loads(json.dumps(facts)) == facts


def test_time_left_is_unknown_when_a_fit_resumes():
    follower = Follower()
    fit_model(scan(), settings(), progress=follower, resume=stopped(BOUNDARY + 1))
    first = follower.states[0]
    assert first.step == BOUNDARY + 1
    assert np.isnan(first.seconds_left)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 5), ("steps", STEPS + 1), ("gaussians", 271), ("drift_degree", 2)]
)
def test_other_settings_are_refused_by_name_and_value(name, value):
    state = stopped(1)
    usual = getattr(settings(), name)
    with pytest.raises(ValueError, match=rf"resumes with the settings .* got {name} {value} instead of {usual}; give"):
        fit_model(scan(), settings(**{name: value}), resume=state)


def test_another_volume_is_refused():
    voxels = moving_voxels().copy()
    voxels[0, 0, 0] += 1
    with pytest.raises(ValueError, match=r"resumes on the volume it began with, got one with hash \w{12} instead of"):
        fit_model(scan(voxels), settings(), resume=stopped(1))


def test_the_same_voxels_elsewhere_are_another_volume():
    with pytest.raises(ValueError, match="resumes on the volume it began with"):
        fit_model(scan(intercept=1.0), settings(), resume=stopped(1))


def test_a_state_of_another_version_is_refused_in_one_sentence():
    state = stopped(3)
    for name in ("totals", "checks", "settings", "input_sha256"):
        facts = {key: value for key, value in state.facts.items() if key != name}
        with pytest.raises(ValueError, match=f"state that this version wrote, got one that lacks '{name}'; start anew"):
            fit_model(scan(), settings(), resume=replace(state, facts=facts))
    older = replace(state, facts={**state.facts, "settings": {**state.facts["settings"], "effort": {"steps": 1}}})
    with pytest.raises(ValueError, match="settings it began with, got effort"):
        fit_model(scan(), settings(), resume=older)


class TestEarlyStop:
    """Still slices of noise: nothing is gained by fitting on."""

    def volume(self):
        still = np.random.default_rng(0).integers(0, 255, (12, 14, 18), dtype=np.uint8)
        return scan(np.repeat(still[:1], 12, axis=0) // 2 + still // 2)

    def test_the_first_phase_ends_early_and_the_second_is_as_much_shorter(self):
        follower = Follower()
        result = fit_model(self.volume(), FitConfig(device="cpu", preset="fast"), progress=follower)
        facts = result.model.provenance
        first, second = plan_fit(self.volume(), FitConfig(device="cpu", preset="fast")).steps
        stopped = next(state.step for state in follower.states if state.phase == "fitting all slices") - 1
        assert result.complete
        assert facts["steps_planned"] == first + second
        assert stopped < first
        assert facts["steps_done"] == stopped + round(second * stopped / first)
        assert facts["steps_needed"] == facts["steps_done"]
        assert follower.states[-1].step == follower.states[-1].total == facts["steps_done"]

    def test_steps_that_were_asked_for_are_all_taken(self):
        result = fit_model(self.volume(), FitConfig(device="cpu", preset="fast", steps=90))
        assert result.model.provenance["steps_done"] == 90
        assert result.model.provenance["steps_needed"] == result.model.provenance["steps_planned"] == 90

    @pytest.mark.parametrize("steps", [17, 44])
    def test_a_resumed_fit_stops_as_early_as_an_unbroken_one(self, steps):
        config = FitConfig(device="cpu", preset="fast")
        unbroken = fit_model(self.volume(), config)
        state = fit_model(self.volume(), config, progress=Follower(steps)).checkpoint
        assert_same_fit(fit_model(self.volume(), config, resume=state), unbroken)
