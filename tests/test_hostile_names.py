"""Names of files and numbers that nobody expects do no harm, and steer no terminal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bulged_parts import bulged_parts
from dataset_trees import real3d_ad_tree
from peak_method import peak_checkpoint
from zeroflaw.cli import main

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [
    b"\x1b[31mred\x07",
    b"two\nlines",
    b"\xff\xfe no text",
    b"<script>alert(1)",
    b"[red]q'u\"o",
    "\u202eé😀".encode(),
    b"x" * 240,
]


def test_any_name_is_evaluated_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = peak_checkpoint(tmp_path, monkeypatch)
    source, root = bulged_parts(tmp_path / "parts"), tmp_path / "named"
    for name in map(os.fsdecode, NAMES):
        for kind, scan in (("good", "0.ply"), ("bulged", "1.ply")):
            folder = root / name / kind
            folder.mkdir(parents=True)
            shutil.copy(source / "cap" / kind / scan, folder / f"{name}{name[:7]}.ply")
    out = tmp_path / "out"

    assert main(["data", "check", str(root), "--workers", "1"]) == 0
    evaluate = ["evaluate", "--data", str(root), "--checkpoint", str(checkpoint)]
    assert main([*evaluate, "--out", str(out)]) == 0
    assert "14 scans inspected" in capsys.readouterr().out
    assert main([*evaluate, "--out", str(out)]) == 0
    assert "14 had been before" in capsys.readouterr().out
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text("utf-8")

    said = capsys.readouterr()
    for text in (said.out, said.err, page):
        assert all(letter.isprintable() for letter in text.replace("\n", " ").replace("\xa0", " "))
    assert "<script>alert" not in page


def test_an_error_about_a_strange_path_is_one_plain_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", f"{tmp_path}/\x1b[2J\nnothing"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "no such folder" in said


@pytest.mark.parametrize("seed", ["-1", "4294967296", "9" * 30])
def test_a_seed_that_no_generator_takes_is_refused(
    seed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "btp", "--data", str(tmp_path), "--out", str(tmp_path), "--seed", seed])
    assert ended.value.code == 2
    assert f"{seed} is not between 0 and 4294967295" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "delay"), [(signal.SIGTERM, 0.2), (signal.SIGINT, 0.0), (signal.SIGINT, 0.3)]
)
def test_a_check_that_is_told_to_end_says_so_and_leaves_no_process(
    kind: signal.Signals, delay: float, tmp_path: Path
) -> None:
    root = real3d_ad_tree(tmp_path / "root", ("car",), scans=150, points=400)
    command = [sys.executable, "-m", "zeroflaw", "data", "check", "real3d_ad", str(root)]
    process = subprocess.Popen(
        [*command, "--workers", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    limit = time.monotonic() + 60
    while len(family(process.pid)) < 3 and time.monotonic() < limit:
        time.sleep(0.02)
    time.sleep(delay)
    process.send_signal(kind)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "zeroflaw: interrupted\n"
    limit = time.monotonic() + 10  # a helper of Python's own ends a moment after us
    while family(process.pid) and time.monotonic() < limit:
        time.sleep(0.02)
    assert family(process.pid) == []


def family(group: int) -> list[int]:
    """The processes of a group."""
    said = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True).stdout
    rows = [line.split() for line in said.splitlines()[1:]]
    return [int(pid) for pid, own, state in rows if int(own) == group and state[0] != "Z"]


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [(">/dev/full", 2, "zeroflaw: output: No space left"), (">&-", 0, ""), ("| head -n 0", 2, "")],
)
def test_output_that_goes_nowhere_is_no_crash(output: str, code: int, said: str) -> None:
    line = f"set -o pipefail; {sys.executable} -m zeroflaw data list {output}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)


@pytest.mark.parametrize("option", ["--prompt", "--detector", "--out", "--threshold"])
def test_two_dashes_are_no_value_of_an_option(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "part.ply", f"{option}=--"])
    assert ended.value.code == 2
    assert f"argument {option}: expected one argument" in capsys.readouterr().err
