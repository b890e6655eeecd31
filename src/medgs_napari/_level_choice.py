"""A level of intensity, chosen with a slider or typed; the range of an image comes in, a number in few digits goes out.

The number is rounded where it is chosen, so that the form, names of layers, copied text and the surface have the same.
"""

from __future__ import annotations

import math

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QWidget
from superqt import QDoubleSlider

from medgs_napari._qt import bare_row

RANGE_DIGITS = 3
"""Digits of the range that the slider steps in, as fine as the eye tells on a screen."""

TYPED_DIGITS = 4
"""Further ones that can be typed."""

CLOSE = 0.05
"""Part of the way from where a level begins to the nearer end of the range, by which it may be rounded."""

LARGEST = 1e30
"""Voxels lie within; what the data really span is for the core to say, which looks at all of them."""

WIDTH_IN_LETTERS = 13


class LevelChoice(QWidget):
    """The slider and the number beside it."""

    valueChanged = Signal(float)
    """Emitted when another level is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._digits = 0
        self.slider, self.number = QDoubleSlider(Qt.Orientation.Horizontal), _PlainNumber()
        self.number.setRange(-LARGEST, LARGEST)
        self.number.setKeyboardTracking(False)
        self.number.setFixedWidth(self.number.fontMetrics().horizontalAdvance("0" * WIDTH_IN_LETTERS))
        bare_row(self, self.slider, self.number)
        self.slider.valueChanged.connect(self._slid)
        self.number.valueChanged.connect(self._typed)

    def value(self) -> float:
        """Return the level."""
        return float(self.number.value())

    def setValue(self, level: float) -> None:
        """Choose a level, as if it was typed."""
        self.number.setValue(level)

    def offer(self, low: float, high: float, first: float) -> None:
        """Let the slider span a range, low < high, and begin at a level in it, rounded as far as it stays there."""
        self._digits = RANGE_DIGITS - 1 - math.floor(math.log10(high - low))
        with QSignalBlocker(self.slider), QSignalBlocker(self.number):
            self.number.setDecimals(max(self._digits, 0) + TYPED_DIGITS)
            self.number.setSingleStep(10.0**-self._digits)
            self.slider.setRange(low, high)
            finer = (round(first, digits) for digits in range(self._digits, self._digits + TYPED_DIGITS))
            near = CLOSE * min(first - low, high - first)
            begin = next((one for one in finer if abs(one - first) <= near), first)
            self.slider.setValue(begin)
            self.number.setValue(begin)

    def _slid(self, level: float) -> None:
        self.number.setValue(round(float(level), self._digits))

    def _typed(self, level: float) -> None:
        """Let the slider follow, also beyond the range that a sample of the image has."""
        with QSignalBlocker(self.slider):
            self.slider.setRange(min(level, self.slider.minimum()), max(level, self.slider.maximum()))
            self.slider.setValue(level)
        self.valueChanged.emit(self.value())


class _PlainNumber(QDoubleSpinBox):
    """A number without the zeros that end it."""

    def textFromValue(self, value: float) -> str:
        """Return the number as people write it."""
        text = super().textFromValue(value)
        point = self.locale().decimalPoint()
        return text.rstrip("0").rstrip(point) if point in text else text
