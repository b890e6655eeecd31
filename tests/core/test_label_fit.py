from dataclasses import replace

import numpy as np
import pytest
import torch

from medgs_core.classical_labels import interpolate_labels
from medgs_core.config import LabelConfig, RenderConfig
from medgs_core.fit import fit_model
from medgs_core.label_fit import fit_labels, outline_volume
from medgs_core.labels import LabelRenderer
from medgs_core.model import LABEL_LEVELS, LABEL_RANGE
from medgs_core.model_file import model_hash
from medgs_core.render import render_slice, render_volume

from ._annotations import disk, label_map
from ._labeled import ANNOTATED, BETWEEN, IDS, SLICES, drawn, mean_dice, moving_scan, quick, truth_at
from ._models import assert_same_gaussians

CPU = RenderConfig(device="cpu")


class Stopper:
    """Follows a fit, and cancels it for good once its labels have been heard of so many times."""

    paused = False

    def __init__(self, after=None, phase="labels"):
        self.after, self.phase, self.states = after, phase, []

    @property
    def heard(self):
        return [state for state in self.states if self.phase in state.phase]

    @property
    def cancelled(self):
        return self.after is not None and len(self.heard) >= self.after

    def report(self, state):
        self.states.append(state)


def assert_same_head(one, other):
    assert torch.equal(one.values, other.values)
    assert (one.weights, one.looseness) == (other.weights, other.looseness)
    np.testing.assert_array_equal(one.annotation.volume.voxels, other.annotation.volume.voxels)
    assert (one.annotation.annotated, one.annotation.ids) == (other.annotation.annotated, other.annotation.ids)


class TestImageHead:
    def test_is_the_same_to_the_bit_with_and_without_labels(self, bare, labeled):
        assert_same_gaussians(bare.gaussians, labeled.gaussians)
        assert bare.detail == labeled.detail
        assert bare.error_bound == labeled.error_bound
        assert bare.scores == labeled.scores
        assert bare.provenance == labeled.provenance
        for t in (0.0, 0.5, 2.3, 8.0):
            for detail in ("auto", "off"):
                one, other = (render_slice(model, t, detail=detail) for model in (bare, labeled))
                np.testing.assert_array_equal(one, other)

    def test_labels_later_are_labels_at_once(self, bare, labeled):
        later = fit_labels(bare, drawn())
        assert_same_head(later.labels, labeled.labels)
        assert model_hash(later) == model_hash(labeled)
        assert bare.labels is None

    def test_new_labels_take_the_place_of_old_ones(self, labeled):
        new = fit_labels(labeled, drawn((0, 8), ids=(5, 6)))
        assert new.labels.annotation.ids == (5, 6)
        assert labeled.labels.annotation.ids == IDS
        assert_same_gaussians(new.gaussians, labeled.gaussians)


class TestSparseLabels:
    def test_follow_the_image_far_better_than_straight_interpolation(self, labeled):
        annotation = labeled.labels.annotation
        assert annotation.annotated == ANNOTATED
        ours = mean_dice(LabelRenderer(labeled, CPU).stored, BETWEEN)
        straight = max(
            mean_dice(lambda t, method=method: interpolate_labels(annotation, t, method), BETWEEN)
            for method in ("nearest", "linear", "pchip")
        )
        assert ours > straight + 0.2

    def test_trust_what_predicts_the_annotated_slices(self, labeled):
        assert labeled.labels.weights[2] > 0.9
        assert sum(labeled.labels.weights) == pytest.approx(1.0)

    def test_two_slices_are_enough(self, bare):
        model = fit_labels(bare, drawn((0, 4)))
        assert model.labels.weights == pytest.approx((1 / 3,) * 3)
        assert model.labels.looseness > 0
        np.testing.assert_array_equal(render_slice(model, 4.0, labels=True), truth_at(4))

    def test_scribbles_are_filled_in(self, bare):
        labels = drawn()
        known = np.zeros(labels.voxels.shape, bool)
        known[list(ANNOTATED), ::2, ::2] = True
        scribbled = replace(labels, voxels=np.where(known, labels.voxels, 255).astype(np.uint8))
        model = fit_labels(bare, scribbled, LabelConfig(unlabeled_value=255))
        assert model.labels.annotation.annotated == ANNOTATED
        assert model.labels.annotation.unlabeled is None
        shown = LabelRenderer(model, CPU).stored
        assert mean_dice(shown, ANNOTATED) > 0.85
        assert set(np.unique(shown(2.5))) <= {0, *IDS}


class TestValues:
    @pytest.mark.parametrize("name", ["labeled", "alone"])
    def test_are_whole_steps_in_range(self, name, request):
        model = request.getfixturevalue(name)
        values = model.labels.values
        assert values.shape == (len(model.gaussians), len(IDS))
        assert values.dtype == torch.float32
        levels = values * (LABEL_LEVELS / LABEL_RANGE)
        # a step and back in float32
        assert (levels - levels.round()).abs().max() < 1e-4
        assert values.abs().max() <= LABEL_RANGE
        assert not torch.signbit(values[values == 0]).any()

    def test_other_classes_do_not_change_those_of_a_class(self, bare, labeled):
        labels = drawn()
        many = labels.voxels.astype(np.uint16)
        patches = 100 + np.arange(40)[:, np.newaxis] // 20 * 6 + np.arange(56) // 10  # a dozen, on what was background
        for k in ANNOTATED:
            many[k] = np.where(many[k] == 0, patches, many[k])
        rich = fit_labels(bare, replace(labels, voxels=many), LabelConfig(labeled_slices=ANNOTATED)).labels
        assert len(rich.annotation.ids) == 14
        # along the image: the flow of outlines sees all classes
        models = [replace(labeled, labels=replace(head, weights=(0.0, 0.0, 1.0))) for head in (labeled.labels, rich)]
        (ours, one), (theirs, other) = (LabelRenderer(model, CPU).carried(2.5) for model in models)
        np.testing.assert_array_equal(theirs[: len(ours)], ours)
        np.testing.assert_array_equal(other[: len(ours)], one)


class TestProgress:
    def test_is_heard_to_the_end(self, bare):
        hearer = Stopper()
        fit_labels(bare, drawn(), progress=hearer)
        steps = [state.step for state in hearer.states if state.phase == "fitting labels"]
        assert steps == list(range(1, len(steps) + 1))
        assert hearer.states[-1].step == hearer.states[-1].total

    @pytest.mark.parametrize("after", [1, 6])
    def test_a_cancelled_fit_keeps_a_model_that_renders(self, bare, after):
        stopper = Stopper(after)
        model = fit_labels(bare, drawn(), progress=stopper)
        assert len(stopper.heard) == after
        values = model.labels.values
        assert torch.isfinite(values).all()
        assert values.abs().max() <= LABEL_RANGE
        np.testing.assert_array_equal(render_slice(model, 4.0, labels=True), truth_at(4))
        assert LabelRenderer(replace(model, has_source=False), CPU).stored(4.0).shape == (40, 56)

    def test_a_pause_holds_it(self, bare, monkeypatch):
        hearer = Stopper()
        slept = []

        def sleep(seconds):
            slept.append(seconds)
            hearer.paused = False

        monkeypatch.setattr("medgs_core.progress.time.sleep", sleep)
        hearer.paused = True
        fit_labels(bare, drawn(), progress=hearer)
        assert len(slept) == 1
        assert hearer.states[-1].step == hearer.states[-1].total


@pytest.mark.usefixtures("hear_every_step")
class TestResume:
    @pytest.mark.parametrize("phase", ["hidden", "all slices"])
    def test_a_fit_with_labels_ends_as_an_unbroken_one(self, labeled, phase):
        first = fit_model(moving_scan(), quick(), labels=drawn(), progress=Stopper(4, phase))
        assert not first.complete
        assert first.model.labels is not None
        resumed = fit_model(moving_scan(), quick(), labels=drawn(), resume=first.checkpoint)
        assert resumed.complete
        assert_same_gaussians(resumed.model.gaussians, labeled.gaussians)
        assert_same_head(resumed.model.labels, labeled.labels)
        assert model_hash(resumed.model) == model_hash(labeled)

    def test_one_stopped_amid_its_labels_is_not_complete_and_goes_on(self, labeled):
        first = fit_model(moving_scan(), quick(), labels=drawn(), progress=Stopper(3, "fitting labels"))
        assert not first.complete
        assert first.checkpoint is not None
        assert not torch.equal(first.model.labels.values, labeled.labels.values)
        resumed = fit_model(moving_scan(), quick(), labels=drawn(), resume=first.checkpoint)
        assert resumed.complete
        assert model_hash(resumed.model) == model_hash(labeled)

    def test_labels_alone_go_on_too(self, alone):
        labels = drawn(range(SLICES))
        first = fit_model(None, quick(), labels=labels, progress=Stopper(3, "all slices"))
        assert not first.complete
        resumed = fit_model(None, quick(), labels=labels, resume=first.checkpoint)
        assert model_hash(resumed.model) == model_hash(alone)

    def test_the_same_labels_give_the_same_model(self, labeled):
        again = fit_model(moving_scan(), quick(), labels=drawn())
        assert again.scores == again.model.scores == labeled.scores
        assert model_hash(again.model) == model_hash(labeled)


class TestLabelsAlone:
    def test_no_image_and_no_scores_are_claimed(self, alone):
        assert not alone.has_image
        assert alone.scores == {}
        assert alone.labels.annotation.annotated == tuple(range(SLICES))
        assert len(alone.labels.weights) == 2

    def test_all_slices_count_as_annotated_empty_ones_too(self):
        model = fit_model(None, quick(), labels=drawn()).model
        assert model.labels.annotation.annotated == tuple(range(SLICES))
        assert not render_slice(model, 2.0, labels=True).any()

    def test_what_is_fitted_are_the_outlines_in_the_place_of_the_labels(self, alone):
        volume = outline_volume(alone.labels.annotation)
        assert volume.voxels.dtype == np.uint8
        np.testing.assert_array_equal(volume.voxels > 127, drawn(range(SLICES)).voxels > 0)
        np.testing.assert_array_equal(volume.affine, drawn().affine)

    def test_flows_of_the_fit_are_not_those_of_the_labels(self, tmp_path):
        # small structures: the window of the fit is not that of the outlines
        labels = label_map([disk(12 + 7 * k, radius=3) for k in range(6)])
        model = fit_model(None, quick(preset="balanced"), labels=labels).model
        fresh = replace(model, labels=replace(model.labels, memory=type(model.memory)(2**26)))
        fresh = replace(fresh, memory=type(model.memory)(2**26))
        assert model.labels.weights[1] > 0.5
        for t in (0.5, 2.3):
            one, other = (LabelRenderer(which, CPU).fields(t) for which in (model, fresh))
            np.testing.assert_array_equal(one, other)

    def test_corrected_labels_are_fitted_anew_on_the_same_grid(self, alone):
        model = fit_labels(alone, drawn(range(SLICES), ids=(7, 8)))
        assert render_volume(model, labels=True).voxels.max() == 8
        assert mean_dice(lambda t: render_slice(alone, t, labels=True), [1.5]) > 0.9
        smaller = replace(drawn(range(SLICES)), voxels=drawn(range(SLICES)).voxels[:, 1:])
        with pytest.raises(ValueError, match=r"^Labels must be on the grid of the model, got shapes"):
            fit_labels(alone, smaller)


class TestSkippedSlices:
    def test_labels_are_predicted_there(self):
        model = fit_model(moving_scan(), quick(skip=(2, 5)), labels=drawn()).model
        assert model.skipped == (2, 5)
        assert mean_dice(lambda t: render_slice(model, t, labels=True), [2, 5]) > 0.8
        np.testing.assert_array_equal(render_slice(model, 4.0, labels=True), truth_at(4))

    def test_one_that_was_drawn_on_by_the_way_does_not_count(self):
        model = fit_model(moving_scan(), quick(skip=(4,)), labels=drawn((0, 2, 4, 8))).model
        assert model.labels.annotation.annotated == (0, 2, 8)

    def test_labels_alone_can_skip(self):
        model = fit_model(None, quick(skip=(3,)), labels=drawn(range(SLICES))).model
        assert 3 not in model.labels.annotation.annotated
        assert mean_dice(lambda t: render_slice(model, t, labels=True), [3]) > 0.85

    def test_one_that_is_named_as_labeled_is_refused(self):
        named = LabelConfig(labeled_slices=(0, 4, 8))
        with pytest.raises(ValueError, match=r"^Labeled slices must not be skipped, got slice 4 as both; leave it out"):
            fit_model(moving_scan(), quick(skip=(4,)), labels=drawn(), label_config=named)


class TestRefusals:
    def test_neither_volume_nor_labels(self):
        with pytest.raises(ValueError, match=r"^A fit needs a volume or labels, got neither; give one of them\.$"):
            fit_model(None, quick())

    def test_a_model_saved_without_its_slices(self, bare):
        with pytest.raises(ValueError, match=r"^Labels need a model with its measured slices, got one saved without"):
            fit_labels(replace(bare, has_source=False), drawn())

    def test_labels_elsewhere_before_the_fit_begins(self, bare):
        hearer = Stopper()
        moved = drawn(affine=drawn().affine + np.eye(4, k=3))
        for fit in (
            lambda: fit_labels(bare, moved, progress=hearer),
            lambda: fit_model(moving_scan(), quick(), labels=moved, progress=hearer),
        ):
            with pytest.raises(ValueError, match=r"^Labels must be on the grid of their image, got affines .* apart;"):
                fit()
        assert hearer.states == []
