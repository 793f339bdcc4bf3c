"""The command `zeroflaw calibrate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import RESUMES, Commands, add_command

EPILOG = f"""\
The scans must be good ones of your own kind of part, taken as those to come.
With n of them, a rate below 1 / (n + 1) cannot be promised and is refused.
The same points in two files count once.
{RESUMES}

exit codes: 0 calibrated; 2 an input could not be used; 130 interrupted
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    summary = "learn thresholds from good scans that bound the rate of false alarms"
    add = add_command(commands, "calibrate", run, summary, EPILOG).add_argument
    add("inputs", nargs="+", metavar="GOOD_SCANS", help="good scans: files, folders or patterns")
    add(
        "--false-alarms",
        type=rate,
        default=0.05,
        metavar="X",
        help="the highest rate of false alarms, between 0 and 1 (default: 0.05)",
    )
    add(
        "--detector",
        default="compact",
        metavar="NAME",
        help="name of a shipped detector or path of a checkpoint (default: compact)",
    )
    add(
        "-o",
        "--out",
        type=Path,
        default=Path("calibration.json"),
        metavar="FILE",
        help="the calibration, for inspect --calibration (default: calibration.json)",
    )
    add(
        "--remove-plane",
        action="store_true",
        help="leave out the table that the part stands on, as inspections will",
    )
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")


def rate(text: str) -> float:
    """A number between 0 and 1, neither of them."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def run(given: argparse.Namespace) -> int:
    """Calibrate and return the exit code."""
    from zeroflaw.calibrate import Request
    from zeroflaw.calibrate import run as calibrate

    return calibrate(
        Request(
            inputs=tuple(given.inputs),
            false_alarms=given.false_alarms,
            detector=given.detector,
            device=given.device,
            remove_plane=given.remove_plane,
            out=given.out,
        )
    )
