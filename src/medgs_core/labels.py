"""*labels*: the label head of a model, rendered: a field per class, label ids, and how sure they are.

A fitted model with labels comes in; what any slice shows of its classes goes out, annotated slices as they were drawn.
"""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int64

from medgs_core.arrays import Fields, LabelPlane, Plane
from medgs_core.chaining import Chains
from medgs_core.config import RenderConfig
from medgs_core.correspondence import Flows
from medgs_core.fold import fold_visible, visible_rows
from medgs_core.model import FittedModel, FoldedGaussians, LabelHead
from medgs_core.outlines import ClassPlanes, Outlines
from medgs_core.propagation import LIMIT, ClassNumbers, Propagation
from medgs_core.rasterize import choose_device, render_splats
from medgs_core.sampling import ON_SLICE
from medgs_core.slices import SliceStack, stack_slices
from medgs_core.tensors import Splats2D, single_threaded_torch

FEATURES_AT_ONCE = 32
"""Label values rendered in one pass over the splats."""

GAUSSIAN_SHARE = 0.25
"""How far to follow the Gaussians half-way between annotated slices, where borders are steady and there is an image:
they agree with their neighbors in all three directions. On small organs that is worth 0.016 of Dice, on large ones
nothing; a half was no better (docs/method.md)."""

LEAST_DISTANCE = 1e-6
"""Of a slice from the nearest annotated one, in parts of a slice step, so that nothing is divided by zero."""


def check_labels(model: FittedModel) -> LabelHead:
    """Return the label head of a model.

    Raises
    ------
    ValueError
        If it has none.
    """
    if model.labels is None:
        raise ValueError(
            "Labels need a model that was fitted with a label map, got one without; fit it again with labels."
        )
    return model.labels


def build_propagation(model: FittedModel, head: LabelHead) -> Propagation:
    """Return what carries the annotated slices of a model, along its image where it has one."""
    # not in the memory of the model: without an image it was fitted to outlines too, but in another window
    outlines = Outlines(head.annotation, head.memory)
    if not model.has_image:
        return Propagation(outlines)
    stack = stack_slices(model.volume, model.axis, model.window, model.skipped)
    return Propagation(outlines, Chains(Flows(stack, model.flow, model.memory), head.memory))


class LabelRenderer:
    """Renders the labels of one model; safe to use from several threads.

    Where the model has its source, fields are those of the annotated slices, carried (see `propagation`), and between
    them a little of what the Gaussians show. Without it, the Gaussians speak alone.

    Parameters
    ----------
    model : FittedModel
        With labels.
    config : RenderConfig
        Only the device is looked at.

    Attributes
    ----------
    source : the labels as a volume: type and place of what is rendered
    ids : label id of each class

    Raises
    ------
    ValueError
        If the model has no labels.
    """

    def __init__(self, model: FittedModel, config: RenderConfig) -> None:
        self.model = model
        self.head = check_labels(model)
        self.source = self.head.annotation.volume
        self.ids = self.head.annotation.ids
        self._device = choose_device(config.device)

    @cached_property
    def _whole(self) -> SliceStack:
        return stack_slices(self.model.volume, self.model.axis, self.model.window)

    @cached_property
    def _propagation(self) -> Propagation:
        return build_propagation(self.model, self.head)

    @cached_property
    def _stack(self) -> SliceStack:
        return stack_slices(self.model.volume, self.model.axis, self.model.window, self.model.skipped)

    @cached_property
    def _gaussians(self) -> tuple[FoldedGaussians, torch.Tensor]:
        return self.model.gaussians.to(self._device), self.head.values.to(self._device)

    def fields(self, t: float) -> Fields:
        """Return the field of every class at slice coordinate t: (height, width, classes), in [-1, 1].

        The signed distance to the border in units of `propagation.LIMIT` pixels, clipped: positive inside. The label is
        that of the largest field, background where none is positive. Half a gap beyond the first and the last slice,
        which is as far as their voxels reach, structures go on shrinking as they do towards the end.
        """
        if not self.model.has_source:
            return self.estimate(t)
        classes, carried = self.carried(t)
        # without an image the Gaussians have seen nothing but the outlines
        trust = GAUSSIAN_SHARE * self._between_annotated(t) if self.model.has_image else 0.0
        if trust > 0 and len(classes):
            shown = np.moveaxis(self.estimate(t, classes), 2, 0)
            carried = carried + np.float32(trust) * self._steadiness(t, classes) * (shown - carried)
        planes = np.full((len(self.ids), *carried.shape[1:]), -1, np.float32)
        planes[classes] = carried
        return np.moveaxis(planes, 0, -1)

    def carried(self, t: float) -> tuple[ClassNumbers, ClassPlanes]:
        """Return the classes that may be at t, and their fields as the annotated slices alone tell them."""
        last = len(self._whole) - 1
        z = self._whole.z_at(t)
        if 0 <= t <= last:
            classes, distances = self._propagation.fields(z, self.head.weights)
        else:
            step = np.diff(self._whole.positions)[0 if t < 0 else -1]
            classes, distances = self._propagation.beyond(z, z + float(step) * (t if t < 0 else t - last))
        return classes, distances / np.float32(LIMIT)

    def _between_annotated(self, t: float) -> float:
        """Return how far t is from annotated slices: 0 on them and beyond, 1 half-way between two."""
        annotated = self._whole.positions[list(self.head.annotation.annotated)]
        z = self._whole.z_at(t)
        if not annotated[0] < z < annotated[-1]:
            return 0.0
        k = int(np.searchsorted(annotated, z, side="right")) - 1
        alpha = float((z - annotated[k]) / (annotated[k + 1] - annotated[k]))
        return 4.0 * alpha * (1.0 - alpha)

    def _steadiness(self, t: float, classes: ClassNumbers) -> ClassPlanes | np.float32:
        """Return how little the fields change between the two measured slices beside t, from 0 to 1 at each pixel.

        The Gaussians show the mean of both. Where a border moves farther than a field can tell, that says nothing.
        """
        seat = self._stack.t_at(self._whole.z_at(t))
        if abs(seat - round(seat)) < ON_SLICE:
            return np.float32(1)
        first, second = (self._on_measured(k, classes) for k in (int(seat), int(seat) + 1))
        steadiness: ClassPlanes = 1 - np.abs(second - first) / 2
        return steadiness

    def _on_measured(self, k: int, classes: ClassNumbers) -> ClassPlanes:
        """Return the carried fields of some classes on a measured slice, kept for the slices around it."""
        t = self._whole.t_at(float(self._stack.positions[k]))
        found: tuple[ClassNumbers, ClassPlanes] = self.head.memory.get(
            ("carried", k), lambda: self.carried(t), lambda fields: fields[1].nbytes
        )
        there = np.full((len(self.ids), self._stack.height, self._stack.width), -1, np.float32)
        there[found[0]] = found[1]
        chosen: ClassPlanes = there[classes]
        return chosen

    def estimate(self, t: float, classes: ClassNumbers | None = None) -> Fields:
        """Return the fields of some classes, all if not given, that the Gaussians alone show at t, as `fields` does."""
        gaussians, values = self._gaussians
        seat = self._stack.t_at(self._whole.z_at(t))
        height, width = self._stack.height, self._stack.width
        with torch.no_grad(), single_threaded_torch():
            rows = visible_rows(gaussians, seat)
            seen = fold_visible(gaussians.rows(rows), seat)
            known = values.index_select(0, rows)
            if classes is not None:
                known = known[:, torch.from_numpy(classes).to(known.device, torch.long)]
            shown = []
            for part in torch.split(known, FEATURES_AT_ONCE, dim=1):
                splats = Splats2D(seen.means, seen.conics, seen.opacities, part.contiguous())
                shown.append(render_splats(splats, height, width, self.model.compositing))
            fields: Fields = np.ascontiguousarray(torch.cat(shown, dim=2).clamp(-1.0, 1.0).cpu().numpy())
        return fields

    def stored(self, t: float) -> LabelPlane:
        """Return the label ids at t: (height, width) in the type of the map; annotated slices as they were drawn."""
        annotation = self.head.annotation
        if self.is_annotated(t):
            return annotation.plane(round(t))
        largest, best = _largest(self.fields(t))
        ids = np.array(annotation.ids, self.source.voxels.dtype)
        labels: LabelPlane = np.where(best > 0, ids[largest], np.zeros((), ids.dtype))
        return labels

    def is_annotated(self, t: float) -> bool:
        """Return whether the slice at t is shown as it was drawn."""
        return self.model.has_source and abs(t - round(t)) < ON_SLICE and round(t) in self.head.annotation.annotated

    def confidence(self, t: float) -> Plane:
        """Return the probability that each label at t is right: (height, width) in [0.5, 1]; 1 where it was drawn.

        With m the distance to the nearest border in pixels and d that of the slice to the nearest annotated one,
        sigmoid(m / (looseness d)), as the annotated slices predict one another.
        """
        height, width = self._stack.height, self._stack.width
        if self.is_annotated(t):
            return np.ones((height, width), np.float32)
        fields = self.fields(t)
        _, best = _largest(fields)
        ranked = np.sort(fields, axis=2) if fields.shape[2] > 1 else fields
        second = ranked[..., -2] if fields.shape[2] > 1 else np.full_like(best, -1)
        # from background the border is where the best field is 0, from a label where it meets the next best, or 0
        margin = np.where(best > 0, np.minimum(best, (best - np.maximum(second, -1)) / 2), -best) * LIMIT
        z = self._whole.z_at(t)
        annotated = self._whole.positions[list(self.head.annotation.annotated)]
        apart = max(float(np.abs(annotated - z).min()), LEAST_DISTANCE)
        confidence: Plane = 1 / (1 + np.exp(-margin / np.float32(self.head.looseness * apart)))
        return confidence


def _largest(fields: Fields) -> tuple[Int64[np.ndarray, "height width"], Plane]:
    """Return which field is the largest at every pixel, and its value."""
    largest = fields.argmax(axis=2)
    return largest, np.take_along_axis(fields, largest[..., np.newaxis], axis=2)[..., 0]
