"""Tables of a benchmark: means and deviations over seeds, beside what papers published."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from zeroflaw.reports.grid import Grid, Number
from zeroflaw.reports.published import MEAN, SPEED, Published, read_published
from zeroflaw.reports.results import FIGURES, Results

Form = Literal["categories", "matrix", "systems", "variants"]
LABELS = {
    "object_auroc": "O-AUROC",
    "object_ap": "O-AP",
    "object_f1": "O-F1",
    "point_auroc": "P-AUROC",
    "point_ap": "P-AP",
    "point_f1": "P-F1",
    "point_pro": "P-PRO",
    "point_coverage_auc": "coverage AUC",
    "sampled_point_auroc": "sampled P-AUROC",
    "sampled_point_ap": "sampled P-AP",
    "sampled_point_f1": "sampled P-F1",
    SPEED: "clouds/s",
}
TITLES: dict[Form, str] = {
    "categories": "per category",
    "matrix": "training row by test column",
    "systems": "means over categories",
    "variants": "means over categories",
}
MEASURED, PAPER, DIFFERENCE = "measured", "published", "difference"


@dataclass(frozen=True)
class Layout:
    """How a benchmark's figures are laid out.

    form: "categories" has a row per test category, "matrix" a row per training and a column per
    test category, "systems" the published systems above ours, "variants" a row per variant.
    published: names of published tables. beside: published systems to show; the first is the one
    that ours are compared with. own: by variant, the published system that it is a version of and
    is compared with instead, in "systems". figures: of reports/results.py, or "clouds_per_second".
    tests: names of the recipe's tests, all by default.
    """

    form: Form
    title: str = ""
    figures: tuple[str, ...] = ("object_auroc", "point_auroc")
    published: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    note: str = ""
    own: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for figure in self.figures:
            if figure not in (*FIGURES, SPEED):
                raise ValueError(f"no figure {figure!r}; there are {', '.join((*FIGURES, SPEED))}")
        rows = {one.row for name in self.published for one in read_published(name).records}
        for row in (*self.beside, *self.own.values()):
            if row not in rows:
                raise ValueError(f"no published row {row!r}; there are {', '.join(sorted(rows))}")


@dataclass(frozen=True)
class Measured:
    """Results of one cell on one test. trained: category, "" without training. data: tested on.

    speed: clouds per second, nan where it was not measured. missing: scans that could not be used.
    data_hash: of the scans.
    """

    variant: str
    trained: str
    seed: int
    test: str
    results: Results
    speed: float = math.nan
    missing: int = 0
    data_hash: str = ""

    @property
    def data(self) -> str:
        """The data set's name."""
        return self.results.data


@dataclass(frozen=True)
class Value:
    """A number of a table. deviation: over seeds, nan for one. seeds: how many there are.

    signed: whether it is a difference, written with its sign.
    """

    value: float = math.nan
    deviation: float = math.nan
    seeds: int = 0
    signed: bool = False

    def number(self) -> Number:
        """Return it as a table shows it."""
        deviation = self.deviation if math.isfinite(self.deviation) else None
        return Number(self.value, deviation, signed=self.signed)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON, undefined numbers as null."""
        numbers = {"value": self.value, "deviation": self.deviation}
        return {
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "seeds": self.seeds,
            "signed": self.signed,
        }


@dataclass(frozen=True)
class Block:
    """One table: a title, columns, rows of texts and values, notes below it.

    summary: how many of the last rows are means.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Value, ...], ...]
    notes: tuple[str, ...] = ()
    summary: int = 0

    def grid(self) -> Grid:
        """Return it in the form that is written."""
        rows = (
            tuple(cell if isinstance(cell, str) else cell.number() for cell in row)
            for row in self.rows
        )
        return Grid(self.columns, tuple(rows), self.title, self.notes, self.summary)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        rows = [[one if isinstance(one, str) else one.plain() for one in row] for row in self.rows]
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": rows,
            "notes": list(self.notes),
        }


def over_seeds(found: Iterable[tuple[int, float]]) -> Value:
    """Return the mean over seeds of each seed's mean, and the deviation between the seeds.

    found: (seed, number) pairs; those that are not finite do not count. The deviation is the
    sample's (n − 1), nan for a single seed.
    """
    by_seed: dict[int, list[float]] = {}
    for seed, number in found:
        if math.isfinite(number):
            by_seed.setdefault(seed, []).append(number)
    means = [statistics.fmean(by_seed[seed]) for seed in sorted(by_seed)]
    if not means:
        return Value()
    deviation = statistics.stdev(means) if len(means) > 1 else math.nan
    return Value(statistics.fmean(means), deviation, len(means))


def category_value(found: Sequence[Measured], metric: str, category: str) -> Value:
    """Return a figure of a test category in percent, a mean over the training categories.

    A training category's own scans do not count. MEAN stands for the mean over all categories.
    """
    if metric == SPEED:
        return over_seeds((one.seed, one.speed) for one in found)
    if category == MEAN:
        return over_seeds((one.seed, 100 * one.results.mean()[metric]) for one in found)
    return over_seeds(
        (one.seed, 100 * one.results.figures[category][metric])
        for one in found
        if category in one.results.counted
    )


def lay_out(layout: Layout, measured: Sequence[Measured]) -> list[Block]:
    """Return the tables of a layout, for each test and data set that there are results of."""
    published = _published(layout)
    blocks: list[Block] = []
    chosen = [one for one in measured if not layout.tests or one.test in layout.tests]
    for test, data in dict.fromkeys((one.test, one.data) for one in chosen):
        found = [one for one in chosen if (one.test, one.data) == (test, data)]
        title = layout.title or _title(layout, test, data)
        blocks += FORMS[layout.form](layout, published, data, found, title)
    return blocks


def _published(layout: Layout) -> Published:
    tables = [read_published(name) for name in layout.published]
    records = tuple(record for table in tables for record in table.records)
    return Published(" ".join(layout.published), "; ".join(one.source for one in tables), records)


def _title(layout: Layout, test: str, data: str) -> str:
    own = "" if test in (data, "same") else f" ({test})"
    return f"{data}{own}, {TITLES[layout.form]}"


def _categories(
    layout: Layout, published: Published, data: str, found: Sequence[Measured], title: str
) -> list[Block]:
    """A table per figure: test categories down, our variants and the published systems across."""
    blocks = []
    categories = sorted({name for one in found for name in one.results.counted})
    variants = list(dict.fromkeys(one.variant for one in found))
    for metric in layout.figures:
        rows: list[tuple[str | Value, ...]] = []
        for category in (*categories, MEAN):
            theirs = [
                _percent(published.value(row, data, metric, category)) for row in layout.beside
            ]
            ours = [
                category_value([one for one in found if one.variant == variant], metric, category)
                for variant in variants
            ]
            theirs_too = category or published.covered(layout.beside, data, metric, categories)
            differences = [
                _difference(value, theirs[0]) if theirs_too else Value() for value in ours if theirs
            ]
            rows.append((category or "mean", *ours, *theirs, *differences))
        columns = ("category", *variants, *layout.beside)
        if layout.beside:
            against = layout.beside[0]
            columns += tuple(f"{variant} − {against}" for variant in variants)
        blocks.append(
            Block(f"{title}: {LABELS[metric]}", columns, tuple(rows), _notes(layout, published), 1)
        )
    return blocks


def _matrix(
    layout: Layout, published: Published, data: str, found: Sequence[Measured], title: str
) -> list[Block]:
    """Training categories down, test categories across: measured, published and the difference."""
    blocks = []
    trained = sorted({one.trained for one in found})
    tested = sorted({name for one in found for name in one.results.counted})
    beside = layout.beside[0] if layout.beside else ""
    for variant in dict.fromkeys(one.variant for one in found):
        for metric in layout.figures:
            parts: dict[str, list[tuple[str | Value, ...]]] = {MEASURED: []}
            if beside:
                parts |= {PAPER: [], DIFFERENCE: []}
            for row in trained:
                here = [one for one in found if (one.variant, one.trained) == (variant, row)]
                ours = [category_value(here, metric, category) for category in (*tested, MEAN)]
                parts[MEASURED].append((row, *ours))
                if not beside:
                    continue
                theirs = [
                    _percent(published.value(beside, data, metric, category, row))
                    for category in (*tested, MEAN)
                ]
                parts[PAPER].append((row, *theirs))
                pairs = zip(ours, theirs, strict=True)
                parts[DIFFERENCE].append((row, *(_difference(a, b) for a, b in pairs)))
            for part, rows in parts.items():
                name = f"{title}: {variant}, {LABELS[metric]}, {part}"
                notes = _notes(layout, published) if part == PAPER or not beside else ()
                blocks.append(Block(name, ("trained on", *tested, "mean"), tuple(rows), notes))
    return blocks


def _systems(
    layout: Layout, published: Published, data: str, found: Sequence[Measured], title: str
) -> list[Block]:
    """The published systems, then our variants, each with the difference from a published one."""
    rows: list[tuple[str | Value, ...]] = []
    for system in published.rows(data):
        theirs = [_percent(published.value(system, data, metric)) for metric in layout.figures]
        if any(value.seeds for value in theirs):
            rows.append((system, PAPER, *theirs))
    known = published.rows(data)

    def beside(name: str) -> tuple[str, ...]:
        own = layout.own.get(name, "")
        return (own,) if own in known else layout.beside[:1]

    return [_compared(layout, published, data, found, title, rows, beside)]


def _variants(
    layout: Layout, published: Published, data: str, found: Sequence[Measured], title: str
) -> list[Block]:
    """Our variants, each beside the published row of the same name."""
    known = published.rows(data)

    def beside(name: str) -> tuple[str, ...]:
        return (name,) if name in known else ()

    return [_compared(layout, published, data, found, title, [], beside, between=True)]


def _compared(
    layout: Layout,
    published: Published,
    data: str,
    found: Sequence[Measured],
    title: str,
    above: list[tuple[str | Value, ...]],
    beside: Callable[[str], tuple[str, ...]],
    between: bool = False,
) -> Block:
    """Rows of our variants: measured, published where `between`, and the difference."""
    rows = list(above)
    for variant in dict.fromkeys(one.variant for one in found):
        here = [one for one in found if one.variant == variant]
        ours = [category_value(here, metric, MEAN) for metric in layout.figures]
        rows.append((variant, MEASURED, *ours))
        for other in beside(variant):
            theirs = [_percent(published.value(other, data, metric)) for metric in layout.figures]
            if between:
                rows.append((variant, PAPER, *theirs))
            pairs = zip(ours, theirs, strict=True)
            name = DIFFERENCE if between else f"{DIFFERENCE} from {other}"
            rows.append((variant, name, *(_difference(a, b) for a, b in pairs)))
    columns = ("variant", "figures", *(LABELS[metric] for metric in layout.figures))
    return Block(title, columns, tuple(rows), _notes(layout, published))


FORMS: dict[Form, Callable[[Layout, Published, str, Sequence[Measured], str], list[Block]]] = {
    "categories": _categories,
    "matrix": _matrix,
    "systems": _systems,
    "variants": _variants,
}


def _percent(value: float | None) -> Value:
    return Value() if value is None else Value(value, seeds=1)


def _difference(ours: Value, theirs: Value) -> Value:
    return Value(ours.value - theirs.value, seeds=ours.seeds, signed=True)


def _notes(layout: Layout, published: Published) -> tuple[str, ...]:
    source = f"published: {published.source}" if published.source else ""
    return tuple(note for note in (layout.note, source) if note)
