import pytest

from medgs_napari._level_choice import LevelChoice


@pytest.fixture
def level(qtbot):
    one = LevelChoice()
    qtbot.addWidget(one)
    return one


@pytest.mark.parametrize(
    ("low", "high", "first", "begin"),
    [
        (0, 1, 0.5000001, 0.5),
        (12.3, 3456.7, 789.123, 790),
        (-1e-5, 2e-5, 1.23456e-6, 1.2e-6),
        (0, 1e6, 1234.5, 1200),  # rounded to a thousand it would be another surface
        (30_000, 30_001, 30_000.123, 30_000.12),
    ],
)
def test_a_level_begins_at_a_number_of_few_digits(level, low, high, first, begin):
    level.offer(low, high, first)
    assert level.value() == begin


def test_the_slider_gives_few_digits_and_the_number_is_written_without_ending_zeros(level, qtbot):
    level.offer(0.0, 3000.0, 1500.0)
    with qtbot.waitSignal(level.valueChanged) as heard:
        level.slider.setValue(1234.567)
    assert heard.args == [1230.0]
    assert level.number.text() == "1230"
    level.offer(0.0, 1.0, 0.5)
    assert level.number.text() == "0.5"


def test_a_typed_number_counts_beyond_the_range_of_the_sample(level, qtbot):
    level.offer(0.0, 100.0, 50.0)
    heard = []
    level.valueChanged.connect(heard.append)
    level.number.selectAll()
    qtbot.keyClicks(level.number, "250.125")
    assert heard == []
    qtbot.keyClick(level.number, "\r")
    assert heard == [250.125]
    assert level.value() == level.slider.value() == 250.125
    assert level.slider.maximum() >= 250.125
    level.setValue(-7)
    assert level.slider.minimum() == -7


def test_another_image_gets_a_range_of_its_own_and_nothing_is_told(level):
    level.offer(0.0, 100.0, 50.0)
    level.setValue(250.0)
    heard = []
    level.valueChanged.connect(heard.append)
    level.offer(0.0, 1.0, 0.5)
    assert (level.slider.minimum(), level.slider.maximum(), level.value(), heard) == (0.0, 1.0, 0.5, [])
