"""The adapter of ITK's morphological contour interpolation, the only file that imports ITK.

The classes of two slices come in, those of the slices between them go out.
"""

import warnings
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
from jaxtyping import Int32

from medgs_core.arrays import Classes

PACKAGE = "itk-morphologicalcontourinterpolation"

SLICE_AXIS = 2
"""ITK counts axes as x, y, z, so the first axis of an array is its last."""


def has_itk() -> bool:
    """Return whether ITK's contour interpolation is installed."""
    try:
        distribution(PACKAGE)
    except PackageNotFoundError:
        return False
    return True


def fill_between(first: Classes, last: Classes, steps: int) -> Int32[np.ndarray, "slices height width"]:
    """Return steps + 1 slices, from the first to the last one given, filled between by ITK.

    Each structure is morphed through medial slices (Zukic, Vicory, McCormick, Wisse, Gerig, Yushkevich and Aylward,
    "nD morphological contour interpolation", Insight Journal, 2016). One that only one of the two slices holds stays on
    it: ITK does not taper.

    Parameters
    ----------
    first, last : (height, width)
        Classes; what is not positive is background.
    steps : int
        Into how many equal parts the gap is divided, one at least.
    """
    kept = np.zeros((steps + 1, *first.shape), np.uint16)  # a type that ITK's package is built for
    kept[0], kept[-1] = first.clip(min=0), last.clip(min=0)
    with warnings.catch_warnings():
        # its wrappers warn while they load, at first use, and crash where warnings are errors
        warnings.simplefilter("ignore", DeprecationWarning)
        import itk

        threads = itk.MultiThreaderBase.GetGlobalDefaultNumberOfThreads()
        # with several structures on several threads it corrupts the heap now and then, and the process dies
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
        try:
            filled = itk.morphological_contour_interpolator(itk.image_from_array(kept), axis=SLICE_AXIS)
            return np.asarray(itk.array_from_image(filled), np.int32)
        finally:
            itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
