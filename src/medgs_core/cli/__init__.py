"""*cli*: what a user types comes in, calls of the public API go out, and what they give is printed.

Here: the parser and the exit codes. Each command has a file of its own, which loads what it needs only when
it runs, so that help and mistakes cost neither torch nor numba.
"""

import argparse
import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Never

from medgs_core.cli import _demo, _doctor, _evaluate, _fit, _info, _render, _surface
from medgs_core.cli._exit_codes import INTERRUPTED, OUR_FAULT, SUCCESS, USERS_MISTAKE
from medgs_core.faults import is_out_of_memory

COMMANDS = {
    "fit": (_fit, "fit a model to the slices of a volume"),
    "render": (_render, "render a volume from a model, at slices that were never measured too"),
    "surface": (_surface, "extract closed surfaces from a model, and measure them"),
    "evaluate": (_evaluate, "hide slices, predict them, and compare with the classical methods"),
    "info": (_info, "say what is in a volume or a model"),
    "demo": (_demo, "fit and render a real MRI, and picture the result"),
    "doctor": (_doctor, "report what this machine can do, to paste into an issue"),
}

DEBUG = "MEDGS_DEBUG"
"""Environment variable that lets every exception through with its traceback."""


class _Parser(argparse.ArgumentParser):
    """Says where the help is when it refuses a command line."""

    def error(self, message: str) -> Never:
        self.print_usage(sys.stderr)
        self.exit(USERS_MISTAKE, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Version(argparse.Action):
    """Prints the version, which is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> Never:
        from importlib.metadata import version

        print(f"medgs {version('medgs-napari')}")
        parser.exit(SUCCESS)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="medgs",
        description="Fit folded Gaussians to a stack of slices, and render slices that were never measured.",
        epilog="Not for diagnosis. Exit codes: 0 success, 1 a fault of the program or no memory, 2 a mistake "
        f"in what was asked, 130 interrupted. {DEBUG}=1 shows tracebacks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=purpose,
            description=purpose[:1].upper() + purpose[1:] + ".",
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process if not given.

    Returns
    -------
    int
        0 success; 1 our own fault, or out of memory; 2 a user's mistake; 130 interrupted.
    """
    _spell_out_unprintable()
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as finished:  # argparse has printed the help, the version or the mistake
        return int(finished.code or SUCCESS)
    if os.environ.get(DEBUG):
        code: int = args.run(args)
        return code
    try:
        with _termination_as_interrupt():
            code = args.run(args)
            if sys.stdout:
                sys.stdout.flush()  # here, where a full disk or a closed pipe still becomes a sentence
            return code
    except KeyboardInterrupt as interrupt:  # with words where something was left
        return _complain(args, INTERRUPTED, str(interrupt) or "interrupted; no partial file was left.")
    except ValueError as mistake:
        return _complain(args, USERS_MISTAKE, str(mistake))
    except OSError as fault:
        if fault.errno not in (
            errno.EPIPE,
            errno.ENOSPC,
        ):  # files never raise these: their writers make sentences of it
            return _complain(args, OUR_FAULT, _fault_sentence(fault))
        _abandon_output()
        sentence = (
            f"what is printed must be taken to its end, got {fault.strerror}; print to a file or a reader that stays."
        )
        return _complain(args, USERS_MISTAKE, sentence)
    except Exception as fault:
        return _complain(args, OUR_FAULT, _fault_sentence(fault))


def _spell_out_unprintable() -> None:
    """Print characters that the terminal's or pipe's encoding lacks as escapes, rather than fail on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _abandon_output() -> None:
    """Send what is still to be printed nowhere, or Python would try again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that files under way are cleared away."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not in the main thread, where nobody sends signals to
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(args: argparse.Namespace, code: int, sentence: str) -> int:
    print(f"medgs {args.command}: {sentence}", file=sys.stderr)
    return code


def _fault_sentence(fault: Exception) -> str:
    reason = " ".join(str(fault).split()) or type(fault).__name__
    if is_out_of_memory(fault):
        return (
            f"memory must hold the volume, the model and the slices under way, got too little ({reason}); "
            "close other programs, ask for fewer slices or Gaussians, or choose --device cpu."
        )
    return (
        f"this should not have happened: {type(fault).__name__}: {reason}; "
        f"run it again with {DEBUG}=1 for the traceback, and report it."
    )
