"""How well, how fast and in how much memory are withheld slices predicted, by every method on every volume.

    python benchmarks/interpolation.py [--strides 2 4] [--presets balanced] [--volumes NAME ...] [--results FILE]

reads the volumes that `index.json` in $MEDGS_DATA lists, keeps every stride-th slice of each along its slice axis,
predicts the others as `medgs evaluate` does, and prints markdown tables. Each case runs in a process of its own, so
that peak memory is its own, and is written to the results file when it ends: an interrupted run goes on from there.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

CLASSICAL = ("linear", "cubic", "pchip", "flow")
RESAMPLED = ("lm_ovule", "pet_wholebody")
"""Interpolated along the axis before they were published, which flatters cubic: reported apart."""

SHOWN_DB = (-1.5, 4.0)
"""Range of the figure; gains beyond it lie on its edge."""

MIB = 2**20
KIB = 2**10


def main() -> None:
    """Run the cases that have no result yet, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strides", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--presets", nargs="+", default=["balanced"])
    parser.add_argument("--volumes", nargs="+", help="names without .nii.gz; all images by default")
    parser.add_argument("--results", type=Path, default=Path("interpolation.jsonl"))
    parser.add_argument("--figure", type=Path, help="draw the gains of the first preset into this PNG")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(**json.loads(args.case))))
        return
    rows = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    done = {(row["volume"], row["stride"], row["preset"]) for row in rows}
    for preset in args.presets:
        for volume, path, axis in images(args.volumes):
            for stride in args.strides:
                if (volume, stride, preset) in done:
                    continue
                case = {"volume": volume, "path": str(path), "axis": axis, "stride": stride, "preset": preset}
                command = [sys.executable, __file__, "--case", json.dumps(case)]
                line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                with args.results.open("a") as file:
                    file.write(line + "\n")
                rows.append(json.loads(line))
                print(line, file=sys.stderr)
    print(f"{processor()}; Python {platform.python_version()}, {versions()}\n")
    for preset in args.presets:
        print_table([row for row in rows if row["preset"] == preset and row["stride"] in args.strides], preset)
    if args.figure:
        draw_gains([row for row in rows if row["preset"] == args.presets[0]], args.strides, args.figure)


def images(names: list[str] | None) -> list[tuple[str, Path, int]]:
    """Return (name, path, slice axis) of the image volumes, label maps left out."""
    folder = Path(os.environ["MEDGS_DATA"])
    listed = json.loads((folder / "index.json").read_text())
    return [
        (entry["name"], folder / entry["file"], int(entry["slice_axis"]))
        for entry in listed
        if entry["kind"] == "intensity" and (names is None or entry["name"] in names)
    ]


def measure(volume: str, path: str, axis: int, stride: int, preset: str) -> dict[str, object]:
    """Return the scores, seconds and peak memory of one case, kernels compiled before."""
    import medgs_core as medgs

    warm_up = medgs.drifting_phantom((3, 16, 16), np.random.default_rng(0)).thick
    medgs.fit_model(warm_up, medgs.FitConfig(axis="0", steps=1))
    config = medgs.FitConfig(axis=str(axis), preset=preset)
    evaluation = medgs.evaluate_volume(medgs.read_volume(path), config, stride=stride)
    unit = MIB if sys.platform == "darwin" else KIB
    return {
        "volume": volume,
        "stride": stride,
        "preset": preset,
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit),
        "methods": {
            name: {"psnr": score.psnr, "ssim": score.ssim, "seconds": round(score.seconds, 2)}
            for name, score in evaluation.methods.items()
        },
    }


def print_table(rows: list[dict], preset: str) -> None:
    """Print PSNR and SSIM of every method, and the gains, as markdown."""
    print(f"### Preset `{preset}`: PSNR in dB / SSIM of withheld slices\n")
    print("| volume | stride |", " | ".join(CLASSICAL), "| medgs | over linear | over best classical | s | MiB |")
    print("|---" * (len(CLASSICAL) + 7) + "|")
    gains = []
    for row in sorted(rows, key=lambda row: (row["stride"], row["volume"] in RESAMPLED, row["volume"])):
        scores, ours = row["methods"], row["methods"]["medgs"]
        best = [max(scores[name][kind] for name in CLASSICAL) for kind in ("psnr", "ssim")]
        gain = (
            ours["psnr"] - scores["linear"]["psnr"],
            ours["ssim"] - scores["linear"]["ssim"],
            ours["psnr"] - best[0],
            ours["ssim"] - best[1],
        )
        if row["volume"] not in RESAMPLED:
            gains.append(gain)
        cells = [f"{scores[name]['psnr']:.2f} / {scores[name]['ssim']:.4f}" for name in (*CLASSICAL, "medgs")]
        name = row["volume"] + (" (resampled)" if row["volume"] in RESAMPLED else "")
        print(
            f"| {name} | {row['stride']} | {' | '.join(cells)} | {gain[0]:+.2f} / {gain[1]:+.4f} "
            f"| {gain[2]:+.2f} / {gain[3]:+.4f} | {ours['seconds']:.0f} | {row['peak_mib']} |"
        )
    if gains:
        mean = np.mean(gains, axis=0)
        print(
            f"\nMean gain, resampled volumes left out: {mean[0]:+.2f} dB / {mean[1]:+.4f} over linear, "
            f"{mean[2]:+.2f} dB / {mean[3]:+.4f} over the best classical method of each volume.\n"
        )


def draw_gains(rows: list[dict], strides: list[int], path: Path) -> None:
    """Draw PSNR over linear interpolation, a row per volume and a panel per stride."""
    from matplotlib.figure import Figure

    names = sorted({row["volume"] for row in rows}, key=lambda name: (name in RESAMPLED, name), reverse=True)
    figure = Figure(figsize=(5.2 * len(strides), 0.42 * len(names) + 1.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(strides), sharey=True))
    for panel, stride in zip(panels, strides, strict=True):
        gains = {
            name: [
                (names.index(row["volume"]), row["methods"][name]["psnr"] - row["methods"]["linear"]["psnr"])
                for row in rows
                if row["stride"] == stride
            ]
            for name in (*CLASSICAL[1:], "medgs")
        }
        panel.axvline(0.0, color="0.6", linewidth=1)
        for name, color in zip(gains, ("#9aa5b1", "#6b7c93", "#3b82c4", "#e07b00"), strict=True):
            heights, values = zip(*gains[name], strict=True)
            size = 64 if name == "medgs" else 30
            panel.scatter(np.clip(values, *SHOWN_DB), heights, size, color, label=name, zorder=3)
        panel.set_xlim(*SHOWN_DB)
        panel.set_title(f"1 of {stride} slices kept")
        panel.set_xlabel("PSNR over linear interpolation, dB")
        panel.set_yticks(range(len(names)), names)
        panel.grid(axis="y", color="0.92", zorder=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
    panels[0].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)


def processor() -> str:
    """Return the processor's name and the number of threads."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} threads"


def versions() -> str:
    """Return the versions of what computes."""
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "numba", "numpy", "opencv-python-headless"))


if __name__ == "__main__":
    main()
