"""An evaluation goes on where it stopped, inspects nothing twice and ends with the same results."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from bulged_parts import SCANS, bulged, bulged_parts, files, measured, told
from dataset_trees import real3d_ad_tree
from peak_method import Peak, PeakConfig, peak_checkpoint
from zeroflaw import scan_index
from zeroflaw.cli import main
from zeroflaw.datasets import open_dataset
from zeroflaw.datasets.base import hash_file
from zeroflaw.datasets.folder import Folder
from zeroflaw.detector import Detector
from zeroflaw.evaluate import recompute
from zeroflaw.io import write_scan
from zeroflaw.methods.base import Prepared
from zeroflaw.reports.results import read_results
from zeroflaw.reports.stored import stored_path
from zeroflaw.types import Scan, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return bulged_parts(tmp_path / "parts")


@pytest.fixture
def detector() -> Detector:
    return Detector(Peak(), {"threshold": 0.9}, name="peak")


def test_a_second_run_inspects_nothing_and_says_the_same(
    parts: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = Folder(parts), tmp_path / "out"
    first = measured(detector, data, out)
    before = files(out)
    monkeypatch.setattr(Peak, "prepare", None)
    second = measured(detector, data, out)
    assert (first.inspected, first.kept) == (2 * SCANS, 0)
    assert (second.inspected, second.kept) == (0, 2 * SCANS)
    assert files(out) == before


@pytest.mark.parametrize("shared", [False, True])
def test_a_second_run_hashes_no_file_that_has_not_changed(
    shared: bool,
    parts: Path,
    detector: Detector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_index, "YOUNG", -(10**15))
    data, out = Folder(parts), tmp_path / "out"
    cache = tmp_path / "cache" if shared else None
    measured(detector, data, out, cache=cache)
    before = told(out)
    changed = parts / "cap" / "bulged" / "1.ply"
    write_scan(changed, bulged(99, 1.5))
    hashed: list[Path] = []

    def noted(path: Path) -> bytes:
        hashed.append(path)
        return hash_file(path)

    monkeypatch.setattr(scan_index, "hash_file", noted)
    other = tmp_path / "other" if shared else out
    assert measured(detector, data, other, cache=cache).inspected == (2 * SCANS if shared else 1)
    assert hashed == [changed]
    assert told(other)["detector_hash"] == before["detector_hash"]
    assert told(other)["data_hash"] != before["data_hash"]


def test_interrupted_at_any_scan_it_goes_on_and_ends_the_same(
    parts: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Folder(parts)
    measured(detector, data, tmp_path / "whole")
    prepare, calls = Peak.prepare, 0

    def stopping(self: Peak, scan: Scan) -> Prepared:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise KeyboardInterrupt
        return prepare(self, scan)

    monkeypatch.setattr(Peak, "prepare", stopping)
    out = tmp_path / "out"
    for kept in (2, 4, 6):
        with pytest.raises(KeyboardInterrupt):
            measured(detector, data, out)
        assert told(out)["state"] == "interrupted"
        assert len(list((out / "scores").rglob("*.npz"))) == kept
    evaluation = measured(detector, data, out)
    assert (evaluation.inspected, evaluation.kept) == (2, 6)
    assert files(out) == files(tmp_path / "whole")
    assert [run["state"] for run in told(out)["earlier"]] == ["interrupted"] * 3


KILLED = """
import sys, time
from pathlib import Path
import torch
from peak_method import Peak
from zeroflaw.datasets.folder import Folder
from zeroflaw.detector import Detector
from zeroflaw.evaluate import evaluate
torch.set_num_threads(1)
prepare = Peak.prepare
Peak.prepare = lambda self, scan: time.sleep(0.1) or prepare(self, scan)
detector = Detector(Peak(), {"threshold": 0.9}, name="peak")
evaluate(detector, Folder(Path(sys.argv[1])), Path(sys.argv[2]), progress=False)
"""


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    data, out = Folder(parts), tmp_path / "out"
    measured(detector, data, tmp_path / "whole")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(parts), str(out)], env=environment
    ) as process:
        begun = time.monotonic()
        while len(list(out.rglob("*.npz"))) < 3 and process.poll() is None:
            assert time.monotonic() - begun < 60
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert told(out)["state"] == "running"
    (out / "scores" / "cap" / ".1_ply.npz.killed").write_bytes(b"PK")
    evaluation = measured(detector, data, out)
    assert 0 < evaluation.inspected < 2 * SCANS
    assert files(out) == files(tmp_path / "whole")
    assert told(out)["state"] == "done"
    assert not list((out / "scores").rglob(".*"))


def test_only_what_changed_is_inspected_again(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    measured(detector, Folder(parts), out)
    write_scan(parts / "cap" / "bulged" / "1.ply", bulged(99, 4.0))
    assert measured(detector, Folder(parts), out).inspected == 1
    card = Detector(Peak(), {"threshold": 0.1}, name="peak")
    assert measured(card, Folder(parts), out).inspected == 0
    assert read_results(out).about["threshold"] == 0.1
    steeper = Detector(Peak(PeakConfig(steepness=20)), name="peak")
    assert measured(steeper, Folder(parts), out).inspected == 2 * SCANS
    moved = Peak(PeakConfig(steepness=20))
    moved.offset.data += 0.1
    assert measured(Detector(moved), Folder(parts), out).inspected == 2 * SCANS
    assert measured(Detector(moved), Folder(parts), out, restart=True).inspected == 2 * SCANS


def test_old_scores_of_a_scan_that_is_broken_now_do_not_count(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    out, lost = tmp_path / "out", "cap/bulged/1_ply"
    measured(detector, Folder(parts), out)
    (parts / "cap" / "bulged" / "1.ply").write_bytes(b"ply\nbroken")
    for evaluation in (measured(detector, Folder(parts), out), recompute(out, progress=False)):
        assert stored_path(out, lost).exists()
        assert [one.path for one in evaluation.failures] == [lost]
        assert evaluation.results.scans["cap"] == {"defective": 1, "good": 2}
        assert evaluation.results.about["missing"] == {"cap": 1}


def test_damaged_scores_are_missing_until_they_are_deleted(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    measured(detector, Folder(parts), out)
    before = files(out)
    path = stored_path(out, "cap/bulged/1_ply")
    content = bytearray(path.read_bytes())
    place = content.index(b"point.npy") + 300
    content[place] ^= 255
    path.write_bytes(content)
    (failure,) = recompute(out, progress=False).failures
    assert "damaged scores" in failure.message
    path.unlink()
    assert measured(detector, Folder(parts), out).inspected == 1
    assert files(out) == before


def test_recomputing_needs_no_scan(
    parts: Path, detector: Detector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    measured(detector, Folder(parts), out, left_out=["ring"], about={"cell": "one"})
    before = files(out)
    shutil.rmtree(parts)
    (out / "results.json").unlink()
    assert main(["evaluate", "--recompute", str(out)]) == 0
    assert files(out) == before
    assert told(out)["state"] == "done"
    assert told(out)["recomputed"]["versions"]
    capsys.readouterr()
    assert main(["evaluate", "--recompute", str(out), "--leave-out", "cap"]) == 0
    assert "left out of the mean: cap" in capsys.readouterr().out
    assert read_results(out).left_out == ("cap",)
    assert read_results(out).about["cell"] == "one"
    assert main(["evaluate", "--recompute", str(out), "--leave-out", "cup"]) == 2
    assert "no such category; there are cap, ring" in capsys.readouterr().err


@pytest.mark.parametrize("cached", [False, True])
def test_workers_and_cache_change_nothing(
    parts: Path, detector: Detector, tmp_path: Path, cached: bool
) -> None:
    measured(detector, Folder(parts), tmp_path / "one")
    cache = tmp_path / "cache" if cached else None
    workers = 1 if cached else 2
    measured(detector, Folder(parts), tmp_path / "two", cache=cache, workers=workers)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    if cache is not None:
        assert len(list(cache.glob("*.safetensors"))) == 2 * SCANS


def test_ctrl_c_is_130_and_the_command_goes_on(
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(self: Peak, scan: Scan) -> Prepared:
        raise KeyboardInterrupt

    checkpoint = str(peak_checkpoint(tmp_path, monkeypatch))
    command = ["evaluate", "--data", str(parts), "--checkpoint", checkpoint, "--device", "cpu"]
    command += ["--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(Peak, "prepare", stop)
        assert main(command) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on where it stopped\n"
    assert main(command) == 0


def test_a_folder_with_another_evaluation_or_in_use_is_refused(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    measured(detector, Folder(parts), out)
    tree = open_dataset(["real3d_ad", real3d_ad_tree(tmp_path / "tree", ("car",), 1, 300)])
    with pytest.raises(ZeroflawError, match="holds an evaluation on folder, split test"):
        measured(detector, tree, out)
    with FileLock(out / ".lock"), pytest.raises(ZeroflawError, match="another process"):
        recompute(out)
    assert measured(detector, tree, out, restart=True).results.counted == ("car",)
    assert not list((out / "scores" / "cap").rglob("*.npz"))
    (tmp_path / "file").touch()
    with pytest.raises(ZeroflawError, match="cannot hold the results"):
        measured(detector, tree, tmp_path / "file")


def test_scores_of_scans_that_are_gone_leave_and_other_categories_stay(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    measured(detector, Folder(parts), out)
    (parts / "cap" / "bulged" / "1.ply").unlink()
    evaluation = measured(detector, Folder(parts), out, categories=["cap"])
    assert evaluation.inspected == 0
    assert not stored_path(out, "cap/bulged/1_ply").exists()
    assert measured(detector, Folder(parts), out).inspected == 0
