"""`medgs surface`: the surface of a label, of all labels, or at a level, to a mesh file, and what it measures."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from medgs_core.cli._exit_codes import SUCCESS
from medgs_core.cli._inputs import add_json, add_quiet
from medgs_core.cli._options import add_settings, chosen_settings, option_name
from medgs_core.cli._screen import print_facts, progress_bar, strict_json
from medgs_core.config import SurfaceConfig

if TYPE_CHECKING:
    import medgs_core.mesh
    import medgs_core.surface

ALL_LABELS = "all_labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `medgs surface` takes."""
    parser.add_argument("model", metavar="MODEL", help="a .medgs file that medgs fit wrote")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="mesh to write, in world coordinates: .ply, .stl, .obj or .glb",
    )
    parser.add_argument(
        option_name(ALL_LABELS), action="store_true", help="surfaces of all labels, with common borders"
    )
    add_settings(parser, SurfaceConfig)
    add_json(parser)
    add_quiet(parser, "summary")


def run(args: argparse.Namespace) -> int:
    """Extract, write and measure."""
    from medgs_core.formats.meshes import check_surface_output, write_surface

    config = chosen_settings(args, SurfaceConfig)
    _check_wish(config, args.all_labels)
    check_surface_output(args.output)

    from medgs_core.model_file import load_model
    from medgs_core.surface import extract_surface, extract_surfaces, label_fields

    model = load_model(args.model)
    missing: list[int] = []
    with _following(args.quiet) as report:
        if args.all_labels:
            surfaces = extract_surfaces(model, config, report=report)
            missing = sorted(set(label_fields(model).ids) - {surface.label for surface in surfaces})
        else:
            surfaces = (extract_surface(model, config, report=report),)
    write_surface(surfaces, args.output)
    described = [describe_surface(surface) for surface in surfaces]
    if args.json:
        facts = {"file": args.output, "unit": model.volume.unit, "surfaces": described}
        print(strict_json({**facts, "labels_without_surface": missing}))
    elif not args.quiet:
        print(f"wrote {args.output}: {len(surfaces)} surface(s)")
        for surface, facts in zip(surfaces, described, strict=True):
            print_facts(_lines(surface, facts))
        if missing:
            print(f"labels without a surface, as they win nowhere: {', '.join(str(label) for label in missing)}")
    return SUCCESS


def describe_surface(surface: "medgs_core.mesh.Surface") -> dict[str, Any]:
    """Return what a surface measures, as JSON types; lengths, areas and volumes are in its unit."""
    return {
        "label": surface.label,
        "level": surface.level,
        "area": surface.area,
        "volume": surface.volume,
        "surface_centroid": list(surface.surface_centroid),
        "volume_centroid": list(surface.volume_centroid),
        "watertight": surface.watertight,
        "components": surface.components,
        "genus": surface.genus,
        "vertices": len(surface.vertices),
        "faces": len(surface.faces),
    }


def _check_wish(config: SurfaceConfig, all_labels: bool) -> None:
    """Refuse more than one source of surfaces, or none.

    Raises
    ------
    ValueError
        Naming the options given.
    """
    wishes = {
        f"{option_name('label')} {config.label}": config.label is not None,
        option_name(ALL_LABELS): all_labels,
        f"{option_name('level')} {config.level or 0:g}": config.level is not None,
    }
    given = [wish for wish, is_given in wishes.items() if is_given]
    if len(given) != 1:
        raise ValueError(
            f"A surface needs one of {option_name('label')}, {option_name(ALL_LABELS)} and {option_name('level')}, got "
            f"{' and '.join(given) or 'none of them'}; give exactly one."
        )


@contextmanager
def _following(quiet: bool) -> "Iterator[medgs_core.surface.Report]":
    """Show a progress bar for the block, which is yielded what moves it."""
    with progress_bar(quiet, desc="surface") as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


def _lines(surface: "medgs_core.mesh.Surface", facts: dict[str, Any]) -> dict[str, str]:
    unit = surface.unit
    source = f"label {surface.label}" if surface.label is not None else f"level {surface.level:g}"
    return {
        "surface of": source,
        "area": f"{facts['area']:.6g} {unit}^2",
        "volume": f"{facts['volume']:.6g} {unit}^3",
        "surface centroid": f"{_point(facts['surface_centroid'])} {unit}",
        "volume centroid": f"{_point(facts['volume_centroid'])} {unit}",
        "watertight": "yes" if facts["watertight"] else "no",
        "components": f"{facts['components']}",
        "genus": "-" if facts["genus"] is None else f"{facts['genus']}",
        "mesh": f"{facts['vertices']:,} vertices, {facts['faces']:,} faces",
    }


def _point(position: Sequence[float]) -> str:
    return ", ".join(f"{coordinate:.6g}" for coordinate in position)
