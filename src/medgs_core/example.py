"""A real scan that is at hand wherever the package is installed: the MRI in the nibabel package."""

import importlib.util
from pathlib import Path

SCAN_IN_NIBABEL = Path("tests", "data", "example4d.nii.gz")


def find_example() -> Path:
    """Return the path of the MRI in the nibabel package: a series of two volumes, of which the first is anatomical.

    Raises
    ------
    ValueError
        If this build of nibabel comes without its test data.
    """
    found = importlib.util.find_spec("nibabel")
    assert found is not None
    assert found.origin is not None
    scan = Path(found.origin).parent / SCAN_IN_NIBABEL
    if not scan.is_file():
        raise ValueError(
            f"The example is the MRI that nibabel's own packages hold, got none at '{scan}'; "
            "install nibabel with pip, or take a scan of yours."
        )
    return scan
