"""The sums of an epoch's losses, fetched from a GPU only now and then."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from zeroflaw.resume import Position, Row
from zeroflaw.types import ZeroflawError

STEPS = 20  # whose losses stay on a GPU: fetching them lets it wait


class Tally:
    """Adds terms to the sums of a position, and raises where one is no number.

    On a CPU every step is added at once, before its weights move; on a GPU up to STEPS later.
    """

    def __init__(self, device: torch.device) -> None:
        self.steps = 1 if device.type == "cpu" else STEPS
        self.latest: Row = {}
        self._waiting: list[tuple[int, int, tuple[str, ...], Tensor]] = []

    def add(
        self, position: Position, terms: Mapping[str, Tensor], norm: Tensor, items: int
    ) -> None:
        """Note the terms of the step that follows the position's, over so many items.

        norm: of the gradient, checked only.
        """
        values = torch.stack([value.detach().float() for value in (*terms.values(), norm)])
        self._waiting.append((position.step + 1, items, tuple(terms), values))
        if len(self._waiting) >= self.steps:
            self.settle(position)

    def settle(self, position: Position) -> None:
        """Add what waits. Raises ZeroflawError that names the term, the epoch and the step."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        rows = torch.nn.utils.rnn.pad_sequence([values for *_, values in waiting]).T.tolist()
        for (step, items, names, _), row in zip(waiting, rows, strict=True):
            values = dict(zip((*names, "gradient"), row, strict=False))
            for name, value in values.items():
                if not math.isfinite(value):
                    raise ZeroflawError(
                        f"training: {name} became {value} in epoch {position.epoch + 1}, step "
                        f"{step}; lower the learning rate or look for broken scans"
                    )
            del values["gradient"]
            for name, value in {"loss": sum(values.values()), **values}.items():
                position.sums[name] = position.sums.get(name, 0.0) + value * items
            self.latest = values
