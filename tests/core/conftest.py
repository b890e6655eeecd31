"""What tests of fits share."""

import pytest


@pytest.fixture
def hear_every_step(monkeypatch):
    """Make a fit report after every step, not a few times per second."""
    monkeypatch.setattr("medgs_core.fit.REPORT_SECONDS", -1.0)
