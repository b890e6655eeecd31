"""A rendering becomes files: a model and options come in, volumes and notes of what their slices are go out."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgs_core.cli._screen import Bar, progress_bar, strict_json
from medgs_core.config import RenderConfig
from medgs_core.volume import Volume

if TYPE_CHECKING:
    import medgs_core.model

NOTE_ENDING = ".json"
VERSIONS_OF = ("medgs-napari", "torch", "numpy", "numba")


def render_to_files(
    model: "medgs_core.model.FittedModel",
    config: RenderConfig,
    outputs: Sequence[str | os.PathLike[str]],
    *,
    quiet: bool,
) -> tuple[tuple[Volume, ...], dict[str, Any]]:
    """Write the rendered images, and a note of what their slices are beside each; return both."""
    from medgs_core.formats import write_volume
    from medgs_core.members import split_volume
    from medgs_core.render import render_volume

    images = split_volume(_followed(render_volume, model, config, "rendering", quiet=quiet))
    for image, output in zip(images, outputs, strict=False):  # those beyond are not asked for
        write_volume(image, output)
    return images, _write_notes(model, config, outputs)


def stream_to_folders(
    model: "medgs_core.model.FittedModel",
    config: RenderConfig,
    outputs: Sequence[str | os.PathLike[str]],
    *,
    quiet: bool,
    bounds: bool = False,
) -> tuple[tuple[Volume, ...], dict[str, Any]]:
    """Write the rendered images slice by slice, and the notes; return no images, which were never in memory.

    Raises
    ------
    KeyboardInterrupt
        With a sentence that says what was kept, if something was.
    """
    from medgs_core.streaming import replacing_stream

    with replacing_stream(model, outputs, config, bounds=bounds) as stream:
        kept = [os.fspath(path) for path in outputs if Path(path) in [image.path for image in stream.images]]
        try:
            doing, missing = "uncertainty" if bounds else "rendering", int((~stream.written).sum())
            with progress_bar(quiet, desc=doing, total=missing) as bar:
                stream.fill_all(partial(_advance, bar))
        except KeyboardInterrupt as interrupt:
            if not kept:
                raise
            raise KeyboardInterrupt(
                f"interrupted; {stream.written.sum()} of {len(stream.written)} slices are in {', '.join(kept)}; "
                "the same command goes on with them."
            ) from interrupt
    return (), {} if bounds else _write_notes(model, config, outputs)


def _write_notes(
    model: "medgs_core.model.FittedModel", config: RenderConfig, outputs: Sequence[str | os.PathLike[str]]
) -> dict[str, Any]:
    """Write beside each output what its slices are; return the last of these notes."""
    from medgs_core.formats import replaced_file
    from medgs_core.members import members_of
    from medgs_core.render import choose_renderer

    note = describe_rendering(model, config)
    several = len(members_of(choose_renderer(model, config).source)) > 1
    for number, output in enumerate(outputs):
        if several:
            note["image"] = number
        with replaced_file(os.fspath(output) + NOTE_ENDING) as file:
            file.write((strict_json(note) + "\n").encode())
    return note


def write_bounds(model: "medgs_core.model.FittedModel", config: RenderConfig, path: str, *, quiet: bool) -> None:
    """Write how far the slices of the first image may be off."""
    from medgs_core.formats import write_volume
    from medgs_core.formats.endings import is_store_name
    from medgs_core.members import split_volume
    from medgs_core.render import render_uncertainty

    if is_store_name(Path(path)):
        stream_to_folders(model, config, [path], quiet=quiet, bounds=True)
        return
    bounds = _followed(render_uncertainty, model, config, "uncertainty", quiet=quiet)
    write_volume(split_volume(bounds)[0], path)


def describe_rendering(model: "medgs_core.model.FittedModel", config: RenderConfig) -> dict[str, Any]:
    """Return which slices are measured and which synthetic, how well such slices are predicted, and by what.

    Labels are measured where they were annotated. A slice counts as measured only if its voxels are the stored ones.
    """
    from importlib.metadata import version

    from medgs_core.labels import LabelRenderer
    from medgs_core.model_file import model_hash
    from medgs_core.sampling import is_measured, sample_slices

    if config.labels:
        shown = LabelRenderer(model, config).is_annotated
    else:
        shown = partial(is_measured, model) if model.has_source and not config.denoise else lambda t: False
    slices = [
        {"index": index, "t": float(t), "measured": bool(shown(float(t)))}
        for index, t in enumerate(sample_slices(model, config).coordinates)
    ]
    return {
        "axis": model.axis,
        "slices": slices,
        "scores": dict(model.scores),
        "skipped_slices": list(model.skipped),
        "hidden_slices": model.provenance.get("hidden_slices", []),
        "model_sha256": model_hash(model),
        "options": config.model_dump(mode="json"),
        "versions": {name: version(name) for name in VERSIONS_OF},
    }


def _followed(
    render: Callable[..., Volume],
    model: "medgs_core.model.FittedModel",
    config: RenderConfig,
    doing: str,
    *,
    quiet: bool,
) -> Volume:
    """Return what a renderer of volumes gives, with a progress bar while it works."""
    from medgs_core.sampling import sample_slices

    with progress_bar(quiet, desc=doing, total=len(sample_slices(model, config).coordinates)) as bar:
        return render(model, config, report=partial(_advance, bar))


def _advance(bar: Bar, done: int, total: int) -> None:
    bar.update()
