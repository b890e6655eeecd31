import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

import medgs_core as medgs
from medgs_napari._frames import frame_of_volume, place_of
from medgs_napari._shown import show_step, shown_coordinate, shown_step, shown_steps

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

SHAPE = (7, 9, 11)
TILT = np.array([[0.96, 0.28, 0, 4], [-0.28, 0.96, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1.0]])
PLACES = {
    "plain": {},
    "anisotropic": {"scale": (3.0, 0.5, 0.7), "translate": (10.0, -4.0, 2.0)},
    "negative": {"scale": (-3.0, 0.5, -0.7), "translate": (1.0, 2.0, 3.0)},
    "rotated": {"scale": (3.0, 0.5, 0.7), "rotate": (10.0, 20.0, 30.0), "translate": (5.0, 6.0, 7.0)},
    "sheared": {"scale": (3.0, 0.5, 0.7), "shear": (0.4, 0.1, 0.3)},
    "tilted": {"scale": (2.0, 1.0, 1.0), "affine": TILT},
    "in nanometers": {"scale": (3e3, 5e2, 7e2), "translate": (1e4, 0, 0), "units": ("nm",) * 3},
    "mirrored and in nanometers": {"scale": (-3e3, 5e2, 7e2), "affine": TILT, "units": ("nm",) * 3},
}
OTHERS = {
    "finer": {"data": np.zeros((25, 9, 11)), "scale": (0.75, 0.5, 0.7), "translate": (10.0, -4.0, 2.0)},
    "with time": {"data": np.zeros((4, 25, 9, 11)), "scale": (2.0, 0.75, 0.5, 0.7)},
    "in micrometers": {"data": np.zeros((25, 9, 11)), "scale": (0.75, 0.5, 0.7), "units": ("um",) * 3},
    "two-dimensional": {"data": np.zeros((9, 11))},
}


class Watched:
    """Data of a layer that remember what was last asked of them."""

    dtype, ndim = np.dtype(np.int16), 3

    def __init__(self, shape):
        self.shape, self.size, self.asked = shape, int(np.prod(shape)), None

    def __getitem__(self, key):
        self.asked = key
        return np.zeros(self.shape, self.dtype)[key]

    def __array__(self, dtype=None, copy=None):
        return np.zeros(self.shape, dtype or self.dtype)


def steps_of_sliders(dims, count=3):
    """Yield while the sliders that there are stand at places all over their ranges, and between steps of the layer."""
    sliders, generator = dims.order[: -dims.ndisplay], np.random.default_rng(0)
    for _ in range(count):
        for axis in sliders:
            dims.set_current_step(axis, int(generator.integers(dims.nsteps[axis])))
        yield


def assert_as_asked(viewer, layer, data):
    """Check that the step which is said to be shown is the one that napari took."""
    data.asked = None
    layer.refresh()
    steps = [shown_step(viewer, layer, axis) for axis in range(3)]
    inside = all(step is None or 0 <= step < n for step, n in zip(steps, data.shape, strict=True))
    assert (data.asked is not None) == inside
    if inside:
        assert data.asked == tuple(slice(None) if step is None else slice(step, step + 1) for step in steps)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("place", PLACES)
def test_the_step_that_is_shown_is_the_one_that_napari_took(place, other):
    viewer, data = ViewerModel(), Watched(SHAPE)
    layer = viewer.add_layer(Image(data, contrast_limits=(0, 1), **PLACES[place]))
    viewer.add_image(**OTHERS[other], contrast_limits=(0, 1))
    offset, inside = viewer.dims.ndim - 3, 0
    for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
        viewer.dims.order = (*range(offset), *(axis + offset for axis in order))
        for _ in steps_of_sliders(viewer.dims):
            assert_as_asked(viewer, layer, data)
            inside += data.asked is not None
    assert inside > 0


def test_an_axis_that_another_layer_has_may_be_displayed():
    viewer, data = ViewerModel(), Watched(SHAPE)
    layer = viewer.add_layer(Image(data, contrast_limits=(0, 1), scale=(3.0, 0.5, 0.7)))
    viewer.add_image(**OTHERS["with time"], contrast_limits=(0, 1))
    viewer.dims.order = (1, 2, 0, 3)
    for _ in steps_of_sliders(viewer.dims):
        assert_as_asked(viewer, layer, data)


def test_levels_are_counted_by_the_finest():
    viewer, levels = ViewerModel(), [Watched((8, 64, 64)), Watched((4, 32, 32))]
    layer = viewer.add_layer(Image(levels, contrast_limits=(0, 1), multiscale=True, scale=(2.0, 1.0, 1.0)))
    for step in range(8):
        viewer.dims.set_current_step(0, step)
        layer.refresh()
        assert shown_step(viewer, layer, 0) == step
        shown = min(round(step / 2), 3) if layer.data_level else step
        assert levels[layer.data_level].asked[0] == slice(shown, shown + 1)


def test_nothing_is_shown_of_an_axis_that_is_displayed():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros(SHAPE))
    assert [shown_step(viewer, layer, axis) for axis in (1, 2)] == [None, None]
    viewer.dims.ndisplay = 3
    assert shown_step(viewer, layer, 0) is None
    assert shown_steps(viewer, layer) == [3, 4, 5]
    viewer.layers.clear()  # two axes are left
    assert shown_coordinate(viewer, place_of(layer), 0) is None


@pytest.mark.parametrize("place", PLACES)
def test_the_slider_goes_where_a_step_is_shown(place):
    viewer, data = ViewerModel(), Watched(SHAPE)
    layer = viewer.add_layer(Image(data, contrast_limits=(0, 1), **PLACES[place]))
    viewer.add_image(**OTHERS["in micrometers"])
    for step in (2, 5):
        show_step(viewer, layer, 0, step)
        assert abs(shown_coordinate(viewer, place_of(layer), 0) - step) < 0.51


def test_a_volume_that_counts_downward_is_shown_where_its_slices_are():
    volume = medgs.Volume(np.zeros((6, 5, 4), np.int16), np.diag([1.0, 1.0, -3.0, 1.0]))
    frame, viewer = frame_of_volume(volume, 2), ViewerModel()
    viewer.add_image(np.zeros((13, 5, 6)), scale=(-0.75, 1.0, 1.0))
    viewer.dims.set_point(0, -4.5)
    assert shown_coordinate(viewer, frame.place, frame.slice_axis) == pytest.approx(1.5)
    viewer.dims.order = (1, 0, 2)
    assert shown_coordinate(viewer, frame.place, frame.slice_axis) is None
