"""Training of the compact detector on scans that worker processes synthesise as it learns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch.utils.data import DataLoader, Dataset

from zeroflaw import checkpoint
from zeroflaw.datasets.synthetic import NO_SHAPES, Synthetic
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.detector import choose_device
from zeroflaw.distributed import Ranks, joined, local_device
from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.methods.compact import AWAY, KINDS, Compact, CompactConfig
from zeroflaw.provenance import recorded
from zeroflaw.start import read_settings
from zeroflaw.synthesis.generate import Settings, Synthesized, good_twin
from zeroflaw.train import History, TrainSettings, train
from zeroflaw.types import Float32
from zeroflaw.validate import HeldOut

Item = tuple[Prepared, Target]
POINTS = 4096  # of the described points of a scan, those that a training step scores
FALSE_ALARMS = 0.1  # share of good held-out scans that the verdict may call defective
POINT_FALSE_ALARMS = 0.002  # share of their points that may be marked
SCALE_PAIRS = 24  # pairs whose descriptors fix the scale of the input
CALIBRATION_SCANS = 240  # held-out scans that fix the thresholds


class PreparedPairs(Dataset[tuple[Item, Item]]):
    """Pair by number: a defective scan and its good twin, thinned to a size at which they stack."""

    def __init__(self, scans: SyntheticScans, config: CompactConfig, points: int = POINTS) -> None:
        self.scans = scans
        self.config = config
        self.points = points
        self._method: Compact | None = None

    def __getitem__(self, number: int) -> tuple[Item, Item]:
        torch.set_num_threads(1)
        if self._method is None:
            self._method = Compact(self.config, trainable=False)
        shape, seed, made = self.scans.pair(number)
        twin = good_twin(shape, seed, self.scans.pair_settings)
        return (
            self._item(self._method, made, 2 * number),
            self._item(self._method, twin, 2 * number + 1),
        )

    def _item(self, method: Compact, made: Synthesized, number: int) -> Item:
        prepared = method.prepare(made.scan)
        target = method.target(made.scan, prepared)
        told = KINDS[: self.config.kinds]
        kind = torch.tensor([told.index(made.kind) if made.kind in told else -1])
        keep = kept_points(prepared["index"].shape[1], self.points, number)
        tensors = dict(prepared.tensors)
        for name in ("index", "point", "near", "weight"):
            tensors[name] = tensors[name][:, keep]
        for name in ("point", "patch"):
            tensors[name] = tensors[name].half()
        del tensors["patch_index"], tensors["mean"]
        diagonal = float(np.linalg.norm(np.ptp(made.scan.points, axis=0)))
        away = torch.from_numpy(made.displacement)[prepared["index"][:, keep]] / (AWAY * diagonal)
        extra = {**target.tensors, "kind": kind, "away": away.float()}
        return Prepared(tensors), Target(target.point[:, keep], target.object, extra)


def kept_points(count: int, wanted: int, seed: int) -> torch.Tensor:
    """Return `wanted` of `count` rows without order; some twice when there are too few."""
    rng = np.random.default_rng([7, seed])
    rows = rng.permutation(count)
    return torch.from_numpy(np.resize(rows, wanted))


@dataclass
class FreshScans:
    """A source of items that never repeats: epoch e holds scans e·size to (e + 1)·size, even."""

    dataset: PreparedPairs
    size: int
    workers: int

    def __len__(self) -> int:
        return self.size

    def epoch(self, number: int, chosen: Sequence[int]) -> Iterator[Item]:
        """Yield the chosen items of epoch `number`, made by worker processes, pair by pair."""
        wanted = [number * self.size + item for item in chosen]
        known, pairs = set(wanted), list(dict.fromkeys(one // 2 for one in wanted))
        loader = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=pairs,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            multiprocessing_context="spawn" if self.workers else None,
        )
        for pair, items in zip(pairs, loader, strict=True):
            yield from (items[half] for half in (0, 1) if 2 * pair + half in known)


class Watch(HeldOut):
    """The held-out figures, and `mean_auroc` of points and objects, by which the best is chosen."""

    def __call__(self, method: Method) -> dict[str, float]:
        """Return the figures by name."""
        figures = super().__call__(method)
        return {**figures, "mean_auroc": (figures["point_auroc"] + figures["object_auroc"]) / 2}


def fit_scale(method: Compact, dataset: PreparedPairs) -> None:
    """Fix the scale of the descriptors from the first training scans."""
    rows = [dataset[number][0][0]["point"][0].float() for number in range(SCALE_PAIRS)]
    method.fit_scale(torch.cat(rows))


def go_on_from(method: Compact, weights: Path) -> None:
    """Take over what an earlier detector learned: its entries of equal shape, and its text.

    The text tower is not among a detector's entries, so it is fitted to the stored embeddings.
    """
    found = safetensors.torch.load_file(weights)
    own = method.state_dict()
    same = {name: entry for name, entry in found.items() if name in own}
    fitting = {n: e.to(own[n].dtype) for n, e in same.items() if e.shape == own[n].shape}
    method.load_state_dict(fitting, strict=False)
    text, tower = found["text"].float(), method.tower
    assert tower is not None
    optimizer = torch.optim.Adam(tower.parameters(), lr=1e-3)
    for _ in range(400):
        optimizer.zero_grad()
        off = ((tower()[: len(text)] - text) ** 2).sum()
        off.backward()
        optimizer.step()


def run(
    corpus: Path | None,
    out: Path,
    *,
    earlier: Path | None = None,
    epochs: int = 10,
    scans: int = 896,
    batch: int = 8,
    learning_rate: float = 1e-3,
    workers: int = 2,
    held_out: int = 96,
    calibration: int = CALIBRATION_SCANS,
    seed: int = 1,
    device: str = "auto",
    restart: bool = False,
    config: CompactConfig | None = None,
    card: Mapping[str, Any] | None = None,
    generated: Settings | None = None,
    progress: bool = True,
) -> History:
    """Train the compact detector on the shapes of `corpus`; resumes where `out` has a state.

    Without a corpus, parametric solids alone are used. epochs × scans fresh scans are seen, each
    once. Afterwards the best checkpoint gets its thresholds and is written to `out/compact`,
    weights in 16 bits, with `card` in its card.
    """
    config = config or CompactConfig()
    generated = generated or Settings()
    given = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    fixed = {"weight_decay": 0.02, "watch": "mean_auroc", "state_minutes": 4.0, "together": 2}
    settings: TrainSettings = checkpoint.build_config(TrainSettings, {**given, **fixed}, "train")
    seen = SyntheticScans(SyntheticSettings(corpus, "train", seed, scans=generated))
    unseen = SyntheticScans(SyntheticSettings(corpus, "validation", 0, scans=generated))
    training = PreparedPairs(seen, config)
    torch.manual_seed(seed)
    method = Compact(config)
    ranks = Ranks.current()
    if earlier is not None:
        go_on_from(method, earlier)
    elif ranks.first:  # who gives it to the others as training begins
        fit_scale(method, training)
    watched = FreshScans(PreparedPairs(unseen, config), held_out, workers)
    numbers = range(held_out if ranks.first else 0)
    facts = {"method": method.name, "config": config, "training": settings, "scans": generated}
    shapes = Synthetic(corpus or NO_SHAPES).settings["shapes"]
    where = {"corpus": corpus, "data_hash": shapes, "device": device, "processes": ranks.size}
    with recorded(out if ranks.first else None, verb="train", **facts, **where):
        history = train(
            method,
            FreshScans(training, scans, workers),
            settings,
            out,
            validate=Watch(list(watched.epoch(0, numbers))),
            progress=progress,
            device=local_device(choose_device(device)),
            resume=not restart,
            data=f"of shapes {shapes[:16]}, seed {seed}",
        )
        if ranks.first:
            ship(history.best, unseen, out / "compact", card or {}, calibration)
        ranks.wait()
    return history


def command(corpus: Path, out: Path, card: Path | None, **options: Any) -> int:
    """Run from the command line: print where the detector is; 130 when interrupted.

    card: a JSON file; options: those of `run`. Raises ZeroflawError.
    """
    extra = {} if card is None else read_settings(card)
    with joined(local_device(choose_device(options.get("device", "auto")))) as ranks:
        try:
            history = run(corpus, out, card=extra, **options)
        except KeyboardInterrupt:
            if ranks.first:
                print(f"interrupted; the same command goes on from {out}", file=sys.stderr)
            return 130
        if ranks.first:
            row = history.rows[history.best_epoch - 1]
            for name in ("point_auroc", "object_auroc"):
                print(f"{name} on unseen categories: {row[f'validation_{name}']:.3f}")
            print(out / "compact.safetensors")
    return 0


def ship(
    best: Path, unseen: SyntheticScans, out: Path, card: Mapping[str, Any], scans: int
) -> None:
    """Write a checkpoint with thresholds chosen on held-out scans, weights in 16 bits.

    Of the good ones among the first `scans` scans, FALSE_ALARMS reach the scan's threshold and
    POINT_FALSE_ALARMS of their points the point's.
    """
    method, trained = checkpoint.load(best)
    objects: list[float] = []
    points: list[Float32] = []
    with torch.inference_mode():
        for number in range(1, scans, 2):
            scan = unseen[number].scan
            prepared = method.prepare(scan)
            scores = method.score(method(prepared), scan, prepared)
            objects.append(scores.object)
            points.append(scores.point.numpy())
    chosen = {
        "threshold": float(np.quantile(objects, 1 - FALSE_ALARMS)),
        "point_threshold": float(np.quantile(np.concatenate(points), 1 - POINT_FALSE_ALARMS)),
        "false_alarms": {"good scans": FALSE_ALARMS, "their points": POINT_FALSE_ALARMS},
    }
    checkpoint.save(out, method, {**trained, **card, **chosen}, half=True)
