"""What the volume says about the ways to fill a gap, by predicting its own measured slices.

An inner slice is predicted from the others; from how well linear, cubic, PCHIP and two flows do, in each channel and
wherever the flow explains much or little, follow the weights of their blend.
A stack comes in, `BlendWeights` and what its errors look like go out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from medgs_core.arrays import Image, Plane
from medgs_core.blending import FLOWS, PCHIP, PRIOR, Added, BlendWeights, ingredients, neighborhood, region_shares
from medgs_core.carrying import AGREEMENT_FLOOR, AGREEMENT_SIGMA
from medgs_core.correspondence import Flows
from medgs_core.threads import GoOn, map_in_threads

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


def gather_evidence(flows: Flows, most: int = MOST_TRIPLETS, go_on: GoOn | None = None) -> list[Evidence]:
    """Return the evidence of evenly spread inner slices of a stack; empty if it has fewer than three slices.

    Parameters
    ----------
    flows : Flows
        The correspondence of the measured slices.
    most : int
        Inner slices that are predicted at most.
    go_on : Callable, optional
        May end it early, see `threads.GoOn`; then there is the evidence of fewer slices.
    """
    triplets = triplet_slices(len(flows.stack), most)
    flows.prepare([(k - 1, k + 1) for k in triplets], go_on and (lambda done, total: go_on(0, total)))
    slice_bytes = 4 * flows.stack.height * flows.stack.width * flows.stack.channels
    return map_in_threads(lambda k: judge_slice(flows, k), triplets, WORKING_SLICES * slice_bytes, go_on)


def judge_slice(flows: Flows, k: int) -> Evidence:
    """Return the evidence of one inner slice."""
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
