"""The command `zeroflaw`: arguments in, a verb called, an exit code out."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from zeroflaw.cli import (
    benchmark,
    calibrate,
    data,
    evaluate,
    inspect,
    report,
    synthesize,
    train,
    weights,
)
from zeroflaw.cli.arguments import Wide
from zeroflaw.interruption import insist, interruptible
from zeroflaw.types import ZeroflawError, printable
from zeroflaw.version import __version__

UNUSABLE, INTERRUPTED = 2, 130
COMMANDS = (
    inspect,
    calibrate,
    train,
    evaluate,
    benchmark,
    report,
    synthesize,
    data,
    weights,
)  # in the order of the help


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `arguments` default to those of the process."""
    if sys.stdout is None:  # closed, as `>&-` does
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without a letter is no error
    words = sys.argv[1:] if arguments is None else list(arguments)
    for word in words:
        if word.startswith("--") and word.endswith("=--"):  # argparse takes it for an empty list
            parser().error(f"argument {printable(word[:-3])}: expected one argument")
    given = parser().parse_args(words)
    try:
        with interruptible():
            code = _run(given)
        sys.stdout.flush()
        return code
    except ZeroflawError as error:
        print(f"zeroflaw: {printable(str(error))}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("zeroflaw: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # who read our output has left, as `head` does
        _forget_output()
        return UNUSABLE
    except OSError as error:
        if error.filename is None:  # a full disk below our output, of which some is still kept
            _forget_output()
        place = "output" if error.filename is None else printable(str(error.filename))
        print(f"zeroflaw: {place}: {error.strerror or error}; see what is wrong", file=sys.stderr)
        return UNUSABLE


def _forget_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(given: argparse.Namespace) -> int:
    try:
        code: int = given.run(given)
    except ZeroflawError:
        insist()
        raise
    return code


def parser() -> argparse.ArgumentParser:
    """All sub-commands and their options."""
    top = argparse.ArgumentParser(
        prog="zeroflaw",
        description="Find and localise defects in 3D scans of parts never seen before.",
        formatter_class=Wide,
    )
    top.add_argument("--version", action="version", version=f"zeroflaw {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return top
