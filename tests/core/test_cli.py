import argparse
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import nibabel
import numpy as np
import pytest

import medgs_core.cli._demo
import medgs_core.cli._info
import medgs_core.example
from medgs_core.classical_labels import available_methods
from medgs_core.cli import main
from medgs_core.cli._demo import run_demo
from medgs_core.cli._interrupt import stop_on_signal
from medgs_core.cli._options import add_settings, chosen_settings
from medgs_core.cli._screen import FitBar, gain, strict_json
from medgs_core.config import EvaluateConfig, FitConfig, ReadConfig, RenderConfig, SurfaceConfig
from medgs_core.example import find_example
from medgs_core.formats import read_volume, write_volume
from medgs_core.model_file import load_checkpoint, load_model, model_hash
from medgs_core.progress import FitState, Progress

from ._cli import HEIGHT, SLICES, SMALL, START, WIDTH, files_in, fit, medgs, phantom, start, write_scan
from ._models import assert_same_gaussians

METHODS = ("nearest", "linear", "cubic", "pchip", "flow", "medgs")
LABEL_METHODS = (*available_methods(), "medgs")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def scan(tmp_path):
    (tmp_path / "in").mkdir()
    return write_scan(tmp_path / "in")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A scan and the model of it, made once."""
    folder = tmp_path_factory.mktemp("fitted")
    assert fit(write_scan(folder), folder / "scan.medgs", "--quiet") == 0
    return folder


def loaded_in_process(*argv):
    """Return which heavy packages a command line loads."""
    probe = (
        "import sys; from medgs_core.cli import main; main(sys.argv[1:]); "
        "print('loaded', *[name for name in ('torch', 'numba', 'matplotlib') if name in sys.modules])"
    )
    words = [sys.executable, "-c", probe, *(str(word) for word in argv)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1].split()[1:]


def send_at_step(monkeypatch, step, number):
    """Let the fit send itself a signal once it has done some steps."""
    report = FitBar.report

    def reporting(self, state):
        report(self, state)
        if state.step >= step and not self.cancelled:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(FitBar, "report", reporting)
    monkeypatch.setattr("medgs_core.fit.REPORT_SECONDS", 0.0)


class TestFit:
    def test_plan_and_scores_are_printed(self, scan, tmp_path, capsys):
        assert fit(scan, tmp_path / "a.medgs") == 0
        said = capsys.readouterr().out
        assert f"{SLICES} x {HEIGHT} x {WIDTH} uint16, 3 x 0.8 x 0.8 mm" in said
        assert f"{SLICES} of {HEIGHT} x {WIDTH} along axis 0 (of largest spacing), 1 hidden" in said
        assert "300 Gaussians, 12 steps, preset balanced, rule sum, on cpu, seed 0" in said
        assert "on slices hidden from all methods: " in said
        for method in ("medgs", "linear", "cubic", "pchip", "flow"):
            assert re.search(rf"^ +{method} +\d+\.\d\d +[+-]\d+\.\d\d$", said, re.MULTILINE), method

    def test_model_knows_its_settings(self, scan, tmp_path):
        assert fit(scan, tmp_path / "a.medgs", "--quiet", "--seed", "7", "--drift-degree", "2", "--axis", "1") == 0
        model = load_model(tmp_path / "a.medgs")
        settings = model.provenance["settings"]
        assert (settings["seed"], settings["steps"], settings["gaussians"]) == (7, 12, 300)
        assert (model.axis, model.gaussians.drift.shape[1], len(model.gaussians)) == (1, 2, 300)

    def test_quiet_says_nothing(self, scan, tmp_path, capsys):
        assert fit(scan, tmp_path / "a.medgs", "--quiet") == 0
        assert capsys.readouterr() == ("", "")

    def test_axis_that_was_asked_for_is_said_to_be(self, scan, tmp_path, capsys):
        assert fit(scan, tmp_path / "a.medgs", "--axis", "2") == 0
        assert "along axis 2 (as asked)" in capsys.readouterr().out

    def test_without_hidden_slices_scores_are_cross_validated(self, scan, tmp_path, capsys):
        assert fit(scan, tmp_path / "a.medgs", "--hide", "0") == 0
        said = capsys.readouterr().out
        assert "none hidden" in said
        assert "cross-validation" in said

    def test_two_slices_have_no_scores(self, tmp_path, capsys):
        assert fit(write_scan(tmp_path, phantom(slices=2)), tmp_path / "a.medgs", "--axis", "0") == 0
        assert "scores  none" in capsys.readouterr().out

    def test_source_can_be_left_out(self, scan, tmp_path):
        assert fit(scan, tmp_path / "a.medgs", "--quiet", "--no-source") == 0
        assert not load_model(tmp_path / "a.medgs").has_source

    def test_finished_fit_removes_an_old_state(self, scan, tmp_path):
        (tmp_path / "a.medgs.state").write_bytes(b"of an earlier fit")
        assert fit(scan, tmp_path / "a.medgs", "--quiet") == 0
        assert files_in(tmp_path) == ["a.medgs", "in"]

    def test_positions_of_slices_come_from_a_file(self, scan, tmp_path):
        positions = np.cumsum(np.arange(SLICES) % 2 + 1.5)
        (tmp_path / "z.txt").write_text("# mm\n" + "\n\n".join(f"{z} " for z in positions))
        assert fit(scan, tmp_path / "a.medgs", "--quiet", "--slice-positions", tmp_path / "z.txt") == 0
        np.testing.assert_array_equal(load_model(tmp_path / "a.medgs").volume.positions, positions)

    def test_one_volume_of_a_series_is_chosen(self, tmp_path):
        series = np.random.default_rng(0).integers(0, 99, (14, 15, 5, 2)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(series, np.diag([1.0, 1.0, 4.0, 1.0])), tmp_path / "s.nii")
        assert fit(tmp_path / "s.nii", tmp_path / "a.medgs", "--quiet", "--volume", "1") == 0
        np.testing.assert_array_equal(load_model(tmp_path / "a.medgs").volume.voxels, series[..., 1])

    def test_all_volumes_of_a_series_are_fitted_at_once_and_written_as_a_series(self, tmp_path):
        series = np.random.default_rng(0).integers(0, 99, (14, 15, 5, 3)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(series, np.diag([1.0, 1.0, 4.0, 1.0])), tmp_path / "s.nii")
        assert fit(tmp_path / "s.nii", tmp_path / "a.medgs", "--quiet", "--volume", "all") == 0
        command = ["render", tmp_path / "a.medgs", "-o", tmp_path / "b.nii", "--factor", "2", "--quiet"]
        assert medgs(*command, "--uncertainty", tmp_path / "c.nii") == 0
        fine = nibabel.load(tmp_path / "b.nii")
        assert fine.shape == nibabel.load(tmp_path / "c.nii").shape == (14, 15, 9, 3)
        np.testing.assert_array_equal(fine.dataobj[:, :, ::2], series)

    def test_colors_come_back_as_colors(self, tmp_path):
        rgb = np.random.default_rng(0).integers(0, 255, (14, 15, 5, 3)).astype(np.uint8)
        stored = rgb.view(np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))[..., 0]
        nibabel.save(nibabel.Nifti1Image(stored, np.diag([1.0, 1.0, 4.0, 1.0])), tmp_path / "s.nii")
        assert fit(tmp_path / "s.nii", tmp_path / "a.medgs", "--quiet") == 0
        assert medgs("render", tmp_path / "a.medgs", "-o", tmp_path / "b.nii", "--factor", "2", "--quiet") == 0
        fine = nibabel.load(tmp_path / "b.nii")
        assert fine.get_data_dtype().names == ("R", "G", "B")
        np.testing.assert_array_equal(np.asarray(fine.dataobj)[:, :, ::2], stored)

    def test_voxel_size_of_a_tiff_is_taken_from_the_command_line(self, tmp_path):
        tiff = write_scan(tmp_path, name="scan.tif")
        assert fit(tiff, tmp_path / "a.medgs", "--quiet", "--voxel-size", "5,0.5,0.25") == 0
        assert load_model(tmp_path / "a.medgs").volume.spacing == (5.0, 0.5, 0.25)


class TestInterruption:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_and_resumed_fit_ends_like_an_unbroken_one(self, scan, tmp_path, monkeypatch, capsys, number):
        assert fit(scan, tmp_path / "whole.medgs", "--quiet") == 0
        with monkeypatch.context() as patch:
            send_at_step(patch, 5, number)
            assert fit(scan, tmp_path / "part.medgs", "--quiet") == 130
        assert "--resume" in capsys.readouterr().err
        assert 0 < load_model(tmp_path / "part.medgs").provenance["steps_done"] < 12
        load_checkpoint(tmp_path / "part.medgs.state")
        assert fit(scan, tmp_path / "part.medgs", "--quiet", "--resume") == 0
        assert files_in(tmp_path) == ["in", "part.medgs", "whole.medgs"]
        whole, resumed = load_model(tmp_path / "whole.medgs"), load_model(tmp_path / "part.medgs")
        assert_same_gaussians(whole.gaussians, resumed.gaussians)
        assert whole.scores == resumed.scores
        assert model_hash(whole) == model_hash(resumed)

    def test_process_interrupted_in_its_fit_ends_with_130_and_a_model(self, scan, tmp_path):
        long = ["fit", scan, "-o", tmp_path / "a.medgs", *SMALL, "--steps", "1000000"]
        process = start(*long)
        for line in process.stdout:  # the plan: from here on signals are wishes
            if line.startswith("fit "):
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "Traceback" not in said
        assert load_model(tmp_path / "a.medgs").has_source
        assert files_in(tmp_path) == ["a.medgs", "a.medgs.state", "in"]

    def test_resuming_with_other_settings_is_refused_and_keeps_the_state(self, scan, tmp_path, monkeypatch, capsys):
        with monkeypatch.context() as patch:
            send_at_step(patch, 5, signal.SIGINT)
            fit(scan, tmp_path / "a.medgs", "--quiet")
        before = (tmp_path / "a.medgs").read_bytes()
        capsys.readouterr()
        assert fit(scan, tmp_path / "a.medgs", "--quiet", "--resume", "--seed", "1") == 2
        assert "seed" in capsys.readouterr().err
        other = write_scan(tmp_path, phantom(width=WIDTH + 1), "other.nii.gz")
        assert fit(other, tmp_path / "a.medgs", "--quiet", "--resume") == 2
        assert "volume" in capsys.readouterr().err
        assert (tmp_path / "a.medgs.state").exists()
        assert (tmp_path / "a.medgs").read_bytes() == before

    def test_second_interrupt_ends_at_once(self):
        heard = []
        with pytest.raises(KeyboardInterrupt), stop_on_signal(lambda: heard.append("stop")):  # noqa: PT012
            os.kill(os.getpid(), signal.SIGINT)
            assert heard == ["stop"]
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupt_outside_a_fit_ends_with_130(self, scan, monkeypatch, capsys, number):
        monkeypatch.setattr(medgs_core.cli._info, "run", lambda args: os.kill(os.getpid(), number))
        assert medgs("info", scan) == 130
        assert "interrupted" in capsys.readouterr().err

    def test_commands_run_outside_the_main_thread_too(self, scan, tmp_path):
        codes = []
        thread = threading.Thread(target=lambda: codes.append(fit(scan, tmp_path / "a.medgs", "--quiet")))
        thread.start()
        thread.join()
        assert codes == [0]


class TestRender:
    def test_measured_slices_come_back_exactly_and_the_note_tells_which_they_are(self, fitted, tmp_path, capsys):
        out = tmp_path / "fine.nii.gz"
        assert medgs("render", fitted / "scan.medgs", "-o", out, "--factor", "3") == 0
        assert f"{3 * SLICES - 2} slices, {SLICES} of them measured" in capsys.readouterr().out
        fine, coarse = read_volume(out), read_volume(fitted / "scan.nii.gz")
        assert fine.voxels.dtype == coarse.voxels.dtype
        note = json.loads((tmp_path / "fine.nii.gz.json").read_text())
        assert [entry["index"] for entry in note["slices"]] == list(range(3 * SLICES - 2))
        np.testing.assert_allclose([entry["t"] for entry in note["slices"]], np.arange(3 * SLICES - 2) / 3)
        assert [entry["measured"] for entry in note["slices"]] == [n % 3 == 0 for n in range(3 * SLICES - 2)]
        np.testing.assert_array_equal(_along_slices(fine)[::3], _along_slices(coarse))

    def test_note_names_model_scores_options_and_versions(self, fitted, tmp_path):
        assert medgs("render", fitted / "scan.medgs", "-o", tmp_path / "a.tif", "--detail", "off") == 0
        note = json.loads((tmp_path / "a.tif.json").read_text())
        model = load_model(fitted / "scan.medgs")
        assert note["model_sha256"] == model_hash(model)
        assert note["scores"] == model.scores
        assert note["options"]["detail"] == "off"
        assert note["axis"] == model.axis
        assert note["hidden_slices"] == model.provenance["hidden_slices"]
        assert {"medgs-napari", "torch", "numpy"} <= set(note["versions"])

    @pytest.mark.parametrize(
        ("options", "slices"),
        [
            ((), SLICES),
            (("--spacing", "1.5"), 2 * SLICES - 1),
            (("--isotropic",), int(3.0 * (SLICES - 1) / 0.8) + 1),
            (("--positions", "1,1.25,1.5"), 3),
        ],
        ids=str,
    )
    def test_sampling_options_give_the_slices_they_promise(self, fitted, tmp_path, options, slices):
        assert medgs("render", fitted / "scan.medgs", "-o", tmp_path / "a.nii", "--quiet", *options) == 0
        assert len(_along_slices(read_volume(tmp_path / "a.nii"))) == slices

    def test_denoised_slices_do_not_count_as_measured(self, fitted, tmp_path, capsys):
        assert medgs("render", fitted / "scan.medgs", "-o", tmp_path / "a.nii", "--denoise") == 0
        assert "0 of them measured" in capsys.readouterr().out

    def test_quiet_says_nothing(self, fitted, tmp_path, capsys):
        assert medgs("render", fitted / "scan.medgs", "-o", tmp_path / "a.nii", "--quiet") == 0
        assert capsys.readouterr() == ("", "")

    def test_uneven_stack_renders_by_spacing_and_refuses_a_factor(self, scan, tmp_path, capsys):
        (tmp_path / "z.txt").write_text("\n".join(str(z**1.2) for z in range(SLICES)))
        model = tmp_path / "a.medgs"
        assert fit(scan, model, "--quiet", "--slice-positions", tmp_path / "z.txt") == 0
        assert medgs("render", model, "-o", tmp_path / "b.nii", "--spacing", "0.5", "--quiet") == 0
        assert medgs("render", model, "-o", tmp_path / "c.nii", "--factor", "2", "--quiet") == 2
        assert re.search(r"evenly spaced, got --factor 2 .* --spacing", capsys.readouterr().err)
        assert files_in(tmp_path) == ["a.medgs", "b.nii", "b.nii.json", "in", "z.txt"]


def _along_slices(volume):
    """Return the voxels with the slice axis, that of 3 mm in the scan, first: a NIfTI of a z, y, x stack keeps it."""
    return volume.voxels


class TestEvaluate:
    def test_all_methods_stand_side_by_side(self, scan, capsys):
        assert medgs("evaluate", scan, "--stride", "2", *SMALL) == 0
        said = capsys.readouterr().out
        for method in METHODS:
            assert re.search(rf"^ +{method} +\d+\.\d\d +[+-]\d+\.\d\d +\d\.\d{{4}} +\d+\.\d$", said, re.MULTILINE)

    def test_json_holds_slices_and_scores(self, scan, capsys):
        assert medgs("evaluate", scan, "--stride", "4", *SMALL, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["axis"], found["stride"]) == (0, 4)
        assert (found["kept"], found["held_out"]) == ([0, 4, 8], [1, 2, 3, 5, 6, 7])
        assert set(found["methods"]) == set(METHODS)
        assert all(set(scores) == {"psnr", "ssim", "seconds"} for scores in found["methods"].values())
        assert found["methods"]["linear"]["psnr"] > 10.0

    def test_exact_predictions_are_null_in_json(self, tmp_path, capsys):
        still = phantom(slices=5)
        still.voxels[:] = still.voxels[0]
        assert medgs("evaluate", write_scan(tmp_path, still), *SMALL, "--json") == 0
        found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert found["methods"]["linear"]["psnr"] is None


class TestEvaluateLabels:
    @pytest.fixture
    def labels(self, tmp_path):
        """A disk that grows, on the grid of the scan."""
        rows, columns = np.indices((HEIGHT, WIDTH))
        apart = np.hypot(rows - HEIGHT / 2, columns - WIDTH / 2)
        voxels = np.stack([(apart < 4 + k) * np.uint8(3) for k in range(SLICES)])
        return write_scan(tmp_path, replace(phantom(), voxels=voxels), "labels.nii.gz")

    @pytest.mark.parametrize("alone", [True, False])
    def test_all_methods_stand_side_by_side(self, scan, labels, capsys, alone):
        assert medgs("evaluate", *([] if alone else [scan]), "--labels", labels, "--stride", "4", *SMALL) == 0
        said = capsys.readouterr().out
        assert "axis 0, every 4. given (3); means over 1 label(s) on the 6 held-out slices between" in said
        assert "HD95 (mm)" in said
        for method in LABEL_METHODS:
            assert re.search(rf"^ +{method} +0\.\d{{4}} +\d\.\d{{3}} +\d+ +\d+\.\d$", said, re.MULTILINE)

    def test_json_holds_slices_and_scores_of_every_label(self, labels, capsys):
        assert medgs("evaluate", "--labels", labels, "--stride", "4", *SMALL, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["axis"], found["stride"], found["unit"]) == (0, 4, "mm")
        assert (found["kept"], found["held_out"]) == ([0, 4, 8], [1, 2, 3, 5, 6, 7])
        assert (found["ids"], found["unseen"]) == ([3], [])
        assert set(found["methods"]) == set(LABEL_METHODS)
        for score in found["methods"].values():
            assert set(score) == {"dice", "hausdorff95", "missed", "seconds", "labels"}
            assert set(score["labels"]["3"]) == {"dice", "hausdorff95", "missed"}
        assert found["methods"]["medgs"]["dice"] > found["methods"]["nearest"]["dice"]

    def test_labels_that_no_method_can_know_are_named(self, labels, capsys):
        volume = read_volume(labels)
        volume.voxels[1, :2, :2] = 8
        write_volume(volume, labels)
        assert medgs("evaluate", "--labels", labels, *SMALL) == 0
        assert "no method can know them: 8\n" in capsys.readouterr().out


class TestInfo:
    def test_volume_is_described(self, scan, capsys):
        assert medgs("info", scan) == 0
        said = capsys.readouterr().out
        assert f"{SLICES} x {HEIGHT} x {WIDTH} uint16" in said
        assert f"{SLICES} along axis 0, evenly spaced" in said

    def test_volume_is_described_as_json(self, scan, capsys):
        assert medgs("info", scan, "--json", "--axis", "2") == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["shape"] == [SLICES, HEIGHT, WIDTH]
        assert (facts["dtype"], facts["axis"], facts["slices"]) == ("uint16", 2, WIDTH)
        np.testing.assert_allclose(facts["spacing"], (3.0, 0.8, 0.8), rtol=1e-6)
        np.testing.assert_allclose(facts["affine"], read_volume(scan).affine)

    def test_model_is_described(self, fitted, capsys):
        assert medgs("info", fitted / "scan.medgs") == 0
        said = capsys.readouterr().out
        model = load_model(fitted / "scan.medgs")
        assert "300 Gaussians, 1 channel(s), drift of degree 1, rule sum" in said
        assert f"linear {model.scores['linear']:.2f}" in said
        assert model_hash(model) in said
        assert "3 x 0.8 x 0.8 mm" in said
        assert "12 of 12" in said

    def test_model_is_described_as_json(self, fitted, capsys):
        assert medgs("info", fitted / "scan.medgs", "--json") == 0
        facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert facts["gaussians"] == {"count": 300, "degree": 1, "channels": 1}
        assert facts["sha256"] == model_hash(load_model(fitted / "scan.medgs"))


class TestDemo:
    def test_demo_fits_the_real_scan_and_pictures_it(self, tmp_path, capsys):
        folder = tmp_path / "new" / "folder"
        run_demo(folder, FitConfig(steps=8, gaussians=2000, device="cpu"), quiet=True)
        assert files_in(folder) == ["demo.medgs", "demo.png", "demo_fine.nii.gz", "demo_fine.nii.gz.json"]
        measured = np.asarray(nibabel.load(find_example()).dataobj[..., 0])
        fine = np.asarray(nibabel.load(folder / "demo_fine.nii.gz").dataobj)
        assert fine.shape == (128, 96, 93)
        np.testing.assert_array_equal(fine[..., ::4], measured)
        assert (folder / "demo.png").read_bytes().startswith(PNG_MAGIC)
        np.testing.assert_array_equal(load_model(folder / "demo.medgs").volume.voxels, measured)
        assert re.search(r"medgs +\d+\.\d\d", capsys.readouterr().out)

    def test_nibabel_without_its_scan_is_a_sentence(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(medgs_core.example, "SCAN_IN_NIBABEL", "no-such-file.nii.gz")
        assert medgs("demo", "-o", tmp_path / "demo") == 2
        assert re.search(r"is the MRI .* got none at .*; install nibabel", capsys.readouterr().err)
        assert files_in(tmp_path) == []

    def test_folder_that_cannot_be_made_is_refused(self, tmp_path, capsys):
        (tmp_path / "file").touch()
        assert medgs("demo", "-o", tmp_path / "file" / "demo") == 2
        assert re.search(r"must be a folder that can be made, got .*; choose", capsys.readouterr().err)


class TestExitCodes:
    @pytest.mark.parametrize("fault", [MemoryError("37 GiB"), RuntimeError("can't allocate memory: 37 GiB")])
    def test_too_little_memory_is_a_sentence_with_a_remedy(self, scan, monkeypatch, capsys, fault):
        self.raising(monkeypatch, fault)
        assert medgs("info", scan) == 1
        assert re.search(r"memory must hold .* \(.*37 GiB\); close other programs", capsys.readouterr().err)

    def test_too_little_memory_on_the_gpu_is_the_same(self, scan, monkeypatch, capsys):
        import torch

        self.raising(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
        assert medgs("info", scan) == 1
        assert "--device cpu" in capsys.readouterr().err

    def test_fault_of_ours_is_a_sentence_that_tells_how_to_see_more(self, scan, monkeypatch, capsys):
        self.raising(monkeypatch, KeyError("lost"))
        assert medgs("info", scan) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert re.search(r"KeyError: 'lost'; .*MEDGS_DEBUG=1", said)

    @pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
    def test_output_that_nobody_takes_is_a_sentence(self, scan, monkeypatch, capsys, number):
        class Closed(io.StringIO):
            def write(self, text):
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(sys, "stdout", Closed())
        assert medgs("info", scan) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert re.search(r"printed must be taken .*, got (Broken pipe|No space left on device); print to", said)

    def test_characters_that_the_output_lacks_are_spelled_out(self, tmp_path, monkeypatch):
        printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", printed)
        scan = write_scan(tmp_path)
        assert fit(scan, tmp_path / "größe.medgs") == 0
        assert "gr\\xf6\\xdfe.medgs" in printed.buffer.getvalue().decode("ascii")

    @pytest.mark.parametrize("fault", [KeyError("lost"), ValueError("a rule")])
    def test_debugging_lets_tracebacks_through(self, scan, monkeypatch, fault):
        self.raising(monkeypatch, fault)
        monkeypatch.setenv("MEDGS_DEBUG", "1")
        with pytest.raises(type(fault)):
            medgs("info", scan)

    @staticmethod
    def raising(monkeypatch, fault):
        def run(args):
            raise fault

        monkeypatch.setattr(medgs_core.cli._info, "run", run)


class TestParser:
    def test_version_is_printed(self, capsys):
        assert medgs("--version") == 0
        assert re.fullmatch(r"medgs \d+\.\d+.*\n", capsys.readouterr().out)

    @pytest.mark.parametrize(
        "words", [["--help"], ["fit", "--help"], ["render", "--factor", "x"], ["fit", "a.nii"], ["--version"]]
    )
    def test_help_and_mistakes_load_nothing_heavy(self, words):
        assert loaded_in_process(*words) == []

    def test_describing_files_loads_nothing_heavy(self, fitted):
        assert loaded_in_process("info", fitted / "scan.nii.gz") == []
        assert loaded_in_process("info", fitted / "scan.medgs") == []

    def test_probe_sees_what_a_rendering_loads(self, fitted, tmp_path):
        words = ["render", fitted / "scan.medgs", "-o", tmp_path / "a.nii", "--quiet"]
        probe = f"{START.rsplit(';', 1)[0]}; main(sys.argv[1:]); print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", probe, *words], check=True, capture_output=True, text=True)
        assert done.stdout.strip() == "True"

    @pytest.mark.parametrize(
        ("command", "settings"),
        [
            ("fit", [FitConfig, ReadConfig]),
            ("evaluate", [EvaluateConfig, FitConfig, ReadConfig]),
            ("render", [RenderConfig]),
            ("surface", [SurfaceConfig]),
            ("info", [ReadConfig]),
        ],
    )
    def test_every_setting_is_an_option_with_its_help_and_default(self, capsys, command, settings):
        assert medgs(command, "--help") == 0
        said = " ".join(capsys.readouterr().out.split())
        for one in settings:
            for name, field in one.model_fields.items():
                assert f"--{name.replace('_', '-')}" in said
                assert " ".join(field.description.split()) in said, name
                if field.default not in (None, False, ()):
                    assert f"default: {field.default})" in said, name

    def test_settings_not_given_keep_their_defaults(self):
        assert chosen_settings(_parsed([]), RenderConfig) == RenderConfig()

    def test_settings_arrive_in_their_types(self):
        given = chosen_settings(_parsed(["--positions", "0,0.5,2", "--denoise", "--detail", "on"]), RenderConfig)
        assert given == RenderConfig(positions=(0.0, 0.5, 2.0), denoise=True, detail="on")

    def test_mistake_is_told_in_the_words_of_the_command_line(self):
        parser = argparse.ArgumentParser()
        add_settings(parser, ReadConfig)
        with pytest.raises(ValueError, match=r"^--voxel-size should be .*, got 'b'"):
            chosen_settings(parser.parse_args(["--voxel-size", "1,b,3"]), ReadConfig)

    def test_main_takes_the_arguments_of_the_process(self, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["medgs", "--version"])
        assert main() == 0
        assert capsys.readouterr().out.startswith("medgs ")


def _parsed(words):
    parser = argparse.ArgumentParser()
    add_settings(parser, RenderConfig)
    return parser.parse_args(words)


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestScreen:
    STATE = FitState("fitting all slices", step=3, total=10, loss=0.0125, seconds_left=61.2)

    def test_bar_shows_phase_steps_time_left_and_loss(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", _Terminal())
        with FitBar() as bar:
            bar.report(self.STATE)
            assert isinstance(bar, Progress)
        shown = sys.stderr.getvalue()
        assert re.search(r"fitting all slices.*30% .* 3/10, 1:02 left, loss 1\.25e-02", shown)

    def test_bar_shows_no_numbers_it_does_not_have(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", _Terminal())
        with FitBar() as bar:
            bar.report(FitState("comparing", step=0, total=10))
        assert "nan" not in sys.stderr.getvalue()

    @pytest.mark.parametrize(("stream", "quiet"), [(_Terminal, True), (io.StringIO, False)])
    def test_bar_is_silent_where_nobody_looks(self, monkeypatch, stream, quiet):
        monkeypatch.setattr(sys, "stderr", stream())
        with FitBar(quiet) as bar:
            bar.report(self.STATE)
        assert sys.stderr.getvalue() == ""

    def test_gains_have_signs_and_survive_infinities(self):
        inf = float("inf")
        assert [gain(31.0, 29.5), gain(29.0, 29.5), gain(inf, 30.0), gain(inf, inf)] == ["+1.50", "-0.50", "+inf", "-"]

    def test_json_has_null_for_what_it_cannot_hold(self):
        inf, nan = float("inf"), float("nan")
        text = strict_json({"a": [1.5, inf], "b": {"c": (nan, 2)}, "d": "x", "e": None, "f": True})
        assert json.loads(text, parse_constant=pytest.fail) == {
            "a": [1.5, None],
            "b": {"c": [None, 2]},
            "d": "x",
            "e": None,
            "f": True,
        }
