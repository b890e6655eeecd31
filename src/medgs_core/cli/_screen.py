"""What a command shows: tables and JSON on standard output, a progress bar on standard error.

Scores, facts and states of a fit come in; text goes out. A bar appears only on a terminal.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from medgs_core.progress import FitState

if TYPE_CHECKING:
    Bar = tqdm[Any]
else:
    Bar = tqdm  # which is generic in its stubs only

BAR = "{desc:<32}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}"
SECONDS_PER_MINUTE = MINUTES_PER_HOUR = 60
WORTH_MINUTES = 100
"""Seconds from which on minutes are told, and minutes from which on hours are."""

COLUMN_GAP = "  "

OURS, REFERENCE = "medgs", "linear"
"""Among the scores: what is judged, and what everyone knows."""


class FitBar:
    """Follows a fit on the terminal: the phase, steps, time left, loss. A `Progress`.

    Parameters
    ----------
    quiet : bool
        Show nothing at all.

    Attributes
    ----------
    cancelled : whether the fit is to end and keep what was fitted
    paused : never
    state : the last state heard of
    """

    paused = False

    def __init__(self, quiet: bool = False) -> None:
        self.cancelled = False
        self.state: FitState | None = None
        self._quiet = quiet
        self._bar: Bar | None = None

    def cancel(self) -> None:
        """End the fit, and keep what was fitted."""
        self.cancelled = True

    def report(self, state: FitState) -> None:
        """Show the state of the fit."""
        self.state = state
        if self._bar is None:  # only now: what is printed before must not run into it
            self._bar = progress_bar(self._quiet, desc=state.phase, total=state.total)
        self._bar.n, self._bar.total = state.step, state.total
        self._bar.set_description_str(state.phase, refresh=False)
        self._bar.set_postfix_str(_remaining(state), refresh=False)
        self._bar.refresh()

    def __enter__(self) -> "FitBar":
        """Show the bar until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was, the bar in place."""
        if self._bar is not None:
            self._bar.close()


def progress_bar(quiet: bool, **shown: Any) -> Bar:
    """Return a bar on standard error; without a terminal there, or if quiet, it shows nothing."""
    return tqdm(disable=True if quiet else None, file=sys.stderr, bar_format=BAR, **shown)


def _remaining(state: FitState) -> str:
    parts = []
    if math.isfinite(state.seconds_left):
        minutes, seconds = divmod(math.ceil(state.seconds_left), SECONDS_PER_MINUTE)
        parts.append(f"{minutes}:{seconds:02d} left")
    if math.isfinite(state.loss):
        parts.append(f"loss {state.loss:.2e}")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in words, as exactly as an estimate of it is.

    Examples
    --------
    >>> duration(7.2), duration(130), duration(7300)
    ('7 s', '2 min', '2.0 h')
    """
    if seconds < WORTH_MINUTES:
        return f"{max(seconds, 1.0):.0f} s"
    minutes = seconds / SECONDS_PER_MINUTE
    return f"{minutes:.0f} min" if minutes < WORTH_MINUTES else f"{minutes / MINUTES_PER_HOUR:.1f} h"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns: the first to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(header))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = line[0].ljust(widths[0])
        print(COLUMN_GAP + COLUMN_GAP.join(cells).rstrip())


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name.ljust(width)}{COLUMN_GAP}{value}")


def list_images(members: Iterable[Mapping[str, Any]]) -> str:
    """Return how many images a model or volume holds and of which types; nothing for one that was not combined."""
    types = [
        member["dtype"]
        if member["layout"] == "plain"
        else f"{member['dtype']} x {member['channels']} {member['layout']}"
        for member in members
    ]
    return f"({len(types)} images: {', '.join(types)})" if types else ""


def gain(value: float, reference: float) -> str:
    """Return a difference in dB with its sign; a dash where both are infinite."""
    return "-" if math.isnan(value - reference) else f"{value - reference:+.2f}"


def strict_json(value: Any) -> str:
    """Return JSON text that every parser takes: infinities and NaN, which JSON does not know, become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
