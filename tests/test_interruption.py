"""Ctrl-C and SIGTERM end what runs, even where a library makes an error of its own of them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataset_trees import real3d_ad_tree
from test_end_to_end import CHANGES, SMALL, Words
from zeroflaw.cli import main
from zeroflaw.datasets.base import Dataset, Entry
from zeroflaw.datasets.real3d_ad import Real3DAD
from zeroflaw.interruption import insist, interruptible
from zeroflaw.types import Scan, ScanError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def kind(request: pytest.FixtureRequest) -> signal.Signals:
    found: signal.Signals = request.param
    return found


@pytest.fixture
def handlers() -> Iterator[None]:
    """Whatever a test does, the signals do afterwards what they did before."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {kind: signal.getsignal(kind) for kind in before} == before


def swallow(kind: signal.Signals) -> None:
    """Be interrupted, as a compiled library is that turns it into an error of its own."""
    try:
        os.kill(os.getpid(), kind)
        time.sleep(5)
    except KeyboardInterrupt:
        raise ScanError("part.pcd", "could not determine its shape", "get it again") from None


@pytest.mark.usefixtures("handlers")
def test_a_swallowed_interruption_is_raised_again(kind: signal.Signals) -> None:
    with interruptible():
        insist()
        with pytest.raises(ScanError):
            swallow(kind)
        with pytest.raises(KeyboardInterrupt):
            insist()
    insist()


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_is_ignored_stays_so() -> None:
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            insist()
    finally:
        signal.signal(signal.SIGINT, former)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    real3d_ad_tree(tmp_path / "Real3D-AD", ("car", "shell"), scans=1, points=300)
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    return tmp_path


def words(verb: str, place: Path) -> list[str]:
    root, out = place / "Real3D-AD", place / "out"
    dense: Words = ["--checkpoint", "compact", "--data", "real3d_ad", root, "--category", "car"]
    small: Words = ["--stand-in", "--config", place / "small.json", "--epochs", "1"]
    cell: Words = ["--cell", "*/car/*", "--seeds", "1", "--set", "epochs=1", "--stand-in"]
    given: dict[str, Words] = {
        "data check": ["data", "check", "real3d_ad", root, "--workers", "1"],
        "train": ["train", "btp", "--data", "real3d_ad", root, "--out", out, *small],
        "evaluate": ["evaluate", *dense, "--out", out],
        "benchmark": [
            *("benchmark", "btp_table1", "--root", f"real3d_ad={root}", "--out", out),
            *(*cell, *CHANGES),
        ],
    }
    return [str(word) for word in given[verb]]


@pytest.mark.parametrize("verb", ["data check", "train", "evaluate", "benchmark"])
@pytest.mark.usefixtures("handlers")
def test_a_swallowed_interruption_ends_the_command_and_leaves_no_failure(
    verb: str,
    kind: signal.Signals,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read, reads = Real3DAD.read, 0

    def swallowing(dataset: Dataset, entry: Entry) -> Scan:
        nonlocal reads
        reads += 1
        if reads == 2:
            swallow(kind)
        return read(dataset, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(Real3DAD, "read", swallowing)
    assert main(words(verb, place)) == 130
    assert reads == 2
    assert "interrupted" in capsys.readouterr().err
    assert not list(place.rglob("failed.txt"))
    monkeypatch.setattr(Real3DAD, "read", read)
    assert main(words(verb, place)) == 0


@pytest.mark.usefixtures("handlers")
def test_scores_that_an_interruption_made_unreadable_are_not_counted_as_missing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(words("evaluate", place)) == 0
    results = (place / "out" / "results.json").read_bytes()

    def swallowing(path: Path, *, allow_pickle: bool) -> None:
        swallow(signal.SIGINT)

    again = ["evaluate", "--recompute", str(place / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(np, "load", swallowing)
        assert main(again) == 130
    assert (place / "out" / "results.json").read_bytes() == results
    assert main(again) == 0
