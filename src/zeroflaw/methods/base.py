"""What a method is: prepare once, forward in every step, losses by name, scores per point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zeroflaw.types import Scan, ZeroflawError


@dataclass(frozen=True)
class Prepared:
    """What a method needs of scans, computed once: named tensors, each with a leading batch axis.

    `index` (B, N) int64 says which points of the scan the method looks at.
    """

    tensors: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def to(self, device: torch.device | str) -> Prepared:
        """Return the same on another device."""
        return Prepared({name: tensor.to(device) for name, tensor in self.tensors.items()})

    def first(self, count: int) -> Prepared:
        """Return the first `count` of the batch."""
        return Prepared({name: tensor[:count] for name, tensor in self.tensors.items()})

    @staticmethod
    def stack(parts: Sequence[Prepared]) -> Prepared:
        """Join several along the batch axis."""
        names = parts[0].tensors
        return Prepared({name: torch.cat([part[name] for part in parts]) for name in names})


@dataclass(frozen=True)
class Evidence:
    """What `forward` saw. object_logit: (B,). point_logit: (B, N), of the prepared points.

    `tensors` holds whatever else the method's own losses and scores read, each with a leading batch
    axis.
    """

    object_logit: Tensor
    point_logit: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def float(self) -> Evidence:
        """Return the same in 32 bits, but integers and truth values."""
        tensors = {n: t.float() if t.is_floating_point() else t for n, t in self.tensors.items()}
        return Evidence(self.object_logit.float(), self.point_logit.float(), tensors)


@dataclass(frozen=True)
class Target:
    """Labels of a batch. point: (B, N) float, 1 where defective. object: (B,) float.

    `tensors` holds what else the method's losses can learn from, each with a leading batch axis.
    """

    point: Tensor
    object: Tensor
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Target:
        """Return the same on another device."""
        extra = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return Target(self.point.to(device), self.object.to(device), extra)

    def first(self, count: int) -> Target:
        """Return the first `count` of the batch."""
        extra = {name: tensor[:count] for name, tensor in self.tensors.items()}
        return Target(self.point[:count], self.object[:count], extra)

    @staticmethod
    def stack(parts: Sequence[Target]) -> Target:
        """Join several along the batch axis."""
        return Target(
            torch.cat([part.point for part in parts]),
            torch.cat([part.object for part in parts]),
            {n: torch.cat([part.tensors[n] for part in parts]) for n in parts[0].tensors},
        )


@dataclass(frozen=True)
class Scores:
    """point: (N,) float32 in [0, 1], one per point of the scan. object: in [0, 1].

    kind: (N, K), how likely each of the method's kinds is at a point if it is defective, summing to
    1 over them; None for a method without kinds. A method that looks at fewer points may give
    (M, K) of those, and in row (N,) int64 which of them stands for each point of the scan.
    away: (N,), or (M,) with row, how far a point lies from the good surface by the method, in any
    unit, positive outside the material; None for a method that does not tell.
    views: (2, V, S, S) of a method that looks at views, for reports: the scan shaded, with a white
    background, and what the method says of every pixel, in [0, 1].
    """

    point: Tensor
    object: float
    kind: Tensor | None = None
    row: Tensor | None = None
    away: Tensor | None = None
    views: Tensor | None = None


@dataclass(frozen=True)
class Stage:
    """One part of a training that goes through several, one after the other.

    training: the stage's own defaults of the settings of the training, by their names.
    """

    name: str
    training: Mapping[str, Any]


class Method(nn.Module):
    """A detector's mathematics, without files and thresholds.

    `config` is a frozen dataclass that rebuilds the method: `type(method)(method.config)`. The
    constructor touches neither disk nor network. `kinds` names the kinds of defects it tells apart.
    `prepared_by`: how the names of the frozen weights begin that `prepare` uses. `published`: the
    names of the published weights that its training starts from.
    """

    name: str
    config: Any
    kinds: tuple[str, ...] = ()
    prepared_by: tuple[str, ...] = ("",)
    published: tuple[str, ...] = ()

    def prepare(self, scan: Scan) -> Prepared:
        """Sample, cut patches, compute descriptors and frozen features: once per scan (B = 1)."""
        raise NotImplementedError

    def preparation(self) -> dict[str, Any]:
        """The settings that `prepare` and `target` depend on: with the same, features are shared.

        By default all; a method leaves out those of its losses, heads and scores.
        """
        return asdict(self.config)

    def target(self, scan: Scan, prepared: Prepared) -> Target:
        """Labels of the prepared points. Raises ZeroflawError if the scan has none."""
        if scan.labels is None:
            raise ZeroflawError(
                f"{scan.name}: the scan has no labels; training needs one per point"
            )
        labels = torch.from_numpy(scan.labels)[prepared["index"].cpu()].float()
        return Target(labels, torch.tensor([float(scan.labels.any())]))

    def forward(self, batch: Prepared) -> Evidence:
        """Everything that repeats in training."""
        raise NotImplementedError

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Named, weighted terms whose sum is minimised."""
        raise NotImplementedError

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        """One value per point of the scan, in its order, and one for the object."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each with `params` and its own settings."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def stages(self) -> tuple[Stage, ...]:
        """The stages of a training, in order; none where it is one and has the usual defaults."""
        return ()

    def begin_stage(self, name: str) -> None:
        """Choose what learns from now on and by which losses."""

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Be told that epoch `epoch` (from 0) of so many begins, of the stage if there are some."""

    def finish(self) -> None:
        """Store what inspection needs and training only made possible (text embeddings)."""

    def inspection_state(self) -> dict[str, Tensor]:
        """The entries a checkpoint keeps: all that inspection needs, nothing that it does not."""
        return self.state_dict()
