"""Time BTP at ULIP-2's size step by step, beside the same network written the plain way.

Stand-in weights (speed does not depend on their values), 2048 points and larger scans. The release
needs CUDA extensions, so what a user without a GPU would run is its network in plain PyTorch: 1×1
convolutions over (patches, channels, points), attention by softmax, farthest points in a loop,
every layer through MGFEM on its own. Run it with

    PYTHONPATH=src python benchmarks/btp_inspect.py > benchmarks/results/btp_inspect.md
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.pointbert import Attention, Block, group_patches
from zeroflaw.log import machine
from zeroflaw.methods.btp import BTP, sample
from zeroflaw.types import Scan

RUNS = 15
SIZES = (2048, 100_000)
COLUMNS = ("sample", "group", "encode", "heads", "score")


def main() -> None:
    """Print the processor, the steps' times and the sum beside the plain network's."""
    torch.manual_seed(0)
    method = BTP().eval()
    parameters = sum(p.numel() for p in method.parameters())
    print("# BTP: from points to scores\n")
    print(f"{machine()}, {torch.get_num_threads()} threads; PyTorch {torch.__version__}. ")
    print(f"{parameters / 1e6:.1f} M parameters, no text tower. Best of {RUNS} runs, seconds.\n")
    print("| scan | ours | plain PyTorch | its time / ours | " + " | ".join(COLUMNS) + " |")
    print("| :--- | " + " | ".join("---:" for _ in range(3 + len(COLUMNS))) + " |")
    for size in SIZES:
        scan = sphere(size)
        with torch.inference_mode():
            whole = best(partial(inspect, method, scan))
            plain = best(partial(inspect_plainly, method, scan), RUNS // 3)
            steps = time_steps(method, scan)
        cells = [
            f"{whole:.3f}",
            f"{plain:.3f}",
            f"{plain / whole:.1f}",
            *(f"{s:.3f}" for s in steps),
        ]
        print(f"| {size:,} points | " + " | ".join(cells) + " |", flush=True)
    check(method)


def inspect(method: BTP, scan: Scan) -> Tensor:
    prepared = method.prepare(scan)
    return method.score(method(prepared), scan, prepared).point


def time_steps(method: BTP, scan: Scan) -> list[float]:
    """Best time of each step of `inspect`, in the order of COLUMNS."""
    config = method.config
    prepared = method.prepare(scan)
    points, evidence = prepared["points"], method(prepared)
    center, index = group_patches(points, config.groups, config.patch_size, sampled=True)
    colored = functional.pad(points, (0, 3), value=0.5)
    return [
        best(lambda: sample(scan.points, config.points)),
        best(lambda: group_patches(points, config.groups, config.patch_size, sampled=True)),
        best(lambda: method.encoder(colored, center, index)),
        best(lambda: method(prepared)),
        best(lambda: method.score(evidence, scan, prepared)),
    ]


def inspect_plainly(method: BTP, scan: Scan) -> Tensor:
    """The same scores, each operation as the paper's figures draw it."""
    config, encoder = method.config, method.encoder
    chosen = plain_farthest(torch.from_numpy(scan.points), config.points)
    points = torch.from_numpy(scan.points)[chosen]
    points = points - points.mean(dim=0)
    points = (points / points.norm(dim=1).max()).float()[None]
    center = points[:, plain_farthest(points[0], config.groups)]
    index = torch.cdist(center, points).topk(config.patch_size, largest=False).indices
    patches = points[0][index]
    colored = torch.cat([patches - center[:, :, None], torch.full_like(patches, 0.5)], dim=-1)
    rows = encoder.encoder.first_conv(colored[0].transpose(1, 2))
    whole = rows.amax(dim=2, keepdim=True).expand(-1, -1, config.patch_size)
    rows = encoder.encoder.second_conv(torch.cat([whole, rows], dim=1))
    tokens = encoder.reduce_dim(rows.amax(dim=2)[None])
    x = torch.cat([encoder.cls_token, tokens], dim=1)
    position = torch.cat([encoder.cls_pos, encoder.pos_embed(center)], dim=1)
    layers = []
    for number, block in enumerate(encoder.blocks.blocks, start=1):
        assert isinstance(block, Block)
        x = x + position
        x = x + plain_attention(block.attn, block.norm1(x))
        x = x + block.mlp(block.norm2(x))
        if number in config.layers:
            layers.append(functional.normalize(x, dim=-1)[:, 1:])
    x = encoder.norm(x)
    both = torch.cat([x[:, 0], x[:, 1:].amax(dim=1)], dim=-1)
    assert encoder.pc_projection is not None
    functional.normalize(both @ encoder.pc_projection, dim=-1)
    geo = method.patch_geo_encoder
    hidden = patches.permute(0, 3, 2, 1)
    for layer in (geo.mlp1, geo.mlp2, geo.mlp3):
        hidden = functional.relu(plain_norm(layer, hidden))
    geometric = geo.fc(hidden.amax(dim=2).transpose(1, 2))
    embedder = method.patch_feature_embedder
    share = embedder.layer_weights.softmax(0)
    mapped = torch.stack([embedder.mapper_pointbert(layer) for layer in layers])
    summed = (share[:, None, None, None] * mapped).sum(dim=0)
    cls = functional.normalize(x[:, 0], dim=-1)
    row = embedder.mapper_global(cls)[:, None].expand_as(summed)
    joint = torch.cat([summed, embedder.mapper_fpfh(geometric), row], dim=-1)
    similarity = embedder.fusion_proj(joint) @ method.get_buffer("text").T
    score = similarity.softmax(dim=-1)[0, :, 1]
    total = torch.zeros(config.points).index_add(
        0, index.flatten(), score.repeat_interleave(config.patch_size)
    )
    point = total / torch.bincount(index.flatten(), minlength=config.points).clamp_min(1)
    known = torch.from_numpy(scan.points)[chosen]
    parts = torch.split(torch.from_numpy(scan.points), 8192)
    return torch.cat([point[torch.cdist(part, known).argmin(dim=1)] for part in parts])


def plain_farthest(points: Tensor, count: int) -> Tensor:
    distance = torch.full((len(points),), torch.inf, dtype=points.dtype)
    chosen = [0]
    for _ in range(count - 1):
        distance = torch.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(dim=1))
        chosen.append(int(distance.argmax()))
    return torch.tensor(chosen)


def plain_attention(attention: Attention, x: Tensor) -> Tensor:
    batch, count, width = x.shape
    qkv = attention.qkv(x).view(batch, count, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    weight = (qkv[0] @ qkv[1].transpose(-2, -1) * (width // attention.heads) ** -0.5).softmax(-1)
    out: Tensor = attention.proj((weight @ qkv[2]).transpose(1, 2).reshape(batch, count, width))
    return out


def plain_norm(layer: nn.Sequential, hidden: Tensor) -> Tensor:
    norm = layer[1]
    assert isinstance(norm, nn.BatchNorm1d)
    return functional.batch_norm(
        layer[0](hidden), norm.running_mean, norm.running_var, norm.weight, norm.bias
    )


def check(method: BTP) -> None:
    """Stop with an error unless both give the same scores, but for the first sampled point."""
    points = sphere(method.config.points).points
    order = np.lexsort(points.T[::-1])
    start = order[np.linalg.norm(points[order] - points.mean(axis=0), axis=1).argmax()]
    swapped = np.roll(points, -int(start), axis=0)
    with torch.inference_mode():
        ours, theirs = inspect(method, Scan(swapped)), inspect_plainly(method, Scan(swapped))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def sphere(count: int) -> Scan:
    points = np.random.default_rng(0).normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return Scan(np.asarray(points * [1.0, 0.8, 0.6]))


def best(run: Callable[[], object], runs: int = RUNS) -> float:
    run()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
