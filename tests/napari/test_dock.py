import pytest
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication, QWidget

from medgs_napari._dock import CopyButtons, JobPanel
from medgs_napari._jobs import Job
from medgs_napari._qt import button
from medgs_napari._ticker import Ticker

from .conftest import needs_display

pytestmark = [needs_display, pytest.mark.usefixtures("qapp")]

TIMEOUT = 20_000


@pytest.fixture
def panel(qtbot):
    owner = QWidget()
    made = JobPanel(Ticker(owner, stops=True, milliseconds=5), [button("Go", "", lambda: None)], "End it.")
    made.setParent(owner)
    owner.show()
    yield made
    if isalive(owner):
        owner.close()
        owner.deleteLater()


def finished(qtbot, panel):
    qtbot.waitUntil(lambda: panel.job is None, timeout=TIMEOUT)


def wait_to_be_ended(job):
    while True:
        job.step(1, 3, "looking around")


def test_while_a_job_runs_it_can_be_ended_and_no_other_begun(qtbot, panel):
    (action,), outcomes = panel._actions, []
    assert panel.cancel.isHidden()
    panel.begin(Job(wait_to_be_ended), outcomes.append)
    assert action.isHidden()
    assert panel.bar.isVisible()
    qtbot.waitUntil(lambda: panel.status.text() == "Looking around …", timeout=TIMEOUT)
    assert (panel.bar.value(), panel.bar.maximum()) == (1, 3)
    panel.cancel.click()
    assert panel.status.text() == "Stopping …"
    finished(qtbot, panel)
    assert [one.result for one in outcomes] == [None]
    assert action.isVisible()
    assert panel.cancel.isHidden()
    assert panel.status.isHidden()


def test_an_error_is_told_and_handed_on(qtbot, panel, complaints):
    def fail(job):
        raise ValueError("a rule, what came, the remedy")

    outcomes = []
    panel.begin(Job(fail), outcomes.append)
    finished(qtbot, panel)
    assert complaints == ["a rule, what came, the remedy"] == [one.error for one in outcomes]


def test_a_mistake_in_what_follows_is_told(qtbot, panel, complaints):
    def follow(outcome):
        raise ValueError(f"{outcome.result} is not enough")

    panel.begin(Job(lambda job: 3), follow)
    finished(qtbot, panel)
    assert complaints == ["3 is not enough"]


def test_a_panel_that_is_gone_hears_of_nothing(qtbot, panel):
    outcomes = []
    job = Job(wait_to_be_ended)
    panel.begin(job, outcomes.append)
    panel.deleteLater()
    panel.parent().deleteLater()
    qtbot.waitUntil(lambda: job.cancelled and not job.running, timeout=TIMEOUT)
    assert outcomes == []


def test_text_is_made_when_it_is_copied(qtbot, monkeypatch):
    buttons, path = CopyButtons("does the same"), ["unsaved"]
    qtbot.addWidget(buttons)
    assert buttons.isHidden()
    buttons.offer(lambda: f"load({path[0]!r})", lambda: f"load {path[0]}")
    path[0] = "saved"
    buttons.python.click()
    assert QApplication.clipboard().text() == "load('saved')"
    buttons.command.click()
    assert QApplication.clipboard().text() == "load saved"
    buttons.withdraw()
    assert buttons.isHidden()
