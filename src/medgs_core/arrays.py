"""Names of the NumPy arrays that cross a module border.

Shapes are part of the name, so a signature says what goes in and what comes out; tests check them.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Shaped

Stack = Float32[np.ndarray, "slices height width channels"]
"""Slices in unit intensities, ordered along the slice axis."""

Image = Float32[np.ndarray, "height width channels"]
"""One slice in unit intensities, channel last."""

Plane = Float32[np.ndarray, "height width"]
"""One channel of one slice, or a weight per pixel."""

Mask = Bool[np.ndarray, "height width"]
"""Which pixels of a slice belong to one thing."""

LabelPlane = Shaped[np.ndarray, "height width"]
"""Label ids of one slice, in the type of their map."""

Classes = Int32[np.ndarray, "height width"]
"""Classes of one slice: 0 the background, 1 .. K in the order of the ids, -1 unknown."""

Fields = Float32[np.ndarray, "height width classes"]
"""A smooth field per class on one slice, positive inside: signed distances in pixels, or what approximates them."""

Flow = Float32[np.ndarray, "height width 2"]
"""In-plane displacement (dx, dy) in pixels, x along the width."""

Affine = Float64[np.ndarray, "4 4"]
"""Voxel index to world coordinates, homogeneous."""

Positions = Float64[np.ndarray, " slices"]
"""Slice positions: physical z in the file's unit, or slice coordinates t."""

Voxels = Shaped[np.ndarray, "..."]
"""Stored values in the axis order of the file: (i, j, k), or (i, j, k, channels)."""
