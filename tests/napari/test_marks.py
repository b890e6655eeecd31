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
