"""The command `zeroflaw data`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import RESUMES, Commands, add_command, count

CHECK_CODES = """\
exit codes: 0 usable: nothing is broken, and some category has good and
defective test scans; 1 not usable; 2 no such data set or folder;
130 interrupted
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its actions."""
    command = add_command(commands, "data", list_data, "list, get or check published data sets")
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    add_command(actions, "list", list_data, "say which data sets are known, under which licence")
    summary = "say what is there of a data set, what is missing and what does not fit"
    check = add_command(actions, "check", run_check, summary, CHECK_CODES).add_argument
    check("data", nargs="+", metavar="DATA", help="NAME and ROOT of a data set, or a folder")
    check("--quick", action="store_true", help="look at the files without reading the scans")
    check("--json", action="store_true", help="write one JSON object to stdout, no tables")
    check("--workers", type=count, metavar="N", help="processes that read (default: the cores)")
    summary = "say how to get a data set, download or unpack it"
    get = add_command(actions, "get", run_get, summary, RESUMES).add_argument
    get("name", metavar="NAME", help="as `zeroflaw data list` says it")
    get("--out", type=Path, metavar="DIR", help="new folder for it (default: its name, here)")
    get("--archive", type=Path, metavar="FILE", help="unpack this file that you have downloaded")


def list_data(given: argparse.Namespace) -> int:
    """Say which data sets there are."""
    from zeroflaw.data_get import list_all

    return list_all()


def run_check(given: argparse.Namespace) -> int:
    """Check a data set and return the exit code."""
    from zeroflaw.data_check import run

    return run(given.data, quick=given.quick, as_json=given.json, workers=given.workers)


def run_get(given: argparse.Namespace) -> int:
    """Get a data set and return the exit code."""
    from zeroflaw.data_get import run

    return run(given.name, given.out, given.archive)
