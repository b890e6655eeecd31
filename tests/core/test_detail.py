import numpy as np
import pytest

from medgs_core.blending import AGREEMENT_CENTERS, INGREDIENTS, BlendWeights, blend, interpolate_blended
from medgs_core.correspondence import Flows
from medgs_core.detail import add_detail, carry_all, strength_of
from medgs_core.slices import SliceStack
from medgs_core.volume import IntensityWindow

from ._stacks import UNEVEN, random_images, stack_of

REGIONS = len(AGREEMENT_CENTERS)
FLOAT32 = 1e-5
"""Some dozen float32 operations, with weights of up to 2 that partly cancel."""


def weights_of(*weights):
    return BlendWeights(np.tile(np.array(weights, np.float32), (1, REGIONS, 1)))


def shared_strength(weights, trust, smoothing):
    """Return a strength that all channels share."""
    return strength_of(weights, (trust,), (smoothing,))


LINEAR = weights_of(0, 0, 0, 0)
MIXED = BlendWeights(np.random.default_rng(4).uniform(-1, 2, (2, REGIONS, len(INGREDIENTS))).astype(np.float32))


def noisy_estimate(stack, seed=9, peak=1.0):
    """Return Gaussians that are far from the slices: noise of their own, smooth in t, up to 1.4 times the peak."""
    ends = random_images(2, stack.height, stack.width, stack.channels, seed=seed)

    def estimate(t):
        return (peak * (np.cos(0.2 * t) * ends[0] + np.sin(0.2 * t) * ends[1])).astype(np.float32)

    return estimate


def scene(count=7, height=14, width=13, channels=2):
    # in the middle of the window, so that little overshoots it
    images = np.float32(0.4) + np.float32(0.2) * random_images(count, height, width, channels)
    stack = stack_of(images, UNEVEN[:count])
    return stack, Flows(stack, "both"), noisy_estimate(stack, peak=0.6)


def inside(image):
    """Return an image without overshoot, most of which there was none."""
    clipped = np.clip(image, 0, 1)
    assert np.mean(clipped == image) > 0.8
    return clipped


def wide_scene(height=14):
    """Return a scene whose window is narrower than its values."""
    stack = SliceStack(random_images(5, height, 13), UNEVEN[:5], IntensityWindow(0.2, 0.7))
    return stack, Flows(stack, "both"), noisy_estimate(stack)


FULL = (1.0, 0.0)
STRENGTHS = [(0.0, 0.0), FULL, (0.0, 1.0), (1.0, 1.0), (0.37, 0.81)]


@pytest.mark.parametrize(("trust", "smoothing"), STRENGTHS)
@pytest.mark.parametrize("weights", [LINEAR, MIXED])
def test_measured_slices_come_back_whatever_the_strength(trust, smoothing, weights):
    for stack, flows, estimate in (scene(), wide_scene()):
        strength = shared_strength(weights, trust, smoothing)
        for k in range(len(stack)):
            found = add_detail(stack, flows, estimate, strength, float(k))
            assert found == pytest.approx(stack.unclipped(k), abs=FLOAT32)


@pytest.mark.parametrize(("trust", "smoothing"), STRENGTHS)
def test_the_slice_tends_to_the_measured_one_from_both_sides(trust, smoothing):
    strength = shared_strength(MIXED, trust, smoothing)
    for stack, flows, estimate in (scene(), wide_scene()):
        for k in range(len(stack)):
            near = [k + side for side in (-1e-4, 1e-4) if 0 <= k + side <= len(stack) - 1]
            for t in near:
                # white noise under weights up to 2 changes by less than 100 per slice
                found = add_detail(stack, flows, estimate, strength, t)
                assert np.abs(found - stack.unclipped(k)).max() < 1e-2


@pytest.mark.parametrize("t", [0.25, 3.5, 5.75])
def test_full_detail_is_the_rendering_plus_the_residual_between_slices(t):
    stack, flows, estimate = scene()
    k, alpha = int(t), np.float32(t % 1)
    residuals = [stack.image(j) - estimate(float(j)) for j in (k, k + 1)]
    expected = estimate(t) + (1 - alpha) * residuals[0] + alpha * residuals[1]
    assert add_detail(stack, flows, estimate, shared_strength(LINEAR, *FULL), t) == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize(("trust", "smoothing"), STRENGTHS)
@pytest.mark.parametrize("t", [0.25, 3.5, 5.75])
def test_detail_is_its_equation_with_the_interpolants_made_apart(trust, smoothing, t):
    stack, flows, estimate = scene()
    channels = stack.channels
    rendered = np.stack([estimate(float(k)) for k in range(len(stack))])
    # all slices rather than a window, flow and regions of the measured ones: five or six of seven slices are seen
    k, alpha = stack.bracket(t)
    seen = slice(max(0, k - 4), k + 6)
    both = np.concatenate([stack.images(), rendered], axis=3)[seen]
    arguments = (stack.positions[seen], k - seen.start, stack.z_at(t), flows.motion(k), MIXED, flows.channel_weights)
    interpolated = blend(both, *arguments)
    of_slices, of_rendered = interpolated[..., :channels], interpolated[..., channels:]
    fading = 4 * alpha * (1 - alpha)
    expected = of_slices + trust * (estimate(t) - of_rendered) + smoothing * fading * (of_rendered - of_slices)
    found = add_detail(stack, flows, estimate, shared_strength(MIXED, trust, smoothing), t)
    assert found == pytest.approx(inside(expected), abs=FLOAT32)


@pytest.mark.parametrize("t", [0.4, 3.5])
def test_without_trust_and_smoothing_it_is_the_blend_and_nothing_is_rendered(t):
    stack, flows, _ = scene()

    def never(t):
        pytest.fail(f"the Gaussians were rendered at {t}")

    found = add_detail(stack, flows, never, shared_strength(MIXED, 0.0, 0.0), t)
    assert found == pytest.approx(inside(interpolate_blended(flows, MIXED, t)), abs=FLOAT32)


@pytest.mark.parametrize("trust", [0.0, 0.4, 1.0])
def test_full_smoothing_half_way_shows_no_measured_noise(trust):
    # at alpha = 1/2, m = 1: I(G) + l [G(t) - I(G)], whatever the slices between which it lies
    stack, flows, estimate = scene()
    mean = 0.5 * (estimate(2.0) + estimate(3.0))
    expected = mean + trust * (estimate(2.5) - mean)
    found = add_detail(stack, flows, estimate, shared_strength(LINEAR, trust, 1.0), 2.5)
    assert found == pytest.approx(expected, abs=FLOAT32)


def test_overshoot_stays_in_the_window():
    dark, bright = np.zeros((8, 9, 1), np.float32), np.ones((8, 9, 1), np.float32)
    stack = stack_of([dark, bright, bright, dark])
    cubic = shared_strength(weights_of(1, 0, 0, 0), 0.0, 0.0)
    flows = Flows(stack, "stiff")
    assert interpolate_blended(flows, weights_of(1, 0, 0, 0), 1.5).max() > 1.1
    assert np.all(add_detail(stack, flows, noisy_estimate(stack), cubic, 1.5) == 1.0)


@pytest.mark.parametrize("t", [0.3, 3.5])
def test_gaussians_that_pass_through_the_slices_are_followed_in_full(t):
    estimate = noisy_estimate(stack_of(random_images(1)), peak=0.7)
    stack = stack_of([estimate(k) for k in range(7)], UNEVEN)
    found = add_detail(stack, Flows(stack, "stiff"), estimate, shared_strength(MIXED, *FULL), t)
    assert found == pytest.approx(estimate(t), abs=FLOAT32)


@pytest.mark.parametrize(("trust", "smoothing"), STRENGTHS)
def test_what_lies_outside_the_window_is_carried_where_most_of_it_is_outside(trust, smoothing):
    stack, flows, estimate = wide_scene(height=11)  # too small for flow
    clipped = SliceStack(stack.images(), stack.positions, IntensityWindow(0.0, 1.0))
    strength = shared_strength(LINEAR, trust, smoothing)
    first, second = (stack.unclipped(k) - stack.image(k) for k in (1, 2))
    assert np.abs(first).max() > 0.3
    beyond = add_detail(stack, flows, estimate, strength, 1.25) - add_detail(clipped, flows, estimate, strength, 1.25)
    # without flow, at a quarter of the gap: both outside, the mean; the first alone, 0.75 of the pixel, counts
    # 2 * 0.75 - 1 = 1/2; the second alone, 0.25 of it, does not
    both = np.where(first * second > 0, 0.75 * first + 0.25 * second, 0.5 * first)
    assert beyond == pytest.approx(both, abs=FLOAT32)


@pytest.mark.parametrize(("trust", "smoothing"), STRENGTHS)
def test_each_channel_leaves_its_own_window_as_it_would_alone(trust, smoothing):
    images = random_images(5, 11, 13, 2) * np.array([1.0, 1000.0], np.float32)  # too small for flow, which is shared
    windows = IntensityWindow((0.2, 350.0), (0.7, 600.0))
    stack = SliceStack(images, UNEVEN[:5], windows)
    estimate, strength = noisy_estimate(stack), shared_strength(LINEAR, trust, smoothing)
    found = add_detail(stack, Flows(stack, "stiff"), estimate, strength, 1.25)
    for c in range(2):
        alone = SliceStack(images[..., c : c + 1], UNEVEN[:5], windows.of_channels(c, c + 1))
        expected = add_detail(alone, Flows(alone, "stiff"), lambda t, c=c: estimate(t)[..., c : c + 1], strength, 1.25)
        assert found[..., c : c + 1] == pytest.approx(expected, abs=FLOAT32)
    assert found.max() > 1.1


def test_metal_does_not_shine_on_its_surroundings():
    images = np.full((4, 24, 26, 1), 0.4, np.float32)
    images[:, 8:14, 8:14] = 1e6
    images[2:, 8:14, 8:14], images[2:, 10:16, 8:14] = 0.4, 1e6
    stack = stack_of(images)
    between = add_detail(stack, Flows(stack, "both"), lambda t: images[0] * 0, shared_strength(MIXED, 0.0, 0.0), 1.5)
    near = np.ones((24, 26), bool)
    near[7:17, 7:15] = False
    assert between[near] == pytest.approx(0.4, abs=0.05)
    assert between.max() == pytest.approx(1e6, rel=1e-3)


def test_renderings_are_left_as_they_are():
    stack, flows, _ = scene()
    kept = {float(k): np.full((14, 13, 2), 0.1 * k, np.float32) for k in range(7)} | {
        2.5: np.full((14, 13, 2), 0.7, np.float32)
    }
    before = {t: image.copy() for t, image in kept.items()}
    add_detail(stack, flows, kept.__getitem__, shared_strength(MIXED, 0.6, 0.3), 2.5)
    assert all(np.array_equal(kept[t], before[t]) for t in kept)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (11, 11)])
@pytest.mark.parametrize("count", [2, 3])
def test_tiny_stacks_of_five_channels_work(size, count):
    stack, flows, estimate = scene(count, *size, channels=5)
    found = add_detail(stack, flows, estimate, shared_strength(MIXED, 0.5, 0.2), count - 1.5)
    assert found.shape == (*size, 5)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_a_strength_keeps_its_weights_in_full():
    strength = strength_of(MIXED, (0.25, 1.0), (0.5, 0.0))
    assert np.array_equal(np.array(strength.blend, np.float32), MIXED.table)
    assert (strength.trust, strength.smoothing) == ((0.25, 1.0), (0.5, 0.0))


def test_all_is_carried_in_full_in_each_channel():
    strength = carry_all(strength_of(MIXED, (0.25, 0.7), (0.5, 0.1)))
    assert strength == strength_of(MIXED, (1.0, 1.0), (0.0, 0.0))


@pytest.mark.parametrize("t", [0.4, 3.0, 3.5])
def test_each_channel_has_a_strength_of_its_own(t):
    stack, flows, estimate = scene()
    shares = ((0.0, 0.8), (0.9, 0.0))
    found = add_detail(stack, flows, estimate, strength_of(MIXED, *shares), t)
    for c, (trust, smoothing) in enumerate(zip(*shares, strict=True)):
        alike = add_detail(stack, flows, estimate, shared_strength(MIXED, trust, smoothing), t)
        assert np.array_equal(found[..., c], alike[..., c])
