"""`zeroflaw calibrate` learns thresholds from good scans, and `zeroflaw inspect` keeps to them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from conftest import dent, sphere_points
from peak_method import peak_checkpoint
from zeroflaw.calibrate import region_score
from zeroflaw.calibration_file import Calibration, read_calibration
from zeroflaw.cli import main
from zeroflaw.detector import Detector
from zeroflaw.geometry.regions import describe_regions, smallest_region
from zeroflaw.types import Float32, Scan, ZeroflawError

COUNT = 12
SCALINGS = {
    "object": {"temperature": 3.0, "bias": -0.5},
    "point": {"temperature": 2.0, "bias": -3.0},
}
Damage = Callable[[dict[str, Any]], object]


def good_points(seed: int, bulge: float = 0.0) -> NDArray[np.float64]:
    """A sphere with a bulge and an unevenness of its own."""
    rng = np.random.default_rng(seed)
    points, _ = dent(sphere_points(400, seed) * 10, (0, 0, 10), 5, (0, 0, bulge))
    unevenness: NDArray[np.float64] = points * (1 + rng.gamma(2, 0.02) * rng.random((400, 1)))
    return unevenness


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with good scans, a defective one and the weights of a detector."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good").mkdir()
    for number in range(COUNT):
        np.savetxt(tmp_path / "good" / f"{number:02d}.xyz", good_points(number), fmt="%.6f")
    np.savetxt(tmp_path / "bad.xyz", good_points(99, bulge=6), fmt="%.6f")
    peak_checkpoint(tmp_path, monkeypatch, calibration=SCALINGS)
    return tmp_path


def calibrate(*words: str) -> int:
    given = ["--false-alarms", "0.1", "-o", "cal.json", *words, "good"]
    return main(["calibrate", "--detector", "peak.safetensors", "--device", "cpu", *given])


def inspect(*words: str) -> int:
    given = ["--detector", "peak.safetensors", "--device", "cpu", *words]
    return main(["inspect", *given])


def scores(place: Path) -> list[float]:
    detector = Detector.load(place / "peak.safetensors", "cpu")
    return sorted(detector.inspect(path).score for path in (place / "good").glob("*.xyz"))


def test_the_threshold_is_just_above_the_score_of_its_rank(place: Path) -> None:
    assert calibrate() == 0
    found = scores(place)
    said = json.loads((place / "cal.json").read_text())
    assert (said["scans"], said["rank"], said["false_alarms"]) == (12, 12, 0.1)
    assert said["threshold"] == math.nextafter(found[-1], 1)
    assert sorted(one["score"] for one in said["scores"]) == found
    assert "at most 10 %" in said["guarantee"]
    assert calibrate("--false-alarms", "0.2") == 0
    assert read_calibration(place / "cal.json").threshold == math.nextafter(found[10], 1)


def test_inspections_use_it_and_say_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate("--false-alarms", "0.2") == 0
    capsys.readouterr()
    assert inspect("good", "bad.xyz", "--calibration", "cal.json", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    calls = {Path(one["scan"]).name: one["defective"] for one in said["scans"]}
    assert calls.pop("bad.xyz")
    assert sum(calls.values()) == 1  # 12 good scans, of which the 11th may score just below
    marked = [one for one in said["scans"] if one["regions"]]
    assert "bad.xyz" in [Path(one["scan"]).name for one in marked]
    assert len(marked) <= 2
    promise = said["scans"][0]["calibration"]
    assert (promise["file"], promise["scans"], promise["false_alarms"]) == ("cal.json", 12, 0.2)
    assert promise["guarantee"] == json.loads((place / "cal.json").read_text())["guarantee"]

    assert inspect("bad.xyz", "--calibration", "cal.json", "--out", "results") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "calibrated by cal.json: at most 20 % of good scans like its 12" in shown
    assert json.loads((place / "results" / "bad.json").read_text())["calibration"] == promise


def test_without_it_nothing_is_promised(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect("bad.xyz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["scans"][0]["calibration"] is None


def test_a_detector_in_python_takes_it_too(place: Path) -> None:
    assert calibrate() == 0
    detector = Detector.load(place / "peak.safetensors", "cpu", calibration="cal.json")
    found = detector.inspect(place / "bad.xyz")
    assert found.promise is not None
    assert found.promise.scans == COUNT
    assert found.threshold == read_calibration(place / "cal.json").threshold


def test_a_score_equal_to_the_highest_good_one_is_good(place: Path) -> None:
    """However scores are rounded: those of points have 32 bits."""
    assert calibrate() == 0
    detector = Detector.load(place / "peak.safetensors", "cpu", calibration="cal.json")
    for path in (place / "good").glob("*.xyz"):
        found = detector.inspect(path)
        assert not found.defective
        assert not found.regions
        assert region_score(found.point_scores) < np.float32(found.point_threshold)


@given(st.integers(0, 10**6), st.integers(150, 900), st.floats(0.0, 1.0))
def test_no_region_is_found_above_the_score_at_which_one_could_begin(
    seed: int, count: int, steps: float
) -> None:
    rng = np.random.default_rng(seed)
    scan = Scan(sphere_points(count, seed))
    near = np.exp(-4 * np.linalg.norm(scan.points - scan.points[0], axis=1))
    found: Float32 = np.round(near * rng.uniform(0.5, 1, count), 1 + int(2 * steps)).astype("f4")
    highest = region_score(found)
    above = float(np.nextafter(np.float32(highest), np.float32(2)))
    assert describe_regions(scan, found, above) == ()
    assert (found >= highest).sum() >= smallest_region(count)


def test_too_few_scans_are_refused_before_any_is_read(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Detector, "load", None)
    assert calibrate("--false-alarms", "0.01", "missing.ply") == 2
    said = capsys.readouterr().err
    assert "12 good scans are too few" in said
    assert "give at least 99" in said
    assert "missing.ply: no such file" in said
    assert not (place / "cal.json").exists()


def test_bad_files_are_named_together_and_the_others_count(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "good" / "05a.xyz").write_text("1 2\n")
    (place / "good" / "07a.ply").write_text("nothing")
    labelled = np.column_stack([good_points(50), np.arange(400) < 3])
    np.savetxt(place / "good" / "08a.csv", labelled, "%.6f", ",", header="x,y,z,label", comments="")
    assert calibrate() == 2
    said = capsys.readouterr()
    assert [name in said.err for name in ("05a.xyz", "07a.ply", "08a.csv")] == [True] * 3
    assert "3 of its points are labelled defective" in said.err
    file = json.loads((place / "cal.json").read_text())
    assert (file["scans"], len(file["unusable"])) == (COUNT, 3)
    assert inspect("bad.xyz", "--calibration", "cal.json") == 0


def test_the_same_points_count_once_in_whatever_order_and_format(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = np.loadtxt(place / "good" / "03.xyz")
    np.save(place / "good" / "03b.npy", points[::-1])
    assert calibrate("good/03.xyz", "./good") == 0
    assert "03b.npy: the same points as good/03.xyz; counted once" in capsys.readouterr().out
    file = json.loads((place / "cal.json").read_text())
    assert (file["scans"], file["counted_once"]) == (COUNT, [["good/03b.npy", "good/03.xyz"]])


class Counting:
    """Detector.scores that counts, and is interrupted at a number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int = -1) -> None:
        self.calls, self.stop, self.scores = 0, stop, Detector.scores
        monkeypatch.setattr(Detector, "scores", lambda *words: self(*words))

    def __call__(self, detector: Detector, scan: Scan) -> Any:
        if self.calls == self.stop:
            raise KeyboardInterrupt
        self.calls += 1
        return self.scores(detector, scan)


def test_interrupted_it_goes_on_where_it_stopped(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        first = Counting(patch, stop=5)
        assert calibrate() == 130
    assert "goes on from cal.json.part" in capsys.readouterr().err
    assert not (place / "cal.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        second = Counting(patch)
        assert calibrate() == 0
    assert (first.calls, second.calls) == (5, COUNT - 5)
    assert not (place / "cal.json.part").exists()
    resumed = (place / "cal.json").read_bytes()
    (place / "cal.json").unlink()
    assert calibrate() == 0
    assert (place / "cal.json").read_bytes() == resumed


def test_with_more_scans_only_these_are_scored(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert calibrate() == 0
    counting = Counting(monkeypatch)
    np.savetxt(place / "good" / "more.xyz", good_points(70), fmt="%.6f")
    assert calibrate() == 0
    assert counting.calls == 1
    peak_checkpoint(place, monkeypatch)
    assert calibrate() == 0
    assert counting.calls == 2 + COUNT  # the scores are of another scale


def test_a_calibration_of_another_detector_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert calibrate() == 0
    assert main(["inspect", "bad.xyz", "--calibration", "cal.json", "--device", "cpu"]) == 2
    assert "cal.json: it was made with peak" in capsys.readouterr().err
    peak_checkpoint(place, monkeypatch)
    assert inspect("bad.xyz", "--calibration", "cal.json") == 2
    assert "scaled otherwise" in capsys.readouterr().err


def test_a_calibration_of_other_settings_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate() == 0
    found = replace(read_calibration(place / "cal.json"), scalings=None)
    card = {"sha256": found.sha256, "config": {"photograph": True}}
    assert found.settings is not None
    with pytest.raises(ZeroflawError, match="peak has other settings than when it was made; run"):
        found.check(place / "cal.json", card, "peak")
    older = replace(found, settings=None)
    older.check(place / "cal.json", card, "peak")


def test_what_does_not_go_with_it_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate() == 0
    assert inspect("bad.xyz", "--calibration", "cal.json", "--remove-plane") == 2
    assert "made without --remove-plane" in capsys.readouterr().err
    assert inspect("bad.xyz", "--calibration", "cal.json", "--threshold", "0.5") == 2
    assert "leave out --threshold" in capsys.readouterr().err


def lower(said: dict[str, Any]) -> None:
    said["threshold"] /= 2


def repeat(said: dict[str, Any]) -> None:
    said["scores"].append(said["scores"][0])
    said["scans"] += 1


def drop(said: dict[str, Any]) -> None:
    said["scores"] = said["scores"][:4]
    said["scans"] = 4


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lower, "do not follow from its scores"),
        (drop, "too few"),
        (repeat, "damaged"),
        (lambda said: said.pop("scores"), "damaged"),
        (lambda said: said.update(false_alarms="0.1"), "damaged"),
        (lambda said: said.update(false_alarms=0.0), "not between 0 and 1"),
        (lambda said: said.update(detector=[]), "damaged"),
        (lambda said: said["detector"].update(calibration=7), "damaged"),
        (lambda said: said["scores"][0].update(score=2.0), "damaged"),
        (lambda said: said["scores"][0].update(score=math.nan), "damaged"),
        (lambda said: said.update(format="zeroflaw calibration 9"), "not what zeroflaw calibrate"),
    ],
)
def test_a_damaged_file_is_one_clear_line(
    place: Path, capsys: pytest.CaptureFixture[str], damage: Damage, problem: str
) -> None:
    assert calibrate() == 0
    said = json.loads((place / "cal.json").read_text())
    damage(said)
    (place / "cal.json").write_text(json.dumps(said))
    capsys.readouterr()
    assert inspect("bad.xyz", "--calibration", "cal.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("zeroflaw: cal.json: ")
    assert problem in line
    assert line.endswith("run zeroflaw calibrate again")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_of_another_kind_is_neither_read_nor_overwritten(
    place: Path, content: bytes
) -> None:
    (place / "cal.json").write_bytes(content)
    with pytest.raises(ZeroflawError, match=r"cal\.json"):
        read_calibration(place / "cal.json")
    assert calibrate() == 2
    assert (place / "cal.json").read_bytes() == content


def test_where_nothing_can_be_written_nothing_is_scored(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    assert calibrate("-o", "nowhere/cal.json") == 2
    assert calibrate("-o", "good") == 2
    said = capsys.readouterr().err
    assert "nowhere/cal.json: there is no such folder" in said
    assert "good: is a folder" in said
    assert counting.calls == 0


def test_what_lies_where_scores_are_kept_is_not_lost(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    (place / "cal.json.part").write_text("notes of mine")
    assert calibrate() == 2
    assert "cal.json.part: holds something other than a calibration" in capsys.readouterr().err
    assert (place / "cal.json.part").read_text() == "notes of mine"
    assert counting.calls == 0


def test_scores_of_a_damaged_calibration_are_not_used_again(place: Path) -> None:
    assert calibrate() == 0
    whole = (place / "cal.json").read_text()
    said = json.loads(whole)
    for one in said["scores"]:
        one["score"] /= 2
    (place / "cal.json").write_text(json.dumps(said))
    assert inspect("bad.xyz", "--calibration", "cal.json") == 2
    assert calibrate() == 0
    assert (place / "cal.json").read_text() == whole


def test_where_repeats_leave_too_few_scans_they_are_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        np.save(place / "good" / f"a{number}.npy", good_points(0))
    assert calibrate("--false-alarms", "0.05") == 2
    said = capsys.readouterr().err
    assert "13 good scans are too few" in said
    assert said.count("the same points as good/a0.npy; counted once") == 9


def test_another_version_of_zeroflaw_is_told(place: Path) -> None:
    assert calibrate() == 0
    found = read_calibration(place / "cal.json")
    older = Calibration(**{**vars(found), "version": "0.0.9"})
    assert "Made with zeroflaw 0.0.9" in older.promise(place / "cal.json").guarantee
    assert "Made with" not in found.promise(place / "cal.json").guarantee
