"""`medgs surface`: what it writes and says, and what it refuses."""

import json
import re

import numpy as np
import pytest
import trimesh

from medgs_core.cli import main
from medgs_core.model_file import load_model

from ._cli import SLICES, files_in, fit, medgs, write_scan
from ._shapes import Solids, ball, left_of

LEVEL = 800
"""Between the body of the phantom and what is around it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model, made once."""
    folder = tmp_path_factory.mktemp("fitted")
    assert fit(write_scan(folder), folder / "scan.medgs", "--quiet") == 0
    return folder / "scan.medgs"


@pytest.fixture
def labels(model, monkeypatch):
    """A label head for the model: two that win somewhere, and one that does not."""
    fitted = load_model(model)
    fields = {1: ball((12.0, 9.0, 8.0), 5.0), 3: lambda z, y, x: x - 14.0, 7: left_of(-9.0)}
    head = Solids(fitted.volume, fields, fitted.axis)
    monkeypatch.setattr("medgs_core.surface.label_fields", lambda model, *_: head)
    return head


def sentence(capsys, code):
    """Return the one sentence that a refused command line gave."""
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


class TestOutput:
    @pytest.mark.parametrize("ending", ["ply", "stl", "obj", "glb"])
    def test_closed_mesh_is_written_in_each_format(self, model, tmp_path, ending):
        output = tmp_path / f"a.{ending}"
        assert medgs("surface", model, "-o", output, "--level", LEVEL, "--spacing", 3, "--quiet") == 0
        assert files_in(tmp_path) == [f"a.{ending}"]
        mesh = trimesh.load(output, force="mesh")
        assert mesh.is_watertight
        assert mesh.volume > 0

    def test_measures_are_printed_with_their_units(self, model, tmp_path, capsys):
        assert medgs("surface", model, "-o", tmp_path / "a.ply", "--level", LEVEL) == 0
        said = capsys.readouterr().out
        assert f"wrote {tmp_path / 'a.ply'}: 1 surface(s)" in said
        assert re.search(r"surface of +level 800\n", said)
        assert re.search(r"area +[\d.e+]+ mm\^2\n", said)
        assert re.search(r"volume +[\d.e+]+ mm\^3\n", said)
        assert re.search(r"surface centroid +([-\d.]+, ){2}[-\d.]+ mm\n", said)
        assert re.search(r"volume centroid +([-\d.]+, ){2}[-\d.]+ mm\n", said)
        assert re.search(r"watertight +yes\n", said)
        assert re.search(r"genus +\d+\n", said)
        assert re.search(r"mesh +[\d,]+ vertices, [\d,]+ faces\n", said)

    def test_json_is_one_object_with_what_was_written(self, model, tmp_path, capsys):
        output = tmp_path / "a.ply"
        assert medgs("surface", model, "-o", output, "--level", LEVEL, "--faces", 500, "--smooth", 3, "--json") == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["file"], facts["unit"], facts["labels_without_surface"]) == (str(output), "mm", [])
        (surface,) = facts["surfaces"]
        mesh = trimesh.load(output)
        assert (surface["label"], surface["level"], surface["watertight"]) == (None, LEVEL, True)
        assert surface["faces"] == len(mesh.faces) <= 500
        assert surface["area"] == pytest.approx(mesh.area)
        assert surface["volume"] == pytest.approx(mesh.volume)
        np.testing.assert_allclose(surface["volume_centroid"], mesh.center_mass, rtol=1e-6)

    def test_quiet_prints_nothing_but_json(self, model, tmp_path, capsys):
        words = ["surface", model, "-o", tmp_path / "a.ply", "--level", LEVEL, "--spacing", 3, "--quiet"]
        assert medgs(*words) == 0
        assert capsys.readouterr() == ("", "")
        assert medgs(*words, "--json") == 0
        assert json.loads(capsys.readouterr().out)["surfaces"]

    def test_one_label_is_chosen(self, labels, model, tmp_path, capsys):
        assert medgs("surface", model, "-o", tmp_path / "a.ply", "--label", 1, "--json") == 0
        (surface,) = json.loads(capsys.readouterr().out)["surfaces"]
        assert surface["label"] == 1
        assert surface["volume"] == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.05)

    def test_all_labels_go_into_one_file_by_name(self, labels, model, tmp_path, capsys):
        assert medgs("surface", model, "-o", tmp_path / "a.glb", "--all-labels") == 0
        said = capsys.readouterr().out
        assert "2 surface(s)" in said
        assert "labels without a surface, as they win nowhere: 7" in said
        assert sorted(trimesh.load(tmp_path / "a.glb").geometry) == ["label_1", "label_3"]
        assert len(labels.calls) == len(set(labels.calls)) >= SLICES

    def test_labels_without_a_surface_are_in_the_json(self, labels, model, tmp_path, capsys):
        assert medgs("surface", model, "-o", tmp_path / "a.ply", "--all-labels", "--json") == 0
        facts = json.loads(capsys.readouterr().out)
        assert [surface["label"] for surface in facts["surfaces"]] == [1, 3]
        assert facts["labels_without_surface"] == [7]


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ((), r"needs one of --label, --all-labels and --level, got none of them; give exactly one\.$"),
            (("--label", "1", "--all-labels"), r"got --label 1 and --all-labels; give exactly one\.$"),
            (("--all-labels", "--level", "5"), r"got --all-labels and --level 5; give exactly one\.$"),
            (("--label", "1", "--level", "5"), r"label and level exclude one another, got label 1 and level 5; give"),
            (("--label", "x"), r"--label should be a whole number, got 'x'; "),
            (("--level", "nan"), r"--level should be a finite number, got 'nan'; "),
            (("--level", "5", "--spacing", "0"), r"--spacing should be greater than 0, got '0'; "),
            (("--level", "5", "--smooth", "-1"), r"--smooth should be at least 0, got '-1'; "),
            (("--level", "5", "--faces", "3"), r"--faces should be at least 4, got '3'; "),
            (("--level", "1e6"), r"level should lie between \d+ and \d+, the range of the data, got 1e\+06; choose"),
            (("--level", "800", "--channel", "2"), r"channel should be at most 0, the last one, got 2; correct it$"),
            (("--level", "800", "--spacing", "1e-6"), r"spacing must give at most .* points, got .*; take a larger"),
            (("--label", "1"), r"Labels need a model .*, got one without; fit it again with labels\.$"),
            (("--all-labels",), r"Labels need a model .*, got one without; fit it again with labels\.$"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_bad_wish_is_refused_in_one_sentence_and_nothing_written(self, model, tmp_path, capsys, options, said):
        code = medgs("surface", model, "-o", tmp_path / "a.ply", *options)
        assert re.search(said, sentence(capsys, code))
        assert files_in(tmp_path) == []

    def test_label_that_is_not_there_is_refused_with_those_that_are(self, labels, model, tmp_path, capsys):
        code = medgs("surface", model, "-o", tmp_path / "a.ply", "--label", 2)
        assert re.search(r"label should be one of 1, 3, 7, got 2; choose one of these$", sentence(capsys, code))

    def test_label_that_wins_nowhere_is_refused(self, labels, model, tmp_path, capsys):
        code = medgs("surface", model, "-o", tmp_path / "a.ply", "--label", 7)
        assert re.search(r"needs a label that wins somewhere, got 7, which never does; ", sentence(capsys, code))
        assert files_in(tmp_path) == []

    @pytest.mark.parametrize("name", ["a.vtk", "a.nii", "a"])
    def test_unknown_ending_is_refused_before_the_model_is_read(self, tmp_path, capsys, name):
        code = medgs("surface", tmp_path / "no.medgs", "-o", tmp_path / name, "--level", 5)
        assert re.search(rf"must end in \.ply, \.stl, \.obj or \.glb, got '.*{name}'; change", sentence(capsys, code))

    def test_missing_folder_is_refused_before_the_model_is_read(self, tmp_path, capsys):
        code = medgs("surface", tmp_path / "no.medgs", "-o", tmp_path / "no" / "a.ply", "--level", 5)
        assert re.search(r"output folder must exist, got '.*no'; create it first", sentence(capsys, code))

    def test_missing_model_is_refused(self, tmp_path, capsys):
        code = medgs("surface", tmp_path / "no.medgs", "-o", tmp_path / "a.ply", "--level", 5)
        assert re.search(r"must be an existing file, got '.*no\.medgs'; check", sentence(capsys, code))

    def test_output_is_needed(self, model, capsys):
        assert main(["surface", str(model), "--level", "5"]) == 2
        assert "-o/--output" in capsys.readouterr().err

    def test_older_file_stays_when_writing_fails(self, model, tmp_path, capsys, monkeypatch):
        (tmp_path / "a.ply").write_bytes(b"older")

        def full(number):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        code = medgs("surface", model, "-o", tmp_path / "a.ply", "--level", LEVEL, "--spacing", 3, "--quiet")
        assert re.search(r"must be writable, got '.*a\.ply' \(No space .*\); make room", sentence(capsys, code))
        assert files_in(tmp_path) == ["a.ply"]
        assert (tmp_path / "a.ply").read_bytes() == b"older"
