"""The optimiser of a training: AdamW over the method's groups, warm-up and cosine of the rates."""

from __future__ import annotations

import math
from typing import Any

import torch

from zeroflaw.methods.base import Method

WARMUP_SHARE = 0.1  # BTP: linear warm-up over the first 10 % of the steps
WARMUP_START = 0.1  # from 0.1 of the full rate
FINAL_RATE = 1e-6


def build_optimizer(
    method: Method, learning_rate: float, prompt_learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Return AdamW (0.9, 0.999) over `method.parameter_groups()`.

    A group's own `lr` and `weight_decay` win. Otherwise a group named "prompts" takes
    `prompt_learning_rate` and no decay, any other one `learning_rate`, with `weight_decay` on
    matrices and none on biases, norms and other vectors.
    """
    groups: list[dict[str, Any]] = []
    for group in method.parameter_groups():
        prompts = group.get("name") == "prompts"
        rate = group.get("lr", prompt_learning_rate if prompts else learning_rate)
        weights = [weight for weight in group["params"] if weight.requires_grad]
        if "weight_decay" in group or prompts:
            groups.append({"weight_decay": 0.0, **group, "params": weights, "lr": rate})
            continue
        matrices = [weight for weight in weights if weight.ndim > 1]
        vectors = [weight for weight in weights if weight.ndim <= 1]
        groups.append({**group, "params": matrices, "lr": rate, "weight_decay": weight_decay})
        groups.append({**group, "params": vectors, "lr": rate, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    for group in groups:
        group["full_rate"] = group["lr"]
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, total: int) -> float:
    """Give every group its rate for `step` (from 0) of `total`; return the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, total, group["full_rate"])
    return float(optimizer.param_groups[0]["lr"])


def learning_rate(step: int, total: int, full_rate: float) -> float:
    """Return the rate of `step` (from 0): linear warm-up, then a cosine to `FINAL_RATE`."""
    warmup = int(total * WARMUP_SHARE)
    if step < warmup:
        return full_rate * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    final = min(FINAL_RATE, full_rate)
    share = min((step - warmup) / max(total - warmup - 1, 1), 1.0)
    return final + (full_rate - final) * 0.5 * (1 + math.cos(math.pi * share))
