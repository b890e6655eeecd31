from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from medgs_core.config import LabelConfig, RenderConfig
from medgs_core.fit import fit_model
from medgs_core.label_fit import fit_labels
from medgs_core.labels import LabelRenderer
from medgs_core.lazy import lazy_uncertainty, lazy_volume
from medgs_core.render import render_slice, render_uncertainty, render_volume

from ._annotations import label_map
from ._labeled import ANNOTATED, BETWEEN, IDS, SLICES, drawn, mean_dice, quick, truth_at

CPU = RenderConfig(device="cpu")


def renderer_of(model, **changes):
    return LabelRenderer(replace(model, **changes), CPU)


@pytest.fixture(scope="module")
def waves():
    """Fit every third slice of winding structures, and return the model with all of them."""
    random = np.random.default_rng(0)
    z, y, x = np.mgrid[:19, :40, :56].astype(np.float64)
    speeds, phases = random.normal(0, 1, (12, 3)) * (0.12, 0.22, 0.22), random.uniform(0, 2 * np.pi, 12)
    field = sum(np.cos(a * z + b * y + c * x + phase) for (a, b, c), phase in zip(speeds, phases, strict=True))
    truth = (field > 1).astype(np.uint8)
    every_third = LabelConfig(labeled_slices=tuple(range(0, 19, 3)))
    return fit_model(None, quick(), labels=label_map(truth), label_config=every_third).model, truth


class TestAnnotatedSlices:
    @pytest.mark.parametrize(
        ("dtype", "ids"), [("uint8", (3, 255)), ("uint16", (7, 60_000)), ("int16", (1, 30_000)), ("float32", (2, 4096))]
    )
    def test_are_exact_in_the_type_of_the_map(self, bare, dtype, ids):
        labels = drawn(dtype=dtype, ids=ids)
        model = fit_labels(bare, labels)
        shown = render_volume(model, labels=True, factor=2)
        assert shown.voxels.dtype == dtype
        assert set(np.unique(shown.voxels)) == {0, *ids}
        for k in ANNOTATED:
            np.testing.assert_array_equal(shown.voxels[2 * k], labels.voxels[k])

    def test_are_known_and_others_are_not(self, labeled):
        renderer = renderer_of(labeled)
        assert [k for k in range(SLICES) if renderer.is_annotated(float(k))] == list(ANNOTATED)
        assert renderer.is_annotated(4 + 1e-9)
        assert not renderer.is_annotated(4.01)

    def test_labels_beside_them_are_nearly_theirs(self, labeled):
        renderer = renderer_of(labeled)
        np.testing.assert_array_equal(renderer.stored(4.0), truth_at(4))
        changed = np.count_nonzero(renderer.stored(4.0001) != truth_at(4))
        assert changed <= 2  # pixels right on a border


class TestFields:
    @pytest.mark.parametrize("t", [0.0, 0.5, 3.7, 4.0, 8.0])
    @pytest.mark.parametrize("source", [True, False])
    def test_are_in_range_and_one_per_class(self, labeled, t, source):
        fields = renderer_of(labeled, has_source=source).fields(t)
        assert fields.shape == (40, 56, len(IDS))
        assert fields.dtype == np.float32
        assert np.abs(fields).max() <= 1 + 1e-5  # weights add to one but for rounding

    def test_the_largest_positive_one_is_the_label(self, labeled):
        renderer = renderer_of(labeled)
        fields = renderer.fields(2.3)
        expected = np.where(fields.max(axis=2) > 0, np.array(IDS)[fields.argmax(axis=2)], 0)
        np.testing.assert_array_equal(renderer.stored(2.3), expected)

    def test_structures_follow_the_image_between_annotated_slices(self, labeled):
        assert mean_dice(renderer_of(labeled).stored, BETWEEN) > 0.97

    def test_a_class_that_is_nowhere_near_is_minus_one(self, bare):
        labels = drawn(range(SLICES))
        labels.voxels[4:][labels.voxels[4:] == IDS[1]] = 0
        fields = renderer_of(fit_labels(bare, labels)).fields(7.5)
        assert (fields[..., 1] == -1).all()
        assert (fields[..., 0] > 0).any()


class TestWithoutSource:
    @pytest.mark.parametrize("t", [0.0, 1.0, 2.5, 4.0, 7.3])
    def test_the_gaussians_tell_the_labels(self, labeled, t):
        renderer = renderer_of(labeled, has_source=False)
        assert mean_dice(renderer.stored, [t]) > 0.8  # Gaussians of two pixels, structures of ten
        assert not renderer.is_annotated(t)

    def test_they_do_so_for_labels_alone(self, alone):
        assert mean_dice(renderer_of(alone, has_source=False).stored, [0.0, 1.5, 4.0, 6.6]) > 0.85

    def test_voxels_are_never_looked_at(self, labeled):
        annotation = labeled.labels.annotation
        nothing = replace(annotation.volume, voxels=np.broadcast_to(np.uint8(0), annotation.volume.voxels.shape))
        blank = replace(labeled.labels, annotation=replace(annotation, volume=nothing))
        one, other = (renderer_of(labeled, has_source=False, labels=head) for head in (labeled.labels, blank))
        np.testing.assert_array_equal(one.stored(2.5), other.stored(2.5))
        np.testing.assert_array_equal(one.confidence(2.5), other.confidence(2.5))

    def test_estimate_is_the_same_with_and_without(self, labeled):
        one, other = renderer_of(labeled), renderer_of(labeled, has_source=False)
        np.testing.assert_array_equal(one.estimate(1.5), other.fields(1.5))


class TestConfidence:
    def test_is_one_at_annotated_slices(self, waves):
        model, _ = waves
        assert (renderer_of(model).confidence(6.0) == 1).all()

    @pytest.mark.parametrize("t", [0.5, 1.0, 4.5, 17.0])
    def test_is_a_probability_of_at_least_a_half(self, waves, t):
        confidence = renderer_of(waves[0]).confidence(t)
        assert confidence.dtype == np.float32
        assert confidence.min() >= 0.5
        assert confidence.max() <= 1.0

    def test_falls_with_the_distance_from_annotated_slices(self, waves):
        renderer = renderer_of(waves[0])
        means = [float(renderer.confidence(t).mean()) for t in (6.0, 6.25, 6.5, 7.0)]
        assert means == sorted(means, reverse=True)
        assert len(set(means)) == 4

    def test_says_how_often_labels_are_right(self, waves):
        model, truth = waves
        renderer = renderer_of(model)
        between = [t for t in range(19) if t % 3]
        confidence = np.stack([renderer.confidence(float(t)) for t in between])
        right = np.stack([renderer.stored(float(t)) == truth[t] for t in between])
        assert confidence.mean() == pytest.approx(right.mean(), abs=0.01)
        for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 0.99)):
            among = (confidence >= low) & (confidence < high)
            assert among.sum() > 200
            # it was learned across gaps twice as wide, so it leans to the safe side
            assert -0.05 < right[among].mean() - confidence[among].mean() < 0.15

    def test_borders_between_labels_are_as_loose_as_those_to_background(self):
        # two halves that touch along a column, and stay where they are
        plane = np.ones((20, 24), np.uint8)
        plane[:, 12:] = 2
        plane[:4] = 0
        model = fit_model(None, quick(), labels=label_map([plane] * 5)).model
        loose = replace(model.labels, looseness=0.3)  # what stays where it is has nearly none
        confidence = renderer_of(model, labels=loose).confidence(1.5)
        np.testing.assert_allclose(confidence[12, 11], confidence[3, 4], atol=0.02)
        assert confidence[12, 11] < confidence[12, 8]

    def test_uncertainty_of_labels_is_their_confidence(self, waves):
        shown = render_uncertainty(waves[0], labels=True, positions=(6.0, 7.0, 8.0))
        assert shown.voxels.dtype == np.float32
        assert (shown.voxels[0] == 1).all()
        np.testing.assert_array_equal(shown.voxels[1], renderer_of(waves[0]).confidence(7.0))


class TestVolumes:
    def test_stand_where_those_of_the_image_do(self, labeled):
        image, labels = (render_volume(labeled, labels=wish, spacing=0.9) for wish in (False, True))
        assert image.voxels.shape == labels.voxels.shape
        np.testing.assert_array_equal(image.affine, labels.affine)
        assert labels.voxels.dtype == np.uint8

    def test_positions_may_be_uneven(self):
        positions = np.array([0.0, 1.0, 3.0, 4.0, 8.0, 9.0, 10.0, 14.0, 15.0])
        model = fit_model(None, quick(), labels=drawn(range(SLICES), positions=positions)).model
        shown = render_volume(model, labels=True, factor=2)
        np.testing.assert_array_equal(shown.positions[::2], positions)
        np.testing.assert_array_equal(shown.voxels[::2], drawn(range(SLICES)).voxels)

    def test_slices_may_lie_along_another_axis(self):
        labels = drawn(range(SLICES))
        turned = replace(labels, voxels=labels.voxels.transpose(1, 2, 0), affine=np.eye(4))
        model = fit_model(None, quick(axis="2"), labels=turned).model
        shown = render_volume(model, labels=True, factor=2).voxels
        assert shown.shape == (40, 56, 2 * SLICES - 1)
        np.testing.assert_array_equal(np.moveaxis(shown, 2, 0)[::2], labels.voxels)

    def test_lazy_ones_are_the_same(self, labeled):
        lazy = lazy_volume(labeled, labels=True, factor=2)
        assert (lazy.shape, lazy.dtype) == ((2 * SLICES - 1, 40, 56), np.uint8)
        np.testing.assert_array_equal(lazy[3:6], render_volume(labeled, labels=True, factor=2).voxels[3:6])

    def test_how_sure_they_are_is_the_same_lazily(self, labeled):
        lazy = lazy_uncertainty(labeled, labels=True, factor=2)
        whole = render_uncertainty(labeled, labels=True, factor=2).voxels
        assert (lazy.shape, lazy.dtype) == (whole.shape, np.float32)
        np.testing.assert_array_equal(lazy[3:6], whole[3:6])
        assert 0.5 <= lazy[3].min() < 0.9

    def test_threads_do_not_disturb_one_another(self, labeled):
        places = [0.25, 1.5, 2.75, 3.3, 5.5, 6.1, 7.9] * 3
        one_by_one = [renderer_of(labeled).stored(t) for t in places]
        shared = renderer_of(replace(labeled, labels=replace(labeled.labels)))
        with ThreadPoolExecutor(4) as pool:
            for plane, expected in zip(pool.map(shared.stored, places), one_by_one, strict=True):
                np.testing.assert_array_equal(plane, expected)


class TestRefusals:
    @pytest.mark.parametrize("render", [render_volume, lazy_volume, render_uncertainty, lazy_uncertainty])
    def test_labels_of_a_model_without(self, bare, render):
        with pytest.raises(
            ValueError, match=r"^Labels need a model that was fitted with a label map, got one without;"
        ):
            render(bare, labels=True)

    @pytest.mark.parametrize("render", [render_volume, lazy_volume, render_uncertainty, lazy_uncertainty])
    def test_images_of_labels_alone(self, alone, render):
        with pytest.raises(ValueError, match=r"^Images need a model that was fitted to one, got one of labels alone;"):
            render(alone)

    def test_coordinates_outside(self, labeled):
        with pytest.raises(ValueError, match=r"t must lie between .* \(0 to 8\), got 8\.5"):
            render_slice(labeled, 8.5, labels=True)


def test_the_first_slice_may_be_anywhere(alone):
    positions = 100.0 + 3.0 * np.arange(SLICES)
    other = fit_model(None, quick(), labels=drawn(range(SLICES), positions=positions)).model
    np.testing.assert_array_equal(render_slice(alone, 2.4, labels=True), render_slice(other, 2.4, labels=True))
