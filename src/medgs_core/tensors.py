"""Names of the torch tensors that cross a module border, and `Splats2D`, what one slice sees.

The twin of `arrays` for code that differentiates; importing it loads torch.
"""

from dataclasses import dataclass

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
