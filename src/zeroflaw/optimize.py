"""The optimiser of a training over the method's groups, warm-up and cosine of the rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from zeroflaw.methods.base import Method

WARMUP_SHARE = 0.1  # BTP: linear warm-up over the first 10 % of the steps
WARMUP_START = 0.1  # from 0.1 of the full rate
FINAL_RATE = 1e-6


OPTIMIZERS = ("adamw", "muon")


class Joint:
    """Several optimisers that step together; what training needs of one."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move the weights along their gradients."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each, by number."""
        return {str(number): part.state_dict() for number, part in enumerate(self.parts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises ValueError for the state of another number."""
        if set(state) != {str(number) for number in range(len(self.parts))}:
            raise ValueError(f"the state of {len(state)} optimisers, expected {len(self.parts)}")
        for number, part in enumerate(self.parts):
            part.load_state_dict(state[str(number)])


def build_optimizer(
    method: Method,
    learning_rate: float,
    prompt_learning_rate: float,
    weight_decay: float,
    kind: str = "adamw",
) -> Joint:
    """Return AdamW (0.9, 0.999) over `method.parameter_groups()`, or Muon with it.

    A group's own `lr`, `weight_decay` and `betas` win. Otherwise a group named "prompts" takes
    `prompt_learning_rate` and no decay, any other one `learning_rate`, with `weight_decay` on
    matrices and none on biases, norms and other vectors. kind: "muon" gives the matrices of decayed
    groups to Muon (Jordan et al., 2024), whose steps are scaled to the size of AdamW's. A group's
    `lr_scale` multiplies its rate; one whose `schedule` is "constant" keeps it in every step.
    """
    groups: list[dict[str, Any]] = []
    for group in method.parameter_groups():
        prompts = group.get("name") == "prompts"
        rate = group.get("lr", prompt_learning_rate if prompts else learning_rate)
        rate *= group.get("lr_scale", 1.0)
        weights = [weight for weight in group["params"] if weight.requires_grad]
        if "weight_decay" in group or prompts:
            groups.append({"weight_decay": 0.0, **group, "params": weights, "lr": rate})
            continue
        matrices = [weight for weight in weights if weight.ndim > 1]
        vectors = [weight for weight in weights if weight.ndim <= 1]
        groups.append({**group, "params": matrices, "lr": rate, "weight_decay": weight_decay})
        groups.append({**group, "params": vectors, "lr": rate, "weight_decay": 0.0})
    parts: list[torch.optim.Optimizer] = []
    if kind == "muon":
        turned = [_part(group, True) for group in groups if group["weight_decay"] > 0]
        turned = [group for group in turned if group["params"]]
        if turned:
            parts.append(torch.optim.Muon(turned, adjust_lr_fn="match_rms_adamw"))
        groups = [_part(g, False) if g["weight_decay"] > 0 else g for g in groups]
    groups = [group for group in groups if group["params"]]
    if groups:
        parts.append(torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True))
    joint = Joint(parts)
    for group in joint.param_groups:
        group["full_rate"] = group["lr"]
    return joint


def _part(group: Mapping[str, Any], turned: bool) -> dict[str, Any]:
    """The group with its wide matrices alone, or without them: what Muon can turn."""
    return {
        **group,
        "params": [w for w in group["params"] if (w.ndim == 2 and min(w.shape) > 8) == turned],
    }


def set_learning_rate(optimizer: Joint, step: int, total: int) -> float:
    """Give every group its rate for `step` (from 0) of `total`; return the first group's."""
    for group in optimizer.param_groups:
        full = group["full_rate"]
        constant = group.get("schedule") == "constant"
        group["lr"] = full if constant else learning_rate(step, total, full)
    return float(optimizer.param_groups[0]["lr"])


def learning_rate(step: int, total: int, full_rate: float) -> float:
    """Return the rate of `step` (from 0): linear warm-up, then a cosine to `FINAL_RATE`."""
    warmup = int(total * WARMUP_SHARE)
    if step < warmup:
        return full_rate * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    final = min(FINAL_RATE, full_rate)
    share = min((step - warmup) / max(total - warmup - 1, 1), 1.0)
    return final + (full_rate - final) * 0.5 * (1 + math.cos(math.pi * share))
