"""How well each method predicts slices that were measured but withheld.

A volume comes in; every stride-th slice is kept, the model is fitted to those, and a table of scores goes out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from medgs_core.arrays import Voxels
from medgs_core.classical import METHODS, Method, interpolate_slices
from medgs_core.config import FitConfig, RenderConfig
from medgs_core.correspondence import Flows
from medgs_core.fit import fit_model
from medgs_core.hidden import OURS
from medgs_core.members import channel_ranges, members_of
from medgs_core.metrics import score_slice
from medgs_core.progress import Progress
from medgs_core.render import SliceRenderer
from medgs_core.slices import SliceStack, stack_slices
from medgs_core.volume import Member, Volume, fit_dtype, slice_positions
from medgs_core.withholding import keep_slices, split_slices


@dataclass(frozen=True)
class MethodScore:
    """How one method did.

    Attributes
    ----------
    psnr : mean over held-out slices, in dB
    ssim : mean over held-out slices
    seconds : to prepare and predict all of them
    """

    psnr: float
    ssim: float
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """The scores of all methods on the same held-out slices.

    Attributes
    ----------
    axis : slice axis in the file's order
    kept, held_out : slices given to the methods, and predicted by them
    methods : scores by method, means over channels
    members : where several images were combined, scores by method for each of them
    """

    axis: int
    kept: tuple[int, ...]
    held_out: tuple[int, ...]
    methods: dict[str, MethodScore]
    members: tuple[dict[str, MethodScore], ...] = ()


def evaluate_volume(
    volume: Volume,
    config: FitConfig | None = None,
    *,
    stride: int = 2,
    progress: Progress | None = None,
) -> Evaluation:
    """Return PSNR and SSIM of the model and of every classical method on slices that none of them saw.

    Slices 0, K, 2K.. are kept, those between are predicted; skipped ones are neither, and not looked at. Values are
    scaled to [0, 1] by the 0.5 and 99.5 percentiles of each channel and clipped, predictions rounded to the stored
    dtype before; scores are means over slices.

    Parameters
    ----------
    volume : Volume
        At least stride + 1 slices.
    config : FitConfig, optional
        How the model is fitted.
    stride : int
        K, at least 2.
    progress : Progress, optional
        Follows the fit. A cancelled fit is scored as it stands.

    Raises
    ------
    ValueError
        If there are fewer than three slices, the stride is below 2, or stride and skipped slices leave fewer than two
        to keep or none to predict.
    """
    config = config or FitConfig()
    split = split_slices(volume, config, stride)
    axis, kept, held_out = split.axis, split.kept, split.held_out
    window = stack_slices(volume, axis, skipped=config.skip).window
    truth = stack_slices(volume, axis, window)
    positions = slice_positions(volume, axis)
    thinned = keep_slices(volume, split)
    stack = stack_slices(thinned, axis, window)

    images = members_of(volume)
    shares = np.array([image.channels for image in images]) / volume.channels

    def judge(predict: Callable[[float], Voxels], seconds: float = 0.0) -> list[MethodScore]:
        """Return the scores over all channels, then those of each image."""
        begun = time.perf_counter()
        stored = {k: predict(stack.t_at(float(positions[k]))) for k in held_out}
        seconds += time.perf_counter() - begun
        scores = np.mean([_score_images(images, truth, k, stored[k]) for k in held_out], axis=0)
        return [MethodScore(float(psnr), float(ssim), seconds) for psnr, ssim in (shares @ scores, *scores)]

    found: dict[str, list[MethodScore]] = {}
    for method in METHODS:
        found[method] = judge(partial(_interpolate_stored, stack, method, Flows(stack, flow="stiff")))
    begun = time.perf_counter()
    alone = config.model_copy(update={"axis": str(axis), "skip": ()})  # the thinned volume has none of them
    model = fit_model(thinned, alone, progress=progress).model
    fitting = time.perf_counter() - begun
    found[OURS] = judge(SliceRenderer(model, RenderConfig(device=config.device)).stored, fitting)
    tables = [{name: scores[place] for name, scores in found.items()} for place in range(len(images) + 1)]
    return Evaluation(axis, kept, held_out, tables[0], tuple(tables[1:]) if volume.members else ())


def _score_images(
    images: tuple[Member, ...], truth: SliceStack, k: int, predicted: Voxels
) -> list[tuple[float, float]]:
    """Return (PSNR, SSIM) of each image in predicted slice k, its values as its own type holds them."""
    scores = []
    for image, channels in zip(images, channel_ranges(images), strict=True):
        window = truth.window.of_channels(channels.start, channels.stop)
        held = fit_dtype(predicted[..., channels], np.dtype(image.dtype))
        scores.append(score_slice(truth.planes[k][..., channels], held, window.low, window.high))
    return scores


def _interpolate_stored(stack: SliceStack, method: Method, flows: Flows, t: float) -> Voxels:
    """Return a classical prediction in stored values."""
    return stack.window.to_stored(interpolate_slices(stack, t, method, flows), stack.planes.dtype)
