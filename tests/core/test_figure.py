import errno
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from medgs_core.figure import DOTS_PER_INCH, SIZE, Picture, Prediction, save_picture

MEANS = {"nearest": 24.0, "linear": 30.0, "ours": 31.0}


def panel(height=30, width=25, seed=0):
    return np.random.default_rng(seed).random((height, width), dtype=np.float32)


@pytest.fixture
def picture():
    truth = panel()
    return Picture(
        title="A title",
        subtitle="what it is of",
        between=[("before", panel(seed=1)), ("between", panel(seed=2)), ("after", panel(seed=3))],
        through=[("measured", panel(6, 30), 2.0), ("rendered", panel(24, 30), 0.5)],
        held_out="held out",
        truth=truth,
        predictions=[Prediction(name, truth * np.float32(0.9), 30.0) for name in ("linear", "flow", "ours")],
        means=MEANS,
    )


def drawn(picture, path):
    save_picture(picture, path)
    return cv2.imread(str(path))


def test_picture_has_its_size_and_nothing_at_its_margins(picture, tmp_path):
    pixels = drawn(picture, tmp_path / "a.png")
    assert pixels.shape == (round(SIZE[1] * DOTS_PER_INCH), round(SIZE[0] * DOTS_PER_INCH), 3)
    edge = 20
    frame = np.concatenate(
        [part.reshape(-1, 3) for part in (pixels[:edge], pixels[-edge:], pixels[:, :edge], pixels[:, -edge:])]
    )
    assert (frame == pixels[0, 0]).all()
    assert (pixels != pixels[0, 0]).any()


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "Another"},
        {"truth": panel(seed=9)},
        {"means": {**MEANS, "ours": 25.0}},
        {"through": [("measured", panel(6, 30, 7), 2.0), ("rendered", panel(24, 30), 0.5)]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_everything_given_is_seen(picture, tmp_path, changed):
    before = drawn(picture, tmp_path / "a.png")
    assert (drawn(replace(picture, **changed), tmp_path / "b.png") != before).any()


def test_perfect_predictions_can_be_drawn(picture, tmp_path):
    perfect = [Prediction("ours", picture.truth, float("inf"))]
    assert drawn(replace(picture, predictions=perfect), tmp_path / "a.png") is not None


def test_full_disk_leaves_no_picture(picture, tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match="No space left"):
        save_picture(picture, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_drawing_loads_no_pyplot_and_importing_no_matplotlib(tmp_path):
    probe = """
import sys, numpy
from medgs_core.figure import Picture, Prediction, save_picture
print("matplotlib" in sys.modules)
plane = numpy.eye(9, dtype="f4")
between, through = [("", plane)] * 3, [("", plane, 0.2)] * 2
save_picture(Picture("", "", between, through, "", plane, [Prediction("", plane, 1.0)], {"": 1.0}), sys.argv[1])
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    words = [sys.executable, "-c", probe, tmp_path / "a.png"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
