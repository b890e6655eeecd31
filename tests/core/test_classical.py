"""The classical methods against SciPy on whole stacks, and against numbers computed by hand."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, PchipInterpolator

from medgs_core.classical import (
    METHODS,
    SPLINE_REACH,
    cubic_weights,
    interpolate_cubic,
    interpolate_pchip,
    interpolate_slices,
)
from medgs_core.correspondence import Flows

from ._stacks import UNEVEN, blobs, drifting_blobs, random_images, stack_of

FLOAT32 = 2e-6
"""A dozen float32 operations on values up to 2."""

FAR_SLICES = {"even": 0.02, "uneven": 0.05}
"""What slices beyond the window do to a cubic spline near its ends: half the sum of the differences of their
weights, computed for the stacks below, is 0.017 and 0.042; elsewhere it is below 0.01."""


def interpolated(images, positions, t, method):
    return interpolate_slices(stack_of(images, positions), t, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0, 1, 4, 6])
def test_every_method_returns_measured_slices_bit_by_bit(method, t):
    images = random_images(7)
    assert np.array_equal(interpolated(images, UNEVEN, float(t), method), images[t])


@pytest.mark.parametrize(("t", "nearest"), [(0.4, 0), (0.6, 1), (5.51, 6), (0.5, 0), (1.5, 2)])
def test_nearest_is_the_nearest_slice_the_even_one_half_way(t, nearest):
    images = random_images(7)
    assert np.array_equal(interpolated(images, UNEVEN, t, "nearest"), images[nearest])


def test_linear_by_hand():
    images = np.array([0.2, 0.6, 0.0], np.float32).reshape(3, 1, 1, 1)
    assert interpolated(images, [0.0, 1.0, 5.0], 0.25, "linear").item() == pytest.approx(0.3, abs=1e-7)
    assert interpolated(images, [0.0, 1.0, 5.0], 1.75, "linear").item() == pytest.approx(0.15, abs=1e-7)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
@pytest.mark.parametrize("method", ["linear", "cubic", "pchip"])
def test_constant_slices_stay_constant(method, count):
    images = np.full((count, 3, 2, 5), 0.3, np.float32)
    for t in np.linspace(0, count - 1, 13):
        assert interpolated(images, UNEVEN[:count], float(t), method) == pytest.approx(images[0], abs=FLOAT32)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize(
    ("method", "oracle", "count"),
    [("cubic", CubicSpline, count) for count in range(2, SPLINE_REACH + 2)]
    + [("pchip", PchipInterpolator, count) for count in range(2, 8)],
)
def test_splines_are_scipys_on_uneven_stacks_up_to_their_ends_in_any_unit(method, oracle, count, scale):
    images, positions = random_images(count), scale * UNEVEN[:count]
    stack = stack_of(images, positions)
    expected = oracle(positions, images.astype(np.float64))
    for t in np.linspace(0, count - 1, 23):
        found = interpolate_slices(stack, float(t), method)
        assert found == pytest.approx(expected(stack.z_at(float(t))), abs=FLOAT32)


@pytest.mark.parametrize("spacing", ["even", "uneven"])
def test_cubic_through_a_window_is_nearly_the_spline_through_all_slices(spacing):
    positions = np.arange(24.0) if spacing == "even" else np.cumsum(np.tile([1.0, 1.7, 0.5], 8))
    images = random_images(24, seed=1)
    expected = CubicSpline(positions, images.astype(np.float64))
    stack = stack_of(images, positions)
    for t in np.linspace(0, 23, 93):
        found = interpolate_slices(stack, float(t), "cubic")
        far = 0.01 if 5 <= t <= 18 else FAR_SLICES[spacing]
        assert found == pytest.approx(expected(stack.z_at(float(t))), abs=far)


def test_pchip_of_a_long_stack_looks_at_four_slices():
    images = random_images(24, seed=1)
    expected = PchipInterpolator(np.arange(24.0), images.astype(np.float64))(11.3)
    assert interpolated(images, None, 11.3, "pchip") == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize(
    "values",
    [
        (0.0, 0.0, 1.0, 1.0),
        (0.0, 1.0, 0.0, 1.0),
        (0.5, 0.5, 0.5, 0.5),
        (0.0, 0.1, 0.9, 0.2),
        (1.0, 0.0, 0.9, 0.0),  # the end slope overshoots three times the secant and is limited
        (0.0, 1.0, 1.0, 0.0),
        (0.0, 1e-6, 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("positions", [(0.0, 1.0, 2.0, 3.0), (0.0, 0.1, 2.0, 2.3), (0.0, 3.0, 3.2, 9.0)])
def test_pchip_is_scipys_where_slopes_vanish_change_sign_or_overshoot(values, positions):
    images = np.array(values, np.float32).reshape(4, 1, 1, 1)
    places = np.array(positions)
    oracle = PchipInterpolator(places, np.array(values))
    for k in range(3):
        for z in np.linspace(places[k], places[k + 1], 9):
            found = interpolate_pchip(images, places, k, float(z)).item()
            assert found == pytest.approx(oracle(z), abs=FLOAT32)


def test_pchip_stays_between_its_two_slices():
    images = random_images(7)
    stack = stack_of(images, UNEVEN)
    for t in np.linspace(0, 6, 41):
        k, _ = stack.bracket(float(t))
        found = interpolate_slices(stack, float(t), "pchip")
        low, high = np.minimum(images[k], images[k + 1]), np.maximum(images[k], images[k + 1])
        assert (found >= low - FLOAT32).all()
        assert (found <= high + FLOAT32).all()


@pytest.mark.parametrize(("degree", "count"), [(1, 2), (2, 3), (3, 4), (3, 12)])
def test_cubic_reproduces_polynomials_of_its_degree(degree, count):
    positions = np.linspace(0, 1, count) + 0.02 * np.sin(np.arange(count))
    coefficients = np.array([0.2, 0.7, -0.6, 0.3])[: degree + 1]
    values = np.polynomial.polynomial.polyval(positions, coefficients)
    images = np.broadcast_to(values.reshape(-1, 1, 1, 1), (count, 3, 4, 2)).astype(np.float32)
    stack = stack_of(images, positions)
    for t in np.linspace(0, count - 1, 17):
        truth = np.polynomial.polynomial.polyval(stack.z_at(float(t)), coefficients)
        assert interpolate_slices(stack, float(t), "cubic") == pytest.approx(truth, abs=FLOAT32)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_cubic_weights_add_to_one_and_pick_measured_slices(count):
    positions = UNEVEN[:count]
    assert cubic_weights(positions, 0.3).sum() == pytest.approx(1.0, abs=1e-12)
    for k in range(count):
        assert cubic_weights(positions, float(positions[k])) == pytest.approx(np.eye(count)[k], abs=1e-12)


def test_cubic_weights_half_way_in_a_long_even_stack_by_hand():
    # a spline that is 1 on one slice and 0 on all others has slopes d, z d, z^2 d.. after it, z = sqrt(3) - 2 and
    # d = (z^2 - 1) sqrt(3) / 2 = -0.803848; half-way it is the mean plus an eighth of the difference of the slopes:
    # 1 / 2 - d / 8 = 0.600481, then (d - z d) / 8 = -0.127405, then z times that
    weights = cubic_weights(np.arange(40.0), 19.5)
    assert weights[20:23] == pytest.approx([0.600481, -0.127405, 0.034138], abs=1e-6)
    assert weights[19::-1][:3] == pytest.approx(weights[20:23], abs=1e-9)


def test_interpolate_cubic_is_its_weights_times_the_images():
    images = random_images(5)
    expected = sum(w * image for w, image in zip(cubic_weights(UNEVEN[:5], 1.1), images, strict=True))
    assert interpolate_cubic(images, UNEVEN[:5], 1.1) == pytest.approx(expected, abs=FLOAT32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (11, 11), (12, 13)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_stacks_of_many_channels_work_with_every_method(method, size, count):
    stack = stack_of(random_images(count, *size, channels=5), UNEVEN[:count])
    found = interpolate_slices(stack, 0.4 * (count - 1), method)
    assert found.shape == (*size, 5)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_flow_in_slices_too_small_for_it_is_linear():
    stack = stack_of(random_images(3, 11, 40), UNEVEN[:3])
    assert interpolate_slices(stack, 1.3, "flow") == pytest.approx(
        interpolate_slices(stack, 1.3, "linear"), abs=FLOAT32
    )


def test_flow_moves_what_linear_blurs():
    stack = stack_of(drifting_blobs(2, 5.0, 2.0))
    error = {
        method: np.abs(interpolate_slices(stack, 0.5, method) - blobs(2.5, 1.0))[10:-10, 10:-10].mean()
        for method in ("flow", "linear")
    }
    assert error["flow"] < error["linear"] / 10


def test_flow_runs_on_physical_positions():
    # t = 0.25 is a quarter of the way from 0 to 2 mm whatever lies elsewhere
    images = drifting_blobs(3, 4.0)
    uneven, even = (stack_of(images, places) for places in ([0.0, 2.0, 2.5], [0.0, 1.0, 2.0]))
    assert np.array_equal(interpolate_slices(uneven, 0.25, "flow"), interpolate_slices(even, 0.25, "flow"))


def test_given_flows_are_used_and_only_their_first_variant():
    stack = stack_of(drifting_blobs(2, 4.0))
    alone = interpolate_slices(stack, 0.5, "flow")
    assert np.array_equal(interpolate_slices(stack, 0.5, "flow", Flows(stack, flow="both")), alone)
    still = Flows(stack_of(np.stack([blobs()] * 2)), flow="stiff")  # says that nothing moves
    linear = interpolate_slices(stack, 0.5, "linear")
    assert interpolate_slices(stack, 0.5, "flow", still) == pytest.approx(linear, abs=FLOAT32)


@pytest.mark.parametrize("t", [-0.01, 6.01, float("nan")])
def test_a_coordinate_outside_the_stack_is_refused(t):
    with pytest.raises(ValueError, match=f"^t must lie .* 0 to 6, got {t}; choose t in that range$"):
        interpolated(random_images(7), UNEVEN, t, "linear")
