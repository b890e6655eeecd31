"""Labels from the command line: fitted with an image and alone, rendered, measured, and told about."""

import json
import re
import signal

import nibabel
import numpy as np
import pytest
import tifffile
import trimesh

from medgs_core.cli import main
from medgs_core.formats import read_volume, write_volume
from medgs_core.model_file import load_model
from medgs_core.overlap import dice

from ._annotations import HEIGHT, WIDTH
from ._cli import files_in, medgs
from ._labeled import ANNOTATED, IDS, SLICES, drawn, moving_scan, truth_at

QUICK = ("--preset", "fast", "--steps", 18, "--gaussians", 900, "--device", "cpu", "--compositing", "sum")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scan, labels on some of its slices and on all, and the models of both."""
    folder = tmp_path_factory.mktemp("labels")
    write_volume(moving_scan(), folder / "scan.nii.gz")
    write_volume(drawn(dtype=np.int16), folder / "sparse.nii.gz")
    write_volume(drawn(range(SLICES), np.uint16, (7, 4000)), folder / "dense.tif")
    words = [folder / "scan.nii.gz", "--labels", folder / "sparse.nii.gz", "-o", folder / "both.medgs", "--quiet"]
    assert medgs("fit", *words, *QUICK) == 0
    assert medgs("fit", "--labels", folder / "dense.tif", "-o", folder / "alone.medgs", "--quiet", *QUICK) == 0
    return folder


class TestFit:
    def test_both_heads_are_in_the_model(self, folder):
        model = load_model(folder / "both.medgs")
        assert model.has_image
        assert model.labels.annotation.ids == IDS
        assert model.labels.annotation.annotated == ANNOTATED
        np.testing.assert_array_equal(model.volume.voxels, moving_scan().voxels)

    def test_labels_need_no_image(self, folder):
        model = load_model(folder / "alone.medgs")
        assert not model.has_image
        assert model.labels.annotation.ids == (7, 4000)

    def test_which_slices_count_is_printed_with_what_was_learned(self, folder, tmp_path, capsys):
        words = [folder / "scan.nii.gz", "--labels", folder / "sparse.nii.gz", "-o", tmp_path / "a.medgs"]
        assert medgs("fit", *words, *QUICK) == 0
        said = capsys.readouterr().out
        assert re.search(r"^labels  2 \(3, 40\); labeled slices: 0, 4, 8$", said, re.MULTILINE)
        shares = re.search(
            r"carried between annotated slices: straight ([\d.]+), outline ([\d.]+), image ([\d.]+)", said
        )
        assert sum(float(share) for share in shares.groups()) == pytest.approx(1.0, abs=0.02)
        assert "mean PSNR" in said
        assert (tmp_path / "a.medgs").read_bytes() == (folder / "both.medgs").read_bytes()

    def test_without_an_image_it_says_so_and_prints_no_scores(self, folder, tmp_path, capsys):
        assert medgs("fit", "--labels", folder / "dense.tif", "-o", tmp_path / "a.medgs", *QUICK) == 0
        said = capsys.readouterr().out
        assert "labels  2 (7, 4000); labeled slices: all 9; no image: the fit is of their" in said
        assert "PSNR" not in said
        assert "image " not in said.split("carried between annotated slices")[1]

    def test_the_user_decides_which_slices_count(self, folder, tmp_path):
        words = [folder / "scan.nii.gz", "--labels", folder / "sparse.nii.gz", "-o", tmp_path / "a.medgs", "--quiet"]
        assert medgs("fit", *words, *QUICK, "--labeled-slices", "0,8") == 0
        assert load_model(tmp_path / "a.medgs").labels.annotation.annotated == (0, 8)

    def test_unlabeled_voxels_are_filled_in(self, folder, tmp_path):
        labels = drawn()
        labels.voxels[:, ::2] = 255
        write_volume(labels, tmp_path / "strokes.nii")
        words = [folder / "scan.nii.gz", "--labels", tmp_path / "strokes.nii", "-o", tmp_path / "a.medgs", "--quiet"]
        assert medgs("fit", *words, *QUICK, "--unlabeled-value", 255) == 0
        annotation = load_model(tmp_path / "a.medgs").labels.annotation
        assert annotation.ids == IDS
        assert not (annotation.plane(4) == 255).any()

    def test_a_volume_of_a_series_is_chosen_for_the_image_alone(self, folder, tmp_path):
        scan = nibabel.load(folder / "scan.nii.gz")
        voxels = np.stack([scan.get_fdata() + k for k in range(3)], axis=-1).astype(np.uint16)
        series = nibabel.Nifti1Image(voxels, scan.affine)
        series.header.set_xyzt_units("mm", "sec")
        nibabel.save(series, tmp_path / "series.nii.gz")
        words = [tmp_path / "series.nii.gz", "--volume", 2, "--labels", folder / "sparse.nii.gz"]
        assert medgs("fit", *words, "-o", tmp_path / "a.medgs", "--quiet", *QUICK) == 0
        model = load_model(tmp_path / "a.medgs")
        np.testing.assert_array_equal(model.volume.voxels, moving_scan().voxels + 2)
        assert model.labels.annotation.annotated == ANNOTATED

    def test_positions_in_a_file_hold_for_both(self, folder, tmp_path):
        (tmp_path / "z.txt").write_text("0\n1\n3\n4\n8\n9\n10\n14\n15\n")
        words = [folder / "scan.nii.gz", "--labels", folder / "sparse.nii.gz", "-o", tmp_path / "a.medgs", "--quiet"]
        assert medgs("fit", *words, *QUICK, "--slice-positions", tmp_path / "z.txt") == 0
        assert load_model(tmp_path / "a.medgs").labels.annotation.positions[4] == 8.0

    def test_one_interrupted_amid_its_labels_is_resumed_to_the_same_model(self, folder, tmp_path, monkeypatch, capsys):
        words = [folder / "scan.nii.gz", "--labels", folder / "sparse.nii.gz", "-o", tmp_path / "a.medgs", "--quiet"]

        def interrupt(bar, state):
            if state.phase == "fitting labels" and state.step == 3:
                signal.raise_signal(signal.SIGINT)

        with monkeypatch.context() as patch:
            patch.setattr("medgs_core.cli._fit.FitBar.report", interrupt)
            assert medgs("fit", *words, *QUICK) == 130
        assert "--resume to finish it" in capsys.readouterr().err
        assert files_in(tmp_path) == ["a.medgs", "a.medgs.state"]
        assert load_model(tmp_path / "a.medgs").labels is not None
        assert medgs("fit", *words, *QUICK, "--resume") == 0
        assert files_in(tmp_path) == ["a.medgs"]
        assert (tmp_path / "a.medgs").read_bytes() == (folder / "both.medgs").read_bytes()


class TestRender:
    @pytest.mark.parametrize("name", ["a.nii.gz", "a.tif"])
    @pytest.mark.parametrize(("model", "dtype", "ids"), [("both", np.int16, IDS), ("alone", np.uint16, (7, 4000))])
    def test_annotated_slices_are_exact_in_each_format(self, folder, tmp_path, model, dtype, ids, name):
        slices = ANNOTATED if model == "both" else range(SLICES)
        words = [folder / f"{model}.medgs", "--labels", "--factor", 2, "-o", tmp_path / name, "--quiet"]
        assert medgs("render", *words) == 0
        shown = read_volume(tmp_path / name).voxels
        assert shown.shape == (2 * SLICES - 1, HEIGHT, WIDTH)
        assert shown.dtype == dtype
        assert set(np.unique(shown)) == {0, *ids}
        for k in slices:
            np.testing.assert_array_equal(shown[2 * k], drawn(slices, dtype, ids).voxels[k])

    def test_labels_between_follow_the_image(self, folder, tmp_path):
        words = [folder / "both.medgs", "--labels", "-o", tmp_path / "a.nii", "--positions", "1,2,3", "--quiet"]
        assert medgs("render", *words) == 0
        shown = read_volume(tmp_path / "a.nii").voxels
        assert all(dice(shown[k - 1], truth_at(k), label=label) > 0.95 for k in (1, 2, 3) for label in IDS)

    @pytest.mark.parametrize("options", [("--spacing", 2.0), ("--isotropic",)], ids=str)
    def test_the_map_stands_where_the_image_does(self, folder, tmp_path, options):
        for name, more in (("image.nii", ()), ("labels.nii", ("--labels",))):
            words = [folder / "both.medgs", "-o", tmp_path / name, *options, *more, "--quiet"]
            assert medgs("render", *words) == 0
        image, labels = (nibabel.load(tmp_path / name) for name in ("image.nii", "labels.nii"))
        assert image.shape == labels.shape
        np.testing.assert_array_equal(image.affine, labels.affine)
        assert set(np.unique(np.asarray(labels.dataobj))) == {0, *IDS}

    def test_the_note_tells_which_slices_were_annotated(self, folder, tmp_path, capsys):
        assert medgs("render", folder / "both.medgs", "--labels", "-o", tmp_path / "a.nii", "--factor", 2) == 0
        assert "17 slices, 3 of them annotated" in capsys.readouterr().out
        note = json.loads((tmp_path / "a.nii.json").read_text())
        assert [entry["t"] for entry in note["slices"] if entry["measured"]] == list(ANNOTATED)
        assert note["options"]["labels"] is True

    def test_uncertainty_of_labels_is_a_probability(self, folder, tmp_path):
        words = [folder / "both.medgs", "--labels", "--factor", 2, "-o", tmp_path / "a.nii", "--quiet"]
        assert medgs("render", *words, "--uncertainty", tmp_path / "u.nii") == 0
        found = read_volume(tmp_path / "u.nii").voxels
        assert found.dtype == np.float32
        assert found.shape == (2 * SLICES - 1, HEIGHT, WIDTH)
        assert found.min() >= 0.5
        assert found.max() <= 1
        assert all((found[2 * k] == 1).all() for k in ANNOTATED)

    def test_without_source_the_gaussians_speak(self, folder, tmp_path):
        words = ["--labels", folder / "dense.tif", "-o", tmp_path / "small.medgs", "--no-source", "--quiet"]
        assert medgs("fit", *words, *QUICK) == 0
        words = [tmp_path / "small.medgs", "--labels", "-o", tmp_path / "a.tif", "--quiet"]
        assert medgs("render", *words, "--uncertainty", tmp_path / "u.tif") == 0
        shown, expected = (read_volume(path).voxels for path in (tmp_path / "a.tif", folder / "dense.tif"))
        assert dice(shown, expected, label=7) > 0.85
        note = json.loads((tmp_path / "a.tif.json").read_text())
        assert not any(entry["measured"] for entry in note["slices"])

    def test_what_an_image_viewer_reads_is_the_same(self, folder, tmp_path):
        assert medgs("render", folder / "alone.medgs", "--labels", "-o", tmp_path / "a.tif", "--quiet") == 0
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), tifffile.imread(folder / "dense.tif"))


class TestSurface:
    @pytest.mark.parametrize("model", ["both", "alone"])
    def test_of_one_label(self, folder, tmp_path, capsys, model):
        label = IDS[0] if model == "both" else 7
        words = [folder / f"{model}.medgs", "--label", label, "-o", tmp_path / "a.ply", "--json"]
        assert medgs("surface", *words) == 0
        (facts,) = json.loads(capsys.readouterr().out)["surfaces"]
        assert facts["label"] == label
        assert facts["watertight"]
        assert facts["components"] == 1
        # an oblique tube of radius 6 through nine slices of 3 mm, pixels of 0.8 mm
        assert facts["volume"] == pytest.approx(np.pi * (6 * 0.8) ** 2 * SLICES * 3.0, rel=0.05)
        assert trimesh.load(tmp_path / "a.ply").is_watertight

    def test_of_all_labels(self, folder, tmp_path, capsys):
        assert medgs("surface", folder / "both.medgs", "--all-labels", "-o", tmp_path / "a.glb", "--quiet") == 0
        assert sorted(trimesh.load(tmp_path / "a.glb").geometry) == ["label_3", "label_40"]
        assert files_in(tmp_path) == ["a.glb"]

    def test_a_level_of_the_image_stays_possible(self, folder, tmp_path):
        words = [folder / "both.medgs", "--level", 1500, "-o", tmp_path / "a.stl", "--spacing", 2, "--quiet"]
        assert medgs("surface", *words) == 0


class TestInfo:
    def test_tells_of_labels(self, folder, capsys):
        assert medgs("info", folder / "both.medgs") == 0
        said = capsys.readouterr().out
        assert re.search(r"labels +2 on 3 annotated slices, int16\n", said)
        assert "no image" not in said

    def test_tells_that_there_is_no_image(self, folder, capsys):
        assert medgs("info", folder / "alone.medgs") == 0
        said = capsys.readouterr().out
        assert re.search(r"volume .*: outlines of the labels, no image\n", said)
        assert re.search(r"labels +2 on 9 annotated slices, uint16\n", said)

    def test_json_has_the_facts(self, folder, capsys):
        assert medgs("info", folder / "both.medgs", "--json") == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["labels"]["ids"] == list(IDS)
        assert facts["labels"]["annotated"] == list(ANNOTATED)
        assert facts["has_image"] is True


@pytest.mark.parametrize("command", ["fit", "render", "surface"])
def test_help_names_the_options_of_labels(command, capsys):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    expected = {
        "fit": ["--labels LABELS", "--labeled-slices all|K,K,...", "--unlabeled-value N"],
        "render": ["--labels"],
    }
    for option in expected.get(command, ["--label N", "--all-labels"]):
        assert option in said
    if command == "surface":
        assert "--labels" not in said.replace("--all-labels", "")
