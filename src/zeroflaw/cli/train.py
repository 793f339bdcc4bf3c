"""The command `zeroflaw train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.cli.arguments import RESUMES, Commands, add_command, count, whole
from zeroflaw.types import ZeroflawError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    add = add_command(
        commands, "train", run, "train a method on labelled scans", RESUMES
    ).add_argument
    add("method", metavar="METHOD", help="what to train, such as btp")
    add(
        "--data",
        nargs="+",
        metavar=("FOLDER", "ROOT"),
        help="folder of labelled scans to train on, or NAME ROOT of a data set",
    )
    add("--category", nargs="+", metavar="C", help="of the data set (default: all)")
    add("--split", metavar="S", help="train, validation or test (default: test, the labelled)")
    add("--corpus", type=Path, metavar="FOLDER", help="shapes to synthesise them from (compact)")
    add("--out", type=Path, required=True, metavar="DIR", help="for checkpoints, state and log")
    add("--validate", type=Path, metavar="FOLDER", help="labelled scans to choose the best by")
    add("--epochs", type=count, metavar="N", help="how often to see each scan")
    add("--batch", type=count, metavar="N", help="scans per step")
    add("--seed", type=whole, metavar="N", help="of the order of scans and of the first weights")
    add("--patience", type=count, metavar="N", help="stop after so many epochs without a better")
    add("--watch", metavar="FIGURE", help="what better means: loss, or a figure of the validation")
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--config", type=Path, metavar="FILE", help="JSON with settings of the method")
    add("--encoder", type=Path, metavar="FILE", help="weights of the point encoder, or of CLIP")
    add("--text-tower", type=Path, metavar="FILE", help="weights of the text tower")
    add("--stand-in", action="store_true", help="random ones instead, to try things out")
    add("--cache", type=Path, metavar="DIR", help="for prepared features (default: in --out)")
    add("--restart", action="store_true", help="begin anew, whatever --out holds")
    add("--scans", type=count, metavar="N", help="with --corpus: fresh scans per epoch")
    add("--workers", type=count, metavar="N", help="processes that prepare or make the scans")
    add("--earlier", metavar="DETECTOR", help="with --corpus: a detector to go on from")
    add("--card", type=Path, metavar="FILE", help="with --corpus: JSON that joins the card")


def run(given: argparse.Namespace) -> int:
    """Train and return the exit code."""
    if given.corpus is not None:
        return _pretrain(given)
    for name in ("earlier", "scans", "card"):
        if getattr(given, name) is not None:
            raise ZeroflawError(f"train: --{name} goes with --corpus; leave it out, or give one")
    if given.data is None:
        raise ZeroflawError("train: give --data FOLDER of labelled scans, or --corpus of shapes")
    from zeroflaw.train import run as train

    names = "epochs batch seed patience watch device config encoder text_tower stand_in cache"
    options = {name: getattr(given, name) for name in (*names.split(), "restart", "workers")}
    return train(
        given.method,
        given.data,
        given.out,
        categories=given.category,
        split=given.split,
        validation=given.validate,
        **options,
    )


def _pretrain(given: argparse.Namespace) -> int:
    from zeroflaw.pretrain import command

    if given.method != "compact":
        raise ZeroflawError(f"train {given.method}: --corpus is for compact; give --data FOLDER")
    names = "epochs scans batch workers seed device earlier"
    chosen = {name: getattr(given, name) for name in names.split()}
    options = {name: value for name, value in chosen.items() if value is not None}
    return command(given.corpus, given.out, given.card, restart=given.restart, **options)
