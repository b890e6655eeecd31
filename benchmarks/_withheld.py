"""Slices that are withheld from a part of a volume, and how close a prediction of them comes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from _setting import CLASSICAL, image_volumes

import medgs_core as medgs
from medgs_core.arrays import Voxels
from medgs_core.correspondence import Flows
from medgs_core.metrics import psnr, to_protocol
from medgs_core.volume import fit_dtype, robust_window

MOST_SLICES, MOST_PIXELS = 41, 256
"""The part is the middle of the volume: so many slices, so many pixels along both sides of one."""

SEED = 0


@dataclass(frozen=True)
class Part:
    """The middle of a volume along its slice axis, every stride-th slice of it kept.

    Attributes
    ----------
    volume : all slices, as measured
    axis : slice axis
    stride : 0, stride, 2 stride .. are kept
    window : of the whole volume that the part is from; values are scored in it
    """

    volume: medgs.Volume
    axis: int
    stride: int
    window: medgs.IntensityWindow

    @property
    def kept(self) -> range:
        """Numbers of the slices that are given to the methods."""
        return range(0, self.volume.shape3d[self.axis], self.stride)

    @property
    def withheld(self) -> list[int]:
        """Numbers of the slices between them."""
        return [k for k in range(self.kept[-1]) if k % self.stride]

    def thinned(self) -> medgs.Volume:
        """Return the kept slices as a volume: slice k of the part stands at t = k / stride."""
        return replace(self.volume, voxels=np.take(self.volume.voxels, self.kept, self.axis))

    def measured(self, k: int) -> Voxels:
        """Return slice k as measured: (height, width) stored values."""
        return np.take(self.volume.voxels, k, self.axis)

    def score(self, predict: Callable[[int], Voxels], numbers: Sequence[int] | None = None) -> float:
        """Return the mean PSNR in dB of predicted slices, of the withheld ones if no numbers are given.

        Parameters
        ----------
        predict : Callable
            Takes the number of a slice of the part and returns it in stored values: (height, width).
        numbers : sequence of int, optional
            Slices of the part.
        """
        low, high = self.window.low, self.window.high

        def score_one(k: int) -> float:
            return psnr(to_protocol(self.measured(k), low, high), to_protocol(predict(k), low, high))

        return float(np.mean([score_one(k) for k in (self.withheld if numbers is None else numbers)]))

    def slices_of(self, volume: medgs.Volume) -> Callable[[int], Voxels]:
        """Return a lookup of single slices in a volume that has as many as the part, or ends at the last one kept."""
        return lambda k: np.take(volume.voxels, k, self.axis)

    def score_classical(self, given: medgs.Volume) -> dict[str, float]:
        """Return the PSNR of every classical method, by name; they are given what a fit is given, and no more."""
        stack = medgs.stack_slices(given, self.axis)
        flows = Flows(stack, flow="stiff")

        def predict(method: str, k: int) -> Voxels:
            image = medgs.interpolate_slices(stack, k / self.stride, method, flows)
            return stack.window.to_stored(image, stack.planes.dtype)[..., 0]

        return {method: self.score(partial(predict, method)) for method in CLASSICAL}

    def fit(self, given: medgs.Volume) -> medgs.FittedModel:
        """Return the model that `balanced` fits to what is given of the part."""
        return medgs.fit_model(given, medgs.FitConfig(axis=str(self.axis))).model


def take_part(volume: medgs.Volume, axis: int, stride: int) -> Part:
    """Return the middle of a volume of one channel."""
    limits = [MOST_SLICES if place == axis else MOST_PIXELS for place in range(3)]
    middle = []
    for length, limit in zip(volume.shape3d, limits, strict=True):
        first = max(length - limit, 0) // 2
        middle.append(slice(first, first + limit))
    part = replace(volume, voxels=volume.voxels[tuple(middle)])
    return Part(part, axis, stride, robust_window(volume.voxels))


def read_part(name: str, stride: int) -> Part:
    """Return the middle of a volume of the index."""
    (listed,) = image_volumes([name])
    return take_part(medgs.read_volume(listed.path), listed.axis, stride)


def add_noise(volume: medgs.Volume, deviation: float) -> medgs.Volume:
    """Return the volume with Gaussian noise of a deviation in stored values, rounded and clipped to its type."""
    noise = np.random.default_rng(SEED).normal(0.0, deviation, volume.voxels.shape)
    return replace(volume, voxels=fit_dtype(volume.voxels + noise, volume.voxels.dtype))
