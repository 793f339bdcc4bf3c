"""The command `zeroflaw`: arguments in, a verb called, an exit code out."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from zeroflaw.types import ZeroflawError
from zeroflaw.version import __version__

UNUSABLE, INTERRUPTED = 2, 130
WIDTH = 80

EXIT_CODES = """\
exit codes: 0 inspected; 1 a scan is defective, with --fail-on-defect only;
2 an input could not be used; 130 interrupted, results so far are kept
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `arguments` default to those of the process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without a letter is no error
    given = parser().parse_args(arguments)
    try:
        code: int = given.run(given)
        sys.stdout.flush()
        return code
    except ZeroflawError as error:
        print(f"zeroflaw: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("zeroflaw: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # who read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE


def parser() -> argparse.ArgumentParser:
    """All sub-commands and their options."""
    top = argparse.ArgumentParser(
        prog="zeroflaw",
        description="Find and localise defects in 3D scans of parts never seen before.",
        formatter_class=_Wide,
    )
    top.add_argument("--version", action="version", version=f"zeroflaw {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_inspect(commands)
    _add_train(commands)
    _add_synthesize(commands)
    _add_weights(commands)
    return top


Commands = argparse._SubParsersAction  # the type that argparse has no public name for


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Help that fits a terminal of 80 columns, whatever the window."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=WIDTH - 2)


def _command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    epilog: str = "",
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=_Wide,
    )
    command.set_defaults(run=run)
    return command


def _add_inspect(commands: Commands[argparse.ArgumentParser]) -> None:
    add = _command(commands, "inspect", _inspect, "find defects in scans", EXIT_CODES).add_argument
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
        type=_share,
        metavar="X",
        help=("score, 0 to 1, from which a scan is defective (default: the detector's own)"),
    )
    add("--json", action="store_true", help="write one JSON object to stdout, no tables")
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--fail-on-defect", action="store_true", help="exit with 1 if a scan is defective")
    add("--no-pictures", action="store_true", help="leave out the PNG, which saves time")


def _add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    add = _command(
        commands,
        "train",
        _train,
        "train a method on labelled scans",
        "Interrupted with Ctrl-C, the same command goes on where it stopped.",
    ).add_argument
    add("method", metavar="METHOD", help="what to train, such as btp")
    add("--data", type=Path, metavar="FOLDER", help="labelled scans to train on")
    add("--corpus", type=Path, metavar="FOLDER", help="shapes to synthesise them from (compact)")
    add("--out", type=Path, required=True, metavar="DIR", help="for checkpoints, state and log")
    add("--validate", type=Path, metavar="FOLDER", help="labelled scans to choose the best by")
    add("--epochs", type=_count, metavar="N", help="how often to see each scan")
    add("--batch", type=_count, metavar="N", help="scans per step")
    add("--seed", type=int, metavar="N", help="of the order of scans and of the first weights")
    add("--patience", type=_count, metavar="N", help="stop after so many epochs without a better")
    add("--watch", metavar="FIGURE", help="what better means: loss, or a figure of the validation")
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--config", type=Path, metavar="FILE", help="JSON with settings of the method")
    add("--encoder", type=Path, metavar="FILE", help="weights of the point encoder")
    add("--text-tower", type=Path, metavar="FILE", help="weights of the text tower")
    add("--stand-in", action="store_true", help="random ones instead, to try things out")
    add("--cache", type=Path, metavar="DIR", help="for prepared features (default: in --out)")
    add("--restart", action="store_true", help="begin anew, whatever --out holds")
    add("--scans", type=_count, metavar="N", help="with --corpus: fresh scans per epoch")
    add("--workers", type=_count, metavar="N", help="with --corpus: processes that make them")
    add("--card", type=Path, metavar="FILE", help="with --corpus: JSON that joins the card")


def _add_synthesize(commands: Commands[argparse.ArgumentParser]) -> None:
    add = _command(
        commands,
        "synthesize",
        _synthesize,
        "make labelled scans with defects from meshes",
        "Interrupted with Ctrl-C, the same command goes on where it stopped.",
    ).add_argument
    add("meshes", nargs="+", metavar="MESH", help="mesh file, folder or pattern")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the scans")
    add("--count", type=_count, default=10, metavar="N", help="scans per mesh (default: 10)")
    add("--points", type=_count, metavar="N", help="per scan (default: 8,000 to 30,000)")
    add("--seed", type=_whole, default=0, metavar="N", help="same seed, same scans (default: 0)")
    add("--workers", type=_count, default=1, metavar="N", help="processes to use (default: 1)")


def _add_weights(commands: Commands[argparse.ArgumentParser]) -> None:
    summary = "list, fetch or import published weights"
    command = _command(commands, "weights", _weights_list, summary)
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    _command(actions, "list", _weights_list, "say which weights there are and which are here")
    fetch = _command(actions, "fetch", _weights_fetch, "download weights into the cache")
    fetch.add_argument("name", metavar="NAME", help="as `zeroflaw weights list` says it")
    take = _command(actions, "import", _weights_import, "put a file you have into the cache")
    take.add_argument("file", type=Path, metavar="FILE", help="the published file")
    take.add_argument("--name", metavar="NAME", help="which weights it is, if renamed")


def _inspect(given: argparse.Namespace) -> int:
    from zeroflaw.inspect import Request, run

    return run(
        Request(
            inputs=tuple(given.inputs),
            detector=given.detector,
            device=given.device,
            threshold=given.threshold,
            out=given.out,
            pictures=not given.no_pictures,
            as_json=given.json,
            fail_on_defect=given.fail_on_defect,
        )
    )


def _train(given: argparse.Namespace) -> int:
    if given.corpus is not None:
        return _pretrain(given)
    if given.data is None:
        raise ZeroflawError("train: give --data FOLDER of labelled scans, or --corpus of shapes")
    from zeroflaw.train import run

    names = "epochs batch seed patience watch device config encoder text_tower stand_in cache"
    options = {name: getattr(given, name) for name in (*names.split(), "restart")}
    return run(given.method, given.data, given.out, validation=given.validate, **options)


def _pretrain(given: argparse.Namespace) -> int:
    from zeroflaw.pretrain import command

    if given.method != "compact":
        raise ZeroflawError(f"train {given.method}: --corpus is for compact; give --data FOLDER")
    names = "epochs scans batch workers seed device"
    chosen = {name: getattr(given, name) for name in names.split()}
    options = {name: value for name, value in chosen.items() if value is not None}
    return command(given.corpus, given.out, given.card, restart=given.restart, **options)


def _synthesize(given: argparse.Namespace) -> int:
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


def _weights_list(given: argparse.Namespace) -> int:
    from zeroflaw.encoders.weights import listing

    for entry, path in listing():
        size = "size unknown" if entry.size is None else f"{entry.size / 1e6:,.0f} MB"
        print(f"{entry.name}  ({size})\n  {entry.purpose}\n  licence: {entry.licence}")
        print(f"  here: {path}" if path else f"  not here; from {entry.page}")
    return 0


def _weights_fetch(given: argparse.Namespace) -> int:
    from zeroflaw.encoders.weights import fetch

    print(fetch(given.name))
    return 0


def _weights_import(given: argparse.Namespace) -> int:
    from zeroflaw.encoders.weights import import_file

    print(import_file(given.file, given.name))
    return 0


def _count(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _whole(text: str) -> int:
    """A whole number, 0 or above."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
