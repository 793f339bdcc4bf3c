"""The page shows what was measured, says what it lacks, and loads nothing."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from zeroflaw import report as verb
from zeroflaw.cli import main
from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import ranking
from zeroflaw.report import report
from zeroflaw.reports import gallery
from zeroflaw.reports.gallery import choose, pictures
from zeroflaw.reports.plan import Plan, PlannedScan, write_plan
from zeroflaw.reports.results import FIGURES, Results, write_results
from zeroflaw.reports.stored import StoredScores, read_stored, stored_path, write_stored
from zeroflaw.reports.summaries import find_stored, mean_curve, summarize
from zeroflaw.types import ZeroflawError

HOSTILE = '<script>alert("x")</script>'
POINTS = 400


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PANEL", 48)


def scan(name: str, category: str, kind: str, score: float, *, found: bool = True) -> StoredScores:
    """A ball, a defective one with a marked cap, whose scores point there or elsewhere."""
    rng = np.random.default_rng(len(name) + round(1000 * score))
    points = rng.normal(size=(POINTS, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    label = (points[:, 2] > 0.8) & (kind != "good")
    bright = points[:, 2] > 0.8 if found else points[:, 2] < -0.8
    index = np.arange(0, POINTS, 2)
    return StoredScores(
        name=name,
        category=category,
        kind=kind,
        identity="one",
        seconds=0.5,
        object=score,
        point=(score * np.where(bright, 1.0, 0.2) * rng.uniform(0.8, 1, POINTS)).astype(np.float32),
        label=label,
        region=np.where(label, 0, -1),
        sampled=np.arange(0, POINTS, 4),
        preview_index=index,
        preview_points=points[index].astype(np.float32),
    )


SCANS = (
    scan("bottle/test/hit", "bottle", "dent", 0.9),
    scan("bottle/test/elsewhere", "bottle", "dent", 0.8, found=False),
    scan("bottle/test/missed", "bottle", "bulge", 0.1),
    scan("bottle/test/fine", "bottle", "good", 0.2),
    scan("bottle/test/alarm", "bottle", "good", 0.7),
    scan("cup/test/hit", "cup", "hole", 0.6),
    scan("cup/test/fine", "cup", "good", 0.3),
)


def evaluation(folder: Path, scans: tuple[StoredScores, ...] = SCANS, **about: object) -> Path:
    """A folder as an evaluation leaves it."""
    figures: dict[str, dict[str, float]] = {}
    counts: dict[str, dict[str, int]] = {}
    for category in {one.category for one in scans}:
        own = [one for one in scans if one.category == category]
        objects = ranking([one.object for one in own], [one.defective for one in own])
        point, label = (
            np.concatenate([getattr(one, n) for one in own]) for n in ("point", "label")
        )
        region = np.concatenate([np.where(one.label, i, -1) for i, one in enumerate(own)])
        values = dict.fromkeys(FIGURES, math.nan)
        values |= dict(zip(FIGURES, [*objects, *ranking(point, label)], strict=False))
        figures[category] = {**values, "point_pro": au_pro(point, region)}
        kinds = [one.kind for one in own]
        counts[category] = {kind: kinds.count(kind) for kind in kinds}
    folder.mkdir(parents=True, exist_ok=True)
    for one in scans:
        write_stored(folder, one)
    told = {"threshold": 0.5, **about}
    write_results(folder, Results("peak", "parts", counts, figures, ("cup",), told))
    return folder


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "img", "path", "rect", "polyline"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"path", "rect", "polyline"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folder: Path, worst: int = 6) -> Page:
    return Page(report(folder, worst=worst).path.read_text(encoding="utf-8"))


def test_the_page_says_the_figures_of_every_category(tmp_path: Path) -> None:
    page = page_of(evaluation(tmp_path))
    lines = page.text.replace("\n", " ")
    assert "peak on parts" in lines
    assert "7 scans, 4 of them defective" in lines
    assert "66.7" in lines, "O-AUROC of the bottles: 4 of 6 pairs in order"
    assert "Left out of the means, as the detector has seen them or on request: cup." in lines


def test_the_gallery_sorts_scans_by_their_error(tmp_path: Path) -> None:
    files, _ = find_stored(evaluation(tmp_path), {})
    summaries = [summarize(category, paths)[0] for category, paths in files.items()]
    scans = [one for summary in summaries if summary is not None for one in summary.scans]
    names = {
        group: [one.name.rpartition("/")[2] for one in found]
        for group, found in choose(scans, 3, 0.5).items()
    }
    assert names == {
        "missed": ["missed"],
        "alarms": ["alarm", "fine"],
        "misplaced": ["elsewhere"],
        "best": ["hit", "hit"],
    }


def test_a_scan_beyond_the_threshold_is_an_error_even_without_another_class(tmp_path: Path) -> None:
    alone = (scan("a", "cup", "dent", 0.4), scan("b", "cup", "dent", 0.6))
    files, _ = find_stored(evaluation(tmp_path, alone), {})
    summary, _ = summarize("cup", files["cup"])
    assert summary is not None
    assert [one.name for one in choose(summary.scans, 5, 0.5)["missed"]] == ["a"]
    assert choose(summary.scans, 5, None)["missed"] == []


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


def test_a_picture_shows_the_marked_side_and_outlines_it() -> None:
    shown = pictures(SCANS[0], 0.0, 1.0)
    assert shown.truth != shown.heat
    assert max(shown.size) == gallery.PANEL
    plain = pictures(SCANS[3], 0.0, 1.0)
    assert plain.truth != plain.heat


def test_a_mean_curve_lies_between_its_curves() -> None:
    steep = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    flat = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    nothing = np.empty(0), np.empty(0)
    found = mean_curve([steep, flat, nothing])
    assert found is not None
    x, y = found
    assert (x[0], y[0], y[1]) == (0.0, 0.0, 0.5)
    assert y[1:] == pytest.approx(0.5 + x[1:] / 2)
    assert mean_curve([nothing]) is None


def test_the_mean_of_precisions_has_the_area_of_average_precision() -> None:
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.6])
    found = mean_curve([(recall, precision)], stepwise=True)
    assert found is not None
    x, y = found
    assert float(np.sum(np.diff(x) * y[1:])) == pytest.approx(0.5 * 1.0 + 0.5 * 0.6, abs=0.01)


def test_a_summary_tells_the_share_of_scans_on_the_wrong_side(tmp_path: Path) -> None:
    files, _ = find_stored(evaluation(tmp_path), {})
    summary, problems = summarize("bottle", files["bottle"])
    assert summary is not None
    assert not problems
    errors = {one.name.rpartition("/")[2]: one.error for one in summary.scans}
    assert errors["missed"] == 1.0
    assert errors["hit"] == 0.0
    assert errors["alarm"] == pytest.approx(1 / 3)
    assert int(summary.points.sum()) == 5 * POINTS


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
