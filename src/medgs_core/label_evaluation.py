"""How well each method fills in labels between annotated slices, judged on slices whose labels it never saw.

A label map comes in, with the image it was drawn on or alone; every stride-th slice counts as annotated, and a table of
scores goes out, label by label.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int32, Shaped

from medgs_core.annotation import Annotation, annotate
from medgs_core.arrays import Affine
from medgs_core.classical_labels import available_methods, interpolate_label_volume
from medgs_core.config import Device, FitConfig, LabelConfig, RenderConfig
from medgs_core.fit import fit_model
from medgs_core.hidden import OURS
from medgs_core.model import FittedModel
from medgs_core.overlap import dice
from medgs_core.progress import Progress
from medgs_core.render import render_volume
from medgs_core.slices import measured_slices
from medgs_core.surface_metrics import surface_distances
from medgs_core.volume import Volume, resample_axis
from medgs_core.withholding import Split, keep_slices, split_slices

Planes = Shaped[np.ndarray, "slices height width"]
Numbers = Int32[np.ndarray, "slices height width"]


@dataclass(frozen=True)
class LabelAgreement:
    """How close one label comes to the truth.

    Attributes
    ----------
    dice : over all voxels of the held-out slices
    hausdorff95 : between the surfaces of the whole structure, annotated slices as drawn, in the unit of the labels;
        infinite where there is none
    missed : whether no held-out slice shows it
    """

    dice: float
    hausdorff95: float
    missed: bool


@dataclass(frozen=True)
class LabelScore:
    """How one method did.

    Attributes
    ----------
    dice : mean over labels
    hausdorff95 : mean over the labels of which every method has a surface, in their unit; NaN if there are none
    missed : number of labels that no held-out slice shows, though the truth does
    seconds : to prepare and predict all held-out slices
    labels : by label id
    """

    dice: float
    hausdorff95: float
    missed: int
    seconds: float
    labels: dict[int, LabelAgreement]


@dataclass(frozen=True)
class LabelEvaluation:
    """The scores of all methods on the same held-out slices.

    Attributes
    ----------
    axis : slice axis in the file's order
    kept, held_out : slices whose labels the methods were given, and those that they predicted
    ids : labels that held-out slices show in truth; these are scored
    unseen : those of them on no kept slice, which no method can know
    unit : of the distances
    methods : scores by method
    """

    axis: int
    kept: tuple[int, ...]
    held_out: tuple[int, ...]
    ids: tuple[int, ...]
    unseen: tuple[int, ...]
    unit: str
    methods: dict[str, LabelScore]


@dataclass(frozen=True, eq=False)
class WithheldLabels:
    """A label map of which the methods see every stride-th slice.

    Attributes
    ----------
    truth : the map, all slices that are not skipped annotated
    given : what the methods are given: the kept slices alone, or, with an image, all of them, those held out blank
    split : which slices are kept, and which held out
    image : what the labels were drawn on, all of its slices, if there is one
    ids : labels that held-out slices show in truth
    """

    truth: Annotation
    given: Annotation
    split: Split
    image: Volume | None
    ids: tuple[int, ...]

    @property
    def coordinates(self) -> tuple[float, ...]:
        """Where held-out slices stand in what the methods are given."""
        z = self.truth.positions[list(self.split.held_out)]
        return tuple(np.interp(z, self.given.positions, np.arange(len(self.given))).tolist())

    def fit(self, config: FitConfig, progress: Progress | None = None) -> FittedModel:
        """Return the model of what is given."""
        axis, skip = str(self.split.axis), config.skip if self.image else ()  # a thinned map has none of them
        chosen = LabelConfig(labeled_slices=self.given.annotated)
        settings = config.model_copy(update={"axis": axis, "skip": skip})
        return fit_model(self.image, settings, labels=self.given.volume, label_config=chosen, progress=progress).model

    def render(self, model: FittedModel, device: Device) -> Planes:
        """Return what a model shows at the held-out slices: (slices, height, width) label ids."""
        config = RenderConfig(labels=True, positions=self.coordinates, device=device)
        return np.moveaxis(render_volume(model, config).voxels, self.split.axis, 0)

    def judge(self, planes: Planes) -> dict[int, LabelAgreement]:
        """Return how close predicted slices come to the truth, by label id.

        Where slices are unevenly apart, distances between surfaces take the mean of the gaps.
        """
        axis, held_out = self.split.axis, list(self.split.held_out)
        whole = self.truth.volume
        true = _numbered(np.moveaxis(whole.voxels, axis, 0)[: self.split.kept[-1] + 1], self.ids)
        found = true.copy()
        found[held_out] = _numbered(planes, self.ids)
        step = float(np.diff(self.truth.positions).mean()) / whole.spacing[axis]  # positions overrule the affine
        world = resample_axis(whole, axis, whole.voxels, step=step).affine
        columns = [axis, *(other for other in range(3) if other != axis), 3]  # in the order of the planes
        return {
            label: _compare(true, found, number, held_out, world[:, columns])
            for number, label in enumerate(self.ids, start=1)
        }


def evaluate_labels(
    labels: Volume,
    volume: Volume | None = None,
    config: FitConfig | None = None,
    *,
    stride: int = 2,
    progress: Progress | None = None,
) -> LabelEvaluation:
    """Return Dice and distances of the model and of every classical method on labels that none of them saw.

    Labels of slices 0, K, 2K .. are given, those between are predicted. The image, if there is one, keeps all of its
    slices; only the model looks at it. Without one the held-out slices are not there at all. Skipped slices are
    neither given nor predicted.

    Parameters
    ----------
    labels : Volume
        Label ids, 0 the background, complete on all slices; at least stride + 1 of them.
    volume : Volume, optional
        The image that the labels were drawn on.
    config : FitConfig, optional
        How the model is fitted.
    stride : int
        K, at least 2.
    progress : Progress, optional
        Follows the fit. A cancelled fit is scored as it stands.

    Raises
    ------
    ValueError
        If the labels break a rule of `annotate`, kept or held-out slices show none, there are fewer than three slices,
        the stride is below 2, or stride and skipped slices leave fewer than two to keep or none to predict.

    Examples
    --------
    >>> evaluate_labels(organs, stride=4).methods["medgs"].dice  # doctest: +SKIP
    """
    config = config or FitConfig()
    case = withhold_labels(labels, volume, config, stride)
    found = predict_classical(case)
    begun = time.perf_counter()
    planes = case.render(case.fit(config, progress), config.device)
    found[OURS] = planes, time.perf_counter() - begun
    return score_predictions(case, found)


def withhold_labels(labels: Volume, volume: Volume | None, config: FitConfig, stride: int) -> WithheldLabels:
    """Return a label map of which every stride-th slice is given; parameters and errors as for `evaluate_labels`."""
    split = split_slices(volume or labels, config, stride)
    axis = split.axis
    measured = measured_slices(labels.shape3d[axis], config.skip)
    truth = annotate(labels, axis, image=volume, labeled_slices=measured)
    if volume is None:
        given = annotate(keep_slices(truth.volume, split), axis, labeled_slices="all")
    else:
        blank = np.zeros_like(truth.volume.voxels)  # what is held out cannot be looked at by mistake
        np.moveaxis(blank, axis, 0)[list(split.kept)] = np.moveaxis(truth.volume.voxels, axis, 0)[list(split.kept)]
        given = annotate(replace(truth.volume, voxels=blank), axis, image=volume, labeled_slices=split.kept)
    shown = np.unique(np.take(truth.volume.voxels, split.held_out, axis))
    ids = tuple(label for label in truth.ids if label in shown)
    if not ids:
        msg = f"held-out slices must show a label, got none on the {len(split.held_out)} of them; choose another stride"
        raise ValueError(msg)
    return WithheldLabels(truth, given, split, volume, ids)


def predict_classical(case: WithheldLabels) -> dict[str, tuple[Planes, float]]:
    """Return the held-out slices by every classical method that works here, and the seconds that each took."""
    found: dict[str, tuple[Planes, float]] = {}
    for method in available_methods():
        begun = time.perf_counter()
        planes = interpolate_label_volume(case.given, case.coordinates, method)
        found[method] = planes, time.perf_counter() - begun
    return found


def score_predictions(case: WithheldLabels, found: Mapping[str, tuple[Planes, float]]) -> LabelEvaluation:
    """Return the scores of predicted slices, with the seconds that they took, by method."""
    judged = {method: case.judge(planes) for method, (planes, _) in found.items()}
    everywhere = [label for label in case.ids if all(math.isfinite(one[label].hausdorff95) for one in judged.values())]
    methods = {
        method: LabelScore(
            dice=float(np.mean([one.dice for one in labels.values()])),
            hausdorff95=float(np.mean([labels[label].hausdorff95 for label in everywhere])) if everywhere else math.nan,
            missed=sum(one.missed for one in labels.values()),
            seconds=found[method][1],
            labels=labels,
        )
        for method, labels in judged.items()
    }
    unseen = tuple(label for label in case.ids if label not in case.given.ids)
    split, unit = case.split, case.truth.volume.unit
    return LabelEvaluation(split.axis, split.kept, split.held_out, case.ids, unseen, unit, methods)


def _numbered(planes: Planes, ids: tuple[int, ...]) -> Numbers:
    """Return labels as numbers 1, 2 .. in the order of the ids, 0 elsewhere."""
    known = np.array(ids, planes.dtype)
    places = np.searchsorted(known, planes).clip(max=len(known) - 1)
    return np.where(known[places] == planes, places + 1, 0).astype(np.int32)


def _compare(true: Numbers, found: Numbers, number: int, held_out: list[int], world: Affine) -> LabelAgreement:
    a, b = true == number, found == number
    overlap, missed = dice(a[held_out], b[held_out]), not b[held_out].any()
    return LabelAgreement(overlap, surface_distances(a, b, affine=world).hausdorff95, missed)
