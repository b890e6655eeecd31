import threading

import pytest
from qtpy import API_NAME
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication

import medgs_core as medgs
import medgs_core.rasterize
from medgs_napari._help import help_dialog
from medgs_napari._machine import COMPILING, MachineNote, machine_text

from .conftest import needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("qapp", "complaints")]

TIMEOUT = 60_000
REPORT = medgs.MachineReport({"python": "3.11", "device cpu": "2 cores"}, True)


@pytest.fixture
def note(qapp):
    """Return the part of a help window that tells of the machine."""
    dialog = help_dialog("train.md")
    dialog.show()
    yield dialog.findChild(MachineNote)
    if isalive(dialog):
        dialog.close()


def told(qtbot, note):
    qtbot.waitUntil(note.examine.isEnabled, timeout=TIMEOUT)
    return note.text.toPlainText()


def test_the_help_window_tells_what_the_doctor_does_and_copies_it(qtbot, note, monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    def slow():
        asked.set()
        assert answer.wait(30)
        return REPORT

    monkeypatch.setattr(medgs, "examine_machine", slow)
    assert note.text.isHidden()
    note.examine.click()  # comes back although the examination does not
    assert asked.wait(30)
    assert COMPILING in note.text.toPlainText()
    assert not note.examine.isEnabled()
    assert note.copy.isHidden()
    answer.set()
    text = told(qtbot, note)
    assert text == machine_text(REPORT)
    assert text.splitlines()[:2] == ["python: 3.11", "device cpu: 2 cores"]
    assert API_NAME in text.splitlines()[2]
    note.copy.click()
    assert QApplication.clipboard().text() == text


def test_the_real_report_names_versions_and_a_rendering(qtbot, note, monkeypatch):
    describe = medgs_core.rasterize.describe_devices
    monkeypatch.setattr("medgs_core.rasterize.describe_devices", lambda build: describe())  # compiling takes minutes
    note.examine.click()
    lines = dict(line.split(": ", 1) for line in told(qtbot, note).splitlines())
    assert {"torch", "napari", "device cpu"} <= set(lines)
    assert "forward and backward" in lines["rendering"]


def test_what_goes_wrong_is_a_sentence_and_the_button_stays(qtbot, note, monkeypatch, complaints):
    def fail():
        raise OSError("no processor")

    monkeypatch.setattr(medgs, "examine_machine", fail)
    note.examine.click()
    assert "no processor" in told(qtbot, note)
    assert len(complaints) == 1
    assert note.copy.isHidden()


def test_a_window_that_is_closed_meanwhile_is_left_alone(qtbot, note, monkeypatch, complaints):
    answer, ticker = threading.Event(), note._ticker
    monkeypatch.setattr(medgs, "examine_machine", lambda: REPORT if answer.wait(30) else None)
    note.examine.click()
    (job,) = ticker._jobs
    note.window().close()
    qtbot.waitUntil(lambda: not isalive(note), timeout=TIMEOUT)
    answer.set()
    qtbot.waitUntil(lambda: not job.running, timeout=TIMEOUT)  # what goes wrong in the window then fails the test
    assert complaints == []
