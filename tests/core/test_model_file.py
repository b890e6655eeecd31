import errno
import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from medgs_core.model import DetailStrength, FitCheckpoint
from medgs_core.model_file import (
    check_model_output,
    load_checkpoint,
    load_model,
    model_hash,
    read_header,
    save_checkpoint,
    save_model,
)
from medgs_core.volume import IntensityWindow, NiftiOrientation

from ._models import (
    ODD_AFFINE,
    SHAPE,
    assert_same_gaussians,
    assert_same_volume,
    fitted,
    random_gaussians,
    random_voxels,
    refused,
    tampered,
    through_file,
)

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES = [*INTEGERS, "float16", "float32", "float64"]


@pytest.fixture
def saved(tmp_path):
    save_model(fitted(), tmp_path / "a.medgs")
    return tmp_path / "a.medgs"


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_voxels_of_every_type_come_back_exactly(self, tmp_path, dtype):
        model = fitted(random_voxels(dtype))
        assert_same_volume(through_file(model, tmp_path).volume, model.volume)

    def test_all_that_is_not_an_array_comes_back_equal(self, tmp_path):
        model = fitted(compositing="alpha", axis=1, flow="stiff")
        loaded = through_file(model, tmp_path)
        for name in ("compositing", "axis", "window", "detail", "flow", "has_source"):
            assert getattr(loaded, name) == getattr(model, name), name
        assert loaded.scores == model.scores
        assert loaded.provenance == model.provenance

    @pytest.mark.parametrize(("count", "degree", "channels"), [(0, 1, 1), (1, 3, 1), (50, 0, 1), (9, 1, 3)], ids=str)
    def test_gaussians_come_back_bit_for_bit(self, tmp_path, count, degree, channels):
        voxels = random_voxels("uint8", (*SHAPE, channels))
        model = fitted(voxels, random_gaussians(count, degree, channels))
        assert_same_gaussians(through_file(model, tmp_path).gaussians, model.gaussians)

    def test_loaded_parameters_can_be_written_to(self, tmp_path):
        loaded = through_file(fitted(), tmp_path)
        loaded.gaussians.position.add_(1.0)
        loaded.volume.voxels[0, 0, 0] = 5
        assert_same_volume(load_model(tmp_path / "a.medgs").volume, fitted().volume)

    def test_parameters_with_gradients_and_strides_are_saved(self, tmp_path):
        gaussians = random_gaussians()
        strided = gaussians.position.repeat(1, 2)[:, ::2].requires_grad_()
        loaded = through_file(fitted(gaussians=replace(gaussians, position=strided)), tmp_path)
        assert torch.equal(loaded.gaussians.position, strided)

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    def test_memory_order_comes_back(self, tmp_path, order):
        voxels = random_voxels("int16").transpose(order).copy().transpose(np.argsort(order))
        loaded = through_file(fitted(voxels), tmp_path).volume.voxels
        assert loaded.strides == voxels.strides
        np.testing.assert_array_equal(loaded, voxels)

    def test_views_with_gaps_and_reversed_axes_come_back_equal(self, tmp_path):
        voxels = random_voxels("int32", (10, 6, 9))[::2, ::-1, 1:8]
        np.testing.assert_array_equal(through_file(fitted(voxels), tmp_path).volume.voxels, voxels)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_channels_come_back(self, tmp_path, order):
        voxels = np.asarray(random_voxels("uint16", (4, 5, 6, 3)), order=order)
        model = fitted(voxels, random_gaussians(channels=3))
        loaded = through_file(model, tmp_path)
        assert loaded.volume.voxels.strides == voxels.strides
        assert_same_volume(loaded.volume, model.volume)

    @pytest.mark.parametrize("trust", [(0.5, 0.5, 0.5), (0.1, 1.0, 0.0)])
    def test_strength_of_each_channel_comes_back(self, tmp_path, trust):
        model = fitted(random_voxels("uint8", (*SHAPE, 3)), random_gaussians(channels=3))
        model = replace(model, detail=replace(model.detail, trust=trust))
        assert through_file(model, tmp_path).detail == model.detail
        shown = read_header(tmp_path / "a.medgs")["detail"]["trust"]
        assert shown == (0.5 if len(set(trust)) == 1 else trust)

    @pytest.mark.parametrize("dtype", [">i2", ">f8"])
    def test_big_endian_voxels_come_back_in_native_order(self, tmp_path, dtype):
        voxels = random_voxels("int16").astype(dtype)
        loaded = through_file(fitted(voxels), tmp_path).volume.voxels
        assert loaded.dtype.isnative
        np.testing.assert_array_equal(loaded, voxels)

    def test_geometry_comes_back_exactly(self, tmp_path):
        orientation = NiftiOrientation(ODD_AFFINE * 1.1, 4, ODD_AFFINE / 3, 1, "sec")
        positions = np.cumsum(np.random.default_rng(1).uniform(0.1, 2, SHAPE[2]))
        model = fitted(positions=positions, orientation=orientation, unit="um", slope=0.1, intercept=-1024.7)
        loaded = through_file(model, tmp_path).volume
        assert_same_volume(loaded, model.volume)
        np.testing.assert_array_equal(loaded.orientation.sform, orientation.sform)
        np.testing.assert_array_equal(loaded.orientation.qform, orientation.qform)
        assert (loaded.orientation.sform_code, loaded.orientation.qform_code) == (4, 1)
        assert loaded.orientation.time_unit == "sec"

    def test_absent_worlds_stay_absent(self, tmp_path):
        loaded = through_file(fitted(orientation=NiftiOrientation(None, 0, None, 0)), tmp_path).volume
        assert loaded.orientation.sform is None
        assert loaded.orientation.qform is None
        assert through_file(fitted(), tmp_path).volume.orientation is None

    def test_score_of_an_exact_prediction_is_infinite_and_comes_back(self, tmp_path):
        assert through_file(fitted(scores={"linear": math.inf}), tmp_path).scores == {"linear": math.inf}

    def test_same_model_gives_the_same_bytes(self, tmp_path):
        save_model(fitted(), tmp_path / "a.medgs")
        save_model(fitted(), tmp_path / "b.medgs")
        assert (tmp_path / "a.medgs").read_bytes() == (tmp_path / "b.medgs").read_bytes()

    def test_file_is_plain_safetensors(self, saved):
        assert load_file(saved)["position"].dtype == np.float32
        assert len(saved.read_bytes()) < 6000

    def test_ending_may_be_in_capitals(self, tmp_path):
        save_model(fitted(), tmp_path / "A.MEDGS")
        assert_same_volume(load_model(tmp_path / "A.MEDGS").volume, fitted().volume)


class TestWithoutSource:
    def test_voxels_are_zeros_that_take_no_memory(self, tmp_path):
        loaded = through_file(fitted(random_voxels("float32")), tmp_path, source=False)
        assert not loaded.has_source
        assert loaded.volume.voxels.dtype == np.float32
        assert loaded.volume.voxels.shape == SHAPE
        assert loaded.volume.voxels.strides == (0, 0, 0)
        assert not loaded.volume.voxels.any()
        with pytest.raises(ValueError, match="read-only"):
            loaded.volume.voxels[0, 0, 0] = 1

    def test_voxels_are_not_in_the_file(self, tmp_path):
        save_model(fitted(), tmp_path / "a.medgs", source=False)
        assert "voxels" not in load_file(tmp_path / "a.medgs")

    def test_gaussians_and_geometry_are_kept(self, tmp_path):
        loaded = through_file(fitted(slope=2.5), tmp_path, source=False)
        assert_same_gaussians(loaded.gaussians, fitted().gaussians)
        np.testing.assert_array_equal(loaded.volume.affine, ODD_AFFINE)
        assert loaded.volume.slope == 2.5

    def test_what_is_gone_stays_gone(self, tmp_path):
        once = through_file(fitted(), tmp_path, source=False)
        assert not through_file(once, tmp_path, source=True).has_source


class TestHash:
    def test_survives_saving(self, tmp_path):
        model = fitted(random_voxels("float64"), positions=np.arange(7.0) ** 2)
        assert model_hash(through_file(model, tmp_path)) == model_hash(model)
        assert read_header(tmp_path / "a.medgs")["sha256"] == model_hash(model)

    @pytest.mark.parametrize(
        "changes",
        [
            {"gaussians": random_gaussians(seed=1)},
            {"voxels": random_voxels("int16", seed=1)},
            {"compositing": "alpha"},
            {"axis": 0},
            {"window": IntensityWindow(0.0, 1.0)},
            {"flow": "supple"},
            {"slope": 2.0},
            {"has_source": False},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_changes_with_what_is_rendered(self, changes):
        assert model_hash(fitted(**changes)) != model_hash(fitted())

    def test_does_not_depend_on_records_or_memory_order(self):
        other = fitted(np.asfortranarray(random_voxels("int16")), scores={}, provenance={})
        assert model_hash(other) == model_hash(fitted())


class TestHeader:
    def test_tells_all_but_the_tensors(self, saved):
        header = read_header(saved)
        assert header["format"] == "medgs model"
        assert header["version"] == 1
        assert header["voxels"]["shape"] == SHAPE
        assert header["voxels"]["dtype"] == "int16"
        assert header["geometry"]["unit"] == "mm"
        assert header["gaussians"] == {"count": 11, "degree": 2, "channels": 1}
        assert header["scores"] == fitted().scores
        assert header["has_source"]

    def test_is_json(self, saved):
        header = read_header(saved)
        assert json.loads(json.dumps(header))["geometry"]["affine"] == ODD_AFFINE.tolist()

    def test_is_read_without_torch(self, saved):
        probe = (
            "import sys; from medgs_core.formats.model_header import read_header; "
            f"print(read_header({str(saved)!r})['axis'], 'torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
        assert done.stdout.split() == ["2", "False"]


class TestSaving:
    def test_disk_that_is_full_leaves_the_old_file(self, saved, monkeypatch):
        old = saved.read_bytes()

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        refused(saved, r"must be writable, got .*No space left", lambda path: save_model(fitted(axis=0), path))
        assert saved.read_bytes() == old
        assert list(saved.parent.iterdir()) == [saved]

    def test_failed_renaming_leaves_the_old_file(self, saved, monkeypatch):
        old = saved.read_bytes()

        def refuse(*_):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "replace", refuse)
        refused(saved, "must be writable", lambda path: save_model(fitted(axis=0), path))
        assert saved.read_bytes() == old
        assert list(saved.parent.iterdir()) == [saved]

    def test_interrupt_amid_the_voxels_leaves_the_old_file(self, saved, monkeypatch):
        old = saved.read_bytes()

        def interrupted(*_):
            yield b"x"
            raise KeyboardInterrupt

        monkeypatch.setattr("medgs_core.model_file.pack_voxels", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_model(fitted(axis=0), saved)
        assert saved.read_bytes() == old
        assert list(saved.parent.iterdir()) == [saved]

    def test_missing_folder(self, tmp_path):
        for save in (check_model_output, lambda path: save_model(fitted(), path)):
            with pytest.raises(ValueError, match="folder must exist"):
                save(tmp_path / "no" / "a.medgs")

    def test_check_leaves_the_old_file(self, saved):
        old = saved.read_bytes()
        check_model_output(saved)
        assert saved.read_bytes() == old
        assert list(saved.parent.iterdir()) == [saved]

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            (
                {"gaussians": replace(random_gaussians(), angle=torch.full((11,), math.nan))},
                "angle has values",
            ),
            ({"gaussians": random_gaussians(channels=2)}, "2 channels and the voxels 1"),
            ({"slope": math.nan}, "slope: .*finite number"),
            ({"window": IntensityWindow(1.0, 1.0)}, "low must be below high"),
            ({"detail": DetailStrength((), (0.0,), (0.0,))}, r"no table of shape \(1, 3, 4\)"),
            ({"detail": DetailStrength((((0.5,) * 4,) * 2,), (0.0,), (0.0,))}, "no table of shape"),
            ({"detail": DetailStrength((((0.5,) * 3,) * 3,), (0.0,), (0.0,))}, "no table of shape"),
            (
                {"detail": DetailStrength((((0.5,) * 4,) * 3,), (0.5, 0.5), (0.0,))},
                "the trust is of 2 channels and the voxels have 1",
            ),
            ({"detail": DetailStrength((((0.5,) * 4,) * 3,), (0.5,), ())}, "the smoothing is of 0 channels"),
        ],
    )
    def test_what_could_not_be_loaded_is_not_saved(self, tmp_path, changes, reason):
        with pytest.raises(ValueError, match=rf"must be consistent to be saved, got .*{reason}.*fit it again\."):
            save_model(fitted(**changes), tmp_path / "a.medgs")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="longdouble is float64 here")
    def test_voxels_of_extended_precision_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"float64, got float\d+; convert the volume"):
            save_model(fitted(random_voxels("float64").astype(np.longdouble)), tmp_path / "a.medgs")


class TestCheckpoint:
    @pytest.fixture
    def checkpoint(self):
        facts = {
            "step": 17,
            "input": "ab" * 32,
            "scores": {"linear": math.inf},
            "generator": {"state": 2**127 + 1, "inc": 2**64 - 1, "has_uint32": 0, "values": [0.1, 1 / 3]},
        }
        tensors = {"parameters": torch.randn(5, 9), "mean": torch.zeros(0, 9), "scalar": torch.tensor(2.5)}
        return FitCheckpoint(tensors, facts)

    def test_comes_back_bit_for_bit(self, tmp_path, checkpoint):
        save_checkpoint(checkpoint, tmp_path / "a.medgs.state")
        loaded = load_checkpoint(tmp_path / "a.medgs.state")
        assert loaded.facts == checkpoint.facts
        assert loaded.tensors.keys() == checkpoint.tensors.keys()
        for name, tensor in checkpoint.tensors.items():
            assert torch.equal(loaded.tensors[name], tensor)
        loaded.tensors["parameters"].add_(1.0)

    def test_no_truncated_state_loads(self, tmp_path, checkpoint):
        path = tmp_path / "a.medgs.state"
        save_checkpoint(checkpoint, path)
        content = path.read_bytes()
        for length in range(1, len(content)):
            path.write_bytes(content[:length])
            refused(path, "state of a fit must be complete.*; fit without --resume", load_checkpoint)

    def test_changed_number_is_noticed(self, tmp_path, checkpoint):
        path = tmp_path / "a.medgs.state"
        save_checkpoint(checkpoint, path)
        tampered(path, facts__step=18)
        refused(path, "not those that were saved", load_checkpoint)

    def test_missing(self, tmp_path):
        refused(tmp_path / "no.state", "state of a fit must be an existing file", load_checkpoint)

    def test_model_is_no_state(self, saved):
        refused(saved, r"must be a state of a fit, got .*'medgs model'; fit without --resume\.", load_checkpoint)

    def test_newer_version(self, tmp_path, checkpoint):
        save_checkpoint(checkpoint, tmp_path / "a.state")
        tampered(tmp_path / "a.state", version=9)
        refused(tmp_path / "a.state", "at most 1, got 9", load_checkpoint)

    def test_failed_write_leaves_the_old_state(self, tmp_path, checkpoint, monkeypatch):
        save_checkpoint(checkpoint, tmp_path / "a.state")
        old = (tmp_path / "a.state").read_bytes()

        def refuse(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "replace", refuse)
        with pytest.raises(ValueError, match="must be writable"):
            save_checkpoint(FitCheckpoint({}, {}), tmp_path / "a.state")
        assert (tmp_path / "a.state").read_bytes() == old
