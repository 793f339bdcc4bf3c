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

from zeroflaw.benchmark_folder import (
    PLAN,
    Plan,
    data_hashes,
    done,
    read_plan,
    show_table,
    write_plan,
)
from zeroflaw.cells import DONE, Cell, Job, failure_of, measured, plan, state_of
from zeroflaw.detector import choose_device
from zeroflaw.provenance import recorded
from zeroflaw.recipe import Recipe, build_recipe, bundled, find_recipe, read_recipe
from zeroflaw.reports.numbers import plural
from zeroflaw.schedule import Outcome, run_jobs
from zeroflaw.start import check_published
from zeroflaw.types import ZeroflawError

INCOMPLETE, INTERRUPTED = 1, 130


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


def run(request: Request) -> int:
    """Work the cells that are left, write and print the table, return the exit code.

    0 when all cells that were asked for are done, 1 when one failed, could not use all scans or
    is worked by another process, 130 when interrupted; the same call then goes on. Raises
    ZeroflawError for a recipe or data that cannot be used, and for a folder that holds another
    benchmark.
    """
    planned, chosen = _plan(request)
    devices = find_devices(request.devices)
    _check_weights(request, planned, chosen)
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
        with recorded(request.out, verb="benchmark", **facts) as record:
            run_jobs(jobs, request.workers or len(devices), devices, _Said(len(jobs)))
            record["data_hash"] = data_hashes(done(request.out, planned))
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
        planned = replace(planned, recipe=recipe)
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
    print("synthetic\n  Detectors on fixed scans of categories never trained on\n  needs no data")
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


def _check_weights(request: Request, planned: Plan, chosen: Sequence[Cell]) -> None:
    """Raise ZeroflawError if a cell is to be trained and published weights are missing.

    Else every cell would fail for the same reason.
    """
    if not planned.recipe.methods or request.stand_in:
        return
    wanted = ("open", "failed") if request.retry else ("open",)
    left = {
        cell.variant for cell in chosen if state_of(request.out / "cells" / cell.name) in wanted
    }
    kinds = [planned.recipe.method_of(one) for one in planned.recipe.variants if one.name in left]
    check_published(kinds, request.encoder, request.text_tower)


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
    whole = replace(planned, recipe=recipe, cells=cells)
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZeroflawError(f"{out}: cannot hold a benchmark ({error.strerror})") from None
    write_plan(out, whole, find_recipe(str(request.recipe)).read_bytes())
    return whole


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


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
