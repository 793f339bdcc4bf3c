"""The command `zeroflaw inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import Commands, add_command, share

EXIT_CODES = """\
exit codes: 0 inspected; 1 a scan is defective, with --fail-on-defect only;
2 an input could not be used; 130 interrupted, results so far are kept
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    add = add_command(commands, "inspect", run, "find defects in scans", EXIT_CODES).add_argument
    add("inputs", nargs="+", metavar="PATH", help="scan file, folder or pattern such as 'in/*.ply'")
    add(
        "--detector",
        default="compact",
        metavar="NAME",
        help=("name of a shipped detector or path of a checkpoint (default: compact)"),
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help=("write a coloured PLY, a PNG and a JSON per scan into this folder"),
    )
    add(
        "--threshold",
        type=share,
        metavar="X",
        help=("score, 0 to 1, from which a scan is defective (default: the detector's own)"),
    )
    add(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="thresholds that zeroflaw calibrate learned from good scans of your part",
    )
    add(
        "--prompt",
        metavar="TEXT",
        help="look for one kind of defect only, such as 'dent' or 'a deep scratch'",
    )
    add(
        "--remove-plane",
        action="store_true",
        help="leave out the table that the part stands on, and what else is around it",
    )
    add("--json", action="store_true", help="write one JSON object to stdout, no tables")
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--fail-on-defect", action="store_true", help="exit with 1 if a scan is defective")
    add("--no-pictures", action="store_true", help="leave out the PNG, which saves time")


def run(given: argparse.Namespace) -> int:
    """Inspect and return the exit code."""
    from zeroflaw.inspect import Request
    from zeroflaw.inspect import run as inspect

    return inspect(
        Request(
            inputs=tuple(given.inputs),
            detector=given.detector,
            device=given.device,
            threshold=given.threshold,
            remove_plane=given.remove_plane,
            out=given.out,
            pictures=not given.no_pictures,
            as_json=given.json,
            fail_on_defect=given.fail_on_defect,
            calibration=given.calibration,
            prompt=given.prompt,
        )
    )
