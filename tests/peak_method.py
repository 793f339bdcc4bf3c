"""A method that needs no training: points that stick out of the scan's sphere are defective."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zeroflaw import checkpoint
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Evidence, Method, Prepared, Scores
from zeroflaw.types import Scan


@dataclass(frozen=True)
class PeakConfig:
    steepness: float = 40.0


class Peak(Method):
    """Scores how much farther than the median a point lies from the centre."""

    name = "peak"
    Config = PeakConfig

    def __init__(self, config: PeakConfig | None = None) -> None:
        super().__init__()
        self.config = config or PeakConfig()
        self.offset = nn.Parameter(torch.tensor(0.2))

    def prepare(self, scan: Scan) -> Prepared:
        points = torch.from_numpy(scan.points)
        distance = (points - points.median(dim=0).values).norm(dim=1)
        over = (distance / distance.median() - 1).float()
        return Prepared({"over": over[None], "index": torch.arange(len(scan))[None]})

    def forward(self, batch: Prepared) -> Evidence:
        logit = self.config.steepness * (batch["over"] - self.offset)
        return Evidence(logit.amax(dim=1), logit)

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        point: Tensor = torch.sigmoid(evidence.point_logit[0])
        return Scores(point, float(torch.sigmoid(evidence.object_logit[0])))


def peak_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch, **card: Any) -> Path:
    """A checkpoint of the method, which joins the known ones for the time of a test."""
    monkeypatch.setitem(METHODS, "peak", Peak)
    return checkpoint.save(folder / "peak.safetensors", Peak(), card)[0]
