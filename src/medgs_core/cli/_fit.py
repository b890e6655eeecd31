"""`medgs fit`: a volume becomes a model. Whatever can be refused is refused before the work begins."""

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from medgs_core.cli._exit_codes import INTERRUPTED, SUCCESS
from medgs_core.cli._inputs import add_input, add_labels, add_quiet, add_with, read_inputs
from medgs_core.cli._interrupt import stop_on_signal
from medgs_core.cli._options import add_settings, chosen_settings
from medgs_core.cli._screen import OURS, REFERENCE, FitBar, duration, gain, list_images, print_table
from medgs_core.config import FitConfig, LabelConfig, ReadConfig
from medgs_core.formats.model_header import state_path
from medgs_core.volume import Volume

if TYPE_CHECKING:
    import medgs_core.annotation
    import medgs_core.fit
    import medgs_core.model
    import medgs_core.plan
    import medgs_core.probe

MIB = 2**20
MOST_LABELS = 12
"""Labels named one by one."""

LEAST_STEPS = 300
"""Of a fit whose time is worth probing: the probe itself takes some ten steps, and flows for half a dozen slices."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `medgs fit` takes."""
    add_input(parser, optional=True)
    add_labels(parser)
    add_with(parser, "IN2", "further images on the grid of IN, to share one model; read as IN is")
    parser.add_argument("-o", "--output", metavar="MODEL.medgs", required=True, help="model to write")
    add_settings(parser, FitConfig, LabelConfig, ReadConfig)
    parser.add_argument(
        "--resume", action="store_true", help=f"go on with an interrupted fit, from {state_path('MODEL.medgs')}"
    )
    parser.add_argument(
        "--no-source",
        action="store_true",
        help="leave the measured voxels out of the model: it is smaller, but no slice comes back exactly",
    )
    add_quiet(parser, "plan", "scores", "summary")


def run(args: argparse.Namespace) -> int:
    """Fit, save, and say how well hidden slices were predicted."""
    from medgs_core.formats.atomic import check_writable
    from medgs_core.formats.model_header import check_model_name, check_voxel_type

    config = chosen_settings(args, FitConfig)
    output, state = args.output, state_path(args.output)
    check_model_name(output)
    check_writable(output)
    check_writable(state)
    if args.resume and not state.exists():
        raise ValueError(
            f"--resume needs the state of an interrupted fit, got none at '{state}'; fit without --resume."
        )
    volume, labels = read_inputs(args)
    for read in (volume, labels):
        if read is not None:
            check_voxel_type(read.voxels)
    return _fit(volume, labels, config, args, state)


def _fit(volume: Volume | None, labels: Volume | None, config: FitConfig, args: argparse.Namespace, state: Path) -> int:
    from medgs_core.fit import fit_model
    from medgs_core.label_fit import what_is_fitted
    from medgs_core.model_file import load_checkpoint, save_checkpoint, save_model
    from medgs_core.plan import plan_fit
    from medgs_core.probe import probe_fit

    label_config = chosen_settings(args, LabelConfig)
    fitted, annotation = what_is_fitted(volume, config, labels, label_config)
    plan = plan_fit(fitted, config, annotation)
    checkpoint = load_checkpoint(state) if args.resume else None
    with FitBar(args.quiet) as bar, stop_on_signal(bar.cancel):
        if not args.quiet:
            print_plan(fitted, config, plan)
            if annotation:
                print_annotation(annotation, with_image=volume is not None)
            if sum(plan.steps) >= LEAST_STEPS and checkpoint is None:
                print_time(probe_fit(volume, config, labels=labels, label_config=label_config, progress=bar))
        result = fit_model(volume, config, labels=labels, label_config=label_config, progress=bar, resume=checkpoint)
        save_model(result.model, args.output, source=not args.no_source)
        if result.checkpoint is not None:
            save_checkpoint(result.checkpoint, state)
        else:
            state.unlink(missing_ok=True)
    if not result.complete:
        print(
            f"medgs fit: interrupted; the model as it stands is in '{args.output}': give the same command "
            "with --resume to finish it.",
            file=sys.stderr,
        )
        return INTERRUPTED
    if not args.quiet:
        if result.model.has_image:
            print_scores(result)
        if result.model.labels:
            print_ways(result.model.labels)
        print(f"wrote {args.output}")
    return SUCCESS


def print_annotation(annotation: "medgs_core.annotation.Annotation", *, with_image: bool) -> None:
    """Print which labels there are, and which slices count as annotated."""
    ids = [str(label) for label in annotation.ids]
    shown = ", ".join(ids[:MOST_LABELS]) + (", ..." if len(ids) > MOST_LABELS else "")
    alone = "" if with_image else "; no image: the fit is of their outlines"
    print(f"labels  {len(ids)} ({shown}); {annotation.reason}{alone}", flush=True)


def print_ways(head: "medgs_core.model.LabelHead") -> None:
    """Print how much each way of carrying labels counts, as the annotated slices have taught."""
    from medgs_core.propagation import WAYS

    shares = (f"{way} {weight:.2f}" for way, weight in zip(WAYS, head.weights, strict=False))
    print(f"labels  carried between annotated slices: {', '.join(shares)}")


def print_plan(volume: Volume, config: FitConfig, plan: "medgs_core.plan.FitPlan") -> None:
    """Print what a fit is about to do, and why the slices are taken along this axis."""
    shape = " x ".join(str(n) for n in (volume.shape3d if volume.members else volume.voxels.shape))
    types = list_images(asdict(member) for member in volume.members) or volume.voxels.dtype
    spacing = " x ".join(f"{step:.4g}" for step in volume.spacing)
    why = "of largest spacing" if config.axis == "auto" else "as asked"
    skipped = f"{len(plan.skipped)} skipped, " if plan.skipped else ""
    hidden = f"{len(plan.hidden)} hidden in the first phase" if plan.hidden else "none hidden"
    print(f"volume  {shape} {types}, {spacing} {volume.unit}")
    print(
        f"slices  {volume.shape3d[plan.axis]} of {plan.stack.height} x {plan.stack.width} along axis {plan.axis} "
        f"({why}), {skipped}{hidden}"
    )
    most = "at most " if plan.may_end_early else ""
    print(
        f"fit     {sum(plan.counts):,} Gaussians, {most}{sum(plan.steps):,} steps, "
        f"preset {config.preset}, rule {plan.compositing}, on {plan.device.type}, seed {config.seed}"
    )
    print(f"memory  about {plan.memory_bytes / MIB:,.0f} MiB beside the volume and the libraries", flush=True)


def print_time(estimate: "medgs_core.probe.FitEstimate") -> None:
    """Print how long a fit will take; nothing if that is not known because the probe was cancelled."""
    if not math.isnan(estimate.seconds):
        most = "at most " if estimate.at_most else ""
        print(f"time    {most}about {duration(estimate.seconds)} on this machine, as busy as it is now", flush=True)


def print_scores(result: "medgs_core.fit.FitResult") -> None:
    """Print the scores of a fit, ours beside the classical methods, and on which slices they were taken."""
    hidden = result.model.provenance["hidden_slices"]
    if not result.scores:
        print("scores  none: with so few slices none can be withheld and predicted")
        return
    if hidden:
        numbers = ", ".join(str(k) for k in hidden)
        print(f"scores  mean PSNR in dB on slices hidden from all methods: {numbers}")
    else:
        print(
            "scores  mean PSNR in dB by cross-validation, each inner slice predicted from the others; no slice was "
            "hidden from the Gaussians, so they have none; blend is the mixture of the methods that they start from"
        )
    _print_methods(result.scores)


def _print_methods(scores: Mapping[str, float]) -> None:
    names = sorted(scores, key=lambda name: (name != OURS, -scores[name]))
    rows = [(name, f"{scores[name]:.2f}", gain(scores[name], scores[REFERENCE])) for name in names]
    print_table(("method", "PSNR", f"over {REFERENCE}"), rows)
