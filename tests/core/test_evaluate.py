from functools import partial

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, PchipInterpolator, make_interp_spline
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medgs_core.classical import METHODS
from medgs_core.evaluate import evaluate_volume
from medgs_core.fit import fit_model
from medgs_core.hidden import OURS
from medgs_core.render import render_slice
from medgs_core.volume import Volume, stack_affine

from ._fits import UNEVEN_MM, Follower, moving_voxels, scan, settings

ALMOST = 2e-3
"""The methods compute in float32, this file in float64: a value close to half-way between two stored ones may be
rounded to the other, and one such voxel of 252 moves the scores by up to 1e-3."""


def noisy_voxels(slices=9):
    voxels = moving_voxels(slices).astype(np.float64)
    voxels += np.random.default_rng(0).normal(0, 40, voxels.shape)
    stored = np.clip(np.rint(voxels), 0, 4000).astype(np.uint16)
    stored[::2] &= 0xFFFE  # even, so that no mean of two neighbors is exactly half-way
    return stored


def scaled(volume, plane):
    low, high = np.percentile(volume.voxels.astype(np.float64), [0.5, 99.5])
    return np.clip((plane.astype(np.float64) - low) / (high - low), 0.0, 1.0)


def protocol(volume, predicted):
    """Return mean PSNR and SSIM of stored predictions by slice, slices along axis 0, written plainly."""
    pairs = [(scaled(volume, volume.voxels[k]), scaled(volume, plane)) for k, plane in predicted.items()]
    return (
        np.mean([peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in pairs]),
        np.mean([structural_similarity(a, b, data_range=1.0) for a, b in pairs]),
    )


def stored(volume, unit):
    low, high = np.percentile(volume.voxels.astype(np.float64), [0.5, 99.5])
    limits = np.iinfo(volume.voxels.dtype)
    return np.clip(np.rint(unit * (high - low) + low), limits.min, limits.max)


def classical(volume, z, kept, held_out, method):
    """Return what a classical method predicts, from SciPy and the whole kept stack."""
    images = scaled(volume, volume.voxels[list(kept)])
    places = z[list(kept)]
    if method == "nearest":  # half-way, the kept slice of even index counts
        nearest = np.rint(np.interp(z, places, np.arange(len(kept)))).astype(int)
        return {k: stored(volume, images[nearest[k]]) for k in held_out}
    kinds = {"linear": partial(make_interp_spline, k=1), "cubic": CubicSpline, "pchip": PchipInterpolator}
    curve = kinds[method](places, images)
    return {k: stored(volume, curve(z[k])) for k in held_out}


@pytest.fixture(scope="module")
def evaluated():
    volume = scan(noisy_voxels())
    return volume, evaluate_volume(volume, settings(hide=0))


def test_every_second_slice_is_kept_and_those_between_are_predicted(evaluated):
    _, result = evaluated
    assert (result.axis, result.kept, result.held_out) == (0, (0, 2, 4, 6, 8), (1, 3, 5, 7))


@pytest.mark.parametrize(
    ("slices", "stride", "kept", "held_out"),
    [(10, 2, (0, 2, 4, 6, 8), (1, 3, 5, 7)), (9, 4, (0, 4, 8), (1, 2, 3, 5, 6, 7)), (6, 4, (0, 4), (1, 2, 3))],
)
def test_slices_after_the_last_kept_one_are_left_out(slices, stride, kept, held_out):
    result = evaluate_volume(scan(noisy_voxels(slices)), settings(steps=1), stride=stride)
    assert (result.kept, result.held_out) == (kept, held_out)


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "pchip"])
def test_classical_scores_are_those_of_the_protocol_written_plainly(evaluated, method):
    volume, result = evaluated
    predicted = classical(volume, 3.0 * np.arange(9), result.kept, result.held_out, method)
    psnr, ssim = protocol(volume, predicted)
    assert result.methods[method].psnr == pytest.approx(psnr, abs=ALMOST)
    assert result.methods[method].ssim == pytest.approx(ssim, abs=ALMOST)


@pytest.mark.parametrize("method", ["linear", "pchip"])
def test_slices_are_predicted_at_their_own_position_on_uneven_stacks(method):
    volume = scan(noisy_voxels(), positions=UNEVEN_MM)
    result = evaluate_volume(volume, settings(steps=1), stride=4)
    psnr, ssim = protocol(volume, classical(volume, UNEVEN_MM, result.kept, result.held_out, method))
    assert result.methods[method].psnr == pytest.approx(psnr, abs=ALMOST)
    assert result.methods[method].ssim == pytest.approx(ssim, abs=ALMOST)


def test_each_channel_is_scored_in_its_own_range():
    dark, bright = scan(noisy_voxels()), scan(noisy_voxels()[:, ::-1] * 16)
    both = evaluate_volume(scan(np.stack([dark.voxels, bright.voxels], -1)), settings(steps=1))
    apart = [
        protocol(volume, classical(volume, 3.0 * np.arange(9), both.kept, both.held_out, "linear"))
        for volume in (dark, bright)
    ]
    psnr, ssim = np.mean(apart, axis=0)
    assert both.methods["linear"].psnr == pytest.approx(psnr, abs=ALMOST)
    assert both.methods["linear"].ssim == pytest.approx(ssim, abs=ALMOST)


def test_the_models_scores_are_of_a_fit_to_the_kept_slices_alone(evaluated):
    volume, result = evaluated
    thinned = Volume(volume.voxels[::2].copy(), stack_affine((6.0, 1.0, 1.0)))
    model = fit_model(thinned, settings(hide=0, axis="0")).model
    psnr, ssim = protocol(volume, {k: render_slice(model, k / 2) for k in result.held_out})
    assert result.methods[OURS].psnr == pytest.approx(psnr, abs=1e-5)
    assert result.methods[OURS].ssim == pytest.approx(ssim, abs=1e-5)


def test_all_methods_are_scored_in_seconds(evaluated):
    methods = evaluated[1].methods
    assert list(methods) == [*METHODS, OURS]
    assert all(0.0 < score.seconds < 60.0 for score in methods.values())


def test_predictions_are_rounded_to_the_stored_type():
    voxels = np.zeros((3, 8, 9), np.uint8)
    voxels[0] = 1
    # linear predicts one half, which is rounded to 0, the truth
    assert evaluate_volume(scan(voxels), settings(steps=1)).methods["linear"].psnr == np.inf


@pytest.mark.parametrize("stride", [0, 1])
def test_a_stride_below_two_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride should be at least 2, got {stride}"):
        evaluate_volume(scan(), stride=stride)


def test_a_stride_that_leaves_one_slice_is_refused():
    with pytest.raises(ValueError, match=r"2 or more of the 9 slices along axis 0, got 9; choose a smaller one"):
        evaluate_volume(scan(), stride=9)


@pytest.mark.parametrize("slices", [1, 2])
def test_too_few_slices_are_refused_whatever_the_stride(slices):
    with pytest.raises(ValueError, match=rf"at least 3 slices .*, got {slices} along axis 0 .*; choose another axis"):
        evaluate_volume(scan(np.zeros((slices, 8, 9), np.uint8)), stride=2)


def test_the_axis_of_the_settings_is_the_one_evaluated():
    result = evaluate_volume(scan(), settings(steps=1, axis="2"), stride=8)
    assert result.axis == 2
    assert result.kept == (0, 8, 16)


def test_a_cancelled_fit_is_scored_as_it_stands(hear_every_step):
    follower = Follower(2)
    result = evaluate_volume(scan(), settings(hide=0), progress=follower)
    assert follower.states[-1].step == 2
    assert np.isfinite(result.methods[OURS].psnr)
