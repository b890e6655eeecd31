import math
import threading

import pytest
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtWidgets import QTextBrowser, QWidget

from medgs_napari._curve import FitCurve
from medgs_napari._help import docs_folder, help_dialog
from medgs_napari._jobs import Job
from medgs_napari._qt import StillBar, at_the_end, button, note
from medgs_napari._ticker import Relay, Ticker

from .conftest import needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("qapp")]


@pytest.fixture
def owner(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


def test_a_job_is_polled_until_it_has_ended(qtbot, owner):
    ticker, heard = Ticker(owner), []
    job = Job(lambda job: "done")
    job.ended.connect(heard.append)
    ticker.follow(job)
    qtbot.waitUntil(lambda: heard != [])
    assert heard[0].result == "done"
    assert not ticker._timer.isActive()


def test_that_a_job_has_ended_is_heard_at_once_and_once(qtbot, owner):
    ticker, heard = Ticker(owner, milliseconds=1_000_000), []
    job = Job(lambda job: "done")
    job.ended.connect(heard.append)
    ticker.follow(job)
    qtbot.waitUntil(lambda: heard != [])
    qtbot.wait(50)
    assert [outcome.result for outcome in heard] == ["done"]


def test_a_program_that_ends_stops_its_jobs(qtbot, owner):
    def work(job):
        while True:
            job.checkpoint()

    ticker, job = Ticker(owner), Job(work)
    ticker.follow(job)
    ticker.stop()
    assert job.wait(5)
    qtbot.waitUntil(lambda: not ticker._timer.isActive())


def test_a_ticker_goes_with_its_owner_once_its_jobs_have_ended(qtbot):
    owner, goes_on, heard = QWidget(), threading.Event(), []
    ticker, job = Ticker(owner), Job(lambda job: goes_on.wait(20))
    job.ended.connect(heard.append)
    ticker.follow(job)
    owner.deleteLater()
    qtbot.wait(50)
    assert isalive(ticker)
    goes_on.set()
    qtbot.waitUntil(lambda: not isalive(ticker))
    assert heard[0].result is True


def test_a_relay_calls_in_the_thread_of_the_window(qtbot):
    places = []
    relay = Relay(lambda: places.append(threading.current_thread()))
    thread = threading.Thread(target=relay)
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: places != [])
    assert places == [threading.current_thread()]


def test_what_goes_wrong_at_a_button_is_a_sentence_and_a_traceback_in_the_log(qtbot, complaints, caplog):
    made = button("Go", "", lambda: [][0])
    qtbot.addWidget(made)
    made.click()
    (sentence,) = complaints
    assert sentence.startswith("This should not have happened: IndexError: list index out of range;")
    assert "Traceback" in caplog.text


def test_a_name_in_a_note_is_no_markup(qtbot):
    label, text = note(), "got <b>scan</b> here"
    qtbot.addWidget(label)
    label.setWordWrap(False)
    label.setText(text)
    assert label.sizeHint().width() >= label.fontMetrics().horizontalAdvance(text)


@pytest.mark.parametrize("page", ["train.md", "interpolate.md"])
def test_help_shows_the_page_of_the_dock(qtbot, page):
    dialog = help_dialog(page)
    qtbot.addWidget(dialog)
    assert (docs_folder() / page).is_file()
    dialog.show()
    assert "Not for diagnosis" in dialog.findChild(QTextBrowser).toPlainText()


class TestCurve:
    @pytest.fixture
    def curve(self, qtbot):
        made = FitCurve()
        qtbot.addWidget(made)
        made.resize(300, 130)
        return made

    def pixels(self, curve):
        return curve.grab().toImage()

    def test_it_draws_what_it_is_told(self, curve):
        empty = self.pixels(curve)
        for step in range(1, 20):
            curve.add(step, 1.0 / step, (20.0, 22.0), math.nan, math.nan)
        begun = self.pixels(curve)
        curve.add(20, 0.05, (20.0, 22.0), 25.0, 21.0)
        scored = self.pixels(curve)
        assert empty != begun
        assert begun != scored
        curve.clear()
        assert self.pixels(curve) == empty

    def test_what_is_predicted_exactly_is_drawn_too(self, curve):
        curve.add(1, 0.5, (), math.inf, math.inf)
        line = self.pixels(curve)
        curve.add(1, 0.5, (math.inf,), math.inf, math.inf)
        assert self.pixels(curve) != line
        curve.checks, curve.ours, curve.linear = (), math.inf, 20.0
        assert self.pixels(curve) != line

    def test_a_step_that_is_told_again_is_drawn_once(self, curve):
        for loss in (0.5, 0.4, math.nan, 0.0):
            curve.add(3, loss, (), math.nan, math.nan)
        assert curve.losses == [(3, 0.5)]


def test_a_bar_stands_still_until_it_is_known_how_far_a_job_is(qtbot):
    bar = StillBar()
    qtbot.addWidget(bar)
    assert (bar.value(), bar.maximum(), bar.text()) == (0, 1, "0%")
    assert not bar.isTextVisible()
    bar.progress(3, 12, "step 3 of 12")
    assert (bar.value(), bar.maximum(), bar.text()) == (3, 12, "step 3 of 12")
    assert bar.isTextVisible()
    bar.progress(5, 0)
    assert (bar.value(), bar.maximum()) == (0, 1)


def test_a_bar_is_drawn_once_for_all_that_changes(qtbot, monkeypatch):
    drawn, paint = [], StillBar.paintEvent

    def paint_counted(bar, event):
        drawn.append(bar.value())
        paint(bar, event)

    monkeypatch.setattr(StillBar, "paintEvent", paint_counted)
    bar = StillBar()
    qtbot.addWidget(bar)
    bar.show()
    qtbot.waitExposed(bar)
    qtbot.wait(50)
    drawn.clear()
    bar.progress(3, 12, "step 3 of 12")
    qtbot.wait(50)
    assert drawn == [3]


class Canvas:
    """Is drawn again by what Qt has deleted."""

    changed = Signal()

    def __init__(self):
        self.drawn = 0
        self.changed.connect(self.draw)

    def draw(self):
        self.drawn += 1
        raise RuntimeError("wrapped C/C++ object has been deleted")


@pytest.mark.parametrize("way", [Canvas.draw, lambda canvas: canvas.changed.emit()], ids=["itself", "by a signal"])
def test_what_a_dock_does_at_its_end_may_come_after_that_of_the_canvas(qtbot, way):
    canvas, dock = Canvas(), QWidget()
    at_the_end(dock, lambda: way(canvas))
    dock.deleteLater()
    qtbot.waitUntil(lambda: canvas.drawn == 1)
