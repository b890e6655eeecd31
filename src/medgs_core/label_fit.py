"""*label_fit*: labels become the second head of a fitted model.

A model and a label map come in; the model with a label head goes out, its image head as it was. Annotated slices teach
how far to trust each way of carrying them; then every Gaussian gets the label values of the fields where it lies.
"""

from collections import deque
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from medgs_core.annotation import Annotation, annotate
from medgs_core.arrays import Fields
from medgs_core.config import FitConfig, LabelConfig, RenderConfig
from medgs_core.fold import fold_visible, visible_rows
from medgs_core.grid import check_grid
from medgs_core.label_evidence import gather_samples, solve_looseness, solve_weights
from medgs_core.labels import FEATURES_AT_ONCE, LabelRenderer, build_propagation
from medgs_core.model import LABEL_LEVELS, LABEL_RANGE, FittedModel, FoldedGaussians, LabelHead
from medgs_core.optimizer import RowAdam
from medgs_core.outlines import guide_plane, pixel_sides
from medgs_core.progress import FitState, Progress, SilentProgress, must_stop
from medgs_core.propagation import LIMIT
from medgs_core.rasterize import render_splats
from medgs_core.scribbles import fill_unknown
from medgs_core.slices import stack_slices
from medgs_core.tensors import Rows, single_threaded_torch
from medgs_core.volume import Volume, resolve_axis

LOOKS = 8
"""How often each slice improves the label values, on the way of a window of as many slices through the stack."""

RATE = 0.2
"""Step of a label value."""

SHARPNESS = 3.0
"""Logits per pixel of distance to the border: with 1, small structures are lost under what surrounds them."""

AHEAD = 3
"""Slices that must have given their Gaussians a first value before one is looked at: as far as most are seen."""

HALF = 0.5
"""Part of a gap after which, without evidence, a border is taken to be off by one pixel."""


def annotate_for(
    labels: Volume, image: Volume | None, config: LabelConfig, axis: int, skipped: tuple[int, ...]
) -> Annotation:
    """Return the labels as annotated slices along the axis of a fit, none of which it skips.

    Parameters
    ----------
    labels, image, config
        As for `fit_labels`; there may be no image.
    axis : int
        Slice axis in the file's order.
    skipped : tuple of int
        Slices that the fit does not look at.

    Raises
    ------
    ValueError
        As `annotate`, or if a slice is to be skipped that was named as labeled.
    """

    def choose(labeled: tuple[int, ...] | Literal["all"] | None) -> Annotation:
        return annotate(labels, axis, image=image, labeled_slices=labeled, unlabeled=config.unlabeled_value)

    found = choose(config.labeled_slices)
    lost = [k for k in found.annotated if k in skipped]
    if not lost:
        return found
    if isinstance(config.labeled_slices, tuple):
        raise ValueError(
            f"Labeled slices must not be skipped, got slice {lost[0]} as both; leave it out of one of the lists."
        )
    return choose(tuple(k for k in found.annotated if k not in skipped))


def what_is_fitted(
    volume: Volume | None, config: FitConfig, labels: Volume | None, label_config: LabelConfig | None
) -> tuple[Volume, Annotation | None]:
    """Return the volume that Gaussians are fitted to, outlines where there is no image, and the annotation of labels.

    Raises
    ------
    ValueError
        As `annotate_for`, or if there is neither a volume nor labels.
    """
    if labels is None:
        if volume is None:
            raise ValueError("A fit needs a volume or labels, got neither; give one of them.")
        return volume, None
    axis = resolve_axis(volume or labels, config.axis)
    annotation = annotate_for(labels, volume, label_config or LabelConfig(), axis, config.skip)
    return volume or outline_volume(annotation), annotation


def outline_volume(annotation: Annotation) -> Volume:
    """Return what a model is fitted to where there is no image: the outlines of all classes as a gray image."""
    volume = annotation.volume
    planes = np.empty((len(annotation), annotation.height, annotation.width), np.uint8)
    for k in range(len(annotation)):
        planes[k] = guide_plane(annotation.classes(k), pixel_sides(annotation))
    voxels = np.moveaxis(planes, 0, annotation.axis)
    return replace(volume, voxels=voxels, slope=1.0, intercept=0.0)


def fit_labels(
    model: FittedModel, labels: Volume, config: LabelConfig | None = None, *, progress: Progress | None = None
) -> FittedModel:
    """Return the model with a label head: the labels of a few slices, or of all, for every slice there can be.

    In seconds, because the Gaussians stay where they are: the image head is the same to the bit.

    Parameters
    ----------
    model : FittedModel
        Fitted to the image that the labels were drawn on, with its source.
    labels : Volume
        Label ids on the grid of the image, 0 the background; whole numbers of any type.
    config : LabelConfig, optional
        Which slices count as annotated, and which label stands for unknown.
    progress : Progress, optional
        Hears how many slices are done; a cancelled fit keeps what the slices so far gave.

    Raises
    ------
    ValueError
        If the labels are not on the grid of the image or break another rule of `annotate`, or the model was saved
        without its slices.

    Examples
    --------
    >>> both = fit_labels(fit_model(volume).model, painted)  # doctest: +SKIP
    >>> labels = render_volume(both, labels=True, factor=4)  # doctest: +SKIP
    """
    if not model.has_source:
        raise ValueError("Labels need a model with its measured slices, got one saved without them; fit it again.")
    image = model.volume if model.has_image else None
    if image is None:
        check_grid(model.volume, labels, "Labels must be on the grid of the model", "the model and the labels")
    annotation = annotate_for(labels, image, config or LabelConfig(), model.axis, model.skipped)
    return add_head(model, annotation, progress or SilentProgress())


def add_head(model: FittedModel, annotation: Annotation, progress: Progress) -> FittedModel:
    """Return the model with the head that an annotation of its slices teaches."""
    whole = stack_slices(model.volume, model.axis, model.window)
    filled = fill_unknown(annotation, whole if model.has_image else None)
    gap = float(np.diff(filled.positions[list(filled.annotated)]).mean())
    empty = torch.empty(len(model.gaussians), 0)
    head = LabelHead(empty, filled, (), 1.0 / (HALF * gap))
    propagation = build_propagation(model, head)

    def go_on(done: int, total: int) -> bool:
        progress.report(FitState("comparing how labels are carried", done, total))
        return not must_stop(progress)

    samples = gather_samples(propagation, go_on)
    weights = solve_weights(samples, len(propagation.ways))
    head = replace(head, weights=weights, looseness=solve_looseness(samples, weights, head.looseness))
    with single_threaded_torch():
        values = _fit_values(replace(model, labels=head), progress)
    levels = torch.round(values * (LABEL_LEVELS / LABEL_RANGE)) + 0.0  # there is no negative zero in a file
    return replace(model, labels=replace(head, values=levels * (LABEL_RANGE / LABEL_LEVELS)))


def _fit_values(model: FittedModel, progress: Progress) -> Tensor:
    """Return label values whose weighted means tell the labels of every measured slice.

    The geometry stays as it is. A Gaussian starts at what the field of its own slice shows at its center; then a window
    of slices goes through the stack, and each slice in it takes one step of Adam.
    """
    renderer = LabelRenderer(model, RenderConfig(device="cpu"))
    gaussians = model.gaussians
    stack = stack_slices(model.volume, model.axis, model.window, model.skipped)
    whole = stack_slices(model.volume, model.axis, model.window)
    optimizer = RowAdam.start(torch.full((len(gaussians), len(renderer.ids)), -1.0))
    own = gaussians.center.round().clamp(0, len(stack) - 1)
    recent: deque[tuple[int, Fields]] = deque()
    rounds = len(stack) + AHEAD + LOOKS - 1
    for k in range(rounds):
        if must_stop(progress):
            break
        if k < len(stack):
            fields = all_classes(renderer, whole.t_at(float(stack.positions[k])))
            _start_values(optimizer.parameters, gaussians, (own == k).nonzero()[:, 0], k, fields)
            recent.append((k, fields))
        while recent[0][0] <= k - AHEAD - LOOKS:
            recent.popleft()
        for seat, fields in recent:
            if seat <= k - AHEAD:
                improve_values(optimizer, model, seat, fields)
        progress.report(FitState("fitting labels", k + 1, rounds))
    return optimizer.parameters.clamp_(-LABEL_RANGE, LABEL_RANGE)


def all_classes(renderer: LabelRenderer, t: float) -> Fields:
    """Return what the annotated slices tell at t, for every class."""
    classes, carried = renderer.carried(t)
    fields: Fields = np.full((*carried.shape[1:], len(renderer.ids)), -1, np.float32)
    fields[..., classes] = np.moveaxis(carried, 0, -1)
    return fields


def _start_values(values: Tensor, gaussians: FoldedGaussians, rows: Rows, k: int, fields: Fields) -> None:
    """Give the Gaussians of one slice what its fields show at their centers, to the nearest pixel."""
    seen = fold_visible(gaussians.rows(rows), float(k))
    height, width = fields.shape[:2]
    columns = seen.means[:, 0].round().long().clamp(0, width - 1)
    lines = seen.means[:, 1].round().long().clamp(0, height - 1)
    values[rows] = torch.from_numpy(fields[lines.numpy(), columns.numpy()])


def improve_values(optimizer: RowAdam, model: FittedModel, k: int, fields: Fields) -> None:
    """Take one step towards the labels of slice k; only classes that are seen there move.

    Down the cross-entropy of sigmoid(`SHARPNESS` * distance in pixels), against that of the fields, and the soft Dice
    loss of each class (Milletari et al. 2016).
    """
    rows = visible_rows(model.gaussians, float(k))
    splats = fold_visible(model.gaussians.rows(rows), float(k))
    known = optimizer.parameters[rows]
    target = torch.from_numpy(np.ascontiguousarray(fields))
    moving = ((known > -1).any(0) | (target > -1).flatten(0, 1).any(0)).nonzero()[:, 0]
    height, width = fields.shape[:2]
    gradient = torch.zeros_like(known)
    for classes in torch.split(moving, FEATURES_AT_ONCE) if len(moving) else ():
        features = known[:, classes].requires_grad_()
        shown = render_splats(replace(splats, features=features), height, width, model.compositing)
        logits, wanted = SHARPNESS * LIMIT * shown, SHARPNESS * LIMIT * target[..., classes]
        entropy = binary_cross_entropy_with_logits(logits, wanted.sigmoid(), reduction="sum") / (height * width)
        drawn, likely = (wanted > 0).float(), logits.sigmoid()
        sizes = drawn.sum((0, 1))
        overlap = 2 * (drawn * likely).sum((0, 1)) / (sizes + likely.sum((0, 1)) + 1)
        (entropy - overlap[sizes > 0].sum()).backward()
        assert features.grad is not None
        gradient[:, classes] = features.grad
    optimizer.move(rows, gradient, torch.full((len(gradient[0]),), RATE))
