from typing import get_args

import pytest

import medgs_core as medgs
from medgs_napari._fit_form import ADVANCED
from medgs_napari._forms import checked_settings, form_values, settings_form

pytestmark = pytest.mark.usefixtures("qapp")


@pytest.fixture
def form():
    return settings_form(medgs.FitConfig, ("preset", "device", *ADVANCED))


def test_a_form_at_its_defaults_is_the_default_config(form):
    assert medgs.FitConfig(**form_values(form, medgs.FitConfig)) == medgs.FitConfig()


def test_choices_ranges_and_help_are_those_of_the_config(form):
    fields = medgs.FitConfig.model_fields
    assert form["preset"].choices == get_args(fields["preset"].annotation)
    assert (form["seed"].min, form["seed"].max) == (0, 2**31 - 1)
    for widget in form:
        assert widget.tooltip.lower().rstrip(".") == fields[widget.name].description.lower()


def test_a_number_left_alone_is_left_to_the_core(form):
    assert form["steps"].native.placeholderText() == "automatic"
    assert "steps" not in form_values(form, medgs.FitConfig)
    form["steps"].value, form["hide"].value = "1", " 0"
    config = medgs.FitConfig(**form_values(form, medgs.FitConfig))
    assert (config.steps, config.hide) == (1, 0)
    form["steps"].value = "many"
    with pytest.raises(ValueError, match="steps should be"):
        medgs.FitConfig(**form_values(form, medgs.FitConfig))


def test_numbers_in_a_line_are_read_by_the_config(form):
    form["skip"].value = "12, 4"
    assert medgs.FitConfig(**form_values(form, medgs.FitConfig)).skip == (4, 12)
    form["skip"].value = "twelve"
    with pytest.raises(ValueError, match="skip should be"):
        medgs.FitConfig(**form_values(form, medgs.FitConfig))


def test_a_number_with_a_value_is_always_given():
    form = settings_form(medgs.RenderConfig, ("factor", "denoise", "detail"), {"factor": 4})
    assert form_values(form, medgs.RenderConfig) == {"factor": 4, "denoise": False, "detail": "auto"}
    assert form["factor"].min == 1


def test_a_length_left_alone_is_left_to_the_core():
    form = settings_form(medgs.SurfaceConfig, ("spacing",))
    assert form_values(form, medgs.SurfaceConfig) == {}
    form["spacing"].value = "0.5"
    assert medgs.SurfaceConfig(**form_values(form, medgs.SurfaceConfig)).spacing == 0.5


def test_fields_have_titles_and_mistakes_name_them(form):
    assert [widget.label for widget in form][-2:] == ["Bad slices to skip", "Random seed"]
    form["hide"].value = "-1"
    with pytest.raises(ValueError, match=r"^Slices kept for a test should be at least 0, got"):
        checked_settings(medgs.FitConfig, form_values(form, medgs.FitConfig))
    with pytest.raises(ValueError, match=r"^a setting should be one of"):
        checked_settings(medgs.FitConfig, {"haste": 1})
