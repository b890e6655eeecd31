import math
from dataclasses import replace

import numpy as np
import pytest

from medgs_core.classical_labels import available_methods
from medgs_core.config import FitConfig
from medgs_core.hidden import OURS
from medgs_core.label_evaluation import (
    LabelAgreement,
    evaluate_labels,
    predict_classical,
    score_predictions,
    withhold_labels,
)
from medgs_core.overlap import dice
from medgs_core.surface_metrics import surface_distances
from medgs_core.volume import Volume, stack_affine

from ._fits import UNEVEN_MM, Follower, moving_voxels, settings

SPACING = (3.0, 1.0, 1.0)
HEIGHT, WIDTH = 14, 18
METHODS = {*available_methods(), OURS}


def disk(radius, row=6.5, column=8.5):
    rows, columns = np.indices((HEIGHT, WIDTH))
    return np.hypot(rows - row, columns - column) < radius


def planes(slices=9):
    """Return a disk of label 5 that grows, and a bar of label 9 beside it that stays."""
    voxels = np.stack([disk(1.5 + 0.6 * k) * np.uint8(5) for k in range(slices)])
    voxels[:, 3:11, :2] = 9
    return voxels


def label_map(voxels=None, **place):
    return Volume(planes() if voxels is None else voxels, stack_affine(SPACING), **place)


def image(slices=9):
    return Volume(moving_voxels(slices), stack_affine(SPACING))


def withheld(labels=None, volume=None, stride=2, **changes):
    return withhold_labels(labels or label_map(), volume, FitConfig(**changes), stride)


def scores_of(case, predicted):
    """Return the scores of one method that predicts these slices."""
    return score_predictions(case, {"one": (predicted, 0.0)}).methods["one"]


@pytest.fixture(scope="module")
def alone():
    return evaluate_labels(label_map(), None, settings(hide=0))


def test_all_methods_are_scored_on_the_labels_of_held_out_slices(alone):
    assert (alone.axis, alone.kept, alone.held_out) == (0, (0, 2, 4, 6, 8), (1, 3, 5, 7))
    assert (alone.ids, alone.unseen, alone.unit) == ((5, 9), (), "mm")
    assert set(alone.methods) == METHODS
    for method, score in alone.methods.items():
        if method == "itk":  # which loses what is two pixels wide
            continue
        assert 0.7 < score.dice <= 1.0
        assert 0.0 <= score.hausdorff95 < 4.0
        assert (score.missed, set(score.labels)) == (0, {5, 9})
        assert score.seconds > 0.0


def test_ours_beats_nearest_where_a_structure_grows(alone):
    assert alone.methods[OURS].labels[5].dice > alone.methods["nearest"].labels[5].dice


def test_means_are_over_labels(alone):
    for score in alone.methods.values():
        assert score.dice == pytest.approx(np.mean([one.dice for one in score.labels.values()]))
        assert score.hausdorff95 == pytest.approx(np.mean([one.hausdorff95 for one in score.labels.values()]))


def test_an_image_keeps_all_of_its_slices():
    case = withheld(volume=image(), stride=4)
    model = case.fit(settings(hide=0))
    assert model.has_image
    assert model.volume.shape3d[0] == 9
    assert case.render(model, "cpu").shape == (6, HEIGHT, WIDTH)


def test_with_an_image_every_method_is_scored():
    found = evaluate_labels(label_map(), image(), settings(hide=0), stride=4)
    assert (found.kept, found.held_out) == ((0, 4, 8), (1, 2, 3, 5, 6, 7))
    assert set(found.methods) == METHODS
    assert found.methods[OURS].dice > 0.7


@pytest.mark.parametrize("volume", [None, image()])
def test_labels_that_are_held_out_are_not_looked_at(volume):
    other = planes()
    other[1::2] = 5
    true, false = (withheld(label_map(voxels), volume) for voxels in (planes(), other))
    np.testing.assert_array_equal(true.given.volume.voxels, false.given.volume.voxels)
    for (_, (ours, _)), (_, (theirs, _)) in zip(
        predict_classical(true).items(), predict_classical(false).items(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_dice_is_over_all_held_out_voxels_of_a_label():
    case = withheld()
    predicted = planes()[1::2].copy()
    predicted[0] = 0
    found = scores_of(case, predicted)
    assert found.labels[5].dice == dice(predicted, planes()[1::2], label=5)
    assert found.labels[9].dice == dice(predicted, planes()[1::2], label=9)


def test_distances_are_between_whole_structures_in_world_units():
    case = withheld()
    predicted = np.roll(planes()[1::2], 2, axis=2)
    whole = planes()
    whole[1::2] = predicted
    expected = surface_distances(planes(), whole, SPACING, label=5).hausdorff95
    assert scores_of(case, predicted).labels[5].hausdorff95 == pytest.approx(expected)
    assert expected > 0.0


@pytest.mark.parametrize("axis", [1, 2])
def test_the_slice_axis_may_be_any(axis):
    voxels = np.ascontiguousarray(np.moveaxis(planes(), 0, axis))
    spacing = np.insert(np.ones(2), axis, 3.0)
    labels = Volume(voxels, np.diag([*spacing, 1.0]))
    turned, straight = withheld(labels, axis=str(axis)), withheld()
    assert turned.split.axis == axis
    predicted = np.roll(planes()[1::2], 1, axis=1)
    assert scores_of(turned, predicted).labels == pytest.approx(scores_of(straight, predicted).labels)


def test_what_is_predicted_right_is_at_no_distance():
    found = scores_of(withheld(), planes()[1::2])
    assert (found.dice, found.hausdorff95, found.missed) == (1.0, 0.0, 0)


def test_a_label_that_no_held_out_slice_shows_is_missed():
    predicted = planes()[1::2].copy()
    predicted[predicted == 9] = 5
    found = scores_of(withheld(), predicted)
    assert (found.missed, found.labels[9].dice) == (1, 0.0)
    assert math.isfinite(found.labels[9].hausdorff95)  # annotated slices still show it


def test_a_label_on_no_kept_slice_is_named_and_has_no_distance():
    voxels = planes()
    voxels[3, :3, :3] = 2
    case = withheld(label_map(voxels))
    found = score_predictions(case, predict_classical(case))
    assert (found.ids, found.unseen) == ((2, 5, 9), (2,))
    for score in found.methods.values():
        assert score.missed >= 1
        assert score.labels[2] == LabelAgreement(0.0, math.inf, missed=True)
        others = [score.labels[label].hausdorff95 for label in (5, 9)]
        assert score.hausdorff95 == pytest.approx(np.mean(others))


def test_slices_after_the_last_kept_one_do_not_count():
    voxels = planes(10)
    voxels[9] = 7
    found = scores_of(withheld(label_map(voxels)), voxels[1:8:2])
    assert set(found.labels) == {5, 9}
    assert found.dice == 1.0


def test_skipped_slices_are_neither_given_nor_predicted():
    for volume in (None, image()):
        found = evaluate_labels(label_map(), volume, settings(hide=0, skip=(2, 3)))
        assert (found.kept, found.held_out) == ((0, 4, 6, 8), (1, 5, 7))


@pytest.mark.parametrize("volume", [None, image()])
def test_slices_are_predicted_at_their_own_position_on_uneven_stacks(volume):
    volume = None if volume is None else replace(volume, positions=UNEVEN_MM)
    case = withheld(label_map(positions=UNEVEN_MM), volume, stride=4)
    z = np.interp(case.coordinates, np.arange(len(case.given)), case.given.positions)
    np.testing.assert_allclose(z, UNEVEN_MM[list(case.split.held_out)])
    assert case.render(case.fit(settings(hide=0)), "cpu").shape == (6, HEIGHT, WIDTH)


def test_one_held_out_slice_is_enough():
    found = evaluate_labels(label_map(planes(3)), None, settings(hide=0))
    assert found.held_out == (1,)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_ids_may_be_of_any_type(dtype):
    voxels = planes().astype(dtype) * 1000
    case = withheld(label_map(voxels))
    assert scores_of(case, voxels[1::2]).dice == 1.0
    assert case.ids == (5000, 9000)


def test_a_cancelled_fit_is_scored_as_it_stands(hear_every_step):
    found = evaluate_labels(label_map(), None, settings(hide=0), progress=Follower(2))
    assert math.isfinite(found.methods[OURS].dice)


def test_held_out_slices_without_labels_are_refused():
    voxels = planes()
    voxels[1::2] = 0
    with pytest.raises(ValueError, match="held-out slices must show a label, got none on the 4 of them; choose"):
        evaluate_labels(label_map(voxels))


def test_kept_slices_without_labels_are_refused():
    voxels = planes()
    voxels[::2] = 0
    with pytest.raises(ValueError, match="Labels must mark at least two slices, got an empty map"):
        evaluate_labels(label_map(voxels))


@pytest.mark.parametrize("stride", [1, 9])
def test_a_stride_that_leaves_nothing_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride .*, got {stride}"):
        evaluate_labels(label_map(), stride=stride)


def test_labels_on_another_grid_than_the_image_are_refused():
    with pytest.raises(ValueError, match="Labels must be on the grid of their image"):
        evaluate_labels(label_map(), image(8))
