"""What training reads: items in an order that the seed decides, stacked into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch

from zeroflaw.distributed import Ranks
from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.types import ZeroflawError

Item = tuple[Prepared, Target]


class Source(Protocol):
    """Items that may be made afresh for every epoch, such as scans synthesised by workers."""

    def __len__(self) -> int:
        """Return how many items an epoch has."""

    def epoch(self, number: int, chosen: Sequence[int]) -> Iterable[Item]:
        """Yield the chosen items of epoch `number` (from 0), each with B = 1.

        chosen: rising, from 0. An item depends on its number and the epoch's only, or a resumed
        training ends elsewhere and several processes do not share one epoch.
        """


class Shuffled:
    """A sequence of items as a source: every epoch in another order, which the seed decides."""

    def __init__(self, items: Sequence[Item], seed: int) -> None:
        self.items = items
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def epoch(self, number: int, chosen: Sequence[int]) -> Iterator[Item]:
        """Yield the chosen items of the epoch's order."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(len(self.items), generator=generator).tolist()
        return (self.items[order[place]] for place in chosen)


@dataclass(frozen=True)
class Batch:
    """What a process computes of a batch. prepared, target: of its own items, maybe of none.

    counts: how many items each process has.
    """

    prepared: Prepared
    target: Target
    counts: tuple[int, ...]

    def parts(self, size: int) -> list[Batch]:
        """Return the batch in parts of up to `size` items; whole for 0 or among processes."""
        if size == 0 or len(self.counts) > 1 or size >= self.counts[0]:
            return [self]
        prepared, target = self.prepared, self.target
        found = []
        for start in range(0, self.counts[0], size):
            rows = slice(start, start + size)
            inputs = Prepared({name: tensor[rows] for name, tensor in prepared.tensors.items()})
            extra = {name: tensor[rows] for name, tensor in target.tensors.items()}
            told = Target(target.point[rows], target.object[rows], extra)
            found.append(Batch(inputs, told, (len(told.object),)))
        return found


def batches(
    source: Source, number: int, start: int, size: int, ranks: Ranks | None = None
) -> Iterator[Batch]:
    """Yield epoch `number` from item `start` on in batches of `size`; the last may be smaller.

    ranks: this process among those that share each batch, the first items being the first one's.
    One that a small batch leaves without an item borrows one, for its shapes alone. Raises
    ZeroflawError where the source gives less than it said.
    """
    ranks = ranks or Ranks()
    plan: list[tuple[range, list[int]]] = []
    for first in range(start, len(source), size):
        counts = ranks.counts(min(size, len(source) - first))
        own = first + sum(counts[: ranks.rank])
        plan.append((range(own, own + max(counts[ranks.rank], 1)), counts))
    items = iter(source.epoch(number, [place for places, _ in plan for place in places]))
    for places, counts in plan:
        own_items = list(islice(items, len(places)))
        if len(own_items) < len(places):
            raise ZeroflawError(
                f"the source of the data ended in epoch {number + 1} before item "
                f"{places[len(own_items)] + 1} of {len(source)}"
            )
        prepared, target = stack(own_items)
        if counts[ranks.rank] == 0:
            prepared, target = prepared.first(0), target.first(0)
        yield Batch(prepared, target, tuple(counts))


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
