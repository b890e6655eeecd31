"""Do nine in ten errors of slices that were withheld stay within the bound, as it promises.

    python benchmarks/uncertainty.py [--volumes NAME ...] [--strides 2 4] [--results FILE]

keeps every stride-th slice of the middle of each volume and compares the slices between, as rendered in stored values,
with the measured ones. It prints the share of errors within the bound by where in the gap the slice lies, and the
mean bound over the mean error.
"""

from pathlib import Path

import numpy as np
from _setting import Row, image_volumes, label, make_parser, parse, print_table, run_cases, setting
from _withheld import read_part

import medgs_core as medgs

PLACES = {0.5: "half-way", 0.25: "a quarter away"}
"""What tables call the distance to the nearest kept slice, as share of the gap."""


def main() -> None:
    """Run the cases that have no result yet, then print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--volumes", nargs="+", help="names without .nii.gz; all images by default")
    parser.add_argument("--strides", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--results", type=Path, default=Path("uncertainty.jsonl"))
    args = parse(parser, measure)
    volumes = [listed.name for listed in image_volumes(args.volumes)]
    rows = run_cases(
        __file__, [{"volume": name, "stride": stride} for stride in args.strides for name in volumes], args.results
    )
    print(f"{setting()}\n")
    table = []
    for row in rows:
        shares = [f"{row['within'][place]:.2f}" if place in row["within"] else "" for place in PLACES.values()]
        table.append([label(row["volume"]), str(row["stride"]), *shares, f"{row['bound_over_error']:.1f}"])
    print_table(["volume", "stride", *PLACES.values(), "bound over error"], table)


def measure(volume: str, stride: int) -> Row:
    """Return the share of errors within the bound by place in the gap, and the mean bound over the mean error."""
    part = read_part(volume, stride)
    model = part.fit(part.thinned())
    rendered = part.slices_of(medgs.render_volume(model, factor=stride))
    bounds = part.slices_of(medgs.render_uncertainty(model, factor=stride))
    within: dict[str, list[float]] = {}
    sums = np.zeros(2)
    for k in part.withheld:
        error = np.abs(rendered(k).astype(np.float64) - part.measured(k)) * abs(part.volume.slope)
        away = min(k % stride, -k % stride) / stride
        within.setdefault(PLACES.get(away, f"{away:.2f} away"), []).append(float(np.mean(error <= bounds(k))))
        sums += bounds(k).mean(), error.mean()
    shares = {place: float(np.mean(values)) for place, values in within.items()}
    return {"within": shares, "bound_over_error": float(sums[0] / sums[1])}


if __name__ == "__main__":
    main()
