"""What a benchmark's folder holds: its plan, and the tables of the cells that are done."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zeroflaw.cells import Cell, failure_of, folder_of, measured, state_of
from zeroflaw.datasets import DATASETS
from zeroflaw.io.atomic import replacing
from zeroflaw.io.source import said_by
from zeroflaw.recipe import Recipe, build_recipe
from zeroflaw.reports.benchmark_table import Block, Measured, lay_out
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.results import FIGURES
from zeroflaw.types import ZeroflawError

FORMAT = 1
PLAN = "plan.json"
WIDEST = 1000  # columns of a table on a terminal that wraps it
# What may change from call to call: it says nothing about what a cell is.
FREE = ("title", "about", "seeds", "table")


@dataclass(frozen=True)
class Plan:
    """What a benchmark's folder holds: the recipe as it was meant, and all its cells."""

    recipe: Recipe
    cells: tuple[Cell, ...]
    stand_in: bool
    encoder: str
    text_tower: str

    def identity(self) -> dict[str, Any]:
        """Return what must stay the same from call to call, by name."""
        content = {key: value for key, value in self.recipe.content.items() if key not in FREE}
        weights = {"encoder": self.encoder, "text tower": self.text_tower}
        return {**content, "stand-in weights": self.stand_in, **weights}


def read_plan(out: Path) -> Plan:
    """Return what a benchmark's folder holds. Raises ZeroflawError where there is none."""
    path = out / PLAN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        return Plan(
            build_recipe(content["recipe"], str(content["name"]), str(path)),
            tuple(Cell(str(a), str(b), str(c), int(d)) for a, b, c, d in content["cells"]),
            bool(content["stand_in"]),
            str(content["encoder"]),
            str(content["text_tower"]),
        )
    except FileNotFoundError:
        raise ZeroflawError(f"{out}: holds no benchmark; run one with --out {out}") from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        said = f"{type(error).__name__}: {said_by(error)}"
        raise ZeroflawError(f"{path}: damaged ({said}); start in another folder") from None


def write_plan(out: Path, planned: Plan, recipe: bytes) -> None:
    """Write `plan.json`, and the recipe's file as `recipe.toml`. Raises ZeroflawError."""
    content = {
        "format": FORMAT,
        "name": planned.recipe.name,
        "recipe": planned.recipe.content,
        "stand_in": planned.stand_in,
        "encoder": planned.encoder,
        "text_tower": planned.text_tower,
        "cells": [[one.variant, one.data, one.category, one.seed] for one in planned.cells],
    }
    with replacing(out / "recipe.toml") as file:
        file.write(recipe)
    _write_text(out / PLAN, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def done(out: Path, planned: Plan) -> list[Measured]:
    """Return the results of all cells that are done. Raises ZeroflawError if a file is damaged."""
    return [
        one
        for cell in planned.cells
        if state_of(out / "cells" / cell.name) == "done"
        for one in measured(planned.recipe, cell, out)
    ]


def data_hashes(found: Sequence[Measured]) -> dict[str, str]:
    """Return a hash of the test scans by data set: the same where all cells had the same ones."""
    hashes: dict[str, set[str]] = {}
    for one in found:
        hashes.setdefault(one.data, set()).add(one.data_hash)
    return {
        data: hashlib.sha256(" ".join(sorted(several)).encode()).hexdigest()
        for data, several in sorted(hashes.items())
    }


def show_table(out: Path, planned: Plan) -> None:
    """Write the tables of what is done in all forms, print them and what failed."""
    from rich.console import Console

    states = {cell: state_of(out / "cells" / cell.name) for cell in planned.cells}
    found = done(out, planned)
    blocks = [block for layout in planned.recipe.tables for block in lay_out(layout, found)]
    notes = _notes(planned, list(states.values()), found)
    _write_tables(out, planned, states, blocks, notes)
    console, wide = Console(highlight=False, markup=False), Console(width=WIDEST)
    for block in blocks:
        console.print(block.title, style="bold", soft_wrap=True)
        grid = replace(block.grid(), title="").rich()
        widest = wide.measure(grid).maximum
        Console(highlight=False, width=max(console.width, widest)).print(grid)
        for note in block.notes:
            console.print(note, style="dim", soft_wrap=True)
        console.print()
    for note in notes:
        console.print(note, soft_wrap=True)
    failed: dict[str, list[str]] = {}
    for cell, state in states.items():
        if state == "failed":
            failed.setdefault(failure_of(out / "cells" / cell.name), []).append(cell.name)
    for reason, names in failed.items():
        more = f" (and {plural(len(names) - 1, 'more cell')})" if len(names) > 1 else ""
        print(f"zeroflaw: cell {names[0]} failed{more}: {reason}", file=sys.stderr)
    console.print(f"table in {out / 'table.md'}", soft_wrap=True)


def _notes(planned: Plan, states: Sequence[str], found: Sequence[Measured]) -> list[str]:
    """Say how much of the benchmark the tables hold and what is missing from them."""
    failed, left = states.count("failed"), states.count("open")
    cells = plural(len(states), "cell")
    notes = [f"{states.count('done')} of {cells} done, {failed} failed, {left} open"]
    if len(planned.recipe.seeds) > 1:
        count = len(planned.recipe.seeds)
        notes.append(
            f"mean ± standard deviation (of the sample, n − 1) over up to {count} seeds, in percent"
        )
    for data in sorted({one.data for one in found}):
        published = set(DATASETS[data].published)
        tested = {name for one in found if one.data == data for name in one.results.figures}
        if len(tested & published) < len(published):
            count = len(tested & published)
            notes.append(f"{data}: tested on {count} of {len(published)} published categories")
    if mixed := sorted(_mixed(found)):
        notes.append(f"{', '.join(mixed)}: cells were tested on different data, which have changed")
    missing = [one.missing for one in found if one.missing]
    if missing:
        notes.append(f"{plural(sum(missing), 'scan')} could not be used, in {len(missing)} tests")
    wanted = {metric for layout in planned.recipe.tables for metric in layout.figures}
    for metric in [one for one in FIGURES if one in wanted]:
        undefined = sum(one.results.undefined()[metric] for one in found)
        if undefined:
            notes.append(f"{metric}: {plural(undefined, 'undefined value')} left out of the means")
    if planned.stand_in:
        notes.append("made with stand-in weights: the figures say nothing about the method")
    return notes


def _mixed(found: Sequence[Measured]) -> set[str]:
    """The tests of which cells that differ in seed or variant alone saw different scans."""
    seen: dict[tuple[str, str, str], set[str]] = {}
    for one in found:
        seen.setdefault((one.test, one.data, one.trained), set()).add(one.data_hash)
    return {test for (test, _, _), several in seen.items() if len(several) > 1}


def _write_tables(
    out: Path,
    planned: Plan,
    states: Mapping[Cell, str],
    blocks: Sequence[Block],
    notes: Sequence[str],
) -> None:
    """Write table.md, table.csv, table.tex and table.json."""
    recipe = planned.recipe
    grids = [block.grid() for block in blocks]
    heading = "\n\n".join((f"# {recipe.title}", *(f"{note}." for note in notes)))
    _write_text(out / "table.md", "\n".join((f"{heading}\n", *(one.markdown() for one in grids))))
    _write_text(out / "table.csv", "\n".join(f"{one.title}\n{one.csv()}" for one in grids))
    _write_text(out / "table.tex", "\n".join(one.latex() for one in grids))
    content = {
        "format": FORMAT,
        "title": recipe.title,
        "notes": list(notes),
        "cells": [
            {
                "name": cell.name,
                "state": state,
                "variant": cell.variant,
                "data": cell.data,
                "category": cell.category,
                "seed": cell.seed,
                "reason": failure_of(out / "cells" / cell.name) if state == "failed" else None,
                "tests": [f"cells/{cell.name}/{folder_of(one, cell)}" for one in recipe.tests]
                if state == "done"
                else [],
            }
            for cell, state in states.items()
        ],
        "tables": [block.plain() for block in blocks],
    }
    _write_text(out / "table.json", json.dumps(content, indent=1, allow_nan=False))


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(f"{text.rstrip()}\n".encode())
