"""A small picture of a fit under way: the loss, and how well hidden slices are predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

HEIGHT = 130
MARGIN, TITLE = 8, 18
"""Pixels around a plot, and above it for its title."""

LOSS_COLOR, HIDDEN_COLOR, LINEAR_COLOR = "#4dabf7", "#69db7c", "#ffa94d"
ROOM = 0.15
"""Part of the range that is left free above and below."""

LEAST_RANGE_DB = 1.0
EXACT_DB = 99.0
"""Where a slice that is predicted exactly is drawn: its PSNR is infinite."""

DOT = 2.5


class FitCurve(QWidget):
    """Two plots side by side: the loss on a logarithmic scale, and PSNR on hidden slices against linear."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Left: how far the Gaussians are from the measured slices; it jumps where hidden slices join.\n"
            "Right: how well slices are predicted that were hidden from the fit. Dots: the Gaussians alone, while "
            "they are fitted. Lines, once known: the whole model, and linear interpolation."
        )
        self.clear()

    def clear(self) -> None:
        """Forget the last fit."""
        self.losses: list[tuple[int, float]] = []
        self.checks: tuple[float, ...] = ()
        self.ours = self.linear = math.nan
        self.update()

    def sizeHint(self) -> QSize:
        """Return a size that fits a dock."""
        return QSize(300, HEIGHT)

    def add(self, step: int, loss: float, checks: tuple[float, ...], ours: float, linear: float) -> None:
        """Take what a fit reports: its running loss, the looks at hidden slices, and scores in dB or nan."""
        if loss > 0.0 and (not self.losses or step > self.losses[-1][0]):
            self.losses.append((step, loss))
        self.checks, self.ours, self.linear = checks, ours, linear
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw both plots."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() - 1.0, 7.0))
        painter.setFont(font)
        half = (self.width() - MARGIN) / 2
        left, right = QRectF(0, 0, half, self.height()), QRectF(half + MARGIN, 0, half, self.height())
        self._draw_loss(painter, left)
        self._draw_hidden(painter, right)
        painter.end()

    def _draw_loss(self, painter: QPainter, place: QRectF) -> None:
        shown = f"Loss {self.losses[-1][1]:.2g}" if self.losses else "Loss"
        box = self._frame(painter, place, [(shown, LOSS_COLOR)])
        values = [math.log10(loss) for _, loss in self.losses]
        steps = [float(step) for step, _ in self.losses]
        painter.setPen(QPen(QColor(LOSS_COLOR), 1.5))
        painter.drawPolyline(QPolygonF(_places(steps, values, box, 0.1)))

    def _draw_hidden(self, painter: QPainter, place: QRectF) -> None:
        known = not math.isnan(self.ours)
        titles = [("Hidden slices, dB", "")]
        if known:
            titles = [(f"MedGS {self.ours:.1f}", HIDDEN_COLOR), (f"linear {self.linear:.1f} dB", LINEAR_COLOR)]
        box = self._frame(painter, place, titles)
        lines = [self.ours, self.linear] if known else []
        values = [min(one, EXACT_DB) for one in (*self.checks, *lines)]
        if not values:
            return
        spots = _places([float(k) for k in range(len(values))], values, box, LEAST_RANGE_DB)
        count = len(self.checks)
        for y, color in zip((spot.y() for spot in spots[count:]), (HIDDEN_COLOR, LINEAR_COLOR), strict=False):
            painter.setPen(QPen(QColor(color), 1.5, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(HIDDEN_COLOR))
        for k, spot in enumerate(spots[:count]):
            x = box.left() + box.width() * (k + 1) / (count + 1)
            painter.drawEllipse(QPointF(x, spot.y()), DOT, DOT)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _frame(self, painter: QPainter, place: QRectF, titles: Sequence[tuple[str, str]]) -> QRectF:
        """Draw the box and the colored words above it; return the box."""
        text = self.palette().text().color()
        x = place.left() + 1
        for words, color in titles:
            painter.setPen(QColor(color) if color else text)
            painter.drawText(QPointF(x, place.top() + TITLE - 5), words)
            x += painter.fontMetrics().horizontalAdvance(words + "  ")
        box = place.adjusted(1, TITLE, -1, -1)
        faint = QColor(text)
        faint.setAlpha(90)
        painter.setPen(QPen(faint, 1))
        painter.drawRect(box)
        return box


def _places(steps: Sequence[float], values: Sequence[float], box: QRectF, least: float) -> list[QPointF]:
    """Return where numbers stand in a box, the largest near its top."""
    if not values:
        return []
    low, high = min(values), max(values)
    spare = max(least - (high - low), 0.0) / 2
    low, high = low - spare, high + spare
    low, high = low - ROOM * (high - low), high + ROOM * (high - low)
    last = max(steps[-1], 1.0)
    return [
        QPointF(box.left() + box.width() * step / last, box.bottom() - box.height() * (value - low) / (high - low))
        for step, value in zip(steps, values, strict=True)
    ]
