"""Whatever the files of a run hold, they are refused in a line, and never run."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation_folder import evaluation
from zeroflaw.cli import main
from zeroflaw.provenance import recorded
from zeroflaw.reports.plan import Plan, PlannedScan, read_plan, write_plan
from zeroflaw.reports.stored import stored_path
from zeroflaw.scan_index import ScanIndex
from zeroflaw.types import ZeroflawError

DEEP = b"[" * 100_000


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return evaluation(tmp_path / "run")


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["report", str(folder)]) == 2
    said = capsys.readouterr().err
    assert all(line.startswith("zeroflaw: ") for line in said.splitlines())
    return said.splitlines()[0]


@pytest.mark.parametrize("name", ["results.json", "evaluation.json", "run.json"])
@pytest.mark.parametrize("content", [b"", DEEP, b"[]", b"null", b"{", b"9" * 9999, b"\xff"])
def test_a_damaged_file_is_named_in_one_line(
    name: str, content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_bytes(content)
    said = told(folder, capsys)
    assert name in said
    assert "damaged" in said


@pytest.mark.parametrize("name", ["results.json", "evaluation.json", "run.json", "scores"])
def test_a_pickle_is_never_run(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored_path(folder, "cup/test/fine") if name == "scores" else folder / name
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert "damaged" in told(folder, capsys)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda scan: scan.update(name=None),
        lambda scan: scan.update(category=[]),
        lambda scan: scan.update(name="\ud800"),
        lambda scan: scan.update(name="../../../other"),
        lambda scan: scan.update(name="/etc/passwd"),
        lambda scan: scan.update(more=1),
    ],
)
def test_a_plan_of_scans_that_cannot_be_is_damaged(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    write_plan(tmp_path, Plan("d", "parts", "test", (PlannedScan("cup/1", "cup", "x"),)))
    content = json.loads((tmp_path / "evaluation.json").read_text())
    change(content["scans"][0])
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(ZeroflawError, match="damaged"):
        read_plan(tmp_path)


def test_a_threshold_that_no_score_has_is_not_drawn(folder: Path) -> None:
    content = json.loads((folder / "results.json").read_text())
    content["about"]["threshold"] = 1e300
    (folder / "results.json").write_text(json.dumps(content))
    assert main(["report", str(folder)]) == 0


def test_what_only_helps_is_begun_anew_where_it_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(DEEP)
    (tmp_path / "index.jsonl").write_bytes(DEEP + b"\n")
    with recorded(tmp_path, verb="test"):
        assert ScanIndex(tmp_path / "index.jsonl").scan("any") is None
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "done"


def test_a_message_does_not_repeat_a_large_damaged_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "results.json").write_bytes(b"\xff" * 1_000_000)
    assert len(told(folder, capsys)) < 400
