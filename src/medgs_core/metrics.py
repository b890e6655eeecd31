"""*metrics*: how close a predicted slice is to the measured one.

In: two planes scaled to [0, 1] by `to_protocol`. Out: one number each.
"""

import math

import numpy as np
from jaxtyping import Float32, Shaped

from medgs_core.arrays import Plane

SSIM_WINDOW = 7
"""Side of the uniform window, scikit-image's default."""


Level = float | tuple[float, ...]
"""A stored value, or one per channel of the last axis."""


def to_protocol(stored: Shaped[np.ndarray, "..."], low: Level, high: Level) -> Float32[np.ndarray, "..."]:
    """Return stored values scaled so that [low, high] becomes [0, 1], clipped to it, as float32.

    Low and high are percentiles of the whole volume, of each channel by itself. A prediction is rounded to the stored
    dtype before: only what a file could hold is judged.

    Examples
    --------
    >>> to_protocol(np.array([0, 50, 100, 300], dtype=np.uint16), 0.0, 200.0).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    scaled = (stored.astype(np.float64) - np.asarray(low)) / np.subtract(high, low)
    return np.asarray(np.clip(scaled, 0.0, 1.0), np.float32)


def score_slice(
    measured: Shaped[np.ndarray, "height width channels"],
    predicted: Shaped[np.ndarray, "height width channels"],
    low: Level,
    high: Level,
) -> tuple[float, float]:
    """Return (PSNR in dB, SSIM) of a predicted slice by the protocol, each the mean over channels.

    Parameters
    ----------
    measured, predicted : (height, width, channels)
        Stored values.
    low, high : float or tuple of floats
        The 0.5 and 99.5 percentiles of the whole volume, or of each channel of it.
    """
    a, b = to_protocol(measured, low, high), to_protocol(predicted, low, high)
    structure = float(np.mean([ssim(a[..., c], b[..., c]) for c in range(a.shape[2])]))
    return psnr_slice(measured, predicted, low, high), structure


def psnr_slice(
    measured: Shaped[np.ndarray, "height width channels"],
    predicted: Shaped[np.ndarray, "height width channels"],
    low: Level,
    high: Level,
) -> float:
    """Return the PSNR alone, as `score_slice` does: most of its time goes into the SSIM."""
    a, b = to_protocol(measured, low, high), to_protocol(predicted, low, high)
    return float(np.mean([psnr(a[..., c], b[..., c]) for c in range(a.shape[2])]))


def psnr(measured: Plane, predicted: Plane) -> float:
    """Return the peak signal-to-noise ratio in dB for a peak of 1, infinite for equal planes."""
    error = float(np.mean((measured.astype(np.float64) - predicted) ** 2))
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def ssim(measured: Plane, predicted: Plane) -> float:
    """Return the mean structural similarity for a range of 1: uniform 7x7 windows, scikit-image's defaults.

    Planes narrower than the window are mirrored out to it, so that every size has a value.
    """
    from skimage.metrics import structural_similarity

    # float64, because the variance is a difference of two nearly equal means where the plane is flat
    a, b = (_mirrored_to_window(plane.astype(np.float64)) for plane in (measured, predicted))
    return float(structural_similarity(a, b, win_size=SSIM_WINDOW, data_range=1.0))  # type: ignore[no-untyped-call]


def _mirrored_to_window(plane: Shaped[np.ndarray, "height width"]) -> Shaped[np.ndarray, "h w"]:
    missing = [max(0, SSIM_WINDOW - side) for side in plane.shape]
    return np.pad(plane, [(gap // 2, gap - gap // 2) for gap in missing], mode="symmetric")
