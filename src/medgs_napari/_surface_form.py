"""Which surface is wanted, and how fine: labels or a level of intensity, spacing, smoothing, number of triangles.

A model comes in, a checked `SurfaceConfig` goes out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

import medgs_core as medgs
from medgs_napari._contours import measured_scale
from medgs_napari._forms import checked_settings, form_values, scatter, settings_form
from medgs_napari._level_choice import LevelChoice
from medgs_napari._qt import bare_column, choice, form_layout, section

if TYPE_CHECKING:
    from medgs_napari._session import Fitted

ALL, LEVEL = "all labels", "level"
FINENESS = ("spacing", "smooth", "faces", "channel", "device")
MOST_SLICES, MOST_VOXELS = 32, 400_000
"""That the range of levels is taken from, and one is guessed from: a histogram needs no more."""


class SurfaceForm(QWidget):
    """The choices of the Surface dock."""

    changed = Signal()
    """Emitted when another surface would come out."""

    def __init__(self) -> None:
        super().__init__()
        self._model: medgs.FittedModel | None = None
        self.what = choice()
        self.what.setToolTip("Labels come from the Segment dock, or with a model that was fitted with them.")
        self.level = LevelChoice()
        self.level.setToolTip(
            "The surface runs along this value of the image; higher values are inside. Move the slider, or "
            "type a number and press Enter."
        )
        self.values = settings_form(medgs.SurfaceConfig, FINENESS)
        self.values["faces"].native.setPlaceholderText("all")
        self._arrange()
        self.what.currentIndexChanged.connect(lambda _: self._chosen())
        self.level.valueChanged.connect(lambda _: self.changed.emit())
        self.values.changed.connect(lambda _: self.changed.emit())
        self.values["channel"].changed.connect(lambda _: self._sync_level())
        self._chosen()

    def _arrange(self) -> None:
        scatter(self.values, self)
        self.form = form_layout()
        for label, widget in (
            ("Surface of", self.what),
            ("Level", self.level),
            *((self.values[name].label, self.values[name].native) for name in ("smooth", "faces")),
        ):
            self.form.addRow(label, widget)
        advanced, rows = section("Advanced")
        shown = [one for one in self.values if one.name not in ("smooth", "faces")]
        for one in shown:
            rows.addRow(one.label, one.native)
        self._spacing = rows.labelForField(self.values["spacing"].native)
        layout = bare_column(self)
        layout.addLayout(self.form)
        layout.addWidget(advanced)

    def show_model(self, fitted: Fitted | None) -> None:
        """Offer what a model has."""
        model = None if fitted is None else fitted.model
        if model is self._model:
            return
        before, knew_labels, self._model = self.what.currentData(), self.what.findData(ALL) >= 0, model
        self.what.blockSignals(True)
        self.what.clear()
        for text, key in _offered(model):
            self.what.addItem(text, key)
        labels_are_new = self.what.findData(ALL) >= 0 and not knew_labels
        kept = -1 if labels_are_new else self.what.findData(before)
        self.what.setCurrentIndex(max(kept, 0 if self.what.count() else -1))
        self.what.blockSignals(False)
        unit = "unknown" if model is None else model.volume.unit
        self._spacing.setText(self.values["spacing"].label + ("" if unit == "unknown" else f", {unit}"))
        if model is not None:
            channel, last = self.values["channel"], model.volume.channels - 1
            channel.value = min(channel.value, last)
            channel.max = last
        self._sync_level()
        self._chosen()

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels whose surfaces are wanted; none for a level."""
        key = self.what.currentData()
        if key is None or key == LEVEL or self._model is None or self._model.labels is None:
            return ()
        return self._model.labels.annotation.ids if key == ALL else (int(key),)

    @property
    def by_level(self) -> bool:
        """Whether a level is wanted."""
        return bool(self.what.currentData() == LEVEL)

    def config(self) -> medgs.SurfaceConfig:
        """Return the settings of the extraction; without label and level all labels are meant.

        Raises
        ------
        ValueError
            If one breaks its rule.
        """
        values: dict[str, Any] = form_values(self.values, medgs.SurfaceConfig)
        key = self.what.currentData()
        if key == LEVEL:
            values["level"] = self.level.value()
        elif key != ALL:
            values["label"] = int(key)
        return checked_settings(medgs.SurfaceConfig, values)

    def _chosen(self) -> None:
        self.form.setRowVisible(self.level, self.by_level)
        self.changed.emit()

    def _sync_level(self) -> None:
        """Let the slider span what the channel measures, and begin between its dark and its bright part."""
        model = self._model
        if model is None or not model.has_image:
            return
        volume, channel = model.volume, int(self.values["channel"].value)
        if channel >= volume.channels:
            return
        slope, intercept = measured_scale(volume, channel)
        window = [
            float(np.broadcast_to(one, volume.channels)[channel]) for one in (model.window.low, model.window.high)
        ]
        low, high, middle = *window, sum(window) / 2
        if model.has_source:
            low, high, middle = _levels(np.append(sampled_values(volume.voxels, model.axis, channel), window))
        ends = sorted(slope * one + intercept for one in (low, high))
        self.level.offer(ends[0], ends[1], slope * middle + intercept)


def _offered(model: medgs.FittedModel | None) -> list[tuple[str, Any]]:
    """Return the surfaces that a model has, in words, and their keys."""
    if model is None:
        return []
    ids = () if model.labels is None else model.labels.annotation.ids
    labels: list[tuple[str, Any]] = [(f"label {one}", one) for one in ids]
    every: list[tuple[str, Any]] = [(ALL, ALL)] if ids else []
    return [*every, *labels, *([("intensity level", LEVEL)] if model.has_image else [])]


def sampled_values(voxels: Any, axis: int, channel: int) -> Any:
    """Return values of a small volume, all of them, or of pixels all over a few slices of a large one: (values,).

    Parameters
    ----------
    voxels : array-like, (i, j, k) or (i, j, k, channels)
        Only these slices of it are read.
    axis : int
        Of the slices.
    channel : int
        Of the values.
    """
    count = voxels.shape[axis]
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_SLICES)).round().astype(int))
    if math.prod(voxels.shape[:3]) <= MOST_VOXELS:
        chosen = np.arange(count)
    area = math.prod(voxels.shape[:3]) // count
    stride = math.ceil(math.sqrt(max(len(chosen) * area / MOST_VOXELS, 1.0)))
    color = () if len(voxels.shape) == 3 else (channel,)
    planes = [
        voxels[(*(int(k) if one == axis else slice(None, None, stride) for one in range(3)), *color)] for k in chosen
    ]
    return np.concatenate([np.ravel(np.asarray(plane)) for plane in planes])


def _levels(values: Any) -> tuple[float, float, float]:
    """Return the least and the largest value, and the one that best parts dark from bright."""
    from skimage.filters import threshold_otsu

    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low, low + 1.0, low
    bright = values > threshold_otsu(values)  # type: ignore[no-untyped-call]
    # half-way between the two, where the threshold itself is but the end of a bin: at the edge of values that are few
    return low, high, float(values[bright].mean() + values[~bright].mean()) / 2
