"""A recipe's cells trained and tested, and their figures laid beside the published ones."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from zeroflaw.cells import DONE, Cell, Job, failure_of, folder_of, measured, plan, state_of
from zeroflaw.detector import choose_device
from zeroflaw.io.atomic import replacing
from zeroflaw.provenance import recorded
from zeroflaw.recipe import Recipe, build_recipe, bundled, find_recipe, read_recipe
from zeroflaw.reports.benchmark_table import Block, Measured, lay_out
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.results import FIGURES
from zeroflaw.schedule import Outcome, run_jobs
from zeroflaw.types import ZeroflawError

FORMAT = 1
PLAN = "plan.json"
INCOMPLETE, INTERRUPTED = 1, 130
WIDEST = 1000  # columns of a table on a terminal that wraps it
# What may change from call to call: it says nothing about what a cell is.
FREE = ("title", "about", "seeds", "table")


@dataclass(frozen=True)
class Request:
    """What a person asks of a benchmark.

    recipe: a bundled one's name or a path; None for the one that `out` holds. roots: of the data
    sets, by name. workers: processes, None for one per device. devices: "auto", "cpu" or names
    separated by commas. seeds: instead of the recipe's. patterns: of the cells to work, all by
    default. retry: whether cells that failed are tried again. changes: KEY=VALUE of the recipe.
    drop: what finished cells do not keep, "scores" or "weights".
    """

    recipe: str | None
    out: Path
    roots: Mapping[str, Path] = field(default_factory=dict)
    workers: int | None = None
    devices: str = "auto"
    seeds: tuple[int, ...] = ()
    patterns: tuple[str, ...] = ()
    retry: bool = False
    changes: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    stand_in: bool = False
    encoder: Path | None = None
    text_tower: Path | None = None


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


def run(request: Request) -> int:
    """Work the cells that are left, write and print the table, return the exit code.

    0 when all cells that were asked for are done, 1 when one failed, could not use all scans or
    is worked by another process, 130 when interrupted; the same call then goes on. Raises ZeroflawError for a recipe
    or data that cannot be used, and for a folder that holds another benchmark.
    """
    planned, chosen = _plan(request)
    devices = find_devices(request.devices)
    planned = _enter(request.out, planned, request)
    jobs = _jobs(request, planned, chosen, len(devices))
    facts = {
        "recipe": dict(planned.recipe.content),
        "changes": list(request.changes),
        "stand_in": request.stand_in,
        "seeds": list(planned.recipe.seeds),
        "roots": {name: str(path) for name, path in request.roots.items()},
        "devices": devices,
    }
    interrupted = False
    try:
        with recorded(request.out, **facts):
            run_jobs(jobs, request.workers or len(devices), devices, _Said(len(jobs)))
    except KeyboardInterrupt:
        interrupted = True
    show_table(request.out, planned)
    if interrupted:
        print("zeroflaw: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    whole = all(
        state_of(request.out / "cells" / cell.name) == "done"
        and not _incomplete(planned.recipe, cell, request.out)
        for cell in chosen
    )
    return 0 if whole else INCOMPLETE


def table(request: Request) -> int:
    """Write and print the table of what is there, and return the exit code.

    Needs no data. A recipe lays its tables out, by default that of the folder itself.
    """
    planned = read_plan(request.out)
    if request.recipe is not None:
        path = find_recipe(request.recipe)
        other = read_recipe(path, request.changes)
        content = {**planned.recipe.content, "table": other.content.get("table", [])}
        recipe = build_recipe(content, planned.recipe.name, str(path))
        planned = Plan(recipe, planned.cells, planned.stand_in, planned.encoder, planned.text_tower)
    show_table(request.out, planned)
    return 0


def dry_run(request: Request) -> int:
    """Print the cells that would be worked, each with its state, and return the exit code."""
    _, chosen = _plan(request)
    states = [state_of(request.out / "cells" / cell.name) for cell in chosen]
    for cell, state in zip(chosen, states, strict=True):
        print(f"{state:7}{cell.name}")
    print(f"{plural(len(chosen), 'cell')}, {states.count('done')} done")
    return 0


def list_recipes() -> int:
    """Print the bundled recipes, each with its title and data, and return the exit code."""
    for name, path in bundled().items():
        recipe = read_recipe(path)
        print(f"{name}\n  {recipe.title}\n  needs {', '.join(recipe.data)}")
    return 0


def find_devices(given: str) -> list[str]:
    """Return the devices by name; "auto" is all CUDA devices or else the CPU. Raises ZeroflawError.

    given: "auto", or names separated by commas.
    """
    if given == "auto":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return [f"cuda:{number}" for number in range(count)] or ["cpu"]
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names:
        raise ZeroflawError(f"devices {given!r}: name one, such as cpu or cuda:0,cuda:1")
    return [str(choose_device(name)) for name in names]


def _plan(request: Request) -> tuple[Plan, tuple[Cell, ...]]:
    """Return the whole benchmark and the cells that were asked for."""
    if request.recipe is None:
        raise ZeroflawError("benchmark: name a recipe; `zeroflaw benchmark --list` shows them")
    changes = list(request.changes)
    if request.seeds:
        changes.append(f"seeds = [{', '.join(map(str, request.seeds))}]")
    recipe = read_recipe(find_recipe(request.recipe), changes)
    unknown = sorted(set(request.roots) - set(recipe.data))
    if unknown:
        raise ZeroflawError(
            f"--root {unknown[0]}: the recipe does not read it; it reads {', '.join(recipe.data)}"
        )
    cells = plan(recipe, request.roots)
    chosen = [
        cell
        for cell in cells
        if not request.patterns or any(fnmatchcase(cell.name, one) for one in request.patterns)
    ]
    if not chosen:
        raise ZeroflawError(
            f"--cell {' '.join(request.patterns)}: no cell is called so; the first of "
            f"{len(cells)} is {cells[0].name}"
        )
    encoder, tower = (str(one or "") for one in (request.encoder, request.text_tower))
    return Plan(recipe, cells, request.stand_in, encoder, tower), tuple(chosen)


def _enter(out: Path, planned: Plan, request: Request) -> Plan:
    """Make the folder, or add to what it holds, and return the whole plan."""
    cells = planned.cells
    recipe = planned.recipe
    if (out / PLAN).is_file():
        found = read_plan(out)
        before, now = found.identity(), planned.identity()
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                raise ZeroflawError(
                    f"{out}: holds a benchmark with another {key} ({_short(before.get(key))}; now "
                    f"{_short(now.get(key))}); choose another --out or the same settings"
                )
        cells = tuple(dict.fromkeys((*found.cells, *cells)))
        seeds = sorted({*found.recipe.seeds, *recipe.seeds})
        content = {**recipe.content, "seeds": seeds}
        recipe = build_recipe(content, recipe.name, str(request.recipe))
    whole = Plan(recipe, cells, planned.stand_in, planned.encoder, planned.text_tower)
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZeroflawError(f"{out}: cannot hold a benchmark ({error.strerror})") from None
    content = {
        "format": FORMAT,
        "name": recipe.name,
        "recipe": whole.recipe.content,
        "stand_in": whole.stand_in,
        "encoder": whole.encoder,
        "text_tower": whole.text_tower,
        "cells": [[one.variant, one.data, one.category, one.seed] for one in cells],
    }
    with replacing(out / "recipe.toml") as file:
        file.write(find_recipe(str(request.recipe)).read_bytes())
    _write_text(out / PLAN, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
    return whole


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
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ZeroflawError(f"{path}: damaged ({error!r}); start in another folder") from None


def _jobs(request: Request, planned: Plan, chosen: Sequence[Cell], devices: int) -> list[Job]:
    """Return what is left of the cells that were asked for."""
    alone = (request.workers or devices) == 1
    jobs = []
    for cell in chosen:
        job = Job(
            recipe=planned.recipe,
            cell=cell,
            out=request.out,
            roots=request.roots,
            stand_in=request.stand_in,
            encoder=request.encoder,
            text_tower=request.text_tower,
            drop=request.drop,
            progress=alone and sys.stderr.isatty(),
        )
        state = state_of(job.folder)
        if request.retry and state == "done" and _incomplete(planned.recipe, cell, request.out):
            (job.folder / DONE).unlink()
            state = "open"
        if state == "open" or (state == "failed" and request.retry) or request.drop:
            jobs.append(job)
    return jobs


def _incomplete(recipe: Recipe, cell: Cell, out: Path) -> bool:
    """Whether scans could not be used when the cell was tested."""
    return any(one.missing for one in measured(recipe, cell, out))


class _Said:
    """Says on stderr how each cell went."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began = total, 0, time.monotonic()

    def __call__(self, job: Job, outcome: Outcome) -> None:
        self.done += 1
        words = {"busy": "is worked by another process"}
        line = words.get(outcome, outcome)
        if outcome == "failed":
            line = f"failed: {failure_of(job.folder)}"
        seconds = time.monotonic() - self.began
        print(
            f"[{self.done}/{self.total}] {job.cell.name} {line} ({seconds:.0f} s)",
            file=sys.stderr,
            flush=True,
        )


def show_table(out: Path, planned: Plan) -> None:
    """Write the tables of what is done in all forms, print them and what failed."""
    from rich.console import Console

    states = {cell: state_of(out / "cells" / cell.name) for cell in planned.cells}
    found = [
        one
        for cell, state in states.items()
        if state == "done"
        for one in measured(planned.recipe, cell, out)
    ]
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
    for cell, state in states.items():
        if state == "failed":
            reason = failure_of(out / "cells" / cell.name)
            print(f"zeroflaw: cell {cell.name} failed: {reason}", file=sys.stderr)
    console.print(f"table in {out / 'table.md'}", soft_wrap=True)


def _notes(planned: Plan, states: Sequence[str], found: Sequence[Measured]) -> list[str]:
    """Say how much of the benchmark the tables hold and what is missing from them."""
    failed, left = states.count("failed"), states.count("open")
    cells = plural(len(states), "cell")
    notes = [f"{states.count('done')} of {cells} done, {failed} failed, {left} open"]
    if len(planned.recipe.seeds) > 1:
        count = len(planned.recipe.seeds)
        notes.append(f"mean ± standard deviation over up to {count} seeds, in percent")
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


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
