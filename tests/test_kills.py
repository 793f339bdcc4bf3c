"""Killed at any moment and started again, every command ends as if nothing had happened."""

from __future__ import annotations

import csv
import itertools
import json
import random
import shutil
import signal
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bulged_parts import files as evaluated
from dataset_trees import DEFECT_HEIGHT, part, real3d_ad_tree
from mortal import Mortals
from test_end_to_end import CHANGES, SMALL, Words

Result = dict[str, Any]
MOMENTS = 5  # at which each command is killed; all of them were tried by hand


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    with Mortals() as served:
        yield served


@dataclass(frozen=True)
class Place:
    """Where the data lie, and what is trained and tested there."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "Real3D-AD"

    def train(self, out: Path) -> Words:
        scans: Words = ["--data", "real3d_ad", self.root, "--category", "seahorse"]
        how: Words = ["--stand-in", "--config", self.folder / "small.json", "--device", "cpu"]
        held_out: Words = ["--validate", self.folder / "held-out", "--epochs", "2", "--out", out]
        return ["train", "btp", *scans, *how, *held_out]

    def evaluate(self, out: Path) -> Words:
        scans: Words = ["--data", "real3d_ad", self.root, "--cache", out / "cache", "--out", out]
        checkpoint = self.folder / "trained" / "best.safetensors"
        return ["evaluate", "--checkpoint", checkpoint, "--device", "cpu", *scans]

    def benchmark(self, out: Path) -> Words:
        scans: Words = ["--root", f"real3d_ad={self.root}", "--cell", "*/shell/*", "--seeds", "111"]
        how: Words = ["--stand-in", "--devices", "cpu", "--set", "epochs=1", *CHANGES]
        return ["benchmark", "btp_table1", *scans, *how, "--out", out]

    def get(self, out: Path) -> Words:
        archive = self.folder / "real.tar.gz"
        return ["data", "get", "real3d_ad", "--archive", archive, "--out", out / "Real3D-AD"]


@pytest.fixture(scope="module")
def place(mortals: Mortals, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A miniature Real3D-AD, the archive of it, scans held out, and a trained detector."""
    made = Place(tmp_path_factory.mktemp("place"))
    real3d_ad_tree(made.root, ("seahorse", "shell"), scans=1, points=300)
    with tarfile.open(made.folder / "real.tar.gz", "w:gz") as archive:
        archive.add(made.root, "a/b")
    (made.folder / "small.json").write_text(json.dumps(SMALL))
    for number in range(4):
        height = DEFECT_HEIGHT * (number % 2)
        points, labels = part("car", height, 300, np.random.default_rng(number))
        path = made.folder / "held-out" / ("bulged" if height else "good") / f"{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, points=points, labels=labels)
    out = made.folder / "trained"
    assert mortals.run(*made.train(out), watched=out).code == 0
    return made


def trained(out: Path) -> Result:
    """Both checkpoints, with their cards but for the seconds, and the log but for the same."""
    found: Result = {path.name: path.read_bytes() for path in out.glob("*.safetensors")}
    for path in (out / "last.json", out / "best.json"):
        found[path.name] = json.loads(path.read_text())
        del found[path.name]["training"]["seconds"]
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    found["log"] = [{**row, "seconds": ""} for row in rows]
    return found


def benchmarked(out: Path) -> Result:
    """The table in all its forms, and what the cells learned and found."""
    ours = ("results.json", "results.csv", "last.safetensors")
    paths = [
        *out.glob("table.*"),
        *(path for name in ours for path in out.glob(f"cells/**/{name}")),
    ]
    assert len(paths) == 4 + len(ours)
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def unpacked(out: Path) -> Result:
    """All that lies there; nothing half done is left beside it."""
    files = {path.relative_to(out): path for path in out.rglob("*")}
    return {str(name): path.read_bytes() for name, path in files.items() if path.is_file()}


VERBS: dict[str, tuple[Callable[[Place, Path], Words], Callable[[Path], Result]]] = {
    "train": (Place.train, trained),
    "evaluate": (Place.evaluate, lambda out: dict(evaluated(out))),
    "benchmark": (Place.benchmark, benchmarked),
    "data get": (Place.get, unpacked),
}


def some_moments(count: int, seed: int) -> list[int]:
    """The last moment, and some others of each part of the way."""
    assert count > MOMENTS
    drawn = random.Random(seed)
    bounds = np.linspace(1, count, MOMENTS).astype(int)
    return [*(drawn.randrange(a, b) for a, b in itertools.pairwise(bounds)), count]


@pytest.mark.parametrize("verb", list(VERBS))
def test_killed_at_any_moment_it_ends_as_if_undisturbed(
    verb: str, place: Place, mortals: Mortals, tmp_path: Path
) -> None:
    words, result = VERBS[verb]
    whole = tmp_path / "whole"
    ended = mortals.run(*words(place, whole), watched=whole)
    assert ended.code == 0, ended.said
    for moment in some_moments(ended.moments, seed=len(verb)):
        out = tmp_path / str(moment)
        killed = mortals.run(*words(place, out), watched=out, fatal=moment)
        assert killed.code == -signal.SIGKILL
        again = mortals.run(*words(place, out), watched=out)
        assert again.code == 0, again.said
        assert result(out) == result(whole), f"killed before change {moment}"


@pytest.mark.parametrize("verb", ["train", "evaluate", "benchmark"])
def test_killed_again_and_again_it_still_comes_to_its_end(
    verb: str, place: Place, mortals: Mortals, tmp_path: Path
) -> None:
    words, result = VERBS[verb]
    whole, out = tmp_path / "whole", tmp_path / "out"
    moments = mortals.run(*words(place, whole), watched=whole).moments
    kills = 0
    while (code := mortals.run(*words(place, out), watched=out, fatal=moments // 2).code) != 0:
        assert code == -signal.SIGKILL
        kills += 1
        assert kills < 10
    assert kills >= 1
    assert result(out) == result(whole)


@pytest.mark.parametrize("verb", ["evaluate", "benchmark"])
def test_a_report_killed_at_any_moment_leaves_the_former_page_or_writes_the_same(
    verb: str, place: Place, mortals: Mortals, tmp_path: Path
) -> None:
    words, _ = VERBS[verb]
    out = tmp_path / "out"
    assert mortals.run(*words(place, out), watched=out).code == 0
    command: Words = ["report", out, "--worst", "1"]
    ended = mortals.run(*command, watched=out)
    assert ended.code == 0, ended.said
    assert ended.moments >= 3
    page = (out / "report.html").read_bytes()
    for moment in range(1, ended.moments + 1):
        (out / "report.html").write_bytes(b"the former page")
        killed = mortals.run(*command, watched=out, fatal=moment)
        assert killed.code == -signal.SIGKILL
        assert (out / "report.html").read_bytes() == b"the former page"
        assert mortals.run(*command, watched=out).code == 0
        assert (out / "report.html").read_bytes() == page


def test_a_check_killed_at_any_moment_changes_nothing_and_says_the_same(
    place: Place, mortals: Mortals
) -> None:
    def check(fatal: int = 0) -> tuple[int, int, Result]:
        words: Words = ["data", "check", "real3d_ad", place.root, "--json", "--workers", "1"]
        ended = mortals.run(*words, watched=place.root, fatal=fatal, reading=True)
        said = {} if fatal else json.loads(ended.said)
        return ended.code, ended.moments, {**said, "seconds": 0}

    before = unpacked(place.root)
    code, moments, said = check()
    assert code == 0
    assert said["usable"]
    for moment in some_moments(moments, seed=0):
        assert check(moment)[0] == -signal.SIGKILL
        assert unpacked(place.root) == before
        assert check() == (code, moments, said)


def test_a_download_unpacked_over_what_a_killed_one_left_is_whole(
    place: Place, mortals: Mortals, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    whole = mortals.run(*place.get(out), watched=out)
    assert whole.code == 0
    found = unpacked(out)
    shutil.rmtree(out)
    for moment in (whole.moments, whole.moments // 2):  # one kill after the other
        killed = mortals.run(*place.get(out), watched=out, fatal=moment)
        assert killed.code == -signal.SIGKILL
        assert not (out / "Real3D-AD").exists()
        assert any(out.iterdir())
    assert mortals.run(*place.get(out), watched=out).code == 0
    assert unpacked(out) == found
