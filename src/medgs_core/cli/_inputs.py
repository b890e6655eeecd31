"""The volume that a command line names: a path and how to read it come in, a `Volume` goes out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from medgs_core.cli._options import chosen_settings
from medgs_core.config import ReadConfig
from medgs_core.volume import Volume

COMMENT = "#"
LONGEST_SHOWN = 40
"""Characters of a wrong line in the sentence about it: it may be a binary file."""


def read_input(path: str, config: ReadConfig, others: Sequence[str] = ()) -> Volume:
    """Return the volume at a path, with those at others combined into one, at slice positions where a file has them.

    Raises
    ------
    ValueError
        If one of the files cannot be read as such, or the volumes are not on one grid.
    """
    from medgs_core.formats import read_volume
    from medgs_core.members import combine_volumes

    positions = None if config.slice_positions is None else read_positions(config.slice_positions)
    return combine_volumes(
        *(
            read_volume(one, volume=config.volume, voxel_size=config.voxel_size, positions=positions)
            for one in (path, *others)
        )
    )


def read_inputs(args: argparse.Namespace) -> tuple[Volume | None, Volume | None]:
    """Return the image and the labels that a command line names, at least one of them.

    Raises
    ------
    ValueError
        If neither is named, further images have no first one, or a file cannot be read.
    """
    config = chosen_settings(args, ReadConfig)
    if args.input is None and args.labels_file is None:
        raise ValueError("A volume must be given: IN, --labels LABELS or both, got neither; name a file.")
    if args.input is None and args.others:
        raise ValueError(f"--with names images beside IN, got '{args.others[0]}' without IN; give it as IN.")
    volume = None if args.input is None else read_input(args.input, config, args.others)
    if volume is not None:  # which volume of a series is said of the image
        config = config.model_copy(update={"volume": None})
    labels = None if args.labels_file is None else read_input(args.labels_file, config)
    return volume, labels


def read_positions(path: str) -> list[float]:
    """Return the slice positions in a text file: one number per line, empty lines and # comments aside.

    Raises
    ------
    ValueError
        If the file cannot be read, or a line is no number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(
            f"--slice-positions must name a readable text file, got '{path}' ({reason}); check the path."
        ) from error
    positions = []
    for number, line in enumerate(lines, start=1):
        text = line.partition(COMMENT)[0].strip()
        if not text:
            continue
        try:
            positions.append(float(text))
        except ValueError:
            raise ValueError(
                f"--slice-positions must hold one number per line, got '{text[:LONGEST_SHOWN]}' in line "
                f"{number} of '{path}'; correct the line."
            ) from None
    return positions


def add_input(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the argument for the volume to read; optional where labels can stand for it."""
    text = "volume: .nii, .nii.gz, .tif, .tiff, .ome.tif, .ome.tiff, .ome.zarr or .zarr"
    if optional:
        parser.add_argument("input", metavar="IN", nargs="?", help=f"{text}; may be left out where there are labels")
    else:
        parser.add_argument("input", metavar="IN", help=text)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add the option for a label map."""
    parser.add_argument(
        "--labels", dest="labels_file", metavar="LABELS", help="label map on the grid of IN, or alone; 0 is background"
    )


def add_with(parser: argparse.ArgumentParser, metavar: str, purpose: str) -> None:
    """Add the option for the files of further images."""
    parser.add_argument("--with", dest="others", metavar=metavar, nargs="+", action="extend", default=[], help=purpose)


def add_quiet(parser: argparse.ArgumentParser, *silenced: str) -> None:
    """Add the option that silences the progress bar and what else a command names: "plan", "summary"."""
    parser.add_argument(
        "--quiet", action="store_true", help=", ".join(f"no {part}" for part in ("progress bar", *silenced))
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints for programs."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
