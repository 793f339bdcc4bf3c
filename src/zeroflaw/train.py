"""Training of any method on any items or on the labelled scans of a data set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zeroflaw import checkpoint
from zeroflaw.batches import Item, Shuffled, Source
from zeroflaw.cache import CachedItems, FeatureCache, hash_frozen
from zeroflaw.datasets import checked_split, open_dataset
from zeroflaw.datasets.base import Selection
from zeroflaw.datasets.folder import Folder
from zeroflaw.detector import choose_device
from zeroflaw.distributed import Ranks, joined, local_device
from zeroflaw.epochs import History, Training, TrainSettings, Validation
from zeroflaw.methods.base import Method
from zeroflaw.prepare import prepare_all
from zeroflaw.progress import TrainingProgress
from zeroflaw.provenance import recorded
from zeroflaw.reports.numbers import plural
from zeroflaw.resume import Interruption, Position
from zeroflaw.start import start
from zeroflaw.thresholds import thresholds
from zeroflaw.types import ZeroflawError
from zeroflaw.validate import HeldOut

__all__ = ["History", "TrainSettings", "run", "train"]


def train(
    method: Method,
    items: Sequence[Item] | Source,
    settings: TrainSettings,
    out: Path,
    validate: Validation | None = None,
    progress: bool = True,
    *,
    device: torch.device | str = "cpu",
    card: Mapping[str, Any] | None = None,
    data: str = "",
    resume: bool = True,
    on_step: Callable[[Position], None] | None = None,
    stage: str = "",
) -> History:
    """Train `method` in place and return what happened.

    items: (Prepared, Target) pairs with B = 1, shuffled here, or a `Source`. `out` receives
    `state.pt` (to go on from, see `resume`), `last` and, with `validate`, `best` checkpoints, and
    `log.csv`. data: a hash of the training data; a state of other data is refused. card: joins the
    checkpoints' cards. on_step: called after every step. stage: named in front of the progress.

    After a Ctrl-C, a SIGTERM or a crash the same call goes on where the state was written, and
    ends with the same weights, bit for bit on the same machine, as if undisturbed. Raises
    KeyboardInterrupt once the state is written, and ZeroflawError if a loss is not finite.

    Processes that `joined` has joined share every batch; the first one writes, validates and shows
    the progress, and all of them must see `out`.
    """
    if len(items) == 0:
        raise ZeroflawError("there is nothing to train on: the data holds no scan")
    out.mkdir(parents=True, exist_ok=True)
    method.to(device)
    source = cast(Source, items if hasattr(items, "epoch") else Shuffled(items, settings.seed))
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    ranks = Ranks.current()
    grace = 0.0 if ranks.size == 1 else 1.0  # torchrun repeats the terminal's signal
    with torch.random.fork_rng(devices=cuda), Interruption(grace) as interruption:
        training = Training(method, source, settings, out, validate, card or {}, data)
        training.interruption, training.on_step = interruption, on_step
        training.progress = TrainingProgress(
            progress and ranks.first, settings.epochs, training.steps_per_epoch, stage
        )
        if resume:
            training.resume()
        elif ranks.first:
            (out / "state.pt").unlink(missing_ok=True)
        with training.progress:
            return training.run()


def fit(
    method: Method,
    scans: Selection,
    settings: TrainSettings | Sequence[TrainSettings],
    out: Path,
    held_out: Selection | None = None,
    *,
    cache: Path | None = None,
    workers: int | None = 1,
    device: torch.device | str = "cpu",
    card: Mapping[str, Any] | None = None,
    resume: bool = True,
    progress: bool = True,
) -> History:
    """Train `method` on labelled scans from cached features, then set the checkpoint's thresholds.

    settings: of the training, or of each of the method's stages (see `staged`); all but the last
    have a folder of their own in `out`, named like them. held_out: scans by which the best epoch
    and the thresholds are chosen; without them the last epoch and the training scans. cache: folder
    for what `prepare` gives, by default `out/cache`; workers: processes that fill it, None for as
    many as are worth while. Else as `train`, which it calls.
    """
    method.to(device)
    if isinstance(settings, TrainSettings):
        settings = (settings,) * max(1, len(method.stages()))
    used = [one for one in (scans, held_out) if one is not None]
    ranks = Ranks.current()
    about = {
        "trained_on": describe(scans),
        "seen": {"data": scans.dataset.name, "categories": _categories(scans)},
        "licence": scans.dataset.licence,
        **(card or {}),
    }
    facts = {"method": method.name, "config": method.config, "card": about}
    facts["training"] = settings[0] if len(settings) == 1 else list(settings)
    where = {"root": scans.dataset.root, "device": str(device), "processes": ranks.size}
    with recorded(out if ranks.first else None, verb="train", **facts, **where) as known:
        features = FeatureCache(method, cache or out / "cache")
        for one in used if ranks.first else ():
            _prepare(one, features, workers, progress)
        ranks.wait()
        hashes = (one.content_hash(features.index.hash_file) for one in used)
        known["data_hash"] = content = " ".join(one[:16] for one in hashes)
        known["frozen_weights_hash"] = hash_frozen(method)
        validate = (
            None
            if held_out is None
            else HeldOut(CachedItems(held_out, features), settings[-1].batch)
        )
        history = _in_stages(
            method,
            CachedItems(scans, features),
            settings,
            out,
            validate,
            progress,
            device=device,
            card=about,
            data=content,
            resume=resume,
        )
        if ranks.first:
            best, found = checkpoint.load(history.best)
            best.to(device)
            chosen = thresholds(best, held_out or scans, lambda scan: features.item(scan)[0])
            checkpoint.save(history.best, best, {**found, **chosen})
            known["checkpoint"] = history.best.name
        ranks.wait()
    return history


def staged(method: Method, given: Mapping[str, Any]) -> tuple[TrainSettings, ...]:
    """Return the settings of each of the method's stages, one for a method without stages.

    given: settings that win over a stage's own defaults, in every stage. Raises ZeroflawError.
    """
    defaults = [stage.training for stage in method.stages()] or [{}]
    settings = ({**one, **given} for one in defaults)
    return tuple(checkpoint.build_config(TrainSettings, one, "train") for one in settings)


def _in_stages(
    method: Method,
    items: Sequence[Item],
    settings: Sequence[TrainSettings],
    out: Path,
    validate: Validation | None,
    *given: Any,
    **options: Any,
) -> History:
    """Train the method's stages one after the other, and return what the last one did.

    A stage that an earlier call has ended is read from its state. Only the last one is validated.
    A method that has nothing to learn is saved as it is.
    """
    if not any(weight.requires_grad for weight in method.parameters()):
        last, _ = checkpoint.save(out / "last", method, options["card"])
        return History((), last, last, 0, False, 0.0)
    names = [stage.name for stage in method.stages()] or [""]
    for name, part in zip(names, settings, strict=True):
        ends = name == names[-1]
        method.begin_stage(name)
        folder = out if ends else out / name
        options["stage"] = name
        history = train(method, items, part, folder, validate if ends else None, *given, **options)
    return history


def _prepare(scans: Selection, features: FeatureCache, workers: int | None, progress: bool) -> None:
    """Fill the cache. Raises ZeroflawError for the first scan that cannot be used."""
    problems = list(prepare_all(scans, features, workers, progress).values())
    if problems:
        more = f" (and {plural(len(problems) - 1, 'more scan')})" if len(problems) > 1 else ""
        raise ZeroflawError(problems[0] + more)


def describe(scans: Selection) -> str:
    """Say which scans these are, for a card."""
    data = scans.dataset
    root = data.root.resolve().name
    if data.name == Folder.name:
        return f"{len(scans)} labelled scans of {root}"
    return f"{len(scans)} scans of {data.title}: {', '.join(_categories(scans))}"


def _categories(scans: Selection) -> list[str]:
    return sorted({entry.category for entry in scans.entries})


def run(
    method_name: str,
    data: Sequence[str],
    out: Path,
    *,
    categories: Sequence[str] | None = None,
    split: str | None = None,
    validation: Path | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    patience: int | None = None,
    watch: str | None = None,
    device: str = "auto",
    config: Path | None = None,
    encoder: Path | None = None,
    text_tower: Path | None = None,
    stand_in: bool = False,
    cache: Path | None = None,
    workers: int | None = None,
    restart: bool = False,
    progress: bool = True,
) -> int:
    """Train on labelled scans and return the exit code.

    data: a folder (see datasets/folder.py), or name and root of a data set. categories, split: of
    them; by default the split that the data set names: of published ones the test split, which
    alone has labelled defects. out:
    receives what `train` writes, and `cache/` unless `cache` names another folder. validation: a
    folder of labelled scans, see `fit`. None stands for the default of TrainSettings. config to
    stand_in: see `start`. restart: ignore what an earlier call left. Prints the checkpoint's path;
    0 when done, 130 when interrupted. Raises ZeroflawError for all that a person can put right.
    """
    given = {"epochs": epochs, "batch": batch, "seed": seed, "patience": patience, "watch": watch}
    given = {name: value for name, value in given.items() if value is not None}
    settings: TrainSettings = checkpoint.build_config(TrainSettings, given, "train")
    dataset = open_dataset(data)
    scans = dataset.select(categories, checked_split(split) if split else dataset.learned)
    held_out = None if validation is None else Folder(validation).select()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        method = start(method_name, config, encoder, text_tower, stand_in)
    chosen = local_device(choose_device(device))
    with joined(chosen) as ranks:
        try:
            history = fit(
                method,
                scans,
                staged(method, given),
                out,
                held_out,
                cache=cache,
                workers=workers,
                device=chosen,
                card={"stand_in": stand_in},
                resume=not restart,
                progress=progress,
            )
        except KeyboardInterrupt:
            if ranks.first:
                whole = out / "state.pt"
                state = whole if whole.exists() else out  # an earlier stage has a folder there
                print(f"interrupted; the same command goes on from {state}", file=sys.stderr)
            return 130
        if ranks.first:
            print(checkpoint.paths(history.best)[0])
    return 0
