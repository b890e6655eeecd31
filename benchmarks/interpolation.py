"""How well, how fast and in how much memory are withheld slices predicted, by every method on every volume.

    python benchmarks/interpolation.py [--strides 2 4] [--presets balanced] [--volumes NAME ...] [--results FILE]

reads the volumes that `index.json` in $MEDGS_DATA lists, keeps every stride-th slice of each along its slice axis,
predicts the others as `medgs evaluate` does, and prints a markdown table per preset, the mean gains and the worst
volume, and how the presets compare. Each case runs in a process of its own, so that peak memory is its own, and is
written to the results file when it ends: an interrupted run goes on from there.
"""

from pathlib import Path

import numpy as np
from _setting import (
    CLASSICAL,
    MIB,
    RESAMPLED,
    Row,
    image_volumes,
    label,
    make_parser,
    parse,
    peak_bytes,
    print_table,
    run_cases,
    setting,
    warm_up,
)

OURS = "medgs"
STANDARD = "balanced"
"""The preset that the others are compared with."""

SHOWN_DB = (-1.5, 4.0)
"""Range of the figure; gains beyond it lie on its edge."""

BESIDE_DB = 0.22
"""Distance of markers on the edge, so that none hides another."""


def main() -> None:
    """Run the cases that have no result yet, then print the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--strides", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--presets", nargs="+", default=[STANDARD])
    parser.add_argument("--volumes", nargs="+", help="names without .nii.gz; all images by default")
    parser.add_argument("--results", type=Path, default=Path("interpolation.jsonl"))
    parser.add_argument("--figure", type=Path, help="draw the gains of the first preset into this PNG")
    args = parse(parser, measure)
    cases = [
        {"volume": listed.name, "stride": stride, "preset": preset}
        for preset in args.presets
        for listed in image_volumes(args.volumes)
        for stride in args.strides
    ]
    rows = run_cases(__file__, cases, args.results)
    rows.sort(key=lambda row: (row["stride"], row["volume"] in RESAMPLED, row["volume"]))
    by_preset = {preset: [row for row in rows if row["preset"] == preset] for preset in args.presets}
    print(f"{setting()}\n")
    for preset, found in by_preset.items():
        print_scores(found, preset)
        print_gains(found)
    if STANDARD in by_preset:
        for preset in args.presets:
            if preset != STANDARD:
                compare_presets(by_preset[preset], by_preset[STANDARD], preset)
    if args.figure:
        draw_gains(by_preset[args.presets[0]], args.strides, args.figure)


def measure(volume: str, stride: int, preset: str) -> Row:
    """Return the scores, seconds and peak memory of one case, kernels compiled before."""
    import medgs_core as medgs

    warm_up()
    (listed,) = image_volumes([volume])
    config = medgs.FitConfig(axis=str(listed.axis), preset=preset)
    evaluation = medgs.evaluate_volume(medgs.read_volume(listed.path), config, stride=stride)
    return {
        "peak_mib": round(peak_bytes() / MIB),
        "methods": {
            name: {"psnr": score.psnr, "ssim": score.ssim, "seconds": round(score.seconds, 3)}
            for name, score in evaluation.methods.items()
        },
    }


def gains_of(row: Row) -> tuple[float, float, float, float]:
    """Return PSNR and SSIM over linear, then over the best classical method, each measure with its own best."""
    ours, linear = row["methods"][OURS], row["methods"]["linear"]
    best = {kind: max(row["methods"][name][kind] for name in CLASSICAL) for kind in ("psnr", "ssim")}
    return (
        ours["psnr"] - linear["psnr"],
        ours["ssim"] - linear["ssim"],
        ours["psnr"] - best["psnr"],
        ours["ssim"] - best["ssim"],
    )


def seconds_in_words(seconds: float) -> str:
    """Return a duration with more digits after the point the shorter it is."""
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}"


def print_scores(rows: list[Row], preset: str) -> None:
    """Print PSNR, SSIM and seconds of every method, the gains and peak memory, as markdown."""
    methods = (*CLASSICAL, OURS)
    print(f"### Preset `{preset}`: PSNR in dB / SSIM of withheld slices / seconds\n")
    table = []
    for row in rows:
        scores = [row["methods"][name] for name in methods]
        cells = [f"{one['psnr']:.2f} / {one['ssim']:.4f} / {seconds_in_words(one['seconds'])}" for one in scores]
        gain = gains_of(row)
        gains = [f"{gain[0]:+.2f} / {gain[1]:+.4f}", f"{gain[2]:+.2f} / {gain[3]:+.4f}"]
        table.append([label(row["volume"]), str(row["stride"]), *cells, *gains, str(row["peak_mib"])])
    print_table(["volume", "stride", *methods, "over linear", "over best classical", "peak MiB"], table)


def print_gains(rows: list[Row]) -> None:
    """Print the mean gains and the worst volume, resampled ones apart."""
    for kind, resampled in (("Resampled volumes left out", False), ("Resampled volumes", True)):
        found = [row for row in rows if (row["volume"] in RESAMPLED) == resampled]
        if not found:
            continue
        gains = np.array([gains_of(row) for row in found])
        over_linear, over_best = np.split(gains.mean(axis=0), 2)
        psnr, ssim = (int(gains[:, column].argmin()) for column in (2, 3))
        print(
            f"\n{kind}: mean gain {over_linear[0]:+.2f} dB / {over_linear[1]:+.4f} over linear, {over_best[0]:+.2f} dB "
            f"/ {over_best[1]:+.4f} over the best classical method of each volume; over that at worst "
            f"{gains[psnr, 2]:+.2f} dB ({name_of(found[psnr])}) / {gains[ssim, 3]:+.4f} ({name_of(found[ssim])})."
        )
    print()


def name_of(row: Row) -> str:
    """Return what a sentence calls a case."""
    return f"{row['volume']}, stride {row['stride']}"


def compare_presets(rows: list[Row], standard: list[Row], preset: str) -> None:
    """Print by how much a preset differs from the standard one on the same cases, in dB and in time."""
    print(f"### Preset `{preset}` beside `{STANDARD}`\n")
    table, differences, ratios = [], [], []
    for row, other in zip(rows, standard, strict=True):
        ours, theirs = row["methods"][OURS], other["methods"][OURS]
        differences.append(ours["psnr"] - theirs["psnr"])
        ratios.append(ours["seconds"] / theirs["seconds"])
        cells = [f"{differences[-1]:+.2f}", f"{ours['ssim'] - theirs['ssim']:+.4f}", f"{ratios[-1]:.2f}"]
        table.append([label(row["volume"]), str(row["stride"]), *cells])
    print_table(["volume", "stride", "PSNR, dB", "SSIM", "time, ratio"], table)
    worst = int(np.argmin(differences))
    print(
        f"\nPSNR {np.mean(differences):+.2f} dB in the mean, at worst {differences[worst]:+.2f} dB "
        f"({name_of(rows[worst])}); time {np.mean(ratios):.2f} of `{STANDARD}` in the mean, {min(ratios):.2f} to "
        f"{max(ratios):.2f}.\n"
    )


def draw_gains(rows: list[Row], strides: list[int], path: Path) -> None:
    """Draw PSNR over linear interpolation, a row per volume and a panel per stride."""
    from matplotlib.figure import Figure

    names = sorted({row["volume"] for row in rows}, key=lambda name: (name in RESAMPLED, name), reverse=True)
    colors = dict(zip((*CLASSICAL[1:], OURS), ("#9aa5b1", "#6b7c93", "#3b82c4", "#e07b00"), strict=True))
    figure = Figure(figsize=(5.2 * len(strides), 0.42 * len(names) + 1.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(strides), sharey=True))
    for panel, stride in zip(panels, strides, strict=True):
        panel.axvline(0.0, color="0.6", linewidth=1)
        panel.grid(axis="y", color="0.92", zorder=0)
        for row in (row for row in rows if row["stride"] == stride):
            height, scores = names.index(row["volume"]), row["methods"]
            gains = {name: scores[name]["psnr"] - scores["linear"]["psnr"] for name in colors}
            places = keep_in_range(gains)
            for name, color in colors.items():
                panel.scatter(places[name], height, 64 if name == OURS else 30, color, zorder=3)
            beyond = sorted((gain, name) for name, gain in gains.items() if gain > SHOWN_DB[1])
            if beyond:
                numbers = ", ".join(f"{gain:+.1f}" for gain, _ in beyond)
                at = (min(places[name] for _, name in beyond) - BESIDE_DB, height)
                panel.annotate(numbers, at, ha="right", va="center", fontsize=7)
        panel.set_xlim(*SHOWN_DB)
        panel.set_title(f"1 of {stride} slices kept")
        panel.set_xlabel("PSNR over linear interpolation, dB")
        panel.set_yticks(range(len(names)), names)
        panel.spines[["top", "right", "left"]].set_visible(False)
    for name, color in colors.items():
        panels[0].scatter([], [], 64 if name == OURS else 30, color, label=name)
    figure.legend(frameon=False, loc="outside lower center", ncols=len(colors))
    figure.savefig(path, dpi=130)


def keep_in_range(gains: dict[str, float]) -> dict[str, float]:
    """Return where the markers of a row stand: beyond the range in order beside its edge, none on another."""
    places = dict(gains)
    for edge, inward in ((SHOWN_DB[0], 1), (SHOWN_DB[1], -1)):
        beyond = sorted((name for name in gains if (gains[name] - edge) * inward < 0), key=lambda name: gains[name])
        for rank, name in enumerate(beyond if inward > 0 else reversed(beyond)):
            places[name] = edge + inward * BESIDE_DB * (rank + 0.5)
    return places


if __name__ == "__main__":
    main()
