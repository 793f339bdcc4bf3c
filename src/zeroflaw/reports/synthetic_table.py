"""Tables of the synthetic benchmark: bars and figures of several detectors side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zeroflaw.reports.grid import UNDEFINED, Cell, Grid, plain
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.synthetic_figures import RULES, Figures

ABREAST = 3  # detectors side by side on a terminal
CELL = 12  # letters of a detector's column there, in which longer names are folded


@dataclass(frozen=True)
class Headline:
    """A figure with its bar. share: whether it is shown in per cent. most: whether less is more."""

    title: str
    bar: float
    value: Callable[[Figures], float]
    share: bool = True
    most: bool = False

    def met(self, found: Figures) -> bool | None:
        """Return whether the bar is met, None where the figure is undefined."""
        value = self.value(found)
        if not math.isfinite(value):
            return None
        return value <= self.bar if self.most else value >= self.bar

    def bar_text(self) -> str:
        """Return the bar as people read it."""
        return f"{'≤' if self.most else '≥'} {self.shown(self.bar)}"

    def shown(self, value: float) -> str:
        """Return a value of the figure as people read it."""
        if not math.isfinite(value):
            return UNDEFINED
        return f"{100 * value:.1f}" if self.share else f"{value:.2f}"


HEADLINES = (
    Headline("P-AUROC, mean over kinds", 0.92, lambda one: one.rows["mean over kinds"].point_auroc),
    Headline("P-AUROC, all points", 0.85, lambda one: one.rows["all"].point_auroc),
    Headline("P-PRO", 0.75, lambda one: one.rows["all"].point_pro),
    Headline("O-AUROC", 0.80, lambda one: one.rows["all"].object_auroc),
    Headline("P-AUROC, clear defects", 0.96, lambda one: one.rows["clear"].point_auroc),
    Headline("O-AUROC, clear defects", 0.92, lambda one: one.rows["clear"].object_auroc),
    Headline("edge ratio", 1.15, lambda one: one.edge_ratio, share=False, most=True),
    Headline("names right", 0.70, lambda one: one.naming.right),
)


def headline_grid(title: str, found: Mapping[str, Figures]) -> Grid:
    """Return the table of figures that have a bar, a column per detector."""
    rows: list[tuple[Cell, ...]] = [
        (one.title, one.bar_text(), *(one.shown(one.value(each)) for each in found.values()))
        for one in HEADLINES
    ]
    rules = (f"{name}: {rule}." for name, rule in RULES.items())
    notes = ("In per cent but for the edge ratio.", *rules)
    return Grid(("figure", "bar", *found), tuple(rows), title, notes)


def detail_grid(found: Mapping[str, Figures]) -> Grid:
    """Return the table of all scans, and by kind, size and side: P-AUROC / O-AUROC."""
    titles = list(next(iter(found.values())).rows) if found else []
    rows: list[tuple[Cell, ...]] = []
    for title in titles:
        count = next(iter(found.values())).rows[title].defective
        cells = (each.rows[title] for each in found.values())
        shown = (f"{_percent(one.point_auroc)}/{_percent(one.object_auroc)}" for one in cells)
        rows.append((title, count, *shown))
    columns = ("scans", "defective", *found)
    return Grid(columns, tuple(rows), "P-AUROC/O-AUROC", ("In per cent.",))


def remarks(found: Mapping[str, Figures]) -> list[str]:
    """Return sentences on what the figures lack and how long they took."""
    said = [
        f"{name}: {plural(one.missing, 'scan')} without scores, left out of its figures"
        for name, one in found.items()
        if one.missing
    ]
    for name, one in found.items():
        if math.isfinite(one.naming.right):
            said.append(
                f"{name}: {plural(one.naming.regions, 'region')} found on {one.naming.found} of "
                f"{one.rows['all'].defective} defective scans"
            )
    return said


def markdown(title: str, found: Mapping[str, Figures], notes: Sequence[str]) -> str:
    """Return the whole of `table.md`."""
    head = "\n\n".join((f"# {title}", *(f"{note}." for note in notes)))
    grids = (headline_grid("Figures with a bar", found), detail_grid(found))
    return "\n".join((f"{head}\n", *(grid.markdown() for grid in grids)))


def show(console: Console, title: str, found: Mapping[str, Figures], notes: Sequence[str]) -> None:
    """Print the tables, a few detectors abreast, so that they fit 80 columns."""
    names = list(found)
    for start in range(0, len(names), ABREAST):
        some = {name: found[name] for name in names[start : start + ABREAST]}
        for grid in (headline_grid(title, some), detail_grid(some)):
            console.print(_narrow(grid))
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _narrow(grid: Grid) -> Table:
    """The grid for a terminal: two columns as wide as they need to be, then the detectors'."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=grid.title, title_justify="left")
    for place, name in enumerate(grid.columns):
        most = CELL if place > 1 else None
        side: Literal["left", "right"] = "right" if place else "left"
        table.add_column(
            Text(plain(name)), justify=side, no_wrap=place < 2, overflow="fold", max_width=most
        )
    for row in grid.rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if math.isfinite(share) else UNDEFINED
