"""What users do wrong: exit code 2, one sentence with the rule, the value and the remedy, and no file left behind."""

import errno
import gzip
import logging
import re
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from ._cli import SMALL, files_in, fit, medgs, phantom, write_scan

RNG_SEED = 0
SPACING_OFFSET = 76 + 4  # bytes into a NIfTI-1 header: pixdim[1]
QFORM_CODE_OFFSET, SFORM_CODE_OFFSET, SFORM_OFFSET = 252, 254, 280


@pytest.fixture
def source(tmp_path):
    """A folder to read from."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path):
    """A folder to write to."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def no_fit(monkeypatch):
    """Whatever is wrong must be said before a fit begins."""

    def begun(*_, **__):
        pytest.fail("the fit began")

    for module in ("evaluate", "label_evaluation", "fit"):  # the last one last: the others must import the real one
        monkeypatch.setattr(f"medgs_core.{module}.fit_model", begun)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model and its scan, made once."""
    folder = tmp_path_factory.mktemp("fitted")
    assert fit(write_scan(folder), folder / "scan.medgs", "--quiet") == 0
    return folder / "scan.medgs"


def sentence(capsys, code, *, usage=False):
    """Return the one sentence that a refused command line gave."""
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    *before, last = said.err.splitlines()
    assert bool(before) == usage
    assert all(line.startswith(("usage: ", " ")) for line in before)
    return last


def random_voxels(shape, dtype=np.int16):
    return np.random.default_rng(RNG_SEED).integers(0, 1000, shape).astype(dtype)


def nifti(folder, voxels, name="bad.nii"):
    """Return the path of a NIfTI file with slices 3 mm apart along its last axis."""
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])), folder / name)
    return folder / name


def with_bytes(path, **changes):
    """Overwrite parts of a file: nibabel would mend what is to be wrong."""
    content = bytearray(path.read_bytes())
    for place, value in changes.values():
        raw = np.asarray(value).tobytes()
        content[place : place + len(raw)] = raw
    path.write_bytes(content)
    return path


def missing(folder):
    return folder / "missing.nii.gz"


def directory(folder):
    return folder


def dicom_folder(folder):
    (folder / "0001.dcm").write_bytes(bytes(200))
    return folder


def empty(folder):
    (folder / "empty.nii.gz").touch()
    return folder / "empty.nii.gz"


def no_image_in_nifti(folder):
    (folder / "text.nii").write_text("This is no image. " * 100)
    return folder / "text.nii"


def no_image_in_gzip(folder):
    (folder / "text.nii.gz").write_text("This is no image. " * 100)
    return folder / "text.nii.gz"


def no_image_in_tiff(folder):
    (folder / "text.tif").write_text("This is no image. " * 100)
    return folder / "text.tif"


def foreign_ending(folder):
    (folder / "picture.png").write_bytes(b"\x89PNG" + bytes(50))
    return folder / "picture.png"


def flat_nifti(folder):
    return nifti(folder, random_voxels((20, 20)))


def flat_tiff(folder):
    tifffile.imwrite(folder / "flat.tif", random_voxels((20, 20)))
    return folder / "flat.tif"


def five_dimensions(folder):
    return nifti(folder, random_voxels((8, 8, 5, 2, 3)))


def six_dimensions(folder):
    return nifti(folder, random_voxels((8, 8, 5, 1, 2, 2)))


def series(folder):
    return nifti(folder, random_voxels((8, 8, 5, 2)))


def no_voxels(folder):
    return nifti(folder, np.empty((8, 0, 5), np.int16))


def not_finite(folder):
    voxels = random_voxels((8, 8, 5), np.float32)
    voxels[1, 2, 3], voxels[4, 5, 1] = np.nan, np.inf
    return nifti(folder, voxels)


def complex_voxels(folder):
    return nifti(folder, random_voxels((8, 8, 5), np.complex64))


def no_spacing(folder):
    return with_bytes(
        nifti(folder, random_voxels((8, 8, 5))),
        spacing=(SPACING_OFFSET, np.float32([1.0, 1.0, 0.0])),
        codes=(QFORM_CODE_OFFSET, np.int16([1, 0])),
    )


def negative_spacing(folder):
    return with_bytes(
        nifti(folder, random_voxels((8, 8, 5))),
        spacing=(SPACING_OFFSET, np.float32([1.0, -2.0, 3.0])),
        codes=(QFORM_CODE_OFFSET, np.int16([1, 0])),
    )


def no_spacing_in_affine(folder):
    rows = np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    return with_bytes(nifti(folder, random_voxels((8, 8, 5))), sform=(SFORM_OFFSET, rows))


def singular_affine(folder):
    rows = np.float32([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    return with_bytes(nifti(folder, random_voxels((8, 8, 5))), sform=(SFORM_OFFSET, rows))


def truncated_nifti(folder):
    path = nifti(folder, random_voxels((8, 8, 5)))
    path.write_bytes(path.read_bytes()[:-100])
    return path


def truncated_gzip(folder):
    path = write_scan(folder, name="cut.nii.gz")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def truncated_tiff(folder):
    path = write_scan(folder, name="cut.tif")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def one_slice(folder):
    return nifti(folder, random_voxels((20, 20, 1)))


BAD_FILES = [
    (missing, r"must be an existing file, got '.*missing\.nii\.gz'; check the path"),
    (directory, r"must be a file, got the folder '.*in'; name a file inside"),
    (dicom_folder, r"must be one file, got the DICOM folder '.*in'; convert .* dcm2niix"),
    (empty, r"must hold a volume, got the empty file '.*empty\.nii\.gz'; copy or export"),
    (no_image_in_nifti, r"must be a complete NIfTI file, got '.*text\.nii', .*; copy or export"),
    (no_image_in_gzip, r"must be a complete NIfTI file, got '.*text\.nii\.gz', .*; copy or export"),
    (no_image_in_tiff, r"must be a complete TIFF file, got '.*text\.tif', .*; copy or export"),
    (foreign_ending, r"must end in \.nii, .*, got '.*picture\.png'; convert"),
    (flat_nifti, r"must have 3 dimensions, .*, got shape \(20, 20\); stack"),
    (flat_tiff, r"must be a stack of slices, got '.*flat\.tif', one 2-D image; stack"),
    (five_dimensions, r"must be chosen from a series, got '.*bad\.nii' with 2 volumes; choose .* --volume"),
    (six_dimensions, r"must have 3 dimensions, .*, got shape \(8, 8, 5, 1, 2, 2\); .* choose"),
    (series, r"must be chosen from a series, got '.*bad\.nii' with 2 volumes; choose .* --volume"),
    (no_voxels, r"must hold at least one voxel, got shape \(8, 0, 5\); export"),
    (not_finite, r"must be finite, got 2 of 320 that are NaN or infinite; replace"),
    (complex_voxels, r"must be integers or real numbers, got complex64; convert"),
    (no_spacing, r"must be positive, got \(1\.0, 1\.0, 0\.0\) .*; correct the file's header"),
    (negative_spacing, r"must be positive, got \(1\.0, -2\.0, 3\.0\) .*; correct the file's header"),
    (no_spacing_in_affine, r"must be positive .*, got spacing \(1\.0, 1\.0, 0\.0\); correct"),
    (singular_affine, r"must be invertible, got .*; correct the file's header"),
    (truncated_nifti, r"must be a complete NIfTI file, got '.*bad\.nii', .*; copy or export"),
    (truncated_gzip, r"must be a complete NIfTI file, got '.*cut\.nii\.gz', .*; copy or export"),
    (truncated_tiff, r"must be a complete TIFF file, got '.*cut\.tif', .*; copy or export"),
]


@pytest.mark.parametrize(("make", "said"), BAD_FILES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("command", ["fit", "evaluate", "info"])
def test_bad_volume_is_refused_in_one_sentence(source, output, capsys, no_fit, make, said, command):
    options = {"fit": ["-o", output / "a.medgs"]}
    code = medgs(command, make(source), *options.get(command, []))
    assert re.search(said, sentence(capsys, code))
    assert files_in(output) == []


@pytest.mark.parametrize("make", [flat_tiff, no_spacing, negative_spacing], ids=lambda make: make.__name__)
def test_no_warning_stands_beside_the_sentence(source, capsys, monkeypatch, make):
    monkeypatch.setattr(logging.root, "handlers", [])  # those of pytest would take what users see on their terminal
    sentence(capsys, medgs("info", make(source)))


@pytest.mark.parametrize("look", ["exists", "is_dir"])
def test_path_in_a_closed_folder_is_refused(source, model, capsys, monkeypatch, look):
    scan = write_scan(source)

    def refuse(self, **_):  # permission bits would not stop root
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, look, refuse)
    files = {"exists": [scan, model], "is_dir": [scan]}[look]
    for path in files:
        said = sentence(capsys, medgs("info", path))
        assert re.search(r"must be readable, got '.*' \(Permission denied\); change", said)
    if look == "is_dir":
        said = sentence(capsys, medgs("fit", scan, "-o", source / "a.medgs"))
        assert re.search(r"must be writable, got '.*a\.medgs' \(Permission denied\); .*choose", said)


def test_too_long_name_is_refused(source, output, model, capsys, no_fit):
    name = 300 * "a"
    for argv in (("info", f"{name}.nii"), ("info", f"{name}.medgs")):
        assert re.search(r"must be (readable|an existing file), got 'a+\.", sentence(capsys, medgs(*argv)))
    for argv in (
        ("fit", write_scan(source), "-o", output / f"{name}.medgs"),
        ("render", model, "-o", output / f"{name}.nii"),
    ):
        assert re.search(r"must be writable, got '.*' \(File name too long\)", sentence(capsys, medgs(*argv)))
    assert files_in(output) == []


BAD_OPTIONS = [
    (("--gaussians", "-1"), r"--gaussians should be at least 1, got '-1'; "),
    (("--gaussians", "0"), r"--gaussians should be at least 1, got '0'; "),
    (("--steps", "0"), r"--steps should be at least 1, got '0'; "),
    (("--steps", "many"), r"--steps should be a whole number, got 'many'; "),
    (("--axis", "7"), r"--axis should be 'auto', '0', '1' or '2', got '7'; "),
    (("--seed", "-1"), r"--seed should be at least 0, got '-1'; "),
    (("--preset", "best"), r"--preset should be 'fast', 'balanced' or 'quality', got 'best'; "),
    (("--compositing", "max"), r"--compositing should be 'auto', 'sum' or 'alpha', got 'max'; "),
    (("--device", "tpu"), r"--device should be 'auto', 'cpu' or 'cuda', got 'tpu'; "),
    (("--drift-degree", "4"), r"--drift-degree should be at most 3, got '4'; "),
    (("--volume", "-1"), r"--volume should be at least 0, got '-1'; "),
    (("--volume", "every"), r"--volume should be a whole number, got 'every'; "),
    (("--volume", "3"), r"must be from 0 to 0, got 3 for '.*'; choose"),
    (("--voxel-size", "1,2"), r"--voxel-size should be longer, got \('1', '2'\); "),
    (("--voxel-size", "1,1,1"), r"for TIFF and OME-Zarr only, got \(1\.0, 1\.0, 1\.0\) .*; correct"),
    (("--hide", "5"), r"hide should be at most 4 for 9 slices, .*, got 5; hide fewer"),
    (("--slice-positions", "no.txt"), r"--slice-positions must name .*, got 'no\.txt' .*; check the path"),
    (("--resume",), r"--resume needs .*, got none at '.*a\.medgs\.state'; fit without --resume"),
]


@pytest.mark.parametrize(("options", "said"), BAD_OPTIONS, ids=lambda value: " ".join(value) if value else "")
def test_bad_setting_of_a_fit_is_refused_before_it_begins(source, output, capsys, no_fit, options, said):
    code = medgs("fit", write_scan(source), "-o", output / "a.medgs", *options)
    assert re.search(said, sentence(capsys, code))
    assert files_in(output) == []


def test_cuda_without_cuda_is_refused_before_the_fit(source, output, capsys, no_fit, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code = medgs("fit", write_scan(source), "-o", output / "a.medgs", "--device", "cuda")
    assert re.search(r"device cuda needs .*, got a torch .*: install .*, or choose", sentence(capsys, code))
    assert medgs("evaluate", write_scan(source), "--device", "cuda") == 2
    assert files_in(output) == []


def test_one_slice_is_too_few(source, output, capsys, no_fit):
    code = medgs("fit", one_slice(source), "-o", output / "a.medgs")
    assert re.search(r"at least 2 slices .*, got 1 along axis 2 .*; choose another axis", sentence(capsys, code))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("0\n1\n2\n", r"one position (per slice|for each).*, got 3 .*; correct"),
        ("\n".join("012345789"[::-1]), r"must increase, got 9.* and then 8.*; sort"),
        ("\n".join("01234567x"), r"one number per line, got 'x' in line 9 of '.*z\.txt'; correct the line"),
        ("\n".join(["nan", *"12345678"]), r"must be finite, got nan for slice 0; correct"),
    ],
)
def test_bad_slice_positions_are_refused(source, output, capsys, no_fit, lines, said):
    (source / "z.txt").write_text(lines)
    scan = write_scan(source)
    code = medgs("fit", scan, "-o", output / "a.medgs", "--slice-positions", source / "z.txt")
    assert re.search(said, sentence(capsys, code))
    assert files_in(output) == []


def test_binary_file_of_positions_is_refused(source, output, capsys, no_fit):
    (source / "z.txt").write_bytes(b"\xff\xfe\x00\x81")
    code = medgs("fit", write_scan(source), "-o", output / "a.medgs", "--slice-positions", source / "z.txt")
    assert "it is not text" in sentence(capsys, code)


def test_stride_that_leaves_one_slice_is_refused(source, capsys, no_fit):
    code = medgs("evaluate", write_scan(source), "--stride", "9")
    assert re.search(r"stride must leave .* of the 9 slices .*, got 9; choose", sentence(capsys, code))
    code = medgs("evaluate", write_scan(source), "--stride", "1")
    assert re.search(r"--stride should be at least 2, got '1'; ", sentence(capsys, code))


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "IN"),
        ("render", "MODEL"),
        ("fit", "IN", "-o"),
        ("fit", "IN", "-o", "OUT", "--gaussian", "5"),
        ("fit", "IN", "-o", "OUT", "--label", "x"),
        ("fit", "IN", "-o", "OUT", "--labels"),
        ("evaluate", "IN", "-o", "OUT"),
        ("segment", "IN"),
        (),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_with_the_usage(source, output, capsys, words):
    places = {"IN": write_scan(source), "OUT": output / "a.medgs", "MODEL": "a.medgs"}
    said = sentence(capsys, medgs(*(places.get(word, word) for word in words)), usage=True)
    assert re.search(r"(required|expected|unrecognized|invalid).*; see medgs.* --help", said)
    assert files_in(output) == []


def labels_of(voxels, like=None):
    """Return labels on the grid of the scan."""
    like = like or phantom()
    return replace(like, voxels=np.broadcast_to(voxels, like.voxels.shape).copy())


@pytest.mark.parametrize(
    ("voxels", "options", "said"),
    [
        (np.uint8(0), (), r"must hold a label other than background, got none on 0-8; paint"),
        (np.float32(0.5), (), r"must be whole numbers, got 0\.5; give a map of ids"),
        (np.int16(-3), (), r"must not be negative, got -3; renumber"),
        (np.uint8(1), ("--stride", "9"), r"stride must leave 2 or more of the 9 slices .*, got 9; choose a smaller"),
        (np.uint8(1), ("--skip", "20"), r"skip should name slices that there are, 0 to 8, got 20; correct"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_bad_labels_are_not_evaluated(source, capsys, no_fit, voxels, options, said, alone):
    scan = [] if alone else [write_scan(source)]
    labels = write_scan(source, labels_of(voxels), "labels.nii.gz")
    code = medgs("evaluate", *scan, "--labels", labels, *options)
    assert re.search(said, sentence(capsys, code))


def test_labels_on_another_grid_are_not_evaluated(source, capsys, no_fit):
    labels = write_scan(source, labels_of(np.uint8(1), phantom(slices=7)), "labels.nii.gz")
    code = medgs("evaluate", write_scan(source), "--labels", labels)
    assert re.search(r"must be on the grid of their image, got .*; ", sentence(capsys, code))


@pytest.mark.parametrize("command", [["evaluate"], ["fit", "-o", "a.medgs"]])
def test_a_volume_or_labels_must_be_named(capsys, no_fit, command):
    said = sentence(capsys, medgs(*command))
    assert said.endswith("A volume must be given: IN, --labels LABELS or both, got neither; name a file.")


def test_further_images_need_a_first_one(source, capsys, no_fit):
    labels = write_scan(source, labels_of(np.uint8(1)), "labels.nii.gz")
    code = medgs("evaluate", "--labels", labels, "--with", write_scan(source))
    assert re.search(r"--with names images beside IN, got '.*' without IN; give it as IN", sentence(capsys, code))


class TestOutput:
    @pytest.mark.parametrize("name", ["a.nii", "a", "a.medgs.gz", "medgs"])
    def test_model_must_be_named_medgs(self, source, output, capsys, no_fit, name):
        code = medgs("fit", write_scan(source), "-o", output / name)
        assert re.search(rf"must end in \.medgs, got '.*{name}'; change its ending", sentence(capsys, code))
        assert files_in(output) == []

    @pytest.mark.parametrize("name", ["a.png", "a", "a.nii.bz2", "a.medgs"])
    def test_volume_must_have_a_known_ending(self, model, output, capsys, name):
        code = medgs("render", model, "-o", output / name)
        assert re.search(rf"must end in \.nii, .*, got '.*{name}'; change its ending", sentence(capsys, code))
        assert files_in(output) == []

    def test_folder_must_exist(self, source, model, tmp_path, capsys, no_fit):
        code = medgs("fit", write_scan(source), "-o", tmp_path / "no" / "a.medgs")
        assert re.search(r"folder must exist, got '.*no'; create it", sentence(capsys, code))
        code = medgs("render", model, "-o", tmp_path / "no" / "a.nii")
        assert re.search(r"folder must exist, got '.*no'; create it", sentence(capsys, code))
        assert files_in(tmp_path) == ["in"]

    def test_file_is_no_folder(self, source, model, tmp_path, capsys, no_fit):
        scan = write_scan(source)
        code = medgs("fit", scan, "-o", scan / "a.medgs")
        assert re.search(r"folder must exist, got '.*scan\.nii\.gz'; create", sentence(capsys, code))

    def test_folder_is_no_file(self, source, output, model, capsys, no_fit):
        for name in ("a.medgs", "a.nii"):
            (output / name).mkdir()
        code = medgs("fit", write_scan(source), "-o", output / "a.medgs")
        assert re.search(r"must be a file, got the folder '.*a\.medgs'; add", sentence(capsys, code))
        code = medgs("render", model, "-o", output / "a.nii")
        assert re.search(r"must be a file, got the folder '.*a\.nii'; add", sentence(capsys, code))

    def test_read_only_folder_is_refused_before_any_work(self, source, output, model, capsys, no_fit, monkeypatch):
        scan = write_scan(source)
        opened = Path.open

        def read_only(self, mode="r", *more):
            if mode.startswith("x"):  # permission bits would not stop root
                raise OSError(errno.EROFS, "Read-only file system", str(self))
            return opened(self, mode, *more)

        monkeypatch.setattr(Path, "open", read_only)
        monkeypatch.setattr("medgs_core.model_file.load_model", lambda path: pytest.fail("the work began"))
        code = medgs("fit", scan, "-o", output / "a.medgs")
        assert re.search(r"must be writable, got '.*a\.medgs' \(Read-only .*\); .*choose", sentence(capsys, code))
        code = medgs("render", model, "-o", output / "a.nii")
        assert re.search(r"must be writable, got '.*a\.nii' \(Read-only .*\); .*choose", sentence(capsys, code))
        assert files_in(output) == []

    @pytest.mark.parametrize("older", [None, b"older"])
    def test_full_disk_leaves_no_partial_file_and_the_older_one(
        self, source, output, model, capsys, monkeypatch, older
    ):
        scan = write_scan(source)
        names = ["a.medgs", "a.nii.gz"]
        for name in names if older else []:
            (output / name).write_bytes(older)

        def full(number):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        code = fit(scan, output / "a.medgs", "--quiet")
        assert re.search(r"must be writable, got '.*a\.medgs' \(No space .*\); make room", sentence(capsys, code))
        code = medgs("render", model, "-o", output / "a.nii.gz", "--quiet")
        assert re.search(r"must be writable, got '.*a\.nii\.gz' \(No space .*\); make", sentence(capsys, code))
        assert files_in(output) == (names if older else [])
        assert all((output / name).read_bytes() == older for name in files_in(output))


class TestRender:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--factor", "0"), r"--factor should be at least 1, got '0'; "),
            (("--factor", "1.5"), r"--factor should be a whole number, got '1\.5'; "),
            (("--spacing", "0"), r"--spacing should be greater than 0, got '0'; "),
            (("--spacing", "nan"), r"--spacing should be a finite number, got 'nan'; "),
            (("--positions", "0,x"), r"--positions should be a number, got 'x'; "),
            (("--positions", "0,9"), r"between the first and the last slice .*, got 9; choose"),
            (("--positions", "2,1"), r"positions must increase, got 2 before 1; sort"),
            (("--positions", "0,1,3"), r"evenly spaced, got --positions with gaps from 3 to 6 mm; .*--spacing"),
            (("--factor", "2", "--isotropic"), r"exclude one another, got factor and isotropic; give one"),
            (("--detail", "much"), r"--detail should be 'auto', 'on' or 'off', got 'much'; "),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_bad_setting_is_refused_in_one_sentence(self, model, output, capsys, options, said):
        code = medgs("render", model, "-o", output / "a.nii", *options)
        assert re.search(said, sentence(capsys, code))
        assert files_in(output) == []

    def test_model_that_is_none_is_refused(self, model, output, source, capsys):
        content = model.read_bytes()
        bad = {"cut": content[:-500], "short": content[:20], "empty": b"", "other": b"PK\x03\x04" * 50}
        said = {
            "cut": "cut short or damaged",
            "short": "cut short or damaged",
            "empty": "0 bytes",
            "other": "another kind",
        }
        for name, part in bad.items():
            (source / f"{name}.medgs").write_bytes(part)
            for words in (
                ["render", source / f"{name}.medgs", "-o", output / "a.nii"],
                ["info", source / f"{name}.medgs"],
            ):
                assert re.search(
                    rf"must (be|not) .*, got '.*{name}\.medgs'.*{said[name]}.*; ", sentence(capsys, medgs(*words))
                )
        assert files_in(output) == []

    def test_missing_or_foreign_model_is_refused(self, output, source, capsys):
        code = medgs("render", source / "no.medgs", "-o", output / "a.nii")
        assert re.search(r"must be an existing file, got '.*no\.medgs'; check the path", sentence(capsys, code))
        code = medgs("render", write_scan(source), "-o", output / "a.nii")
        assert re.search(r"must end in \.medgs, got '.*scan\.nii\.gz'; ", sentence(capsys, code))
        assert files_in(output) == []

    def test_damaged_state_cannot_be_resumed(self, source, output, capsys, no_fit):
        (output / "a.medgs.state").write_bytes(gzip.compress(bytes(100)))
        code = medgs("fit", write_scan(source), "-o", output / "a.medgs", *SMALL, "--resume", "--quiet")
        assert re.search(r"must be a state .*, got '.*a\.medgs\.state'.*; fit without --resume", sentence(capsys, code))
        assert files_in(output) == ["a.medgs.state"]

    def test_scale_that_a_tiff_cannot_hold_is_refused(self, source, output, capsys):
        scaled = write_scan(source, replace(phantom(), slope=2.0, intercept=1.0))
        assert fit(scaled, source / "s.medgs", "--quiet") == 0
        code = medgs("render", source / "s.medgs", "-o", output / "a.tif", "--quiet")
        assert re.search(r"cannot hold an intensity scale, got slope 2 .*; write NIfTI", sentence(capsys, code))
        assert files_in(output) == []
