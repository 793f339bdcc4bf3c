"""Several processes that train one method: who does what, and how they keep together.

`torchrun` starts them. Each computes its share of every batch; evidence, norms and gradients are
those of the joint batch, so the weights move as in a single process, but for rounding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from zeroflaw.methods.base import Evidence, Method, Target
from zeroflaw.methods.joint import gather, processes
from zeroflaw.methods.joint_norm import JointBatchNorm
from zeroflaw.types import ZeroflawError

PATIENCE = timedelta(days=1)  # with each other: the first may prepare or validate for long
STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together. rank: from 0. size: of all."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> Ranks:
        """Return this process among those that `joined` has joined; alone where none were."""
        return Ranks(dist.get_rank(), processes()) if processes() > 1 else Ranks()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, prints and validates."""
        return self.rank == 0

    def counts(self, batch: int) -> list[int]:
        """Return how many of a batch's items each process takes; the processes' in their order."""
        edges = [batch * rank // self.size for rank in range(self.size + 1)]
        return [end - start for start, end in pairwise(edges)]

    def start(self, method: Method) -> None:
        """Give all processes the first one's weights, and their norms the joint batch."""
        if self.size == 1:
            return
        for name, module in method.named_modules():
            if not isinstance(module, _BatchNorm) or isinstance(module, JointBatchNorm):
                continue
            if any(weight.requires_grad for weight in module.parameters()):
                if type(module) is not nn.BatchNorm1d:
                    raise ZeroflawError(
                        f"{method.name}: {name} is a {type(module).__name__}, which several "
                        "processes cannot train; start without torchrun"
                    )
                module.__class__ = JointBatchNorm
        with torch.no_grad():
            for entry in method.state_dict().values():
                dist.broadcast(entry, 0)

    def joint(
        self, evidence: Evidence, target: Target, counts: Sequence[int]
    ) -> tuple[Evidence, Target]:
        """Return what all processes saw of a batch and its labels, in the order of the batch.

        counts: see `counts`. Every tensor has a leading batch axis. Gradients flow back to the
        process that each row comes from.
        """
        if self.size == 1:
            return evidence, target
        seen = {"object": evidence.object_logit, "point": evidence.point_logit}
        seen = _rows({**seen, **{f"+{n}": t for n, t in evidence.tensors.items()}}, counts)
        told = {"object": target.object, "point": target.point}
        told = _rows({**told, **{f"+{n}": t for n, t in target.tensors.items()}}, counts)
        extra = [{n[1:]: t for n, t in part.items() if n[0] == "+"} for part in (seen, told)]
        return (
            Evidence(seen["object"], seen["point"], extra[0]),
            Target(told["point"], told["object"], extra[1]),
        )

    def average_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Give all processes the mean of their gradients; none where no process has one."""
        if self.size == 1:
            return
        have = torch.tensor([float(w.grad is not None) for w in weights], device=weights[0].device)
        flat = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        whole = torch.cat([have, *(gradient.flatten() for gradient in flat)])
        dist.all_reduce(whole)
        anyone = (whole[: len(weights)].cpu() > 0).tolist()
        parts = torch.split(whole[len(weights) :] / self.size, [w.numel() for w in weights])
        for weight, part, given in zip(weights, parts, anyone, strict=True):
            weight.grad = part.view_as(weight) if given else None

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up in any process; all must ask."""
        return bool(self.largest(int(flag)))

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers; all must ask."""
        if self.size == 1:
            return number
        value = torch.tensor([number])
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def tell(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return the first process's figures; those of the others do not matter."""
        if self.size == 1:
            return dict(figures)
        text = json.dumps(dict(figures)).encode() if self.first else b""
        content = torch.zeros(self.largest(len(text)), dtype=torch.uint8)
        content[: len(text)] = torch.tensor(list(text), dtype=torch.uint8)
        dist.broadcast(content, 0)
        told: dict[str, float] = json.loads(bytes(content.tolist()))
        return told

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.largest(0)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, for as long as entered; else be alone.

    device: where they compute, see `local_device`. Raises ZeroflawError where one of the others
    has ended.
    """
    if processes() > 1 or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks.current()
        return
    missing = [name for name in STARTED if name not in os.environ]
    if missing:
        raise ZeroflawError(f"WORLD_SIZE is set but {missing[0]} is not; start with torchrun")
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    ranks = Ranks.current()
    try:
        yield ranks
    except ZeroflawError as error:
        raise ZeroflawError(f"process {ranks.rank}: {error}") from error
    except RuntimeError as error:
        if not _lost(error):
            raise
        raise ZeroflawError(
            f"process {ranks.rank}: another process of the training has ended; see what it said. "
            "The same command goes on from the last state"
        ) from error
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """Return the device itself, or of GPUs that nobody has numbered this process's own.

    Raises ZeroflawError if torchrun has started more processes than there are GPUs.
    """
    own = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type != "cuda" or device.index is not None or "WORLD_SIZE" not in os.environ:
        return device
    if own >= torch.cuda.device_count():
        raise ZeroflawError(
            f"process {own} has no GPU, there are {torch.cuda.device_count()}; start no more "
            "processes than that, or give --device cpu"
        )
    return torch.device("cuda", own)


def _rows(tensors: Mapping[str, Tensor], counts: Sequence[int]) -> dict[str, Tensor]:
    """Return all processes' rows of tensors that begin with a batch axis, one exchange per type."""
    found: dict[str, Tensor] = {}
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors.values()):
        named = {name: tensor for name, tensor in tensors.items() if tensor.dtype == kind}
        shapes = {name: tensor.shape[1:] for name, tensor in named.items()}
        own = torch.cat(
            [
                tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]
                for tensor in named.values()
            ],
            dim=1,
        )
        padded = torch.cat([own, own.new_zeros(max(counts) - len(own), own.shape[1])])
        everyone = gather(padded)
        rows = torch.cat([part[:count] for part, count in zip(everyone, counts, strict=True)])
        widths = [shape.numel() for shape in shapes.values()]
        for (name, shape), part in zip(shapes.items(), torch.split(rows, widths, 1), strict=True):
            found[name] = part.reshape(len(rows), *shape)
    return found


def _lost(error: RuntimeError) -> bool:
    """Whether the error says that another process is gone."""
    told: tuple[Any, ...] = (dist.DistError,)
    return isinstance(error, told) or any(word in str(error) for word in ("gloo", "NCCL"))
