"""A safetensors file with a JSON header: what models and unfinished fits are kept in.

A header, float32 arrays and a stream of bytes come in, a complete file goes out, and back. Nothing in a file
is ever executed; every way in which it can be wrong ends in one sentence. Free of torch.
"""

import json
import os
import reprlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from medgs_core.formats.atomic import replaced_file

Parameters = Float32[np.ndarray, "..."]
Bytes = UInt8[np.ndarray, " bytes"]
Schema = TypeVar("Schema", bound=BaseModel)

HEADER_KEY = "medgs"
"""Where among safetensors' metadata our header is."""

STREAM = "voxels"
"""Name of the one tensor that is a stream of bytes."""

FLOAT32, BYTE = "F32", "U8"
"""The dtypes in use, in safetensors' words."""

LENGTH = struct.Struct("<Q")
"""What a safetensors file begins with: the length of its index."""

LARGEST_SIZE = 2**63 - 1
ALIGNMENT = 8
"""Tensors begin at a multiple of this many bytes, as safetensors writes them."""

PART_BYTES = 2**20


@dataclass(frozen=True)
class FileKind:
    """One of the two things that a container holds, and the words in which its errors speak.

    Attributes
    ----------
    format : name of the format, stored in the file
    version : newest format version that this program knows
    noun : what the user calls it
    origin : what to name instead of a file of another kind
    remedy : what to do about a damaged one
    """

    format: str
    version: int
    noun: str
    origin: str
    remedy: str


class Part(BaseModel):
    """A part of a header: frozen, complete, of exactly the types it names, all numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Preamble(BaseModel):
    """What every version of every header has, read before anything else is believed."""

    format: str
    version: int


@dataclass(frozen=True)
class Container:
    """An open file whose format and version fit.

    Attributes
    ----------
    header : JSON text
    file : the open safetensors file
    """

    header: str
    file: Any

    def names(self) -> set[str]:
        """Return the names of all tensors, the stream included."""
        return set(self.file.keys())

    def floats(self, name: str) -> Parameters:
        """Return one tensor as an array of its own.

        Raises
        ------
        ValueError
            If it is not float32.
        """
        self._check_dtype(name, FLOAT32)
        return np.array(self.file.get_tensor(name), np.float32)

    def row(self, name: str) -> Bytes:
        """Return one tensor that is a row of bytes.

        Raises
        ------
        ValueError
            If it is none.
        """
        self._check_dtype(name, BYTE)
        found = np.array(self.file.get_tensor(name), np.uint8)
        if found.ndim != 1:
            raise ValueError(f"{name} has shape {found.shape} instead of one axis")
        return found

    def stream(self) -> tuple[Iterator[bytes], int]:
        """Return the stream in parts, and its length.

        Raises
        ------
        ValueError
            If it is not a row of bytes.
        """
        self._check_dtype(STREAM, BYTE)
        view = self.file.get_slice(STREAM)
        shape = view.get_shape()
        if len(shape) != 1:
            raise ValueError(f"{STREAM} has shape {shape} instead of one axis")
        length = shape[0]
        starts = range(0, length, PART_BYTES)
        return (view[at : min(at + PART_BYTES, length)].tobytes() for at in starts), length

    def _check_dtype(self, name: str, expected: str) -> None:
        dtype = self.file.get_slice(name).get_dtype()
        if dtype != expected:
            raise ValueError(f"{name} has type {dtype} instead of {expected}")


def write_container(
    path: str | os.PathLike[str],
    header: BaseModel,
    tensors: Mapping[str, Parameters | Bytes],
    stream: Iterable[bytes] | None = None,
) -> None:
    """Write a container; an older file at `path` is replaced only by a complete one.

    Parameters
    ----------
    path : path
        Where it goes.
    header : BaseModel
        With `format` and `version`, and JSON types only.
    tensors : mapping
        Arrays of any shape by name, or rows of bytes.
    stream : iterable of bytes, optional
        Written as it comes, so it is never in memory as a whole.

    Raises
    ------
    ValueError
        If the file cannot be written.
    """
    # Python's JSON has infinity, which is the score of an exact prediction; strict JSON could not hold it.
    metadata = {HEADER_KEY: json.dumps(header.model_dump())}
    has_stream = stream is not None
    # The length of the stream is known at its end: leave room for any, and fill in the index then.
    room = len(_index(metadata, tensors, LARGEST_SIZE if has_stream else None))
    room += -room % ALIGNMENT
    with replaced_file(path) as file:
        file.seek(LENGTH.size + room)
        for array in tensors.values():
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        length = sum(file.write(part) for part in stream or ())
        file.seek(0)
        file.write(LENGTH.pack(room))
        file.write(_index(metadata, tensors, length if has_stream else None).ljust(room))


@contextmanager
def open_container(path: str | os.PathLike[str], kind: FileKind) -> Iterator[Container]:
    """Yield the container in a file; what fails in the block because of its content becomes one sentence.

    Raises
    ------
    ValueError
        If the file is missing, of another kind, too new, cut short or damaged, or if the block refuses it.
    """
    source = Path(path)
    _check_file(source, kind)
    try:
        with safe_open(source, framework="numpy") as file:
            header: str = (file.metadata() or {}).get(HEADER_KEY, "")
            found = parse_header(header, _Preamble) if header else None
            if found is not None and found.format == kind.format and found.version <= kind.version:
                yield Container(header, file)
                return
    except MemoryError as error:
        raise ValueError(
            f"The {kind.noun} must fit in memory, got '{path}', which does not; use a larger machine."
        ) from error
    except (ValueError, OverflowError, OSError, SafetensorError, zlib.error) as error:
        reason = " ".join(str(error).split()).removesuffix(".") or type(error).__name__
        raise ValueError(
            f"The {kind.noun} must be complete and consistent, got '{path}', which is cut short or damaged "
            f"({reason}); {kind.remedy}."
        ) from error
    if found is None:
        raise _foreign(source, kind, "a safetensors file of another program")
    if found.format != kind.format:
        raise _foreign(source, kind, f"a '{reprlib.repr(found.format)[1:-1]}'")
    raise ValueError(
        f"The format version of a {kind.noun} must be at most {kind.version}, got {found.version} "
        f"in '{path}'; update medgs-napari to read it."
    )


def parse_header(text: str, schema: type[Schema]) -> Schema:
    """Return the header in a JSON text.

    Raises
    ------
    ValueError
        Naming the first fact that breaks its rule.
    """
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(broken_rule(error)) from None


def broken_rule(error: ValidationError) -> str:
    """Return the first fact that breaks its rule, the rule and the value, in a few words."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in problem["loc"]) or "header"
    rule = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {rule[:1].lower()}{rule[1:]}, got {reprlib.repr(problem['input'])}"


def _check_file(source: Path, kind: FileKind) -> None:
    try:
        if not source.exists():
            raise ValueError(f"The {kind.noun} must be an existing file, got '{source}'; check the path.")
        if not source.is_file():
            raise ValueError(f"The {kind.noun} must be a file, got the folder '{source}'; name a file inside it.")
        with source.open("rb") as file:
            start = file.read(LENGTH.size + 1)
    except OSError as error:
        raise ValueError(
            f"The {kind.noun} must be readable, got '{source}' ({error.strerror}); change its permissions or its path."
        ) from error
    if not start:
        raise ValueError(f"The {kind.noun} must not be empty, got '{source}' with 0 bytes; {kind.remedy}.")
    if len(start) > LENGTH.size and start[LENGTH.size :] != b"{":
        raise _foreign(source, kind, "another kind of file")


def _foreign(source: Path, kind: FileKind, what: str) -> ValueError:
    return ValueError(f"The file must be a {kind.noun}, got '{source}', which is {what}; {kind.origin}.")


def _index(metadata: Mapping[str, str], tensors: Mapping[str, Parameters | Bytes], length: int | None) -> bytes:
    """Return safetensors' index of the arrays in their order, and of a stream after them."""
    index: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in tensors.items():
        kind = FLOAT32 if array.dtype == np.float32 else BYTE
        index[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
    if length is not None:
        index[STREAM] = {"dtype": BYTE, "shape": (length,), "data_offsets": (end, end + length)}
    return json.dumps(index, separators=(",", ":")).encode()
