from dataclasses import replace

import numpy as np
import pytest

import medgs_core as medgs
from medgs_napari._runs import even_runs


def runs_at(model, *positions):
    return even_runs(model, medgs.RenderConfig(positions=positions))


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ((1, 2, 3), ["1, 2 .. 3"]),
        ((4,), ["4"]),
        ((1, 1.25, 1.5, 4, 7.5), ["1, 1.25 .. 1.5", "4", "7.5"]),
        ((0, 5, 6, 7), ["0", "5, 6 .. 7"]),
        ((0, 1, 3, 8), ["0, 1", "3", "8"]),  # 3 would be thicker than the gap to 1, were it a step of 5 from 8
        ((0, 2, 4, 5, 6, 8), ["0, 2", "4, 5 .. 6", "8"]),
        ((0, 0.1, 0.2, 0.3, 2), ["0, 0.1 .. 0.3", "2"]),
    ],
)
def test_slices_fall_into_runs_of_even_spacing(model, positions, expected):
    assert [run.words for run in runs_at(model, *positions)] == expected


def test_any_run_is_even_to_the_core_and_none_reaches_into_another(model):
    rng = np.random.default_rng(0)
    for _ in range(50):
        positions = np.sort(rng.choice(np.arange(33), rng.integers(2, 12), replace=False)) / 4
        runs = runs_at(model, *positions)
        assert np.concatenate([run.coordinates for run in runs]).tolist() == positions.tolist()
        ends = []
        for run in runs:
            sampling = medgs.sample_slices(model, run.config)
            assert sampling.positions is None
            half = (run.thickness or sampling.step) / 2
            ends += [run.coordinates[0] - half, run.coordinates[-1] + half]
        assert len(runs) == 1 or (np.diff(ends) > -1e-9).all()


def test_a_lone_slice_is_as_thick_as_the_gap_beside_it_and_no_thicker_than_a_measured_one(model):
    first, second, third = runs_at(model, 1, 1.25, 1.75, 7)[0], *runs_at(model, 1, 1.25, 1.75, 7)[1:]
    assert (first.thickness, second.thickness, third.thickness) == (None, pytest.approx(0.5), 1.0)


def test_names_of_files_tell_runs_apart(model):
    assert [run.file_words for run in runs_at(model, 1, 1.25, 1.5, 4.0001)] == [" at 1 to 1.5", " at 4.0001"]
    assert [run.file_words for run in runs_at(model, 1, 2)] == [""]


def test_a_volume_of_uneven_slices_falls_into_runs_in_the_world(model):
    z = np.array([0, 3, 6, 12, 15, 18, 21, 24, 27.0])
    uneven = replace(model, volume=replace(model.volume, positions=z))
    runs = even_runs(uneven, medgs.RenderConfig(factor=2))
    assert [run.words for run in runs] == ["0, 0.5 .. 2", "2.5", "3, 3.5 .. 8"]
    assert runs[1].thickness == 1.0
    assert len(even_runs(uneven, medgs.RenderConfig(spacing=1.0))) == 1
