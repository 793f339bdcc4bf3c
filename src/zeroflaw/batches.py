"""What training reads: items in an order that the seed decides, stacked into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch

from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.types import ZeroflawError

Item = tuple[Prepared, Target]


class Source(Protocol):
    """Items that may be made afresh for every epoch, such as scans synthesised by workers."""

    def __len__(self) -> int:
        """Return how many items an epoch has."""

    def epoch(self, number: int, start: int) -> Iterable[Item]:
        """Yield the items of epoch `number` (from 0), each with B = 1, from item `start` on.

        They depend on the two arguments only, or a resumed training ends elsewhere.
        """


class Shuffled:
    """A sequence of items as a source: every epoch in another order, which the seed decides."""

    def __init__(self, items: Sequence[Item], seed: int) -> None:
        self.items = items
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def epoch(self, number: int, start: int) -> Iterator[Item]:
        """Yield the epoch's items from `start` on."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(len(self.items), generator=generator).tolist()
        return (self.items[index] for index in order[start:])


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items `size` at a time; the last batch may be smaller."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def stack(batch: Sequence[Item]) -> Item:
    """Join items along the batch axis. Raises ZeroflawError if they differ in shape."""
    first = batch[0][0].tensors
    for prepared, _ in batch:
        for name, tensor in prepared.tensors.items():
            if name not in first or tensor.shape[1:] != first[name].shape[1:]:
                raise ZeroflawError(
                    f"scans of one batch differ in {name} {list(tensor.shape)}; some have fewer "
                    "points than the method samples; train with batch 1 or without the small scans"
                )
    return Prepared.stack([item[0] for item in batch]), Target.stack([item[1] for item in batch])


def training_mode(method: Method) -> None:
    """Put the method into training mode, but what is frozen (its batch norms) into evaluation."""
    method.train()
    for module in method.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()
