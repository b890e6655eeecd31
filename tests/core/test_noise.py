import numpy as np
import pytest

from medgs_core.noise import NOISE_FLOOR, SLICES_SAMPLED, estimate_noise, representative_slices, weigh_channels

from ._stacks import drifting_blobs, random_images, stack_of


def noisy_blobs(*deviations):
    """Return a stack of blobs, one channel per standard deviation of the noise on it, away from the window's ends."""
    clean = 0.3 + 0.4 * np.repeat(drifting_blobs(4, 2.0), len(deviations), axis=3)
    noise = np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
    return stack_of(clean + np.array(deviations, np.float32) * noise)


def test_noise_is_estimated_per_channel_whatever_lies_under_it():
    # the blobs themselves add 0.001 where there is no noise; a median of 4,608 pixels is off by two in a hundred
    assert estimate_noise(noisy_blobs(0.0, 0.02, 0.1)) == pytest.approx([0.0, 0.02, 0.1], rel=0.03, abs=2e-3)


def test_a_few_slices_from_end_to_end_are_looked_at():
    assert representative_slices(stack_of(random_images(3))) == [0, 1, 2]
    chosen = representative_slices(stack_of(random_images(100)))
    assert (len(chosen), chosen[0], chosen[-1]) == (SLICES_SAMPLED, 0, 99)


def test_channels_count_inversely_as_the_variance_of_their_noise():
    first, second, third = weigh_channels(noisy_blobs(0.1, 0.02, 0.05))
    assert second == 1.0
    least = 0.02**2 + NOISE_FLOOR**2
    assert first == pytest.approx(least / (0.1**2 + NOISE_FLOOR**2), rel=0.05)
    assert third == pytest.approx(least / (0.05**2 + NOISE_FLOOR**2), rel=0.05)


def test_channels_alike_count_alike():
    stack = stack_of(np.repeat(random_images(4, channels=1), 3, axis=3))
    assert np.array_equal(weigh_channels(stack), np.ones(3, np.float32))


def test_one_channel_counts_in_full_whatever_its_noise():
    for stack in (noisy_blobs(0.1), stack_of(np.zeros((2, 1, 1, 1)))):
        assert np.array_equal(weigh_channels(stack), np.ones(1, np.float32))


def test_slices_of_one_pixel_have_a_weight():
    assert np.array_equal(weigh_channels(stack_of(np.full((2, 1, 1, 2), 0.5))), np.ones(2, np.float32))
