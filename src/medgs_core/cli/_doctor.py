"""`medgs doctor`: what this machine can do, as a block to paste into an issue."""

import argparse

from medgs_core.cli._exit_codes import OUR_FAULT, SUCCESS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: `medgs doctor` takes no options."""


def run(args: argparse.Namespace) -> int:
    """Examine and report; 1 if a test rendering fails."""
    from medgs_core.cli._screen import print_facts
    from medgs_core.doctor import examine_machine

    report = examine_machine()
    print_facts(report.facts)
    return SUCCESS if report.healthy else OUR_FAULT
