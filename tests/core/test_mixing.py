"""The compiled blend against the ingredients mixed one by one."""

import numpy as np
import pytest

from medgs_core.blending import AGREEMENT_CENTERS, INGREDIENTS, BlendWeights, blend, ingredients, mix
from medgs_core.correspondence import Flows

from ._stacks import UNEVEN, random_images, stack_of

FLOAT32 = 5e-6
"""Two dozen float32 operations in another order, with weights of up to 2 that partly cancel."""


def both_ways(images, positions, k, z, channels, seed=0):
    """Return the blend in one pass, and the mixture of the ingredients."""
    flows = Flows(stack_of(images[..., :channels], positions), "both")
    table = np.random.default_rng(seed).uniform(-1, 2, (channels, len(AGREEMENT_CENTERS), len(INGREDIENTS)))
    weights = BlendWeights(table.astype(np.float32))
    arguments = (images, np.asarray(positions, np.float64), k, z, flows.motion(k))
    judged = flows.channel_weights
    return blend(*arguments, weights, judged), mix(*ingredients(*arguments, judged), weights)


@pytest.mark.parametrize(("count", "k"), [(2, 0), (3, 0), (3, 1), (4, 1), (7, 0), (7, 3), (7, 5)])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.85, 1.0])
def test_one_pass_is_the_mixture_of_the_ingredients(count, k, alpha):
    positions = UNEVEN[:count]
    z = positions[k] + alpha * (positions[k + 1] - positions[k])
    fast, spelled_out = both_ways(random_images(count, 17, 22), positions, k, z, 2)
    assert fast == pytest.approx(spelled_out, abs=FLOAT32)


def test_channels_beyond_the_weights_take_them_in_turn():
    images = random_images(5, 14, 15, channels=4)
    fast, spelled_out = both_ways(images, UNEVEN[:5], 2, 2.5, 2)
    assert fast == pytest.approx(spelled_out, abs=FLOAT32)


def test_flat_slices_stay_flat():
    fast, _ = both_ways(np.full((5, 13, 14, 1), 0.3, np.float32), UNEVEN[:5], 2, 2.5, 1)
    assert fast == pytest.approx(0.3, abs=1e-6)


def test_steps_and_spikes_bend_as_pchip_does():
    # neighboring secants of opposite sign and zero secants, where PCHIP has its cases
    profile = np.array([0, 0, 1, 1, 0, 0.5, 0.5], np.float32)
    images = np.tile(profile[:, None, None, None], (1, 13, 13, 1))
    for k in range(6):
        z = 0.3 * UNEVEN[k] + 0.7 * UNEVEN[k + 1]
        fast, spelled_out = both_ways(images, UNEVEN, k, z, 1, seed=k)
        assert fast == pytest.approx(spelled_out, abs=FLOAT32), k
