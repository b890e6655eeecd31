"""What the volume says about the ways to fill a gap, by predicting its own measured slices.

An inner slice is predicted from the others; from how well linear, cubic, PCHIP and two flows do, in each channel and
wherever the flow explains much or little, follow the weights of a blend that is exact at measured slices.
A stack comes in, `BlendWeights` and blended slices go out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from medgs_core.arrays import Image, Plane, Positions, Stack
from medgs_core.classical import SPLINE_REACH, cubic_weights, interpolate_cubic, interpolate_pchip
from medgs_core.correspondence import (
    AGREEMENT_FLOOR,
    AGREEMENT_SIGMA,
    ChannelWeights,
    Flows,
    Motion,
    agreement,
    carry,
    carry_bent,
)
from medgs_core.threads import evenly, map_in_threads, share

INGREDIENTS = ("cubic", "pchip", "flow", "bent")
"""What is weighed against linear, which gets the rest, so that the weights always add to one: `flow` is the stiff flow
along straight paths, `bent` the supple one along paths that bend."""

PCHIP, FLOWS = 1, slice(2, 4)
"""Their places among the ingredients."""

Added = Float32[np.ndarray, "ingredients height width channels"]
"""Each ingredient minus linear."""

Shares = Float32[np.ndarray, "height width regions"]

AGREEMENT_CENTERS = (0.4, 0.8, 1.3)
"""Where the flow explains the change well, hardly, and not at all. Between them weights go over linearly in the log
of the ratio, so that no seams show."""

PRIOR = ((0.0, 0.2, 0.375, 0.375), (0.0, 0.2, 0.25, 0.25), (0.0, 0.2, 0.125, 0.125))
"""Weights by region where the stack has no inner slice to learn from: what most volumes end at on average."""

CUES = ("mismatch along the flow", "spread of the methods", "mismatch straight across", "gradient", "floor")
"""What tells how far the blend may be off."""

LEAST_VARIANCE = 1e-6
"""In square unit intensities: an error of a thousandth of the range, below the steps of 8-bit voxels."""

Cues = Float64[np.ndarray, "pixels channels 5"]

SAMPLED_PIXELS = 20_000
"""Of a predicted slice at most so many pixels, evenly spread, are kept: more cost memory and teach nothing."""

MOST_TRIPLETS = 24
"""Slices predicted for evidence if nothing else is said; more do not move a dozen weights that share millions of
pixels."""

WORKING_SLICES = 40
"""Memory in which one slice is predicted and judged, in slices of float32."""

ROWS_AT_ONCE = 256
"""Rows of pixels in one step of the normal equations, so that their float64 copies stay small."""

GLOBAL_RIDGE = 1e-3
REGION_RIDGE = 1e-2
"""Pull of the stack's weights to the prior, of a region's to the stack's, relative to mean information."""

LEAST_INFORMATION = 1e-6
"""Sum of squares over all predicted pixels below which the ingredients differ from linear by the rounding of
float32 only (3e-16 a pixel): weights learned from that would be noise, and may be huge."""

FLOW_DISCOUNT = 0.85
"""Share of the flows' learned weight that holds in a gap half as wide as the one it was learned on; the rest
goes to PCHIP. Motion shrinks with the gap, noise that the flow carries does not (docs/method.md)."""


@dataclass(frozen=True)
class BlendWeights:
    """How much each ingredient counts, by channel and region.

    Attributes
    ----------
    table : (channels, regions, 4) weights of the ingredients; linear gets one minus their sum
    """

    table: Float32[np.ndarray, "channels regions 4"]

    @staticmethod
    def prior(channels: int) -> "BlendWeights":
        """Return the weights to use without evidence."""
        return BlendWeights(np.tile(np.array(PRIOR, np.float32), (channels, 1, 1)))


def ingredients(
    images: Stack, positions: Positions, k: int, z: float, motion: Motion, judged: ChannelWeights
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
    motion : Motion
        The flow across the gap and beside it.
    judged : tuple of float
        How much each of the first channels counts in the agreement.

    Returns
    -------
    linear : (height, width, channels)
    added : (4, height, width, channels)
        The ingredients, each minus linear.
    ratio : (height, width)
        See `correspondence.agreement`.
    """
    alpha = np.float32((z - positions[k]) / (positions[k + 1] - positions[k]))
    first, second = images[k], images[k + 1]
    linear = (1 - alpha) * first + alpha * second
    carried = map_in_threads(lambda way: way(), carry_ways(images, positions, k, z, motion, judged))
    (straight, mismatch), (bent, other_mismatch) = carried
    cubic = interpolate_cubic(images, positions, z)
    pchip = interpolate_pchip(images, positions, k, z)
    added = np.stack([cubic, pchip, straight, bent])
    added -= linear
    mismatch = (mismatch + other_mismatch) / 2
    return linear, added, agreement(first, second, mismatch, judged)


def region_shares(ratio: Plane) -> Shares:
    """Return how much of each region's weights a pixel takes, by its agreement: not negative, adding to one."""
    centers = np.log(AGREEMENT_CENTERS)
    regions = np.arange(len(centers), dtype=np.float32)
    place = np.interp(np.log(np.maximum(ratio, AGREEMENT_CENTERS[0])), centers, regions).astype(np.float32)
    shares: Shares = np.maximum(1 - np.abs(place[..., np.newaxis] - regions), np.float32(0))
    return shares


def blend(
    images: Stack,
    positions: Positions,
    k: int,
    z: float,
    motion: Motion,
    weights: BlendWeights,
    judged: ChannelWeights,
) -> Image:
    """Return the weighted interpolant at position z; parameters as in `ingredients`.

    At the position of image k or k + 1 it is that image, whatever the weights. The same as `mix` makes of the
    ingredients, in one pass over the pixels and in a fifth of the time.
    """
    carried = map_in_threads(lambda way: way(), carry_ways(images, positions, k, z, motion, judged))
    return blend_carried(images, positions, k, z, carried, weights, judged)


Carried = tuple[Image, Plane]
"""What a flow brings, and its mismatch."""


def carry_ways(
    images: Stack, positions: Positions, k: int, z: float, motion: Motion, judged: ChannelWeights
) -> tuple[Callable[[], Carried], Callable[[], Carried]]:
    """Return how to carry the stiff flow along straight paths, and the supple one along bent ones; `blend_carried`.

    Two calls that wait for nothing, so that whoever has more to do makes all of it at once; parameters as in
    `ingredients`.
    """
    first, second = images[k], images[k + 1]
    alpha = float((z - positions[k]) / (positions[k + 1] - positions[k]))
    return (
        lambda: carry(first, second, motion.across.leading(), alpha, judged),
        lambda: carry_bent(first, second, motion, positions, k, z, judged),
    )


def blend_carried(
    images: Stack,
    positions: Positions,
    k: int,
    z: float,
    carried: Sequence[Carried],
    weights: BlendWeights,
    judged: ChannelWeights,
) -> Image:
    """Return `blend`, given what the calls of `carry_ways` returned."""
    from medgs_core.mixing import mix_rows

    alpha = np.float32((z - positions[k]) / (positions[k + 1] - positions[k]))
    (straight, mismatch), (bent, other_mismatch) = carried
    ratio = agreement(images[k], images[k + 1], (mismatch + other_mismatch) / 2, judged)
    around = np.diff(positions) / (positions[k + 1] - positions[k])
    steps = np.array([around[k - 1] if k > 0 else 0, around[k + 1] if k + 1 < len(around) else 0], np.float32)
    spline = cubic_weights(positions, z).astype(np.float32)
    centers = np.log(AGREEMENT_CENTERS).astype(np.float32)
    blended = np.empty_like(straight)
    mixing = (images, spline, k, alpha, steps, straight, bent, ratio, centers, weights.table, blended)
    share(mix_rows, evenly(len(ratio)), *mixing)
    return blended


def mix(linear: Image, added: Added, ratio: Plane, weights: BlendWeights) -> Image:
    """Return linear plus the ingredients, each weighed as its channel and region tell.

    Parameters
    ----------
    linear, added, ratio
        As `ingredients` returns them; channels beyond those of the weights take the weights in turn.
    weights : BlendWeights
        How much each counts.
    """
    shares = region_shares(ratio)
    by_region = shares.reshape(-1, shares.shape[2]).T
    per_pixel = [(table.T @ by_region).reshape(-1, *ratio.shape) for table in weights.table]  # of (4, height, width)
    result = linear.copy()
    for channel in range(linear.shape[2]):
        result[..., channel] += (per_pixel[channel % len(per_pixel)] * added[..., channel]).sum(axis=0)
    return result


def neighborhood(count: int, k: int) -> tuple[list[int], int]:
    """Return the slices that gap k looks at, and the index of k among them."""
    first = max(0, k + 1 - SPLINE_REACH)
    return list(range(first, min(count, k + 1 + SPLINE_REACH))), k - first


def triplet_slices(count: int, most: int = MOST_TRIPLETS) -> list[int]:
    """Return the inner slices to predict: all, or as many evenly spread ones where there are more."""
    inner = count - 2
    picked = np.linspace(1, count - 2, min(inner, most)) if inner > 0 else np.empty(0)
    return sorted({round(k) for k in picked})


def predict_without(flows: Flows, k: int) -> tuple[Image, Added, Plane]:
    """Return the `ingredients` for measured slice k, made from the other slices only."""
    stack = flows.stack
    others = [j for j in neighborhood(len(stack), k)[0] if j != k]
    images = np.stack([stack.image(j) for j in others])
    positions, z = stack.positions[others], float(stack.positions[k])
    return ingredients(
        images, positions, others.index(k - 1), z, flows.motion_across(k - 1, k + 1), flows.channel_weights
    )


def _surroundings(flows: Flows, t: float) -> tuple[Stack, Positions, int, float, Motion]:
    """Return the slices that t looks at, their positions, the gap among them, the position of t, and the motion."""
    stack = flows.stack
    k, _ = stack.bracket(t)
    around, gap = neighborhood(len(stack), k)
    images = np.stack([stack.image(j) for j in around])
    return images, stack.positions[around], gap, stack.z_at(t), flows.motion(k)


def ingredients_at(flows: Flows, t: float) -> tuple[Image, Added, Plane]:
    """Return the `ingredients` at slice coordinate t of the stack whose correspondence is given."""
    return ingredients(*_surroundings(flows, t), flows.channel_weights)


def interpolate_blended(flows: Flows, weights: BlendWeights, t: float) -> Image:
    """Return the blended interpolant at slice coordinate t: (height, width, channels) in unit intensities."""
    return blend(*_surroundings(flows, t), weights, flows.channel_weights)


def error_cues(first: Image, second: Image, linear: Image, added: Added, ratio: Plane) -> Cues:
    """Return the square of every cue per pixel and channel, averaged over a few pixels.

    The agreement is shared: there is one flow for all channels.

    Parameters
    ----------
    first, second : (height, width, channels)
        The slices beside the gap.
    linear, added, ratio
        As `ingredients` returns them.
    """
    import cv2

    def smooth(plane: Plane) -> Plane:
        blurred: Plane = cv2.GaussianBlur(plane, (0, 0), AGREEMENT_SIGMA)
        return blurred

    channels = []
    for c in range(linear.shape[2]):
        across = smooth(np.abs(first[..., c] - second[..., c]))
        along = ratio * (across + np.float32(AGREEMENT_FLOOR))
        spread = smooth(np.square(added[..., c]).max(axis=0))
        gradient = np.gradient(linear[..., c]) if min(ratio.shape) > 1 else [np.zeros_like(ratio)]
        steepness = smooth(sum(np.square(part) for part in gradient))
        floor = np.full(ratio.size, LEAST_VARIANCE)
        squares = [part.ravel().astype(np.float64) for part in (np.square(along), spread, np.square(across), steepness)]
        channels.append(np.stack([*squares, floor], axis=1))
    return np.stack(channels, axis=1)


@dataclass(frozen=True)
class Sample:
    """Some pixels of a predicted slice, as one row of an image.

    Attributes
    ----------
    linear, added, ratio : as `ingredients` returns them
    truth : (1, pixels, channels) what was measured
    cues : (pixels, channels, 5) see `error_cues`
    """

    linear: Image
    added: Added
    ratio: Plane
    truth: Image
    cues: Cues


@dataclass(frozen=True)
class Evidence:
    """What one predicted slice says: normal equations of the weights, per channel, and a sample of its pixels.

    Attributes
    ----------
    k : the slice
    gram : (channels, regions, 4, regions, 4) inner products of what the regions' ingredients add to linear
    moment : (channels, regions, 4) inner products of that with what linear misses
    sample : what the errors of the blend are learned from
    """

    k: int
    gram: Float64[np.ndarray, "channels regions 4 regions 4"]
    moment: Float64[np.ndarray, "channels regions 4"]
    sample: Sample


def gather_evidence(flows: Flows, most: int = MOST_TRIPLETS) -> list[Evidence]:
    """Return the evidence of evenly spread inner slices of a stack; empty if it has fewer than three slices.

    Parameters
    ----------
    flows : Flows
        The correspondence of the measured slices.
    most : int
        Inner slices that are predicted at most.
    """
    triplets = triplet_slices(len(flows.stack), most)
    flows.prepare([(k - 1, k + 1) for k in triplets])
    slice_bytes = 4 * flows.stack.height * flows.stack.width * flows.stack.channels
    return map_in_threads(lambda k: _judge_slice(flows, k), triplets, WORKING_SLICES * slice_bytes)


def _judge_slice(flows: Flows, k: int) -> Evidence:
    stack, truth = flows.stack, flows.stack.image(k)
    linear, added, ratio = predict_without(flows, k)
    shares = np.ascontiguousarray(np.moveaxis(region_shares(ratio), 2, 0))
    shape = (len(shares), len(added))
    grams, moments = [], []
    for channel in range(linear.shape[2]):
        gram, moment = np.zeros((len(shares) * len(added),) * 2), np.zeros(len(shares) * len(added))
        for first in range(0, stack.height, ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            x = (shares[:, np.newaxis, rows] * added[:, rows, :, channel]).reshape(len(gram), -1).astype(np.float64)
            gram += x @ x.T
            moment += x @ (truth - linear)[rows, :, channel].ravel()
        grams.append(gram.reshape(shape * 2))
        moments.append(moment.reshape(shape))
    every = -(-ratio.size // SAMPLED_PIXELS)

    def sampled(values: np.ndarray, axis: int) -> np.ndarray:
        flat = values.reshape(*values.shape[:axis], 1, -1, *values.shape[axis + 2 :])
        return flat[(slice(None),) * (axis + 1) + (slice(None, None, every),)].copy()

    cues = error_cues(stack.image(k - 1), stack.image(k + 1), linear, added, ratio)[::every].copy()
    sample = Sample(sampled(linear, 0), sampled(added, 1), sampled(ratio, 0), sampled(truth, 0), cues)
    return Evidence(k, np.array(grams), np.array(moments), sample)


def solve_blend(evidence: list[Evidence], channels: int) -> BlendWeights:
    """Return the weights that predict the slices of the evidence best, in the mean square.

    Least squares in each channel: the weights differ from the prior by what the stack says, drawn to nothing, and in
    each region of agreement by what that says, drawn to the stack's. Without evidence, or where all ingredients
    are the same (nothing changes along the axis, or linearly), the prior.

    Parameters
    ----------
    evidence : list of Evidence
        Of any slices.
    channels : int
        Channels of the stack.
    """
    if not evidence:
        return BlendWeights.prior(channels)
    gram = np.sum([one.gram for one in evidence], axis=0)
    moment = np.sum([one.moment for one in evidence], axis=0)
    return BlendWeights(np.array([_solve(g, m) for g, m in zip(gram, moment, strict=True)], np.float32))


def _solve(
    gram: Float64[np.ndarray, "regions 4 regions 4"], moment: Float64[np.ndarray, "regions 4"]
) -> Float64[np.ndarray, "regions 4"]:
    """Return the weights of one channel by region."""
    prior = np.array(PRIOR)
    regions, kinds = prior.shape
    overall = gram.sum(axis=(0, 2))
    information = float(np.trace(overall)) / kinds
    if information <= LEAST_INFORMATION:
        return prior
    missed = moment - np.tensordot(gram, prior, axes=2)
    stack_shift = np.linalg.solve(overall + GLOBAL_RIDGE * information * np.eye(kinds), missed.sum(axis=0))
    pull = REGION_RIDGE * information / regions
    toward = (missed + pull * stack_shift).ravel()
    shift = np.linalg.solve(gram.reshape(prior.size, prior.size) + pull * np.eye(prior.size), toward)
    table = prior + shift.reshape(prior.shape)
    withheld = (1.0 - FLOW_DISCOUNT) * table[:, FLOWS]
    table[:, FLOWS] -= withheld
    table[:, PCHIP] += withheld.sum(axis=1)
    return table


def learn_blend(flows: Flows) -> BlendWeights:
    """Return the weights with which a stack predicts its own inner slices best; see `gather_evidence`."""
    return solve_blend(gather_evidence(flows), flows.stack.channels)
