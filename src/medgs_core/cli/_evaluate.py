"""`medgs evaluate`: how well each method predicts slices of a volume, or their labels, that it has not seen."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from medgs_core.cli._exit_codes import SUCCESS
from medgs_core.cli._inputs import add_input, add_json, add_labels, add_quiet, add_with, read_inputs
from medgs_core.cli._options import add_settings, chosen_settings
from medgs_core.cli._screen import REFERENCE, FitBar, gain, print_table, strict_json
from medgs_core.config import EvaluateConfig, FitConfig, ReadConfig
from medgs_core.volume import Volume

if TYPE_CHECKING:
    import medgs_core.evaluate
    import medgs_core.label_evaluation

    Scores = Mapping[str, medgs_core.evaluate.MethodScore]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `medgs evaluate` takes."""
    add_input(parser, optional=True)
    add_labels(parser)
    add_with(parser, "IN2", "further images on the grid of IN, to share one model; each is scored; read as IN is")
    add_settings(parser, EvaluateConfig, FitConfig, ReadConfig)
    add_json(parser)
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Hide, fit, predict, compare."""
    config = chosen_settings(args, FitConfig)
    stride = chosen_settings(args, EvaluateConfig).stride
    volume, labels = read_inputs(args)

    from medgs_core.rasterize import choose_device

    choose_device(config.device)
    if labels is not None:
        _run_labels(labels, volume, config, stride, args)
        return SUCCESS
    assert volume is not None  # it or labels were asked for

    from medgs_core.evaluate import evaluate_volume

    files = [args.input, *args.others] if args.others else []
    with FitBar(args.quiet) as bar:
        evaluation = evaluate_volume(volume, config, stride=stride, progress=bar)
    if args.json:
        print(strict_json(describe_evaluation(evaluation, stride, files)))
    else:
        print_evaluation(evaluation, stride, files)
    return SUCCESS


def _run_labels(
    labels: Volume, volume: Volume | None, config: FitConfig, stride: int, args: argparse.Namespace
) -> None:
    from medgs_core.label_evaluation import evaluate_labels

    with FitBar(args.quiet) as bar:
        evaluation = evaluate_labels(labels, volume, config, stride=stride, progress=bar)
    if args.json:
        print(strict_json(asdict(evaluation) | {"stride": stride}))
    else:
        print_label_evaluation(evaluation, stride)


def print_label_evaluation(evaluation: "medgs_core.label_evaluation.LabelEvaluation", stride: int) -> None:
    """Print the methods side by side, means over labels."""
    print(
        f"labels of slices along axis {evaluation.axis}, every {stride}. given ({len(evaluation.kept)}); means over "
        f"{len(evaluation.ids)} label(s) on the {len(evaluation.held_out)} held-out slices between"
    )
    if evaluation.unseen:
        print(f"on no slice that was given, so that no method can know them: {', '.join(map(str, evaluation.unseen))}")
    rows = [
        (
            name,
            f"{score.dice:.4f}",
            "-" if math.isnan(score.hausdorff95) else f"{score.hausdorff95:.3f}",
            str(score.missed),
            f"{score.seconds:.1f}",
        )
        for name, score in evaluation.methods.items()
    ]
    print_table(("method", "Dice", f"HD95 ({evaluation.unit})", "missed", "seconds"), rows)


def describe_evaluation(
    evaluation: "medgs_core.evaluate.Evaluation", stride: int, files: Sequence[str] = ()
) -> dict[str, object]:
    """Return an evaluation as JSON types; the files are those of the combined images."""
    images = zip(files, evaluation.members, strict=True)
    facts = {
        "axis": evaluation.axis,
        "stride": stride,
        "kept": list(evaluation.kept),
        "held_out": list(evaluation.held_out),
        "methods": _described(evaluation.methods),
    }
    if evaluation.members:
        facts["images"] = [{"file": file, "methods": _described(methods)} for file, methods in images]
    return facts


def _described(methods: "Scores") -> dict[str, dict[str, float]]:
    return {name: asdict(score) for name, score in methods.items()}


def print_evaluation(evaluation: "medgs_core.evaluate.Evaluation", stride: int, files: Sequence[str] = ()) -> None:
    """Print the methods side by side, image by image where several were combined."""
    print(
        f"slices along axis {evaluation.axis}, every {stride}. kept ({len(evaluation.kept)}); means over the "
        f"{len(evaluation.held_out)} held-out slices between"
    )
    if not evaluation.members:
        _print_scores(evaluation.methods)
    else:
        print(f"{len(evaluation.members)} images fitted together; seconds are for all of them")
    for file, methods in zip(files, evaluation.members, strict=True):
        print(file)
        _print_scores(methods)


def _print_scores(methods: "Scores") -> None:
    reference = methods[REFERENCE].psnr
    rows = [
        (name, f"{score.psnr:.2f}", gain(score.psnr, reference), f"{score.ssim:.4f}", f"{score.seconds:.1f}")
        for name, score in methods.items()
    ]
    print_table(("method", "PSNR (dB)", f"over {REFERENCE}", "SSIM", "seconds"), rows)
