"""Models of small random volumes, what must be equal about two of them, and files to break."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from medgs_core.blending import AGREEMENT_CENTERS
from medgs_core.model import DetailStrength, FittedModel, FoldedGaussians
from medgs_core.model_file import load_model, save_model
from medgs_core.volume import IntensityWindow, Volume

SHAPE = (5, 6, 7)
ODD_AFFINE = np.array(
    [
        [0.1, -0.7, 0.3, 1 / 3],
        [0.9, 0.2, -1e-3, -88.125],
        [1e-7, 0.5, 3.1, 3.141592653589793],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def random_voxels(dtype, shape=SHAPE, seed=0):
    generator = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return generator.normal(0, 1e3, shape).astype(dtype)


def random_gaussians(count=11, degree=2, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    return FoldedGaussians(
        position=normal(count, 2),
        center=normal(count),
        log_spread=normal(count),
        drift=normal(count, degree, 2),
        log_scale=normal(count, 2),
        angle=normal(count),
        logit_opacity=normal(count),
        intensity=normal(count, channels),
    )


def fitted(voxels=None, gaussians=None, **changes):
    """Return a model; what is about its volume goes into the volume."""
    place = {name: changes.pop(name) for name in Volume.__dataclass_fields__ if name in changes}
    voxels = random_voxels("int16") if voxels is None else voxels
    channels = voxels.shape[3] if voxels.ndim > 3 else 1
    model = FittedModel(
        gaussians=random_gaussians() if gaussians is None else gaussians,
        compositing="sum",
        volume=Volume(voxels, **{"affine": ODD_AFFINE, **place}),
        axis=2,
        window=IntensityWindow(-12.1, 1007.3),
        detail=DetailStrength(
            (((0.1, 0.2, 0.3, 0.4),) * len(AGREEMENT_CENTERS),) * channels,
            (1 / 3,) * channels,
            (0.25,) * channels,
        ),
        flow="both",
        scores={"medgs": 31.1, "linear": 1 / 7},
        provenance={"seed": 3, "versions": {"medgs": "0.1.0"}, "hidden": [2, 5], "note": None, "path": "ä/b"},
    )
    return replace(model, **changes)


def assert_same_gaussians(a, b):
    for parameter in fields(FoldedGaussians):
        one, other = getattr(a, parameter.name), getattr(b, parameter.name)
        assert one.dtype == other.dtype == torch.float32
        assert torch.equal(one, other), parameter.name


def assert_same_volume(a, b):
    assert a.voxels.dtype == b.voxels.dtype
    np.testing.assert_array_equal(a.voxels, b.voxels)
    np.testing.assert_array_equal(a.affine, b.affine)
    assert (a.unit, a.slope, a.intercept) == (b.unit, b.slope, b.intercept)
    assert (a.positions is None) == (b.positions is None)
    if a.positions is not None:
        np.testing.assert_array_equal(a.positions, b.positions)


def through_file(model, folder, **how):
    save_model(model, folder / "a.medgs", **how)
    return load_model(folder / "a.medgs")


def tampered(path, tensors=None, **facts):
    """Write a saved file anew with other tensors or facts, without the code under test."""
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["medgs"])
    for place, value in facts.items():
        *way, name = place.split("__")
        part = header
        for step in way:
            part = part[step]
        part[name] = value
    kept = load_file(path) | (tensors or {})
    kept = {name: array for name, array in kept.items() if array is not None}
    save_file(kept, path, metadata={"medgs": json.dumps(header)})
    return path


def refused(path, sentence, load=load_model):
    with pytest.raises(ValueError, match=sentence) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
