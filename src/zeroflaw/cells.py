"""One cell of a benchmark: a method trained on one category with one seed, then tested."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from zeroflaw import checkpoint
from zeroflaw.datasets import checked_split, open_dataset
from zeroflaw.datasets.base import Dataset
from zeroflaw.detector import Detector, choose_device, find_weights
from zeroflaw.evaluate import evaluate, seen_categories
from zeroflaw.interruption import insist
from zeroflaw.io.atomic import replacing
from zeroflaw.io.source import said_by
from zeroflaw.log import processor
from zeroflaw.methods.base import Method
from zeroflaw.recipe import ALL, EACH, OTHERS, SAME, Recipe, Test, Train, Variant
from zeroflaw.reports.benchmark_table import Measured
from zeroflaw.reports.results import read_results
from zeroflaw.start import start
from zeroflaw.train import fit, staged
from zeroflaw.types import ZeroflawError

State = Literal["done", "failed", "open"]
DONE, FAILED, LOCK, TRAINED = "cell.json", "failed.txt", "lock", "trained.json"
SPEED_CLOUDS, SPEED_WARM_UP = 16, 2


@dataclass(frozen=True)
class Cell:
    """What one cell is of. data, category: trained on, "" for a checkpoint; ALL for all of them."""

    variant: str
    data: str
    category: str
    seed: int

    @property
    def name(self) -> str:
        """Its folder below `cells`, and what a pattern is held against."""
        parts = (self.variant, self.data, self.category, str(self.seed) if self.data else "")
        return "/".join(part for part in parts if part)


@dataclass(frozen=True)
class Job:
    """A cell and all that a process needs to work it.

    out: the benchmark's folder. roots: of the data sets, by name. drop: what a finished cell does
    not keep, "scores" or "weights". threads: of torch, 0 for its own choice.
    """

    recipe: Recipe
    cell: Cell
    out: Path
    roots: Mapping[str, Path]
    device: str = "cpu"
    stand_in: bool = False
    encoder: Path | None = None
    text_tower: Path | None = None
    drop: tuple[str, ...] = ()
    progress: bool = False
    threads: int = 0

    @property
    def folder(self) -> Path:
        """Where the cell's files lie."""
        return self.out / "cells" / self.cell.name

    @property
    def variant(self) -> Variant:
        """The cell's variant."""
        return next(one for one in self.recipe.variants if one.name == self.cell.variant)


def plan(recipe: Recipe, roots: Mapping[str, Path]) -> tuple[Cell, ...]:
    """Return all cells of a recipe: seed by seed, so that few seeds of all come first.

    Raises ZeroflawError for a data set without a root and for a category that is not there.
    """
    for name in recipe.data:
        open_data(name, roots)
    for test in recipe.tests:
        for data in [one.data for one in recipe.train] if test.data == SAME else [test.data]:
            _check_categories(data, test.categories, roots, "to test on")
    if recipe.checkpoint:
        return tuple(Cell(variant.name, "", "", 0) for variant in recipe.variants)
    trained = [
        (one.data, category) for one in recipe.train for category in _train_categories(one, roots)
    ]
    return tuple(
        Cell(variant.name, data, category, seed)
        for seed in recipe.seeds
        for variant in recipe.variants
        for data, category in dict.fromkeys(trained)
    )


def open_data(name: str, roots: Mapping[str, Path]) -> Dataset:
    """Return a recipe's data set. Raises ZeroflawError if its root was not given.

    name: of DATASETS, or "folder.NAME" for one of several folders.
    """
    if name not in roots:
        raise ZeroflawError(f"the recipe needs the data set {name}: give --root {name}=PATH")
    return open_dataset([name.partition(".")[0], roots[name]])


def _train_categories(train: Train, roots: Mapping[str, Path]) -> tuple[str, ...]:
    if train.categories == (ALL,):
        return (ALL,)
    present = _check_categories(train.data, train.categories, roots, "to train on")
    return present if train.categories == (EACH,) else train.categories


def _check_categories(
    name: str, chosen: Sequence[str], roots: Mapping[str, Path], purpose: str
) -> tuple[str, ...]:
    """Return the categories of a data set. Raises ZeroflawError if a chosen one is not there."""
    present = open_data(name, roots).categories()
    for category in chosen:
        if category not in (*present, EACH, ALL, OTHERS):
            known = ", ".join(present)
            raise ZeroflawError(
                f"{roots[name]}: has no category {category!r} {purpose}; there are {known}"
            )
    return present


def state_of(folder: Path) -> State:
    """Return how far a cell is, by its folder."""
    if (folder / DONE).is_file():
        return "done"
    return "failed" if (folder / FAILED).is_file() else "open"


def failure_of(folder: Path) -> str:
    """Return the one line that says why a cell failed."""
    text = (folder / FAILED).read_text(encoding="utf-8", errors="replace")
    return next(iter(text.splitlines()), "no reason was written")


def work(job: Job) -> State | Literal["busy"]:
    """Train and test a cell, or go on with it, and return how that went.

    "busy" where another process is at it. A failure is written into the cell's folder with its
    reason. Raises KeyboardInterrupt; the same call goes on afterwards.
    """
    lock = FileLock(job.folder / LOCK, timeout=0)
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        return "busy"
    except OSError as error:
        raise ZeroflawError(f"{job.folder}: cannot be used ({error.strerror or error})") from None
    try:
        if not (job.folder / DONE).is_file():
            (job.folder / FAILED).unlink(missing_ok=True)
            _work(job)
        drop_parts(job.folder, job.drop)
    except Exception as error:  # one cell that breaks must not cost the others
        insist()
        write_failure(job.folder, error)
        return "failed"
    finally:
        lock.release()
    return "done"


def write_failure(folder: Path, error: Exception | str) -> None:
    """Write why a cell failed: one line, and for an exception where it came from."""
    if isinstance(error, str):
        text = error
    elif isinstance(error, ZeroflawError):
        text = "\n\n".join((str(error), "".join(traceback.format_exception(error))))
    else:
        line = " ".join(f"unexpected {type(error).__name__}: {error}".split())
        text = "\n\n".join((line, "".join(traceback.format_exception(error))))
    with replacing(folder / FAILED) as file:
        file.write(f"{text.rstrip()}\n".encode())


def drop_parts(folder: Path, parts: tuple[str, ...]) -> None:
    """Delete what a finished cell need not keep; its results stay."""
    if "scores" in parts:
        for scores in folder.glob("*/scores"):
            shutil.rmtree(scores, ignore_errors=True)
    if "weights" in parts:
        shutil.rmtree(folder / "train", ignore_errors=True)
    else:
        for state in (folder / "train").rglob("state.pt"):  # of every stage
            state.unlink(missing_ok=True)


def _work(job: Job) -> None:
    begun = time.monotonic()
    if job.threads:
        torch.set_num_threads(job.threads)
    weights = find_weights(job.recipe.checkpoint) if job.recipe.checkpoint else _train(job)
    missing, hashes = {}, {}
    for test in job.recipe.tests:
        dataset = open_data(job.cell.data if test.data == SAME else test.data, job.roots)
        detector = _detector(job, weights, test)
        tested = scope(job.recipe, job.cell, test, job.roots)
        if job.recipe.checkpoint:
            tested["left_out"] = seen_categories(detector, dataset, tested["categories"])
        evaluation = evaluate(
            detector,
            dataset,
            job.folder / folder_of(test, job.cell),
            **tested,
            cache=job.out / "cache",
            workers=1,
            progress=job.progress,
            about={"recipe": job.recipe.title, "cell": job.cell.name},
        )
        missing[test.name or test.data] = len(evaluation.failures)
        hashes[test.name or test.data] = evaluation.data_hash
    found = {
        "cell": job.cell.name,
        "missing": missing,
        "data_hash": hashes,
        "speed": _speed(_detector(job, weights, None)) if job.recipe.speed else None,
        "seconds": round(time.monotonic() - begun, 1),
        "processor": processor(choose_device(job.device)),
    }
    with replacing(job.folder / DONE) as file:
        file.write((json.dumps(found, indent=2, allow_nan=False) + "\n").encode())


def folder_of(test: Test, cell: Cell) -> str:
    """Return the name of a test's folder in a cell's."""
    return test.name or (cell.data if test.data == SAME else test.data)


def scope(recipe: Recipe, cell: Cell, test: Test, roots: Mapping[str, Path]) -> dict[str, Any]:
    """Return which categories a cell is tested on and which the means leave out.

    Scans that were trained on never count. Raises ZeroflawError if nothing else is left.
    """
    data = cell.data if test.data == SAME else test.data
    categories = open_data(data, roots).categories()
    if test.categories not in ((ALL,), (OTHERS,)):
        categories = test.categories
    same = data == cell.data
    if same and test.categories == (OTHERS,):
        categories = tuple(one for one in categories if one != cell.category)
    seen = same and any(one.data == data and one.split == test.split for one in recipe.train)
    left_out = [one for one in categories if seen and cell.category in (one, ALL)]
    if set(left_out) == set(categories):
        raise ZeroflawError(
            f"cell {cell.name}: is tested on nothing but what it was trained on; test it on other "
            "categories, another split or other data"
        )
    return {
        "categories": categories,
        "split": checked_split(test.split),
        "left_out": tuple(left_out),
    }


def _train(job: Job) -> Path:
    """Train the cell unless that is done, and return the checkpoint."""
    cell, out = job.cell, job.folder / "train"
    marker = job.folder / TRAINED
    trained = _trained(marker, out)
    if trained is not None:
        return trained
    spec = next(one for one in job.recipe.train if one.data == cell.data)
    categories = None if cell.category == ALL else [cell.category]
    scans = open_data(cell.data, job.roots).select(categories, checked_split(spec.split))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        method = start(
            job.recipe.method_of(job.variant),
            job.recipe.method_settings(job.variant),
            job.encoder,
            job.text_tower,
            job.stand_in,
        )
    history = fit(
        method,
        scans,
        staged(method, job.recipe.train_settings(job.variant, cell.seed)),
        out,
        cache=job.out / "cache",
        device=choose_device(job.device),
        card={"stand_in": job.stand_in, "cell": cell.name},
        progress=job.progress,
    )
    with replacing(marker) as file:
        file.write((json.dumps({"checkpoint": history.best.name}) + "\n").encode())
    return history.best


def _trained(marker: Path, out: Path) -> Path | None:
    """Return the checkpoint that a finished training's marker names; None if it is not there."""
    try:
        name = json.loads(marker.read_text(encoding="utf-8"))["checkpoint"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return next((path for path in out.glob("*.safetensors") if path.name == name), None)


def _detector(job: Job, weights: Path, test: Test | None) -> Detector:
    """Return the cell's detector, with the settings that the test wants at inspection."""
    method, card = checkpoint.load(weights)
    changes = {} if test is None else dict(test.method)
    if job.recipe.checkpoint:
        changes = {**job.recipe.method_settings(job.variant), **changes}
    if changes:
        method = with_settings(method, changes, f"{job.recipe.name}: {job.cell.name}")
    return Detector(method, card, name=job.cell.name, device=job.device)


def with_settings(method: Method, changes: Mapping[str, Any], where: str) -> Method:
    """Return the method with the same weights and other settings. Raises ZeroflawError.

    where: for messages.
    """
    kind: Any = type(method)
    config = checkpoint.build_config(kind.Config, {**asdict(method.config), **changes}, where)
    other, weights = checkpoint.for_inspection(kind, config), method.inspection_state()
    shapes = {name: entry.shape for name, entry in weights.items()}
    if shapes != {name: entry.shape for name, entry in other.inspection_state().items()}:
        raise ZeroflawError(
            f"{where}: {', '.join(changes)} cannot be changed without training anew"
        )
    other.load_state_dict(weights, strict=False)
    return other.eval()


def _speed(detector: Detector) -> float:
    """Return clouds per second of encoder and heads, sampling left out, one cloud at a time."""
    method = cast(Any, detector.method)
    drawn = torch.randn(1, method.config.points, 3, generator=torch.Generator().manual_seed(0))
    cloud: Tensor = (drawn / drawn.norm(dim=-1, keepdim=True)).to(detector.device)

    def run(times: int) -> float:
        begun = time.perf_counter()
        for _ in range(times):
            method(method.encode(cloud))
        if detector.device.type == "cuda":
            torch.cuda.synchronize(detector.device)
        return time.perf_counter() - begun

    with torch.inference_mode():
        run(SPEED_WARM_UP)
        return SPEED_CLOUDS / run(SPEED_CLOUDS)


def measured(recipe: Recipe, cell: Cell, out: Path) -> list[Measured]:
    """Return the results of a cell that is done. Raises ZeroflawError if a file is damaged."""
    folder = out / "cells" / cell.name
    place = folder / DONE
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        missing, hashes, speed = dict(found["missing"]), dict(found["data_hash"]), found["speed"]
        return [
            Measured(
                variant=cell.variant,
                trained=cell.category,
                seed=cell.seed,
                test=test.name or test.data,
                results=read_results(folder / folder_of(test, cell)),
                speed=float("nan") if speed is None else float(speed),
                missing=int(missing.get(test.name or test.data, 0)),
                data_hash=str(hashes.get(test.name or test.data, "")),
            )
            for test in recipe.tests
        ]
    except ZeroflawError as error:
        problem = str(error).rpartition(";")[0]
        raise ZeroflawError(f"{problem}; delete {place} and run the benchmark again") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        said = f"{type(error).__name__}: {said_by(error)}"
        raise ZeroflawError(f"{place}: damaged ({said}); delete it and go on") from None
