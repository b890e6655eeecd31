import re
from pathlib import Path

import pytest
import torch

import medgs_core.doctor
import medgs_core.rasterize
from medgs_core.cli import main
from medgs_core.doctor import STACK, examine_machine


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch):
    """Compiling gsplat takes minutes, and has tests of its own."""
    describe = medgs_core.rasterize.describe_devices
    monkeypatch.setattr("medgs_core.rasterize.describe_devices", lambda build: {**describe(), "asked": str(build)})


def test_report_names_versions_devices_threads_and_a_rendering():
    report = examine_machine()
    assert report.healthy
    assert set(STACK) <= set(report.facts)
    assert report.facts["torch"] == torch.__version__
    assert report.facts["threads"].startswith(f"torch {torch.get_num_threads()}")
    assert {"device cpu", "device cuda", "device gsplat"} <= set(report.facts)
    assert report.facts["device asked"] == "True"
    assert re.search(r"forward and backward: \d+\.\d ms", report.facts["rendering"])
    assert Path(report.facts["kernel cache"]).is_dir()


def test_missing_distributions_are_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(medgs_core.doctor, "STACK", ("numpy", "no-such-distribution"))
    facts = examine_machine().facts
    assert facts["no-such-distribution"] == "not installed"
    assert facts["numpy"][0].isdigit()


def test_variables_that_steer_threads_are_shown(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert "OMP_WAIT_POLICY=passive" in examine_machine().facts["environment"]


def test_failing_part_is_a_line_of_the_report(monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError("no\nkernels")

    monkeypatch.setattr("medgs_core.rasterize.rasterize_splats", fail)
    report = examine_machine()
    assert not report.healthy
    assert report.facts["rendering"] == "FAILED: OSError: no kernels"
    assert main(["doctor"]) == 1
    assert "no kernels" in capsys.readouterr().out


def test_rendering_of_nothing_is_a_failure(monkeypatch):
    draw = medgs_core.rasterize.rasterize_splats

    def nothing(*words):
        weighted, weight = draw(*words)
        return weighted * 0.0, weight * 0.0

    monkeypatch.setattr("medgs_core.rasterize.rasterize_splats", nothing)
    assert "empty" in examine_machine().facts["rendering"]


def test_command_prints_the_report(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^torch +\d", said, re.MULTILINE)
    assert re.search(r"^rendering +1000 splats", said, re.MULTILINE)
