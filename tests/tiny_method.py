"""A method of a few dozen weights that uses all that training and checkpoints must cope with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.methods.base import Evidence, Method, Prepared, Scores, Target
from zeroflaw.types import Scan


@dataclass(frozen=True)
class TinyConfig:
    points: int = 32
    width: int = 8
    layers: tuple[int, ...] = (1, 2)
    dropout: float = 0.1


class Tiny(Method):
    """Frozen random features, a head with batch norm and dropout, a "text tower" for training."""

    name = "tiny"
    Config = TinyConfig

    def __init__(self, config: TinyConfig | None = None, trainable: bool = True) -> None:
        super().__init__()
        self.config = config = config or TinyConfig()
        self.encoder = nn.Sequential(nn.Linear(3, config.width), nn.BatchNorm1d(config.width))
        self.encoder.requires_grad_(False)
        self.head = nn.Sequential(
            nn.Linear(config.width, config.width),
            nn.BatchNorm1d(config.width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, config.width),
        )
        self.prompt = nn.Parameter(torch.zeros(config.width)) if trainable else None
        self.tower = nn.Linear(config.width, config.width) if trainable else None
        if self.tower is not None:
            self.tower.requires_grad_(False)
        self.register_buffer("text", torch.zeros(config.width))
        self.prepared_scans = 0

    def prepare(self, scan: Scan) -> Prepared:
        self.prepared_scans += 1
        index = np.arange(self.config.points) * len(scan) // self.config.points
        points = torch.from_numpy(scan.points[index]).float()
        with torch.no_grad():
            features = self.encoder.eval()(points)
        return Prepared({"features": features[None], "index": torch.from_numpy(index)[None]})

    def embedding(self) -> Tensor:
        if self.tower is None or self.prompt is None:
            return self.get_buffer("text")
        embedding: Tensor = self.tower(self.prompt + 1)
        return embedding

    def forward(self, batch: Prepared) -> Evidence:
        features = batch["features"]
        flat = self.head(features.reshape(-1, self.config.width))
        logit = (flat @ self.embedding()).reshape(features.shape[:2])
        return Evidence(logit.amax(dim=1), logit)

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        bce = functional.binary_cross_entropy_with_logits
        return {
            "point": bce(evidence.point_logit, target.point),
            "object": 0.5 * bce(evidence.object_logit, target.object),
        }

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        probability = torch.sigmoid(evidence.point_logit[0].detach())
        whole = torch.sigmoid(evidence.object_logit[0].detach())
        nearest = np.searchsorted(prepared["index"][0].numpy(), np.arange(len(scan)), "right") - 1
        return Scores(probability[nearest], float(whole))

    def parameter_groups(self) -> list[dict[str, Any]]:
        prompt = [] if self.prompt is None else [self.prompt]
        return [{"params": list(self.head.parameters())}, {"params": prompt, "name": "prompts"}]

    def finish(self) -> None:
        with torch.no_grad():
            self.get_buffer("text").copy_(self.embedding())

    def inspection_state(self) -> dict[str, Tensor]:
        training = ("tower.", "prompt")
        return {n: t for n, t in self.state_dict().items() if not n.startswith(training)}


def tiny_scan(seed: int, defective: bool = True, count: int = 64) -> Scan:
    """Random points, those with large x defective."""
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return Scan(points, labels=(points[:, 0] > 0.5) & defective)


def tiny_method(seed: int = 0) -> Tiny:
    torch.manual_seed(seed)
    return Tiny()


def tiny_items(method: Tiny, count: int = 5) -> list[tuple[Prepared, Target]]:
    items = []
    for seed in range(count):
        scan = tiny_scan(seed, defective=seed % 2 == 0)
        prepared = method.prepare(scan)
        items.append((prepared, method.target(scan, prepared)))
    return items
