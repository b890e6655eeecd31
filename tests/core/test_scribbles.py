import numpy as np
import pytest

from medgs_core.annotation import annotate
from medgs_core.scribbles import fill_unknown

from ._annotations import HEIGHT, WIDTH, disk, label_map
from ._stacks import stack_of

UNLABELED = 255


def scribbled(dtype=np.uint8, unlabeled=UNLABELED):
    """Return three slices, two of which have a stroke of each of two labels and of background."""
    planes = np.full((3, HEIGHT, WIDTH), unlabeled, dtype)
    for k in (0, 2):
        planes[k, 18:22, 12:16], planes[k, 18:22, 40:44], planes[k, 2, :] = 3, 9, 0
    return annotate(label_map(planes, dtype), 0, unlabeled=unlabeled)


def picture():
    """Return slices on which two bright disks stand on dark ground."""
    plane = 0.9 * disk(14, radius=9) + 0.6 * disk(42, radius=7)
    noise = np.random.default_rng(0).normal(0, 0.01, (3, HEIGHT, WIDTH))
    return stack_of((plane + noise)[..., np.newaxis])


@pytest.mark.parametrize("image", [None, picture()], ids=["alone", "image"])
class TestFilling:
    @pytest.mark.parametrize(("dtype", "unlabeled"), [(np.uint8, 255), (np.int16, -1), (np.float32, 7)])
    def test_leaves_nothing_unknown_and_the_strokes_as_they_are(self, image, dtype, unlabeled):
        before = scribbled(dtype, unlabeled)
        after = fill_unknown(before, image)
        assert after.unlabeled is None
        assert after.volume.voxels.dtype == dtype
        for k in (0, 2):
            assert set(np.unique(after.plane(k))) == {0, 3, 9}
            known = before.plane(k) != unlabeled
            np.testing.assert_array_equal(after.plane(k)[known], before.plane(k)[known])

    def test_leaves_the_map_that_came_in_and_slices_that_nobody_labeled(self, image):
        before = scribbled()
        kept = before.volume.voxels.copy()
        after = fill_unknown(before, image)
        np.testing.assert_array_equal(before.volume.voxels, kept)
        np.testing.assert_array_equal(after.plane(1), kept[1])
        assert (after.annotated, after.ids) == ((0, 2), (3, 9))

    def test_where_there_is_one_label_it_is_everywhere(self, image):
        planes = np.full((3, HEIGHT, WIDTH), UNLABELED, np.uint8)
        planes[0, 5, 5], planes[1, 5, 5], planes[2, 5:8, 5] = 4, 0, (4, 0, 4)
        after = fill_unknown(annotate(label_map(planes), 0, unlabeled=UNLABELED), image)
        assert np.unique(after.plane(0)).tolist() == [4]
        assert np.unique(after.plane(1)).tolist() == [0]
        assert np.unique(after.plane(2)).tolist() == [0, 4]

    def test_nothing_is_done_where_nothing_is_unknown(self, image):
        annotation = annotate(label_map([disk(20), disk(20)]), 0)
        assert fill_unknown(annotation, image) is annotation


def test_without_an_image_the_nearest_stroke_decides():
    plane = fill_unknown(scribbled()).plane(0)
    assert (plane[20, :28] == 3).all()
    assert (plane[20, 28:] == 9).all()


def test_edges_of_the_image_are_not_crossed():
    plane = fill_unknown(scribbled(), picture()).plane(2)
    # nine in ten pixels of each disk and of the ground, near whose strokes it is
    assert (plane[disk(14, radius=9)] == 3).mean() > 0.9
    assert (plane[disk(42, radius=7)] == 9).mean() > 0.9
    assert (plane[:8] == 0).mean() > 0.9


def test_an_image_of_noise_is_no_reason_to_warn():
    noise = stack_of(np.random.default_rng(0).random((3, HEIGHT, WIDTH, 3)))
    assert set(np.unique(fill_unknown(scribbled(), noise).plane(0))) == {0, 3, 9}
