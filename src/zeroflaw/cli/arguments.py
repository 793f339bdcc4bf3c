"""What the commands share: how a sub-command is added, and kinds of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable

WIDTH = 80
LARGEST = (1 << 32) - 1

Commands = argparse._SubParsersAction  # the type that argparse has no public name for
Run = Callable[[argparse.Namespace], int]
RESUMES = "Interrupted with Ctrl-C, the same command goes on where it stopped."


class Wide(argparse.RawDescriptionHelpFormatter):
    """Help that fits a terminal of 80 columns, whatever the window."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=WIDTH - 2)


def add_command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Run,
    summary: str,
    epilog: str = "",
) -> argparse.ArgumentParser:
    """Add a sub-command that calls `run` with what was given."""
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=Wide,
    )
    command.set_defaults(run=run)
    return command


def count(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def whole(text: str) -> int:
    """A whole number from 0, such as a seed."""
    value = int(text)
    if not 0 <= value <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LARGEST}")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
