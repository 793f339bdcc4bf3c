"""The command `zeroflaw weights`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import Commands, add_command


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its actions."""
    summary = "list, fetch or import published weights"
    command = add_command(commands, "weights", list_weights, summary)
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    summary = "say which weights there are and which are here"
    add_command(actions, "list", list_weights, summary)
    fetch = add_command(actions, "fetch", fetch_weights, "download weights into the cache")
    fetch.add_argument("name", metavar="NAME", help="as `zeroflaw weights list` says it")
    take = add_command(actions, "import", import_weights, "put a file you have into the cache")
    take.add_argument("file", type=Path, metavar="FILE", help="the published file")
    take.add_argument("--name", metavar="NAME", help="which weights it is, if renamed")


def list_weights(given: argparse.Namespace) -> int:
    """Say which weights there are, and which are here."""
    from zeroflaw.encoders.weights import listing

    for entry, path in listing():
        size = "size unknown" if entry.size is None else f"{entry.size / 1e6:,.0f} MB"
        print(f"{entry.name}  ({size})\n  {entry.purpose}\n  licence: {entry.licence}")
        print(f"  here: {path}" if path else f"  not here; from {entry.page}")
    return 0


def fetch_weights(given: argparse.Namespace) -> int:
    """Download weights and print their path."""
    from zeroflaw.encoders.weights import fetch

    print(fetch(given.name))
    return 0


def import_weights(given: argparse.Namespace) -> int:
    """Take over a file of weights and print its path in the cache."""
    from zeroflaw.encoders.weights import import_file

    print(import_file(given.file, given.name))
    return 0
