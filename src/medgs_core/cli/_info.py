"""`medgs info`: what is in a volume or a model. A model's header is read alone: no torch, no tensors."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medgs_core.cli._exit_codes import SUCCESS
from medgs_core.cli._inputs import add_json, read_input
from medgs_core.cli._options import add_settings, chosen_settings
from medgs_core.cli._screen import list_images, print_facts, strict_json
from medgs_core.config import ReadConfig
from medgs_core.volume import Volume, is_regular, resolve_axis, robust_window, slice_positions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `medgs info` takes."""
    parser.add_argument("file", metavar="FILE", help="a volume, or a .medgs model")
    add_settings(parser, ReadConfig)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read and tell."""
    from medgs_core.formats.model_header import MODEL_ENDING, read_header

    if Path(args.file).name.lower().endswith(MODEL_ENDING):
        header = read_header(args.file)
        shown, lines = header, _model_lines(header)
    else:
        config = chosen_settings(args, ReadConfig)
        volume = read_input(args.file, config)
        shown = describe_volume(volume, config.axis)
        lines = _volume_lines(shown)
    if args.json:
        print(strict_json(shown))
    else:
        print_facts(lines)
    return SUCCESS


def describe_volume(volume: Volume, axis_wish: str) -> dict[str, Any]:
    """Return what there is to say about a volume, as JSON types."""
    axis = resolve_axis(volume, axis_wish)
    positions = slice_positions(volume, axis)
    window = robust_window(volume.voxels)
    return {
        "shape": list(volume.voxels.shape),
        "dtype": str(volume.voxels.dtype),
        "spacing": list(volume.spacing),
        "unit": volume.unit,
        "affine": volume.affine.tolist(),
        "axis": axis,
        "slices": len(positions),
        "channels": volume.channels,
        "even": is_regular(positions),
        "slope": volume.slope,
        "intercept": volume.intercept,
        "stored_range": [volume.voxels.min().item(), volume.voxels.max().item()],
        "window": [window.low, window.high],
    }


def _volume_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    low, high = facts["stored_range"]
    spaced = "evenly" if facts["even"] else "unevenly"
    return {
        "volume": f"{_product(facts['shape'])} {facts['dtype']}, {facts['channels']} channel(s)",
        "spacing": f"{_product(facts['spacing'])} {facts['unit']}",
        "slices": f"{facts['slices']} along axis {facts['axis']}, {spaced} spaced",
        "stored values": f"{low:g} to {high:g}, window {_window(*facts['window'])}",
        "measured value": f"stored x {facts['slope']:g} + {facts['intercept']:g}",
    }


def _window(low: Any, high: Any) -> str:
    """Return the window in words, channel by channel where there are several."""
    levels = zip(np.atleast_1d(low), np.atleast_1d(high), strict=True)
    return ", ".join(f"{dark:g} to {bright:g}" for dark, bright in levels)


def _model_lines(header: Mapping[str, Any]) -> dict[str, str]:
    gaussians, voxels, geometry = header["gaussians"], header["voxels"], header["geometry"]
    scores = ", ".join(f"{name} {score:.2f}" for name, score in header["scores"].items())
    provenance = header["provenance"]
    images = list_images(geometry["members"])
    shown = f"{_product(voxels['shape'][:3])} {images}" if images else f"{_product(voxels['shape'])} {voxels['dtype']}"
    columns = zip(*(row[:3] for row in geometry["affine"][:3]), strict=True)
    spacing = [sum(entry**2 for entry in column) ** 0.5 for column in columns]
    lines = {
        "model": f"{gaussians['count']:,} Gaussians, {gaussians['channels']} channel(s), drift of degree "
        f"{gaussians['degree']}, rule {header['compositing']}",
        "volume": f"{shown}, slices along axis {header['axis']}",
        "spacing": f"{_product(spacing)} {geometry['unit']}",
        "measured voxels": "in the file" if header["has_source"] else "left out",
        "scores": f"{scores} (mean PSNR in dB)" if scores else "none",
        "hash": header["sha256"],
    }
    if header["labels"]:
        labels = header["labels"]
        lines["labels"] = (
            f"{len(labels['ids'])} on {len(labels['annotated'])} annotated slices, {labels['voxels']['dtype']}"
        )
    if not header["has_image"]:
        lines["volume"] += ": outlines of the labels, no image"
    if header["skipped"]:
        lines["skipped slices"] = ", ".join(str(k) for k in header["skipped"])
    if "steps_done" in provenance:
        planned = provenance["steps_planned"]
        needed = provenance.get("steps_needed", planned)
        fewer = f", fewer than the {planned:,} planned: hidden slices gained no more" if needed < planned else ""
        lines["steps"] = f"{provenance['steps_done']:,} of {needed:,}{fewer}"
    settings = provenance.get("settings", {})
    if settings:
        lines["settings"] = ", ".join(f"{name} {value}" for name, value in settings.items() if value not in (None, []))
    return lines


def _product(sizes: list[Any] | tuple[Any, ...]) -> str:
    return " x ".join(f"{size:.6g}" if isinstance(size, float) else str(size) for size in sizes)
