import numpy as np
from napari.components import ViewerModel

from medgs_napari._results import find_results, show_result

OWNER, OTHER = object(), object()


def labels(viewer, owner=OWNER, value=1, **settings):
    return show_result(
        viewer, owner, "labels", "labels", np.full((3, 4, 5), value, np.uint8), {"name": "given", **settings}
    )


def test_what_is_made_again_updates_its_layer():
    viewer = ViewerModel()
    first = labels(viewer)
    first.opacity, first.visible = 0.3, False
    again = labels(viewer, value=2, scale=(2.0, 1.0, 1.0), translate=(5.0, 0.0, 0.0))
    assert again is first
    assert np.all(again.data == 2)
    assert (tuple(again.scale), tuple(again.translate)) == ((2.0, 1.0, 1.0), (5.0, 0.0, 0.0))
    assert (again.opacity, again.visible) == (0.3, False)


def test_each_owner_has_a_layer_of_its_own():
    viewer = ViewerModel()
    assert labels(viewer) is not labels(viewer, OTHER)
    assert list(find_results(viewer, OTHER)) == ["labels"]


def test_a_layer_that_was_deleted_is_made_anew():
    viewer = ViewerModel()
    viewer.layers.remove(labels(viewer))
    labels(viewer)
    assert len(viewer.layers) == 1


def test_the_name_that_a_user_gave_stays():
    viewer = ViewerModel()
    layer = labels(viewer)
    layer.name = "mine"
    labels(viewer, name="other")
    assert layer.name == "mine"


def test_the_active_layer_stays_active():
    viewer = ViewerModel()
    active = viewer.add_image(np.zeros((3, 4, 5)))
    labels(viewer)
    assert viewer.layers.selection.active is active
