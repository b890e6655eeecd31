import json
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from medgs_core.fit import fit_model
from medgs_core.formats import read_volume, write_volume
from medgs_core.formats.streamed import StreamedVolume, create_volume, open_volume
from medgs_core.members import combine_volumes, split_volume
from medgs_core.model_file import save_model
from medgs_core.render import render_uncertainty, render_volume
from medgs_core.streaming import VolumeStream, stream_volume
from medgs_core.volume import Volume

from ._cli import files_in, medgs
from ._labeled import moving_scan, quick

FACTOR = 3
COUNT = 25


def planes(model):
    return render_volume(model, factor=FACTOR).voxels


def written(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]["medgs"]["written"]


def channel_volume():
    voxels = np.random.default_rng(0).integers(0, 99, (6, 5, 8, 2)).astype(np.int16)
    return Volume(voxels, np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.fixture
def model_file(bare, tmp_path):
    save_model(bare, tmp_path / "scan.medgs")
    return tmp_path / "scan.medgs"


class TestStreamedVolume:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_slices_written_in_any_order_make_the_volume(self, tmp_path, axis):
        volume = channel_volume()
        stream = create_volume(tmp_path / "a.ome.zarr", volume, axis)
        assert (stream.shape, stream.dtype, stream.axis) == (volume.voxels.shape, volume.voxels.dtype, axis)
        for i in reversed(range(volume.voxels.shape[axis])):
            stream.write_slice(i, np.take(volume.voxels, i, axis=axis))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.ome.zarr").voxels, volume.voxels)

    def test_folder_says_which_slices_are_there_and_the_others_are_zero(self, tmp_path):
        volume = channel_volume()
        stream = create_volume(tmp_path / "a.zarr", volume, 0)
        assert written(tmp_path / "a.zarr") == []
        for i in (4, 0, 1):
            stream.write_slice(i, volume.voxels[i])
        assert written(tmp_path / "a.zarr") == [[0, 1], [4, 4]]
        again = open_volume(tmp_path / "a.zarr")
        assert again.written.tolist() == [True, True, False, False, True, False]
        np.testing.assert_array_equal(again[4], volume.voxels[4])
        assert not again[2:4].any()
        with pytest.raises(ValueError, match=r"must have all its slices, got .* with 3 of 6 written"):
            read_volume(tmp_path / "a.zarr")

    def test_black_slices_are_there_too(self, tmp_path):
        stream = create_volume(tmp_path / "a.zarr", channel_volume(), 0)
        for i in range(6):
            stream.write_slice(i, np.zeros((5, 8, 2), np.int16))
        assert not read_volume(tmp_path / "a.zarr").voxels.any()

    def test_place_is_known_before_any_slice(self, tmp_path):
        like = replace(channel_volume(), slope=2.0, unit="um")
        place = create_volume(tmp_path / "a.zarr", like, 0).place
        np.testing.assert_array_equal(place.affine, like.affine)
        assert (place.slope, place.unit, place.voxels.shape) == (2.0, "um", like.voxels.shape)

    @pytest.mark.parametrize(
        "key",
        [3, -1, ..., (..., 1), (slice(None), 2), (slice(4, 1, -1), 0, slice(1, 8, 3)), (slice(3, 3),), (0, 1, 2, 0)],
    )
    def test_it_is_indexed_as_an_array_is(self, tmp_path, key):
        volume = channel_volume()
        write_volume(volume, tmp_path / "a.zarr")
        np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr")[key], volume.voxels[key])

    def test_it_becomes_an_array_by_a_copy(self, tmp_path):
        volume = channel_volume()
        write_volume(volume, tmp_path / "a.zarr")
        stream = open_volume(tmp_path / "a.zarr")
        np.testing.assert_array_equal(np.asarray(stream), volume.voxels)
        assert (stream.ndim, stream.size, len(stream)) == (4, volume.voxels.size, 6)
        with pytest.raises(ValueError, match="by a copy only"):
            np.asarray(stream, copy=False)

    def test_slices_from_several_threads_are_all_told_of(self, tmp_path):
        volume = channel_volume()
        stream = create_volume(tmp_path / "a.zarr", volume, 2)
        threads = [threading.Thread(target=stream.write_slice, args=(i, volume.voxels[:, :, i])) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert written(tmp_path / "a.zarr") == [[0, 7]]

    def test_plane_of_the_other_byte_order_is_the_same(self, tmp_path):
        volume = channel_volume()
        stream = create_volume(tmp_path / "a.zarr", volume, 2)
        for i in range(8):
            stream.write_slice(i, volume.voxels[:, :, i].astype(volume.voxels.dtype.newbyteorder()))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").voxels, volume.voxels)

    @pytest.mark.parametrize("plane", [np.zeros((8, 5, 2), np.int16), np.zeros((5, 8, 2), np.int32)])
    def test_plane_of_another_kind_is_refused(self, tmp_path, plane):
        stream = create_volume(tmp_path / "a.zarr", channel_volume(), 0)
        with pytest.raises(ValueError, match=r"A slice must be of shape \(5, 8, 2\) and type int16"):
            stream.write_slice(0, plane)
        assert written(tmp_path / "a.zarr") == []

    def test_taken_path_and_other_endings_are_refused(self, tmp_path):
        write_volume(channel_volume(), tmp_path / "a.zarr")
        with pytest.raises(ValueError, match="must have a folder of its own"):
            create_volume(tmp_path / "a.zarr", channel_volume(), 0)
        with pytest.raises(ValueError, match=r"must end in .ome.zarr or .zarr"):
            create_volume(tmp_path / "a.nii", channel_volume(), 0)

    def test_failing_disk_is_a_sentence_and_keeps_what_was_written(self, tmp_path, monkeypatch):
        volume = channel_volume()
        stream = create_volume(tmp_path / "a.zarr", volume, 0)
        stream.write_slice(0, volume.voxels[0])

        def fail(*_, **__):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr("zarr.storage._local._put", fail)
            with pytest.raises(ValueError, match=r"must be writable, got .*No space left on device.*make room"):
                stream.write_slice(1, volume.voxels[1])
        np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr")[0], volume.voxels[0])
        assert stream.written.tolist() == [True] + 5 * [False]


class TestStream:
    def test_filled_folder_is_the_rendered_volume(self, bare, tmp_path):
        heard = []
        stream_volume(bare, tmp_path / "a.ome.zarr", factor=FACTOR).fill_all(lambda *done: heard.append(done))
        back, expected = read_volume(tmp_path / "a.ome.zarr"), render_volume(bare, factor=FACTOR)
        np.testing.assert_array_equal(back.voxels, expected.voxels)
        np.testing.assert_array_equal(back.affine, expected.affine)
        assert heard == [(done, COUNT) for done in range(1, COUNT + 1)]

    def test_stream_of_the_same_model_and_options_goes_on(self, bare, tmp_path, monkeypatch):
        stream_volume(bare, tmp_path / "a.zarr", factor=FACTOR).fill(7)
        rendered = []
        fill = VolumeStream.fill
        monkeypatch.setattr(VolumeStream, "fill", lambda self, i: (rendered.append(i), fill(self, i)))
        again = stream_volume(bare, tmp_path / "a.zarr", factor=FACTOR)
        assert again.written.sum() == 1
        again.fill_all()
        assert sorted(rendered) == [i for i in range(COUNT) if i != 7]
        np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr").voxels, planes(bare))

    def test_stream_of_other_options_is_refused(self, bare, tmp_path):
        stream_volume(bare, tmp_path / "a.zarr", factor=FACTOR).fill(7)
        with pytest.raises(ValueError, match="must have a folder of its own"):
            stream_volume(bare, tmp_path / "a.zarr", factor=2)

    def test_labels_and_bounds_are_streamed_too(self, labeled, tmp_path):
        stream_volume(labeled, tmp_path / "labels.zarr", labels=True, factor=2).fill_all()
        expected = render_volume(labeled, labels=True, factor=2)
        np.testing.assert_array_equal(read_volume(tmp_path / "labels.zarr").voxels, expected.voxels)
        stream_volume(labeled, tmp_path / "bounds.zarr", bounds=True, factor=2).fill_all()
        bounds = read_volume(tmp_path / "bounds.zarr")
        np.testing.assert_array_equal(bounds.voxels, render_uncertainty(labeled, factor=2).voxels)

    def test_images_of_one_model_go_to_folders_of_their_own(self, tmp_path):
        scan = moving_scan()
        model = fit_model(combine_volumes(scan, replace(scan, voxels=scan.voxels.astype(np.float32))), quick()).model
        stream = stream_volume(model, [tmp_path / "a.zarr", tmp_path / "b.zarr"], factor=2)
        stream.fill_all()
        for path, image in zip(("a.zarr", "b.zarr"), split_volume(render_volume(model, factor=2)), strict=True):
            back = read_volume(tmp_path / path)
            assert back.voxels.dtype == image.voxels.dtype
            np.testing.assert_array_equal(back.voxels, image.voxels)
        with pytest.raises(ValueError, match="an image in the model for every folder, got 3 folders for 2"):
            stream_volume(model, [tmp_path / f"{n}.zarr" for n in range(3)])

    def test_uneven_slices_are_refused_before_anything_is_written(self, bare, tmp_path):
        with pytest.raises(ValueError, match="must be evenly spaced"):
            stream_volume(bare, tmp_path / "a.zarr", positions=(0.0, 1.0, 5.0))
        assert files_in(tmp_path) == []


class TestCommand:
    def test_render_gives_the_same_as_a_file(self, bare, model_file, tmp_path, capsys):
        out = tmp_path / "fine.ome.zarr"
        bounds = tmp_path / "bounds.zarr"
        assert medgs("render", model_file, "-o", out, "--factor", FACTOR, "--uncertainty", bounds) == 0
        np.testing.assert_array_equal(read_volume(out).voxels, planes(bare))
        np.testing.assert_array_equal(read_volume(bounds).voxels, render_uncertainty(bare, factor=FACTOR).voxels)
        note = json.loads((tmp_path / "fine.ome.zarr.json").read_text())
        assert len(note["slices"]) == COUNT
        assert f"{COUNT} slices, 9 of them measured" in capsys.readouterr().out
        assert files_in(tmp_path) == ["bounds.zarr", "fine.ome.zarr", "fine.ome.zarr.json", "scan.medgs"]

    def test_older_folder_is_replaced(self, bare, model_file, tmp_path):
        out = tmp_path / "fine.zarr"
        for factor in (2, FACTOR):
            assert medgs("render", model_file, "-o", out, "--factor", factor, "--quiet") == 0
        np.testing.assert_array_equal(read_volume(out).voxels, planes(bare))
        assert files_in(tmp_path) == ["fine.zarr", "fine.zarr.json", "scan.medgs"]

    def interrupt_at(self, monkeypatch, count, number=signal.SIGINT):
        """Let the process send itself a signal once some slices are there."""
        write = StreamedVolume.write_slice

        def writing(self, i, plane):
            write(self, i, plane)
            if self.written.sum() == count:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(StreamedVolume, "write_slice", writing)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupt_keeps_the_slices_and_the_same_command_goes_on(
        self, bare, model_file, tmp_path, monkeypatch, capsys, number
    ):
        out = tmp_path / "fine.zarr"
        command = ("render", model_file, "-o", out, "--factor", FACTOR, "--quiet")
        with monkeypatch.context() as broken:
            self.interrupt_at(broken, 5, number)
            assert medgs(*command) == 130
        there = int(open_volume(out).written.sum())
        assert 5 <= there < COUNT
        assert f"interrupted; {there} of {COUNT} slices are in {out}" in capsys.readouterr().err
        assert files_in(tmp_path) == ["fine.zarr", "scan.medgs"]
        assert medgs(*command) == 0
        np.testing.assert_array_equal(read_volume(out).voxels, planes(bare))

    def test_interrupt_leaves_an_older_folder_as_it_was(self, bare, model_file, tmp_path, monkeypatch, capsys):
        out = tmp_path / "fine.zarr"
        assert medgs("render", model_file, "-o", out, "--factor", FACTOR, "--quiet") == 0
        with monkeypatch.context() as broken:
            self.interrupt_at(broken, 5)
            assert medgs("render", model_file, "-o", out, "--factor", 4, "--quiet") == 130
        assert "no partial file was left" in capsys.readouterr().err
        np.testing.assert_array_equal(read_volume(out).voxels, planes(bare))
        assert files_in(tmp_path) == ["fine.zarr", "fine.zarr.json", "scan.medgs"]

    def test_folder_of_other_things_is_refused_before_rendering(self, model_file, tmp_path, capsys):
        (tmp_path / "a.zarr").mkdir()
        (tmp_path / "a.zarr" / "thesis.txt").write_text("mine")
        assert medgs("render", model_file, "-o", tmp_path / "a.zarr") == 2
        assert "must replace nothing but a Zarr store" in capsys.readouterr().err

    def test_info_describes_a_folder(self, tmp_path, capsys):
        write_volume(moving_scan(), tmp_path / "a.ome.zarr")
        assert medgs("info", tmp_path / "a.ome.zarr") == 0
        assert "9 along axis 0, evenly spaced" in capsys.readouterr().out
