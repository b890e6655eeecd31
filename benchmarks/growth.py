"""How time and memory of a fit grow with the number of slices and with their size.

    python benchmarks/growth.py [--preset balanced] [--repeats 3]

fits phantoms of moving ellipses in processes of their own, kernels compiled before, sizes in turn. Seconds are those
of the fit; memory is what the peak of the process rose by during it, beside what the plan announces.
"""

import statistics
import time
from pathlib import Path

import numpy as np
from _setting import KIB, MIB, Row, make_parser, parse, peak_bytes, print_table, run_case, setting, warm_up

import medgs_core as medgs
from medgs_core.plan import plan_fit

SIZES = ((20, 128), (80, 128), (320, 128), (20, 256), (20, 512))
"""Slices, and pixels along both sides of a slice."""


def main() -> None:
    """Fit every size and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--repeats", type=int, default=3)
    args = parse(parser, measure)
    rows: dict[tuple[int, int], list[Row]] = {size: [] for size in SIZES}
    for _ in range(args.repeats):
        for slices, side in SIZES:
            case = {"slices": slices, "side": side, "preset": args.preset}
            rows[slices, side].append(run_case(__file__, case))
    print(f"{setting()}; preset {args.preset}, medians of {args.repeats}\n")
    table = []
    for (slices, side), found in rows.items():
        seconds, peak = (statistics.median(one[name] for one in found) for name in ("seconds", "peak"))
        voxels = slices * side * side
        times = [f"{seconds:.1f}", f"{1e3 * seconds / slices:.0f}", f"{1e6 * seconds / voxels:.2f}"]
        memory = [f"{peak / MIB:.0f}", f"{found[0]['announced'] / MIB:.0f}", f"{peak / voxels:.0f}"]
        table.append([str(slices), f"{side} x {side}", f"{found[0]['steps']:.0f}", *times, *memory])
    sizes = ["slices", "size", "steps", "s", "ms per slice", "µs per pixel"]
    print_table([*sizes, "peak MiB", "announced MiB", "bytes per voxel"], table)


def measure(slices: int, side: int, preset: str) -> Row:
    """Return the seconds and the memory of one fit."""
    warm_up()
    volume = medgs.drifting_phantom((slices, side, side), np.random.default_rng(1), noise=0.02).thick
    planned = sum(plan_fit(volume, medgs.FitConfig(axis="0", preset=preset)).steps)
    config = medgs.FitConfig(axis="0", preset=preset, steps=planned)  # all of them, though the phantom would need fewer
    announced = plan_fit(volume, config).memory_bytes
    reset_peak()
    before = recent_peak_bytes()
    begun = time.perf_counter()
    result = medgs.fit_model(volume, config)
    seconds = time.perf_counter() - begun
    steps = result.model.provenance["steps_done"]
    return {"seconds": seconds, "peak": recent_peak_bytes() - before, "announced": announced, "steps": steps}


def reset_peak() -> None:
    """Forget the most memory that this process has held, where the system can: on Linux."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def recent_peak_bytes() -> int:
    """Return the most memory that this process has held since the last reset."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * KIB
    return peak_bytes()


if __name__ == "__main__":
    main()
