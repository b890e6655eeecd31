"""Surfaces in files that other programs read: PLY, STL, OBJ and glTF."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medgs_core.formats.atomic import check_writable, replaced_file
from medgs_core.mesh import Surface

OBJ_DIGITS = 12
"""Digits of the largest coordinate as text: more than any scanner resolves, whatever the unit."""

DIGITS_PER_BIT = math.log10(2)

NO_LABEL = 0
"""What a PLY file says of the triangles of a surface at a level."""

PLY_VERTEX = np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8")])
PLY_FACE = np.dtype([("count", "u1"), ("vertices", "<i4", 3), ("label", "<i4")])


def write_surface(surfaces: Surface | Sequence[Surface], path: str | os.PathLike[str]) -> None:
    """Write one surface or several to a mesh file; an older file is replaced only by a complete one.

    Coordinates are those of the surface, in its unit, whatever unit a format may suggest.

    - `.ply`: binary, float64; several surfaces in one mesh, the integer property `label` of a face tells whose it is.
    - `.stl`: binary, float32, one mesh without names; vertices are repeated for every triangle.
    - `.obj`: text, of twelve digits; a named object for each surface.
    - `.glb`: glTF, float32; a named mesh for each surface.

    Parameters
    ----------
    surfaces : Surface, or a sequence of them
        Not empty.
    path : path
        Its ending names the format.

    Raises
    ------
    ValueError
        If the ending is unknown, there is no surface, or the file cannot be written.
    """
    parts = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    encode = _encoder(path)
    if not parts:
        raise ValueError(f"A mesh file must hold at least one surface, got none for '{path}'; extract one first.")
    content = encode(parts)
    with replaced_file(path) as file:
        file.write(content)


def check_surface_output(path: str | os.PathLike[str]) -> None:
    """Refuse a path that `write_surface` could not write, before long work is done for it.

    Raises
    ------
    ValueError
        If the ending is unknown or the folder takes no file.
    """
    _encoder(path)
    check_writable(path)


def _encoder(path: str | os.PathLike[str]) -> Callable[[list[Surface]], bytes]:
    ending = Path(path).suffix.lower()
    if ending not in ENCODERS:
        *known, last = ENCODERS
        raise ValueError(f"A surface must end in {', '.join(known)} or {last}, got '{path}'; change its ending.")
    return ENCODERS[ending]


def _encode_ply(parts: list[Surface]) -> bytes:
    # trimesh would round the vertices to float32
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.empty(sum(len(part.faces) for part in parts), PLY_FACE)
    faces["count"] = 3
    faces["vertices"] = _joined_faces(parts)
    labels = [NO_LABEL if part.label is None else part.label for part in parts]
    limits = np.iinfo(PLY_FACE["label"])
    if min(labels) < limits.min or max(labels) > limits.max:
        raise ValueError(
            f"A label in a PLY file must lie between {limits.min} and {limits.max}, got {min(labels)} to "
            f"{max(labels)}; write .obj or .glb instead."
        )
    faces["label"] = np.repeat(labels, [len(part.faces) for part in parts])
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment unit {parts[0].unit}\n"
        f"element vertex {len(vertices)}\nproperty double x\nproperty double y\nproperty double z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nproperty int label\nend_header\n"
    )
    return header.encode("ascii") + np.ascontiguousarray(vertices, "<f8").tobytes() + faces.tobytes()


def _encode_stl(parts: list[Surface]) -> bytes:
    import trimesh

    vertices = np.concatenate([part.vertices for part in parts])
    content: Any = trimesh.Trimesh(vertices, _joined_faces(parts), process=False).export(file_type="stl")
    return bytes(content)


def _encode_obj(parts: list[Surface]) -> bytes:
    from trimesh.exchange.obj import export_obj

    largest = max(float(np.abs(part.vertices).max()) for part in parts)
    decimals = max(OBJ_DIGITS - math.frexp(largest)[1] * DIGITS_PER_BIT, 0)
    content: Any = export_obj(
        _scene(parts), include_normals=False, include_color=False, digits=math.ceil(decimals), header=None
    )
    return str(content).encode("ascii")


def _encode_glb(parts: list[Surface]) -> bytes:
    content: Any = _scene(parts).export(file_type="glb", include_normals=False)
    return bytes(content)


def _scene(parts: list[Surface]) -> Any:
    import trimesh

    meshes: Any = {part.name: trimesh.Trimesh(part.vertices, part.faces, process=False) for part in parts}
    return trimesh.Scene(meshes)


def _joined_faces(parts: list[Surface]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the faces of all surfaces, counting the vertices of all, one surface after the other."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])


ENCODERS: dict[str, Callable[[list[Surface]], bytes]] = {
    ".ply": _encode_ply,
    ".stl": _encode_stl,
    ".obj": _encode_obj,
    ".glb": _encode_glb,
}
