"""Figures that papers published, with their sources, to lay ours beside.

The files in `figures/` keep the papers' numbers and names; here they become one kind of record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from zeroflaw.types import ZeroflawError

MEAN = ""  # in the place of a category: the mean over all
SPEED = "clouds_per_second"
LETTERS = {
    "O": "object_auroc",
    "OA": "object_ap",
    "F1": "object_f1",
    "P": "point_auroc",
    "PRO": "point_pro",
}
# What BTP's tables call P-PRO. Its own values are a coverage AUC. Those of its rivals, 15 to 31 at
# P-AUROCs of 50 to 70, cannot be one (see metrics/coverage.py) and keep this name: nothing of ours
# is laid beside them.
UNCLEAR_PRO = "point_coverage_auc_reported_as_pro"
BTP = "BTP (Ours)"
LATER = "BTP, later object rule"


@dataclass(frozen=True)
class Record:
    """One published number.

    row: the system, or the variant in an ablation. data: the data set's name. trained: the category
    that was trained on, where a table says it. value: in percent, but clouds per second.
    """

    row: str
    data: str
    metric: str
    value: float
    category: str = MEAN
    trained: str = ""


@dataclass(frozen=True)
class Published:
    """A published table. source: paper, table and unit, one line. records: its numbers."""

    name: str
    source: str
    records: tuple[Record, ...]

    def rows(self, data: str) -> tuple[str, ...]:
        """Return the systems or variants with a figure on this data set, in the paper's order."""
        return tuple(dict.fromkeys(one.row for one in self.records if one.data == data))

    def value(
        self, row: str, data: str, metric: str, category: str = MEAN, trained: str = ""
    ) -> float | None:
        """Return a number, None where the paper has none."""
        wanted = (row, data, metric, category, trained)
        for one in self.records:
            if (one.row, one.data, one.metric, one.category, one.trained) == wanted:
                return one.value
        return None

    def covered(
        self, rows: Sequence[str], data: str, metric: str, categories: Collection[str]
    ) -> bool:
        """Return whether the categories hold all those that the first row's mean is over."""
        return all(
            one.category in categories or one.category == MEAN
            for one in self.records
            if (one.row, one.data, one.metric) == (*rows[:1], data, metric)
        )


def read_published(name: str) -> Published:
    """Return the table of that name, one of TABLES. Raises ZeroflawError for another."""
    if name not in TABLES:
        raise ZeroflawError(f"published table {name!r}: unknown; there are {', '.join(TABLES)}")
    stem, key, read = TABLES[name]
    path = Path(str(resources.files("zeroflaw"))) / "figures" / f"{stem}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Published(name, f"{content['source']} ({key})", tuple(read(content[key])))


def _per_category(table: Mapping[str, Any]) -> Iterator[Record]:
    for metric, systems in table.items():
        for system, categories in systems.items():
            for category, value in categories.items():
                place = MEAN if category == "mean" else category
                yield Record(system, "real3d_ad", metric, value, place)


def _matrix(table: Mapping[str, Any]) -> Iterator[Record]:
    for trained, categories in table.items():
        for category, value in categories.items():
            place = MEAN if category == "Mean" else category
            yield Record(BTP, "real3d_ad", "point_auroc", value, place, trained)


def _means(table: Mapping[str, Any]) -> Iterator[Record]:
    for system, sets in table.items():
        for data, figures in sets.items():
            for metric, value in figures.items():
                if value is not None:
                    name = _own_name(metric) if system == BTP else metric
                    yield Record(system, data, name, value)


def _by_data(table: Mapping[str, Any]) -> Iterator[Record]:
    """Data set by data set, each with its systems, the figures by letters."""
    for data, systems in table.items():
        for system, figures in systems.items():
            for letter, value in figures.items():
                yield Record(system, data, LETTERS[letter], value)


def _ablation(table: Mapping[str, Any]) -> Iterator[Record]:
    for variant, sets in table.items():
        if variant == "columns":
            continue
        for data, values in sets.items():
            yield from _columns(table["columns"], variant, data, values)


def _points(table: Mapping[str, Any]) -> Iterator[Record]:
    for points, values in table.items():
        if points != "columns":
            yield from _columns(table["columns"], points, "real3d_ad", values)


def _columns(
    columns: list[str], row: str, data: str, values: list[float | None]
) -> Iterator[Record]:
    for metric, value in zip(columns, values, strict=True):
        if value is not None:
            yield Record(row, data, _own_name(metric), value)


def _later(table: Mapping[str, Any]) -> Iterator[Record]:
    return _means({LATER: table})


def _own_name(metric: str) -> str:
    return "point_coverage_auc" if metric == UNCLEAR_PRO else metric


# By name: the file, the table's key in it, and how it is read.
TABLES: dict[str, tuple[str, str, Callable[[Mapping[str, Any]], Iterator[Record]]]] = {
    "btp_table1": ("btp", "table1_real3d_ad_per_category", _per_category),
    "btp_table2": ("btp", "table2_train_row_test_column_point_auroc", _matrix),
    "btp_table3": ("btp", "table3_all_metrics", _means),
    "btp_table4": ("btp", "table4_ablation", _ablation),
    "btp_table5": ("btp", "table5_points", _points),
    "btp_later": ("btp", "authors_later_object_rule", _later),
    "view_one_vs_rest": ("view_based", "one_vs_rest", _by_data),
    "view_cross_dataset": ("view_based", "cross_dataset_trained_on_mvtec_3d_ad", _by_data),
    "target_trained": ("view_based", "target_category_trained_for_reference", _by_data),
}
