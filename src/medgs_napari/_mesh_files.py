"""*mesh files*: surface layers become PLY, STL, OBJ or glTF files in the world and the unit of their image."""

from __future__ import annotations

from typing import Any

from medgs_napari._jobs import unmuted
from medgs_napari._surface_layers import layer_surface

ENDINGS = (".ply", ".stl", ".obj", ".glb")


@unmuted()
def write_meshes(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Write surface layers to one file; return its path.

    Raises
    ------
    OSError
        If a layer is not three-dimensional, or the file cannot be written.
    """
    import medgs_core as medgs

    if not path.lower().endswith(ENDINGS):
        path = f"{path}{ENDINGS[0]}"
    surfaces = [layer_surface(meta.get("name", "surface"), data, meta) for data, meta, _ in layers]
    medgs.write_surface(surfaces, path)
    return [path]
