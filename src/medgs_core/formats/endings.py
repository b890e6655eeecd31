"""Names of volume files: what each ending means, and what every file that is written must be."""

from pathlib import Path

import numpy as np

from medgs_core.volume import Volume, is_regular

NIFTI_ENDINGS = (".nii", ".nii.gz")
OME_ENDINGS = (".ome.tif", ".ome.tiff")
TIFF_ENDINGS = (".tif", ".tiff")
ZARR_ENDINGS = (".ome.zarr", ".zarr")
VOLUME_ENDINGS = NIFTI_ENDINGS + OME_ENDINGS + TIFF_ENDINGS + ZARR_ENDINGS


def is_store_name(path: Path) -> bool:
    """Return whether the name is that of an OME-Zarr folder."""
    return path.name.lower().endswith(ZARR_ENDINGS)


def stem(path: Path) -> str:
    """Return the name without the ending of a volume file."""
    ending = max((one for one in VOLUME_ENDINGS if path.name.lower().endswith(one)), key=len, default="")
    return path.name.removesuffix(path.name[len(path.name) - len(ending) :]) if ending else path.name


def listed(endings: tuple[str, ...]) -> str:
    """Return endings as a sentence has them."""
    return ", ".join(endings[:-1]) + " or " + endings[-1]


def check_store_name(target: Path) -> None:
    """Refuse a name that is not an OME-Zarr folder's.

    Raises
    ------
    ValueError
        Naming the endings.
    """
    if not is_store_name(target):
        raise ValueError(f"An OME-Zarr folder must end in {listed(ZARR_ENDINGS)}, got '{target}'; change its ending.")


def check_single(volume: Volume, target: Path) -> None:
    """Refuse a combined volume.

    Raises
    ------
    ValueError
        Naming how many images it holds.
    """
    if volume.members:
        raise ValueError(
            f"A file must hold one image, got {len(volume.members)} combined ones for '{target}'; take them apart with "
            "split_volume and write each."
        )


def check_evenly_spaced(volume: Volume, target: Path) -> None:
    """Refuse slices at uneven distances, which no volume file can hold.

    Raises
    ------
    ValueError
        Naming the gaps.
    """
    if volume.positions is not None and not is_regular(volume.positions):
        gaps = np.diff(volume.positions)
        raise ValueError(
            f"The slices in '{target}' must be evenly spaced, got gaps from {gaps.min():g} to {gaps.max():g} "
            f"{volume.unit}; render with --spacing instead."
        )
