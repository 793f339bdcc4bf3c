"""Published figures are read as the papers print them, and ours are laid beside them honestly."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroflaw.reports.benchmark_table import Layout, Measured, Value, lay_out, over_seeds
from zeroflaw.reports.published import MEAN, SPEED, TABLES, UNCLEAR_PRO, read_published
from zeroflaw.reports.results import FIGURES, Results
from zeroflaw.types import ZeroflawError

FOLDER = Path(str(resources.files("zeroflaw"))) / "figures"
BTP = "BTP (Ours)"


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_source_and_figures_that_make_sense(name: str) -> None:
    table = read_published(name)
    assert table.source
    assert table.records
    for one in table.records:
        assert one.metric in (*FIGURES, SPEED, UNCLEAR_PRO)
        assert 0 < one.value <= 100
        assert table.value(one.row, one.data, one.metric, one.category, one.trained) == one.value


def test_a_published_coverage_auc_is_one_that_its_auroc_allows() -> None:
    """It is p / 2 + (1 - p) AUROC of each scan; anomalous shares p are small."""
    for name in TABLES:
        table = read_published(name)
        for one in table.records:
            if one.metric == "point_coverage_auc":
                area = table.value(one.row, one.data, "point_auroc")
                assert area is not None
                assert abs(one.value - area) < 7


def numbers(node: object) -> int:
    if isinstance(node, dict):
        return sum(map(numbers, node.values()))
    if isinstance(node, list):
        return sum(map(numbers, node))
    return isinstance(node, int | float)


def test_no_number_of_the_files_is_lost() -> None:
    total = 0
    for path in FOLDER.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        total += numbers({key: part for key, part in content.items() if key != "speed"})
    assert total == sum(len(read_published(name).records) for name in TABLES)


@pytest.mark.parametrize(
    ("table", "place", "value"),
    [
        ("btp_table1", (BTP, "real3d_ad", "point_auroc", "car"), 91.6),
        ("btp_table1", (BTP, "real3d_ad", "object_auroc", MEAN), 61.4),
        ("btp_table2", (BTP, "real3d_ad", "point_auroc", "diamond", "gemstone"), 99.5),
        ("btp_table2", (BTP, "real3d_ad", "point_auroc", MEAN, "toffees"), 73.5),
        ("btp_table3", (BTP, "anomaly_shapenet", "point_coverage_auc"), 82.2),
        ("btp_table3", (BTP, "anomaly_shapenet", "point_pro"), None),
        ("btp_table3", ("M3DM MAE", "real3d_ad", "point_coverage_auc"), None),
        ("btp_table4", ("without local loss", "real3d_ad", "point_auroc"), 68.8),
        ("btp_table4", ("baseline", "real3d_ad", "point_auroc"), None),
        ("btp_table5", ("4096", "real3d_ad", SPEED), 71.9),
        ("btp_later", ("BTP, later object rule", "real3d_ad", "object_auroc"), 66.6),
        ("view_one_vs_rest", ("PointAD", "mvtec_3d_ad", "point_pro"), 84.4),
        ("view_cross_dataset", ("PointAD", "eyecandies", "object_ap"), 74.3),
    ],
)
def test_figures_are_the_papers(table: str, place: tuple[str, ...], value: float | None) -> None:
    assert read_published(table).value(*place) == value


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(ZeroflawError, match=r"btp_table9.*btp_table1"):
        read_published("btp_table9")


def results(data: str, figures: dict[str, float], left_out: tuple[str, ...] = ()) -> Results:
    """Results with one value for all figures of a category."""
    rows = {category: dict.fromkeys(FIGURES, value) for category, value in figures.items()}
    return Results("d", data, {category: {"good": 1} for category in figures}, rows, left_out)


def cell(trained: str, seed: int, variant: str = "btp", **figures: float) -> Measured:
    return Measured(variant, trained, seed, "same", results("real3d_ad", figures))


def number(entry: str | Value) -> float:
    assert isinstance(entry, Value)
    return entry.value


def test_a_categorys_figure_is_over_the_detectors_trained_on_others() -> None:
    found = [
        cell("airplane", 1, car=0.8, fish=0.6),
        cell("car", 1, airplane=0.5, fish=0.7),
        cell("airplane", 2, car=0.9, fish=0.6),
        cell("car", 2, airplane=0.5, fish=0.9),
    ]
    layout = Layout(
        "categories", figures=("point_auroc",), published=("btp_table1",), beside=(BTP,)
    )
    (block,) = lay_out(layout, found)
    rows = {row[0]: row[1:] for row in block.rows}
    assert block.columns == ("category", "btp", BTP, f"btp − {BTP}")
    car = rows["car"]
    assert number(car[0]) == pytest.approx(85.0)
    assert isinstance(car[0], Value)
    assert car[0].deviation == pytest.approx(math.sqrt(50.0))
    assert number(car[1]) == 91.6
    assert number(car[2]) == pytest.approx(85.0 - 91.6)
    assert number(rows["fish"][0]) == pytest.approx((60 + 70 + 60 + 90) / 4)
    assert number(rows["mean"][0]) == pytest.approx((70 + 60 + 75 + 70) / 4)


def test_means_over_other_categories_than_the_papers_are_not_subtracted() -> None:
    layout = Layout(
        "categories", figures=("point_auroc",), published=("btp_table1",), beside=(BTP,)
    )
    (block,) = lay_out(layout, [cell("airplane", 1, car=0.8, fish=0.6)])
    assert math.isnan(number(block.rows[-1][3]))
    figures = dict.fromkeys(published_categories(), 0.8)
    whole = Measured("btp", "airplane", 1, "same", results("real3d_ad", figures))
    (block,) = lay_out(layout, [whole])
    assert number(block.rows[-1][3]) == pytest.approx(80.0 - 84.5)


def published_categories() -> set[str]:
    records = read_published("btp_table1").records
    return {one.category for one in records if one.row == BTP and one.category}


def test_what_was_trained_on_does_not_count() -> None:
    scores = results("real3d_ad", {"car": 1.0, "fish": 0.5}, left_out=("car",))
    found = [Measured("btp", "car", 1, "same", scores)]
    (block,) = lay_out(Layout("categories", figures=("point_ap",)), found)
    assert [row[0] for row in block.rows] == ["fish", "mean"]
    assert number(block.rows[1][1]) == 50.0


def test_the_matrix_stands_beside_the_papers() -> None:
    found = [cell("gemstone", 1, diamond=0.9, car=0.8), cell("car", 1, diamond=0.7, gemstone=0.6)]
    layout = Layout("matrix", figures=("point_auroc",), published=("btp_table2",), beside=(BTP,))
    ours, theirs, difference = (block.grid().csv().splitlines() for block in lay_out(layout, found))
    assert ours == [
        "trained on,car,diamond,gemstone,mean",
        "car,,70,60,65",
        "gemstone,80,90,,85",
    ]
    assert theirs[1:] == ["car,,97,84.7,83.5", "gemstone,83.9,99.5,,86.7"]
    assert difference[2].startswith("gemstone,-3.9,-9.5,,")


def test_systems_end_with_ours_and_the_difference() -> None:
    layout = Layout(
        "systems", figures=("object_auroc", "point_pro"), published=("btp_table3",), beside=(BTP,)
    )
    (block,) = lay_out(layout, [cell("car", 1, fish=0.7)])
    text = block.grid().markdown()
    assert [row[0] for row in block.rows[:2]] == ["BTF", "M3DM MAE"]
    assert "| btp | measured | 70.0 | 70.0 |" in text
    assert f"| btp | difference from {BTP} | +8.6 | – |" in text
    assert "arXiv 2603.21511" in text


def test_variants_stand_beside_those_of_the_same_name_and_speed_is_no_percentage() -> None:
    found = [
        Measured(name, "car", seed, "same", results("real3d_ad", {"fish": 0.6}), speed)
        for name, seed, speed in (("1024", 1, 50.0), ("1024", 2, 60.0), ("512", 1, 90.0))
    ]
    layout = Layout("variants", figures=("object_auroc", SPEED), published=("btp_table5",))
    (block,) = lay_out(layout, found)
    rows = [[str(c) if isinstance(c, str) else str(c.number()) for c in row] for row in block.rows]
    assert rows == [
        ["1024", "measured", "60.0 ± 0.0", "55.0 ± 7.1"],
        ["1024", "published", "62.7", "75.3"],
        ["1024", "difference", "-2.7", "-20.3"],
        ["512", "measured", "60.0", "90.0"],
    ]


def test_without_results_there_is_no_table_and_no_made_up_number() -> None:
    layout = Layout("systems", published=("btp_table3",), beside=(BTP,))
    assert lay_out(layout, []) == []


def test_a_table_of_one_test_leaves_the_others_out() -> None:
    layout = Layout("systems", tests=("later",))
    assert lay_out(layout, [cell("car", 1, fish=0.7)]) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100) | st.just(math.nan)), max_size=30))
def test_seeds_weigh_the_same_and_undefined_values_do_not_count(
    found: list[tuple[int, float]],
) -> None:
    value = over_seeds(found)
    means = []
    for seed in range(5):
        defined = [number for one, number in found if one == seed and not math.isnan(number)]
        if defined:
            means.append(sum(defined) / len(defined))
    assert value.seeds == len(means)
    if means:
        mean = sum(means) / len(means)
        assert value.value == pytest.approx(mean)
        if len(means) > 1:
            spread = sum((one - mean) ** 2 for one in means) / (len(means) - 1)
            assert value.deviation == pytest.approx(math.sqrt(spread), abs=1e-6)
    if len(means) < 2:
        assert math.isnan(value.deviation)
