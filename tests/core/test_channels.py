"""The one plane that the flow sees, of channels with structure in common, apart, inverted and noisy."""

import numpy as np
import pytest

from medgs_core.channels import common_structure, project

from ._stacks import drifting_blobs, random_images, stack_of


class TestCommonStructure:
    def test_one_channel_is_seen_as_it_is(self):
        stack = stack_of(drifting_blobs(2, 2.0))
        assert common_structure(stack) == (1.0,)
        assert np.array_equal(project(stack.image(0), (1.0,)), stack.image(0)[..., 0])

    @pytest.mark.parametrize(
        ("contrasts", "expected"),
        [
            ((1, 1), (0.5, 0.5)),
            ((1, -1), (0.5, -0.5)),
            ((-0.5, 1), (-1 / 3, 2 / 3)),
            ((1, 0, -1, 1), (1 / 3, 0, -1 / 3, 1 / 3)),
            ((0, 0), (0.5, 0.5)),
        ],
    )
    def test_channels_weigh_as_their_contrast_does_with_its_sign(self, contrasts, expected):
        base = drifting_blobs(4, 2.0)
        images = np.concatenate([0.5 + np.float32(contrast) * (base - 0.5) for contrast in contrasts], axis=3)
        assert common_structure(stack_of(images)) == pytest.approx(expected)

    def test_noise_makes_a_channel_weigh_less(self):
        images = np.repeat(drifting_blobs(4, 2.0), 2, axis=3)
        images[..., 1] += 0.1 * np.random.default_rng(0).standard_normal(images.shape[:3], dtype=np.float32)
        first, second = common_structure(stack_of(np.clip(images, 0, 1)))
        # 0.03^2 / (0.03^2 + 0.1^2) = 0.08, in steps of 1/8
        assert (first, second) == pytest.approx((8 / 9, 1 / 9))

    def test_channels_with_structure_of_their_own_both_count(self):
        first, second = drifting_blobs(3, 2.0), drifting_blobs(3, 2.0)[:, ::-1, ::-1]
        weights = common_structure(stack_of(np.concatenate([first, second], axis=3)))
        assert min(np.abs(weights)) > 0.4

    def test_inverted_channels_are_turned_over(self):
        image = random_images(1)[0]
        expected = 0.25 * image[..., 0] + 0.75 * (1 - image[..., 1])
        assert project(image, (0.25, -0.75)) == pytest.approx(expected, abs=1e-6)
