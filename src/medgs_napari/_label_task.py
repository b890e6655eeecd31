"""Labels carried from painted slices to all others, in the thread of a job.

A model and painted labels come in; the model with a label head goes out, and its labels rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medgs_napari._jobs import Done, Job

if TYPE_CHECKING:
    import medgs_core as medgs

MOST_NAMED = 12
"""Labels that are told one by one: more would fill the dock."""


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
    if order.model is None:
        fit = medgs.fit_model(None, order.fit, labels=order.painted, label_config=order.config, progress=follow)
        model = fit.model
    else:
        model = medgs.fit_labels(order.model, order.painted, order.config, progress=follow)
    job.checkpoint()  # of a model whose labels are half done nothing is kept
    return Propagated(model, medgs.render_volume(model, labels=True, report=follow.slices))


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
