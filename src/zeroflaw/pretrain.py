"""Training of the compact detector on scans that worker processes synthesise as it learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from zeroflaw.datasets.synthetic import SyntheticScans, SyntheticSettings
from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.methods.compact import KINDS, Compact, CompactConfig
from zeroflaw.metrics.ranking import auroc
from zeroflaw.synthesis.generate import Synthesized, good_twin
from zeroflaw.train import History, TrainSettings, train

Item = tuple[Prepared, Target]
POINTS = 4096  # of the described points of a scan, those that a training step scores
CALIBRATION = 24  # scans that fix the scale of the descriptors


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
        kind = torch.tensor([KINDS.index(made.kind) if made.kind in KINDS else -1])
        keep = kept_points(prepared["index"].shape[1], self.points, number)
        tensors = dict(prepared.tensors)
        for name in ("index", "point", "near", "weight"):
            tensors[name] = tensors[name][:, keep]
        for name in ("point", "patch"):
            tensors[name] = tensors[name].half()
        del tensors["patch_index"], tensors["mean"]
        extra = {**target.tensors, "kind": kind}
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

    def epoch(self, number: int, start: int) -> Iterator[Item]:
        """Yield the items of epoch `number` from item `start` on, made by worker processes."""
        pairs = range((number * self.size + start) // 2, (number + 1) * self.size // 2)
        loader = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=pairs,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            multiprocessing_context="spawn" if self.workers else None,
        )
        items = (item for pair in loader for item in pair)
        yield from islice(items, start % 2, None)


class HeldOut:
    """Figures on scans of categories that training never sees, prepared once."""

    def __init__(self, dataset: PreparedPairs, count: int, workers: int) -> None:
        self.items = list(FreshScans(dataset, count, workers).epoch(0, 0))

    def __call__(self, method: Method) -> Mapping[str, float]:
        """Return `point_auroc` over all points, `object_auroc` over all scans, their mean, loss."""
        device = next(method.parameters()).device
        points, labels, objects, truth, losses = [], [], [], [], []
        for prepared, target in self.items:
            evidence = method(prepared.to(device))
            terms = method.losses(evidence, target.to(device))
            losses.append(float(sum(terms.values(), torch.zeros(()))))
            points.append(evidence.point_logit[0].float().cpu().numpy())
            labels.append(target.point[0].numpy() > 0.5)
            objects.append(float(evidence.object_logit[0]))
            truth.append(bool(target.object[0] > 0.5))
        point = auroc(np.concatenate(points), np.concatenate(labels))
        whole = auroc(np.array(objects), np.array(truth))
        return {
            "loss": float(np.mean(losses)),
            "point_auroc": point,
            "object_auroc": whole,
            "mean_auroc": (point + whole) / 2,
        }


def calibrate(method: Compact, dataset: PreparedPairs) -> None:
    """Fix the scale of the descriptors from the first training scans."""
    rows = [dataset[number][0][0]["point"][0].float() for number in range(CALIBRATION)]
    method.fit_scale(torch.cat(rows))


def run(
    corpus: Path,
    out: Path,
    *,
    epochs: int = 12,
    scans: int = 896,
    batch: int = 8,
    learning_rate: float = 1e-3,
    workers: int = 2,
    held_out: int = 96,
    seed: int = 1,
    device: str = "cpu",
    config: CompactConfig | None = None,
) -> History:
    """Train the compact detector on the shapes of `corpus`; resumes where `out` has a state.

    epochs × scans fresh scans are seen, each once.
    """
    config = config or CompactConfig()
    training = PreparedPairs(SyntheticScans(SyntheticSettings(corpus, "train", seed)), config)
    watching = PreparedPairs(SyntheticScans(SyntheticSettings(corpus, "validation", 0)), config)
    torch.manual_seed(seed)
    method = Compact(config)
    calibrate(method, training)
    settings = TrainSettings(
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        weight_decay=0.02,
        seed=seed,
        watch="mean_auroc",
        state_minutes=4,
    )
    return train(
        method,
        FreshScans(training, scans, workers),
        settings,
        out,
        validate=HeldOut(watching, held_out, workers),
        device=device,
        data=f"synthetic scans, seed {seed}",
    )
