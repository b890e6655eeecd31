"""`medgs fit`: a volume becomes a model. Whatever can be refused is refused before the work begins."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from medgs_core.cli._exit_codes import INTERRUPTED, SUCCESS
from medgs_core.cli._inputs import add_input, add_quiet, add_with, read_input
from medgs_core.cli._interrupt import stop_on_signal
from medgs_core.cli._options import add_settings, chosen_settings
from medgs_core.cli._screen import OURS, REFERENCE, FitBar, gain, list_images, print_table
from medgs_core.config import FitConfig, ReadConfig
from medgs_core.volume import Volume

if TYPE_CHECKING:
    import medgs_core.fit
    import medgs_core.plan

STATE_ENDING = ".state"
MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `medgs fit` takes."""
    add_input(parser)
    add_with(parser, "IN2", "further images on the grid of IN, to share one model; read as IN is")
    parser.add_argument("-o", "--output", metavar="MODEL.medgs", required=True, help="model to write")
    add_settings(parser, FitConfig, ReadConfig)
    parser.add_argument(
        "--resume", action="store_true", help=f"go on with an interrupted fit, from MODEL.medgs{STATE_ENDING}"
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
    output, state = args.output, Path(f"{args.output}{STATE_ENDING}")
    check_model_name(output)
    check_writable(output)
    check_writable(state)
    if args.resume and not state.exists():
        raise ValueError(
            f"--resume needs the state of an interrupted fit, got none at '{state}'; fit without --resume."
        )
    volume = read_input(args.input, chosen_settings(args, ReadConfig), args.others)
    check_voxel_type(volume.voxels)
    return _fit(volume, config, args, state)


def _fit(volume: Volume, config: FitConfig, args: argparse.Namespace, state: Path) -> int:
    from medgs_core.fit import fit_model
    from medgs_core.model_file import load_checkpoint, save_checkpoint, save_model
    from medgs_core.plan import plan_fit

    plan = plan_fit(volume, config)
    checkpoint = load_checkpoint(state) if args.resume else None
    with FitBar(args.quiet) as bar, stop_on_signal(bar.cancel):
        if not args.quiet:
            print_plan(volume, config, plan)
        result = fit_model(volume, config, progress=bar, resume=checkpoint)
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
        print_scores(result)
        print(f"wrote {args.output}")
    return SUCCESS


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
    most = "at most " if plan.hidden and config.steps is None else ""
    print(
        f"fit     {sum(plan.counts):,} Gaussians, {most}{sum(plan.steps):,} steps, "
        f"preset {config.preset}, rule {plan.compositing}, on {plan.device.type}, seed {config.seed}"
    )
    print(f"memory  about {plan.memory_bytes / MIB:,.0f} MiB beside the volume and the libraries", flush=True)


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
