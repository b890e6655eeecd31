"""What the benchmarks share: the volumes, the machine and its versions, and cases in processes of their own."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import medgs_core as medgs

COMPUTING = ("torch", "numba", "numpy", "opencv-python-headless")
"""Distributions that the numbers depend on."""

WARM_UP_STEPS = 20

CLASSICAL = ("linear", "cubic", "pchip", "flow")
"""What is compared with; `nearest` is below all of them everywhere."""

RESAMPLED = ("lm_ovule", "pet_wholebody")
"""Interpolated along the axis before they were published, which flatters cubic: reported apart."""

MIB = 2**20
KIB = 2**10

Row = dict[str, Any]
"""A case and what was measured in it, as JSON holds them."""


class Listed(NamedTuple):
    """An image volume of the index: its name, its file and its slice axis."""

    name: str
    path: Path
    axis: int


def image_volumes(names: list[str] | None = None) -> list[Listed]:
    """Return the image volumes that `index.json` in $MEDGS_DATA lists, label maps left out.

    Parameters
    ----------
    names : list of str, optional
        Which of them, in the order of the index; all if not given.

    Raises
    ------
    ValueError
        If a name is not in the index.
    """
    folder = Path(os.environ["MEDGS_DATA"])
    entries = json.loads((folder / "index.json").read_text())
    found = [
        Listed(entry["name"], folder / entry["file"], int(entry["slice_axis"]))
        for entry in entries
        if entry["kind"] == "intensity"
    ]
    known = {listed.name for listed in found}
    for name in names or ():
        if name not in known:
            raise ValueError(f"volumes should be of {', '.join(sorted(known))}, got {name!r}; correct its name")
    return [listed for listed in found if names is None or listed.name in names]


def label(volume: str) -> str:
    """Return how tables call a volume: its name, and whether it was resampled."""
    return f"{volume} (resampled)" if volume in RESAMPLED else volume


def processor() -> str:
    """Return the processor's name and the number of threads."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} threads"


def versions() -> str:
    """Return the versions of what computes."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in COMPUTING)])


def setting() -> str:
    """Return what a table of results opens with: the machine and the versions."""
    return f"{processor()}; {versions()}"


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KIB)


def warm_up() -> None:
    """Compile the kernels of fitting and rendering, so that no time measured later has that in it."""
    phantom = medgs.drifting_phantom((9, 24, 24), np.random.default_rng(0)).thick
    model = medgs.fit_model(phantom, medgs.FitConfig(axis="0", steps=WARM_UP_STEPS)).model
    medgs.render_volume(model, factor=2)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the docstring of a benchmark, as written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def parse(parser: argparse.ArgumentParser, measure: Callable[..., Row]) -> argparse.Namespace:
    """Return the arguments; in the process of a single case, print what was measured and exit.

    Parameters
    ----------
    parser : ArgumentParser
        Of the benchmark.
    measure : Callable
        Takes the case as keyword arguments and returns what it gives, as JSON can hold it.
    """
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(**json.loads(args.case))))
        parser.exit()
    return args


def run_case(script: str, case: Row) -> Row:
    """Return the case and what a process of its own measures in it."""
    command = [sys.executable, script, "--case", json.dumps(case)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return case | json.loads(printed.splitlines()[-1])


def run_cases(script: str, cases: list[Row], results: Path) -> list[Row]:
    """Return a row for each case, from the results file where it is there; new ones are written to it as they end."""
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    rows = []
    for case in cases:
        row = next((row for row in known if case.items() <= row.items()), None)
        if row is None:
            row = run_case(script, case)
            line = json.dumps(row)
            with results.open("a") as file:
                file.write(line + "\n")
            print(line, file=sys.stderr)
        rows.append(row)
    return rows


def print_table(heads: list[str], rows: list[list[str]]) -> None:
    """Print a markdown table."""
    print("|", " | ".join(heads), "|")
    print("|---" * len(heads) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")
