"""Does a second image of the same body profit from the first when both are fitted together, and does the first lose.

    python benchmarks/modalities.py [--pairs NAME ...] [--noise 0 0.1] [--results FILE]

keeps every second slice of pairs of images on one grid. `mri_twice` is the pair of scans in nibabel's example4d.nii.gz;
in the others the second image is made from the first: intensities x in [0, 1] folded to 1 - |2x - 1|, so that one
value stands for two tissues, blurred by a pixel in plane, with Gaussian noise on its kept slices. It prints the PSNR of
clean withheld slices of each image, fitted alone and together, beside the best classical method.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from _setting import Row, make_parser, parse, print_table, run_cases, setting
from _withheld import Part, add_noise, read_part, take_part
from scipy.ndimage import gaussian_filter1d

import medgs_core as medgs
from medgs_core.volume import fit_dtype, robust_window

STRIDE = 2
BLUR = 1.0
"""Pixels, in plane."""

LEVELS = 1000.0
"""Stored value of 1 in the images made here: the range that noise is a share of."""

TWICE = "mri_twice"
MADE = ("mri_seg3d", "ct_abdomen_ts")


def main() -> None:
    """Run the cases that have no result yet, then print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--pairs", nargs="+", choices=(TWICE, *MADE), default=[TWICE, *MADE])
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.0, 0.1], help="on images made here, share of the range"
    )
    parser.add_argument("--results", type=Path, default=Path("modalities.jsonl"))
    args = parse(parser, measure)
    noises = {pair: [0.0] if pair == TWICE else args.noise for pair in args.pairs}
    cases = [{"pair": pair, "noise": noise} for pair in args.pairs for noise in noises[pair]]
    rows = run_cases(__file__, cases, args.results)
    print(f"{setting()}\n")
    table = []
    for row in rows:
        for place, image in enumerate(row["images"]):
            gain = image["together"] - image["alone"]
            best = f"{image['classical']:.2f} ({image['method']})"
            scores = [best, f"{image['alone']:.2f}", f"{image['together']:.2f}", f"{gain:+.2f}"]
            table.append([row["pair"], f"{100 * row['noise']:g} %", ("first", "second")[place], *scores])
    print_table(["pair", "noise on the second", "image", "best classical", "alone", "together", "gain"], table)


def measure(pair: str, noise: float) -> Row:
    """Return the PSNR of withheld slices of both images, by how they were predicted."""
    parts = scan_twice() if pair == TWICE else fold_intensities(pair)
    first, second = (part.thinned() for part in parts)
    given = (first, add_noise(second, noise * LEVELS) if noise else second)
    together = medgs.render_volume(parts[0].fit(medgs.combine_volumes(*given)), factor=STRIDE)
    images = []
    for part, thinned, joint in zip(parts, given, medgs.split_volume(together), strict=True):
        alone = medgs.render_volume(part.fit(thinned), factor=STRIDE)
        classical = part.score_classical(thinned)
        method = max(classical, key=lambda name: classical[name])
        scores = {"alone": part.score(part.slices_of(alone)), "together": part.score(part.slices_of(joint))}
        images.append({"classical": classical[method], "method": method} | scores)
    return {"images": images}


def scan_twice() -> tuple[Part, Part]:
    """Return both volumes of the scan in the nibabel package."""
    first, second = (take_part(medgs.read_volume(medgs.find_example(), volume=number), 2, STRIDE) for number in (0, 1))
    return first, second


def fold_intensities(name: str) -> tuple[Part, Part]:
    """Return the middle of a volume, and the second image made from it: what it would be without noise."""
    first = read_part(name, STRIDE)
    folded = 1.0 - np.abs(2.0 * np.clip(first.window.to_unit(first.volume.voxels), 0.0, 1.0) - 1.0)
    for axis in range(3):
        if axis != first.axis:
            folded = gaussian_filter1d(folded, BLUR, axis)
    voxels = fit_dtype(LEVELS * folded, np.dtype(np.int16))
    volume = replace(first.volume, voxels=voxels, slope=1.0, intercept=0.0)
    return first, replace(first, volume=volume, window=robust_window(voxels))


if __name__ == "__main__":
    main()
