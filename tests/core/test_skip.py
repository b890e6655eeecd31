"""Bad slices: nothing looks at them, and they are predicted like slices that were never measured."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest

from medgs_core.config import FitConfig
from medgs_core.evaluate import evaluate_volume
from medgs_core.fit import fit_model
from medgs_core.formats import read_volume
from medgs_core.formats.model_header import read_header
from medgs_core.lazy import lazy_volume
from medgs_core.metrics import psnr
from medgs_core.model_file import load_model, model_hash, save_model
from medgs_core.phantom import drifting_phantom
from medgs_core.plan import plan_fit
from medgs_core.render import render_slice, render_uncertainty, render_volume
from medgs_core.sampling import is_measured
from medgs_core.volume import Volume, robust_window

from ._cli import SLICES, files_in, fit, medgs, phantom, write_scan
from ._fits import UNEVEN_MM, Follower, moving_voxels, scan, settings
from ._models import assert_same_gaussians, tampered

BAD = 4
"""The slice that is bad, in the middle of nine."""

CONTENTS = {
    "zeros": lambda plane: np.zeros_like(plane),
    "noise": lambda plane: np.random.default_rng(5).uniform(-1e3, 1e4, plane.shape),
    "huge": lambda plane: np.full_like(plane, 1e29),
}


def spoiled(content, bad=BAD, **place):
    voxels = moving_voxels().astype(np.float64)
    voxels[bad] = CONTENTS[content](voxels[bad])
    return scan(voxels, **place)


@pytest.fixture(scope="module")
def clean():
    """A fit that skips a slice of which nothing is bad."""
    return fit_model(scan(moving_voxels().astype(np.float64)), settings(skip=(BAD,), hide=2))


@pytest.fixture(scope="module")
def drifting():
    return drifting_phantom((9, 48, 56), np.random.default_rng(1)).thick


@pytest.fixture(scope="module")
def config():
    return FitConfig(steps=60, device="cpu", compositing="sum", axis="0")


@pytest.fixture(scope="module")
def skipping(drifting, config):
    voxels = drifting.voxels.copy()
    voxels[BAD] = np.random.default_rng(0).integers(0, 2**16, voxels[BAD].shape)
    return fit_model(Volume(voxels, drifting.affine), config.model_copy(update={"skip": (BAD,)})).model


def hidden_numbers(skip, hide):
    """Return which of seventeen slices hide, as the input counts them."""
    plan = plan_fit(scan(moving_voxels(17)), settings(skip=skip, hide=hide))
    return [plan.numbers[k] for k in plan.hidden]


class TestBlindness:
    @pytest.mark.parametrize("content", CONTENTS)
    def test_the_result_is_the_same_whatever_a_skipped_slice_holds(self, clean, content):
        result = fit_model(spoiled(content), settings(skip=(BAD,), hide=2))
        assert_same_gaussians(result.model.gaussians, clean.model.gaussians)
        for name in ("window", "detail", "error_bound", "scores"):
            assert getattr(result.model, name) == getattr(clean.model, name), name
        for render in (render_volume, render_uncertainty):
            ours, theirs = render(result.model, factor=3), render(clean.model, factor=3)
            assert np.array_equal(ours.voxels, theirs.voxels)

    def test_scores_of_an_evaluation_are_the_same_too(self):
        first, second = (
            evaluate_volume(spoiled(content, bad=3), settings(skip=(3,), steps=2)) for content in ("noise", "huge")
        )
        assert (first.kept, first.held_out) == ((0, 2, 4, 6, 8), (1, 5, 7))
        for name, score in first.methods.items():
            assert (score.psnr, score.ssim) == (second.methods[name].psnr, second.methods[name].ssim)

    def test_a_slice_that_would_be_kept_is_left_out_of_the_evaluation(self):
        result = evaluate_volume(spoiled("huge"), settings(skip=(BAD,), steps=1))
        assert (result.kept, result.held_out) == ((0, 2, 6, 8), (1, 3, 5, 7))

    def test_skipped_slices_are_neither_hidden_nor_seeded(self):
        for skip in ((1,), (4, 5), (2, 3, 7), tuple(range(1, 10))):
            volume = scan(moving_voxels(17))
            plan = plan_fit(volume, settings(skip=skip, hide=3))
            assert (plan.skipped, len(plan.hidden)) == (skip, 3)
            assert sorted([*skip, *plan.numbers]) == list(range(17))
            assert np.array_equal(plan.stack.planes[..., 0], volume.voxels[list(plan.numbers)])
            assert sorted([*plan.hidden, *plan.kept]) == list(range(len(plan.stack)))
            assert all(b - a >= 2 for a, b in pairwise(plan.hidden))
            assert sum(plan.counts) == settings().gaussians

    def test_hidden_slices_are_beside_none_where_others_will_do(self):
        # with none skipped 4 and 12 hide; 4 would be beside it
        assert hidden_numbers((5,), 2) == [3, 12]
        model = fit_model(scan(moving_voxels(17)), settings(skip=(5,), hide=2)).model
        assert model.provenance["hidden_slices"] == [3, 12]
        for skip in range(1, 16):
            assert all(abs(k - skip) > 1 for k in hidden_numbers((skip,), 3)), skip

    def test_the_window_does_not_see_them(self):
        stack = plan_fit(spoiled("huge"), settings(skip=(BAD,))).stack
        assert stack.window == robust_window(np.delete(moving_voxels().astype(np.float64), BAD, 0))


class TestPrediction:
    @pytest.mark.parametrize("skip", [(BAD,), (2, 6), (3, 4, 5)])
    def test_it_is_what_a_volume_without_the_slices_gives(self, drifting, config, skip):
        with_them = fit_model(drifting, config.model_copy(update={"skip": skip, "hide": 0})).model
        z = 3.0 * np.delete(np.arange(9.0), skip)
        rest = Volume(np.delete(drifting.voxels, skip, 0), drifting.affine, positions=z)
        without = fit_model(rest, config.model_copy(update={"hide": 0})).model
        assert_same_gaussians(with_them.gaussians, without.gaussians)
        for render in (render_volume, render_uncertainty):
            assert np.array_equal(render(with_them).voxels, render(without, spacing=3.0).voxels)

    def test_it_is_better_than_linear(self, drifting, skipping):
        def score(predicted):
            return psnr(*((plane / 4000.0).astype(np.float32) for plane in (drifting.voxels[BAD], predicted)))

        linear = 0.5 * drifting.voxels[BAD - 1] + 0.5 * drifting.voxels[BAD + 1]
        ours = score(render_slice(skipping, float(BAD)))
        # measured 36.9 against 32.0
        assert ours > score(linear) + 4.0

    def test_all_slices_are_rendered_and_all_but_the_skipped_are_the_stored_ones(self, skipping):
        rendered = render_volume(skipping, factor=1).voxels
        assert rendered.shape == skipping.volume.voxels.shape
        same = [np.array_equal(*planes) for planes in zip(rendered, skipping.volume.voxels, strict=True)]
        assert same == [k != BAD for k in range(9)]
        assert np.array_equal(lazy_volume(skipping)[BAD], rendered[BAD])

    def test_a_skipped_slice_is_synthetic_and_uncertain(self, skipping):
        assert [is_measured(skipping, float(k)) for k in range(9)] == [k != BAD for k in range(9)]
        bounds = render_uncertainty(skipping, factor=2).voxels
        assert [not plane.any() for plane in bounds] == [i % 2 == 0 and i != 2 * BAD for i in range(17)]
        assert bounds[2 * BAD].mean() > bounds[2 * BAD - 1].mean()

    def test_slices_tend_to_the_measured_ones_beside_the_gap(self, skipping):
        for k, t in ((BAD - 1, BAD - 1 + 1e-4), (BAD + 1, BAD + 1 - 1e-4)):
            near = render_slice(skipping, t).astype(float)
            assert near == pytest.approx(skipping.volume.voxels[k].astype(float), abs=5.0)

    def test_slices_may_be_uneven_and_skipped_in_a_row(self):
        volume = spoiled("huge", positions=UNEVEN_MM)
        volume.voxels[BAD + 1] = -1e29
        model = fit_model(volume, settings(skip=(BAD, BAD + 1))).model
        rendered = render_volume(model, spacing=0.5).voxels
        assert np.abs(rendered).max() < 5000.0

    def test_long_runs_are_filled_without_holes(self):
        volume = drifting_phantom((17, 48, 56), np.random.default_rng(1)).thick
        skip = tuple(range(5, 12))
        model = fit_model(volume, FitConfig(preset="fast", axis="0", device="cpu", skip=skip)).model
        rendered = render_volume(model).voxels.astype(float)
        for k in skip:
            alpha = (k - 4) / 8
            linear = (1 - alpha) * volume.voxels[4] + alpha * volume.voxels[12]
            assert np.abs(rendered[k] - volume.voxels[k]).mean() < np.abs(linear - volume.voxels[k]).mean()

    def test_one_inner_slice_of_three_may_be_skipped(self):
        model = fit_model(scan(moving_voxels(3)), settings(skip=(1,))).model
        assert render_volume(model, factor=2).voxels.shape[0] == 5
        with pytest.raises(ValueError, match="at least 3 measured slices, got 2 slices"):
            render_uncertainty(model)


class TestFiles:
    def test_models_remember_them(self, clean, tmp_path):
        save_model(clean.model, tmp_path / "a.medgs")
        loaded = load_model(tmp_path / "a.medgs")
        assert loaded.skipped == (BAD,)
        assert read_header(tmp_path / "a.medgs")["skipped"] == (BAD,)
        assert model_hash(loaded) == model_hash(clean.model)
        assert np.array_equal(render_slice(loaded, float(BAD)), render_slice(clean.model, float(BAD)))

    def test_a_file_that_knows_nothing_of_them_skips_none(self, tmp_path):
        save_model(fit_model(scan(), settings()).model, tmp_path / "a.medgs")
        loaded = load_model(_without(tmp_path / "a.medgs", "skipped"))
        assert loaded.skipped == ()

    @pytest.mark.parametrize("skipped", [[0], [8], [9], [3, 3], [4, 2]])
    def test_files_that_skip_what_cannot_be_are_refused(self, clean, tmp_path, skipped):
        save_model(clean.model, tmp_path / "a.medgs")
        tampered(tmp_path / "a.medgs", skipped=skipped)
        with pytest.raises(ValueError, match="are not inner ones in order"):
            load_model(tmp_path / "a.medgs")

    def test_resuming_with_others_is_refused(self, hear_every_step):
        state = fit_model(scan(), settings(skip=(2,)), progress=Follower(3)).checkpoint
        with pytest.raises(ValueError, match=r"resumes with the settings .* got skip \[3\] instead of \[2\]"):
            fit_model(scan(), settings(skip=(3,)), resume=state)

    def test_a_resumed_fit_ends_as_an_unbroken_one(self, hear_every_step):
        config = settings(skip=(2, 5), hide=1)
        for steps in (3, 9):
            state = fit_model(scan(), config, progress=Follower(steps)).checkpoint
            resumed, unbroken = fit_model(scan(), config, resume=state), fit_model(scan(), config)
            assert_same_gaussians(resumed.model.gaussians, unbroken.model.gaussians)


class TestCommand:
    def test_skipped_slices_are_said_in_the_plan_the_note_and_the_facts(self, tmp_path, capsys):
        volume = phantom()
        volume.voxels[BAD] = 65535
        source, model, out = write_scan(tmp_path, volume), tmp_path / "a.medgs", tmp_path / "fine.nii.gz"
        assert fit(source, model, "--skip", "6,4") == 0
        assert "along axis 0 (of largest spacing), 2 skipped, none hidden" in capsys.readouterr().out
        assert medgs("render", model, "-o", out, "--factor", "2") == 0
        assert f"{2 * SLICES - 1} slices, {SLICES - 2} of them measured" in capsys.readouterr().out
        note = json.loads((tmp_path / "fine.nii.gz.json").read_text())
        assert note["skipped_slices"] == [4, 6]
        assert [entry["index"] for entry in note["slices"] if entry["measured"]] == [0, 2, 4, 6, 10, 14, 16]
        assert read_volume(out).voxels[2 * BAD].max() < 65535
        assert medgs("info", model) == 0
        assert re.search(r"^skipped slices +4, 6$", capsys.readouterr().out, re.MULTILINE)

    def test_evaluation_takes_them(self, tmp_path, capsys):
        command = ["evaluate", write_scan(tmp_path), "--steps", "2", "--gaussians", "90", "--skip", "3", "--json"]
        assert medgs(*command, "--device", "cpu", "--quiet") == 0
        assert json.loads(capsys.readouterr().out)["held_out"] == [1, 5, 7]

    @pytest.mark.parametrize(
        ("skip", "said"),
        [
            ("0", r"should leave the first and the last slice, .*, got 0 of 9 slices; cut the volume"),
            ("8", r"should leave the first and the last slice, .*, got 8 of 9 slices; cut the volume"),
            ("9", r"should name slices that there are, 0 to 8, got 9; correct"),
            ("3,3", r"--skip should name each slice once, got 3 more than once; leave"),
            ("-1", r"--skip should be at least 0, got '-1'; correct"),
            ("two", r"--skip should be a whole number, got 'two'; correct"),
            ("", r"--skip should be a whole number, got ''; correct"),
        ],
    )
    def test_slices_that_cannot_be_skipped_are_a_sentence(self, tmp_path, capsys, skip, said):
        scan_path = write_scan(tmp_path)
        for command in (["fit", scan_path, "-o", tmp_path / "a.medgs"], ["evaluate", scan_path]):
            assert medgs(*command, f"--skip={skip}", "--device", "cpu") == 2
            told = capsys.readouterr()
            assert told.out == ""
            assert told.err.count("\n") == 1
            assert re.search(said, told.err)
        assert files_in(tmp_path) == ["scan.nii.gz"]

    def test_more_hidden_than_the_others_allow_is_a_sentence(self, tmp_path, capsys):
        code = fit(write_scan(tmp_path), tmp_path / "a.medgs", "--skip", "2,3", "--hide", "4")
        assert code == 2
        assert "hide should be at most 3 for 7 slices" in capsys.readouterr().err

    def test_an_evaluation_with_nothing_left_to_predict_is_a_sentence(self):
        with pytest.raises(
            ValueError, match=r"one between them to predict, got 1 skipped of 3 slices and stride 2; skip"
        ):
            evaluate_volume(scan(moving_voxels(3)), settings(skip=(1,)))


def _without(path, fact):
    """Write a saved file anew without a fact of its header, as one of an earlier program has none."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["medgs"])
    del header[fact]
    save_file(load_file(path), path, metadata={"medgs": json.dumps(header)})
    return path
