"""The picture of the demonstration: slices that were never measured, and how near they are to the truth.

Panels and scores come in, a PNG goes out. Drawn through matplotlib's objects: no window, no global state.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from medgs_core.formats.atomic import replaced_file

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Panel = Float32[np.ndarray, "_ _"]
"""Gray values as they appear, first row on top; panels differ in size."""

BACKGROUND, INK, FAINT, ACCENT, TRACK = "#101216", "#e8e8e4", "#9aa0a8", "#ffb454", "#343c46"
LARGE, MEDIUM, SMALL = 18, 13, 11
"""Font sizes in points."""

SIZE = (15.6, 13.4)
"""Width and height in inches; all places below are inches from the top left corner."""

DOTS_PER_INCH = 110
MARGIN, GAP, COLUMN, TALL = 0.45, 0.18, 2.8, 3.4
"""Around the figure, between panels; width and height of an axial panel."""

FIRST_ROW, SECOND_ROW = 1.78, 6.03
THIRD_ROW = SECOND_ROW + TALL + GAP
HEADING = 0.42
"""Of a heading above its row of panels."""

THROUGH = MARGIN + 3 * (COLUMN + GAP) + 0.42
SCORES = MARGIN + 4 * (COLUMN + GAP) + 0.3
"""Where the views across the slices begin, and the scores."""

SCORE_MARGIN = 0.4
"""In dB, between the lowest and highest score and the ends of their tracks."""

SCORE_LIFT = 0.2
"""Of a method's name above its track, in rows."""

ERROR_PERCENTILE = 99.5
"""Of the errors shown, what the brightest color stands for: single pixels would darken all others."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A method's guess of a slice it did not see.

    Attributes
    ----------
    name : in words for a reader
    plane : (height, width) in [0, 1]
    psnr : of this slice, in dB
    """

    name: str
    plane: Panel
    psnr: float


@dataclass(frozen=True, eq=False)
class Picture:
    """What is shown; all planes are in [0, 1].

    Attributes
    ----------
    title, subtitle : what was done, and to what
    between : (title, plane) of three slices: measured, rendered, measured
    through : (title, plane, height / width of a pixel) of views across the slices: measured, rendered
    held_out : title of the comparison
    truth : (height, width) the measured slice
    predictions : guesses of it, ours last
    means : mean PSNR in dB over all held-out slices, by name, ours last
    """

    title: str
    subtitle: str
    between: list[tuple[str, Panel]]
    through: list[tuple[str, Panel, float]]
    held_out: str
    truth: Panel
    predictions: list[Prediction]
    means: Mapping[str, float]


def save_picture(picture: Picture, path: str | os.PathLike[str]) -> None:
    """Write the picture as a PNG; an older file is replaced only by a complete one.

    Raises
    ------
    ValueError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DOTS_PER_INCH, facecolor=BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    _write(figure, MARGIN, 0.55, picture.title, LARGE, INK, weight="bold")
    _write(figure, MARGIN, 0.86, picture.subtitle, SMALL, FAINT)
    _draw_between(figure, picture)
    _draw_through(figure, picture)
    _draw_held_out(figure, picture)
    _draw_scores(figure, picture)
    with replaced_file(path) as file:
        canvas.print_png(file)  # type: ignore[no-untyped-call]


def _draw_between(figure: "matplotlib.figure.Figure", picture: Picture) -> None:
    _write(figure, MARGIN, FIRST_ROW - HEADING, "Between two measured slices", MEDIUM, INK)
    for column, (title, plane) in enumerate(picture.between):
        left = MARGIN + column * (COLUMN + GAP)
        _show(_axes(figure, left, FIRST_ROW, COLUMN, TALL, title, ours=column == 1), plane)


def _draw_through(figure: "matplotlib.figure.Figure", picture: Picture) -> None:
    """Draw the two views across the slices, the upper at the top of the row, the lower at its bottom."""
    _write(figure, THROUGH, FIRST_ROW - HEADING, "Across the slices", MEDIUM, INK)
    width = SIZE[0] - MARGIN - THROUGH
    for number, (title, plane, aspect) in enumerate(picture.through):
        height = width * aspect * plane.shape[0] / plane.shape[1]
        top = FIRST_ROW + number * (TALL - height)
        _show(_axes(figure, THROUGH, top, width, height, title, ours=number == 1), plane, aspect)


def _draw_held_out(figure: "matplotlib.figure.Figure", picture: Picture) -> None:
    _write(figure, MARGIN, SECOND_ROW - HEADING, picture.held_out, MEDIUM, INK)
    _show(_axes(figure, MARGIN, SECOND_ROW, COLUMN, TALL, "measured: the truth"), picture.truth)
    errors = [np.abs(prediction.plane - picture.truth) for prediction in picture.predictions]
    brightest = float(np.percentile(np.stack(errors), ERROR_PERCENTILE)) or 1.0
    for number, (prediction, error) in enumerate(zip(picture.predictions, errors, strict=True)):
        left = MARGIN + (number + 1) * (COLUMN + GAP)
        title = f"{prediction.name}: {prediction.psnr:.2f} dB"
        ours = number == len(errors) - 1
        _show(_axes(figure, left, SECOND_ROW, COLUMN, TALL, title, ours), prediction.plane)
        shown = _show(_axes(figure, left, THIRD_ROW, COLUMN, TALL), error, high=brightest, colors="inferno")
    middle = THIRD_ROW + TALL / 2
    _write(figure, MARGIN + COLUMN - 0.1, middle, "absolute error of", SMALL, INK, ha="right")
    _write(figure, MARGIN + COLUMN - 0.1, middle + 0.24, "the predictions above,", SMALL, INK, ha="right")
    _write(figure, MARGIN + COLUMN - 0.1, middle + 0.48, "on one color scale", SMALL, INK, ha="right")
    scale = figure.add_axes(_box(SCORES, THIRD_ROW + 0.1, 0.16, TALL - 0.2))
    figure.colorbar(shown, cax=scale).outline.set_visible(False)
    scale.tick_params(colors=FAINT, labelsize=SMALL, length=0)
    _write(figure, SCORES + 0.66, middle, "1 is the intensity range", SMALL, FAINT)
    _write(figure, SCORES + 0.66, middle + 0.24, "of the volume", SMALL, FAINT)


def _draw_scores(figure: "matplotlib.figure.Figure", picture: Picture) -> None:
    """Draw a dot per method on a line of its own, best on top: bars would need a zero, which means nothing here."""
    _write(figure, SCORES, SECOND_ROW - HEADING, "All held-out slices", MEDIUM, INK)
    _write(figure, SCORES, SECOND_ROW - 0.1, "mean PSNR in dB", SMALL, FAINT)
    axes = figure.add_axes(_box(SCORES, SECOND_ROW + 0.1, SIZE[0] - MARGIN - SCORES, TALL - 0.1), facecolor=BACKGROUND)
    ours = list(picture.means)[-1]
    ranked = sorted(picture.means, key=lambda name: -picture.means[name])
    ends = picture.means[ranked[-1]] - SCORE_MARGIN, picture.means[ranked[0]] + SCORE_MARGIN
    for row, name in enumerate(ranked):
        color = ACCENT if name == ours else INK
        axes.plot(ends, (row, row), color=TRACK, linewidth=2, solid_capstyle="round", zorder=0)
        axes.scatter(picture.means[name], row, s=70, color=color)
        axes.text(ends[0], row - SCORE_LIFT, name, color=color, fontsize=SMALL)
        axes.text(ends[1], row - SCORE_LIFT, f"{picture.means[name]:.2f}", color=color, fontsize=SMALL, ha="right")
    axes.set_xlim(*ends)
    axes.set_ylim(len(ranked) - 0.6, -0.7)
    axes.set_axis_off()


def _box(left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Return (left, bottom, width, height) in parts of the figure, of inches from the top left."""
    return left / SIZE[0], 1.0 - (top + height) / SIZE[1], width / SIZE[0], height / SIZE[1]


def _axes(
    figure: "matplotlib.figure.Figure",
    left: float,
    top: float,
    width: float,
    height: float,
    title: str = "",
    ours: bool = False,
) -> "matplotlib.axes.Axes":
    axes = figure.add_axes(_box(left, top, width, height))
    axes.set_axis_off()
    if title:
        axes.set_title(title, color=ACCENT if ours else INK, fontsize=SMALL, pad=5)
    return axes


def _show(
    axes: "matplotlib.axes.Axes", plane: Panel, aspect: float = 1.0, high: float = 1.0, colors: str = "gray"
) -> Any:
    return axes.imshow(plane, cmap=colors, vmin=0.0, vmax=high, aspect=aspect, interpolation="nearest")


def _write(
    figure: "matplotlib.figure.Figure", left: float, top: float, text: str, size: int, color: str, **style: Any
) -> None:
    figure.text(left / SIZE[0], 1.0 - top / SIZE[1], text, fontsize=size, color=color, **style)
