"""What the processes of one training hand to each other while they compute."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def processes() -> int:
    """Return how many processes train together; 1 where none have been joined."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(tensor: Tensor) -> Tensor:
    """Return every process's tensor, (P, ...), in the order of their ranks.

    They must have one shape. Gradients of all processes flow back to each one's own.
    """
    if processes() == 1:
        return tensor[None]
    out: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return out


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        own = tensor.contiguous()
        everyone = [torch.empty_like(own) for _ in range(processes())]
        dist.all_gather(everyone, own)
        return torch.stack(everyone)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]
