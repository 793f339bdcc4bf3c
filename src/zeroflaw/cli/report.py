"""The command `zeroflaw report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import Commands, add_command, count

EXIT_CODES = """\
exit codes: 0 the page is whole; 2 something is missing or damaged, and the
page is of the rest, if there is any; 130 interrupted, an older page is kept
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    command = add_command(
        commands, "report", run, "write one HTML page of an evaluation or benchmark", EXIT_CODES
    )
    add = command.add_argument
    add("folder", type=Path, metavar="DIR", help="what an evaluation or a benchmark wrote")
    add("--out", type=Path, metavar="FILE", help="the page (default: DIR/report.html)")
    add(
        "--worst",
        type=count,
        default=6,
        metavar="N",
        help="scans in each group of the gallery of best and worst (default: 6)",
    )


def run(given: argparse.Namespace) -> int:
    """Write the page and return the exit code."""
    from zeroflaw.report import run as report

    return report(given.folder, given.out, given.worst)
