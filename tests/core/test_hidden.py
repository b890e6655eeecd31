import numpy as np
import pytest
import torch

from medgs_core.blending import interpolate_blended
from medgs_core.classical import interpolate_slices
from medgs_core.correspondence import Flows
from medgs_core.descent import Parameters, Phase
from medgs_core.evidence import gather_evidence, solve_blend
from medgs_core.hidden import (
    BASELINES,
    BLEND,
    HIDDEN_SHARE,
    OURS,
    USUAL_SMOOTHING,
    USUAL_TRUST,
    check_hidden,
    cross_validate,
    has_settled,
    judge_hidden,
)
from medgs_core.metrics import score_slice
from medgs_core.optimizer import RowAdam
from medgs_core.slices import SliceStack

from ._models import random_gaussians
from ._stacks import UNEVEN, UNIT_WINDOW, drifting_blobs, learn_blend, random_images, stack_of

SMALL = {"height": 24, "width": 28}
RIDGE = 2e-3
"""What the ridge takes from a strength that hidden slices determine: about 1e-3 of it."""


def phase_that_shows(whole, hidden, show):
    """Return a phase whose Gaussians show `show(t)` at model coordinate t, and stand-ins for these."""
    stack = whole.select([k for k in range(len(whole)) if k not in hidden])
    flows = Flows(stack, "both")
    weights = learn_blend(flows)
    phase = Phase(stack, whole, flows, weights, "sum", torch.device("cpu"))
    phase.render = lambda packed, t: torch.from_numpy(np.asarray(show(t), np.float32))
    return phase, Parameters(RowAdam.start(random_gaussians(1).pack()), np.array([0, 1]), 1)


def lesson(whole, hidden, show):
    """Return what is learned where the Gaussians show `show(t)` at model coordinate t."""
    return judge_hidden(*phase_that_shows(whole, hidden, show), whole, hidden)


def truth_of(whole):
    return lambda t: whole.image(round(t))


def shared(learned, usual):
    return HIDDEN_SHARE * learned + (1 - HIDDEN_SHARE) * usual


def test_gaussians_that_know_hidden_slices_are_trusted():
    whole = stack_of(drifting_blobs(9, 2.5, **SMALL))
    learned = lesson(whole, (2, 5), truth_of(whole))
    assert learned.trust[0] == pytest.approx(shared(1.0, USUAL_TRUST), abs=RIDGE)
    # on measured slices they leave nothing out that could be withheld between
    assert learned.smoothing[0] == pytest.approx(USUAL_SMOOTHING, abs=RIDGE)


def test_hidden_slices_are_looked_for_at_their_own_coordinate_on_uneven_stacks():
    whole = stack_of(random_images(7, **SMALL), UNEVEN)
    asked = []

    def show(t):
        asked.append(t)
        return whole.image(round(t))

    learned = lesson(whole, (1, 4), show)
    assert {round(t, 9) for t in asked} == {float(k) for k in range(7)}
    assert learned.trust[0] == pytest.approx(shared(1.0, USUAL_TRUST), abs=RIDGE)


def test_gaussians_that_mislead_between_slices_are_not_trusted():
    whole = stack_of(drifting_blobs(9, 2.5, **SMALL))
    # as far on the other side of the truth as the interpolant is on this: following them is always wrong
    kept = whole.select([k for k in range(9) if k != 4])
    blended = interpolate_blended(Flows(kept, "both"), learn_blend(Flows(kept, "both")), 3.5)
    wrong = 2 * blended - whole.image(4)
    learned = lesson(whole, (4,), lambda t: wrong if t == 4 else whole.image(round(t)))
    assert learned.trust[0] == pytest.approx(shared(0.0, USUAL_TRUST), abs=RIDGE)


def test_noise_that_gaussians_leave_out_is_withheld_between():
    generator = np.random.default_rng(0)
    clean = drifting_blobs(9, 0.0, **SMALL)
    noisy = np.clip(clean + 0.1 * generator.standard_normal(clean.shape), 0, 1).astype(np.float32)
    whole = stack_of(noisy)
    learned = lesson(whole, (2, 5), lambda t: clean[round(t)])
    assert learned.smoothing[0] > shared(0.8, USUAL_SMOOTHING)


def test_each_channel_has_a_trust_and_smoothing_of_its_own():
    # the Gaussians know the first channel, hidden slices included, and leave the noise of the second out
    known, clean = drifting_blobs(9, 2.5, **SMALL), drifting_blobs(9, 0.0, **SMALL)
    noisy = np.clip(clean + 0.1 * np.random.default_rng(0).standard_normal(clean.shape), 0, 1)
    whole = stack_of(np.concatenate([known, noisy], axis=3))
    learned = lesson(whole, (2, 5), lambda t: np.concatenate([known[round(t)], clean[round(t)]], axis=2))
    assert learned.trust[0] == pytest.approx(shared(1.0, USUAL_TRUST), abs=RIDGE)
    assert learned.smoothing[0] == pytest.approx(USUAL_SMOOTHING, abs=RIDGE)
    assert learned.smoothing[1] > shared(0.8, USUAL_SMOOTHING)


def test_slices_that_teach_nothing_leave_the_usual_strength():
    whole = stack_of(np.full((9, 12, 13, 1), 0.25))
    learned = lesson(whole, (4,), truth_of(whole))
    assert learned.trust[0] == pytest.approx(USUAL_TRUST)
    assert learned.smoothing[0] == pytest.approx(USUAL_SMOOTHING)
    assert learned.scores["linear"] == np.inf


def test_values_outside_the_window_do_not_sway_the_strength():
    images = random_images(7, 9, 10, 1)
    images[:, 2:4, 3:5] = 1.0
    hot = images.copy()
    hot[:, 2:4, 3:5] = np.array([50, 3, 90, 7, 60, 2, 40])[:, None, None, None]
    usual, swayed = (lesson(stack_of(stack), (3,), lambda t: images[round(t)] * 0.9 + 0.03) for stack in (images, hot))
    assert swayed.trust[0] == pytest.approx(usual.trust[0], abs=1e-4)
    assert swayed.smoothing[0] == pytest.approx(usual.smoothing[0], abs=1e-4)


def test_classical_scores_are_of_the_hidden_slices_predicted_from_the_others():
    whole = stack_of(drifting_blobs(8, 2.0, **SMALL), np.array([0.0, 1, 2, 4, 5, 7, 8, 9]))
    scores = lesson(whole, (3, 6), truth_of(whole)).scores
    assert set(scores) == {OURS, *BASELINES}
    kept = whole.select([0, 1, 2, 4, 5, 7])
    for method in BASELINES:
        # slice 3 lies at 4, two thirds of the gap from 2 to 5; slice 6 at 8, half of that from 7 to 9
        found = [
            score_slice(whole.planes[h], interpolate_slices(kept, t, method, Flows(kept, "both")), 0.0, 1.0)[0]
            for h, t in ((3, 2 + 2 / 3), (6, 4.5))
        ]
        assert scores[method] == pytest.approx(np.mean(found), rel=1e-9), method


def test_predictions_are_rounded_to_the_stored_type_before_they_are_judged():
    planes = np.zeros((5, 8, 9, 1), np.uint8)
    planes[0] = 1
    whole = SliceStack(planes, np.arange(5.0), UNIT_WINDOW)
    # linear predicts one half for slice 1, which is rounded to 0, the truth
    assert lesson(whole, (1,), truth_of(whole)).scores["linear"] == np.inf


def test_cross_validated_scores_predict_each_inner_slice_from_all_others():
    stack = stack_of(drifting_blobs(5, 2.0, **SMALL), UNEVEN[:5])
    evidence = gather_evidence(Flows(stack, "both"))
    scores = cross_validate(Flows(stack, "both"), evidence)
    assert set(scores) == {BLEND, *BASELINES}
    found = {name: [] for name in scores}
    for k in (1, 2, 3):
        rest = stack.select([j for j in range(5) if j != k])
        t, flows = rest.t_at(stack.positions[k]), Flows(rest, "both")
        weights = solve_blend([one for one in evidence if one.k != k], stack.channels)
        predicted = {method: interpolate_slices(rest, t, method, flows) for method in BASELINES}
        predicted[BLEND] = interpolate_blended(flows, weights, t)
        for name, image in predicted.items():
            found[name].append(score_slice(stack.planes[k], image, 0.0, 1.0)[0])
    assert scores == pytest.approx({name: np.mean(values) for name, values in found.items()}, rel=1e-9)


def test_two_slices_have_no_cross_validated_scores():
    stack = stack_of(random_images(2))
    assert cross_validate(Flows(stack, "stiff"), gather_evidence(Flows(stack, "stiff"))) == {}


class TestEarlyStop:
    @pytest.mark.parametrize(
        ("checks", "settled"),
        [
            ([20.0, 20.0], False),
            ([20.0, 21.0, 22.0, 23.0], False),
            ([20.0, 20.0, 20.0], True),
            ([20.0, 22.0, 21.0, 21.5], True),
            # the second of two still gains
            ([20.0, 22.0, 21.0, 22.1], False),
            # slowly, but since the best before by enough
            ([20.0, 20.015, 20.03], False),
            ([20.0, 20.005, 20.015], True),
        ],
    )
    def test_it_takes_two_checks_without_gain(self, checks, settled):
        assert has_settled(checks) is settled

    def test_a_check_is_the_mean_psnr_of_the_gaussians_alone(self):
        whole = stack_of(np.full((9, 12, 13, 1), 0.5))
        phase, parameters = phase_that_shows(whole, (2, 5), lambda t: np.full((12, 13, 1), 0.4 if t == 2 else 0.49))
        # errors of 0.1 and of 0.01: 20 and 40 dB
        assert check_hidden(phase, parameters, whole, (2, 5)) == pytest.approx(30.0, abs=1e-3)

    def test_slices_that_are_met_exactly_are_no_infinity(self):
        whole = stack_of(np.full((9, 12, 13, 1), 0.5))
        phase, parameters = phase_that_shows(whole, (4,), lambda t: whole.image(round(t)))
        assert 100.0 < check_hidden(phase, parameters, whole, (4,)) < 1000.0
