"""What an OME-Zarr folder says of a volume (NGFF 0.5), written and read; of 0.1 to 0.4 what is read too.

A volume's place comes in, JSON types go out, and back. NGFF has a scale and a translation along axes z, y, x; what it
cannot hold, the whole affine for one, stands beside it in an attribute of our own.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from medgs_core.arrays import Affine
from medgs_core.formats._axes import Cut, given_spacing, world_order
from medgs_core.formats.container import Part, parse_header
from medgs_core.formats.geometry import GeometryFacts, OrientationFacts, geometry_facts
from medgs_core.volume import Volume, stack_affine

logger = logging.getLogger(__name__)

OURS = "medgs"
"""Attribute with what NGFF cannot hold."""

LABELS = "image-label"
"""NGFF's attribute of images whose values are label ids."""

VERSION = "0.5"
LEVEL = "0"
"""Path of the only level that is written."""

UNITS = {"m": "meter", "cm": "centimeter", "mm": "millimeter", "um": "micrometer", "nm": "nanometer", "inch": "inch"}
UNIT_NAMES = {name: unit for unit, name in UNITS.items()}
METERS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "inch": 0.0254}

TIME_UNITS = {"sec": "second", "msec": "millisecond", "usec": "microsecond"}

OLDEST_AXES = "TCZYX"
"""Of versions 0.1 and 0.2, which do not name them."""

SPACE = "zyx"
Span = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class StoreFacts(Part):
    """Our own attribute.

    Attributes
    ----------
    version : of this attribute
    geometry : the volume besides its voxels
    order : for z, y, x of the array the axis of the volume
    axis : of the volume, along which it was written slice by slice
    written : first and last of each run of slices that are there
    made_of : what the slices are rendered from, for who goes on with them; may be empty
    """

    version: Literal[1] = 1
    geometry: GeometryFacts
    order: tuple[int, int, int]
    axis: Annotated[int, Field(ge=0, le=2)]
    written: tuple[Span, ...]
    made_of: dict[str, Any]


@dataclass(frozen=True)
class Image:
    """An image as a store holds it.

    Attributes
    ----------
    path : of its finest level in the store; empty if the store is one array
    axes : a letter for each axis of the array, as `cut_volume` takes them
    scale, translation : along each axis, None where nothing says so
    units : NGFF's names, empty where there is none
    """

    path: str
    axes: str
    scale: tuple[float, ...] | None
    translation: tuple[float, ...]
    units: tuple[str, ...]


def store_facts(volume: Volume, axis: int, written: Sequence[Span], made_of: Mapping[str, Any]) -> StoreFacts:
    """Return our own attribute for a volume; of its voxels nothing is looked at."""
    return StoreFacts(
        geometry=geometry_facts(volume),
        order=world_order(volume.affine),
        axis=axis,
        written=tuple(written),
        made_of=dict(made_of),
    )


def ome_facts(facts: StoreFacts, ndim: int, name: str) -> dict[str, Any]:
    """Return what NGFF says of a volume with our own facts: scale and translation along the nearest world axes.

    A direction that goes against its world axis has a negative scale; a tilt is left out.
    """
    affine = np.array(facts.geometry.affine)
    unit = UNITS.get(facts.geometry.unit)
    columns = [(affine[:3, axis], SPACE.index(label)) for axis, label in zip(facts.order, SPACE, strict=True)]
    scale = [float(np.copysign(np.linalg.norm(column), column[2 - place])) for column, place in columns]
    translation = [float(affine[2 - place, 3]) for place in range(3)]
    known = {"unit": unit} if unit else {}
    axes: list[dict[str, str]] = [{"name": label, "type": "space", **known} for label in SPACE]
    if ndim > 3:
        series = facts.geometry.series
        axes.insert(0, _time_axis(facts.geometry.orientation) if series else {"name": "c", "type": "channel"})
        scale.insert(0, _time_step(facts.geometry.orientation) if series else 1.0)
        translation.insert(0, 0.0)
    places = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
    level = {"path": LEVEL, "coordinateTransformations": places}
    return {"version": VERSION, "multiscales": [{"name": name, "axes": axes, "datasets": [level]}]}


def find_facts(path: Path, attributes: Mapping[str, Any], shape: Sequence[int]) -> StoreFacts | None:
    """Return our own attribute of a store; None, with a warning, if it says another thing than NGFF's."""
    if OURS not in attributes:
        return None
    try:
        facts = parse_header(json.dumps(attributes[OURS]), StoreFacts)
        said, known = attributes["ome"]["multiscales"][0], ome_facts(facts, len(shape), "")["multiscales"][0]
        _check_counts(facts, shape)
        if all(said[name] == known[name] for name in ("axes", "datasets")):
            return facts
        reason = "another program has changed the place"
    except (ValueError, LookupError, TypeError) as error:
        reason = str(error)
    logger.warning("'%s': its attribute %r does not fit (%s): scale and translation are taken", path, OURS, reason)
    return None


def find_image(attributes: Mapping[str, Any]) -> Image:
    """Return the finest level of the first image in the attributes of a group.

    Raises
    ------
    ValueError, LookupError, TypeError
        If they are not as NGFF has them.
    """
    facts = attributes.get("ome", attributes)["multiscales"][0]
    named = [axis if isinstance(axis, str) else axis["name"] for axis in facts.get("axes", OLDEST_AXES)]
    units = tuple("" if isinstance(axis, str) else axis.get("unit", "") for axis in facts.get("axes", OLDEST_AXES))
    kinds = ["" if isinstance(axis, str) else axis.get("type", "") for axis in facts.get("axes", OLDEST_AXES)]
    axes = "".join("C" if kind == "channel" else name[:1].upper() for name, kind in zip(named, kinds, strict=True))
    level = facts["datasets"][0]
    scale, shift = np.ones(len(axes)), np.zeros(len(axes))
    places = [*level.get("coordinateTransformations", ()), *facts.get("coordinateTransformations", ())]
    for place in places:  # those of the level come first
        if place["type"] == "scale":
            factor = np.array(place["scale"], dtype=np.float64)
            scale, shift = scale * factor, shift * factor
        elif place["type"] == "translation":
            shift = shift + np.array(place["translation"], dtype=np.float64)
        elif place["type"] != "identity":
            raise ValueError(f"a coordinate transformation of type {place['type']!r}")
    known = any(place["type"] == "scale" for place in places)
    return Image(level["path"], axes, tuple(scale.tolist()) if known else None, tuple(shift.tolist()), units)


def place_image(path: Path, image: Image, cut: Cut, voxel_size: Sequence[float] | None) -> tuple[Affine, str]:
    """Return the affine of (z, y, x) voxels, and its unit: that of x, to which the other axes are converted."""
    units = [UNIT_NAMES.get(image.units[n], "unknown") for n in cut.spatial]
    unit = units[-1]
    if voxel_size is not None:
        return stack_affine(given_spacing(voxel_size)), unit
    if image.scale is None:
        logger.warning("'%s' has no spacing: 1 is taken; give --voxel-size Z,Y,X", path)
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for place, n in enumerate(cut.spatial):
        factor = METERS[units[place]] / METERS[unit] if units[place] in METERS and unit in METERS else 1.0
        affine[2 - place, place] = factor * (1.0 if image.scale is None else image.scale[n])
        affine[2 - place, 3] = factor * image.translation[n]
    return affine, unit


def _time_axis(known: OrientationFacts | None) -> dict[str, str]:
    unit = {} if known is None or known.time_unit not in TIME_UNITS else {"unit": TIME_UNITS[known.time_unit]}
    return {"name": "t", "type": "time", **unit}


def _time_step(known: OrientationFacts | None) -> float:
    return 1.0 if known is None else known.time_step or 1.0  # NIfTI has 0 where it does not know


def _check_counts(facts: StoreFacts, shape: Sequence[int]) -> None:
    """Refuse facts that do not belong to an array of this shape."""
    if sorted(facts.order) != [0, 1, 2]:
        raise ValueError(f"the order of axes is {facts.order}")
    count = shape[len(shape) - 3 + facts.order.index(facts.axis)]
    if any(not first <= last < count for first, last in facts.written):
        raise ValueError(f"slices {facts.written} of {count}")
