"""*scribbles*: annotated slices of which only some pixels were labeled, filled in.

An annotation with unknown pixels comes in, and the image it was drawn on if there is one; one without them goes out.
"""

import math
from dataclasses import replace

import numpy as np

from medgs_core.annotation import UNKNOWN, Annotation
from medgs_core.arrays import Classes, Image
from medgs_core.slices import SliceStack

CONTRAST = 130.0
"""Penalty on crossing an edge of the image, of the random walker; the value of its authors."""


def fill_unknown(annotation: Annotation, image: SliceStack | None = None) -> Annotation:
    """Return the annotation with every unknown pixel of its annotated slices labeled; known ones stay as they are.

    With an image by random walks from the known pixels, which rarely cross an edge (Grady 2006, as
    scikit-image has it), without one by the nearest known pixel.

    Parameters
    ----------
    annotation : Annotation
        Each annotated slice holds a known pixel.
    image : SliceStack, optional
        The slices it was drawn on, all of them.
    """
    if annotation.unlabeled is None:
        return annotation
    voxels = annotation.volume.voxels.copy()
    planes = np.moveaxis(voxels, annotation.axis, 0)
    ids = np.array([0, *annotation.ids], voxels.dtype)
    for k in annotation.annotated:
        classes = annotation.classes(k)
        unknown = classes == UNKNOWN
        if not unknown.any():
            continue
        filled = _walk(classes, image.image(k)) if image else _take_nearest(classes)
        planes[k][unknown] = ids[filled[unknown]]
    return replace(annotation, volume=replace(annotation.volume, voxels=voxels), unlabeled=None)


def _take_nearest(classes: Classes) -> Classes:
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(classes == UNKNOWN, return_distances=False, return_indices=True)
    filled: Classes = classes[tuple(nearest)]
    return filled


def _walk(classes: Classes, image: Image) -> Classes:
    from skimage.segmentation import random_walker

    known = np.unique(classes[classes != UNKNOWN])
    if len(known) == 1:
        return np.full_like(classes, known[0])
    seeds = np.where(classes == UNKNOWN, 0, np.searchsorted(known, classes) + 1)
    # the likeliest label is all that matters: no warning where the solver leaves a probability a little over 1
    walked = random_walker(
        image.astype(np.float64), seeds, beta=CONTRAST, mode="cg_j", prob_tol=math.inf, channel_axis=-1
    )
    filled: Classes = known[walked - 1].astype(np.int32)
    return filled
