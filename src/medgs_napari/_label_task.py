"""Labels carried from painted slices to all others, in the thread of a job; and before, what is painted so far.

A model and painted labels come in; the model with a label head goes out, and its labels rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medgs_napari._jobs import Done, Job
from medgs_napari._names import named_as_shown

if TYPE_CHECKING:
    import medgs_core as medgs

MOST_NAMED = 12
"""Labels that are told one by one: more would fill the dock."""


NOTHING_YET = "Nothing is painted yet: mark a structure on at least two slices, completely on each."
ONE_SO_FAR = "Slice {} is painted: mark the structure on at least one more."
IF_NOT = "if they are only not painted yet, name the slices that count under Advanced"


@dataclass(frozen=True, eq=False)
class LabelOrder:
    """What is to be propagated.

    Attributes
    ----------
    model : fitted to the image that was painted on; None for labels without an image
    painted : the labels, a copy that nobody paints on
    config : which slices count as annotated
    fit : how the outlines are fitted where there is no image
    """

    model: medgs.FittedModel | None
    painted: medgs.Volume
    config: medgs.LabelConfig
    fit: medgs.FitConfig


@dataclass(frozen=True, eq=False)
class Propagated:
    """A model with labels, and its labels on the slices of its volume."""

    model: medgs.FittedModel
    labels: medgs.Volume


class Following:
    """What the core takes as `Progress`; a job hears of it as `Done`."""

    def __init__(self, job: Job[Any]) -> None:
        self._job = job

    @property
    def cancelled(self) -> bool:
        """Whether the job is to end."""
        return self._job.cancelled

    @property
    def paused(self) -> bool:
        """Whether the job is to wait."""
        return self._job.paused

    def report(self, state: medgs.FitState) -> None:
        """Pass on how a fit stands."""
        self._job.report(Done(state.step, state.total, state.phase))

    def slices(self, done: int, total: int) -> None:
        """Pass on how many slices are done; leave here if the job is to end."""
        self._job.step(done, total, "rendering slices")


def propagate(order: LabelOrder, job: Job[Propagated]) -> Propagated:
    """Return the model with the labels that were painted, on all slices.

    Raises
    ------
    ValueError
        If the labels break a rule of the core.
    """
    import medgs_core as medgs

    follow = Following(job)
    with named_as_shown(medgs.LabelConfig):
        if order.model is None:
            fit = medgs.fit_model(None, order.fit, labels=order.painted, label_config=order.config, progress=follow)
            model = fit.model
        else:
            model = medgs.fit_labels(order.model, order.painted, order.config, progress=follow)
    job.checkpoint()  # of a model whose labels are half done nothing is kept
    return Propagated(model, medgs.render_volume(model, labels=True, report=follow.slices))


class Found(NamedTuple):
    """What is painted, in a sentence, and whether it is enough to begin with."""

    words: str
    enough: bool


def look_at_painted(labels: medgs.Volume, axis: int, config: medgs.LabelConfig, *, with_image: bool) -> Found:
    """Say which slices count, what is wrong with the labels, or what is still to be painted.

    Parameters
    ----------
    labels : Volume
        What is painted.
    axis : int
        Of the slices.
    config : LabelConfig
        Which of them count.
    with_image : bool
        Whether an image carries them.
    """
    import medgs_core as medgs

    unknown = config.unlabeled_value or 0
    planes = np.moveaxis(labels.voxels, axis, 0)
    drawn = [k for k, plane in enumerate(planes) if ((plane != 0) & (plane != unknown)).any()]
    if not drawn:
        return Found(NOTHING_YET, enough=False)
    if len(drawn) == 1 and with_image and config == medgs.LabelConfig():
        return Found(ONE_SO_FAR.format(drawn[0]), enough=False)
    try:
        with named_as_shown(medgs.LabelConfig):
            found = medgs.annotate(
                labels,
                axis,
                image=labels if with_image else None,
                labeled_slices=config.labeled_slices,
                unlabeled=config.unlabeled_value,
            )
    except ValueError as mistake:
        return Found(str(mistake), enough=True)  # so that trying tells it again
    return Found(describe_annotation(found), enough=True)


def describe_annotation(annotation: medgs.Annotation) -> str:
    """Say which slices count as annotated, and which labels there are."""
    reason = annotation.reason
    empty = sum(not annotation.classes(k).any() for k in annotation.annotated)
    hint = f" {empty} of them count as empty; {IF_NOT}." if empty else ""
    ids = annotation.ids
    names = f"label {ids[0]}" if len(ids) == 1 else f"labels {', '.join(str(one) for one in ids)}"
    if len(ids) > MOST_NAMED:
        names = f"{len(ids):,} labels from {ids[0]} to {ids[-1]}"
    return f"{reason[:1].upper()}{reason[1:]}; {names}.{hint}"
