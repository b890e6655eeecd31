"""Slices at uneven distances, cut into runs of even spacing: a layer, or a file, can show one of these.

A model and the settings of a rendering come in; settings of one rendering for each run go out, and words that tell
them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import medgs_core as medgs

SAME_GAP = 4e-5
"""Part of a gap by which the next may differ and be the same: a little less than half of what the core allows."""


@dataclass(frozen=True, eq=False)
class Run:
    """Slices of even spacing among those of a rendering.

    Attributes
    ----------
    config : settings that render these slices alone
    coordinates : slice coordinate t of each
    thickness : of a lone slice, in measured slices: as far as it may be shown without another one at the same place;
        None where the spacing gives it
    whole : whether these are all slices
    """

    config: medgs.RenderConfig
    coordinates: Any
    thickness: float | None = None
    whole: bool = True

    @property
    def positions(self) -> tuple[float, ...]:
        """The slice coordinates as a setting."""
        return tuple(float(t) for t in self.coordinates)

    @property
    def words(self) -> str:
        """Which slices these are, as short as it can be said: `12`, `3, 5`, `10, 10.25 .. 11`."""
        first, *rest = (_number(t, 2) for t in self.coordinates)
        if len(rest) > 1:
            return f"{first}, {rest[0]} .. {rest[-1]}"
        return ", ".join([first, *rest])

    @property
    def file_words(self) -> str:
        """What is added to the name of a file, nothing where these are all slices: ` at 12`, ` at 10 to 11`."""
        if self.whole:
            return ""
        ends = dict.fromkeys(_number(t, 6) for t in (self.coordinates[0], self.coordinates[-1]))
        return f" at {' to '.join(ends)}"


def even_runs(model: medgs.FittedModel, config: medgs.RenderConfig) -> list[Run]:
    """Return the runs of even spacing that a rendering falls into, in their order: one, where all slices are even.

    No run is spaced wider than the gaps beside it, so that slices of different runs never lie at the same place.

    Raises
    ------
    ValueError
        If a setting breaks its rule.
    """
    import medgs_core as medgs

    sampling = medgs.sample_slices(model, config)
    if sampling.positions is None:
        return [Run(config, sampling.coordinates)]
    gaps, measured = np.diff(sampling.positions), model.volume.spacing[model.axis]
    runs = []
    for first, last in _even_stretches(gaps):
        beside = gaps[max(first - 1, 0) : last + 1]
        thickness = None if last > first else min(float(beside.min()) / measured, 1.0)
        run = Run(config, sampling.coordinates[first : last + 1], thickness, whole=False)
        runs.append(replace(run, config=config.model_copy(update={"factor": None, "positions": run.positions})))
    return runs


def _even_stretches(gaps: Any) -> list[tuple[int, int]]:
    """Return the first and the last slice of each run; of two gaps side by side, the narrower takes what is between."""
    bounds = [0]
    for k in range(1, len(gaps)):
        if abs(gaps[k] - gaps[bounds[-1]]) > SAME_GAP * gaps[bounds[-1]]:
            bounds.append(k)
    alike = list(zip(bounds, [*bounds[1:], len(gaps)], strict=True))  # gaps from one to before the other
    free, runs = np.ones(len(gaps) + 1, bool), []
    for begin, end in sorted(alike, key=lambda one: gaps[one[0]]):
        for is_free, slices in groupby(range(begin, end + 1), key=lambda i: bool(free[i])):
            taken = list(slices)
            if is_free:
                runs.append((taken[0], taken[-1]))
        free[begin : end + 1] = False
    return sorted(runs)


def _number(t: float, digits: int) -> str:
    """Return a number without zeros at its end."""
    return f"{t:.{digits}f}".rstrip("0").rstrip(".")
