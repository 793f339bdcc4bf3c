"""The command `zeroflaw evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import RESUMES, Commands, add_command, count
from zeroflaw.types import ZeroflawError

EXIT_CODES = f"""\
{RESUMES}
exit codes: 0 all scans were inspected; 2 one could not be used, or nothing
could be done; 130 interrupted, scores so far are kept
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    summary = "measure a detector on a data set"
    add = add_command(commands, "evaluate", run, summary, EXIT_CODES).add_argument
    add(
        "--data",
        nargs="+",
        metavar=("FOLDER", "ROOT"),
        help="folder of labelled scans, or NAME ROOT of a data set",
    )
    add("--out", type=Path, metavar="DIR", help="for tables, figures and scores of every scan")
    add(
        "--checkpoint",
        default="compact",
        metavar="C",
        help="name of a shipped detector or path of a checkpoint (default: compact)",
    )
    add("--method", metavar="M", help="refuse a checkpoint of any other method")
    add("--category", nargs="+", metavar="C", help="of the data set (default: all)")
    add("--split", default="test", metavar="S", help="train, validation or test (default: test)")
    add(
        "--leave-out",
        nargs="+",
        metavar="C",
        help="out of the means, besides the categories that it was trained on",
    )
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--workers", type=count, default=1, metavar="N", help="processes that inspect (default: 1)")
    add("--cache", type=Path, metavar="DIR", help="keep prepared features here (default: nowhere)")
    add("--restart", action="store_true", help="inspect all scans anew, whatever --out holds")
    add(
        "--recompute",
        type=Path,
        metavar="DIR",
        help="figures of the scores that an evaluation left in DIR, without the scans",
    )


def run(given: argparse.Namespace) -> int:
    """Evaluate and return the exit code."""
    if given.recompute is not None:
        if given.data or given.out or given.restart:
            raise ZeroflawError("evaluate --recompute DIR: takes no --data, --out or --restart")
        from zeroflaw.evaluate import run_recompute

        return run_recompute(given.recompute, given.leave_out)
    if not given.data or not given.out:
        raise ZeroflawError("evaluate: give --data and --out, or --recompute DIR")
    from zeroflaw.evaluate import Request
    from zeroflaw.evaluate import run as evaluate

    return evaluate(
        Request(
            data=tuple(given.data),
            out=given.out,
            checkpoint=given.checkpoint,
            method=given.method,
            categories=tuple(given.category) if given.category else None,
            split=given.split,
            leave_out=tuple(given.leave_out or ()),
            device=given.device,
            workers=given.workers,
            cache=given.cache,
            restart=given.restart,
        )
    )
