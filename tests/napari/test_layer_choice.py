import numpy as np
import pytest
from napari.components import ViewerModel

from medgs_napari import _results
from medgs_napari._layer_choice import LayerChoice, is_painted, is_scan

from .conftest import needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("qapp")]

STACK = np.zeros((3, 4, 5), np.uint8)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def open_box(qtbot, viewer):
    def opened(*arguments):
        box, heard = LayerChoice(viewer, *arguments), []
        qtbot.addWidget(box)
        box.chosen.connect(lambda: heard.append(box.layer))
        return box, heard

    return opened


def names(box):
    return [box.itemText(k) for k in range(box.count())]


def test_only_layers_that_serve_are_listed(viewer, open_box):
    viewer.add_image(STACK, name="scan")
    viewer.add_image(STACK[0], name="flat")
    viewer.add_labels(STACK, name="painted")
    viewer.add_image(STACK, name="made", metadata={_results.METADATA: object()})
    assert names(open_box(is_scan)[0]) == ["scan"]
    assert names(open_box(is_painted)[0]) == ["painted"]
    assert names(open_box(is_scan, "none")[0]) == ["none", "scan"]


def test_it_begins_with_the_active_layer_unless_none_may_be_chosen(viewer, open_box):
    viewer.add_image(STACK)
    active = viewer.add_image(STACK)
    viewer.add_image(STACK)
    viewer.layers.selection.active = active
    assert open_box(is_scan)[0].layer is active
    assert open_box(is_scan, "none")[0].layer is None


def test_what_is_chosen_stays_while_others_come_go_and_move(viewer, open_box):
    first, second = viewer.add_image(STACK, name="first"), viewer.add_image(STACK, name="second")
    box, heard = open_box(is_scan)
    box.choose(first)
    heard.clear()
    viewer.add_image(STACK, name="third")
    viewer.layers.move(0, 3)
    viewer.layers.remove(second)
    first.name = "renamed"
    assert box.layer is first
    assert box.currentText() == "renamed"
    assert heard == []


def test_it_tells_when_the_chosen_layer_is_gone(viewer, open_box):
    first, second = viewer.add_image(STACK), viewer.add_image(STACK)
    box, heard = open_box(is_scan)
    box.choose(second)
    heard.clear()
    viewer.layers.remove(second)
    assert heard == [first]
    viewer.layers.clear()
    assert heard == [first, None]
    assert box.layer is None


def test_the_first_layer_that_comes_is_chosen(viewer, open_box):
    box, heard = open_box(is_scan)
    layer = viewer.add_image(STACK)
    assert heard == [layer] == [box.layer]


def test_it_tells_when_the_chosen_layer_has_another_shape(viewer, open_box):
    layer = viewer.add_image(STACK)
    box, heard = open_box(is_scan)
    viewer.add_image(STACK)
    layer.data = STACK + 1
    assert heard == []
    layer.data = STACK[:2]
    assert heard == [layer]
    layer.data = STACK[0]
    assert box.layer is not layer
