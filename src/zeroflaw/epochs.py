"""The epochs of a training: batches in, losses down, states and checkpoints out."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from zeroflaw import checkpoint
from zeroflaw.average import Average
from zeroflaw.batches import Batch, Source, batches, training_mode
from zeroflaw.cache import hash_frozen
from zeroflaw.distributed import Ranks
from zeroflaw.log import processor, write_log
from zeroflaw.methods.base import Method
from zeroflaw.optimize import OPTIMIZERS, build_optimizer, set_learning_rate
from zeroflaw.progress import TrainingProgress
from zeroflaw.resume import Interruption, Position, Row, read_state, write_state
from zeroflaw.tally import Tally
from zeroflaw.types import ZeroflawError
from zeroflaw.version import __version__

Validation = Callable[[Method], Mapping[str, float]]
MOST = 1_000_000  # epochs, and items of a step
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are BTP's (paper, section on implementation).

    state_minutes: how often a state is written within an epoch, besides the one after each, and how
    often at most the last checkpoint is, before the end.
    patience: epochs without a better watched figure before training stops; 0 for never. watch: a
    figure of the validation, the lowest "loss" being the best and the highest of any other.
    together: scans of a batch that are computed at once, 0 for all; fewer need less memory and may
    be faster, but a loss that compares scans sees those alone. Several processes do not heed it.
    precision: of the products in `forward`, "float32" or "bfloat16" (mixed: weights, losses and
    validation stay in 32 bits). average: share of the old average of the weights that a step
    leaves, 0 for no averaging; the averaged weights are validated and saved. optimizer: see
    `build_optimizer`.
    """

    epochs: int = 100
    batch: int = 2
    learning_rate: float = 5e-4
    prompt_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    seed: int = 111
    watch: str = "loss"
    patience: int = 0
    state_minutes: float = 10.0
    together: int = 0
    precision: str = "float32"
    average: float = 0.0
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch", 1), ("patience", 0)):
            if not low <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {low} to {MOST}")
        for name in ("learning_rate", "prompt_learning_rate", "weight_decay", "clip"):
            value = getattr(self, name)
            if not 0 <= value < math.inf or (name == "clip" and value == 0):
                raise ValueError(f"{name} is {value}, expected a positive number")
        for name, known in (("precision", PRECISIONS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise ValueError(f"{name} is {given!r}, expected {' or '.join(known)}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average is {self.average}, expected 0 to below 1")
        if not self.state_minutes >= 0:
            raise ValueError(f"state_minutes is {self.state_minutes}, expected 0 or more")


@dataclass(frozen=True)
class History:
    """What a training did.

    rows: per epoch its figures by name. best, last: checkpoints (best is last where nothing was
    validated). best_epoch: from 1. stopped: whether patience ended it. seconds: worked in all.
    """

    rows: tuple[Row, ...]
    best: Path
    last: Path
    best_epoch: int
    stopped: bool
    seconds: float


class Training:
    """One training and all that it carries from step to step."""

    interruption: Interruption
    progress: TrainingProgress
    on_step: Callable[[Position], None] | None

    def __init__(
        self,
        method: Method,
        source: Source,
        settings: TrainSettings,
        out: Path,
        validate: Validation | None,
        card: Mapping[str, Any],
        data: str,
    ) -> None:
        self.method, self.source, self.settings, self.out = method, source, settings, out
        self.validate, self.card = validate, card
        self.optimizer = build_optimizer(
            method,
            settings.learning_rate,
            settings.prompt_learning_rate,
            settings.weight_decay,
            settings.optimizer,
        )
        self.average = Average(method, settings.average) if settings.average else None
        self.steps_per_epoch = math.ceil(len(source) / settings.batch)
        self.position = Position()
        self.identity = self._identity(data)
        self.whole = True
        self.clock = self.written = self.saved = time.monotonic()
        self.device = next(method.parameters()).device
        self.ranks = Ranks.current()
        self.ranks.start(method)
        self.tally = Tally(self.device)

    def _identity(self, data: str) -> dict[str, str]:
        settings = dataclasses.asdict(self.settings)
        del settings["state_minutes"]
        config = json.dumps(dataclasses.asdict(self.method.config), default=str)
        return {
            **{name.replace("_", " "): str(value) for name, value in settings.items()},
            "method": f"{self.method.name} {config}",
            "frozen encoder": hash_frozen(self.method)[:16],
            "training data": f"{len(self.source)} items {data[:80]}".strip(),
            "validation": "yes" if self.validate else "no",
        }

    def resume(self) -> None:
        """Go on from the state in the output folder, if there is one."""
        path = self.out / "state.pt"
        found = read_state(path, self.method, self.optimizer, self.identity, self.average)
        if found is not None:
            self.position = found
            self.progress.resumed(found.epoch, found.step)
        step = self.position.step
        most, least = self.ranks.largest(step), -self.ranks.largest(-step)
        if most != least:
            raise ZeroflawError(f"{path}: not all processes see it; give a folder that all share")

    def run(self) -> History:
        """Train the epochs that are left."""
        try:
            while self.position.epoch < self.settings.epochs and not self.position.stopped:
                self._epoch()
                self._stop_if_requested()
        except KeyboardInterrupt:
            if self.whole:
                self._write_state()
            raise
        self.method.eval()
        if self.average is not None:
            self.average.put()
        if not checkpoint.paths(self.out / "last")[0].exists():
            self._save_checkpoints(self.position.history[-1], better=False)
        last = self.out / "last.safetensors"
        best = self.out / "best.safetensors" if self.validate else last
        position = self.position
        return History(
            tuple(position.history),
            best,
            last,
            position.best_epoch,
            position.stopped,
            position.seconds,
        )

    def _epoch(self) -> None:
        position = self.position
        self.method.begin_epoch(position.epoch, self.settings.epochs)
        training_mode(self.method)
        for batch in self._batches():
            self._step(batch)
            if self.on_step is not None:
                self.on_step(position)
            if self.ranks.size == 1:
                self._stop_if_requested()
            if time.monotonic() - self.written > 60 * self.settings.state_minutes:
                self._write_state()
        with self._averaged():
            row = self._finish_epoch()
            self.whole = False
            position.epoch, position.done, position.sums = position.epoch + 1, 0, {}
            position.history.append(row)
            better = self._judge(row)
            self.whole = True
            self._save_checkpoints(row, better)
        if self.ranks.first:
            write_log(self.out / "log.csv", position.history)
        self._write_state()
        self.progress.epoch(row)

    def _averaged(self) -> AbstractContextManager[None]:
        return nullcontext() if self.average is None else self.average.applied()

    def _batches(self) -> Iterator[Batch]:
        """Yield the rest of the epoch; before each step all processes agree to go on."""
        position, size = self.position, self.settings.batch
        found = batches(self.source, position.epoch, position.done, size, self.ranks)
        while True:
            try:
                batch = next(found, None)
            except Exception:
                if not self.interruption.requested:
                    raise
                batch = None  # a Ctrl-C may have ended the source's workers first
            self._stop_if_requested()
            if batch is None:
                return
            yield batch

    def _step(self, batch: Batch) -> None:
        position, settings = self.position, self.settings
        total = settings.epochs * self.steps_per_epoch
        set_learning_rate(self.optimizer, position.step, total)
        torch.manual_seed(settings.seed * 1_000_003 + position.step)  # whatever drew before
        self.whole = False
        self.optimizer.zero_grad()
        terms: dict[str, Tensor] = {}
        for part in batch.parts(settings.together):
            share = sum(part.counts) / sum(batch.counts)
            for name, term in self._backward(part, share).items():
                terms[name] = terms[name] + term if name in terms else term
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self.ranks.average_gradients(weights)
        norm = nn.utils.clip_grad_norm_(weights, settings.clip)
        self.tally.add(position, terms, norm, sum(batch.counts))
        self.optimizer.step()
        if self.average is not None:
            self.average.step(position.step + 1)
        position.step += 1
        position.done += sum(batch.counts)
        self.whole = True
        self.progress.step(position.epoch, position.step, self.tally.latest)

    def _backward(self, part: Batch, share: float) -> dict[str, Tensor]:
        """Add the gradients of a part of a batch; return its losses, both times its share."""
        mixed = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            evidence = self.method(part.prepared.to(self.device))
        if mixed:
            evidence = evidence.float()
        joint = self.ranks.joint(evidence, part.target.to(self.device), part.counts)
        terms = {name: share * term for name, term in self.method.losses(*joint).items()}
        cast(Tensor, sum(terms.values())).backward()  # type: ignore[no-untyped-call]
        return {name: term.detach() for name, term in terms.items()}

    def _finish_epoch(self) -> Row:
        """Return the epoch's row, validation included."""
        position = self.position
        self.tally.settle(position)
        means = {name: value / position.done for name, value in position.sums.items()}
        means["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        self.method.finish()
        figures: Mapping[str, float] = {}
        if self.validate is not None:
            self.method.eval()
            if self.ranks.first:
                with torch.no_grad():
                    figures = self.validate(self.method)
            figures = self.ranks.tell(figures)
            if not math.isfinite(figures.get(self.settings.watch, math.nan)):
                raise ZeroflawError(
                    f"the validation gives no {self.settings.watch!r} to watch, only "
                    f"{', '.join(figures)}; does its data hold good and defective scans?"
                )
        self._count_seconds()
        named = {f"validation_{name}": float(value) for name, value in figures.items()}
        return {"epoch": position.epoch + 1, **means, **named, "seconds": position.seconds}

    def _judge(self, row: Row) -> bool:
        """Note whether the row is the best so far, and whether it is time to stop."""
        position, settings = self.position, self.settings
        if self.validate is None:
            position.best_epoch = position.epoch
            return False
        value = row[f"validation_{settings.watch}"]
        score = -value if settings.watch == "loss" else value
        better = position.best is None or score > position.best
        if better:
            position.best, position.best_epoch = score, position.epoch
        waited = position.epoch - position.best_epoch
        position.stopped = 0 < settings.patience <= waited
        return better

    def _save_checkpoints(self, row: Row, better: bool) -> None:
        if not self.ranks.first:
            return
        figures = {
            name: value
            for name, value in row.items()
            if name.startswith("validation_") and math.isfinite(value)
        }
        card = {
            **self.card,
            "seed": self.settings.seed,
            "figures": {**self.card.get("figures", {}), **figures},
            "training": {
                "settings": dataclasses.asdict(self.settings),
                "epoch": int(row["epoch"]),
                "loss": row["loss"],
                "data": self.identity["training data"],
                "seconds": round(row["seconds"], 1),
                "processor": processor(self.device),
                "rates": [group["full_rate"] for group in self.optimizer.param_groups],
                "versions": {"zeroflaw": __version__, "torch": torch.__version__},
            },
        }
        ended = self.position.epoch == self.settings.epochs or self.position.stopped
        if ended or time.monotonic() - self.saved > 60 * self.settings.state_minutes:
            checkpoint.save(self.out / "last", self.method, card)
            self.saved = time.monotonic()
        if better:
            checkpoint.save(self.out / "best", self.method, card)

    def _stop_if_requested(self) -> None:
        if self.ranks.any(self.interruption.requested):
            raise KeyboardInterrupt

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self.clock
        self.clock = now

    def _write_state(self) -> None:
        self.tally.settle(self.position)
        self._count_seconds()
        if not self.ranks.first:
            return
        path = self.out / "state.pt"
        write_state(path, self.method, self.optimizer, self.position, self.identity, self.average)
        self.written = time.monotonic()
