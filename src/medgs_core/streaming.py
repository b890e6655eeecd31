"""A model rendered into OME-Zarr folders slice by slice: a slice is in memory, never the volume.

A model and paths come in; folders that say which of their slices are there go out.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from medgs_core.config import RenderConfig
from medgs_core.formats.atomic import replaced_folder
from medgs_core.formats.streamed import StreamedVolume, check_replaceable, create_volume, open_volume
from medgs_core.members import split_volume, split_voxels
from medgs_core.model import FittedModel
from medgs_core.model_file import model_hash
from medgs_core.render import Rendering, plan_rendering, settle_options
from medgs_core.threads import follow_threads
from medgs_core.volume import Volume


class VolumeStream:
    """A rendering that is written slice by slice, in any order; safe to use from several threads.

    Attributes
    ----------
    images : a `StreamedVolume` for each path, in the order of the model's images
    """

    def __init__(self, rendering: Rendering, images: Sequence[StreamedVolume]) -> None:
        self.images = tuple(images)
        self._rendering = rendering

    @property
    def written(self) -> Bool[np.ndarray, " slices"]:
        """Which slices are there, in all images."""
        there: Bool[np.ndarray, " slices"] = np.all([image.written for image in self.images], axis=0)
        return there

    def fill(self, i: int) -> None:
        """Render slice i and write it.

        Raises
        ------
        ValueError
            If it cannot be written; what was written before stays.
        """
        planes = split_voxels(self._rendering.source.members, self._rendering.plane(i))
        for image, plane in zip(self.images, planes, strict=False):  # those beyond are not asked for
            image.write_slice(i, plane)

    def fill_all(self, report: Callable[[int, int], None] | None = None) -> None:
        """Render all slices that are not there yet, several at once; parameters as of `render_volume`."""
        missing = np.flatnonzero(~self.written).tolist()
        for done, _ in enumerate(follow_threads(self.fill, missing, self._rendering.working_bytes), start=1):
            if report:
                report(done, len(missing))


def stream_volume(
    model: FittedModel,
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    config: RenderConfig | None = None,
    *,
    bounds: bool = False,
    **options: Any,
) -> VolumeStream:
    """Return what writes the volume that `render_volume` gives into OME-Zarr folders, none of its slices rendered yet.

    A folder that was begun by the same model under the same options is gone on with.

    Parameters
    ----------
    model : FittedModel
        What to render.
    paths : path or sequence of paths
        Folders for its images, in their order; those left out are not written.
    config : RenderConfig, optional
        Sampling, detail, denoise, device.
    bounds : bool
        Whether to write what `render_uncertainty` gives.
    **options
        Single settings of `RenderConfig`, instead of a config or over it.

    Raises
    ------
    ValueError
        If an option breaks its rule, the slices are not evenly spaced, or a path is taken or cannot be written.

    Examples
    --------
    >>> stream = stream_volume(model, "fine.ome.zarr", factor=4)  # doctest: +SKIP
    >>> stream.fill(40)  # doctest: +SKIP
    >>> stream.fill_all()  # doctest: +SKIP
    """
    config = settle_options(config, options)
    rendering = plan_rendering(model, config, bounds=bounds)
    wanted = _plan_images(model, config, rendering, paths, bounds)
    return VolumeStream(rendering, [_begin(*image) for image in wanted])


@contextmanager
def replacing_stream(
    model: FittedModel, paths: Sequence[str | os.PathLike[str]], config: RenderConfig, *, bounds: bool = False
) -> Iterator[VolumeStream]:
    """Yield a stream whose folders take the place of older ones when the block ends without an exception.

    Where nothing stands, or what was begun by the same model under the same options, slices are written in place.

    Parameters
    ----------
    model, paths, config, bounds
        As of `stream_volume`.

    Raises
    ------
    ValueError
        As of `stream_volume`; a folder that is no Zarr store is not replaced.
    """
    rendering = plan_rendering(model, config, bounds=bounds)
    with ExitStack() as folders:
        images = []
        for path, like, axis, made_of in _plan_images(model, config, rendering, paths, bounds):
            taken = path.is_dir() and any(path.iterdir()) and _begun(path, made_of) is None
            if taken:
                check_replaceable(path)
            images.append(_begin(folders.enter_context(replaced_folder(path)) if taken else path, like, axis, made_of))
        yield VolumeStream(rendering, images)


def blank_images(rendering: Rendering) -> tuple[Volume, ...]:
    """Return the images that a rendering will become: their voxels are zero and take no memory."""
    source = rendering.source
    shape = list(source.shape3d)
    shape[rendering.axis] = len(rendering.sampling.coordinates)
    corner = replace(source, voxels=source.voxels[:1, :1, :1], positions=None)  # to know types and channels
    return tuple(
        rendering.placed(image, np.broadcast_to(np.zeros((), image.voxels.dtype), (*shape, *image.voxels.shape[3:])))
        for image in split_volume(corner)
    )


def _plan_images(
    model: FittedModel,
    config: RenderConfig,
    rendering: Rendering,
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    bounds: bool,
) -> list[tuple[Path, Volume, int, dict[str, Any]]]:
    """Return where each image goes, what it will be, its slice axis, and what it is made of."""
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    likes = blank_images(rendering)
    if len(named) > len(likes):
        raise ValueError(
            f"There must be an image in the model for every folder, got {len(named)} folders for {len(likes)}; "
            "leave out those too many."
        )
    made_of = {
        "model_sha256": model_hash(model),
        "options": config.model_dump(mode="json"),
        "bounds": bounds,
        "version": version("medgs-napari"),
    }
    return [
        (Path(path), like, rendering.axis, {**made_of, "image": number})
        for number, (path, like) in enumerate(zip(named, likes, strict=False))
    ]


def _begin(path: Path, like: Volume, axis: int, made_of: dict[str, Any]) -> StreamedVolume:
    """Return the volume in a folder: the one that was begun before, or a new one."""
    begun = _begun(path, made_of)
    if begun is not None:
        return begun
    labels = made_of["options"]["labels"] and not made_of["bounds"]
    return create_volume(path, like, axis, made_of=made_of, labels=labels)


def _begun(path: Path, made_of: dict[str, Any]) -> StreamedVolume | None:
    """Return the volume in a folder if it was begun from the same."""
    with suppress(ValueError):  # what else stands there is for others to refuse, or to replace
        begun = open_volume(path)
        return begun if begun.made_of == made_of else None
    return None
