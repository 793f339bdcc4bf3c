"""The running average of the weights that train: steadier than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from zeroflaw.cache import frozen_names
from zeroflaw.methods.base import Method

YOUNG = 10.0  # after n steps at most the last n / YOUNG or so count: the start is soon forgotten


class Average:
    """Exponential moving average of a method's weights and buffers that move and are no integers.

    decay: share of the old average that a step leaves, 0 to 1; less in the first steps. Frozen
    weights take no part.
    """

    def __init__(self, method: Method, decay: float) -> None:
        frozen = frozen_names(method)
        self.method, self.decay = method, decay
        self.names = [
            name
            for name, entry in method.state_dict().items()
            if name not in frozen and entry.is_floating_point()
        ]
        self.weights = {name: entry.detach().clone() for name, entry in self._moving().items()}

    def _moving(self) -> dict[str, Tensor]:
        state = self.method.state_dict()
        return {name: state[name] for name in self.names}

    def step(self, number: int) -> None:
        """Take in the weights after step `number` (from 1)."""
        decay = min(self.decay, (1 + number) / (YOUNG + number))
        old, new = list(self.weights.values()), list(self._moving().values())
        with torch.no_grad():
            torch._foreach_lerp_(old, new, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the method the averaged weights while entered."""
        own = {name: entry.detach().clone() for name, entry in self._moving().items()}
        self._put(self.weights)
        try:
            yield
        finally:
            self._put(own)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take back what `weights` held when a state was written. Raises ValueError."""
        if set(weights) != set(self.weights):
            raise ValueError("its averaged weights are not the method's")
        for name, entry in self.weights.items():
            entry.copy_(weights[name])

    def put(self) -> None:
        """Give the method the averaged weights for good."""
        self._put(self.weights)

    def _put(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, entry in self._moving().items():
                entry.copy_(weights[name])
