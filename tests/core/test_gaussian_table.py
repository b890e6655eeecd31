"""The Gaussians as a table: where they stand in the file's voxels, what they show, and in which order they come."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medgs_core.fit import fit_model
from medgs_core.fold import fold_model
from medgs_core.gaussian_table import tabulate_gaussians
from medgs_core.label_fit import fit_labels
from medgs_core.rasterize import rasterize_splats
from medgs_core.volume import IntensityWindow

from ._labeled import IDS, drawn, moving_scan, quick, truth_at
from ._models import fitted, random_gaussians, random_voxels


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_positions_are_voxels_in_the_order_of_the_file(axis):
    model = fitted(axis=axis)
    table = tabulate_gaussians(model)
    assert len(table) == len(model.gaussians) == len(table.positions)
    first = int(np.argmin(np.abs(model.gaussians.center.numpy() - table.positions[0, axis])))
    seen = fold_model(model.gaussians, float(model.gaussians.center[first])).means.numpy()
    in_plane = [other for other in range(3) if other != axis]
    assert np.abs(seen[:, ::-1] - table.positions[0, in_plane]).sum(axis=1).min() < 1e-5


def test_a_bright_blob_is_where_its_gaussians_are():
    scan = moving_scan()
    table = tabulate_gaussians(fit_model(scan, quick()).model)
    inside = (table.positions > 0).all(axis=1) & (table.positions < np.array(scan.shape3d) - 1).all(axis=1)
    there = scan.voxels[tuple(np.rint(table.positions[inside]).astype(int).T)].astype(float)
    assert np.corrcoef(there, table.values[inside, 0])[0, 1] > 0.8


def test_the_weightiest_come_first():
    table = tabulate_gaussians(fitted(gaussians=random_gaussians(count=40)))
    assert np.all(np.diff(table.weights) <= 0)
    assert np.all(table.in_plane[:, 0] >= table.in_plane[:, 1])


def test_the_weight_is_the_opacity_that_is_rendered_in_all():
    one = replace(
        random_gaussians(count=1),
        position=torch.full((1, 2), 24.0),
        log_scale=torch.tensor([[0.4, 0.9]]),
        log_spread=torch.tensor([0.5]),
        center=torch.tensor([10.0]),
        drift=torch.zeros(1, 2, 2),
    )
    weights = [rasterize_splats(fold_model(one, float(t)), 48, 48, "sum")[1].sum().item() for t in range(6, 15)]
    rendered = 0.986  # of it; the rest lies more than three standard deviations from the center, where nothing is drawn
    assert rendered * tabulate_gaussians(fitted(gaussians=one)).weights[0] == pytest.approx(sum(weights), rel=2e-3)


def test_values_are_stored_values_of_each_channel():
    voxels = random_voxels("int16", (5, 6, 7, 2))
    gaussians = random_gaussians(channels=2)
    window = IntensityWindow((-10.0, 100.0), (90.0, 500.0))
    model = fitted(voxels, gaussians, window=window)
    table = tabulate_gaussians(model)
    unit = (table.values - [-10.0, 100.0]) / [100.0, 400.0]
    np.testing.assert_allclose(np.sort(unit, axis=0), np.sort(gaussians.intensity.numpy(), axis=0), atol=1e-6)


def test_skipped_slices_are_counted_along():
    gaussians = replace(random_gaussians(count=3), center=torch.tensor([0.0, 1.5, 2.0]), log_spread=torch.zeros(3))
    model = fitted(gaussians=gaussians, axis=0, skipped=(1, 3))  # seen are 0, 2, 4
    np.testing.assert_allclose(np.sort(tabulate_gaussians(model).positions[:, 0]), [0.0, 3.0, 4.0])


@pytest.mark.parametrize("skipped", [(), (1, 3)])
def test_centers_beyond_the_slices_stay_beyond_them(skipped):
    last = 4 - len(skipped)  # of those that were seen
    gaussians = replace(random_gaussians(count=2), center=torch.tensor([-0.5, last + 0.25]), log_spread=torch.zeros(2))
    positions = tabulate_gaussians(fitted(gaussians=gaussians, axis=0, skipped=skipped)).positions[:, 0]
    np.testing.assert_allclose(np.sort(positions), [-0.5, 4.25])


def test_labels_are_those_of_the_structures_that_gaussians_lie_in():
    model = fit_model(moving_scan(), quick()).model
    assert tabulate_gaussians(model).labels is None
    table = tabulate_gaussians(fit_labels(model, drawn()))
    assert set(np.unique(table.labels)) == {0, *IDS}
    height, width = truth_at(0).shape
    k, y, x = np.rint(table.positions).astype(int).T
    inside = (k >= 0) & (k < 9) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    true = np.array([truth_at(t)[row, column] for t, row, column in zip(k[inside], y[inside], x[inside], strict=True)])
    assert np.mean(true == table.labels[inside]) > 0.85
