"""Prints how many splat-pixel evaluations per second the CPU kernels make, and how far the floor is.

An evaluation is a pixel inside of a splat's 3-sigma box. Run: python benchmarks/kernels.py [--reference]
"""

import math
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import torch
from _setting import make_parser, print_table, setting

from medgs_core.rasterize import rasterize_splats
from medgs_core.tensors import Splats2D

RULES = ("sum", "alpha")
SCENES = {
    "6,000 on 256 x 256, sigma 1 to 4 px": (6000, 256, 256, 1.0, 4.0),
    "12,000 on 232 x 160, sigma 1.5 to 3 px": (12000, 232, 160, 1.5, 3.0),
}
REPEATS = 50
REFERENCE_REPEATS = 1  # takes seconds
LANES = 16
CYCLES_PER_PRODUCT = 3  # latency of a multiplication on Zen

CYCLES_PER_VECTOR = {("sum", False): 4, ("sum", True): 4 + 7, ("alpha", False): 8, ("alpha", True): 8 + 18}
"""Cycles that the busiest unit of a Zen 4 core needs for 16 pixels, key (rule, with backward).

Its units are 256 bits wide: 16 float32 multiply-adds take one cycle (two pipes), 16 loads one, 16 stores
two. Sum forward: 4 products or multiply-adds = 4, and 2 stores = 4. Sum backward: 7 products or
multiply-adds. Alpha forward: 4 stores = 8 (weight, transmittance, end, image). Alpha backward: 13 products
and a division of 5 on the same pipes = 18.
"""

BYTES_PER_SECOND = 20e9
"""What one channel of server memory gives; only for the floor that moving the data sets."""


def random_splats(count: int, height: int, width: int, low: float, high: float) -> list[torch.Tensor]:
    """Return leaves (means, conics, opacities, features), one feature, any angle."""
    random = np.random.default_rng(0)
    first, second = random.uniform(low, high, (2, count)) ** -2
    angle = random.uniform(0, math.pi, count)
    cosine, sine = np.cos(angle), np.sin(angle)
    conics = [
        cosine**2 * first + sine**2 * second,
        cosine * sine * (first - second),
        sine**2 * first + cosine**2 * second,
    ]
    arrays = (
        random.uniform(0, 1, (count, 2)) * (width, height),
        np.stack(conics, axis=1),
        random.uniform(0.01, 0.3, count),
        random.uniform(0, 1, (count, 1)),
    )
    return [torch.from_numpy(array.astype(np.float32)).requires_grad_() for array in arrays]


def count_work(splats: list[torch.Tensor], height: int, width: int) -> tuple[int, int]:
    """Return (evaluations, vectors): pixels in all 3-sigma boxes, and 16-pixel vectors that cover them."""
    means, conics = splats[0].detach().double().numpy(), splats[1].detach().double().numpy()
    a, b, c = conics.T
    reach = 3 * np.sqrt(np.stack((c, a), axis=1) / (a * c - b * b)[:, None])
    low = np.maximum(np.ceil(means - reach), 0)
    high = np.minimum(np.floor(means + reach), (width - 1, height - 1))
    across, down = np.maximum(high - low + 1, 0).T
    return int((across * down).sum()), int((np.ceil(across / LANES) * down).sum())


@numba.njit
def chain(steps: int) -> float:
    """Return a product whose every factor waits for the product before."""
    value = 1.0
    for _ in range(steps):
        value *= 1.0000000001
    return value


def clock() -> float:
    """Return cycles per second, from how long `chain` takes."""
    steps = 20_000_000
    chain(1)
    started = time.perf_counter()
    chain(steps)
    return CYCLES_PER_PRODUCT * steps / (time.perf_counter() - started)


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median duration of a call; before many, one is not counted."""
    if repeats > 1:
        call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(
    splats: list[torch.Tensor], height: int, width: int, rule: str, backend: str, repeats: int
) -> tuple[float, float]:
    """Return median seconds of (forward, forward and backward)."""
    upstream = (torch.ones(height, width, 1), torch.ones(height, width))

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return rasterize_splats(Splats2D(*splats), height, width, rule, backend)

    def both() -> None:
        torch.autograd.grad(rasterize_splats(Splats2D(*splats), height, width, rule, backend), splats, upstream)

    return median_seconds(forward, repeats), median_seconds(both, repeats)


def main() -> None:
    """Print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--reference", action="store_true", help="time dense torch too, on the smaller scene: a minute")
    arguments = parser.parse_args()
    threads, hertz = numba.get_num_threads(), clock()
    print(f"{setting()}; {hertz / 1e9:.1f} GHz (measured)\n")
    table = []
    sizes = []
    for name, (count, height, width, low, high) in SCENES.items():
        splats = random_splats(count, height, width, low, high)
        evaluations, vectors = count_work(splats, height, width)
        for rule in RULES:
            fast = measure(splats, height, width, rule, "cpu", REPEATS)
            dense: tuple[float, ...] = ()
            if arguments.reference and count == min(size[0] for size in SCENES.values()):
                dense = measure(splats, height, width, rule, "reference", REFERENCE_REPEATS)
            for backward, seconds in zip((False, True), fast, strict=True):
                floor = vectors * CYCLES_PER_VECTOR[rule, backward] / hertz / threads
                moved = 4 * (1 + backward) * (count * 7 + 2 * height * width)
                floor = max(floor, moved / BYTES_PER_SECOND)
                slow = f"{dense[backward] * 1e3:,.0f}" if dense else ""
                label = "forward + backward" if backward else "forward"
                times = [f"{seconds * 1e3:.2f}", f"{evaluations / seconds / 1e9:.2f}", f"{floor * 1e3:.2f}"]
                table.append([name, rule, label, *times, f"{seconds / floor:.1f}", slow])
        filled = evaluations / vectors / LANES
        sizes.append(f"{name}: {evaluations:,} evaluations in {vectors:,} vectors, {filled:.0%} filled.")
    heads = ["splats", "rule", "pass", "median ms", "10⁹ evaluations/s", "floor ms", "over floor", "dense torch ms"]
    print_table(heads, table)
    print("\n" + "\n".join(sizes))


if __name__ == "__main__":
    main()
