import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from medgs_core.annotation import Annotation
from medgs_core.config import RenderConfig
from medgs_core.formats.packing import pack_voxels
from medgs_core.label_file import LABEL_VALUES, LABEL_VOXELS
from medgs_core.labels import LabelRenderer
from medgs_core.model import LABEL_LEVELS, LABEL_RANGE, LabelHead
from medgs_core.model_file import load_model, model_hash, read_header, save_model
from medgs_core.render import render_volume
from medgs_core.volume import NiftiOrientation, Volume, slice_positions

from ._models import ODD_AFFINE, SHAPE, assert_same_volume, fitted, refused, tampered, through_file

IDS = (2, 300)
ANNOTATED = (0, 3, 6)


def head_of(dtype="uint16", count=11, seed=0, **place):
    """Return a label head of the models of `_models`, whose slices lie along axis 2."""
    random = np.random.default_rng(seed)
    voxels = random.choice([0, *IDS], SHAPE).astype(dtype)
    volume = Volume(voxels, **{"affine": ODD_AFFINE, **place})
    annotation = Annotation(volume, 2, slice_positions(volume, 2), ANNOTATED, IDS)
    levels = random.integers(-LABEL_LEVELS, LABEL_LEVELS + 1, (count, len(IDS)))
    values = torch.from_numpy(levels.astype(np.float32)) * (LABEL_RANGE / LABEL_LEVELS)
    return LabelHead(values, annotation, (0.1, 0.2, 0.7), 1 / 3)


def with_labels(**changes):
    return fitted(labels=head_of(), **changes)


@pytest.fixture
def saved(tmp_path):
    save_model(with_labels(), tmp_path / "a.medgs")
    return tmp_path / "a.medgs"


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint64", "float32", "float64"])
    def test_annotation_comes_back_exactly(self, tmp_path, dtype):
        head = head_of(dtype)
        loaded = through_file(fitted(labels=head), tmp_path).labels.annotation
        assert_same_volume(loaded.volume, head.annotation.volume)
        np.testing.assert_array_equal(loaded.positions, head.annotation.positions)
        for name in ("axis", "annotated", "ids", "unlabeled"):
            assert getattr(loaded, name) == getattr(head.annotation, name), name

    def test_what_was_learned_comes_back_exactly(self, tmp_path):
        loaded = through_file(with_labels(), tmp_path)
        head = loaded.labels
        assert head.values.dtype == torch.float32
        assert torch.equal(head.values, head_of().values)
        assert (head.weights, head.looseness) == ((0.1, 0.2, 0.7), 1 / 3)
        assert loaded.has_image
        assert not through_file(with_labels(has_image=False), tmp_path).has_image

    def test_geometry_of_its_own_comes_back(self, tmp_path):
        positions = np.cumsum(np.random.default_rng(1).uniform(0.1, 2, SHAPE[2]))
        orientation = NiftiOrientation(ODD_AFFINE, 4, None, 0)
        head = head_of(positions=positions, orientation=orientation, unit="um")
        loaded = through_file(fitted(labels=head), tmp_path).labels.annotation
        assert_same_volume(loaded.volume, head.annotation.volume)
        assert loaded.volume.orientation.sform_code == 4
        np.testing.assert_array_equal(loaded.positions, positions)

    def test_hash_survives_and_stands_in_the_header(self, saved):
        assert model_hash(load_model(saved)) == model_hash(with_labels()) == read_header(saved)["sha256"]

    def test_same_model_gives_the_same_bytes(self, tmp_path, saved):
        save_model(load_model(saved), tmp_path / "b.medgs")
        assert (tmp_path / "b.medgs").read_bytes() == saved.read_bytes()

    @pytest.mark.parametrize("name", ["labeled", "alone"])
    @pytest.mark.parametrize("source", [True, False])
    def test_renderings_come_back_exactly(self, tmp_path, request, name, source):
        model = request.getfixturevalue(name)
        loaded = through_file(model, tmp_path, source=source)
        kept = replace(model, has_source=source)
        assert model_hash(loaded) == model_hash(kept)
        wish = RenderConfig(labels=True, positions=(0.0, 0.5, 2.3, 4.0, 7.9), device="cpu")
        np.testing.assert_array_equal(render_volume(loaded, wish).voxels, render_volume(kept, wish).voxels)
        one, other = (LabelRenderer(which, wish).confidence(2.3) for which in (loaded, kept))
        np.testing.assert_array_equal(one, other)


class TestHash:
    @pytest.mark.parametrize(
        "changes",
        [{"values": head_of(seed=1).values}, {"weights": (0.2, 0.1, 0.7)}, {"looseness": 0.5}],
        ids=lambda changes: next(iter(changes)),
    )
    def test_changes_with_what_was_learned(self, changes):
        assert model_hash(fitted(labels=replace(head_of(), **changes))) != model_hash(with_labels())

    def test_changes_with_what_was_drawn_and_with_the_head(self):
        other = replace(head_of(), annotation=head_of(seed=1).annotation)
        kinds = [fitted(), with_labels(), fitted(labels=other), with_labels(has_image=False)]
        assert len({model_hash(model) for model in kinds}) == len(kinds)

    def test_does_not_depend_on_memory_order(self):
        head = head_of()
        volume = replace(head.annotation.volume, voxels=np.asfortranarray(head.annotation.volume.voxels))
        other = replace(head, annotation=replace(head.annotation, volume=volume))
        assert model_hash(fitted(labels=other)) == model_hash(with_labels())


class TestWithoutSource:
    def test_values_are_kept_and_drawn_labels_left_out(self, tmp_path):
        loaded = through_file(with_labels(), tmp_path, source=False)
        assert LABEL_VOXELS not in load_file(tmp_path / "a.medgs")
        assert torch.equal(loaded.labels.values, head_of().values)
        volume = loaded.labels.annotation.volume
        assert not volume.voxels.any()
        assert volume.voxels.strides == (0, 0, 0)
        assert volume.voxels.dtype == np.uint16
        assert loaded.labels.annotation.annotated == ANNOTATED


class TestOlderFiles:
    def test_without_labels_they_load_and_keep_their_hash(self, tmp_path):
        save_model(fitted(), tmp_path / "a.medgs")
        with safe_open(tmp_path / "a.medgs", "numpy") as file:
            header = json.loads(file.metadata()["medgs"])
        for unknown_then in ("labels", "has_image", "skipped"):
            del header[unknown_then]
        save_file(load_file(tmp_path / "a.medgs"), tmp_path / "a.medgs", metadata={"medgs": json.dumps(header)})
        loaded = load_model(tmp_path / "a.medgs")
        assert loaded.labels is None
        assert loaded.has_image
        assert model_hash(loaded) == header["sha256"] == model_hash(fitted())
        assert read_header(tmp_path / "a.medgs")["labels"] is None


def packed(array, dtype=np.int8):
    """Return an array as it stands in a file."""
    return np.frombuffer(b"".join(pack_voxels(np.asarray(array, dtype), tuple(range(np.ndim(array))))), np.uint8)


class TestDamage:
    @pytest.mark.parametrize(
        ("tensors", "reason"),
        [
            ({LABEL_VALUES: None}, "not those of its header: label_values"),
            ({LABEL_VOXELS: None}, "not those of its header: label_voxels"),
            ({LABEL_VALUES: np.zeros(9, np.float32)}, "label_values has type F32 instead of U8"),
            ({LABEL_VALUES: np.zeros((3, 3), np.uint8)}, r"label_values has shape \(3, 3\) instead of one axis"),
            ({LABEL_VALUES: np.zeros(0, np.uint8)}, "0 bytes cannot hold"),
            ({LABEL_VALUES: np.full(50, 7, np.uint8)}, "incorrect header check"),
            ({LABEL_VALUES: packed(np.zeros((2, 10)))}, "voxels end too early"),
            ({LABEL_VALUES: packed(np.zeros((2, 12)))}, "more voxels than the header tells"),
            ({LABEL_VALUES: packed(np.zeros((2, 11)))}, "not those that were saved"),
            ({LABEL_VALUES: packed(np.full((2, 11), -128))}, "not those that were saved"),
            ({LABEL_VOXELS: packed(np.zeros(SHAPE), np.uint8)}, "voxels end too early"),
            ({LABEL_VOXELS: packed(np.zeros(SHAPE), np.uint32)}, "more voxels than the header tells"),
            ({LABEL_VOXELS: np.full(50, 7, np.uint8)}, "incorrect header check"),
            ({"label": np.zeros(3, np.uint8)}, "not those of its header: label"),
        ],
        ids=str,
    )
    def test_tensors(self, saved, tensors, reason):
        tampered(saved, tensors)
        refused(saved, f"must be complete and consistent, got .*{reason}")

    @pytest.mark.parametrize(
        ("place", "value", "reason"),
        [
            ("labels", None, "not those of its header: label_values, label_voxels"),
            ("labels__ids", [], "at least 1 item"),
            ("labels__ids", [300, 2], "the ids must increase"),
            ("labels__ids", [0, 2], "greater than 0"),
            ("labels__ids", [2], "more voxels than the header tells"),
            ("labels__ids", [2, 301], "not those that were saved"),
            ("labels__annotated", [3, 3], "the annotated must increase"),
            ("labels__annotated", [0, 7], r"labels of shape \(5, 6, 7\) do not fit the volume"),
            ("labels__annotated", [-1, 3], "greater than or equal to 0"),
            ("labels__annotated", [0, 3], "not those that were saved"),
            ("labels__weights", [0.1, 1.2, 0.0], "less than or equal to 1"),
            ("labels__weights", [0.5, 0.5], "not those that were saved"),
            ("labels__looseness", 0.0, "greater than 0"),
            ("labels__looseness", float("inf"), "finite"),
            ("labels__geometry__positions", [1.0, 2.0], "must be one position per slice, got 2"),
            ("labels__geometry__affine", [[0.0] * 4] * 4, "spacing must be positive"),
            ("labels__voxels__shape", [5, 7, 6], r"labels of shape \(5, 7, 6\) do not fit the volume"),
            ("labels__voxels__shape", [10**6, 10**6, 10**6], "bytes cannot hold voxels of shape"),
            ("labels__voxels__dtype", "complex64", "got 'complex64'"),
            ("labels__surprise", 1, "extra inputs are not permitted"),
            ("has_image", False, "not those that were saved"),
        ],
    )
    def test_facts(self, saved, place, value, reason):
        tampered(saved, **{place: value})
        refused(saved, f"must be complete and consistent, got .*{reason}")

    def test_no_truncated_file_loads(self, saved):
        content = saved.read_bytes()
        for length in range(1, len(content), 41):
            saved.write_bytes(content[:length])
            refused(saved, "cut short or damaged")

    def test_no_flipped_byte_raises_anything_but_a_sentence(self, saved):
        content = saved.read_bytes()
        for place in range(0, len(content), 13):
            flipped = bytearray(content)
            flipped[place] ^= 0x11
            saved.write_bytes(flipped)
            try:
                loaded = load_model(saved)
            except ValueError:
                continue
            assert model_hash(loaded) == model_hash(with_labels())  # a letter of a record, which no hash covers

    def test_what_could_not_be_loaded_is_not_saved(self, tmp_path):
        head = head_of()
        for bad, reason in (
            (replace(head, values=head.values[:-1]), r"label_values has shape \(10, 2\) instead of \(11, 2\)"),
            (replace(head, values=head.values * float("nan")), "label_values has values that are NaN"),
            (replace(head, weights=(2.0, -1.0)), r"weights\.0.*less than or equal to 1"),
            (replace(head, looseness=0.0), "looseness: .*greater than 0"),
        ):
            with pytest.raises(ValueError, match=f"must be consistent to be saved, got one in which .*{reason}"):
                save_model(fitted(labels=bad), tmp_path / "a.medgs")
        assert list(tmp_path.iterdir()) == []


def test_header_tells_of_labels(saved):
    facts = read_header(saved)["labels"]
    assert (facts["ids"], facts["annotated"], facts["weights"]) == (IDS, ANNOTATED, (0.1, 0.2, 0.7))
    assert (facts["voxels"]["shape"], facts["voxels"]["dtype"]) == (SHAPE, "uint16")
    assert json.loads(json.dumps(facts))["looseness"] == 1 / 3
