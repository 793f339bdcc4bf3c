"""Training of the compact detector on scans that worker processes synthesise as it learns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from zeroflaw import checkpoint
from zeroflaw.datasets.synthetic import NO_SHAPES, Synthetic
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.detector import choose_device
from zeroflaw.distributed import Ranks, joined, local_device
from zeroflaw.earlier import go_on_from, load_earlier
from zeroflaw.io.atomic import replacing
from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.methods.compact import AWAY, KINDS, Compact, CompactConfig
from zeroflaw.provenance import recorded
from zeroflaw.ship import ship
from zeroflaw.start import read_settings
from zeroflaw.synthesis.generate import Settings, Synthesized, good_twin
from zeroflaw.train import History, TrainSettings, train
from zeroflaw.validate import HeldOut

Item = tuple[Prepared, Target]
POINTS = 4096  # of the described points of a scan, those that a training step scores
MARKED = 0.12  # of them, up to which share defective ones are favoured in training
PER_POINT = {"index", "point", "near", "weight", "edge"}
KIND_WIDTH = 128  # of the layer that tells kinds
MOST_DEFECTS = 4  # that a scan to learn from has
SCALE_PAIRS = 24  # pairs whose descriptors fix the scale of the input
CALIBRATION_SCANS = 240  # held-out scans that fix the thresholds


class PreparedPairs(Dataset[tuple[Item, Item]]):
    """Pair by number: a defective scan and its good twin, thinned to a size at which they stack.

    points: of the described ones, that are kept; marked: up to which share of them defective ones
    are favoured. cache: a folder where pairs are kept to be read again; one for these settings.
    """

    def __init__(
        self,
        scans: SyntheticScans,
        config: CompactConfig,
        points: int = POINTS,
        marked: float = 0.0,
        cache: Path | None = None,
    ) -> None:
        self.scans = scans
        self.config = config
        self.points = points
        self.marked = marked
        self.cache = cache
        self._method: Compact | None = None

    def __getitem__(self, number: int) -> tuple[Item, Item]:
        if self.cache is None:
            return self.make(number)
        path = self.cache / f"{number}.pt"
        if path.exists():
            return cast(tuple[Item, Item], tuple(map(_unpacked, torch.load(path))))
        made = self.make(number)
        self.cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            torch.save([_packed(item) for item in made], file)
        return made

    def make(self, number: int) -> tuple[Item, Item]:
        """Synthesise and prepare the pair."""
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
        names = [told.index(kind) if kind in told else -1 for kind in (*made.kinds, "good")]
        index = prepared["index"][0]
        kind = torch.tensor(names)[torch.from_numpy(made.cause)[index].long()]
        keep, fair = kept_points(target.point[0], self.points, self.marked, number)
        tensors = {**prepared.tensors, "fair": fair[None]}
        for name in PER_POINT & tensors.keys():
            tensors[name] = tensors[name][:, keep]
        for name in ("point", "patch"):
            tensors[name] = tensors[name].half()
        del tensors["patch_index"], tensors["mean"]
        diagonal = float(np.linalg.norm(np.ptp(made.scan.points, axis=0)))
        away = torch.from_numpy(made.displacement)[index[keep]] / (AWAY * diagonal)
        extra = {**target.tensors, "kind": kind[None, keep], "away": away.float()[None]}
        return Prepared(tensors), Target(target.point[:, keep], target.object, extra)


def _packed(item: Item) -> dict[str, dict[str, torch.Tensor]]:
    prepared, target = item
    plain = {"point": target.point, "object": target.object}
    return {"prepared": prepared.tensors, "target": plain, "extra": target.tensors}


def _unpacked(item: dict[str, dict[str, torch.Tensor]]) -> Item:
    return Prepared(item["prepared"]), Target(**item["target"], tensors=item["extra"])


def kept_points(
    labels: torch.Tensor, wanted: int, marked: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `wanted` rows without order, some twice when there are too few, and which are fair.

    labels: (N,). Fair rows (wanted,) bool are drawn whatever their labels. The others are further
    defective ones, with which these make up the share `marked` at most.
    """
    rng = np.random.default_rng([7, seed])
    drawn = np.resize(rng.permutation(len(labels)), wanted)
    bad = labels.numpy() > 0
    others = np.setdiff1d(np.flatnonzero(bad), drawn)
    missing = max(0, int(marked * wanted) - int(bad[drawn].sum()))
    more = rng.permutation(others)[:missing]
    fair = np.arange(wanted) < wanted - len(more)
    return torch.from_numpy(np.append(drawn[fair], more)), torch.from_numpy(fair)


@dataclass
class FreshScans:
    """A source of items: epoch e holds scans e·size to (e + 1)·size, both even.

    distinct: scans after which the first come again, a multiple of size; 0 for never.
    """

    dataset: PreparedPairs
    size: int
    workers: int
    distinct: int = 0

    def __len__(self) -> int:
        return self.size

    def epoch(self, number: int, chosen: Sequence[int]) -> Iterator[Item]:
        """Yield the chosen items of epoch `number`, made by worker processes, pair by pair."""
        first = number * self.size % self.distinct if self.distinct else number * self.size
        wanted = [first + item for item in chosen]
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


def run(
    corpus: Path | None,
    out: Path,
    *,
    earlier: str | Path | None = None,
    epochs: int = 10,
    scans: int = 896,
    batch: int = 8,
    learning_rate: float = 6e-4,
    workers: int = 2,
    held_out: int = 96,
    calibration: int = CALIBRATION_SCANS,
    seed: int = 1,
    cache: Path | None = None,
    distinct: int = 0,
    device: str = "auto",
    restart: bool = False,
    config: CompactConfig | None = None,
    card: Mapping[str, Any] | None = None,
    generated: Settings | None = None,
    progress: bool = True,
) -> History:
    """Train the compact detector on the shapes of `corpus`; resumes where `out` has a state.

    earlier: a compact detector to go on from, by name or path. Without a corpus, parametric solids
    alone are used. epochs × scans fresh scans are seen, each once, or those of the first `distinct`
    again and again, read from the folder `cache` where they are there already. Afterwards the best
    checkpoint gets its thresholds and is written to `out/compact`, weights in 16 bits, with `card`
    in its card.
    """
    config = config or CompactConfig(kind_width=KIND_WIDTH, edge=True, detail=True)
    generated = generated or Settings()
    given = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    fixed = {
        "weight_decay": 0.02,
        "watch": "mean_auroc",
        "state_minutes": 4.0,
        "together": 2,
        "precision": "bfloat16",
        "average": 0.998,
        "optimizer": "muon",
    }
    settings: TrainSettings = checkpoint.build_config(TrainSettings, {**given, **fixed}, "train")
    crowded = replace(generated, most_defects=MOST_DEFECTS)
    seen = SyntheticScans(SyntheticSettings(corpus, "train", seed, scans=crowded))
    unseen = SyntheticScans(SyntheticSettings(corpus, "validation", 0, scans=generated))
    training = PreparedPairs(seen, config, marked=MARKED, cache=cache)
    before = load_earlier(earlier) if earlier is not None else None
    torch.manual_seed(seed)
    method = Compact(config)
    ranks = Ranks.current()
    if before is not None:
        go_on_from(method, before[0])
    elif ranks.first:  # who gives it to the others as training begins
        fit_scale(method, training)
    watched = FreshScans(PreparedPairs(unseen, config), held_out, workers)
    numbers = range(held_out if ranks.first else 0)
    facts = {"method": method.name, "config": config, "training": settings, "scans": generated}
    shapes = Synthetic(corpus or NO_SHAPES).settings["shapes"]
    where = {"corpus": corpus, "data_hash": shapes, "device": device, "processes": ranks.size}
    data = f"of shapes {shapes[:16]}, seed {seed}" + f", {distinct} of them" * (distinct > 0)
    if before is not None:
        where["began_with"] = before[1]
        data = f"from {before[1][:8]}, {data}"
    with recorded(out if ranks.first else None, verb="train", **facts, **where):
        history = train(
            method,
            FreshScans(training, scans, workers, distinct),
            settings,
            out,
            validate=Watch(list(watched.epoch(0, numbers))),
            progress=progress,
            device=local_device(choose_device(device)),
            resume=not restart,
            data=data,
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
