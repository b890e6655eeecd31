"""How well, and how fast, are labels filled in between annotated slices, by every method on every label map.

    python benchmarks/labels.py [--parts alone image heads] [--maps NAME ...] [--results FILE]

reads the label maps that `index.json` in $MEDGS_DATA lists. `alone` thins them to every stride-th slice and predicts
the others, as `medgs evaluate --labels` does; `image` gives all slices of the image and labels on every stride-th;
`heads` fits an image with five labels and without, compares the time, and checks that its renderings are the same to
the bit. `gaussians` in the tables is the model without its annotated slices. Each case runs in a process of its own
and is written to the results file when it ends: an interrupted run goes on from there.
"""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from _setting import Row, make_parser, parse, print_table, run_cases, setting, warm_up
from _withheld import Part

import medgs_core as medgs
from medgs_core.arrays import Voxels
from medgs_core.volume import robust_window

ALONE = (
    "lab_seg3d_brain",
    "lab_seg3d_skull",
    "lab_abdomen_ts_sm",
    "lab_px0000_gland",
    "lab_ovule_cells",
    "lab_frog",
)
"""Maps that are thinned, the largest one last."""

DRAWN_ON = {
    "ct_abdomen_ts_sm": (("lab_abdomen_ts_sm",), (2, 4, 8)),
    "mri_seg3d": (("lab_seg3d_brain", "lab_seg3d_skull"), (4, 8, 16)),
}
"""Images, the maps drawn on them, and the strides; of several masks the first one wins where they overlap."""

STRIDES = (2, 4)
HEADS_IMAGE, HEADS_STRIDE = "mri_seg3d", 2
BRAIN_PARTS, SKULL_PARTS = 3, 2
"""Bands of about equal size into which the masks are cut, five labels in all."""

CLASSICAL = ("nearest", "linear", "pchip", "itk")
METHODS = (*CLASSICAL, "medgs", "gaussians")


def main() -> None:
    """Run the cases that have no result yet, then print the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--parts", nargs="+", default=["alone", "image", "heads"])
    parser.add_argument("--maps", nargs="+", default=list(ALONE), help="maps of the part `alone`")
    parser.add_argument("--results", type=Path, default=Path("labels.jsonl"))
    args = parse(parser, measure)
    cases = {
        "alone": [{"part": "alone", "name": name, "strides": [stride]} for name in args.maps for stride in STRIDES],
        "image": [{"part": "image", "name": name, "strides": list(strides)} for name, (_, strides) in DRAWN_ON.items()],
        "heads": [{"part": "heads", "name": HEADS_IMAGE, "strides": [HEADS_STRIDE]}],
    }
    print(f"{setting()}\n")
    for part in args.parts:
        rows = run_cases(__file__, cases[part], args.results)
        if part == "heads":
            print_heads(rows[0])
        else:
            print_scores([{"name": row["name"], **score} for row in rows for score in row["scores"]], part)
            for row in rows:
                if part == "image":
                    print(f"The fit to {row['name']} alone took {row['image_seconds']:.0f} s.\n")


def measure(part: str, name: str, strides: list[int]) -> Row:
    """Return what one case gives, by stride, kernels compiled and ITK loaded before."""
    warm_up()
    load_itk()
    if part == "heads":
        return compare_heads(name, strides[0])
    labels = merge((name,) if part == "alone" else DRAWN_ON[name][0])
    config = medgs.FitConfig(axis=str(axis_of(name)))
    if part == "alone":
        return {"scores": [score_labels(labels, None, config, stride) for stride in strides]}
    image = read(name)
    begun = time.perf_counter()
    model = medgs.fit_model(image, config).model  # labels change nothing in it, so all strides share it
    seconds = round(time.perf_counter() - begun, 2)
    scores = [score_labels(labels, image, config, stride, model) for stride in strides]
    return {"scores": scores, "image_seconds": seconds}


def score_labels(
    labels: medgs.Volume,
    image: medgs.Volume | None,
    config: medgs.FitConfig,
    stride: int,
    fitted: medgs.FittedModel | None = None,
) -> Row:
    """Return Dice, HD95 and seconds of every method, the Gaussians without their annotated slices among them.

    Where there is a model of the image, the seconds are those of its labels.
    """
    from medgs_core.label_evaluation import predict_classical, score_predictions, withhold_labels

    case = withhold_labels(labels, image, config, stride)
    found = predict_classical(case)
    begun = time.perf_counter()
    chosen = medgs.LabelConfig(labeled_slices=case.given.annotated)
    model = medgs.fit_labels(fitted, case.given.volume, chosen) if fitted else case.fit(config)
    fitting = time.perf_counter() - begun
    for method, shown in (("medgs", model), ("gaussians", replace(model, has_source=False))):
        begun = time.perf_counter()
        planes = case.render(shown, "cpu")
        found[method] = planes, fitting + time.perf_counter() - begun
    evaluation = score_predictions(case, found)
    return {
        "stride": stride,
        "labels": len(evaluation.ids),
        "unseen": len(evaluation.unseen),
        "ways": list(model.labels.weights) if model.labels else [],
        "methods": {
            method: {
                "dice": score.dice,
                "hd95": score.hausdorff95,
                "missed": score.missed,
                "seconds": round(score.seconds, 3),
            }
            for method, score in evaluation.methods.items()
        },
    }


def compare_heads(name: str, stride: int) -> Row:
    """Return the time of a fit with and without labels, and how far the images that they render differ."""
    image, labels, axis = read(name), cut_in_parts(), axis_of(name)
    part = Part(image, axis, stride, robust_window(image.voxels))
    given = part.thinned()
    kept = replace(labels, voxels=np.take(labels.voxels, part.kept, axis))
    config = medgs.FitConfig(axis=str(axis))
    seconds, volumes = {}, {}
    for heads, drawn in (("image", None), ("both", kept)):
        begun = time.perf_counter()
        model = medgs.fit_model(given, config, labels=drawn).model
        seconds[heads] = round(time.perf_counter() - begun, 2)
        volumes[heads] = medgs.render_volume(model, factor=stride)
    scores = {heads: part.score(part.slices_of(volume)) for heads, volume in volumes.items()}
    same = np.array_equal(volumes["image"].voxels, volumes["both"].voxels)
    count = len(np.unique(kept.voxels)) - 1
    return {"seconds": seconds, "psnr": scores, "same": bool(same), "labels": count}


def load_itk() -> None:
    """Let ITK load where it is installed, which takes seconds."""
    from medgs_core.contours import fill_between, has_itk

    if has_itk():
        fill_between(np.eye(3, dtype=np.int32), np.eye(3, dtype=np.int32), 2)


def listed(name: str) -> Row:
    """Return the entry of a volume in `index.json`.

    Raises
    ------
    ValueError
        If there is none.
    """
    entries: list[Row] = json.loads((Path(os.environ["MEDGS_DATA"]) / "index.json").read_text())
    for entry in entries:
        if entry["name"] == name:
            return entry
    known = ", ".join(sorted(entry["name"] for entry in entries))
    raise ValueError(f"maps should be of {known}, got {name!r}; correct its name")


def read(name: str) -> medgs.Volume:
    """Return a volume of the index."""
    return medgs.read_volume(Path(os.environ["MEDGS_DATA"]) / listed(name)["file"])


def axis_of(name: str) -> int:
    """Return the slice axis of a volume of the index."""
    return int(listed(name)["slice_axis"])


def merge(names: tuple[str, ...]) -> medgs.Volume:
    """Return a map as it is, or masks as labels 1, 2 .. of one map; where they overlap the first one wins."""
    if len(names) == 1:
        return read(names[0])
    masks = [read(name) for name in names]
    voxels = np.zeros(masks[0].shape3d, np.uint8)
    for number, mask in reversed(list(enumerate(masks, start=1))):
        voxels[mask.voxels.reshape(voxels.shape) != 0] = number
    return replace(masks[0], voxels=voxels)


def cut_in_parts() -> medgs.Volume:
    """Return brain and skull as one map of five labels, each mask cut across its second axis."""
    both = merge(DRAWN_ON[HEADS_IMAGE][0])
    voxels: Voxels = np.zeros_like(both.voxels)
    first = 1
    for label, count in ((1, BRAIN_PARTS), (2, SKULL_PARTS)):
        places = np.nonzero(both.voxels == label)
        edges = np.quantile(places[1], np.arange(1, count) / count)
        voxels[places] = first + np.searchsorted(edges, places[1])
        first += count
    return replace(both, voxels=voxels)


def best_of(row: Row, measure: str) -> float:
    """Return the best classical score of a case: the largest Dice, or the smallest distance."""
    scores = [row["methods"][method][measure] for method in CLASSICAL if method in row["methods"]]
    return float(max(scores) if measure == "dice" else min(scores))


def print_scores(rows: list[Row], part: str) -> None:
    """Print Dice, HD95 and seconds of every method, and what is gained over the best classical one, as markdown."""
    titles = {"alone": "Labels alone", "image": "Labels on an image"}
    print(f"### {titles[part]}: mean Dice / mean HD95 / seconds\n")
    table, gains = [], []
    for row in rows:
        cells = [describe(row["methods"].get(method)) for method in METHODS]
        ours = row["methods"]["medgs"]
        gain = ours["dice"] - best_of(row, "dice"), ours["hd95"] - best_of(row, "hd95")
        gains.append(gain)
        count = f"{row['labels']}" + (f" ({row['unseen']} unseen)" if row["unseen"] else "")
        table.append([row["name"], str(row["stride"]), count, *cells, f"{gain[0]:+.4f} / {gain[1]:+.2f}"])
    print_table(["labels", "stride", "number", *METHODS, "over best classical"], table)
    dice_gain, distance_gain = np.mean(gains, axis=0)
    print(
        f"\nMean of Dice over the best classical method of each case {dice_gain:+.4f}, of HD95 {distance_gain:+.2f}.\n"
    )


def describe(score: Row | None) -> str:
    """Return the scores of one method, with the labels that it misses where it misses any."""
    if score is None:
        return "-"
    missed = f" / misses {score['missed']}" if score["missed"] else ""
    return f"{score['dice']:.4f} / {score['hd95']:.2f} / {score['seconds']:.1f}{missed}"


def print_heads(row: Row) -> None:
    """Print the time of a fit with and without labels, and whether the images are the same."""
    print("### An image with labels and without\n")
    table = [
        [heads, f"{row['seconds'][key]:.1f}", f"{row['psnr'][key]:.4f}"]
        for heads, key in (("image alone", "image"), (f"image and {row['labels']} labels", "both"))
    ]
    print_table(["fit", "seconds", "PSNR of withheld slices, dB"], table)
    same = "the same to the bit" if row["same"] else "NOT the same"
    ratio = row["seconds"]["both"] / row["seconds"]["image"]
    print(f"\nThe rendered images are {same}; the fit takes {ratio:.2f} times as long.\n")


if __name__ == "__main__":
    main()
