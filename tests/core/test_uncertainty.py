"""The bound of the error: what it covers, where it vanishes, and when there is none."""

from dataclasses import replace

import numpy as np
import pytest

from medgs_core.cli import main
from medgs_core.config import FitConfig
from medgs_core.correspondence import Flows
from medgs_core.evidence import CUES, gather_evidence
from medgs_core.fit import fit_model
from medgs_core.formats import read_volume
from medgs_core.model_file import load_model, save_model
from medgs_core.phantom import drifting_phantom
from medgs_core.render import render_uncertainty, render_volume
from medgs_core.slices import stack_slices
from medgs_core.uncertainty import RATE, learn_error_bound
from medgs_core.volume import Volume

from ._stacks import learn_blend, stack_of

FACTOR = 4


@pytest.fixture(scope="module")
def phantom():
    return drifting_phantom((13, 40, 44), np.random.default_rng(3), factor=FACTOR, noise=0.02)


def fit_small(phantom):
    return fit_model(phantom.thick, FitConfig(axis="0", steps=60, gaussians=3000, device="cpu")).model


@pytest.fixture(scope="module")
def model(phantom):
    return fit_small(phantom)


def errors_and_bounds(phantom, model):
    """Return the errors of the slices between, and their bounds."""
    between = np.arange(phantom.dense.voxels.shape[0]) % FACTOR != 0
    rendered = render_volume(model, factor=FACTOR).voxels.astype(np.float64)
    bounds = render_uncertainty(model, factor=FACTOR).voxels
    return np.abs(rendered - phantom.dense.voxels)[between], bounds[between]


def test_bound_covers_the_errors_it_promises_without_being_vain(phantom, model):
    error, bound = errors_and_bounds(phantom, model)
    # measured 0.99: it is learned on noisy slices, and this truth has no noise
    assert np.mean(error <= bound) >= RATE
    # measured 3.4; a normal error would ask for 2.1
    assert bound.mean() < 4.5 * error.mean()


def test_bound_tells_easy_voxels_from_hard_ones():
    clean = drifting_phantom((13, 40, 44), np.random.default_rng(3), factor=FACTOR)
    error, bound = errors_and_bounds(clean, fit_small(clean))
    hard = bound > np.median(bound)
    # measured 2.2
    assert error[hard].mean() > 1.5 * error[~hard].mean()


def test_bound_is_zero_at_measured_slices_and_positive_between(model):
    bounds = render_uncertainty(model, factor=2)
    assert not bounds.voxels[::2].any()
    assert (bounds.voxels[1::2] > 0).all()
    assert bounds.voxels.dtype == np.float32


def test_bound_stands_where_the_rendered_volume_stands(model):
    bounds, rendered = render_uncertainty(model, factor=3), render_volume(model, factor=3)
    assert np.array_equal(bounds.affine, rendered.affine)
    assert bounds.unit == rendered.unit


def test_bound_is_in_measured_values(model):
    scaled = replace(model, volume=replace(model.volume, slope=-2.5, intercept=7.0))
    bounds, plain = render_uncertainty(scaled, positions=(1.5,)), render_uncertainty(model, positions=(1.5,))
    assert bounds.voxels == pytest.approx(2.5 * plain.voxels, rel=1e-6)
    assert (bounds.slope, bounds.intercept) == (1.0, 0.0)


def test_each_channel_has_a_bound_in_its_own_range(phantom):
    thick, affine = phantom.thick.voxels.astype(np.float32), phantom.thick.affine
    still = np.tile(thick[6], (len(thick), 1, 1))
    channels = np.stack([thick, 100 * thick, still], axis=-1)
    model = fit_model(Volume(channels, affine), FitConfig(axis="0", steps=4, gaussians=300, device="cpu")).model
    bounds = render_uncertainty(model, factor=2).voxels
    assert bounds.shape == (25, 40, 44, 3)
    assert not bounds[::2].any()
    moving, brighter, unmoved = np.moveaxis(bounds[1::2], -1, 0)
    # the Gaussians of equal channels differ by the rounding of float32 only
    assert brighter.mean() == pytest.approx(100 * moving.mean(), rel=1e-2)
    assert unmoved.mean() < 0.6 * moving.mean()


def test_one_channel_keeps_its_axis(phantom):
    one = Volume(phantom.thick.voxels[..., np.newaxis], phantom.thick.affine)
    with_axis, without = (
        render_uncertainty(fit_model(volume, FitConfig(axis="0", steps=4, gaussians=300, device="cpu")).model, factor=2)
        for volume in (one, phantom.thick)
    )
    assert np.array_equal(with_axis.voxels[..., 0], without.voxels)


def test_bound_survives_the_model_file(model, tmp_path):
    save_model(model, tmp_path / "a.medgs")
    assert load_model(tmp_path / "a.medgs").error_bound == model.error_bound


def test_cues_never_count_negative_and_bounds_belong_to_increasing_deviations(model):
    bound = model.error_bound
    assert len(bound.cues) == len(CUES)
    assert min(bound.cues) >= 0.0
    assert (np.diff(bound.deviations) > 0).all()


def test_two_slices_teach_no_bound():
    stack = stack_of(np.random.default_rng(0).random((2, 16, 16, 1), np.float32))
    flows = Flows(stack, "stiff")
    assert learn_error_bound(gather_evidence(flows), learn_blend(flows)) is None


def test_constant_stack_has_a_bound_of_zero_in_its_bins():
    stack = stack_of(np.full((5, 16, 16, 1), 0.5, np.float32))
    flows = Flows(stack, "stiff")
    assert learn_error_bound(gather_evidence(flows), learn_blend(flows)).bounds == (0.0,)


@pytest.mark.parametrize("how", ["two slices", "no source"])
def test_model_without_a_bound_says_so(how, model, phantom):
    if how == "no source":
        poor, got = replace(model, has_source=False), "a model saved without its slices"
    else:
        few = Volume(phantom.thick.voxels[:2], phantom.thick.affine)
        poor, got = fit_model(few, FitConfig(axis="0", steps=2, gaussians=50)).model, "2 slices"
    with pytest.raises(ValueError, match=rf"^uncertainty needs .* at least 3 measured slices, got {got}; fit more"):
        render_uncertainty(poor, factor=2)


def test_command_writes_the_bound_beside_the_slices(model, tmp_path):
    save_model(model, tmp_path / "a.medgs")
    out, bounds = tmp_path / "fine.nii.gz", tmp_path / "bounds.nii.gz"
    command = ["render", str(tmp_path / "a.medgs"), "-o", str(out), "--factor", "2", "--uncertainty", str(bounds)]
    assert main([*command, "--quiet"]) == 0
    written = read_volume(bounds)
    assert written.voxels == pytest.approx(render_uncertainty(model, factor=2).voxels, rel=1e-6)
    assert np.array_equal(written.affine, read_volume(out).affine)


def test_command_refuses_one_file_for_both(model, tmp_path, capsys):
    save_model(model, tmp_path / "a.medgs")
    out = str(tmp_path / "fine.nii.gz")
    assert main(["render", str(tmp_path / "a.medgs"), "-o", out, "--uncertainty", out]) == 2
    assert "--uncertainty must name another file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.medgs"]


def test_slices_that_do_not_change_are_certain():
    still = stack_slices(Volume(np.tile(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), (6, 1, 1)), np.eye(4)), 0)
    flows = Flows(still, "stiff")
    assert max(learn_error_bound(gather_evidence(flows), learn_blend(flows)).bounds) < 1e-6
