import threading
import time
from importlib.metadata import version
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch

from medgs_core.blending import BlendWeights
from medgs_core.classical import interpolate_slices
from medgs_core.config import FitConfig
from medgs_core.correspondence import Flows, correspond
from medgs_core.descent import CENTER_REACH, SPREAD_RANGE, Parameters, Phase, column_rates
from medgs_core.fit import fit_model
from medgs_core.hidden import BASELINES, BLEND, OURS
from medgs_core.metrics import score_slice
from medgs_core.optimizer import RowAdam
from medgs_core.phantom import drifting_phantom
from medgs_core.plan import plan_fit
from medgs_core.progress import Progress
from medgs_core.render import render_slice, render_volume
from medgs_core.slices import stack_slices
from medgs_core.volume import content_hash

from ._fits import GAUSSIANS, STEPS, UNEVEN_MM, Follower, Quitter, assert_same_fit, moving_voxels, scan, settings
from ._stacks import UNEVEN, random_images, stack_of

FACTOR = 2


@pytest.fixture(scope="module")
def phantom():
    return drifting_phantom((9, 48, 56), np.random.default_rng(1), factor=FACTOR, noise=0.02)


SHORT = FitConfig(steps=60, gaussians=2016, device="cpu", compositing="sum")


@pytest.fixture(scope="module")
def fitted(phantom):
    return fit_model(phantom.thick, SHORT)


@pytest.fixture(scope="module")
def small():
    """Return a small scan, its fit, and who followed it."""
    volume, follower = scan(), Follower()
    return volume, fit_model(volume, settings(), progress=follower), follower


def mean_psnr(phantom, predict, coordinates):
    """Return the mean PSNR in dB of slices against the truth without noise, by the protocol."""
    window = stack_slices(phantom.thick, 0).window
    truth = phantom.dense.voxels[..., np.newaxis]
    return np.mean(
        [
            score_slice(truth[round(t * FACTOR)], predict(float(t))[..., np.newaxis], window.low, window.high)[0]
            for t in coordinates
        ]
    )


def between(phantom):
    return np.arange(len(phantom.thick.voxels) - 1) + 0.5


def linear_psnr(phantom):
    stack = stack_slices(phantom.thick, 0)

    def predict(t):
        return stack.window.to_stored(interpolate_slices(stack, t, "linear"), stack.planes.dtype)[..., 0]

    return mean_psnr(phantom, predict, between(phantom))


class TestQuality:
    def test_slices_between_beat_linear_interpolation_by_two_decibels(self, phantom, fitted):
        # measured: 37.8 dB against 34.3
        psnr = mean_psnr(phantom, lambda t: render_slice(fitted.model, t), between(phantom))
        assert psnr > linear_psnr(phantom) + 2.0

    def test_with_all_detail_they_still_beat_it(self, phantom, fitted):
        # measured: 35.9 dB against 34.3; all of the noise is carried along
        psnr = mean_psnr(phantom, lambda t: render_slice(fitted.model, t, detail="on"), between(phantom))
        assert psnr > linear_psnr(phantom) + 0.7

    def test_gaussians_alone_are_closer_to_the_truth_than_the_noisy_slices(self, phantom, fitted):
        slices = np.arange(len(phantom.thick.voxels))
        noisy = mean_psnr(phantom, lambda t: phantom.thick.voxels[round(t)], slices)
        alone = mean_psnr(phantom, lambda t: render_slice(fitted.model, t, detail="off", denoise=True), slices)
        assert alone > 36.0  # measured: 37.3 dB
        assert alone > noisy + 2.0  # measured: 32.5 dB

    def test_hidden_slices_are_predicted_better_than_by_linear_interpolation(self, fitted):
        # measured: 30.4 dB against 27.7
        assert set(fitted.scores) == {OURS, *BASELINES}
        assert fitted.scores[OURS] > fitted.scores["linear"] + 1.5

    def test_no_gaussian_leaves_its_bounds(self, phantom, fitted):
        gaussians = fitted.model.gaussians
        counts = plan_fit(phantom.thick, SHORT).counts
        home = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        assert (gaussians.center - home).abs().max() <= CENTER_REACH
        assert gaussians.spread.min() >= SPREAD_RANGE[0] * (1 - 1e-6)
        assert gaussians.spread.max() <= SPREAD_RANGE[1] * (1 + 1e-6)


def assert_usable(volume, **changes):
    """Fit, and check that the result is finite and gives the measured slices back."""
    result = fit_model(volume, settings(**changes))
    model = result.model
    assert result.complete
    assert result.checkpoint is None
    assert all(torch.isfinite(tensor).all() for _, tensor in model.gaussians.named())
    assert render_slice(model, 0.5).dtype == volume.voxels.dtype
    measured = render_volume(model).voxels
    assert measured.dtype == volume.voxels.dtype
    assert np.array_equal(measured, volume.voxels)
    return result


class TestAnyVolume:
    @pytest.mark.parametrize("slices", [2, 3, 4, 7, 8])
    def test_few_slices_are_enough(self, slices):
        result = assert_usable(scan(moving_voxels(slices)))
        names = {2: set(), 8: {OURS, *BASELINES}}
        assert set(result.scores) == names.get(slices, {BLEND, *BASELINES})

    def test_one_slice_is_not(self):
        with pytest.raises(ValueError, match="at least 2 slices"):
            fit_model(scan(moving_voxels(1)))

    @pytest.mark.parametrize("slices", [5, 9])
    def test_constant_slices_come_back_constant(self, slices):
        volume = scan(np.full((slices, 14, 15), -7, np.int16))
        result = assert_usable(volume)
        assert np.unique(render_volume(result.model, factor=3, detail="off", denoise=True).voxels).tolist() == [-7]

    def test_one_constant_slice_among_others_is_no_obstacle(self):
        voxels = moving_voxels().copy()
        voxels[4] = 100
        assert_usable(scan(voxels))

    @pytest.mark.parametrize("size", [(1, 1), (1, 8), (8, 1), (11, 11)])
    def test_slices_may_be_tiny(self, size):
        voxels = np.random.default_rng(0).integers(0, 1000, (9, *size)).astype(np.uint16)
        assert_usable(scan(voxels))

    @pytest.mark.parametrize("channels", [3, 5])
    def test_slices_may_have_channels(self, channels):
        voxels = np.random.default_rng(0).integers(0, 255, (9, 14, 15, channels)).astype(np.uint8)
        assert assert_usable(scan(voxels)).model.gaussians.intensity.shape[1] == channels

    def test_a_dark_channel_counts_as_much_as_a_bright_one(self):
        channels = moving_voxels().astype(np.float64), moving_voxels()[:, ::-1].astype(np.float64)
        even = fit_model(scan(np.stack(channels, -1)), settings())
        # a power of two, so that every rounding is the same
        uneven = fit_model(scan(np.stack([channels[0] / 64.0, channels[1] * 16.0], -1)), settings())
        for (name, ours), (_, theirs) in zip(even.model.gaussians.named(), uneven.model.gaussians.named(), strict=True):
            assert torch.equal(ours, theirs), name
        assert np.allclose(uneven.model.window.width, even.model.window.width * (1 / 64, 16), rtol=1e-12)

    @pytest.mark.parametrize("dtype", ["int8", "int32", "uint64", "float16", "float64", ">i2"])
    def test_measured_slices_come_back_in_any_type_with_slope_and_intercept(self, dtype):
        generator = np.random.default_rng(0)
        if np.dtype(dtype).kind == "f":
            voxels = generator.normal(0, 1e3, (9, 13, 14)).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            voxels = generator.integers(limits.min, limits.max, (9, 13, 14), dtype=np.dtype(dtype).newbyteorder("="))
            voxels = voxels.astype(dtype)
        assert_usable(scan(voxels, slope=0.37, intercept=-12.5))

    def test_values_far_outside_the_window_come_back(self):
        voxels = moving_voxels().astype(np.float64)
        voxels[3, 5, 5], voxels[5, 2, 2] = 1e9, -1e12
        assert_usable(scan(voxels))

    @pytest.mark.parametrize("axis", ["0", "1", "2"])
    def test_any_axis_may_be_the_slice_axis(self, axis):
        result = assert_usable(scan(), axis=axis)
        assert result.model.axis == int(axis)

    @pytest.mark.parametrize("hide", [0, 1, 4])
    def test_uneven_slices_may_hide(self, hide):
        result = assert_usable(scan(positions=UNEVEN_MM), hide=hide)
        assert (OURS in result.scores) == (hide > 0)

    def test_large_slices_need_no_other_settings(self):
        voxels = np.random.default_rng(0).integers(0, 255, (2, 1024, 1024), dtype=np.uint8)
        assert_usable(scan(voxels), steps=2, gaussians=2000)


class TestAnySettings:
    @pytest.mark.parametrize("gaussians", [1, 5, 8])
    @pytest.mark.parametrize("slices", [2, 9])
    def test_fewer_gaussians_than_slices_are_fitted(self, gaussians, slices):
        result = assert_usable(scan(moving_voxels(slices)), gaussians=gaussians)
        assert len(result.model.gaussians) == gaussians

    @pytest.mark.parametrize("steps", [1, 2])
    @pytest.mark.parametrize("slices", [3, 9])
    def test_few_steps_are_taken(self, steps, slices):
        result = assert_usable(scan(moving_voxels(slices)), steps=steps)
        assert result.model.provenance["steps_done"] == steps

    @pytest.mark.parametrize("slices", [3, 4, 9])
    def test_as_many_slices_hide_as_can(self, slices):
        most = (slices - 1) // 2
        result = assert_usable(scan(moving_voxels(slices)), hide=most)
        assert len(result.model.provenance["hidden_slices"]) == most
        assert len(result.model.gaussians) == GAUSSIANS

    @pytest.mark.parametrize("degree", [2, 3])
    def test_paths_may_bend(self, degree):
        drift = assert_usable(scan(), drift_degree=degree).model.gaussians.drift
        assert drift.shape[1] == degree
        assert drift[:, degree - 1].abs().max() > 0

    def test_the_cpu_fits_with_either_rule(self):
        assert assert_usable(scan(), compositing="alpha").model.compositing == "alpha"

    def test_the_largest_seed_is_a_seed(self):
        assert_usable(scan(), seed=2**31 - 1)


class TestRepeats:
    def test_the_same_seed_gives_the_same_numbers(self, small):
        volume, result, _ = small
        assert_same_fit(result, fit_model(volume, settings()))

    def test_another_seed_gives_other_numbers(self, small):
        volume, result, _ = small
        other = fit_model(volume, settings(seed=1))
        assert not torch.equal(result.model.gaussians.position, other.model.gaussians.position)

    def test_looking_at_a_fit_does_not_change_it(self, small, hear_every_step):
        volume, result, _ = small

        class Looker(Follower):
            def report(self, state):
                if state.snapshot:
                    render_slice(state.snapshot(), 2.5)

        assert_same_fit(result, fit_model(volume, settings(), progress=Looker()))


class TestProgress:
    def test_a_follower_is_a_progress(self):
        assert isinstance(Follower(), Progress)

    def test_every_step_is_counted_to_the_last(self, small):
        states = small[2].states
        steps = [state.step for state in states]
        assert steps == sorted(steps)
        assert steps[0] == 0
        assert steps[-1] == states[-1].total == STEPS
        assert all(state.total == STEPS for state in states)

    def test_the_fit_says_what_it_does(self, small):
        phases = [state.phase.partition(" (")[0] for state in small[2].states]
        preparing = ["following the motion", "comparing the classical methods", "blending slices"]
        assert (
            [phase for phase, _ in groupby(phases)]
            == [
                *preparing[:2],  # so few steps need no more than some blended slices
                "fitting, some slices hidden",
                "judging hidden slices",
                *preparing[:2],
                "fitting all slices",
            ]
        )

    def test_it_counts_slices_while_it_prepares(self, hear_every_step):
        follower = Follower()
        fit_model(scan(), settings(steps=60), progress=follower)
        phases = [state.phase for state in follower.states]
        # of nine slices one hides
        for words in ("following the motion (7 of 7)", "blending slices (7 of 7)", "blending slices (8 of 8)"):
            assert words in phases

    def test_scores_come_when_the_hidden_slices_are_judged(self, small):
        _, result, follower = small
        phases = [state.phase.partition(" (")[0] for state in follower.states]
        judged = len(phases) - phases[::-1].index("judging hidden slices")
        for place, state in enumerate(follower.states):
            assert dict(state.scores) == (result.scores if place >= judged else {})

    def test_time_left_is_known_once_more_than_one_step_was_taken(self, hear_every_step):
        follower = Follower()
        fit_model(scan(), settings(), progress=follower)
        known = [state.step for state in follower.states if state.seconds_left >= 0.0]
        assert sorted(set(known)) == list(range(2, STEPS + 1))
        assert follower.states[-1].seconds_left == 0.0

    def test_a_first_step_that_compiles_does_not_count_for_the_time_left(self, hear_every_step, monkeypatch):
        follower, slow, move = Follower(), [0.5], Phase.step

        def step(*arguments):
            time.sleep(slow.pop() if slow else 0.0)
            return move(*arguments)

        monkeypatch.setattr(Phase, "step", step)
        fit_model(scan(), settings(), progress=follower)
        early = next(state for state in follower.states if state.step == 2)
        assert early.seconds_left < 0.5 * STEPS / 2

    def test_looks_at_hidden_slices_are_told_as_they_come(self, hear_every_step):
        follower = Follower()
        fit_model(scan(), FitConfig(preset="fast", gaussians=GAUSSIANS), progress=follower)
        looks = [state.checks for state in follower.states if state.phase == "fitting, some slices hidden"]
        assert looks[0] == ()
        assert 1 <= len(looks[-1]) <= 10
        assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(looks))

    def test_the_loss_falls(self, hear_every_step):
        follower = Follower()
        fit_model(scan(), settings(steps=60, hide=0), progress=follower)
        losses = [state.loss for state in follower.states if state.step]
        assert losses[-1] < 0.7 * losses[0]

    def test_a_snapshot_renders_and_stays_as_it_was(self, hear_every_step):
        kept = []

        class Keeper(Follower):
            def report(self, state):
                if state.snapshot and state.step in (4, STEPS):
                    model = state.snapshot()
                    kept.append((model, model.gaussians.pack().clone(), render_slice(model, 2.5, detail="off")))

        result = fit_model(scan(), settings(), progress=Keeper())
        (early, packed, shown), (_, last, _) = kept
        assert torch.equal(early.gaussians.pack(), packed)
        assert np.array_equal(render_slice(early, 2.5, detail="off"), shown)
        assert torch.equal(last, result.model.gaussians.pack())
        first_slice = slice(GAUSSIANS // 9)
        assert not torch.equal(packed[first_slice], last[first_slice])

    def test_a_paused_fit_waits_until_it_may_go_on(self, small):
        volume, result, _ = small
        follower, done = Follower(), threading.Event()
        follower.paused = True
        fits = []
        thread = threading.Thread(
            target=lambda: (fits.append(fit_model(volume, settings(), progress=follower)), done.set())
        )
        thread.start()
        assert not done.wait(0.5)
        assert follower.states[-1].step == 0
        follower.paused = False
        thread.join(20)
        assert_same_fit(result, fits[0])

    def test_a_paused_fit_can_be_cancelled(self):
        follower = Follower(steps=0)
        follower.paused = True
        assert not fit_model(scan(), settings(), progress=follower).complete


class TestStopped:
    @pytest.mark.parametrize("steps", [0, 4, STEPS // 2, STEPS - 1])
    def test_a_cancelled_fit_keeps_what_it_has(self, steps, hear_every_step):
        volume = scan()
        result = fit_model(volume, settings(), progress=Follower(steps))
        assert not result.complete
        assert result.checkpoint is not None
        assert result.model.provenance["steps_done"] == steps
        assert (OURS in result.scores) == (steps > STEPS // 2)
        assert np.array_equal(render_volume(result.model).voxels, volume.voxels)
        assert not np.array_equal(render_slice(result.model, 0.5), volume.voxels[0])

    @pytest.mark.parametrize("words", ["following the motion", "comparing the classical methods", "blending slices"])
    def test_a_fit_cancelled_while_it_prepares_ends_soon_and_keeps_a_model(self, words, hear_every_step):
        volume, follower = scan(moving_voxels(40)), Quitter(words)
        result = fit_model(volume, settings(steps=80), progress=follower)
        assert not result.complete
        assert follower.heard_after <= 2 * 3  # each part says that it begins, and that nothing is done
        assert result.checkpoint.facts["phase"] is None
        assert np.array_equal(render_volume(result.model).voxels, volume.voxels)
        assert np.isfinite(render_slice(result.model, 0.5, detail="off")).all()

    def test_of_the_motion_little_is_followed_after_that(self, hear_every_step, monkeypatch):
        gaps = []
        monkeypatch.setattr("medgs_core.correspondence.correspond", lambda *a: gaps.append(a) or correspond(*a))
        monkeypatch.setattr("medgs_core.threads.thread_count", lambda: 2)
        fit_model(scan(moving_voxels(60)), settings(hide=0), progress=Quitter("following the motion (1 of"))
        assert len(gaps) <= 8  # what two threads have begun or will begin

    def test_a_fit_without_hidden_slices_cancelled_before_it_begins_has_no_scores(self, hear_every_step):
        assert not fit_model(scan(), settings(hide=0), progress=Follower(0)).scores

    def test_a_fit_cancelled_after_its_last_step_is_complete(self, hear_every_step):
        assert fit_model(scan(), settings(), progress=Follower(STEPS)).complete


class TestProvenance:
    def test_a_model_remembers_how_it_came_to_be(self, small):
        volume, result, _ = small
        remembered = result.model.provenance
        assert remembered["settings"] == settings().model_dump(mode="json")
        assert remembered["hidden_slices"] == [4]
        assert remembered["steps_done"] == remembered["steps_planned"] == STEPS
        assert remembered["device"] == "cpu"
        assert remembered["input_sha256"] == content_hash(volume)
        assert remembered["versions"]["torch"] == version("torch")

    def test_the_scores_of_a_result_are_its_models(self, small):
        _, result, _ = small
        assert result.scores == result.model.scores


class TestPhase:
    def phase(self, whole, kept):
        stack = whole.select(kept)
        return Phase(stack, whole, Flows(stack, "stiff"), BlendWeights.prior(1), "sum", torch.device("cpu"))

    def test_a_hidden_slice_stands_at_its_index_whatever_the_gaps(self):
        whole = stack_of(random_images(7), UNEVEN)
        phase = self.phase(whole, [0, 2, 3, 5, 6])
        assert phase.coordinates.tolist() == [0, 2, 3, 5, 6]
        for hidden in (1, 4):
            assert phase.coordinate(phase.stack.t_at(UNEVEN[hidden])) == pytest.approx(hidden)
        # half-way from 0 to 2.2 lies 1.1, which is 0.4 / 1.5 of the gap from slice 1 to slice 2
        assert phase.coordinate(0.5) == pytest.approx(1 + 0.4 / 1.5)

    def test_a_step_that_sees_no_gaussian_moves_none(self):
        whole = stack_of(random_images(20, 9, 9, 1))
        phase = self.phase(whole, list(range(20)))
        packed = torch.zeros(1, 11)
        packed[0, 2] = 19.0
        starts = np.array([0] * 20 + [1])
        parameters = Parameters(RowAdam.start(packed.clone()), starts, 1)
        loss = phase.step(parameters, 2, 2, column_rates(parameters.gaussians()))
        assert loss == pytest.approx(np.square(whole.image(2)).mean(), rel=1e-6)
        assert torch.equal(parameters.optimizer.parameters, packed)

    def test_the_gaussians_seen_between_two_slices_are_those_within_three_spreads(self):
        generator = torch.Generator().manual_seed(0)
        packed = torch.zeros(400, 11)
        home = torch.arange(20).repeat_interleave(20)
        packed[:, 2] = home + 2 * torch.rand(400, generator=generator) - 1
        packed[:, 3] = torch.log(0.3 + 1.2 * torch.rand(400, generator=generator))
        parameters = Parameters(RowAdam.start(packed), np.arange(21) * 20, 1)
        reach = 3 * packed[:, 3].exp()
        for first, last in ((0.0, 0.5), (9.5, 10.0), (18.5, 19.0)):
            seen = (packed[:, 2] - reach <= last) & (packed[:, 2] + reach >= first)
            assert torch.equal(parameters.visible(first, last), seen.nonzero()[:, 0])
