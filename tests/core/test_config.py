import pytest
from pydantic import ValidationError

from medgs_core.config import (
    EFFORTS,
    LARGEST_SEED,
    EvaluateConfig,
    FitConfig,
    ReadConfig,
    RenderConfig,
    SurfaceConfig,
)

USER_SETTINGS = (ReadConfig, FitConfig, RenderConfig, SurfaceConfig, EvaluateConfig)


@pytest.mark.parametrize(
    ("settings", "values", "sentence"),
    [
        (FitConfig, {"gaussians": -1}, "gaussians should be at least 1, got -1; "),
        (FitConfig, {"steps": 0}, "steps should be at least 1, got 0; "),
        (FitConfig, {"steps": 2.5}, "steps should be a whole number, got 2.5; "),
        (FitConfig, {"steps": "many"}, "steps should be a whole number, got 'many'; "),
        (FitConfig, {"axis": "7"}, "axis should be 'auto', '0', '1' or '2', got '7'; "),
        (FitConfig, {"preset": "slow"}, "preset should be 'fast', 'balanced' or 'quality', got 'slow'; "),
        (FitConfig, {"device": "tpu"}, "device should be 'auto', 'cpu' or 'cuda', got 'tpu'; "),
        (FitConfig, {"hide": -1}, "hide should be at least 0, got -1; "),
        (FitConfig, {"drift_degree": 4}, "drift_degree should be at most 3, got 4; "),
        (FitConfig, {"seed": LARGEST_SEED + 1}, f"seed should be at most {LARGEST_SEED}, got {LARGEST_SEED + 1}; "),
        (RenderConfig, {"factor": 0}, "factor should be at least 1, got 0; "),
        (RenderConfig, {"spacing": 0.0}, "spacing should be greater than 0, got 0.0; "),
        (RenderConfig, {"spacing": float("nan")}, "spacing should be a finite number, got nan; "),
        (RenderConfig, {"spacing": float("inf")}, "spacing should be a finite number, got inf; "),
        (RenderConfig, {"denoise": "maybe"}, "denoise should be a valid boolean, got 'maybe'; "),
        (RenderConfig, {"positions": (0, "a")}, "positions should be a number, got 'a'; "),
        (RenderConfig, {"positions": ()}, "positions should be longer, got (); "),
        (SurfaceConfig, {"spacing": 0.0}, "spacing should be greater than 0, got 0.0; "),
        (SurfaceConfig, {"level": float("nan")}, "level should be a finite number, got nan; "),
        (SurfaceConfig, {"faces": 3}, "faces should be at least 4, got 3; "),
        (SurfaceConfig, {"smooth": -1}, "smooth should be at least 0, got -1; "),
        (ReadConfig, {"volume": -1}, "volume should be at least 0, got -1; "),
        (ReadConfig, {"voxel_size": (1.0, 2.0)}, "voxel_size should be longer, got (1.0, 2.0); "),
        (ReadConfig, {"voxel_size": (1, 2, 3, 4)}, "voxel_size should be shorter, got (1, 2, 3, 4); "),
        (EvaluateConfig, {"stride": 1}, "stride should be at least 2, got 1; "),
    ],
)
def test_a_broken_rule_is_one_sentence_with_value_and_remedy(settings, values, sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the sentence is compared in full)
        settings(**values)
    assert str(caught.value) == sentence + "correct it or leave it out"


def test_the_largest_and_smallest_allowed_values_are_taken():
    assert FitConfig(steps=1, gaussians=1, hide=0, seed=LARGEST_SEED, drift_degree=3).seed == LARGEST_SEED
    assert RenderConfig(factor=1).factor == 1
    assert EvaluateConfig(stride=2).stride == 2


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^a setting should be one of stride, got strid=3; correct its name$"):
        EvaluateConfig(strid=3)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"factor": 2, "spacing": 1.0}, "factor and spacing"),
        ({"factor": 1, "isotropic": True}, "factor and isotropic"),
        ({"spacing": 0.5, "positions": (0.0,)}, "spacing and positions"),
        ({"factor": 2, "spacing": 1.0, "positions": (0.0,)}, "factor and spacing and positions"),
    ],
)
def test_sampling_options_exclude_one_another(values, named):
    with pytest.raises(ValueError, match=f"exclude one another, got {named}; give one of them$"):
        RenderConfig(**values)


@pytest.mark.parametrize("values", [{}, {"factor": 2}, {"spacing": 1}, {"isotropic": True}, {"positions": (0, 0.5)}])
def test_one_sampling_option_or_none_is_fine(values):
    config = RenderConfig(**values, denoise=True)
    assert {name: getattr(config, name) for name in values} == values


def test_label_and_level_exclude_one_another():
    with pytest.raises(ValueError, match=r"^label and level exclude one another, got label 2 and level 0.5; give one"):
        SurfaceConfig(label=2, level=0.5)


def test_the_only_sentence_is_about_the_first_problem():
    with pytest.raises(ValueError, match=r"^steps should be at least 1, got 0; correct it or leave it out$"):
        FitConfig(steps=0, gaussians=0)


def test_settings_are_frozen():
    config = FitConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 3


@pytest.mark.parametrize("settings", USER_SETTINGS)
def test_every_setting_has_a_default_and_a_help_text(settings):
    settings()
    for name, field in settings.model_fields.items():
        assert field.description, name
        assert not field.description.endswith("."), name  # they are fragments, as in command-line help


def test_each_preset_spends_more_than_the_one_before():
    fast, balanced, quality = (FitConfig(preset=name).effort for name in ("fast", "balanced", "quality"))
    for less, more in ((fast, balanced), (balanced, quality)):
        assert less.steps_per_slice < more.steps_per_slice
        assert less.pixels_per_gaussian > more.pixels_per_gaussian
        assert less.fewest_steps < more.fewest_steps
    assert set(EFFORTS) == {"fast", "balanced", "quality"}


def test_settings_survive_json():
    config = RenderConfig(positions=(0.0, 0.25, 1.0), detail="off")
    assert RenderConfig(**config.model_dump(mode="json")) == config
