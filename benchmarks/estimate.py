"""How well the time of a fit is known before it starts, and what it costs to know it.

    MEDGS_DATA=... python benchmarks/estimate.py [--names NAME ...] [--presets fast balanced]

Each fit is probed, done, and probed again, kernels compiled before; what other programs take of the machine may change
meanwhile, so both estimates stand beside the time. Of a fit that ended early the time of all its steps is told: what it
took, and the steps that it left out at the pace of the others.
"""

import time

import numpy as np
from _setting import image_volumes, label, make_parser, print_table, setting, warm_up

import medgs_core as medgs

NAMES = ["lm_ovule", "us_spine_phantom_vol", "mri_prostate_px0000", "ct_abdomen_ts", "mri_seg3d"]


class Pace:
    """Follows a fit, and knows how long its steps took."""

    cancelled = paused = False

    def __init__(self) -> None:
        self.seconds, self.steps = 0.0, 0
        self._last: tuple[float, int] | None = None

    def report(self, state: medgs.FitState) -> None:
        """Add the time since the last report, if steps were taken in all of it."""
        now = time.perf_counter()
        if self._last is not None and state.phase.startswith("fitting") and state.step > self._last[1] > 0:
            self.seconds += now - self._last[0]
            self.steps += state.step - self._last[1]
        self._last = now, state.step


def main() -> None:
    """Probe, fit, probe, and print a table."""
    parser = make_parser(__doc__)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--presets", nargs="+", default=["fast", "balanced"])
    args = parser.parse_args()
    warm_up()
    rows, ratios = [], []
    for listed in image_volumes(args.names):
        volume = medgs.read_volume(listed.path)
        for preset in args.presets:
            config, times = medgs.FitConfig(axis=str(listed.axis), preset=preset), [time.perf_counter()]
            first = medgs.probe_fit(volume, config)
            times.append(time.perf_counter())
            pace = Pace()
            facts = medgs.fit_model(volume, config, progress=pace).model.provenance
            times.append(time.perf_counter())
            second = medgs.probe_fit(volume, config)
            probe, fit, _ = np.diff([*times, time.perf_counter()])
            left_out = (facts["steps_planned"] - facts["steps_done"]) * pace.seconds / max(pace.steps, 1)
            estimates = first.seconds, second.seconds
            ratios.append(float(np.mean(estimates)) / (fit + left_out))
            numbers = f"{estimates[0]:.1f}, {estimates[1]:.1f}", f"{fit + left_out:.1f}", f"{ratios[-1]:.2f}"
            rows.append([label(listed.name), preset, *numbers, f"{probe:.2f}", f"{100 * probe / fit:.0f} %"])
    print(f"{setting()}\n")
    print_table(["volume", "preset", "estimates, s", "all steps, s", "ratio", "probe, s", "of the fit"], rows)
    off = np.abs(np.array(ratios) - 1)
    print(f"\noff by {100 * off.mean():.0f} % on average, by {100 * off.max():.0f} % at most")


if __name__ == "__main__":
    main()
