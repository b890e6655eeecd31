import numpy as np
import pytest
from napari.components import ViewerModel

from medgs_napari._marks import describe_shown
from medgs_napari._rendered import METADATA, Slices

from .test_shown import OTHERS, PLACES, SHAPE, steps_of_sliders

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("place", PLACES)
def test_the_slice_that_is_named_is_the_one_whose_pixels_are_shown(place, axis):
    viewer, count = ViewerModel(), SHAPE[axis]
    numbers = np.broadcast_to(np.arange(count).reshape([-1 if k == axis else 1 for k in range(3)]), SHAPE)
    slices = Slices(axis, np.arange(count), np.ones(count, bool))
    layer = viewer.add_image(numbers, metadata={METADATA: slices}, contrast_limits=(0, count), **PLACES[place])
    viewer.add_image(**OTHERS["in micrometers"], contrast_limits=(0, 1))
    viewer.dims.order = (axis, *(k for k in range(3) if k != axis))
    named = []
    for _ in steps_of_sliders(viewer.dims, count=5):
        value = layer.get_value(np.array(SHAPE) // 2, dims_displayed=list(viewer.dims.displayed))
        words = describe_shown(viewer)
        inside = words != ""
        named.append(inside)
        if inside:
            assert words == f"MEASURED\nslice {value}"
    assert any(named)


def test_of_two_runs_of_slices_that_is_named_in_which_the_slider_stands():
    viewer = ViewerModel()
    for start, first in ((0, 0), (6, 3)):
        slices = Slices(0, np.arange(first, first + 3), np.ones(3, bool))
        viewer.add_image(np.zeros((3, 4, 4)), scale=(2, 1, 1), translate=(start, 0, 0), metadata={METADATA: slices})
    for active in viewer.layers:
        viewer.layers.selection.active = active
        for place, number in ((0, 0), (4, 2), (6, 3), (10, 5)):
            viewer.dims.set_point(0, place)
            assert describe_shown(viewer) == f"MEASURED\nslice {number}"


def test_of_layers_over_one_another_the_selected_one_is_named_and_else_the_uppermost():
    viewer = ViewerModel()
    for first in (0, 5):
        slices = Slices(0, np.arange(first, first + 3), np.ones(3, bool))
        viewer.add_image(np.zeros((3, 4, 4)), metadata={METADATA: slices})
    viewer.dims.set_point(0, 1)
    viewer.layers.selection.active = viewer.layers[0]
    assert describe_shown(viewer) == "MEASURED\nslice 1"
    viewer.layers.selection.active = None
    assert describe_shown(viewer) == "MEASURED\nslice 6"
    viewer.layers[1].visible = False
    assert describe_shown(viewer) == "MEASURED\nslice 1"
