"""`zeroflaw benchmark synthetic`: the same scans for everybody, resumed, compared in one folder."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zeroflaw import benchmark_synthetic, synthetic_folder
from zeroflaw.benchmark_synthetic import compare, facts_of, table
from zeroflaw.cli import main
from zeroflaw.contestants import Judgement
from zeroflaw.datasets import held_out_pairs
from zeroflaw.datasets.held_out_pairs import HeldOutPairs, Pair, plan
from zeroflaw.geometry.regions import describe_regions
from zeroflaw.reports.synthetic_stored import Facts, Judged, read_kept, write_kept
from zeroflaw.synthesis.generate import Settings, good_twin, synthesize
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.synthetic_folder import folder_of, scan_names
from zeroflaw.types import Scan, ScanError, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = HeldOutPairs().name()


class Heights:
    """Scores points by one of their coordinates; counts what it was asked, refuses what it must."""

    def __init__(self, axis: int = 2, name: str = "heights", refuses: int = 0) -> None:
        self.about: dict[str, Any] = {"method": "heights"}
        self.axis, self.name, self.refuses = axis, name, refuses
        self.identity = f"{name} {axis}"
        self.asked = 0

    def judge(self, scan: Scan) -> Judgement:
        assert scan.labels is None, "the labels are not the contestant's to see"
        self.asked += 1
        if self.asked == self.refuses:
            raise ScanError(scan.source, "is not to my liking", "give another")
        point = scan.points[:, self.axis].astype(np.float32)
        return Judgement(point, float(point.max()), describe_regions(scan, point, 0.9))


def itself(contestant: Heights) -> Heights:
    return contestant


def run(out: Path, *contestants: Heights, pairs: int = 2) -> int:
    return compare([partial(itself, one) for one in contestants], out, None, pairs)


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark's pairs as small scans of one part: quick to make, and to look at."""

    def pair(self: HeldOutPairs, number: int) -> Pair:
        kind, _, side = plan(number)
        settings = Settings(
            points=(1500, 2500), kinds=(kind,), one_sided_share=float(side == "one"), attempts=20
        )
        for seed in range(100):
            shape = SOLIDS["flange"](np.random.default_rng([number, seed]))
            made = synthesize(shape, seed, settings)
            if made.kind == kind:
                return Pair(made, good_twin(shape, seed, settings), shape.key)
        raise AssertionError(f"no {kind}")

    monkeypatch.setattr(HeldOutPairs, "pair", pair)
    monkeypatch.setattr(benchmark_synthetic, "check_synthesis", lambda: None)


def test_the_shipped_detector_is_measured_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["benchmark", "synthetic", "compact", "--pairs", "2", "--out", str(out)]
    assert main([*given, "--devices", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert f"{NAME}, 2 pairs" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    found = results(out)
    (detector,) = found["detectors"]
    assert detector["name"] == "compact"
    assert len(detector["weights_sha256"]) == 64
    assert found["scans"]["kinds"] == {"bulge": 1, "dent": 1, "good": 2}
    assert 0 < detector["figures"]["rows"]["all"]["point_auroc"] < 1
    assert "| P-PRO | ≥ 75.0 |" in (out / "table.md").read_text()
    record = json.loads((out / "run.json").read_text())
    assert (record["state"], record["benchmark"]) == ("done", NAME)
    assert record["data_hash"] == found["data_hash"]


def test_what_is_there_is_not_scored_again(tmp_path: Path) -> None:
    first, again, more = Heights(), Heights(), Heights()
    assert run(tmp_path, first) == 0
    before = (tmp_path / "results.json").read_bytes()
    assert run(tmp_path, again) == 0
    assert (first.asked, again.asked) == (4, 0)
    assert (tmp_path / "results.json").read_bytes() == before
    run(tmp_path, more, pairs=3)
    assert more.asked == 2


def test_a_detector_of_other_weights_is_scored_anew(tmp_path: Path) -> None:
    run(tmp_path, Heights(axis=2))
    before = results(tmp_path)["detectors"][0]["figures"]["rows"]["all"]
    other = Heights(axis=0)
    run(tmp_path, other)
    (found,) = results(tmp_path)["detectors"]
    assert other.asked == 4
    assert found["figures"]["rows"]["all"] != before


def test_detectors_of_earlier_calls_stay_in_the_table_behind_those_of_this_one(
    tmp_path: Path,
) -> None:
    run(tmp_path, Heights(name="a"))
    run(tmp_path, Heights(name="b"))
    assert [one["name"] for one in results(tmp_path)["detectors"]] == ["b", "a"]


def test_interrupted_it_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient(Heights):
        def judge(self, scan: Scan) -> Judgement:
            if self.asked == 3:
                raise KeyboardInterrupt
            return super().judge(scan)

    whole, stopped, rest = Heights(), Impatient(), Heights()
    run(tmp_path / "whole", whole)
    assert run(tmp_path / "parts", stopped) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert run(tmp_path / "parts", rest) == 0
    assert rest.asked == 2  # of the pair that was in progress
    figures = [results(tmp_path / name)["detectors"][0]["figures"] for name in ("whole", "parts")]
    for one in figures:
        del one["seconds_per_scan"]
    assert figures[0] == figures[1]


def test_a_scan_that_a_detector_refuses_does_not_cost_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, Heights(refuses=2)) == 1
    captured = capsys.readouterr()
    assert "0000_good, heights: scan in memory: is not to my liking" in captured.err
    assert "heights: 1 scan without scores" in captured.out
    assert results(tmp_path)["detectors"][0]["figures"]["missing"] == 1
    assert run(tmp_path, Heights()) == 0


def test_several_processes_give_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # processes make the benchmark's own scans
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        assert compare([partial(Heights, 1)], out, None, 2, workers) == 0
        found.append(results(out))
        del found[-1]["detectors"][0]["figures"]["seconds_per_scan"]
    assert found[0] == found[1]


def test_two_detectors_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="two detectors are called heights; rename"):
        run(tmp_path, Heights(axis=0), Heights(axis=1))


def test_a_folder_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, Heights())
    monkeypatch.setattr(held_out_pairs, "VERSION", 99)
    with pytest.raises(ZeroflawError, match=r"and this is synthetic-v99.*; name another --out"):
        run(tmp_path, Heights())


def test_scans_that_differ_from_the_folders_are_refused(tmp_path: Path) -> None:
    run(tmp_path, Heights())
    path = tmp_path / "scans" / f"{scan_names(0)[0]}.npz"
    facts = read_kept(path, Facts)
    assert facts is not None
    write_kept(path, Facts(**{**vars(facts), "content": "other"}))
    with pytest.raises(ZeroflawError, match="not the one that the synthesis makes now"):
        run(tmp_path, Heights(name="another"))


def test_scores_that_do_not_fit_their_scan_are_made_again(tmp_path: Path) -> None:
    run(tmp_path, Heights())
    before = results(tmp_path)["detectors"][0]["figures"]["rows"]
    path = folder_of(tmp_path, "heights") / f"{scan_names(0)[0]}.npz"
    judged = read_kept(path, Judged)
    assert judged is not None
    write_kept(path, Judged(**{**vars(judged), "point": judged.point[1:]}))
    assert table(tmp_path) == 1
    assert run(tmp_path, Heights()) == 0
    assert results(tmp_path)["detectors"][0]["figures"]["rows"] == before


def test_a_detector_s_record_with_numbers_that_are_none_is_left_out(tmp_path: Path) -> None:
    run(tmp_path, Heights())
    record = folder_of(tmp_path, "heights") / "detector.json"
    record.write_text(record.read_text().replace("{", '{"threshold": NaN,', 1))
    table(tmp_path)
    assert results(tmp_path)["detectors"] == []


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 and then nothing"])
def test_a_corpus_that_cannot_be_used_leaves_no_folder(
    tmp_path: Path, content: bytes | None
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    if content is not None:
        (corpus / "shapes.npz").write_bytes(content)
    with pytest.raises(ZeroflawError, match=r"collection"):
        compare([partial(itself, Heights())], tmp_path / "out", corpus, 1)
    assert not (tmp_path / "out").exists()


def test_more_pairs_than_can_be_made_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="1 to 10,000 can be made"):
        run(tmp_path / "out", Heights(), pairs=10**12)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing"])
def test_damaged_scores_are_made_again(tmp_path: Path, damage: bytes) -> None:
    run(tmp_path, Heights())
    before = results(tmp_path)["detectors"][0]["figures"]["rows"]
    (folder_of(tmp_path, "heights") / f"{scan_names(1)[0]}.npz").write_bytes(damage)
    again = Heights()
    assert run(tmp_path, again) == 0
    assert again.asked == 2
    assert results(tmp_path)["detectors"][0]["figures"]["rows"] == before


def test_the_table_is_laid_out_again_without_a_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, Heights())
    (tmp_path / "table.md").unlink()
    assert main(["benchmark", "synthetic", "--table", "--out", str(tmp_path)]) == 0
    assert "heights" in (tmp_path / "table.md").read_text()
    with pytest.raises(ZeroflawError, match="holds no synthetic benchmark"):
        table(tmp_path / "nothing")
    (tmp_path / synthetic_folder.PLAN).write_text("{")
    with pytest.raises(ZeroflawError, match="damaged"):
        table(tmp_path)
    capsys.readouterr()


def test_scores_of_another_shape_are_a_problem_of_the_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Short(Heights):
        def judge(self, scan: Scan) -> Judgement:
            return Judgement(np.zeros(3, np.float32), 0.0)

    assert run(tmp_path, Short(), pairs=1) == 1
    assert "gave no finite score for each of" in capsys.readouterr().err


def test_only_good_scans_from_one_side_have_points_near_the_boundary() -> None:
    for number in (0, 1):
        pair = HeldOutPairs().pair(number)
        bad, good = facts_of(pair, pair.defective), facts_of(pair, pair.good)
        assert not bad.near.any()
        assert good.near.any() == (pair.good.sided == "one")
        assert bad.labels.any()
        assert not good.labels.any()


def test_what_is_kept_comes_back_whole(tmp_path: Path) -> None:
    kept = Judged(
        np.arange(3, dtype=np.float32),
        0.25,
        np.array([0.5], np.float32),
        np.array(["dent"]),
        1.5,
        "me",
    )
    write_kept(tmp_path / "a" / "one.npz", kept)
    back = read_kept(tmp_path / "a" / "one.npz", Judged)
    assert back is not None
    for name, value in vars(kept).items():
        np.testing.assert_array_equal(getattr(back, name), value)
    assert read_kept(tmp_path / "a" / "none.npz", Judged) is None
    assert read_kept(tmp_path / "a" / "one.npz", Facts) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["synthetic", "--seeds", "3"], "--seeds is for recipes"),
        (["synthetic", "--stand-in"], "--stand-in is for recipes"),
        (["btp_table1", "compact"], "DETECTOR is for `benchmark synthetic`"),
        (["btp_table1", "--pairs", "3"], "--pairs is for `benchmark synthetic`"),
        (["synthetic", "no_such_detector"], "no_such_detector: no such detector"),
    ],
)
def test_words_that_do_not_go_together_are_refused_in_a_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", *words, "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
