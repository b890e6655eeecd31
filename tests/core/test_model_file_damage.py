"""Files that are no model, or no longer: each is refused with one sentence."""

import errno
import math
import os
import zlib

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from medgs_core.formats.packing import pack_voxels
from medgs_core.model import FitCheckpoint
from medgs_core.model_file import (
    check_model_output,
    load_model,
    model_hash,
    read_header,
    save_checkpoint,
    save_model,
)

from ._models import SHAPE, fitted, random_voxels, refused, tampered

EVERYWHERE = 7
"""Step between the places where a file is cut: prime, so that every kind of boundary is met."""

CHANNELS = {"shape": [5, 6, 7, 2], "dtype": "int16", "order": [0, 1, 2, 3], "content_sha256": "0" * 64}


@pytest.fixture
def saved(tmp_path):
    save_model(fitted(), tmp_path / "a.medgs")
    return tmp_path / "a.medgs"


class TestForeignFiles:
    def test_missing(self, tmp_path):
        refused(tmp_path / "no.medgs", r"model must be an existing file, got .*check the path\.")

    def test_folder(self, tmp_path):
        (tmp_path / "a.medgs").mkdir()
        refused(tmp_path / "a.medgs", r"got the folder .*name a file inside it\.")

    def test_empty(self, tmp_path):
        (tmp_path / "a.medgs").touch()
        refused(tmp_path / "a.medgs", r"must not be empty, got .*copy it again or repeat the fit\.")

    @pytest.mark.parametrize("name", ["scan.nii", "scan", "scan.medgs.state", "medgs", "scan.medgs.gz"])
    def test_other_ending(self, tmp_path, name):
        for function in (
            load_model,
            read_header,
            check_model_output,
            lambda path: save_model(fitted(), path),
        ):
            refused(tmp_path / name, r"must end in \.medgs, got .*change its ending\.", function)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("load", [load_model, read_header])
    def test_nifti_under_another_name(self, tmp_path, load):
        import nibabel

        nibabel.save(nibabel.Nifti1Image(random_voxels("int16"), np.eye(4)), tmp_path / "a.nii")
        (tmp_path / "a.nii").rename(tmp_path / "a.medgs")
        refused(tmp_path / "a.medgs", r"must be a model, got .*another kind of file; name a file", load)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_safetensors_of_another_program(self, tmp_path, metadata):
        save_file({"weight": np.zeros((3, 4), np.float32)}, tmp_path / "a.medgs", metadata=metadata)
        refused(tmp_path / "a.medgs", "a safetensors file of another program")

    def test_pickle_is_not_even_opened(self, tmp_path):
        torch.save({"position": torch.zeros(3)}, tmp_path / "a.medgs")
        refused(tmp_path / "a.medgs", "another kind of file")

    def test_state_of_a_fit_is_no_model(self, tmp_path):
        save_checkpoint(FitCheckpoint({}, {}), tmp_path / "a.medgs")
        refused(tmp_path / "a.medgs", r"must be a model, got .*which is a 'medgs fit state'")

    @pytest.mark.parametrize("load", [load_model, read_header])
    def test_newer_version_says_what_to_do(self, saved, load):
        tampered(saved, version=2, something_new=[1, 2])
        refused(saved, r"version of a model must be at most 1, got 2 in .*update medgs-napari", load)

    def test_unreadable_file(self, saved, monkeypatch):
        def refuse(*_):  # root, who runs tests in containers, may read every real file
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(type(saved), "open", refuse)
        refused(saved, r"must be readable, got .*Permission denied")


class TestDamagedFiles:
    def test_no_truncated_file_loads(self, saved):
        content = saved.read_bytes()
        for length in [*range(1, len(content), EVERYWHERE), len(content) - 1]:
            saved.write_bytes(content[:length])
            refused(saved, "cut short or damaged")

    def test_nothing_may_follow(self, saved):
        saved.write_bytes(saved.read_bytes() + b"\0")
        refused(saved, "cut short or damaged")

    def test_no_flipped_byte_raises_anything_but_a_sentence(self, saved):
        content = saved.read_bytes()
        for place in range(0, len(content), EVERYWHERE):
            flipped = bytearray(content)
            flipped[place] ^= 0x11
            saved.write_bytes(flipped)
            try:
                loaded = load_model(saved)
            except ValueError:
                continue
            # a letter of a record, which no hash covers
            assert model_hash(loaded) == model_hash(fitted())

    def test_changed_parameter_is_noticed(self, saved):
        tampered(saved, {"center": np.arange(11, dtype=np.float32)})
        refused(saved, r"parameters are not those that were saved.*; copy it again or repeat the fit\.")

    def test_random_bytes_after_a_plausible_start(self, tmp_path):
        generator = np.random.default_rng(3)
        for size in (1, 20, 300, 5000):
            junk = generator.bytes(size)
            (tmp_path / "a.medgs").write_bytes(size.to_bytes(8, "little") + b"{" + junk)
            refused(tmp_path / "a.medgs", "cut short or damaged")

    @pytest.mark.parametrize(
        "header",
        ["", "[]", "7", "{", '{"format": "medgs model"}', "[" * 100_000, '{"version": 1}', "nonsense"],
    )
    def test_header_that_is_none(self, saved, header):
        save_file(load_file(saved), saved, metadata={"medgs": header})
        refused(saved, "safetensors file of another program" if header == "" else "cut short or damaged")


class TestInconsistentFiles:
    @pytest.mark.parametrize(
        ("place", "value", "reason"),
        [
            ("version", 0, r"version: .*greater than or equal to 1, got 0"),
            ("version", "1", "version: .*valid integer"),
            ("compositing", "max", r"compositing: .*'sum' or 'alpha', got 'max'"),
            ("axis", 3, "axis: .*less than or equal to 2"),
            ("axis", True, "axis: .*valid integer"),
            ("geometry__slope", math.nan, r"geometry\.slope: .*finite number, got nan"),
            ("geometry__intercept", math.inf, r"geometry\.intercept: .*finite number"),
            ("geometry__affine", [[1, 0, 0], [0, 1, 0]], r"geometry\.affine\.0\.3: .*required"),
            ("geometry__affine", [[math.inf] * 4] * 4, r"geometry\.affine\.0\.0: .*finite"),
            ("geometry__affine", [[0.0] * 4] * 4, "spacing must be positive"),
            ("geometry__affine", [[1.0, 1.0, 1.0, 0.0]] * 4, "must be invertible"),
            ("geometry__positions", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "one position for each of the 7 slices"),
            ("geometry__positions", [1.0, 2.0], "must be one position per slice, got 2"),
            ("geometry__positions", [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0], "must increase"),
            ("geometry__positions", [0.0, "1"], r"positions\.1: .*valid number"),
            ("geometry__unit", 7, r"geometry\.unit: .*valid string"),
            ("geometry__orientation", {}, "orientation.sform: field required"),
            ("voxels__shape", [5, 6], "at least 3 items"),
            ("voxels__shape", [5, 0, 7], r"voxels\.shape\.1: .*greater than 0"),
            ("voxels__shape", [5, 6, 6], "more voxels than the header tells"),
            ("voxels__shape", [5, 6, 8], "voxels end too early"),
            ("voxels__shape", [5, 7, 6], "not those that were saved"),
            ("voxels__shape", [10**6, 10**6, 10**6], "bytes cannot hold voxels of shape"),
            ("voxels__shape", [10**30, 1, 1], "bytes cannot hold voxels of shape"),
            ("voxels__shape", [5, 6, 7, 2], "name each axis once"),
            ("voxels__dtype", "int32", "voxels end too early"),
            ("voxels__dtype", "uint8", "more voxels than the header tells"),
            ("voxels__dtype", "object", r"voxels\.dtype: .*got 'object'"),
            ("voxels", CHANNELS, "the Gaussians have 1 channels and the voxels 2"),
            ("voxels__order", [0, 1, 1], "name each axis once"),
            ("voxels__content_sha256", None, "not those of its header: voxels"),
            ("window__high", -20.0, "window: low must be below high"),
            ("window__low", math.nan, r"window\.low.*finite"),
            ("window__low", [], r"window\.low.*, got \[\]"),
            ("window__low", [-20.0], "low and high must be of the same number of channels"),
            ("window", {"low": [1.0, 2.0], "high": [2.0, 3.0]}, "the window has 2 channels and the voxels 1"),
            ("window", {"low": [1.0, 2.0], "high": [2.0, 2.0]}, "window: low must be below high"),
            ("detail__trust", 1.5, r"detail\.trust.*: .*less than or equal to 1"),
            ("detail__trust", [1.5], r"detail\.trust.*, got \[1\.5\]"),
            ("detail__trust", [0.5, 0.5], "the trust is of 2 channels and the voxels have 1"),
            ("detail__smoothing", [], r"detail\.smoothing.*, got \[\]"),
            ("detail__smoothing", ["a"], r"detail\.smoothing.*valid number"),
            ("detail__blend", [[[0.1, 0.2, 0.3, 0.4]]], "no table of shape"),
            ("detail__blend", [[[0.1, "a", 0.3, 0.4]]], r"detail\.blend\.0\.0\.1: .*valid number"),
            ("flow", "wooden", "flow: .*'stiff', 'supple' or 'both'"),
            ("flow", 2, "flow: .*'stiff', 'supple' or 'both'"),
            ("gaussians__count", 12, r"position has shape \(11, 2\) instead of \(12, 2\)"),
            ("gaussians__degree", 9, r"gaussians\.degree: .*less than or equal to 3"),
            ("gaussians__degree", 1, r"drift has shape \(11, 2, 2\) instead of \(11, 1, 2\)"),
            ("scores", {"linear": "high"}, r"scores\.linear: .*valid number"),
            ("provenance", [], "provenance: .*an object"),
            ("sha256", "0" * 64, "not those that were saved"),
            ("sha256", "?", "sha256: .*match pattern"),
            ("surprise", 1, "surprise: extra inputs are not permitted"),
        ],
    )
    def test_facts(self, saved, place, value, reason):
        tampered(saved, **{place: value})
        refused(saved, f"must be complete and consistent, got .*{reason}")

    @pytest.mark.parametrize(
        ("tensors", "reason"),
        [
            ({"center": None}, "not those of its header: center"),
            ({"voxels": None}, "not those of its header: voxels"),
            ({"label": np.zeros(3, np.float32)}, "not those of its header: label"),
            ({"center": np.zeros(10, np.float32)}, r"center has shape \(10,\) instead of \(11,\)"),
            ({"center": np.zeros((11, 1), np.float32)}, r"center has shape \(11, 1\)"),
            ({"center": np.zeros(11, np.float64)}, "center has type F64 instead of F32"),
            ({"angle": np.full(11, np.nan, np.float32)}, "angle has values that are NaN or infinite"),
            ({"intensity": np.zeros((11, 2), np.float32)}, r"intensity has shape \(11, 2\)"),
            ({"voxels": np.zeros(9, np.float32)}, "voxels has type F32 instead of U8"),
            ({"voxels": np.zeros((3, 3), np.uint8)}, r"voxels has shape \[3, 3\] instead of one axis"),
            ({"voxels": np.zeros(0, np.uint8)}, "0 bytes cannot hold"),
            ({"voxels": np.full(500, 7, np.uint8)}, "incorrect header check"),
        ],
        ids=str,
    )
    def test_tensors(self, saved, tensors, reason):
        tampered(saved, tensors)
        refused(saved, f"must be complete and consistent, got .*{reason}")

    @pytest.mark.parametrize(
        ("edit", "reason"),
        [
            (lambda stream: stream[:-4], "voxels end too early"),
            (lambda stream: stream + b"more", "something follows the voxels"),
            (lambda stream: stream[:-1] + bytes([stream[-1] ^ 1]), "incorrect data check"),
        ],
    )
    def test_streams(self, saved, edit, reason):
        stream = edit(load_file(saved)["voxels"].tobytes())
        tampered(saved, {"voxels": np.frombuffer(stream, np.uint8)})
        refused(saved, reason)

    def test_stream_that_swells_beyond_its_shape_is_left_at_once(self, saved):
        bomb = zlib.compress(bytes(2**26), 9)
        tampered(saved, {"voxels": np.frombuffer(bomb, np.uint8)})
        refused(saved, "more voxels than the header tells")

    def test_voxels_that_memory_cannot_hold(self, saved, monkeypatch):
        def full(*_):
            raise MemoryError

        monkeypatch.setattr("medgs_core.formats.packing.np.empty", full)
        refused(saved, r"must fit in memory, got .*larger machine\.")

    def test_non_finite_voxels(self, saved):
        voxels = np.full(SHAPE, np.inf)
        stream = b"".join(pack_voxels(voxels, (0, 1, 2)))
        tampered(saved, {"voxels": np.frombuffer(stream, np.uint8)}, voxels__dtype="float64")
        refused(saved, r"All voxels must be finite, got 210 of 210")

    @pytest.mark.parametrize("shape", [[10**6, 10**6, 10**6], [10**30, 1, 1], [2**37, 1, 1]])
    def test_absent_voxels_of_absurd_number(self, tmp_path, shape):
        save_model(fitted(), tmp_path / "a.medgs", source=False)
        tampered(tmp_path / "a.medgs", voxels__shape=shape)
        refused(tmp_path / "a.medgs", "a model without voxels may stand for")
