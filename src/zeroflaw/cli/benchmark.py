"""The command `zeroflaw benchmark`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import Commands, add_command, count, whole
from zeroflaw.types import ZeroflawError

SYNTHETIC = "synthetic"

OF_RECIPES = (
    "root",
    "encoder",
    "text_tower",
    "seeds",
    "set",
    "cell",
    "retry",
    "drop",
    "stand_in",
    "dry_run",
)
OF_SYNTHETIC = ("detectors", "corpus", "pairs")
EPILOG = """\
`zeroflaw benchmark synthetic [DETECTOR ...] --out DIR` compares detectors on
fixed synthetic scans of categories that were never trained on.

exit codes: 0 all cells done; 1 a cell failed; 2 recipe or data cannot be used;
130 interrupted. The same command goes on where it stopped, killed or not.
"""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    summary = "train and test by a recipe, beside published figures"
    add = add_command(commands, "benchmark", run, summary, EPILOG).add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="name of a bundled recipe, or a TOML file")
    add(
        "detectors",
        nargs="*",
        metavar="DETECTOR",
        help="behind `synthetic`: names of shipped ones or checkpoints (default: compact)",
    )
    add("--list", action="store_true", help="say which recipes are bundled")
    add("--out", type=Path, metavar="DIR", help="for cells and tables")
    add(
        "--root",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="where a data set of the recipe lies; once per data set",
    )
    add("--workers", type=count, metavar="N", help="cells at a time (default: one per device)")
    add("--devices", default="auto", metavar="D,…", help="auto, cpu or cuda:0,cuda:1,…")
    add("--seeds", nargs="+", type=whole, default=[], metavar="N", help="not the recipe's")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    add("--cell", nargs="+", default=[], metavar="PATTERN", help="only cells called so")
    add("--retry", action="store_true", help="try cells that failed again")
    add(
        "--drop",
        nargs="+",
        default=[],
        choices=("scores", "weights"),
        help="what finished cells need not keep; their results stay",
    )
    add("--encoder", type=Path, metavar="FILE", help="weights of the point encoder")
    add("--text-tower", type=Path, metavar="FILE", help="weights of the text tower")
    add("--stand-in", action="store_true", help="random ones instead, to try things out")
    add("--corpus", type=Path, metavar="DIR", help="synthetic: packed shapes that join the solids")
    add("--pairs", type=count, metavar="N", help="synthetic: of scans with and without a defect")
    add("--table", action="store_true", help="only lay out what --out holds by now")
    add("--dry-run", action="store_true", help="only say which cells there are")


def run(given: argparse.Namespace) -> int:
    """Work the recipe and return the exit code."""
    from zeroflaw import benchmark

    if given.list:
        return benchmark.list_recipes()
    if given.out is None:
        raise ZeroflawError("benchmark: give --out DIR, where cells and tables go")
    if given.recipe == SYNTHETIC:
        return _synthetic(given)
    _refuse(given, OF_SYNTHETIC, "is for `benchmark synthetic`")
    request = benchmark.Request(
        recipe=given.recipe,
        out=given.out,
        roots=dict(_root(one) for one in given.root),
        workers=given.workers,
        devices=given.devices,
        seeds=tuple(given.seeds),
        patterns=tuple(given.cell),
        retry=given.retry,
        changes=tuple(given.set),
        drop=tuple(given.drop),
        stand_in=given.stand_in,
        encoder=given.encoder,
        text_tower=given.text_tower,
    )
    if given.table:
        return benchmark.table(request)
    return benchmark.dry_run(request) if given.dry_run else benchmark.run(request)


def _synthetic(given: argparse.Namespace) -> int:
    """Compare detectors on the synthetic benchmark and return the exit code."""
    from zeroflaw import benchmark_synthetic

    _refuse(given, OF_RECIPES, "is for recipes, not for `benchmark synthetic`")
    if given.table:
        return benchmark_synthetic.table(given.out)
    chosen = {} if given.pairs is None else {"pairs": given.pairs}
    request = benchmark_synthetic.Request(
        detectors=tuple(given.detectors) or ("compact",),
        out=given.out,
        corpus=given.corpus,
        device=given.devices,
        workers=given.workers or 1,
        **chosen,
    )
    return benchmark_synthetic.run(request)


def _refuse(given: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Raise ZeroflawError for the first of these arguments that was given."""
    for name in names:
        if getattr(given, name) not in (None, False, []):
            shown = "DETECTOR" if name == "detectors" else f"--{name.replace('_', '-')}"
            raise ZeroflawError(f"benchmark: {shown} {why}; leave it out")


def _root(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ZeroflawError(f"--root {text}: expected NAME=PATH, such as real3d_ad=/data/Real3D-AD")
    return name, Path(path)
