"""*samples*: a real MRI and a synthetic scan, at hand without a network."""

from __future__ import annotations

from typing import Any

PHANTOM_SHAPE, PHANTOM_SEED = (24, 128, 128), 0
PHANTOM_NOISE = 0.01


def brain_mri() -> list[tuple[Any, dict[str, Any], str]]:
    """Return the two volumes of the MRI in the nibabel package, its slices laid flat."""
    import medgs_core as medgs
    from medgs_napari._files import nifti_layer

    data, settings, kind = nifti_layer(str(medgs.find_example()), straight=True)
    return [(data, {**settings, "name": "brain MRI"}, kind)]


def phantom() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a synthetic thick-slice scan, and beside it, hidden, the truth at four times as many slices."""
    import numpy as np

    import medgs_core as medgs
    from medgs_napari._frames import frame_of_volume

    made = medgs.drifting_phantom(PHANTOM_SHAPE, np.random.default_rng(PHANTOM_SEED), noise=PHANTOM_NOISE)
    layers = []
    for volume, name, visible in (
        (made.dense, "phantom, the truth", False),
        (made.thick, "phantom, thick slices", True),
    ):
        place = frame_of_volume(volume, 0).place
        layers.append((volume.voxels, {**place, "name": name, "visible": visible}, "image"))
    return layers
