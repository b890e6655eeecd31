"""How long fitting and rendering take against TV-L1 optical flow over the same gaps.

    python benchmarks/against_tvl1.py VOLUME [--axis 0] [--stride 2] [--repeats 3]

keeps every stride-th slice. TV-L1 is scikit-image's `optical_flow_tvl1` with its defaults on values in [0, 1], both
directions of every gap. The two run in turn, kernels compiled before; medians and their ratio are printed.
"""

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
from _setting import MIB, make_parser, peak_bytes, setting, warm_up
from skimage.registration import optical_flow_tvl1

import medgs_core as medgs


def main() -> None:
    """Time both in turn and print the medians."""
    parser = make_parser(__doc__)
    parser.add_argument("volume")
    parser.add_argument("--axis", type=int, default=0)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--presets", nargs="+", default=["fast", "balanced"])
    args = parser.parse_args()
    volume = medgs.read_volume(args.volume)
    kept = np.arange(0, volume.shape3d[args.axis], args.stride)
    thinned = replace(volume, voxels=np.take(volume.voxels, kept, args.axis))
    low, high = np.percentile(volume.voxels, (0.5, 99.5))
    slices = np.moveaxis(np.clip((thinned.voxels - low) / (high - low), 0, 1), args.axis, 0).astype(np.float32)
    warm_up()
    seconds: dict[str, list[float]] = {name: [] for name in (*args.presets, "tvl1")}
    for _ in range(args.repeats):
        for preset in args.presets:
            begun = time.perf_counter()
            model = medgs.fit_model(thinned, medgs.FitConfig(axis=str(args.axis), preset=preset)).model
            medgs.render_volume(model, factor=args.stride)
            seconds[preset].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for first, second in pairwise(slices):
            optical_flow_tvl1(first, second)
            optical_flow_tvl1(second, first)
        seconds["tvl1"].append(time.perf_counter() - begun)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    print(f"{setting()}\n")
    for name, median in medians.items():
        print(f"{name:9} {median:6.1f} s, {median / medians['tvl1']:.2f} of TV-L1")
    size = f"{len(kept)} slices of {slices.shape[1]} x {slices.shape[2]}"
    print(f"peak memory of the process {peak_bytes() / MIB:.0f} MiB, {size}")


if __name__ == "__main__":
    main()
