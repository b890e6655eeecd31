"""How long a fit will go on, by how long its parts took so far; while it is paused no time passes.

Which part begins and each step come in, seconds go out.
"""

import math
import time

from medgs_core.progress import Progress, must_stop

UNTIMED_STEPS = 1
"""Steps of a phase after which they are timed: the first loads or compiles kernels."""

SECOND_PREPARATION = 0.5
"""Time of judging hidden slices and preparing the second phase, by that of preparing the first: most of the flows are
known by then. Measured 0.3 to 0.9, the most where steps are few."""


class Pace:
    """The clock of one fit.

    Parameters
    ----------
    progress : Progress
        By which it is paused.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._waited = progress, 0.0
        self._since, self._preparation = self._now(), math.nan
        self._taken, self._last = 0, 0.0
        self._timed_steps, self._timed_seconds = 0, 0.0  # of both phases: a step costs about the same in each
        self._preparing = True

    def must_stop(self) -> bool:
        """Return whether the fit is to end, after a pause for as long as one is wished for."""
        begun = time.monotonic()
        stop = must_stop(self._progress)
        self._waited += time.monotonic() - begun
        return stop

    def prepare(self) -> None:
        """Begin what comes between the two phases."""
        self._since, self._preparing = self._now(), True

    def descend(self) -> None:
        """Begin a phase."""
        if math.isnan(self._preparation):
            self._preparation = SECOND_PREPARATION * (self._now() - self._since)
        self._taken, self._preparing = 0, False

    def count_step(self) -> None:
        """Take note of a step."""
        now = self._now()
        if self._taken >= UNTIMED_STEPS:
            self._timed_steps += 1
            self._timed_seconds += now - self._last
        self._taken, self._last = self._taken + 1, now

    def seconds_left(self, steps: int, *, second_ahead: bool) -> float:
        """Return how long it takes until the end; nan while that is unknown.

        Parameters
        ----------
        steps : int
            Which are still to be taken.
        second_ahead : bool
            Whether the second phase has yet to begin.
        """
        if steps == 0:
            return 0.0
        if self._timed_steps == 0:
            return math.nan
        left = steps * self._timed_seconds / self._timed_steps
        spent = self._now() - self._since if self._preparing else 0.0
        return left + max(self._preparation - spent, 0.0) if second_ahead else left

    def _now(self) -> float:
        return time.monotonic() - self._waited
