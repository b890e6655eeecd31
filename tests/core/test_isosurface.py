import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medgs_core.isosurface import CroppedMargin, compare_fields, partition_fields, trace_border
from medgs_core.lattice import build_lattice
from medgs_core.mesh import Surface

from ._shapes import scan


def planes_in(values):
    """Return the function that samples a field given on the slices, linear between them."""

    def render(t):
        k = min(int(t), max(len(values) - 2, 0))
        share = np.float32(t - k)
        return (values[k] * (1 - share) + values[min(k + 1, len(values) - 1)] * share)[..., np.newaxis]

    return render


def trace(values, spacing=1.0, gaps=(4.0, 1.0, 1.0)):
    """Return the surface of a field on the slices, None where it is positive nowhere."""
    lattice = build_lattice(scan(*values.shape, spacing=gaps), 0, spacing)
    partition = partition_fields(planes_in(values), lattice)
    return None if partition.margins[0].is_empty else Surface(*trace_border(partition, 0))


def edge_counts(surface):
    """Return how many faces each edge has, and how often each direction of it."""
    ends = surface.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    _, either = np.unique(np.sort(ends, axis=1), axis=0, return_counts=True)
    _, directed = np.unique(ends, axis=0, return_counts=True)
    return either, directed


def assert_closed(surface):
    either, directed = edge_counts(surface)
    assert set(either) == {2}
    assert set(directed) == {1}
    assert surface.volume > 0
    # points apart even in float32, which STL and glTF hold
    assert len(np.unique(surface.vertices.astype(np.float32), axis=0)) == len(surface.vertices)


@pytest.mark.parametrize("blur", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("coarse", [False, True])
def test_random_fields_close_with_no_triangle_lost(blur, coarse):
    generator = np.random.default_rng(0)
    for _ in range(12):
        values = gaussian_filter(generator.standard_normal(generator.integers(1, 12, 3)), blur)
        values /= np.abs(values).max()
        values = np.round(values, 1) if coarse else values  # full of zeros and ties
        surface = trace(values.astype(np.float32), spacing=float(generator.choice([0.7, 1.0, 2.3])))
        if surface:
            assert_closed(surface)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sheet_of_one_sample_closes(axis):
    values = np.full((7, 8, 9), -1.0, np.float32)
    np.moveaxis(values, axis, 0)[3] = 1.0
    assert_closed(trace(values))


def test_wire_and_single_sample_close():
    values = np.full((7, 8, 9), -1.0, np.float32)
    values[3, 4, :] = 1.0
    values[1, 1, 1] = 1.0
    surface = trace(values)
    assert_closed(surface)
    assert (surface.components, surface.genus) == (2, 0)


def test_samples_that_touch_at_corners_close():
    checkers = np.indices((5, 6, 7)).sum(axis=0) % 2 * 2.0 - 1.0
    assert_closed(trace(checkers.astype(np.float32)))


def test_field_of_exact_zeros_and_ones_closes():
    values = np.full((7, 8, 9), -1.0, np.float32)
    values[2:5, 2:6, 2:7] = 0.0
    values[3, 3:5, 3:6] = 1.0
    assert_closed(trace(values))


def test_field_positive_everywhere_is_the_box_of_the_volume():
    surface = trace(np.ones((3, 4, 5), np.float32))
    assert_closed(surface)
    np.testing.assert_array_equal(surface.vertices.min(axis=0), [-0.5, -0.5, -2.0])
    np.testing.assert_array_equal(surface.vertices.max(axis=0), [4.5, 3.5, 10.0])
    assert surface.volume == pytest.approx(12 * 4 * 5, rel=1e-12)
    assert surface.area == pytest.approx(2 * (12 * 4 + 12 * 5 + 4 * 5), rel=1e-12)


def test_one_voxel_is_a_box():
    surface = trace(np.ones((1, 1, 1), np.float32))
    assert_closed(surface)
    assert surface.volume == pytest.approx(4.0, rel=1e-12)


def test_no_vertex_leaves_the_volume():
    values = gaussian_filter(np.random.default_rng(1).standard_normal((6, 9, 11)), 1.0).astype(np.float32)
    surface = trace(values, spacing=0.6)
    assert np.all(surface.vertices >= [-0.5, -0.5, -2.0])
    assert np.all(surface.vertices <= [10.5, 8.5, 22.0])


def test_plane_between_samples_is_found_exactly():
    _, _, x = np.indices((3, 4, 8), dtype=np.float32)
    surface = trace((2.3125 - x) / 8)  # exact in half precision
    assert surface.vertices[:, 0].max() == pytest.approx(2.3125, abs=1e-6)
    assert surface.volume == pytest.approx((2.3125 + 0.5) * 4 * 12, rel=1e-6)


def test_only_what_surrounds_the_inside_is_kept():
    field = CroppedMargin()
    for k in range(9):
        plane = np.full((50, 60), -1.0, np.float16)
        if k in (4, 5):
            plane[20 + k, 30:33] = 1.0
        field.add(plane)
    field.close()
    block, first = field.assemble()
    # slices 3 to 6, rows 23 to 26, columns 29 to 33, and a rim
    assert block.shape == (6, 6, 7)
    np.testing.assert_array_equal(first, [2, 22, 28])
    assert (block > 0).sum() == 6


def test_cropping_changes_nothing():
    values = np.full((8, 30, 30), -1.0, np.float32)
    values[2:6, 10:20, 5:25] = gaussian_filter(np.random.default_rng(2).standard_normal((4, 10, 20)), 1.0)
    loose = values.copy()
    loose[0, 0, 0] = loose[-1, -1, -1] = 1.0  # the whole volume is kept
    tight, whole = trace(values), trace(loose)
    # two corners are cut off the volume in each octant's direction
    corners = trace(np.where(loose == values, np.float32(-1.0), loose))
    assert len(whole.faces) == len(tight.faces) + len(corners.faces)
    assert whole.volume == pytest.approx(tight.volume + corners.volume, rel=1e-5)


def test_kept_values_are_found_at_their_points():
    planes = np.random.default_rng(3).standard_normal((4, 6, 7)).astype(np.float16)
    field = CroppedMargin()
    for plane in planes:
        field.add(plane)
    field.close()
    inside = np.argwhere(planes > 0)[::-1]
    np.testing.assert_array_equal(field.at(inside), planes[tuple(inside.T)])


def test_signs_of_margins_say_who_wins_and_background_is_last():
    fields = np.array([[[0.5, 0.2, -1.0], [0.3, 0.3, 0.1], [-0.2, -0.1, -0.3], [0.0, -1.0, -1.0]]], np.float32)
    winner, margins = compare_fields(fields)
    np.testing.assert_array_equal(winner, [[0, 0, 3, 0]])  # the first one at ties
    np.testing.assert_allclose(margins[:, 0, 0], [0.3, -0.3, -1.5, -0.5])
    np.testing.assert_allclose(margins[:, 0, 1], [0.0, 0.0, -0.2, -0.3])
    np.testing.assert_allclose(margins[:, 0, 2], [-0.2, -0.1, -0.3, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(~np.signbit(margins), winner == np.arange(4)[:, np.newaxis, np.newaxis])


def test_every_slice_is_rendered_once_and_reported():
    values, heard, rendered = np.ones((3, 4, 5), np.float32), [], []
    lattice = build_lattice(scan(3, 4, 5), 0, 1.0)
    render = planes_in(values)

    def noting(t):
        rendered.append(t)
        return render(t)

    partition_fields(noting, lattice, report=lambda done, total: heard.append((done, total)))
    assert sorted(rendered) == lattice.coordinates.tolist()
    assert heard == [(k + 1, 13) for k in range(13)]


def test_field_negative_everywhere_is_empty():
    assert trace(np.full((3, 4, 5), -1.0, np.float32)) is None
