import numpy as np
import pytest
from napari.components import ViewerModel

import medgs_core as medgs
from medgs_napari._amounts import GIB
from medgs_napari._jobs import Job
from medgs_napari._marks import SliceMarks, describe_shown
from medgs_napari._rendered import METADATA, describe_slices, frames_of_model
from medgs_napari._session import Fitted
from medgs_napari._stream import Stream, stream_in_folders, stream_in_memory
from medgs_napari._subject import subject_of
from medgs_napari._virtual import virtual_layers


def fitted(model):
    return Fitted("scan", model, frames_of_model(model))


@pytest.fixture
def layers(model):
    return virtual_layers("scan", model, frames_of_model(model), medgs.RenderConfig(factor=4))


def test_measured_and_synthetic_slices_are_told_apart(model):
    slices = describe_slices(model, medgs.RenderConfig(factor=4), 0)
    np.testing.assert_array_equal(np.flatnonzero(slices.measured), np.arange(9) * 4)
    assert slices.describe(8) == "MEASURED\nslice 2"
    assert slices.describe(9) == "SYNTHETIC\nbetween slices 2 and 3 (2.25)"


def test_denoised_slices_are_not_measured(model):
    slices = describe_slices(model, medgs.RenderConfig(denoise=True), 0)
    assert not slices.measured.any()
    assert slices.describe(2).startswith("SYNTHETIC\nin place of slice 2")


def test_two_images_are_two_layers_with_looks_of_their_own(scan):
    affine = np.diag([0.7, 0.8, 3.0, 1.0])
    first = medgs.Volume(scan.transpose(2, 1, 0), affine)
    second = medgs.Volume((scan.transpose(2, 1, 0) / 4000).astype(np.float32), affine)
    both = medgs.combine_volumes(first, second)
    model = medgs.fit_model(both, medgs.FitConfig(preset="fast", steps=10)).model
    one, other = virtual_layers("both", model, frames_of_model(model), medgs.RenderConfig(factor=2))
    assert (one.settings["name"], other.settings["name"]) == ("both image 1", "both image 2")
    np.testing.assert_array_equal(np.asarray(one.data[0])[::2], scan, strict=True)
    np.testing.assert_array_equal(np.asarray(other.data[0])[::2], (scan / 4000).astype(np.float32), strict=True)
    assert other.settings["contrast_limits"][1] < 2 < one.settings["contrast_limits"][1]


def run(stream):
    assert stream(Job(lambda job: None))


class TestStream:
    @pytest.fixture(params=["memory", "folder"])
    def stream(self, request, layers, model, tmp_path):
        if request.param == "memory":
            return stream_in_memory(layers, GIB)
        subject = subject_of(fitted(model), "interpolated", medgs.RenderConfig(factor=4))
        return stream_in_folders(subject, layers, str(tmp_path / "fine.ome.zarr"))

    def test_a_stream_gives_what_the_virtual_layer_shows(self, stream, layers):
        run(stream)
        made = stream.layers[0].data
        np.testing.assert_array_equal(
            np.asarray(made[0] if isinstance(made, list) else made), np.asarray(layers[0].data[0]), strict=True
        )
        assert stream.finished

    def test_one_that_is_too_large_for_the_memory_is_refused_before_it_begins(self, layers):
        size = np.asarray(layers[0].data[0]).nbytes
        with pytest.raises(ValueError, match=r"Slices may take 0 MiB of memory at most, got 0 MiB .* into a folder"):
            stream_in_memory(layers, size - 1)
        assert not stream_in_memory(layers, size).ready.any()

    def test_slices_near_the_shown_one_come_first(self):
        order = []
        stream = Stream([], np.zeros(33, bool), order.append)
        stream.shown = 20
        run(stream)
        assert order[0] == 20
        assert {*order[1:3]} == {19, 21}
        assert sorted(order) == list(range(33))

    def test_a_stream_stops_when_it_is_told_to(self):
        job = Job(Stream([], np.zeros(9, bool), lambda i: None))
        job.cancel()
        job.start()
        job.wait()
        outcomes = []
        job.ended.connect(outcomes.append)
        job.poll()
        assert (outcomes[0].result, outcomes[0].error) == (None, "")

    def test_what_a_fault_left_out_is_filled_by_the_next_job(self):
        order = []

        def fill(i):
            if len(order) == 3:
                order.append("fault")
                raise MemoryError
            order.append(i)

        stream = Stream([], np.zeros(5, bool), fill)
        with pytest.raises(MemoryError):
            run(stream)
        assert stream.ready.tolist() == [True, True, True, False, False]
        assert not stream.running
        run(stream)
        assert order == [0, 1, 2, "fault", 3, 4]

    def test_slices_that_are_not_there_say_so(self, stream):
        slices = stream.layers[0].settings["metadata"][METADATA]
        assert slices.describe(8) == "NOT RENDERED YET\nslice 2"
        assert slices.describe(9) == "NOT RENDERED YET\nbetween slices 2 and 3 (2.25)"
        assert slices.summary() == "9 of 33 slices MEASURED\n33 NOT RENDERED YET"
        run(stream)
        assert slices.describe(8) == "MEASURED\nslice 2"
        assert slices.describe(9) == "SYNTHETIC\nbetween slices 2 and 3 (2.25)"
        assert slices.summary() == "9 of 33 slices MEASURED"

    def test_images_of_one_model_have_folders_of_their_own(self, scan, tmp_path):
        first = medgs.Volume(scan.transpose(2, 1, 0), np.diag([0.7, 0.8, 3.0, 1.0]))
        second = medgs.Volume(np.stack([first.voxels] * 2, axis=3).astype(np.float32), first.affine)
        model = medgs.fit_model(medgs.combine_volumes(first, second), medgs.FitConfig(preset="fast", steps=10)).model
        subject = subject_of(fitted(model), "interpolated", medgs.RenderConfig(factor=2))
        layers = subject.layers()
        stream = stream_in_folders(subject, layers, str(tmp_path / "fine.zarr"))
        run(stream)
        assert len(stream.layers) == 3
        for made, virtual in zip(stream.layers, layers, strict=True):
            np.testing.assert_array_equal(np.asarray(made.data[0]), np.asarray(virtual.data[0]), strict=True)
        assert medgs.read_volume(tmp_path / "fine image 2.zarr").channels == 2


class TestMarks:
    def viewer(self, layers):
        viewer = ViewerModel()
        viewer.add_image(layers[0].data, **layers[0].settings)
        return viewer

    def test_the_text_follows_the_slider(self, layers):
        viewer = self.viewer(layers)
        marks = SliceMarks(viewer)
        marks.turn(True)
        overlay = viewer.canvas.overlays.text
        for index, word in ((8, "MEASURED\nslice 2"), (9, "SYNTHETIC\nbetween slices 2 and 3")):
            viewer.dims.set_current_step(0, index)
            assert overlay.visible
            assert overlay.text.startswith(word)
        marks.turn(False)
        assert not overlay.visible

    def test_across_the_slices_their_number_is_told(self, layers):
        viewer = self.viewer(layers)
        viewer.dims.ndisplay = 3
        assert describe_shown(viewer) == "9 of 33 slices MEASURED"

    def test_other_layers_are_not_spoken_of(self, layers):
        viewer = ViewerModel()
        viewer.add_image(np.zeros((4, 5, 6)))
        assert describe_shown(viewer) == ""
        assert METADATA in self.viewer(layers).layers[0].metadata
