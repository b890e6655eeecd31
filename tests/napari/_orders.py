"""Orders of quick fits, and a window's patience with their jobs."""

import time

import numpy as np
from napari.layers import Image, Labels

import medgs_core as medgs
from medgs_napari._fit_task import Painted, order_fit
from medgs_napari._layers import pick

from .conftest import SPACING

PLACE = {"scale": SPACING, "units": ("mm",) * 3}


def image(voxels, **settings):
    """Return a layer of the small stack."""
    return Image(voxels, **{**PLACE, "name": "scan", **settings})


def painted(voxels, slices=(0, 4, 8), **settings):
    """Return a layer on which two structures are painted on some slices."""
    data = np.zeros(voxels.shape, np.uint8)
    for k in slices:
        data[k, 8:20, 10:22], data[k, 24:36, 28:40] = 1, 3
    return Labels(data, **{**PLACE, "name": "painted", **settings})


def order(voxels, labels=None, **settings):
    """Return the order of a quick fit."""
    layer = image(voxels)
    config = medgs.FitConfig(**{"preset": "fast", "steps": 40, **settings.pop("config", {})})
    known = None if labels is None else Painted.of(labels)
    settings = {"factor": 2, "seconds": 0.0, **settings}
    return order_fit(layer.unique_id, (pick(layer),), config, labels=known, **settings)


class Ended:
    """Starts a job and polls it as a window would; at some news something may happen."""

    def __init__(self, job, at_news=lambda news: None, seconds=60.0):
        self.news, outcomes = [], []
        job.news.connect(self.news.append)
        job.news.connect(at_news)
        job.ended.connect(outcomes.append)
        job.start()
        end = time.monotonic() + seconds
        while job.poll():
            assert time.monotonic() < end, "the job did not end"
            time.sleep(0.005)
        (self.outcome,) = outcomes
