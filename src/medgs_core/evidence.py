"""What the volume says about the ways to fill a gap, by predicting its own measured slices.

An inner slice is predicted from the others; from how well linear, cubic, PCHIP and flow do, region by region,
follow the weights of a blend that is exact at measured slices.
A stack comes in, `BlendWeights` and blended slices go out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int

from medgs_core.arrays import Image, Plane, Positions, Stack
from medgs_core.classical import SPLINE_REACH, interpolate_cubic, interpolate_pchip
from medgs_core.correspondence import Correspondence, Flows, agreement, carry

INGREDIENTS = ("cubic", "pchip", "flow")
"""What is weighed against linear, which gets the rest, so that the weights always add to one."""

Added = Float32[np.ndarray, "height width ingredients channels"]
"""Cubic, PCHIP and flow, each minus linear."""

AGREEMENT_EDGES = (0.5, 0.8, 1.2)
"""Borders between regions where the flow explains the change well, somewhat, hardly, and not at all."""

PRIOR = (0.0, 0.2, 0.7)
"""Weights where the stack has no inner slice to learn from: what most volumes with thick slices end at."""

MOST_TRIPLETS = 24
"""Slices predicted for evidence; more do not move six or twelve weights that share millions of pixels."""

GLOBAL_RIDGE = 1e-3
REGION_RIDGE = 1e-2
"""Pull of the stack's weights to the prior, of a region's to the stack's, relative to mean information."""

LEAST_INFORMATION = 1e-6
"""Sum of squares over all predicted pixels below which the ingredients differ from linear by the rounding of
float32 only (3e-16 a pixel): weights learned from that would be noise, and may be huge."""

FLOW_DISCOUNT = 0.9
"""Share of the flow's learned weight that holds in a gap half as wide as the one it was learned on; the rest
goes to PCHIP. Motion shrinks with the gap, noise that the flow carries does not (docs/method.md)."""


@dataclass(frozen=True)
class BlendWeights:
    """How much each ingredient counts, by region.

    Attributes
    ----------
    table : (regions, 3) weights of cubic, PCHIP and flow; linear gets one minus their sum
    """

    table: Float32[np.ndarray, "regions 3"]

    @staticmethod
    def prior() -> "BlendWeights":
        """Return the weights to use without evidence."""
        return BlendWeights(np.tile(np.array(PRIOR, np.float32), (len(AGREEMENT_EDGES) + 1, 1)))


def ingredients(
    images: Stack, positions: Positions, k: int, z: float, between: Correspondence, judged: int
) -> tuple[Image, Added, Plane]:
    """Return linear at z, what the ingredients add to it, and the agreement of the two neighbors.

    Parameters
    ----------
    images : (slices, height, width, channels)
        A few slices around the gap: anything known on them, measured or not.
    positions : (slices,)
        Their physical positions.
    k : int
        The gap, between images k and k + 1.
    z : float
        Position in the gap.
    between : Correspondence
        The flow across the gap.
    judged : int
        The agreement is judged on the first so many channels.

    Returns
    -------
    linear : (height, width, channels)
    added : (height, width, 3, channels)
        Cubic, PCHIP and flow, each minus linear.
    ratio : (height, width)
        See `correspondence.agreement`.
    """
    alpha = np.float32((z - positions[k]) / (positions[k + 1] - positions[k]))
    first, second = images[k], images[k + 1]
    linear = (1 - alpha) * first + alpha * second
    carried, mismatch = carry(first, second, between, float(alpha), judged)
    cubic = interpolate_cubic(images, positions, z)
    pchip = interpolate_pchip(images, positions, k, z)
    added = np.stack([cubic - linear, pchip - linear, carried - linear], axis=2)
    return linear, added, agreement(first[..., :judged], second[..., :judged], mismatch)


def regions(ratio: Plane) -> Int[np.ndarray, "height width"]:
    """Return the row of the weight table that each pixel takes, by its agreement."""
    rows: np.ndarray = np.digitize(ratio, AGREEMENT_EDGES)
    return rows


def blend(
    images: Stack,
    positions: Positions,
    k: int,
    z: float,
    between: Correspondence,
    weights: BlendWeights,
    judged: int,
) -> Image:
    """Return the weighted interpolant at position z; parameters as in `ingredients`.

    At the position of image k or k + 1 it is that image, whatever the weights.
    """
    return mix(*ingredients(images, positions, k, z, between, judged), weights)


def mix(linear: Image, added: Added, ratio: Plane, weights: BlendWeights) -> Image:
    """Return linear plus the ingredients, each weighed as its region tells; parameters as `ingredients` returns."""
    per_pixel = weights.table[regions(ratio)]  # (height, width, 3)
    result: Image = linear + np.einsum("hwm,hwmc->hwc", per_pixel, added, dtype=np.float32)
    return result


def neighborhood(count: int, k: int) -> tuple[list[int], int]:
    """Return the slices that gap k looks at, and the index of k among them."""
    first = max(0, k + 1 - SPLINE_REACH)
    return list(range(first, min(count, k + 1 + SPLINE_REACH))), k - first


def triplet_slices(count: int) -> list[int]:
    """Return the inner slices to predict: all, or evenly spread ones where there are many."""
    inner = count - 2
    picked = np.linspace(1, count - 2, min(inner, MOST_TRIPLETS)) if inner > 0 else np.empty(0)
    return sorted({round(k) for k in picked})


def predict_without(flows: Flows, k: int) -> tuple[Image, Added, Plane]:
    """Return the `ingredients` for measured slice k, made from the other slices only."""
    stack = flows.stack
    others = [j for j in neighborhood(len(stack), k)[0] if j != k]
    images = np.stack([stack.image(j) for j in others])
    positions, z = stack.positions[others], float(stack.positions[k])
    return ingredients(images, positions, others.index(k - 1), z, flows.across(k - 1, k + 1), stack.channels)


def ingredients_at(flows: Flows, t: float) -> tuple[Image, Added, Plane]:
    """Return the `ingredients` at slice coordinate t of the stack whose correspondence is given."""
    stack = flows.stack
    k, _ = stack.bracket(t)
    around, gap = neighborhood(len(stack), k)
    images = np.stack([stack.image(j) for j in around])
    return ingredients(images, stack.positions[around], gap, stack.z_at(t), flows.between(k), stack.channels)


def interpolate_blended(flows: Flows, weights: BlendWeights, t: float) -> Image:
    """Return the blended interpolant at slice coordinate t: (height, width, channels) in unit intensities."""
    return mix(*ingredients_at(flows, t), weights)


@dataclass(frozen=True)
class Evidence:
    """What one predicted slice says: normal equations of the weights, per region.

    Attributes
    ----------
    k : the slice
    gram : (regions, 3, 3) inner products of what the ingredients add to linear
    moment : (regions, 3) inner products of that with what linear misses
    """

    k: int
    gram: Float64[np.ndarray, "regions 3 3"]
    moment: Float64[np.ndarray, "regions 3"]


def gather_evidence(flows: Flows) -> list[Evidence]:
    """Return the evidence of evenly spread inner slices of a stack; empty if it has fewer than three slices.

    Parameters
    ----------
    flows : Flows
        The correspondence of the measured slices.
    """
    return [_judge_slice(flows, k) for k in triplet_slices(len(flows.stack))]


def _judge_slice(flows: Flows, k: int) -> Evidence:
    count, kinds = len(AGREEMENT_EDGES) + 1, len(INGREDIENTS)
    linear, added, ratio = predict_without(flows, k)
    missing = flows.stack.image(k) - linear
    region = regions(ratio)
    gram, moment = np.zeros((count, kinds, kinds)), np.zeros((count, kinds))
    for row in range(count):
        inside = region == row
        x = added[inside].swapaxes(1, 2).reshape(-1, kinds).astype(np.float64)  # (pixels * channels, 3)
        gram[row] = x.T @ x
        moment[row] = x.T @ missing[inside].ravel()
    return Evidence(k, gram, moment)


def solve_blend(evidence: list[Evidence]) -> BlendWeights:
    """Return the weights that predict the slices of the evidence best, in the mean square.

    Least squares in each region of agreement, drawn to the weights of the whole stack, these to the prior.
    Without evidence, or where all ingredients are the same (nothing changes along the axis, or linearly), the
    prior.
    """
    kinds = len(INGREDIENTS)
    if not evidence:
        return BlendWeights.prior()
    gram = np.sum([one.gram for one in evidence], axis=0)
    moment = np.sum([one.moment for one in evidence], axis=0)
    information = float(np.trace(gram.sum(axis=0))) / kinds
    if information <= LEAST_INFORMATION:
        return BlendWeights.prior()
    pull = GLOBAL_RIDGE * information * np.eye(kinds)
    overall = np.linalg.solve(gram.sum(axis=0) + pull, moment.sum(axis=0) + pull @ np.array(PRIOR))
    pull = REGION_RIDGE * information / len(gram) * np.eye(kinds)
    toward = pull @ overall
    table = np.array([np.linalg.solve(g + pull, m + toward) for g, m in zip(gram, moment, strict=True)])
    withheld = (1.0 - FLOW_DISCOUNT) * table[:, 2]
    table[:, 2] -= withheld
    table[:, 1] += withheld
    return BlendWeights(table.astype(np.float32))


def learn_blend(flows: Flows) -> BlendWeights:
    """Return the weights with which a stack predicts its own inner slices best; see `gather_evidence`."""
    return solve_blend(gather_evidence(flows))
