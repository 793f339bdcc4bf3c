"""BTP's own architecture, trained whole on the data that the compact detector is trained on.

2048 points, 512 patches, no dense descriptors. BTP as published keeps a point encoder frozen that
was trained on other data; here nothing is downloaded, so the encoder learns with the rest, towards
two fixed texts. The checkpoint is BTP's and is read like any other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from benchmarks.rival_trees import training_scans
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.encoders.pointbert import group_patches
from zeroflaw.geometry.normalize import normalize
from zeroflaw.io.atomic import replacing
from zeroflaw.methods.base import Evidence, Prepared, Target
from zeroflaw.methods.btp import BTP, BTPConfig, sample
from zeroflaw.synthesis.generate import Synthesized, good_twin
from zeroflaw.train import TrainSettings, train
from zeroflaw.types import Scan
from zeroflaw.validate import HeldOut

Item = tuple[Prepared, Target]
CONFIG = BTPConfig(
    width=160,
    depth=6,
    heads=5,
    embedding=128,
    layers=(2, 3, 4, 6),
    text_space=128,
    hidden=128,
    gfcm=(32, 64, 128),
    descriptor="sampled",
)
EPOCH = 128  # scans
BATCH = 8
HELD = 64  # scans that the best epoch is chosen by
TRIED = 16  # scans by which the seconds of an epoch are guessed
PLAN = "plan.json"


class WholeBTP(BTP):
    """BTP whose point encoder learns too, so that it runs in every step."""

    def __init__(self, config: BTPConfig | None = None) -> None:
        super().__init__(config)
        self.encoder.requires_grad_(True)

    def train(self, mode: bool = True) -> WholeBTP:
        nn.Module.train(self, mode)
        return self

    @torch.no_grad()
    def prepare(self, scan: Scan) -> Prepared:
        """Sample and cut patches; the encoder's part is left to `forward`."""
        config = self.config
        index = sample(scan.points, config.points)
        points = torch.from_numpy(normalize(scan.points[index])[0])[None]
        center, patches = group_patches(points, config.groups, config.patch_size, sampled=True)
        tensors = {"index": torch.from_numpy(index)[None], "points": points, "center": center}
        return Prepared({**tensors, "patch_index": patches})

    def forward(self, batch: Prepared) -> Evidence:
        points = batch["points"]
        seen = self.encoder(
            torch.cat([points, torch.full_like(points, 0.5)], dim=-1),
            batch["center"],
            batch["patch_index"],
        )
        layers = torch.stack([functional.normalize(x[:, 1:], dim=-1) for x in seen.layers], 1)
        encoded = {
            "layers": layers,
            "cls": functional.normalize(seen.cls, dim=-1),
            "embedding": functional.normalize(seen.embedding, dim=-1),
        }
        return super().forward(Prepared({**batch.tensors, **encoded}))

    def parameter_groups(self) -> list[dict[str, list[Tensor]]]:
        return [{"params": [one for one in self.parameters() if one.requires_grad]}]


class Pairs(Dataset[tuple[Item, Item]]):
    """Pair by number: a defective scan and its good twin, ready for BTP."""

    def __init__(self, scans: SyntheticScans, config: BTPConfig) -> None:
        self.scans = scans
        self.config = config
        self._method: WholeBTP | None = None

    def __getitem__(self, number: int) -> tuple[Item, Item]:
        torch.set_num_threads(1)
        if self._method is None:
            self._method = WholeBTP(self.config)
        shape, seed, made = self.scans.pair(number)
        twin = good_twin(shape, seed, self.scans.pair_settings)
        return self._item(self._method, made), self._item(self._method, twin)

    def _item(self, method: WholeBTP, made: Synthesized) -> Item:
        prepared = method.prepare(made.scan)
        return prepared, method.target(made.scan, prepared)


@dataclass
class Fresh:
    """A source of items that never repeats, made by worker processes."""

    pairs: Pairs
    size: int
    workers: int

    def __len__(self) -> int:
        return self.size

    def epoch(self, number: int, chosen: Sequence[int]) -> Iterator[Item]:
        wanted = [number * self.size + item for item in chosen]
        known, pairs = set(wanted), list(dict.fromkeys(one // 2 for one in wanted))
        loader = DataLoader(
            self.pairs,
            batch_size=None,
            sampler=pairs,
            num_workers=self.workers,
            multiprocessing_context="spawn" if self.workers else None,
        )
        for pair, items in zip(pairs, loader, strict=True):
            yield from (items[half] for half in (0, 1) if 2 * pair + half in known)


def train_btp(
    corpus: Path | None,
    out: Path,
    minutes: float,
    *,
    workers: int = 1,
    device: str = "cpu",
    config: BTPConfig = CONFIG,
    epoch: int = EPOCH,
    held: int = HELD,
) -> Path:
    """Train for about so many minutes and return the best checkpoint's path.

    The first call measures an epoch's seconds, and notes how many go into the time; interrupted,
    the same call goes on from there.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    method = WholeBTP(config).to(device)
    source = Fresh(Pairs(training_scans(corpus), config), epoch, workers)
    unseen = SyntheticScans(SyntheticSettings(corpus, "validation", 0))
    watched = list(Fresh(Pairs(unseen, config), held, workers).epoch(0, range(held)))
    settings = TrainSettings(
        epochs=_epochs(method, source, out / PLAN, minutes),
        batch=BATCH,
        learning_rate=5e-4,
        weight_decay=0.02,
        watch="point_auroc",
        state_minutes=4.0,
    )
    about = f"{epoch} fresh synthesised scans an epoch, {settings.epochs} epochs"
    card = {"trained_on": about, "stand_in": False}
    history = train(
        method, source, settings, out, HeldOut(watched, BATCH), device=device, card=card, data=about
    )
    return history.best


def _epochs(method: WholeBTP, source: Fresh, plan: Path, minutes: float) -> int:
    """How many epochs fit into the time; from the plan where there is one."""
    if plan.is_file():
        return int(json.loads(plan.read_text(encoding="utf-8"))["epochs"])
    state = {name: entry.clone() for name, entry in method.state_dict().items()}
    device = next(method.parameters()).device
    tried = min(TRIED, len(source))
    begun = time.monotonic()
    items = list(source.epoch(0, range(tried)))
    made = time.monotonic() - begun
    begun = time.monotonic()
    for start in range(0, tried, BATCH):
        part = items[start : start + BATCH]
        evidence = method(Prepared.stack([one for one, _ in part]).to(device))
        terms = method.losses(evidence, Target.stack([one for _, one in part]).to(device))
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
    learned = time.monotonic() - begun
    method.zero_grad(set_to_none=True)
    method.load_state_dict(state)
    seconds = (made + learned) / tried * len(source)
    epochs = max(1, round(60 * minutes / seconds))
    with replacing(plan) as file:
        file.write(json.dumps({"epochs": epochs, "seconds_per_epoch": seconds}).encode())
    return epochs
