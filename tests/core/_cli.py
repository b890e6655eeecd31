"""Scans for the command line, small enough to fit in a second, and how to run it."""

import subprocess
import sys

import numpy as np

from medgs_core.cli import main
from medgs_core.formats import write_volume
from medgs_core.phantom import drifting_phantom

SLICES, HEIGHT, WIDTH = 9, 24, 28
SMALL = ("--steps", "12", "--gaussians", "300", "--device", "cpu", "--compositing", "sum")
"""Options of a fit that takes no time."""

START = "import sys; from medgs_core.cli import main; sys.exit(main())"


def phantom(slices=SLICES, height=HEIGHT, width=WIDTH):
    """Return a small scan whose slices lie along axis 0, 3 mm apart."""
    return drifting_phantom((slices, height, width), np.random.default_rng(0), noise=0.01).thick


def write_scan(folder, volume=None, name="scan.nii.gz"):
    """Return the path of a scan written into a folder."""
    write_volume(volume or phantom(), folder / name)
    return folder / name


def medgs(*argv):
    """Return the exit code of a command line run here: starting a process costs seconds of imports."""
    return main([str(word) for word in argv])


def fit(scan, output, *more):
    """Return the exit code of a fit in no time."""
    return medgs("fit", scan, "-o", output, *SMALL, *more)


def start(*argv):
    """Return a running process of a command line."""
    return subprocess.Popen(
        [sys.executable, "-c", START, *(str(word) for word in argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def files_in(folder):
    """Return the names in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
