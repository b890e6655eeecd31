"""`medgs render`: a model becomes a volume in a file, with a note beside it of what each slice is."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medgs_core.cli._exit_codes import SUCCESS
from medgs_core.cli._inputs import add_quiet, add_with
from medgs_core.cli._options import add_settings, chosen_settings, option_name
from medgs_core.cli._writing import NOTE_ENDING, render_to_files, stream_to_folders, write_bounds
from medgs_core.config import RenderConfig
from medgs_core.volume import Volume

if TYPE_CHECKING:
    import medgs_core.model
    import medgs_core.sampling


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `medgs render` takes."""
    parser.add_argument("model", metavar="MODEL", help="a .medgs file that medgs fit wrote")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help=f"volume to write, an OME-Zarr folder slice by slice; OUT{NOTE_ENDING} tells what its slices are",
    )
    add_with(
        parser, "OUT2", "volumes to write the further images of the model to, in the order in which they were fitted"
    )
    add_settings(parser, RenderConfig)
    parser.add_argument(
        "--uncertainty",
        metavar="OUT3",
        help="volume to write with the bound that nine in ten errors stay within, for the first image; with "
        "--labels, with the probability that each label is right",
    )
    add_quiet(parser, "summary")


def run(args: argparse.Namespace) -> int:
    """Render and write."""
    from medgs_core.formats import check_volume_output, check_writable
    from medgs_core.formats.endings import is_store_name

    config = chosen_settings(args, RenderConfig)
    outputs = [args.output, *args.others]
    for output in outputs:
        check_volume_output(output)
        check_writable(output + NOTE_ENDING)
    _check_distinct({"-o": [args.output], "--with": args.others, "--uncertainty": [args.uncertainty]})

    from medgs_core.model_file import load_model
    from medgs_core.render import choose_renderer
    from medgs_core.sampling import sample_slices

    model = load_model(args.model)
    images = _check_images(choose_renderer(model, config).source, outputs)
    sampling = sample_slices(model, config)
    _check_even(model, config, sampling)
    if args.uncertainty:
        _check_bounds(model, config, args.uncertainty)
    write = stream_to_folders if all(is_store_name(Path(output)) for output in outputs) else render_to_files
    note = write(model, config, outputs, quiet=args.quiet)[1]
    if args.uncertainty:
        write_bounds(model, config, args.uncertainty, quiet=args.quiet)
    if not args.quiet:
        measured = sum(entry["measured"] for entry in note["slices"])
        for output in outputs:
            kind = "annotated" if config.labels else "measured"
            print(f"wrote {output}: {len(note['slices'])} slices, {measured} of them {kind}")
        if images > len(outputs):
            print(
                f"the model holds {images - len(outputs)} more of its {images} images: name files for them after --with"
            )
    return SUCCESS


def _check_distinct(files: dict[str, list[str | None]]) -> None:
    """Refuse to write two volumes to one file.

    Raises
    ------
    ValueError
        Naming the option that names a file again.
    """
    taken: set[str] = set()
    for option, path in ((option, path) for option, paths in files.items() for path in paths if path is not None):
        if os.path.realpath(path) in taken:
            raise ValueError(
                f"{option} must name another file than the options before it, got '{path}' again; change it."
            )
        taken.add(os.path.realpath(path))


def _check_images(source: Volume, outputs: list[str]) -> int:
    """Return the number of images in what is rendered; refuse files that cannot hold theirs, or have none.

    Raises
    ------
    ValueError
        Naming the file or the number.
    """
    from medgs_core.formats import check_volume_output
    from medgs_core.members import split_volume

    corner = replace(source, voxels=source.voxels[:1, :1, :1], positions=None)  # to know types and scales
    images = split_volume(corner)
    if len(outputs) > len(images):
        raise ValueError(
            f"There must be an image in the model for every file, got {len(outputs)} files for {len(images)}; "
            "leave out those too many."
        )
    for output, image in zip(outputs, images, strict=False):
        check_volume_output(output, image)
    return len(images)


def _check_bounds(model: "medgs_core.model.FittedModel", config: RenderConfig, path: str) -> None:
    """Refuse bounds that the model does not know, or that cannot be written.

    Raises
    ------
    ValueError
        Naming what is wrong.
    """
    from medgs_core.formats import check_volume_output
    from medgs_core.render import check_bounds

    check_volume_output(path)
    if not config.labels:
        check_bounds(model)


def _check_even(
    model: "medgs_core.model.FittedModel", config: RenderConfig, sampling: "medgs_core.sampling.Sampling"
) -> None:
    """Refuse slices at uneven distances, which no volume file can hold.

    Raises
    ------
    ValueError
        Naming the option that asked for them.
    """
    if sampling.positions is None:
        return
    asked = (
        option_name("positions") if config.positions is not None else f"{option_name('factor')} {config.factor or 1}"
    )
    gaps = sampling.positions[1:] - sampling.positions[:-1]
    raise ValueError(
        f"The slices of a file must be evenly spaced, got {asked} with gaps from {gaps.min():g} to "
        f"{gaps.max():g} {model.volume.unit}; give {option_name('spacing')} instead."
    )
