"""The command `zeroflaw synthesize`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zeroflaw.cli.arguments import RESUMES, Commands, add_command, count, whole

UNUSABLE = 2


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    summary = "make labelled scans with defects from meshes"
    add = add_command(commands, "synthesize", run, summary, RESUMES).add_argument
    add("meshes", nargs="+", metavar="MESH", help="mesh file, folder or pattern")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the scans")
    add("--count", type=count, default=10, metavar="N", help="scans per mesh (default: 10)")
    add("--points", type=count, metavar="N", help="per scan (default: 8,000 to 30,000)")
    add("--seed", type=whole, default=0, metavar="N", help="same seed, same scans (default: 0)")
    add("--workers", type=count, default=1, metavar="N", help="processes to use (default: 1)")


def run(given: argparse.Namespace) -> int:
    """Make the scans and return the exit code."""
    from zeroflaw.reports.progress import progress
    from zeroflaw.synthesize import find_meshes, synthesize_folder

    meshes = find_meshes(given.meshes)
    with progress(given.count * len(meshes)) as step:
        made = synthesize_folder(
            meshes,
            given.out,
            count=given.count,
            seed=given.seed,
            points=given.points,
            workers=given.workers,
            progress=lambda done, total: step(done),
        )
    print(f"{made.written} scans written, {made.kept} kept from before: {made.manifest}")
    for line in made.unusable:
        print(f"zeroflaw: {line}", file=sys.stderr)
    return UNUSABLE if made.unusable else 0
