"""Names of the torch tensors that cross a module border, and `Splats2D`, what one slice sees.

The twin of `arrays` for code that differentiates; importing it loads torch.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Means = Float[Tensor, "splats 2"]
Conics = Float[Tensor, "splats 3"]
PerSplat = Float[Tensor, " splats"]
Features = Float[Tensor, "splats features"]
Rows = Int[Tensor, " rows"]
RenderedFeatures = Float[Tensor, "height width features"]
RenderedWeight = Float[Tensor, "height width"]


@dataclass(frozen=True)
class Splats2D:
    """The 2-D Gaussians that one slice position sees; row order is draw order.

    Attributes
    ----------
    means : (splats, 2) pixels, (x, y), pixel centers at integers
    conics : (splats, 3) per square pixel, entries (a, b, c) of the inverse covariance [[a, b], [b, c]]
    opacities : (splats,) peak weight in [0, 1)
    features : (splats, features) one row of intensities and label values per Gaussian
    """

    means: Means
    conics: Conics
    opacities: PerSplat
    features: Features

    def __len__(self) -> int:
        """Return the number of splats."""
        return self.means.shape[0]


_COUNTING = threading.Lock()
_usual_threads: list[int] = []
"""Torch's own number of threads, once per thread that is inside the block below: torch hands the number that one
thread sets on to threads that start later, so the second to enter would take 1 for what to go back to."""


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Keep torch's own operations on one thread inside the block; the rasterizer's threads are not torch's.

    They are small: a second thread gains nothing on an idle machine, and on a busy one every operation waits for it,
    which made a step up to fifty times slower.
    """
    with _COUNTING:
        _usual_threads.append(_usual_threads[0] if _usual_threads else torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _COUNTING:
            torch.set_num_threads(_usual_threads.pop())
