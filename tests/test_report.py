"""The page shows what was measured, says what it lacks, and loads nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation_folder import POINTS, SCANS, Page, evaluation, scan
from zeroflaw import report as verb
from zeroflaw.cli import main
from zeroflaw.report import report
from zeroflaw.reports import gallery
from zeroflaw.reports.plan import Plan, PlannedScan, write_plan
from zeroflaw.reports.stored import read_stored, stored_path, write_stored
from zeroflaw.types import ZeroflawError

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PANEL", 48)


def page_of(folder: Path, worst: int = 6) -> Page:
    return Page(report(folder, worst=worst).path.read_text(encoding="utf-8"))


def test_the_page_says_the_figures_of_every_category(tmp_path: Path) -> None:
    page = page_of(evaluation(tmp_path))
    lines = page.text.replace("\n", " ")
    assert "peak on parts" in lines
    assert "7 scans, 4 of them defective" in lines
    assert "66.7" in lines, "O-AUROC of the bottles: 4 of 6 pairs in order"
    assert "cup *" in lines
    assert "left out of the mean: cup." in lines


def test_every_picture_and_chart_is_described(tmp_path: Path) -> None:
    page = page_of(evaluation(tmp_path))
    assert len(page.all("img")) == 2 * 6 + 1, "two of each chosen scan, and the scale"
    assert all(one["alt"] for one in page.all("img"))
    assert len(page.all("svg")) == 6 + 2 * 5
    assert all(one["role"] == "img" and one["aria-label"] for one in page.all("svg"))
    assert all(one.get("scope") for one in page.all("th"))


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    page = page_of(evaluation(tmp_path))
    addresses = [one[key] for _, one in page.tags for key in ("src", "href") if key in one]
    assert all(one.startswith(("data:image/png;base64,", "#")) for one in addresses)
    assert not page.all("link")
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = f"cup/test/{HOSTILE.replace('/', '')}"
    hostile = (
        scan(name, HOSTILE, HOSTILE, 0.9, found=False),
        scan("cup/test/fine", HOSTILE, "good", 0.95),
    )
    folder = evaluation(tmp_path, hostile, note=HOSTILE)
    (folder / "run.json").write_text(json.dumps({HOSTILE: [HOSTILE]}))
    made = report(folder)
    page = Page(made.path.read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1, "its own"
    assert "alert" in page.text
    assert not made.problems


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    first = report(folder).path.read_bytes()
    assert report(folder, tmp_path / "again.html").path.read_bytes() == first


def test_the_run_says_what_produced_it(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    run = {"seed": 3, "hardware": {"processor": "Z80"}, "versions": {"zeroflaw": "9"}}
    (folder / "run.json").write_text(json.dumps(run))
    text = page_of(folder).text
    assert "hardware · processor" in text
    assert "Z80" in text
    assert "There is no run.json" not in text


def test_a_damaged_file_is_named_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evaluation(tmp_path)
    damaged = stored_path(folder, "bottle/test/hit")
    damaged.write_bytes(damaged.read_bytes()[:600])
    stored_path(folder, "cup/test/hit").unlink()
    assert main(["report", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out.strip() == str(folder / "report.html")
    assert str(damaged) in said.err
    assert "1 of the 2 scans of 'cup'" in said.err
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert str(damaged) in page.text
    assert "bottle/test/missed" in page.text


def test_scores_whose_parts_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    path = stored_path(folder, "cup/test/fine")
    for change in ({"label": np.zeros(3, bool)}, {"preview_index": np.array([0, POINTS])}):
        with np.load(path) as file:
            arrays = {**file, **change}
        np.savez(path, **arrays)
        assert any(str(path) in problem for problem in report(folder).problems)
        write_stored(folder, SCANS[-1])
    assert not report(folder).problems


def test_scores_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    path = stored_path(folder, "cup/test/fine")
    with np.load(path) as file:
        arrays = dict(file)
    arrays["point"][5] = np.nan
    np.savez(path, **arrays)
    assert "no numbers" in report(folder).problems[0]


def test_all_scores_may_be_missing(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    for one in SCANS:
        stored_path(folder, one.name).unlink()
    made = report(folder)
    assert len(made.problems) == 2
    assert "66.7" in made.path.read_text(encoding="utf-8")


def planned(*names: str) -> Plan:
    """The plan of an evaluation of these scans."""
    scans = tuple(PlannedScan(name, name.partition("/")[0], "one") for name in names)
    return Plan("peak", "parts", "test", scans)


def test_what_the_plan_names_is_looked_for(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    write_plan(folder, planned(*(one.name for one in SCANS), "cup/test/unreadable"))
    (problem,) = report(folder).problems
    assert str(stored_path(folder, "cup/test/unreadable")) in problem
    failures = {"missing": {"cup/test/unreadable": "unreadable.ply, line 3: no number"}}
    (folder / "run.json").write_text(json.dumps(failures))
    assert report(folder).problems == ("unreadable.ply, line 3: no number",)


def test_scores_of_another_detector_are_not_shown(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    write_plan(folder, planned(*(one.name for one in SCANS)))
    write_stored(folder, replace(SCANS[-1], identity="two"))
    (problem,) = report(folder).problems
    assert "another scan or detector" in problem


def test_an_evaluation_that_is_not_done_is_named(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    (folder / "run.json").write_text('{"state": "interrupted"}')
    (problem,) = report(folder).problems
    assert "not done (interrupted)" in problem


def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    (folder / "run.json").write_text("[")
    (problem,) = report(folder).problems
    assert "run.json" in problem


@pytest.mark.parametrize(
    ("entry", "value"),
    [("scans", []), ("scans", {"cup": 3}), ("scans", {"cup": {"good": "x"}}), ("about", [1])],
)
def test_damaged_results_are_an_error(
    tmp_path: Path, entry: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evaluation(tmp_path)
    content = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**content, entry: value}))
    assert main(["report", str(folder)]) == 2
    assert "damaged results" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_nothing_to_report_on_is_an_error(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["report", str(tmp_path / name)]) == 2
    assert str(tmp_path / name) in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.html"))


def test_an_interruption_keeps_the_older_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = evaluation(tmp_path)
    before = report(folder).path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery, "pictures", interrupt)
    assert main(["report", str(folder), "--worst", "2"]) == 130
    assert (folder / "report.html").read_bytes() == before
    assert [path.name for path in folder.glob(".*")] == []


def test_out_and_worst_are_heeded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = evaluation(tmp_path / "in"), tmp_path / "page.html"
    assert main(["report", str(folder), "--out", str(out), "--worst", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert len(Page(out.read_text(encoding="utf-8")).all("img")) == 2 * 4 + 1
    assert not (folder / "report.html").exists()


def test_what_does_not_fit_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "ROOM", 1)
    page = page_of(evaluation(tmp_path))
    assert len(page.all("img")) == 2 + 1
    assert "Left out to keep the page small: bottle/test/alarm, bottle/test/fine." in page.text


def test_undefined_values_are_dashes_and_counted(tmp_path: Path) -> None:
    alone = (scan("a", "cup", "good", 0.4), scan("b", "mug", "good", 0.6), scan("c", "mug", "x", 1))
    page = page_of(evaluation(tmp_path, alone))
    assert "–" in page.text
    assert "undefined in" in page.text


def test_stored_scores_that_a_killed_run_left_half_are_not_read(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    (folder / "scores" / "cup" / ".half.npz.abc.npz").write_bytes(b"half")
    assert not report(folder).problems
    with pytest.raises(ZeroflawError):
        read_stored(folder / "scores" / "cup" / ".half.npz.abc.npz")


def test_the_script_is_the_one_that_the_policy_allows(tmp_path: Path) -> None:
    text = report(evaluation(tmp_path)).path.read_text(encoding="utf-8")
    assert len(re.findall(r"<script>", text)) == 1
    assert "'sha256-" in text
