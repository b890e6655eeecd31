import re

import pytest

import medgs_core as medgs
from medgs_napari._names import named_as_shown


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "hide should be at most 2, got 9; hide fewer",
            "Slices kept for a test should be at most 2, got 9; hide fewer.",
        ),
        (
            "Labeled slices must hold labels, got 3; leave it out.",
            "Slices that count must hold labels, got 3; leave it out.",
        ),
        ("hidden slices must be inside, got 0; correct it", "hidden slices must be inside, got 0; correct it"),
    ],
)
def test_a_mistake_names_a_setting_as_the_form_does(said, told):
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"), named_as_shown(medgs.FitConfig, medgs.LabelConfig):
        raise ValueError(said)
