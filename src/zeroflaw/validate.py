"""Figures of a method on held-out items while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.metrics.ranking import auroc
from zeroflaw.types import Float32


class HeldOut:
    """Called with a method, returns its `loss` and AUROCs on items that it does not train on.

    `loss` is the mean of the summed loss terms; `point_auroc` is over the prepared points of all
    items together, `object_auroc` over the items. An AUROC is left out where all labels agree.
    """

    def __init__(self, items: Sequence[tuple[Prepared, Target]], batch: int = 1) -> None:
        self.items = items
        self.batch = batch

    def __call__(self, method: Method) -> dict[str, float]:
        """Return the figures by name."""
        device = next(method.parameters()).device
        total = 0.0
        points: list[tuple[Float32, Float32]] = []
        objects: list[tuple[Float32, Float32]] = []
        for start in range(0, len(self.items), self.batch):
            chunk = [self.items[i] for i in range(start, min(start + self.batch, len(self.items)))]
            prepared = Prepared.stack([item[0] for item in chunk]).to(device)
            target = Target.stack([item[1] for item in chunk]).to(device)
            with torch.no_grad():
                evidence = method(prepared)
                terms = method.losses(evidence, target)
            total += len(chunk) * sum(float(term) for term in terms.values())
            points.append((_flat(evidence.point_logit), _flat(target.point)))
            objects.append((_flat(evidence.object_logit), _flat(target.object)))
        figures = {"loss": total / max(len(self.items), 1)}
        for name, pairs in (("point_auroc", points), ("object_auroc", objects)):
            scores, labels = (np.concatenate(part) for part in zip(*pairs, strict=True))
            value = auroc(scores, labels > 0.5)
            if not np.isnan(value):
                figures[name] = value
        return figures


def _flat(tensor: torch.Tensor) -> Float32:
    return tensor.detach().float().cpu().numpy().reshape(-1).astype(np.float32)
