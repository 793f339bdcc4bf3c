"""One of several processes that train: `python rank_worker.py OUT PLANS`, started by a test.

PLANS is a JSON list of trainings, done one after the other: `folder` in OUT; `method` "btp" or
"tiny"; `settings`; `signal`, which the process of rank 1 sends itself after step `at`. Prints a
JSON list: of each one its rows, or "interrupted".
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tiny_method import Tiny, TinyConfig, tiny_items
from zeroflaw.batches import Item
from zeroflaw.distributed import Ranks, joined
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Method
from zeroflaw.methods.btp import BTP, BTPConfig
from zeroflaw.resume import Position, Row
from zeroflaw.train import TrainSettings, train
from zeroflaw.types import Scan, ZeroflawError
from zeroflaw.validate import HeldOut

SMALL = BTPConfig(
    points=128,
    groups=16,
    patch_size=8,
    width=24,
    depth=2,
    heads=2,
    embedding=24,
    position_width=16,
    layers=(1, 2),
    text_space=24,
    hidden=16,
    gfcm=(8, 8, 8),
)
SCANS = 5


def made(kind: str) -> tuple[Method, list[Item]]:
    """A method and what it trains on, the same in every process."""
    torch.manual_seed(0)
    if kind == "tiny":
        METHODS["tiny"] = Tiny
        tiny = Tiny(TinyConfig(dropout=0.0))
        return tiny, tiny_items(tiny, SCANS)
    btp = BTP(SMALL)
    btp.learn_prompts(TextTower(TextConfig(width=16, depth=1, heads=2, projection=24)))
    items = []
    for seed in range(SCANS):
        points = np.random.default_rng(seed).normal(size=(400, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        labels = points @ points[0] > (0.8 if seed % 2 else 2.0)
        points[labels] *= 0.7
        scan = Scan(points, labels=labels)
        prepared = btp.prepare(scan)
        items.append((prepared, btp.target(scan, prepared)))
    return btp, items


def trained(out: Path, plan: Mapping[str, Any]) -> tuple[Row, ...] | str:
    """Train as planned, with whoever has been joined."""
    method, items = made(plan["method"])

    def step(position: Position) -> None:
        if Ranks.current().rank == 1 and position.step == plan.get("at"):
            os.kill(os.getpid(), signal.Signals[plan["signal"]])

    settings = TrainSettings(**plan["settings"])
    held = HeldOut(items[:2])
    folder = out / plan["folder"]
    try:
        return train(method, items, settings, folder, held, progress=False, on_step=step).rows
    except KeyboardInterrupt:
        return "interrupted"


def main(out: Path, plans: Sequence[Mapping[str, Any]]) -> int:
    torch.set_num_threads(1)
    try:
        with joined(torch.device("cpu")):
            print(json.dumps([trained(out, plan) for plan in plans]))
    except ZeroflawError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
