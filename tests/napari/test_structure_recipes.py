import shlex

import numpy as np
import pytest

import medgs_core as medgs
from medgs_core.cli import main
from medgs_napari._recipes import FitRecipe, Input
from medgs_napari._structure_recipes import PAINTED, SAVE_MODEL, LabelRecipe, SurfaceRecipe

SETTINGS = {"labeled_slices": (2, 4, 6)}
FIT = {"preset": "fast", "steps": 20, "axis": "2"}


@pytest.fixture
def folder(model, tmp_path, monkeypatch):
    """Return a folder with an image, what was painted on it, and a model of it; it is the current one."""
    drawn = np.zeros(model.volume.shape3d, np.uint8)
    drawn[10:20, 10:25, 2:7:2] = 1
    medgs.write_volume(model.volume, tmp_path / "scan.nii.gz")
    medgs.write_volume(medgs.Volume(drawn, model.volume.affine, "mm"), tmp_path / PAINTED)
    medgs.save_model(model, tmp_path / "scan.medgs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_commands(text):
    for line in text.splitlines():
        if not line.startswith("#"):
            program, *arguments = shlex.split(line)
            assert program == "medgs"
            assert main([*arguments, "--quiet"]) == 0


def expected(model, folder, factor):
    labeled = medgs.fit_labels(model, medgs.read_volume(folder / PAINTED), medgs.LabelConfig(**SETTINGS))
    return medgs.render_volume(labeled, labels=True, factor=factor).voxels


def test_copied_python_propagates_the_same_labels(model, folder):
    exec(LabelRecipe(SETTINGS, factor=2, model_path="scan.medgs").python(), {})
    given = medgs.read_volume("labels.nii.gz").voxels
    np.testing.assert_array_equal(given, expected(model, folder, 2))
    assert medgs.load_model("scan.medgs").labels is not None


def test_copied_commands_propagate_the_same_labels(model, folder):
    fit = FitRecipe((Input("scan", "scan.nii.gz"),), FIT)
    run_commands(LabelRecipe(SETTINGS, fit, factor=2, model_path="scan.medgs").command())
    np.testing.assert_array_equal(medgs.read_volume("labels.nii.gz").voxels, expected(model, folder, 2))


def test_labels_alone_are_propagated_by_python_and_by_commands(folder):
    recipe = LabelRecipe({}, alone=True, alone_settings=FIT)
    exec(recipe.python(), {})
    by_python = medgs.read_volume("labels.nii.gz").voxels
    run_commands(recipe.command())
    np.testing.assert_array_equal(medgs.read_volume("labels.nii.gz").voxels, by_python)


def test_a_model_without_a_file_is_to_be_saved():
    assert SAVE_MODEL in LabelRecipe(SETTINGS).python()
    assert SAVE_MODEL in SurfaceRecipe({"label": 1}).python()
    assert SAVE_MODEL in SurfaceRecipe({"label": 1}).command()


def test_a_model_from_a_file_has_no_command_that_fits_it():
    assert LabelRecipe(SETTINGS, model_path="scan.medgs").command().startswith("# `medgs fit` needs the image")


@pytest.mark.parametrize("settings", [{"label": 1, "faces": 400}, {"smooth": 3}, {"level": 1500.0}])
def test_copied_text_extracts_the_same_surface(model, folder, capsys, settings):
    labeled = medgs.fit_labels(model, medgs.read_volume(PAINTED), medgs.LabelConfig(**SETTINGS))
    medgs.save_model(labeled, "both.medgs")
    recipe = SurfaceRecipe(settings)
    exec(recipe.python("both.medgs"), {})
    by_python = (folder / "surface.ply").read_bytes()
    run_commands(recipe.command("both.medgs"))
    assert (folder / "surface.ply").read_bytes() == by_python
    assert "True" in capsys.readouterr().out
