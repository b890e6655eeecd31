"""`medgs demo`: the main job on a real MRI, the one that lies in the nibabel package.

Slices are hidden and predicted; then all of them are fitted, and a finer volume, the model and a picture are
written.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medgs_core.arrays import Voxels
from medgs_core.cli._evaluate import print_evaluation
from medgs_core.cli._exit_codes import SUCCESS
from medgs_core.cli._fit import print_plan
from medgs_core.cli._inputs import add_quiet
from medgs_core.cli._screen import OURS, FitBar
from medgs_core.cli._writing import NOTE_ENDING, render_to_files
from medgs_core.config import FitConfig, RenderConfig
from medgs_core.example import find_example
from medgs_core.volume import IntensityWindow, Volume, robust_window

if TYPE_CHECKING:
    import medgs_core.evaluate
    import medgs_core.figure
    import medgs_core.model

DEFAULT_FOLDER = "medgs-demo"
STRIDE = 2
FACTOR = 4
"""New slices per measured one: the scan's 2.2 mm between slices become 0.55 mm."""

HELD_OUT = 13
"""The slice that is compared, in the middle of the head."""

BETWEEN = 18
"""The slice above which a new one is shown, where the ventricles change most."""

SAGITTAL = 57
"""Row of voxels that the view across the slices is taken at, beside the midline."""

SPOKEN = {"flow": "optical flow", OURS: "folded Gaussians"}
"""Methods as the picture calls them, where not by their names."""

HEAD_LEVEL = 0.15
CROP_MARGIN = 3
"""Unit intensity above which a pixel belongs to the head, and pixels left around it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `medgs demo` takes."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default=DEFAULT_FOLDER,
        help=f"folder to write to (default: {DEFAULT_FOLDER})",
    )
    add_quiet(parser, "plan")


def run(args: argparse.Namespace) -> int:
    """Evaluate, fit, render, picture."""
    run_demo(Path(args.output), FitConfig(), quiet=args.quiet)
    return SUCCESS


def run_demo(folder: Path, config: FitConfig, *, quiet: bool) -> None:
    """Write demo_fine.nii.gz, its note, demo.medgs and demo.png into a folder, and print the scores."""
    begun = time.monotonic()
    scan = find_example()
    outputs = [folder / name for name in ("demo_fine.nii.gz", "demo.medgs", "demo.png")]
    _prepare(folder, outputs)

    from medgs_core.evaluate import evaluate_volume
    from medgs_core.figure import save_picture
    from medgs_core.fit import fit_model
    from medgs_core.formats import read_volume
    from medgs_core.model_file import save_model
    from medgs_core.plan import plan_fit

    fine_path, model_path, picture_path = outputs
    volume = read_volume(scan, volume=0)
    if not quiet:
        print(f"input   {scan}, its first volume")
        print_plan(volume, config, plan_fit(volume, config))
    with FitBar(quiet) as bar:
        evaluation = evaluate_volume(volume, config, stride=STRIDE, progress=bar)
    print_evaluation(evaluation, STRIDE)
    with FitBar(quiet) as whole:
        model = fit_model(volume, config, progress=whole).model
    save_model(model, model_path)
    (fine,), _ = render_to_files(model, RenderConfig(factor=FACTOR), [fine_path], quiet=quiet)
    assert bar.state is not None
    assert bar.state.snapshot is not None
    save_picture(_picture(volume, fine, bar.state.snapshot(), evaluation), picture_path)
    print(f"wrote   {', '.join(str(path) for path in outputs)} in {time.monotonic() - begun:.0f} s")


def _prepare(folder: Path, outputs: list[Path]) -> None:
    """Make the folder, and refuse it if it takes no files.

    Raises
    ------
    ValueError
        If it cannot be made or written to.
    """
    from medgs_core.formats.atomic import check_writable

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"The output must be a folder that can be made, got '{folder}' ({error.strerror}); choose another one."
        ) from error
    for path in (*outputs, Path(f"{outputs[0]}{NOTE_ENDING}")):
        check_writable(path)


def _picture(
    volume: Volume, fine: Volume, blind: "medgs_core.model.FittedModel", evaluation: "medgs_core.evaluate.Evaluation"
) -> "medgs_core.figure.Picture":
    """Return what the demo shows: slices between, views across, and a held-out slice with predictions."""
    from medgs_core.figure import Panel, Picture, Prediction

    window = robust_window(volume.voxels)
    across, along, step = volume.spacing
    rows, columns = _head(window.to_unit(volume.voxels))

    def axial(stored: Voxels) -> Panel:
        return _shown(window, stored[rows, columns])

    def sagittal(stored: Volume) -> Panel:
        return _shown(window, stored.voxels[SAGITTAL, columns])

    middle = BETWEEN * FACTOR + FACTOR // 2
    finer = fine.spacing[evaluation.axis]
    return Picture(
        title="Slices that were never measured, rendered from folded Gaussians",
        subtitle=f"The MRI in nibabel's package: {volume.shape3d[2]} slices of {volume.shape3d[0]} x "
        f"{volume.shape3d[1]} pixels, {across:.3g} x {along:.3g} mm, {step:.3g} mm apart",
        between=[
            (f"slice {BETWEEN}, measured", axial(volume.voxels[..., BETWEEN])),
            (f"t = {BETWEEN + 0.5}, rendered", axial(fine.voxels[..., middle])),
            (f"slice {BETWEEN + 1}, measured", axial(volume.voxels[..., BETWEEN + 1])),
        ],
        through=[
            (f"measured, {step:.3g} mm between slices", sagittal(volume), step / along),
            (f"rendered, {finer:.3g} mm between slices", sagittal(fine), finer / along),
        ],
        held_out=f"Held out: slices 0, {STRIDE}, {2 * STRIDE} .. kept, slice {HELD_OUT} predicted from them",
        truth=axial(volume.voxels[..., HELD_OUT]),
        predictions=[
            Prediction(SPOKEN.get(name, name), axial(stored), _psnr(volume, window, stored))
            for name, stored in _predictions(blind, window).items()
        ],
        means={SPOKEN.get(name, name): score.psnr for name, score in evaluation.methods.items()},
    )


def _predictions(blind: "medgs_core.model.FittedModel", window: IntensityWindow) -> dict[str, Voxels]:
    """Return the held-out slice in stored values, as methods that never saw it predict it; ours last."""
    from medgs_core.classical import Method, interpolate_slices
    from medgs_core.render import render_slice
    from medgs_core.slices import stack_slices

    stack = stack_slices(blind.volume, blind.axis, window)
    t = HELD_OUT / STRIDE
    shown: tuple[Method, ...] = ("linear", "flow")
    classical: dict[str, Voxels] = {
        method: window.to_stored(interpolate_slices(stack, t, method), stack.planes.dtype)[..., 0] for method in shown
    }
    return {**classical, OURS: render_slice(blind, t)}


def _psnr(volume: Volume, window: IntensityWindow, stored: Voxels) -> float:
    from medgs_core.metrics import score_slice

    truth = volume.voxels[..., HELD_OUT, np.newaxis]
    return score_slice(truth, stored[..., np.newaxis], window.low, window.high)[0]


def _shown(window: IntensityWindow, stored: Voxels) -> Voxels:
    """Return stored values as they are looked at: in [0, 1], second axis upwards, to the front or top of the head."""
    unit: Voxels = np.clip(window.to_unit(stored), np.float32(0), np.float32(1))
    return unit.T[::-1]


def _head(unit: Voxels) -> tuple[slice, slice]:
    """Return the rows and columns that hold the head in any slice."""
    inside: Voxels = np.max(unit, axis=2) > HEAD_LEVEL
    ranges = []
    for other in (1, 0):
        places = np.flatnonzero(np.max(inside, axis=other))
        ranges.append(slice(max(int(places[0]) - CROP_MARGIN, 0), int(places[-1]) + CROP_MARGIN + 1))
    return ranges[0], ranges[1]
