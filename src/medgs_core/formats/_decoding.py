"""What a damaged file raises, in one sentence; and which volume of a series is meant."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAMAGE = (
    OSError,
    EOFError,
    ValueError,  # UnicodeDecodeError and tifffile's own errors are of this kind
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,  # imagecodecs' errors
    struct.error,
    zlib.error,
)
"""What the readers raise on bytes that are not what the header promises."""


@contextmanager
def decoding(path: Path, kind: str, noun: str = "file") -> Iterator[None]:
    """Turn whatever a reader raises on a damaged or foreign file into one ValueError.

    Raises
    ------
    ValueError
        If the block raised one of `DAMAGE`, or nibabel's own error.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        yield
    except (*DAMAGE, ImageFileError, HeaderDataError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"The input must be a complete {kind} {noun}, got '{path}', which cannot be read ({reason}); "
            "copy or export it again."
        ) from error


ALL = "all"
"""Chosen instead of a number: the whole series, its volumes as channels."""

Choice = int | str | None


def chosen_volume(path: Path, count: int, chosen: int | None) -> int:
    """Return the index of the volume to take from a file that holds `count`.

    Raises
    ------
    ValueError
        If a choice is needed and missing, or out of range.
    """
    if chosen is None and count > 1:
        raise ValueError(
            f"One volume must be chosen from a series, got '{path}' with {count} volumes; "
            f"choose one from 0 to {count - 1} with --volume, or all of them, as channels, with --volume {ALL}."
        )
    index = chosen or 0
    if not 0 <= index < count:
        raise ValueError(
            f"The chosen volume must be from 0 to {count - 1}, got {index} for '{path}'; choose another one."
        )
    return index


def check_channel_axis(path: Path, channels: int) -> None:
    """Refuse to take all volumes of a series as channels where they have channels already.

    Raises
    ------
    ValueError
        If there is more than one channel.
    """
    if channels > 1:
        raise ValueError(
            f"The volumes of a series can be taken as channels only if they have none, got {channels} channels in "
            f"'{path}'; choose one volume by its number."
        )
