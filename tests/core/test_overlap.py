import numpy as np
import pytest

from medgs_core.overlap import dice, iou

A = np.array([[True, True, True, False]])
B = np.array([[False, True, True, False]])


@pytest.mark.parametrize("score", [dice, iou])
class TestBoth:
    def test_equal_masks_are_one_and_disjoint_ones_zero(self, score):
        assert score(A, A) == 1.0
        assert score(A, ~A) == 0.0

    def test_two_empty_masks_agree_and_one_does_not(self, score):
        empty = np.zeros_like(A)
        assert score(empty, empty) == 1.0
        assert score(empty, A) == score(A, empty) == 0.0

    def test_a_label_is_the_mask_of_it(self, score):
        labels, others = np.where(A, 7, 2), np.where(B, 7, 3)
        assert score(labels, others, label=7) == score(A, B)
        assert score(labels, others, label=2) == 0.0

    def test_other_shapes_are_refused(self, score):
        with pytest.raises(ValueError, match=r"one shape to be compared, got \(1, 4\) and \(4, 1\); resample"):
            score(A, A.T)

    def test_label_maps_need_a_label(self, score):
        with pytest.raises(ValueError, match=r"must be boolean, got uint8 without a label; name"):
            score(A.astype(np.uint8), A.astype(np.uint8))


def test_two_of_three_pixels():
    # 2 * 2 / (3 + 2) and 2 / 3
    assert dice(A, B) == pytest.approx(0.8)
    assert iou(A, B) == pytest.approx(2 / 3)
