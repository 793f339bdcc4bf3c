"""Time BTP's training beside the released procedure, at ULIP-2's size and at a compact one.

The release computes the frozen point encoder, the text tower and FPFH anew in every step, and its
heads patch by patch as the paper draws them. Here the same modules do the same to the same scans,
in the same process; both give the same losses, which is checked first. Stand-in weights: speed
does not depend on their values. The text tower of the full size has 695 M parameters and needs
2.8 GB; `--no-tower` leaves its rows out. Ours is `zeroflaw.train.train` with all that it writes.

    python benchmarks/btp_training.py [--device cuda] > benchmarks/results/btp_training.md
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.batches import Item, Shuffled, batches
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.encoders.pointbert import gather_patches, group_patches
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.epochs import TrainSettings
from zeroflaw.log import machine, processor
from zeroflaw.methods.base import Target
from zeroflaw.methods.btp import BTP, BTPConfig
from zeroflaw.methods.losses import dice_loss, focal_loss, geometric_loss, object_loss
from zeroflaw.methods.patch_fpfh import patch_fpfh
from zeroflaw.methods.prompts import prompt_tokens
from zeroflaw.methods.scoring import global_logit, point_mean
from zeroflaw.optimize import Joint, build_optimizer, set_learning_rate
from zeroflaw.synthesis.generate import Settings
from zeroflaw.train import train
from zeroflaw.types import Scan

BATCH = 2
FULL = replace(BTPConfig.release(), prompts=("normal object.", "defective object."))
COMPACT = BTPConfig(
    points=1024,
    groups=256,
    width=96,
    depth=6,
    heads=3,
    embedding=96,
    position_width=64,
    layers=(2, 3, 4, 6),
    text_space=256,
    hidden=128,
    gfcm=(32, 64, 128),
)
COMPACT_TOWER = TextConfig(width=256, depth=4, heads=4, projection=256)
COMPACT_SCANS, COMPACT_EPOCHS, COMPACT_MINUTES = 40, 100, 6
SAME = 1e-4  # how far the losses of both may be apart, relatively
PARTS = ("encoder", "FPFH", "text tower", "heads and losses", "backward and optimiser")


@dataclass
class Released:
    """The released procedure on a method's own modules."""

    method: BTP
    tower: TextTower | None
    optimizer: torch.optim.Optimizer

    def step(self, scans: Sequence[Scan], points: Tensor, index: Tensor, target: Target) -> Times:
        """Train on a batch; return the losses' sum and the seconds of each of PARTS."""
        method, config = self.method, self.method.config
        clock = Clock(points.device)
        with torch.no_grad():
            center, patches = group_patches(points, config.groups, config.patch_size)
            seen = method.encoder(functional.pad(points, (0, 3), value=0.5), center, patches)
            layers = [functional.normalize(layer[:, 1:], dim=-1) for layer in seen.layers]
            cls = functional.normalize(seen.cls, dim=-1)
            whole = functional.normalize(seen.embedding, dim=-1)
        clock.lap()
        rows = [
            patch_fpfh(scan.points, index[row].numpy(), patches[row].cpu().numpy(), "sampled")
            for row, scan in enumerate(scans)
        ]
        histograms = torch.from_numpy(np.stack(rows)).to(points.device)
        clock.lap()
        text = method.get_buffer("text") if self.tower is None else texts(self.tower, config)
        clock.lap()
        geometric = plain_gfcm(method, points, patches)
        embedding = plain_mgfem(method, layers, geometric, cls)
        similarity = embedding @ text.T
        patch = similarity[..., 1] - similarity[..., 0]
        point = point_mean(patch, patches, points)
        overall = config.alpha * global_logit(whole, text) + (1 - config.alpha) * patch.amax(dim=1)
        terms = [
            focal_loss(point, target.point),
            dice_loss(torch.sigmoid(point), target.point),
            config.object_weight * object_loss(overall, target.object),
            config.geometric_weight * geometric_loss(geometric, histograms),
        ]
        values = [term.item() for term in terms]
        clock.lap()
        self.optimizer.zero_grad()
        torch.autograd.backward(torch.stack(terms).sum())
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, 1.0)
        self.optimizer.step()
        clock.lap()
        return Times(sum(values), clock.laps)


@dataclass
class Times:
    """A step's loss and how long its parts took."""

    loss: float
    laps: list[float]


class Clock:
    """Seconds between laps, with all that a GPU was given done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.laps: list[float] = []
        self.last = self.now()

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def lap(self) -> None:
        now = self.now()
        self.laps.append(now - self.last)
        self.last = now


def texts(tower: TextTower, config: BTPConfig) -> Tensor:
    """Both texts through all 77 tokens, without gradient, as in the release."""
    tokens = prompt_tokens(config.prompts)
    padded = functional.pad(tokens, (0, tower.config.context_length - tokens.shape[1]))
    padded = padded.to(tower.text_projection.device)
    with torch.no_grad():
        return functional.normalize(tower(tower.embed(padded), padded.argmax(dim=1)), dim=-1)


def plain_gfcm(method: BTP, points: Tensor, patches: Tensor) -> Tensor:
    """1×1 convolutions over (patches, channels, points), each patch's points on their own."""
    geo = method.patch_geo_encoder
    hidden = gather_patches(points, patches).permute(0, 3, 2, 1)
    for layer in (geo.mlp1, geo.mlp2, geo.mlp3):
        norm: Any = layer[1]
        hidden = functional.relu(
            functional.batch_norm(
                layer[0](hidden),
                norm.running_mean,
                norm.running_var,
                norm.weight,
                norm.bias,
                training=True,
            )
        )
    out: Tensor = geo.fc(hidden.amax(dim=2).transpose(1, 2))
    return out


def plain_mgfem(method: BTP, layers: list[Tensor], geometric: Tensor, cls: Tensor) -> Tensor:
    """Every layer mapped on its own, the class token repeated for every patch, all joined."""
    embedder = method.patch_feature_embedder
    share = embedder.layer_weights.softmax(0)
    mapped = torch.stack([embedder.mapper_pointbert(layer) for layer in layers])
    summed = (share[:, None, None, None] * mapped).sum(dim=0)
    row = embedder.mapper_global(cls[:, None].expand(-1, summed.shape[1], -1))
    joint = torch.cat([summed, embedder.mapper_fpfh(geometric), row], dim=-1)
    out: Tensor = embedder.fusion_proj(joint)
    return out


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--device", default="cpu")
    options.add_argument("--scans", type=int, default=100)
    options.add_argument("--steps", type=int, default=8, help="timed steps of the release")
    options.add_argument("--epochs", type=int, default=3, help="timed epochs of ours")
    options.add_argument("--no-tower", action="store_true")
    options.add_argument("--no-compact", action="store_true")
    given = options.parse_args()
    device = torch.device(given.device)
    print("# BTP: training\n")
    computing = machine() if device.type == "cpu" else processor(device)
    print(f"{computing}; PyTorch {torch.__version__}, {torch.get_num_threads()} threads.")
    scans = made(given.scans)
    started = time.perf_counter()
    items = prepared(FULL, scans, device)
    seconds = time.perf_counter() - started
    apart = check(scans, items, device)
    print(f"ULIP-2's size, {len(scans)} synthetic scans, batch {BATCH}, stand-in weights. Features")
    print(f"are prepared once, in {seconds:.0f} s. Of ours: the best of {given.epochs} epochs, ")
    print(f"states and log included. Of the released procedure: the best of {given.steps} steps,")
    print(f"times {len(scans) // BATCH}. Over 5 steps their losses were {apart:.0e} apart.\n")
    full_size(given, scans, items, device)
    if not given.no_compact:
        compact(device)


def full_size(given: Any, scans: list[Scan], items: list[Item], device: torch.device) -> None:
    """Print a row per text tower, and what a step of the release spends its time on."""
    ours = epoch_seconds(fresh(FULL, device), items, given.epochs, device)
    theirs, parts = released_seconds(scans, items, None, given.steps, device)
    print("| text tower | ours, s per epoch | released procedure | its time / ours |")
    print("| :--- | ---: | ---: | ---: |")
    print(row("none", ours, theirs))
    if not given.no_tower:
        tower = TextTower().to(device).eval().requires_grad_(False)
        count = sum(weight.numel() for weight in tower.parameters()) / 1e6
        theirs, parts = released_seconds(scans, items, tower, given.steps, device)
        print(row(f"{count:.0f} M parameters, prompts fixed", ours, theirs), flush=True)
        method = fresh(replace(FULL, prompt_length=4), device)
        method.learn_prompts(tower)
        learned = epoch_seconds(method, items[: 2 * given.steps], given.epochs, device)
        learned *= len(items) / len(items[: 2 * given.steps])
        print(row(f"{count:.0f} M parameters, prompts learned in ours", learned, theirs))
        print(
            f"\nThe last row of ours is scaled from epochs of {2 * given.steps} scans; the release"
        )
        print("never learns its prompts. With prompts fixed, ours runs the tower once.")
    print("\n| of a step of the released procedure | seconds |\n| :--- | ---: |")
    for name, seconds in zip(PARTS, parts, strict=True):
        print(f"| {name} | {seconds:.3f} |")


def row(name: str, ours: float, theirs: float) -> str:
    return f"| {name} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} |"


def compact(device: torch.device) -> None:
    """Print how long a whole training takes at a compact size, preparation included."""
    scans = made(COMPACT_SCANS)
    started = time.perf_counter()
    items = prepared(COMPACT, scans, device)
    preparation = time.perf_counter() - started
    method = fresh(COMPACT, device)
    method.learn_prompts(TextTower(COMPACT_TOWER).to(device))
    with tempfile.TemporaryDirectory() as out:
        settings = TrainSettings(epochs=COMPACT_EPOCHS, batch=BATCH)
        history = train(method, items, settings, Path(out), progress=False, device=device)
    total = preparation + history.seconds
    config = COMPACT
    print(f"\nCompact: width {config.width}, hidden {config.hidden}, space {config.text_space}, ")
    print(f"{config.groups} patches of {config.points} points, {COMPACT_SCANS} scans, prompts ")
    print(f"learned through a tower of width {COMPACT_TOWER.width} and {COMPACT_TOWER.depth} ")
    print(f"blocks. {COMPACT_EPOCHS} epochs took {history.seconds:.0f} s, preparation ")
    print(f"{preparation:.0f} s: {total / 60:.1f} minutes of {COMPACT_MINUTES} allowed. The loss ")
    print(f"fell from {history.rows[0]['loss']:.3f} to {history.rows[-1]['loss']:.3f}.")


def made(count: int) -> list[Scan]:
    """Synthetic scans, every second one with a defect."""
    settings = SyntheticSettings(None, "train", 0, scans=Settings(points=(4000, 8000)))
    source = SyntheticScans(settings)
    return [source[number].scan for number in range(count)]


def fresh(config: BTPConfig, device: torch.device) -> BTP:
    """A method with the same weights every time."""
    torch.manual_seed(0)
    return BTP(config).to(device)


def prepared(config: BTPConfig, scans: Sequence[Scan], device: torch.device) -> list[Item]:
    method = fresh(config, device)
    items = []
    for scan in scans:
        item = method.prepare(scan)
        items.append((item.to("cpu"), method.target(scan, item).to("cpu")))
    return items


def epoch_seconds(method: BTP, items: list[Item], epochs: int, device: torch.device) -> float:
    """The best epoch of `train`, the first left out."""
    with tempfile.TemporaryDirectory() as out:
        settings = TrainSettings(epochs=epochs + 1, batch=BATCH)
        history = train(method, items, settings, Path(out), progress=False, device=device)
    ends = [row["seconds"] for row in history.rows]
    return min(end - start for start, end in pairwise(ends))


def released_seconds(
    scans: list[Scan], items: list[Item], tower: TextTower | None, steps: int, device: torch.device
) -> tuple[float, list[float]]:
    """Seconds of an epoch of the released procedure, and of its step's parts."""
    run = released(fresh(FULL, device), tower)
    laps = [times.laps for times in (run(scans, items, number) for number in range(steps + 1))][1:]
    best = min(laps, key=sum)
    return sum(best) * (len(scans) // BATCH), best


def released(
    method: BTP, tower: TextTower | None
) -> Callable[[Sequence[Scan], Sequence[Item], int], Times]:
    """A function that trains the released way on batch `number` of the scans in their order."""
    method.train()
    groups = build_optimizer(method, 5e-4, 1e-3, 1e-4).param_groups
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=False)
    procedure = Released(method, tower, optimizer)
    device = method.get_buffer("text").device

    def step(scans: Sequence[Scan], items: Sequence[Item], number: int) -> Times:
        places = [(number * BATCH + one) % len(scans) for one in range(BATCH)]
        chosen = [items[place] for place in places]
        points = torch.cat([item["points"] for item, _ in chosen]).to(device)
        index = torch.cat([item["index"] for item, _ in chosen])
        target = Target.stack([Target(one.point, one.object) for _, one in chosen]).to(device)
        set_learning_rate(Joint([optimizer]), number, 100)
        return procedure.step([scans[place] for place in places], points, index, target)

    return step


class InOrder(Shuffled):
    """Items in their order, so that both see the same batches."""

    def epoch(self, number: int, chosen: Sequence[int]) -> Any:
        return (self.items[place] for place in chosen)


def check(scans: list[Scan], items: list[Item], device: torch.device, steps: int = 5) -> float:
    """Train both ways; return how far the losses are apart, relatively, or stop with an error."""
    run, method = released(fresh(FULL, device), None), fresh(FULL, device)
    method.train()
    optimizer = build_optimizer(method, 5e-4, 1e-3, 1e-4)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    apart = 0.0
    for number, batch in enumerate(batches(InOrder(items[: steps * BATCH], 0), 0, 0, BATCH)):
        set_learning_rate(optimizer, number, 100)
        evidence = method(batch.prepared.to(device))
        loss = torch.stack([*method.losses(evidence, batch.target.to(device)).values()]).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        theirs = run(scans, items, number).loss
        apart = max(apart, abs(loss.item() - theirs) / abs(theirs))
    if apart > SAME:
        raise SystemExit(f"the losses of both are {apart:.1e} apart")
    return apart


if __name__ == "__main__":
    main()
