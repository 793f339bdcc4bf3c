"""A folder of results says what produced it, also when the work was broken off."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_method import Tiny, tiny_method, tiny_scan
from zeroflaw import provenance
from zeroflaw.cache import hash_frozen
from zeroflaw.datasets.folder import Folder
from zeroflaw.methods import METHODS
from zeroflaw.provenance import RUN, recorded
from zeroflaw.train import TrainSettings, fit
from zeroflaw.types import ZeroflawError
from zeroflaw.version import __version__


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RUN).read_text())
    return found


def test_it_tells_versions_machine_time_and_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/one/bin/zeroflaw", "train", "btp", "--out", "a b"])
    told = provenance.provenance(seed=3, root=Path("scans"), rate=math.nan, sizes=np.int64(4))
    assert told["command"] == "zeroflaw train btp --out 'a b'"
    assert told["versions"]["zeroflaw"] == __version__
    assert told["versions"]["torch"] == torch.__version__
    assert told["machine"]["cores"] >= 1
    assert told["machine"]["memory"] > 1 << 28
    assert told["machine"]["processor"]
    assert datetime.fromisoformat(told["started"]).tzinfo is not None
    assert (told["seed"], told["root"], told["rate"], told["sizes"]) == (3, "scans", None, 4)


def test_the_module_is_named_as_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/lib/zeroflaw/__main__.py", "inspect", "x.ply"])
    assert provenance.command() == "zeroflaw inspect x.ply"


def test_a_checkout_is_named_by_its_commit_and_its_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "zeroflaw"
    package.mkdir(parents=True)
    module = shutil.copy(provenance.__file__, package)
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert provenance.commit() is None

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        said = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True
        )
        return said.stdout.decode().strip()

    git("init")
    assert provenance.commit() is None
    git("add", ".")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", head)
    assert provenance.commit() == head
    with Path(module).open("a") as file:
        file.write("# changed\n")
    assert provenance.commit() == f"{head}+"
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() is None


def test_the_record_is_there_while_the_work_runs_and_complete_after(tmp_path: Path) -> None:
    with recorded(tmp_path / "new", verb="evaluate") as record:
        assert read(tmp_path / "new")["state"] == "running"
        record["scans"] = 12
    told = read(tmp_path / "new")
    assert (told["state"], told["verb"], told["scans"]) == ("done", "evaluate", 12)
    assert told["seconds"] >= 0
    assert "earlier" not in told


def test_broken_off_work_is_told_and_remembered(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), recorded(tmp_path):
        raise KeyboardInterrupt
    assert read(tmp_path)["state"] == "interrupted"
    with pytest.raises(ZeroflawError), recorded(tmp_path):
        raise ZeroflawError("scans: gone; put them back")
    failed = read(tmp_path)
    assert (failed["state"], failed["error"]) == ("failed", "scans: gone; put them back")
    with recorded(tmp_path):
        pass
    told = read(tmp_path)
    assert told["state"] == "done"
    assert [run["state"] for run in told["earlier"]] == ["interrupted", "failed"]
    assert all(run["seconds"] >= 0 for run in told["earlier"])


def test_a_damaged_record_of_an_earlier_run_is_no_obstacle(tmp_path: Path) -> None:
    for damaged in ("{", "[]", '{"earlier": 3}', '{"earlier": [3]}'):
        (tmp_path / RUN).write_text(damaged)
        with recorded(tmp_path):
            pass
        assert read(tmp_path)["state"] == "done"


def test_facts_can_be_added_later_and_nothing_is_written_without_a_folder(tmp_path: Path) -> None:
    with recorded(tmp_path, verb="evaluate"):
        pass
    provenance.amend(tmp_path, recomputed="today")
    assert (read(tmp_path)["verb"], read(tmp_path)["recomputed"]) == ("evaluate", "today")
    with recorded(None) as record:
        record["scans"] = 1
    assert list(tmp_path.iterdir()) == [tmp_path / RUN]


@pytest.mark.usefixtures("one_thread")
def test_a_training_says_what_produced_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(2):
        scan = tiny_scan(seed, defective=seed == 0)
        assert scan.labels is not None
        np.savez(tmp_path / f"{seed}.npz", points=scan.points, labels=scan.labels)
    scans = Folder(tmp_path).select()
    monkeypatch.setitem(METHODS, "tiny", Tiny)
    out = tmp_path / "out"
    fit(
        tiny_method(), scans, TrainSettings(epochs=1, seed=5), out, card={"cell": 3}, progress=False
    )
    told = read(out)
    assert (told["verb"], told["method"], told["state"]) == ("train", "tiny", "done")
    assert told["data_hash"] == scans.content_hash()[:16]
    assert told["frozen_weights_hash"] == hash_frozen(tiny_method())
    assert (told["training"]["seed"], told["config"]["points"]) == (5, 32)
    assert (told["card"]["cell"], told["checkpoint"]) == (3, "last.safetensors")
    fit(
        tiny_method(), scans, TrainSettings(epochs=1, seed=5), out, card={"cell": 3}, progress=False
    )
    assert [run["state"] for run in read(out)["earlier"]] == ["done"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ZeroflawError, match="cannot hold the results"), recorded(tmp_path / "file"):
        pytest.fail("nothing can be recorded here")
