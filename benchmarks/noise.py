"""How much of noise does a fit take away, between the slices and on them.

    python benchmarks/noise.py [--volumes NAME ...] [--noise 0.05 0.1] [--results FILE]

keeps every second slice of the middle of each volume and adds Gaussian noise to those, of a deviation given as share
of the range (the 0.5 to 99.5 percentiles of the clean volume), rounded and clipped to the stored type. It prints the
PSNR against clean slices: of withheld ones, by method, and of kept ones, as given and as `denoise=True` renders them.
"""

from pathlib import Path

from _setting import (
    CLASSICAL,
    Row,
    image_volumes,
    label,
    make_parser,
    parse,
    print_table,
    run_cases,
    setting,
)
from _withheld import add_noise, read_part

import medgs_core as medgs

STRIDE = 2


def main() -> None:
    """Run the cases that have no result yet, then print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--volumes", nargs="+", help="names without .nii.gz; all images by default")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.05, 0.1], help="deviations as share of the range")
    parser.add_argument("--results", type=Path, default=Path("noise.jsonl"))
    args = parse(parser, measure)
    volumes = [listed.name for listed in image_volumes(args.volumes)]
    rows = run_cases(
        __file__, [{"volume": name, "noise": noise} for name in volumes for noise in args.noise], args.results
    )
    print(f"{setting()}\n")
    methods = (*CLASSICAL, "medgs")
    table = []
    for row in rows:
        scores = row["withheld"]
        best = max(scores.values())
        cells = [f"**{scores[name]:.2f}**" if scores[name] == best else f"{scores[name]:.2f}" for name in methods]
        kept = [f"{row['kept'][name]:.2f}" for name in ("noisy", "denoised")]
        table.append([label(row["volume"]), f"{100 * row['noise']:g} %", *cells, *kept])
    print_table(["volume", "noise", *methods, "kept, noisy", "kept, denoised"], table)


def measure(volume: str, noise: float) -> Row:
    """Return the PSNR of withheld slices by method, and of kept ones before and after."""
    part = read_part(volume, STRIDE)
    noisy = add_noise(part.thinned(), noise * float(part.window.width))
    fine = medgs.render_volume(part.fit(noisy), factor=STRIDE, denoise=True)
    given, rendered = part.slices_of(noisy), part.slices_of(fine)
    return {
        "withheld": part.score_classical(noisy) | {"medgs": part.score(rendered)},
        "kept": {
            "noisy": part.score(lambda k: given(k // STRIDE), part.kept),
            "denoised": part.score(rendered, part.kept),
        },
    }


if __name__ == "__main__":
    main()
