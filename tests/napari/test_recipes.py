import shlex
from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Image

import medgs_core as medgs
from medgs_core.cli import main
from medgs_napari._fit_task import FitTask, order_fit
from medgs_napari._jobs import Job
from medgs_napari._layers import pick
from medgs_napari._recipes import FitRecipe, Input, RenderRecipe, changed_settings
from medgs_napari._sample_data import brain_mri

QUICK = {"preset": "fast", "steps": 12, "gaussians": 400, "seed": 3, "skip": (5,)}


def test_only_what_differs_from_the_defaults_is_written():
    assert changed_settings(medgs.FitConfig(axis="2", seed=0)) == {"axis": "2"}
    assert changed_settings(medgs.RenderConfig(factor=4)) == {"factor": 4}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return the recipe and the model of a fit of the sample, as the dock fits it, and the saved model's path."""
    ((data, settings, _),) = brain_mri()
    layer = Image(data, **settings)
    order = order_fit("", (pick(layer),), medgs.FitConfig(**QUICK), factor=4, seconds=1.0)
    job = Job(FitTask(order, lambda: None, lambda: None))
    job.start()
    job.wait()
    outcomes = []
    job.ended.connect(outcomes.append)
    job.poll()
    path = tmp_path_factory.mktemp("models") / "dock.medgs"
    medgs.save_model(outcomes[0].result.model, path)
    return order.recipe, outcomes[0].result.model, path


def test_copied_python_fits_the_same_model(fitted, tmp_path, capsys):
    recipe, model, _ = fitted
    path = str(tmp_path / "again.medgs")
    exec(compile(recipe.python(path), "recipe", "exec"), {})
    assert medgs.model_hash(medgs.load_model(path)) == medgs.model_hash(model)


def test_copied_command_fits_the_same_model(fitted, tmp_path, capsys):
    recipe, model, _ = fitted
    path = str(tmp_path / "again.medgs")
    words = shlex.split(recipe.command(path))
    assert words[0] == "medgs"
    assert main([*words[1:], "--quiet"]) == 0
    assert medgs.model_hash(medgs.load_model(path)) == medgs.model_hash(model)


def test_copied_text_fits_the_same_labels(fitted, tmp_path, monkeypatch, capsys):
    recipe, model, _ = fitted
    monkeypatch.chdir(tmp_path)
    labels = np.zeros(model.volume.shape3d, np.uint8)
    labels[20:30, 20:30, ::6] = 4
    painted = replace(model.volume, voxels=labels, slope=1.0, intercept=0.0)
    medgs.write_volume(painted, "my_labels.nii.gz")
    wanted = medgs.model_hash(medgs.fit_labels(model, medgs.read_volume("my_labels.nii.gz")))
    with_labels = replace(recipe, labels=Input("my labels"))
    text, command = with_labels.python(), with_labels.command()
    for one in (text, command):
        assert "# save the labels with File > Save Selected Layers as my_labels.nii.gz" in one
    exec(compile(text, "recipe", "exec"), {})
    assert medgs.model_hash(medgs.load_model("model.medgs")) == wanted
    assert main([*shlex.split(command.splitlines()[-1])[1:], "--quiet"]) == 0
    assert medgs.model_hash(medgs.load_model("model.medgs")) == wanted


def test_an_image_without_a_file_is_taken_from_the_model(fitted, tmp_path, capsys):
    _, model, path = fitted
    recipe = FitRecipe((Input("edited image"),), {**QUICK, "axis": "2"})
    text = recipe.python(str(path))
    assert "# 'edited image' did not come from a file as it is: the model remembers what was fitted" in text
    assert "once it is saved as model.medgs" in recipe.python()
    exec(compile(text, "recipe", "exec"), {})
    assert medgs.model_hash(medgs.load_model(path)) == medgs.model_hash(model)
    assert recipe.command().splitlines() == [
        "# save the image with File > Save Selected Layers as edited_image.nii.gz",
        "medgs fit edited_image.nii.gz --preset fast --steps 12 --gaussians 400 --seed 3 --skip 5 --axis 2 "
        "-o model.medgs",
    ]


def test_two_images_are_combined():
    recipe = FitRecipe((Input("a", "a b.nii"), Input("b", "b.nii")), {"axis": "2"})
    assert "medgs.combine_volumes(medgs.read_volume('a b.nii'), medgs.read_volume('b.nii'))" in recipe.python()
    assert recipe.command() == "medgs fit 'a b.nii' --with b.nii --axis 2 -o model.medgs\n"


def test_volumes_of_one_series_need_python():
    recipe = FitRecipe((Input("a", "a.nii", 0), Input("b", "a.nii", 1)), {})
    assert "volume=1" in recipe.python()
    assert recipe.command().startswith("# `medgs fit` takes the same volume of every file")


@pytest.mark.parametrize("uncertainty", [False, True])
def test_copied_rendering_renders_the_same(fitted, tmp_path, monkeypatch, capsys, uncertainty):
    _, model, path = fitted
    monkeypatch.chdir(tmp_path)
    config = medgs.RenderConfig(positions=(2.0, 2.5, 3.0), detail="on")
    recipe = RenderRecipe(changed_settings(config), uncertainty=uncertainty)
    render = medgs.render_uncertainty if uncertainty else medgs.render_volume
    wanted = render(model, config).voxels
    exec(compile(recipe.python(str(path)), "recipe", "exec"), {})
    assert (medgs.read_volume("fine.nii.gz").voxels == wanted).all()
    assert main([*shlex.split(recipe.command(str(path)))[1:], "--quiet"]) == 0
    assert (medgs.read_volume("uncertainty.nii.gz" if uncertainty else "fine.nii.gz").voxels == wanted).all()


def test_a_rendering_of_two_images_writes_both():
    recipe = RenderRecipe({"isotropic": True}, images=2)
    assert "medgs.split_volume(volume)" in recipe.python("m.medgs")
    assert recipe.command("m.medgs") == "medgs render m.medgs -o fine.nii.gz --with fine_1.nii.gz --isotropic\n"


def test_a_stream_into_folders_is_copied_as_one():
    one, two = RenderRecipe({"factor": 4}, streamed=True), RenderRecipe({"factor": 4}, images=2, streamed=True)
    assert 'medgs.stream_volume(model, "fine.ome.zarr", factor=4).fill_all()'.replace('"', "'") in one.python("m.medgs")
    assert "medgs.stream_volume(model, ['fine.ome.zarr', 'fine_1.ome.zarr'], factor=4)" in two.python("m.medgs")
    assert two.command("m.medgs") == "medgs render m.medgs -o fine.ome.zarr --with fine_1.ome.zarr --factor 4\n"


@pytest.mark.parametrize(
    ("name", "file"),
    [("-x /\n🧠", "x.nii.gz"), ("a/b", "a_b.nii.gz"), ("..", "image.nii.gz"), ("a" * 300, "a" * 80 + ".nii.gz")],
)
def test_any_name_of_a_layer_becomes_a_file_name_that_is_no_option(name, file):
    recipe = FitRecipe((Input(name),), {})
    assert recipe.command().splitlines()[-1].startswith(f"medgs fit {file} ")
    compile(recipe.python(), "recipe", "exec")


@pytest.mark.parametrize(("films", "alone"), [(2, False), (1, True)])
def test_a_part_of_a_layer_has_python_but_no_command(scan, films, alone):
    picked = pick(Image(np.stack([scan] * films), name="film"), 1)
    recipe = order_fit("", (picked,), medgs.FitConfig(), factor=2, seconds=1.0).recipe
    assert recipe.inputs[0].alone is alone
    assert recipe.command().startswith("# `medgs fit` needs a file of what was fitted") is not alone
    assert "# 'film' did not come from a file as it is" in recipe.python()
