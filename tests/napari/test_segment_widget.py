import time

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtWidgets import QApplication

import medgs_core as medgs
from medgs_napari._label_layers import CONFIDENCE, FINE, LABELS
from medgs_napari._label_task import NOTHING_YET, ONE_SO_FAR, describe_annotation, look_at_painted
from medgs_napari._marks import describe_shown
from medgs_napari._rendered import LABEL_WORDS
from medgs_napari._results import find_results
from medgs_napari._segment_widget import SegmentWidget
from medgs_napari._session import fitted_from_file, session_of

from .conftest import SHAPE, SPACING, needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("complaints")]

TIMEOUT = 90_000
DRAWN = (2, 4, 6)


@pytest.fixture
def fitted(viewer, model):
    one = fitted_from_file(model, "scan.medgs")
    session_of(viewer).add(one)
    return one


@pytest.fixture
def dock(viewer, add_dock):
    widget = SegmentWidget(viewer)
    return add_dock(widget, "Segment")


def paint(layer, slices=DRAWN):
    """Draw two structures on some slices."""
    for k in slices:
        layer.data[k, 10:20, 10 + k : 30] = 1
        layer.data[k, 22:30, 20:40] = 2
    layer.refresh()
    layer.events.paint(value=[])


def done(qtbot, dock):
    qtbot.waitUntil(lambda: dock.panel.job is None, timeout=TIMEOUT)


def propagated(qtbot, dock):
    dock.propagate.click()
    done(qtbot, dock)


@pytest.mark.window
def test_new_has_the_voxels_of_the_model_and_the_brush_in_hand(viewer, fitted, dock):
    assert dock.slices.text() in ("", "Press New, and paint the structures on a few slices.")
    assert not dock.propagate.isEnabled()
    dock.form.new.click()
    (layer,) = viewer.layers
    assert (layer.data.shape, layer.name, layer.mode) == (SHAPE, "scan painted", "paint")
    np.testing.assert_allclose(layer.scale, SPACING)
    assert dock.form.layer is layer


def test_the_axis_along_which_labels_are_carried_is_named(viewer, dock, model, scan):
    assert dock.form.along.isHidden()
    session_of(viewer).add(fitted_from_file(model, "scan.medgs"))
    assert dock.form.along.currentText() == "z: 9 slices, every 3 mm"
    assert dock.form.along.count() == 1  # a model has its slices already
    image = viewer.add_image(scan.transpose(1, 0, 2), scale=(0.8, 3.0, 0.7), axis_labels=("a", "b", "c"), name="across")
    dock.form.model.setCurrentText("fit first: across")
    assert dock.form.along.currentText() == "b: 9 slices, every 3 px"
    assert not dock.form.aside.isHidden()
    viewer.dims.order = (1, 0, 2)
    assert dock.form.aside.isHidden()
    viewer.dims.order = (0, 1, 2)
    assert not dock.form.aside.isHidden()
    viewer.layers.remove(image)
    assert dock.form.along.currentText() == "z: 9 slices, every 3 mm"


def test_an_image_is_fitted_along_the_axis_that_is_chosen(qtbot, viewer, dock, scan):
    viewer.add_image(scan.transpose(1, 0, 2), scale=(3.0, 3.0, 0.7), axis_labels=("a", "b", "c"), name="across")
    dock.form.fit["preset"].value = "fast"
    assert dock.form.along.axis == 0
    dock.form.along.setCurrentIndex(dock.form.along.findData(1))
    dock.form.new.click()
    assert dock.form.along.axis == 1  # also when another layer has come
    painted = viewer.layers["across painted"]
    painted.data[10:20, 2, 10:30], painted.data[10:20, 6, 14:34] = 1, 1
    painted.events.paint(value=[])
    dock.propagate.click()
    qtbot.waitUntil(lambda: "across propagated" in viewer.layers, timeout=TIMEOUT)
    labels = viewer.layers["across propagated"].data
    (fitted,) = session_of(viewer).models
    assert fitted.frames[0].slice_axis == 1
    np.testing.assert_array_equal(labels[:, (2, 6)], painted.data[:, (2, 6)])
    assert (labels[:, 4] == 1).any()


def test_an_empty_layer_is_a_beginning(qtbot, viewer, fitted, dock, caplog):
    dock.form.new.click()
    qtbot.waitUntil(lambda: dock.slices.text() == NOTHING_YET, timeout=TIMEOUT)
    assert not dock.propagate.isEnabled()
    (layer,) = viewer.layers
    paint(layer, DRAWN[:1])
    assert dock.propagate.isEnabled()  # as far as is known
    qtbot.waitUntil(lambda: dock.slices.text() == ONE_SO_FAR.format(DRAWN[0]), timeout=TIMEOUT)
    assert not dock.propagate.isEnabled()
    layer.data[DRAWN[1], 10:20, 10:30] = 1
    layer.refresh()  # all that a script does
    qtbot.waitUntil(dock.propagate.isEnabled, timeout=TIMEOUT)
    assert dock.slices.text() == "Labeled slices: 2, 4; labels 1, 2."
    assert caplog.records == []


def test_one_slice_is_enough_where_the_others_are_named_or_count_anyway():
    drawn = medgs.Volume(np.zeros((6, 4, 5), np.uint8), np.eye(4))
    drawn.voxels[2, 1:3, 1:3] = 1
    assert not look_at_painted(drawn, 0, medgs.LabelConfig(), with_image=True).enough
    assert look_at_painted(drawn, 0, medgs.LabelConfig(labeled_slices="all"), with_image=True).enough
    assert look_at_painted(drawn, 0, medgs.LabelConfig(), with_image=False).enough
    nothing = look_at_painted(drawn, 0, medgs.LabelConfig(unlabeled_value=1), with_image=False)
    assert nothing == (NOTHING_YET, False)


def test_new_on_no_stack_is_a_sentence(viewer, dock, monkeypatch, complaints):
    def refuse():
        raise ValueError("A rule.")

    monkeypatch.setattr(dock.form, "grid", refuse)
    dock.form.new.setEnabled(True)
    dock.form.new.click()
    assert complaints == ["A rule."]


def test_the_painted_slices_are_said_in_words_as_the_brush_goes_on(qtbot, viewer, fitted, dock):
    dock.form.new.click()
    paint(viewer.layers[0])
    words = "Labeled slices: 2, 4, 6; labels 1, 2."
    qtbot.waitUntil(lambda: dock.slices.text() == words, timeout=TIMEOUT)
    dock.form.values["labeled_slices"].value = "2, 6"
    words = "Labeled slices: 2, 6; labels 1, 2."
    qtbot.waitUntil(lambda: dock.slices.text() == words, timeout=TIMEOUT)
    dock.form.values["labeled_slices"].value = "many"
    qtbot.waitUntil(lambda: "Slices that count should be" in dock.slices.text(), timeout=TIMEOUT)
    dock.form.values["labeled_slices"].value = "2, 99"
    qtbot.waitUntil(lambda: dock.slices.text().startswith("Slices that count must be named once"), timeout=TIMEOUT)


def test_many_labels_are_counted_not_named():
    drawn = medgs.Volume(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.eye(4))
    told = describe_annotation(medgs.annotate(drawn, 0))
    assert told == "Labeled slices: all 3; 59 labels from 1 to 59."


def test_slices_that_count_as_empty_are_told():
    drawn = medgs.Volume(np.zeros((6, 4, 5), np.uint8), np.eye(4))
    drawn.voxels[2:4, 1:3, 1:3] = 1
    told = describe_annotation(medgs.annotate(drawn, 0, image=drawn))
    assert told.startswith("Labeled slices: all 6; label 1. 4 of them count as empty; if they are only not painted yet")


def test_labels_come_to_all_slices_and_painted_ones_stay(qtbot, viewer, fitted, dock):
    dock.form.new.click()
    painted = viewer.layers[0]
    paint(painted)
    before = painted.data.copy()
    propagated(qtbot, dock)
    given = find_results(viewer, fitted)[LABELS]
    assert isinstance(given, Labels)
    np.testing.assert_array_equal(given.data[list(DRAWN)], before[list(DRAWN)])
    np.testing.assert_array_equal(painted.data, before)
    assert all(given.data[k].any() for k in range(2, 7))
    assert given.data.dtype == painted.data.dtype
    np.testing.assert_allclose(given.extent.world, painted.extent.world)
    np.testing.assert_array_equal(given.get_color(2), painted.get_color(2))
    assert viewer.layers[-1].name == viewer.layers.selection.active.name == painted.name
    assert dock.panel.status.text().startswith("Done: labels on all 9 slices.")
    assert fitted.model.labels is not None
    assert (painted.name, given.name) == ("scan painted", "scan propagated")
    assert (painted.contour, given.contour) == (0, 1)  # filled, and outlined
    given.contour = 0
    propagated(qtbot, dock)
    assert given.contour == 0  # the user's choice


@pytest.mark.window
def test_propagating_again_updates_the_layers(qtbot, viewer, fitted, dock):
    dock.form.new.click()
    painted = viewer.layers[0]
    paint(painted)
    dock.form.factor.setValue(3)
    propagated(qtbot, dock)
    count, given = len(viewer.layers), find_results(viewer, fitted)[LABELS]
    given.name = "mine"
    painted.data[4, 32:38, 2:9] = 3
    dock.form.factor.setValue(2)
    propagated(qtbot, dock)
    assert len(viewer.layers) == count == 3
    assert given.name == "mine"
    assert 3 in given.data[4]
    fine = find_results(viewer, fitted)[FINE]
    assert fine.data[0].shape[0] == 17
    np.testing.assert_array_equal(np.asarray(fine.data[0][::2]), given.data)
    image = Image(np.zeros(SHAPE), scale=SPACING)
    half = 0.5 * np.array(SPACING)
    assert np.all(np.abs(fine.extent.world - image.extent.world) <= half + 1e-6)


def test_the_corner_tells_painted_from_propagated(qtbot, viewer, fitted, dock):
    dock.form.new.click()
    paint(viewer.layers[0])
    propagated(qtbot, dock)
    viewer.layers.selection.active = find_results(viewer, fitted)[LABELS]
    for index, words in ((4, f"{LABEL_WORDS[0]}\nslice 4"), (5, f"{LABEL_WORDS[1]}\nslice 5")):
        viewer.dims.set_current_step(0, index)
        assert describe_shown(viewer) == words


def test_confidence_is_a_layer_that_is_sure_of_painted_slices(qtbot, viewer, fitted, dock):
    assert not dock.confidence.isEnabled()
    dock.form.new.click()
    paint(viewer.layers[0])
    propagated(qtbot, dock)
    for _ in range(2):
        dock.confidence.click()
    assert dock.panel.job is None
    assert len(viewer.layers) == 3
    layer = find_results(viewer, fitted)[CONFIDENCE]
    sure = np.asarray(layer.data)
    np.testing.assert_array_equal(sure, confidence_of(fitted.model, 1))
    assert np.all(sure[list(DRAWN)] == 1)
    assert 0.5 <= sure.min() < 0.9
    covered = layer.colormap.map(np.array([0.0, 0.5, 0.75, 1.0]))[:, 3]
    np.testing.assert_allclose(covered, [0, 1, 0.7, 0], atol=0.03)  # unmade and sure pixels let the image through
    assert tuple(layer.contrast_limits) == (0.0, 1.0)


def confidence_of(model, factor):
    return medgs.render_uncertainty(model, labels=True, factor=factor).voxels.transpose(2, 1, 0)


def test_confidence_is_as_fine_as_the_labels_and_follows_what_is_painted_next(qtbot, viewer, fitted, dock):
    dock.form.new.click()
    painted = viewer.layers[0]
    paint(painted)
    dock.form.factor.setValue(3)
    propagated(qtbot, dock)
    dock.confidence.click()
    layer, fine = (find_results(viewer, fitted)[what] for what in (CONFIDENCE, FINE))
    np.testing.assert_array_equal(layer.extent.world, fine.extent.world)
    before = np.asarray(layer.data)
    np.testing.assert_array_equal(before, confidence_of(fitted.model, 3))
    painted.data[5, 10:20, 20:30] = 1
    propagated(qtbot, dock)
    assert find_results(viewer, fitted)[CONFIDENCE] is layer
    assert np.any(np.asarray(layer.data) != before)
    np.testing.assert_array_equal(np.asarray(layer.data), confidence_of(fitted.model, 3))


def test_labels_elsewhere_are_a_sentence_and_the_button_stays(qtbot, viewer, fitted, dock, complaints):
    viewer.add_labels(np.ones((5, 6, 7), np.uint8), name="other")
    qtbot.waitUntil(lambda: "must have the voxels of the image" in dock.slices.text(), timeout=TIMEOUT)
    propagated(qtbot, dock)
    assert "must have the voxels of the image they are for" in complaints[0]
    assert dock.propagate.isEnabled()
    assert not dock.propagate.isHidden()


@pytest.mark.parametrize("slices", [(), (3,)])
def test_too_few_painted_slices_are_a_sentence(qtbot, viewer, fitted, dock, complaints, slices):
    dock.form.new.click()
    paint(viewer.layers[0], slices)
    propagated(qtbot, dock)
    assert "at least" in complaints[0]
    assert dock.propagate.isEnabled()
    assert len(viewer.layers) == 1


def test_a_cancelled_propagation_leaves_what_was_there(qtbot, viewer, fitted, dock, monkeypatch):
    def slow(model, *_, progress, **__):
        while not progress.cancelled:
            time.sleep(0.01)
        return model

    dock.form.new.click()
    paint(viewer.layers[0])
    monkeypatch.setattr(medgs, "fit_labels", slow)
    dock.propagate.click()
    assert not dock.panel.cancel.isHidden()
    dock.panel.cancel.click()
    done(qtbot, dock)
    assert len(viewer.layers) == 1
    assert fitted.model.labels is None
    assert not dock.propagate.isHidden()


def test_an_image_without_a_model_is_fitted_first(qtbot, viewer, dock, scan, complaints):
    viewer.add_image(scan, name="scan", scale=SPACING)
    assert dock.form.model.currentText() == "fit first: scan"
    dock.form.fit["preset"].value = "fast"
    dock.form.new.click()
    paint(viewer.layers["scan painted"])
    propagated(qtbot, dock)
    done(qtbot, dock)
    (fitted,) = session_of(viewer).models
    qtbot.waitUntil(lambda: LABELS in find_results(viewer, fitted), timeout=TIMEOUT)
    assert dock.form.model.currentText() == "scan"
    assert complaints == []
    done(qtbot, dock)


def test_labels_alone_are_carried_by_their_outlines(qtbot, viewer, dock, complaints):
    layer = viewer.add_labels(np.zeros(SHAPE, np.uint8), scale=SPACING, name="drawn")
    paint(layer, (0, *DRAWN, 8))
    assert dock.form.model.currentText() == "no image: outlines alone"
    dock.form.fit["preset"].value = "fast"
    dock.form.values["labeled_slices"].value = "0, 2, 4, 6, 8"
    for _ in range(2):
        propagated(qtbot, dock)
    (fitted,) = session_of(viewer).models
    assert not fitted.model.has_image
    given = find_results(viewer, fitted)[LABELS]
    assert all(given.data[k].any() for k in range(9))
    assert len(viewer.layers) == 2
    assert complaints == []


def test_what_is_copied_names_the_choices(qtbot, viewer, fitted, dock):
    assert dock.copies.isHidden()
    dock.form.new.click()
    paint(viewer.layers[0])
    dock.form.values["labeled_slices"].value = "2, 6"
    propagated(qtbot, dock)
    dock.copies.python.click()
    assert "medgs.LabelConfig(labeled_slices=(2, 6))" in QApplication.clipboard().text()
    dock.copies.command.click()
    assert "needs the image that this model was fitted to" in QApplication.clipboard().text()


@pytest.mark.window
def test_the_dock_may_be_closed_while_it_works(qtbot, viewer, fitted, dock):
    dock.form.new.click()
    paint(viewer.layers[0])
    dock.propagate.click()
    job = dock.panel.job
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.waitUntil(lambda: job.wait(0), timeout=TIMEOUT)
