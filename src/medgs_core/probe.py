"""How long a fit will take and how much memory, known before it starts.

A volume and the settings come in, a `FitEstimate` goes out: what the fit is made of is done on a few slices, timed and
counted up.
"""

import math
import time
from dataclasses import dataclass

from medgs_core.config import FitConfig, LabelConfig
from medgs_core.costs import count_up, measure_costs
from medgs_core.label_costs import time_labels
from medgs_core.label_fit import what_is_fitted
from medgs_core.plan import FitPlan, plan_fit
from medgs_core.progress import Progress, SilentProgress
from medgs_core.slices import SliceStack
from medgs_core.stopwatch import Cancelled, Stopwatch
from medgs_core.threads import thread_count
from medgs_core.volume import Volume

REHEARSAL_SIDE, REHEARSAL_GAUSSIANS = 24, 16
"""Pixels along a side of the patch, and Gaussians of each of its slices, with which all is done once before: no kernel
is then loaded or compiled while time counts."""


@dataclass(frozen=True)
class FitEstimate:
    """What a fit will take.

    Attributes
    ----------
    seconds : from its start to its end, on this machine as busy as it was during the probe; nan if that was cancelled
    plan : what the fit will do
    """

    seconds: float
    plan: FitPlan

    @property
    def memory_bytes(self) -> int:
        """Memory that the fit will hold at its peak, see `FitPlan`."""
        return self.plan.memory_bytes

    @property
    def at_most(self) -> bool:
        """Whether the fit may take less, because it ends where hidden slices gain no more."""
        return self.plan.may_end_early


def probe_fit(
    volume: Volume | None,
    config: FitConfig | None = None,
    *,
    labels: Volume | None = None,
    label_config: LabelConfig | None = None,
    progress: Progress | None = None,
) -> FitEstimate:
    """Return how long a fit would take, and how much memory, from some steps on slices in the middle of the stack.

    Parameters
    ----------
    volume, config, labels, label_config
        As for `fit_model`.
    progress : Progress, optional
        May pause or cancel the probe; nothing is reported to it.

    Raises
    ------
    ValueError
        As `fit_model` does.

    Examples
    --------
    >>> estimate = probe_fit(volume, FitConfig(preset="fast"))  # doctest: +SKIP
    >>> print(f"{estimate.seconds:.0f} s, {estimate.memory_bytes / 2**20:.0f} MiB")  # doctest: +SKIP
    """
    config, watch = config or FitConfig(), Stopwatch(progress or SilentProgress())
    begun = time.perf_counter()
    fitted, annotation = what_is_fitted(volume, config, labels, label_config)
    plan = plan_fit(fitted, config, annotation)
    seconds = time.perf_counter() - begun
    try:
        _rehearse(plan, config, watch)
        seconds += count_up(measure_costs(plan.stack, plan.counts, plan, config, watch), plan, config, thread_count())
        if annotation is not None:
            seconds += time_labels(fitted, annotation, plan, config, watch, with_image=volume is not None)
    except Cancelled:
        seconds = math.nan
    return FitEstimate(seconds, plan)


def _rehearse(plan: FitPlan, config: FitConfig, watch: Stopwatch) -> None:
    side, stack = REHEARSAL_SIDE, plan.stack
    patch = SliceStack(stack.planes[:, :side, :side], stack.positions, stack.window)
    measure_costs(patch, (REHEARSAL_GAUSSIANS,) * len(stack), plan, config, watch)
