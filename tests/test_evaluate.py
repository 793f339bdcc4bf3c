"""`zeroflaw evaluate` measures per category and says what it could not measure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bulged_parts import SCANS, bulged_parts, measured, told
from dataset_trees import real3d_ad_tree
from peak_method import Peak, peak_checkpoint
from test_stored import stored
from zeroflaw.cli import main
from zeroflaw.datasets.folder import Folder
from zeroflaw.detector import Detector
from zeroflaw.measure import CategoryScores
from zeroflaw.methods.base import Prepared
from zeroflaw.metrics.coverage import coverage_auc
from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import ranking
from zeroflaw.reports.results import FIGURES, read_results
from zeroflaw.reports.stored import read_stored, stored_path
from zeroflaw.score import choose_preview
from zeroflaw.types import Scan

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return bulged_parts(tmp_path / "parts")


@pytest.fixture
def detector() -> Detector:
    return Detector(Peak(), {"threshold": 0.9}, name="peak")


def same(first: Any, second: Any) -> bool:
    return bool(np.allclose(first, second, rtol=1e-12, equal_nan=True))


def test_figures_are_those_of_each_categorys_scans(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    data = Folder(parts)
    results = measured(detector, data, tmp_path / "out").results
    assert results.counted == ("cap", "ring")
    assert results.scans["cap"] == {"defective": 2, "good": 2}
    for category in results.counted:
        scans = [data.read(entry) for entry in data.entries([category])]
        seen = [detector.inspect(scan) for scan in scans]
        labels = [scan.labels for scan in scans if scan.labels is not None]
        scores = [one.point_scores for one in seen]
        region = np.concatenate(
            [np.where(label, number, -1) for number, label in enumerate(labels)]
        )
        objects = ranking([one.score for one in seen], [bool(one.any()) for one in labels])
        points = ranking(np.concatenate(scores), np.concatenate(labels))
        pro = au_pro(np.concatenate(scores), region)
        expected = (*objects, *points, pro, coverage_auc(scores, labels), *points)
        assert same([results.figures[category][name] for name in FIGURES], expected)
    assert results.figures["cap"]["point_auroc"] != results.figures["ring"]["point_auroc"]


def test_every_scan_leaves_its_scores(parts: Path, detector: Detector, tmp_path: Path) -> None:
    data, out = Folder(parts), tmp_path / "out"
    measured(detector, data, out)
    for entry in data.entries():
        scores, scan = read_stored(stored_path(out, entry.name)), data.read(entry)
        inspection = detector.inspect(scan)
        assert np.array_equal(scores.point, inspection.point_scores)
        assert scores.object == inspection.score
        assert scan.labels is not None
        assert np.array_equal(scores.label, scan.labels)
        assert np.array_equal(scores.region, np.where(scan.labels, 0, -1))
        assert (scores.category, scores.kind) == (entry.category, entry.kind)
        places = scan.points[scores.preview_index]
        assert np.allclose(scores.preview_points, places - places.mean(axis=0), atol=1e-5)
    run = told(out)
    assert (run["state"], run["scans"], run["missing"]) == ("done", 2 * SCANS, {})
    assert run["data_hash"] == data.select().content_hash()


def test_regions_of_two_scans_are_two_and_sampled_points_are_judged_apart() -> None:
    both = CategoryScores()
    rng = np.random.default_rng(1)
    scans = []
    for number in range(2):
        label = np.zeros(300, dtype=bool)
        label[:40] = True
        region = np.where(label, np.arange(300) // (40 - 20 * number), -1)
        point = (rng.random(300) + 0.3 * label * (1 + number)).astype(np.float32)
        sampled = np.arange(number, 300, 4 + number)
        one = stored(f"{number}", 300, label=label, region=region, point=point, sampled=sampled)
        scans.append(one)
        both.add(one)
    found = both.figures()
    scores = np.concatenate([scan.point for scan in scans])
    region = np.concatenate([scans[0].region, np.where(scans[1].label, scans[1].region + 1, -1)])
    assert len(np.unique(region)) == 4
    assert found["point_pro"] == au_pro(scores, region)
    apart = ranking(
        np.concatenate([scan.point[scan.sampled] for scan in scans]),
        np.concatenate([scan.label[scan.sampled] for scan in scans]),
    )
    assert found["sampled_point_ap"] == apart.average_precision != found["point_ap"]
    assert math.isnan(found["object_auroc"])


def test_a_scan_that_cannot_be_used_does_not_stop_the_others(
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = parts / "cap" / "bulged" / "1.ply"
    whole = broken.read_bytes()
    broken.write_bytes(b"ply\nnothing\n")
    checkpoint = peak_checkpoint(tmp_path, monkeypatch)
    out = tmp_path / "out"
    command = ["evaluate", "--data", str(parts), "--checkpoint", str(checkpoint)]
    command += ["--out", str(out), "--device", "cpu"]
    assert main(command) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert "cap/bulged/1_ply" in line
    assert "1 of 8 scans are missing" in " ".join(said.out.split())
    assert "1 could not be used" in said.out
    results = read_results(out)
    assert results.about["missing"] == {"cap": 1}
    assert results.scans["cap"] == {"defective": 1, "good": 2}
    assert math.isfinite(results.mean()["point_auroc"])
    assert list(told(out)["missing"]) == ["cap/bulged/1_ply"]
    broken.write_bytes(whole)
    assert main(command) == 0
    assert "1 scan inspected, 7 had been before" in capsys.readouterr().out
    assert "missing" not in read_results(out).about


def test_a_file_that_vanished_and_scans_that_all_fail_are_told(
    parts: Path, detector: Detector, tmp_path: Path
) -> None:
    data = Folder(parts)
    assert len(data.entries()) == 2 * SCANS
    (parts / "cap" / "bulged" / "1.ply").unlink()
    evaluation = measured(detector, data, tmp_path / "out")
    (failure,) = evaluation.failures
    assert "1.ply: cannot be read" in failure.message
    assert told(tmp_path / "out")["data_hash"] is None
    for path in parts.rglob("*.ply"):
        path.write_bytes(b"ply\n")
    evaluation = measured(detector, Folder(parts), tmp_path / "none")
    assert len(evaluation.failures) == 2 * SCANS - 1
    assert all(math.isnan(value) for value in evaluation.results.mean().values())


def test_scores_that_are_no_numbers_name_the_scan(parts: Path, tmp_path: Path) -> None:
    method = Peak()
    method.offset.data.fill_(math.nan)
    evaluation = measured(Detector(method), Folder(parts), tmp_path / "out", categories=["cap"])
    assert len(evaluation.failures) == SCANS
    for failure in evaluation.failures:
        assert Path(failure.path).name.replace("_ply", ".ply") in failure.message
        assert "no numbers" in failure.message


def test_a_fault_of_ours_in_one_scan_is_told_too(
    parts: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Peak.score

    def fail(self: Peak, evidence: Any, scan: Scan, prepared: Prepared) -> Any:
        if scan.name == "3.ply":
            raise IndexError("too far")
        return score(self, evidence, scan, prepared)

    monkeypatch.setattr(Peak, "score", fail)
    evaluation = measured(detector, Folder(parts), tmp_path / "out")
    assert [one.path for one in evaluation.failures] == ["cap/bulged/3_ply", "ring/bulged/3_ply"]
    assert "unexpected IndexError (too far)" in evaluation.failures[0].message


def test_what_the_detector_was_trained_on_is_left_out_of_the_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = real3d_ad_tree(tmp_path / "tree", ("car", "duck"), scans=1, points=300)
    seen = {"data": "real3d_ad", "categories": ["duck"]}
    checkpoint = peak_checkpoint(tmp_path, monkeypatch, seen=seen)
    command = ["evaluate", "--data", "real3d_ad", str(root), "--checkpoint", str(checkpoint)]
    command += ["--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "duck *" in said
    assert "left out of the mean: duck" in said
    assert max(map(len, said.splitlines()[:-1])) <= 80
    results = read_results(tmp_path / "out")
    assert results.counted == ("car",)
    assert results.mean()["point_ap"] == results.figures["car"]["point_ap"]
    assert results.about["trained_on"] == "not stated"
    assert main([*command, str(tmp_path / "car"), "--category", "car"]) == 0
    assert read_results(tmp_path / "car").left_out == ()


def test_a_folder_of_the_same_name_is_not_what_it_was_trained_on(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"data": "folder", "categories": ["cap"]}
    checkpoint = str(peak_checkpoint(tmp_path, monkeypatch, seen=seen))
    out = tmp_path / "out"
    command = ["evaluate", "--data", str(parts), "--checkpoint", checkpoint, "--device", "cpu"]
    assert main([*command, "--out", str(out), "--method", "peak"]) == 0
    assert read_results(out).counted == ("cap", "ring")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "btp"], "is a checkpoint of peak, not of btp"),
        (["--category", "cup"], "has no category 'cup'"),
        (["--leave-out", "cup"], "no such category; there are cap, ring"),
        (["--split", "train"], "has no scan in split 'train'"),
        (["--split", "rest"], "split 'rest': unknown"),
        (["--recompute", "x"], "takes no --data"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    checkpoint = str(peak_checkpoint(tmp_path, monkeypatch))
    command = ["evaluate", "--data", str(parts), "--checkpoint", checkpoint, "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "out"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_arguments_that_are_missing_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--data", "x"], ["--out", "x"], []):
        assert main(["evaluate", *arguments]) == 2
        assert "give --data and --out, or --recompute DIR" in capsys.readouterr().err
    assert main(["evaluate", "--recompute", "nowhere"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_pictures_show_enough_of_a_small_defect() -> None:
    labels = np.zeros(100_000, dtype=bool)
    labels[5000:5300] = True
    chosen = choose_preview(labels)
    assert len(chosen) == len(np.unique(chosen)) == 8192
    assert np.all(np.diff(chosen) > 0)
    assert labels[chosen].sum() == 256
    labels[5020:] = False
    assert labels[choose_preview(labels)].sum() == 20
    assert len(choose_preview(labels[:100])) == 100
