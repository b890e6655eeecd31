"""What tests of fits share."""

import pytest

from medgs_core.fit import fit_model

from ._labeled import SLICES, drawn, moving_scan, quick


@pytest.fixture
def hear_every_step(monkeypatch):
    """Make a fit report after every step, not a few times per second."""
    monkeypatch.setattr("medgs_core.fit.REPORT_SECONDS", -1.0)


@pytest.fixture(scope="session")
def bare():
    """Fit a scan without labels."""
    return fit_model(moving_scan(), quick()).model


@pytest.fixture(scope="session")
def labeled():
    """Fit a scan with labels on some of its slices."""
    return fit_model(moving_scan(), quick(), labels=drawn()).model


@pytest.fixture(scope="session")
def alone():
    """Fit labels on all slices without a scan."""
    return fit_model(None, quick(), labels=drawn(range(SLICES))).model
