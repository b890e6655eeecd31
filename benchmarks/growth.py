"""How time and memory of a fit grow with the number of slices and with their size.

    python benchmarks/growth.py [--preset balanced] [--repeats 3]

fits phantoms of moving ellipses in processes of their own, kernels compiled before, sizes in turn. Seconds are those
of the fit; memory is what the peak of the process rose by during it, beside what the plan announces.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import medgs_core as medgs
from medgs_core.plan import plan_fit

SIZES = ((20, 128), (80, 128), (320, 128), (20, 256), (20, 512))
"""Slices, and pixels along both sides of a slice."""

MIB, KIB = 2**20, 2**10


def main() -> None:
    """Fit every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(*json.loads(args.case))))
        return
    rows: dict[tuple[int, int], list[dict[str, float]]] = {size: [] for size in SIZES}
    for _ in range(args.repeats):
        for size in SIZES:
            case = json.dumps([*size, args.preset])
            command = [sys.executable, __file__, "--case", case]
            rows[size].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"Preset {args.preset}; Python {platform.python_version()}; medians of {args.repeats}\n")
    print("| slices | size | steps | s | ms per slice | µs per pixel | peak MiB | announced MiB | bytes per voxel |")
    print("|---" * 9 + "|")
    for (slices, side), found in rows.items():
        seconds, peak = (statistics.median(one[name] for one in found) for name in ("seconds", "peak"))
        voxels = slices * side * side
        print(
            f"| {slices} | {side} x {side} | {found[0]['steps']:.0f} | {seconds:.1f} | {1e3 * seconds / slices:.0f} "
            f"| {1e6 * seconds / voxels:.2f} | {peak / MIB:.0f} | {found[0]['announced'] / MIB:.0f} "
            f"| {peak / voxels:.0f} |"
        )


def measure(slices: int, side: int, preset: str) -> dict[str, float]:
    """Return the seconds and the memory of one fit."""
    warm_up = medgs.drifting_phantom((9, 24, 24), np.random.default_rng(0)).thick
    model = medgs.fit_model(warm_up, medgs.FitConfig(axis="0", steps=20)).model
    medgs.render_volume(model, factor=2)
    volume = medgs.drifting_phantom((slices, side, side), np.random.default_rng(1), noise=0.02).thick
    config = medgs.FitConfig(axis="0", preset=preset)
    announced = plan_fit(volume, config).memory_bytes
    reset_peak()
    before = peak_bytes()
    begun = time.perf_counter()
    result = medgs.fit_model(volume, config)
    seconds = time.perf_counter() - begun
    steps = result.model.provenance["steps_done"]
    return {"seconds": seconds, "peak": peak_bytes() - before, "announced": announced, "steps": steps}


def reset_peak() -> None:
    """Forget the most memory that this process has held, where the system can: on Linux."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def peak_bytes() -> int:
    """Return the most memory that this process has held since the last reset."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KIB)


if __name__ == "__main__":
    main()
