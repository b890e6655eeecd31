"""What users do wrong with labels: exit code 2, one sentence with the rule, the value and the remedy, no file left."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from medgs_core.formats import write_volume

from ._cli import files_in, medgs
from ._labeled import AFFINE, SLICES, drawn, moving_scan
from .test_cli_labels import QUICK


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scan and a map that belong together, and models of one, of the other, and of both."""
    folder = tmp_path_factory.mktemp("labels")
    write_volume(moving_scan(), folder / "scan.nii.gz")
    write_volume(drawn(), folder / "labels.nii.gz")
    scan, labels = [folder / "scan.nii.gz"], ["--labels", folder / "labels.nii.gz"]
    for name, words in {"bare": scan, "alone": labels, "both": scan + labels}.items():
        assert medgs("fit", *words, "-o", folder / f"{name}.medgs", "--quiet", *QUICK) == 0
    return folder


@pytest.fixture
def output(tmp_path):
    """A folder to write to."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def no_fit(monkeypatch):
    """Whatever is wrong must be said before a fit begins."""
    monkeypatch.setattr("medgs_core.fit.fit_model", lambda *_, **__: pytest.fail("the fit began"))


def sentence(capsys, code):
    """Return the one sentence that a refused command line gave."""
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert "Traceback" not in line
    assert "; " in line
    return line


def with_voxels(change):
    labels = drawn()
    return replace(labels, voxels=change(labels.voxels))


def negative(voxels):
    return np.where(voxels == 3, np.int16(-3), voxels.astype(np.int16))


def on_one_slice(voxels):
    return np.where(np.arange(SLICES)[:, np.newaxis, np.newaxis] == 4, voxels, 0).astype(np.uint8)


SHIFTED = AFFINE + np.eye(4, k=3) * 1.5
BAD_MAPS = {
    "shape": (
        lambda: with_voxels(lambda voxels: voxels[:, 2:]),
        r"Labels must be on the grid of their image, got shapes \(9, 40, 56\) and \(9, 38, 56\) of the image and the "
        r"labels; resample one onto the other first\.$",
    ),
    "affine": (
        lambda: drawn(affine=SHIFTED),
        r"Labels must be on the grid of their image, got affines \[\[.*\]\] and \[\[.*\]\] of the image and the "
        r"labels, which are up to 1\.5 mm apart; resample",
    ),
    "fractions": (
        lambda: with_voxels(lambda voxels: voxels.astype(np.float32) / 2),
        r"Labels must be whole numbers, got 1\.5; give a map of ids, resampled by nearest neighbor\.$",
    ),
    "negative": (lambda: with_voxels(negative), r"Labels must not be negative, got -3; renumber them, or name it"),
    "empty": (
        lambda: with_voxels(np.zeros_like),
        r"Labels must mark at least two slices, got an empty map; paint a structure on some\.$",
    ),
    "one slice": (
        lambda: with_voxels(on_one_slice),
        r"Labels need at least 2 annotated slices, got 1, slice 4; paint one more, or name all slices as labeled",
    ),
}


@pytest.mark.parametrize("what", BAD_MAPS)
def test_bad_map_is_refused_before_the_fit(folder, output, capsys, no_fit, what):
    make, said = BAD_MAPS[what]
    write_volume(make(), output.parent / "bad.nii.gz")
    words = [folder / "scan.nii.gz", "--labels", output.parent / "bad.nii.gz", "-o", output / "a.medgs", *QUICK]
    assert re.search(said, sentence(capsys, medgs("fit", *words)))
    assert files_in(output) == []


@pytest.mark.parametrize("what", ["fractions", "negative", "empty"])
def test_bad_map_alone_is_refused_before_the_fit(output, capsys, no_fit, what):
    make, said = BAD_MAPS[what]
    write_volume(make(), output.parent / "bad.nii.gz")
    words = ["--labels", output.parent / "bad.nii.gz", "-o", output / "a.medgs", *QUICK]
    assert re.search(said, sentence(capsys, medgs("fit", *words)))
    assert files_in(output) == []


@pytest.mark.parametrize("with_image", [True, False])
def test_several_channels_are_refused(folder, output, capsys, no_fit, with_image):
    path = output.parent / "rgb.tif"
    tifffile.imwrite(path, np.zeros((SLICES, 40, 56, 3), np.uint8), photometric="rgb", metadata={"axes": "ZYXS"})
    image = [folder / "scan.nii.gz"] if with_image else []
    code = medgs("fit", *image, "--labels", path, "-o", output / "a.medgs", *QUICK)
    assert re.search(r"Labels must have one channel, got 3; write one map with a number for", sentence(capsys, code))
    assert files_in(output) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--labeled-slices", "0,9"), r"must be named once each, by their numbers from 0, got 9 for 9 slices; correct"),
        (("--labeled-slices", "0,4,4"), r"must be named once each, .*, got 4 twice; correct the list\.$"),
        (("--labeled-slices", "4"), r"need at least 2 annotated slices, got 1, slice 4; "),
        (("--labeled-slices", "1,2"), r"must hold a label other than background, got none on 1, 2; paint"),
        (("--labeled-slices", "-1,4"), r"--labeled-slices should be at least 0, got '-1'; "),
        (("--labeled-slices", "some"), r"--labeled-slices should be .*, got 'some'; "),
        (("--labeled-slices", "0,4,8", "--skip", "4"), r"must not be skipped, got slice 4 as both; leave it out"),
        (("--unlabeled-value", "x"), r"--unlabeled-value should be a whole number, got 'x'; "),
        (("--unlabeled-value", "0", "--labeled-slices", "0,1"), r"must hold labels, got slice 1, all unlabeled; leave"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_choice_of_slices_is_refused_before_the_fit(folder, output, capsys, no_fit, options, said):
    words = [folder / "scan.nii.gz", "--labels", folder / "labels.nii.gz", "-o", output / "a.medgs", *QUICK]
    # an argument that begins with a minus must stand behind an equals sign
    joined = [f"{options[0]}={options[1]}", *options[2:]]
    assert re.search(said, sentence(capsys, medgs("fit", *words, *joined)))
    assert files_in(output) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), r"A volume must be given: IN, --labels LABELS or both, got neither; name a file\.$"),
        (
            ("--labels", "MAP", "--with", "SCAN"),
            r"--with names images beside IN, got '.*scan\.nii\.gz' without IN; give it",
        ),
        (("--labels", "no.nii.gz"), r"must be an existing file, got 'no\.nii\.gz'; check the path\.$"),
        (("SCAN", "--labels", "no.nii.gz"), r"must be an existing file, got 'no\.nii\.gz'; check the path\.$"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_missing_files_are_refused(folder, output, capsys, no_fit, words, said):
    places = {"MAP": folder / "labels.nii.gz", "SCAN": folder / "scan.nii.gz"}
    code = medgs("fit", *(places.get(word, word) for word in words), "-o", output / "a.medgs")
    assert re.search(said, sentence(capsys, code))
    assert files_in(output) == []


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("bare", ("--labels",), r"Labels need a model that was fitted with a label map, got one without; fit it ag"),
        ("alone", (), r"Images need a model that was fitted to one, got one of labels alone; ask for its labels\.$"),
        ("alone", ("--uncertainty", "U"), r"Images need a model that was fitted to one, got one of labels alone; "),
        ("both", ("--labels", "--with", "U"), r"an image in the model for every file, got 2 files for 1; leave out"),
        ("both", ("--labels", "--positions", "0,9"), r"between the first and the last slice .*, got 9; choose"),
        ("both", ("--labels", "--positions", "0,1,3"), r"evenly spaced, got --positions with gaps .*; give --spacing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_rendering_what_is_not_there_is_refused(folder, output, capsys, model, options, said):
    words = [output / "u.nii" if word == "U" else word for word in options]
    code = medgs("render", folder / f"{model}.medgs", "-o", output / "a.nii", *words)
    assert re.search(said, sentence(capsys, code))
    assert files_in(output) == []


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("both", ("--label", "4"), r"label should be one of 3, 40, got 4; choose one of these$"),
        ("bare", ("--label", "3"), r"Labels need a model that was fitted with a label map, got one without; "),
        ("bare", ("--all-labels",), r"Labels need a model that was fitted with a label map, got one without; "),
        ("both", ("--level", "1e5"), r"level should lie between \d+ and \d+, the range of the data, got 1.*; choose"),
        ("alone", ("--level", "100"), r"Images need a model that was fitted to one, got one of labels alone; "),
        ("alone", ("--level", "1e5"), r"Images need a model that was fitted to one, got one of labels alone; "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_surface_of_what_is_not_there_is_refused(folder, output, capsys, model, options, said):
    code = medgs("surface", folder / f"{model}.medgs", "-o", output / "a.ply", *options)
    assert re.search(said, sentence(capsys, code))
    assert files_in(output) == []


def test_empty_surface_is_refused(folder, output, capsys):
    # a structure of one pixel is passed by where only the corners of the slices are looked at
    labels = drawn(range(SLICES))
    labels.voxels[4, labels.voxels.shape[1] // 2, labels.voxels.shape[2] // 2 + 1] = 99
    write_volume(labels, output.parent / "dot.nii.gz")
    words = ["--labels", output.parent / "dot.nii.gz", "-o", output.parent / "dot.medgs", "--quiet"]
    assert medgs("fit", *words, *QUICK) == 0
    code = medgs(
        "surface", output.parent / "dot.medgs", "-o", output / "a.ply", "--label", 99, "--spacing", 1000, "--quiet"
    )
    assert re.search(r"needs a label that wins somewhere, got 99, which never does; choose", sentence(capsys, code))
    assert files_in(output) == []


@pytest.mark.parametrize("name", ["a.vtk", "a"])
def test_unknown_mesh_ending_is_refused(folder, output, capsys, name):
    code = medgs("surface", folder / "both.medgs", "-o", output / name, "--label", 3)
    assert re.search(rf"must end in \.ply, \.stl, \.obj or \.glb, got '.*{name}'; change", sentence(capsys, code))
    assert files_in(output) == []
