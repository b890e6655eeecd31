"""How a long job talks to whoever started it: state goes out, a wish to stop or pause comes in.

The core knows no progress bar and no window; a caller passes an object with the methods of `Progress`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

PAUSE_SECONDS = 0.05
"""Between two looks at whether a pause is over."""


@dataclass(frozen=True)
class FitState:
    """What a running fit says of itself.

    Attributes
    ----------
    phase : what is being done now, in words for a user
    step : optimization steps done so far
    total : steps planned in all
    loss : running mean of the loss, in squared unit intensities; nan before the first step
    seconds_left : estimate until the fit ends; nan while there is none
    scores : mean PSNR in dB on hidden slices, by method; empty before they are known
    snapshot : call it for a model that renders as the fit stands now; None while there is none
    checks : mean PSNR in dB of the Gaussians alone on hidden slices, looked at in equal parts of the first phase
    """

    phase: str
    step: int
    total: int
    loss: float = float("nan")
    seconds_left: float = float("nan")
    scores: Mapping[str, float] = field(default_factory=dict)
    snapshot: Callable[[], Any] | None = None
    checks: tuple[float, ...] = ()


@runtime_checkable
class Progress(Protocol):
    """What a caller may pass to follow and steer a fit.

    All is called from the thread that fits, `report` at most a few times per second. `cancelled`, which must not
    become False again, and `paused` are read between steps, and between slices while a fit prepares, judges hidden
    slices or compares how labels are carried: a cancelled fit returns what it has, a paused one waits.
    """

    @property
    def cancelled(self) -> bool:
        """Return True to end the fit and keep what was fitted."""
        ...

    @property
    def paused(self) -> bool:
        """Return True to hold the fit until it is False again."""
        ...

    def report(self, state: FitState) -> None:
        """Receive the state of the fit."""
        ...


class SilentProgress:
    """Follows nothing, never stops: the default."""

    cancelled = False
    paused = False

    def report(self, state: FitState) -> None:
        """Ignore the state."""


def must_stop(progress: Progress) -> bool:
    """Return whether a job is to end, after a pause for as long as one is wished for."""
    while progress.paused and not progress.cancelled:
        time.sleep(PAUSE_SECONDS)
    return progress.cancelled
