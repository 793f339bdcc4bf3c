"""Figures of the synthetic benchmark, on scores whose worth is known."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from zeroflaw.reports.synthetic_figures import Figures, figures, is_clear
from zeroflaw.reports.synthetic_stored import Facts, Judged
from zeroflaw.reports.synthetic_table import HEADLINES, markdown, remarks, show

POINTS = 400


def scan(kind: str = "dent", **changes: object) -> Facts:
    """A scan of 400 points, the first 100 of them a defect unless it is good."""
    region = np.full(POINTS, -1)
    if kind != "good":
        region[:100] = 0
    near = np.zeros(POINTS, dtype=bool)
    facts = Facts(kind, "solids/flange", "full", 0.15, 0.02, 0.001, region, near, kind)
    return replace(facts, **changes)  # type: ignore[arg-type]


def scores(
    facts: Facts, of_defect: float, of_rest: float, whole: float, **changes: object
) -> Judged:
    point = np.where(facts.labels, of_defect, of_rest).astype(np.float32)
    none = np.zeros(0, dtype=np.float32), np.array([], dtype=np.str_)
    return replace(Judged(point, whole, *none, 0.5, "me"), **changes)  # type: ignore[arg-type]


def test_a_detector_that_knows_everything_gets_everything() -> None:
    facts = [scan("dent"), scan("hole", sided="one"), scan("good"), scan("good", sided="one")]
    judged = [scores(one, 1.0, 0.0, float(one.kind != "good")) for one in facts]
    found = figures(facts, judged)
    for row in found.rows.values():
        if row.defective:
            assert (row.point_auroc, row.object_auroc) == (1.0, 1.0)
            assert row.point_pro == pytest.approx(1.0)
    assert found.seconds_per_scan == 0.5


def test_a_detector_that_says_nothing_gets_a_half() -> None:
    facts = [scan("dent"), scan("good")]
    found = figures(facts, [scores(one, 0.3, 0.3, 0.3) for one in facts])
    assert found.rows["all"].point_auroc == found.rows["all"].object_auroc == 0.5


def test_kinds_count_equally_however_many_points_they_have() -> None:
    small = np.full(POINTS, -1)
    small[:4] = 0
    facts = [scan("dent"), scan("hole", region=small), scan("good")]
    judged = [scores(facts[0], 1.0, 0.0, 1.0), scores(facts[1], 0.0, 0.0, 1.0)]
    found = figures(facts, [*judged, scores(facts[2], 0.0, 0.0, 0.0)])
    assert found.rows["dent"].point_auroc == 1.0
    assert found.rows["hole"].point_auroc == 0.5
    assert found.rows["mean over kinds"].point_auroc == 0.75
    assert found.rows["all"].point_auroc > 0.95


def test_a_row_of_a_kind_or_size_has_all_good_scans_and_one_of_a_side_those_from_there() -> None:
    facts = [scan("dent", size=0.03), scan("good"), scan("good", sided="one")]
    rows = figures(facts, [scores(one, 1.0, 0.0, 1.0) for one in facts]).rows
    assert (rows["dent"].defective, rows["dent"].good) == (1, 2)
    assert (rows["size 2–5 %"].defective, rows["size 5–10 %"].defective) == (1, 0)
    assert (rows["scanned from one side"].defective, rows["scanned from one side"].good) == (0, 1)
    assert math.isnan(rows["scanned from one side"].object_auroc)


@pytest.mark.parametrize(
    ("changes", "clear"),
    [
        ({}, True),
        ({"size": 0.09}, False),
        ({"noise": 0.0041}, False),
        ({"noise": 0.0, "amplitude": 0.0049}, False),
        ({"noise": 0.0, "amplitude": 0.0051}, True),
        ({"region": np.where(np.arange(POINTS) < 63, 0, -1)}, False),
    ],
)
def test_a_defect_is_clear_if_it_is_large_well_above_noise_and_wide(
    changes: dict[str, object], clear: bool
) -> None:
    assert is_clear(scan("dent", **changes)) is clear


def test_the_edge_ratio_is_that_of_good_scans_from_one_side() -> None:
    near = np.arange(POINTS) < 50
    facts = [scan("good", sided="one", near=near), scan("dent", sided="one", near=near)]
    one = scores(facts[0], 0, 0, 0, point=np.where(near, 0.3, 0.2).astype(np.float32))
    other = scores(facts[1], 0, 0, 0, point=np.where(near, 0.9, 0.1).astype(np.float32))
    found = figures(facts, [one, other])
    assert found.edge_ratio == pytest.approx(1.5)
    assert found.edge_median == pytest.approx(1.5)
    below = replace(one, point=one.point - np.float32(0.25))
    assert math.isnan(figures(facts, [below, other]).edge_ratio)


def test_names_count_where_a_region_meets_the_defect_and_kinds_count_equally() -> None:
    facts = [scan("dent"), scan("dent"), scan("hole"), scan("good")]
    regions = [
        ([0.5, 0.05], ["dent", "hole"]),  # the second one misses the defect
        ([0.2], ["hole"]),
        ([0.9], ["hole"]),
        ([0.0], ["dent"]),  # a false alarm on a good scan
    ]
    judged = [
        scores(one, 1, 0, 1, overlap=np.array(overlap, np.float32), kinds=np.array(kinds))
        for one, (overlap, kinds) in zip(facts, regions, strict=True)
    ]
    naming = figures(facts, judged).naming
    assert naming.by_kind == {"dent": 0.5, "hole": 1.0}
    assert naming.right == 0.75
    assert naming.right_of_all == pytest.approx(2 / 3)
    assert (naming.regions, naming.found) == (3, 3)


def test_a_detector_without_names_has_no_figure_for_them() -> None:
    facts = [scan("dent")]
    judged = [scores(facts[0], 1, 0, 1, overlap=np.ones(1, np.float32), kinds=np.array([""]))]
    naming = figures(facts, judged).naming
    assert math.isnan(naming.right)
    assert naming.found == 1


def test_scans_without_scores_are_left_out_and_said() -> None:
    facts = [scan("dent"), scan("dent"), scan("good")]
    judged = [scores(facts[0], 1, 0, 1), None, scores(facts[2], 0, 0, 0)]
    found = figures(facts, judged)
    assert (found.scans, found.missing) == (2, 1)
    assert found.rows["all"].object_auroc == 1.0
    assert "1 scan without scores" in remarks({"mine": found})[0]


def many(count: int) -> dict[str, Figures]:
    facts = [scan("dent"), scan("good")]
    found = figures(facts, [scores(one, 1.0, 0.0, 1.0) for one in facts])
    return {f"a detector of a long name (run {number}/best)": found for number in range(count)}


def test_the_tables_fit_80_columns_however_many_detectors_there_are() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    show(console, "synthetic-v0 (solids), 2 pairs", many(6), [])
    shown = console.export_text().splitlines()
    assert max(map(len, shown)) <= 80
    text = "\n".join(shown)
    for headline in HEADLINES:
        assert text.count(f" {headline.title}  ") == 2  # six detectors need two tables


def test_the_markdown_states_bars_and_rules() -> None:
    text = markdown("synthetic-v0", many(2), ["2 scans"])
    assert "| P-AUROC, mean over kinds | ≥ 92.0 | 100.0 | 100.0 |" in text
    assert "at least 5 times the sensor's noise sigma" in text
    assert "| edge ratio | ≤ 1.15 | – | – |" in text


def test_a_bar_of_an_undefined_figure_is_neither_met_nor_missed() -> None:
    (found,) = many(1).values()
    met = {one.title: one.met(found) for one in HEADLINES}
    assert met["P-PRO"] is True
    assert met["edge ratio"] is None
    assert replace(found, edge_ratio=1.2).plain()["edge_ratio"] == 1.2
    assert HEADLINES[6].met(replace(found, edge_ratio=1.2)) is False
