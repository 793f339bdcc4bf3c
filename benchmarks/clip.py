"""Time CLIP's visual tower on the views of one scan, in several precisions and runtimes.

ViT-L/14 at 336 pixels with random weights of the published sizes: speed does not depend on their
values. Closeness does: trained towers have a few channels far larger than the others, so the
cosine to float32 is taken a second time with such channels put in. Of the ways that pass, the
package uses bfloat16: int8 is quicker, but nearer the limit, on weights that are not the published
ones, and rests on a part of PyTorch that is to be removed, or on another runtime and a second copy
of the weights in its format. What a user would run instead is the released code's way: attention
written out, both paths whole in every block. A candidate counts if its features keep a cosine of
0.999. Run it with

    PYTHONPATH=src python benchmarks/clip.py > benchmarks/results/clip.md

Rows of other runtimes appear where these are installed: OpenVINO, and ONNX Runtime with onnx and
onnxscript. `--views N` and `--runs N` shorten it.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.clip import CLIPVisual
from zeroflaw.encoders.clip_blocks import MultiheadAttention, ResidualBlock

Seen = tuple[Tensor, Tensor]  # image (B, D) and patches (B, G, D), of length 1
Run = Callable[[Tensor], Seen]
NEEDED = 0.999
LOUD = (30.0, -30.0, 20.0, -20.0, 50.0, 40.0)  # of channels that drown the others


def main() -> None:
    """Print the processor and one row per way to compute the features."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--views", type=int, default=9)
    parser.add_argument("--runs", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # torch's quantisation is to move to another package
    torch.manual_seed(0)
    tower = CLIPVisual().eval().requires_grad_(False)
    images = torch.randn(given.views, 3, 336, 336)
    print(f"# CLIP ViT-L/14 at 336 pixels: {given.views} views of a scan\n")
    print(f"{processor()}, {torch.get_num_threads()} threads; PyTorch {torch.__version__}; ")
    print(f"load average {os.getloadavg()[0]:.1f} before. Best of {given.runs} runs.\n")
    print(
        "| way | seconds | processor seconds | plain's / its | image | patches "
        "| image, loud channels | patches, loud channels | counts |"
    )
    print("| :--- |" + " ---: |" * 8)
    logging.disable(logging.WARNING)  # exporters tell which parts of their own they do without
    quiet, loud = tower(images[:1]), louder(tower)(images[:1])
    reference = 0.0
    for name, make in ways():
        run = make(tower)
        seconds, processor_seconds = best(run, images, given.runs)
        reference = reference or processor_seconds
        near = cosines(run(images[:1]), (quiet.image, quiet.patches[0]))
        del run
        near += cosines(make(louder(tower))(images[:1]), (loud.image, loud.patches[0]))
        ratio = reference / processor_seconds
        cells = [f"{seconds:.2f}", f"{processor_seconds:.2f}", f"{ratio:.2f}"]
        cells += [f"{cosine:.5f}" for cosine in near]
        print(f"| {name} | {' | '.join(cells)} | {verdict(min(near))} |", flush=True)


def verdict(cosine: float) -> str:
    return "yes" if cosine >= NEEDED else "no"


def ways() -> Iterator[tuple[str, Callable[[CLIPVisual], Run]]]:
    """Every way to compute the features, the plain one first."""
    yield "plain PyTorch, float32", lambda tower: lambda images: plainly(tower, images)
    yield "ours, float32", lambda tower: ours(tower, "float32")
    yield "ours, bfloat16", lambda tower: ours(tower, "bfloat16")
    yield "ours, int8 (dynamic)", quantized
    if all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnx", "onnxscript")):
        yield "ONNX Runtime, float32", lambda tower: exported(tower, quantized=False)
        yield "ONNX Runtime, int8 (dynamic)", lambda tower: exported(tower, quantized=True)
    else:
        print("ONNX Runtime is not installed: its rows are left out", file=sys.stderr)
    if importlib.util.find_spec("openvino"):
        yield "OpenVINO, float32", lambda tower: compiled(tower, "f32")
        yield "OpenVINO, bfloat16", lambda tower: compiled(tower, "bf16")
    else:
        print("OpenVINO is not installed: its rows are left out", file=sys.stderr)


def ours(tower: CLIPVisual, precision: str) -> Run:
    def run(images: Tensor) -> Seen:
        tower.precision = precision
        features = tower(images)
        tower.precision = "float32"
        return features.image, features.patches[0]

    return run


def plainly(tower: CLIPVisual, images: Tensor) -> Seen:
    """The released code's way: nothing fused, nothing left out."""
    own, side = tower.embed(images), None
    first = tower.config.layers - tower.config.vv_layers
    for number, block in enumerate(blocks_of(tower)):
        normed = block.ln_1(own)
        if number >= first:
            side = own if side is None else side
            side = side + written_out(block.attn, normed, values_alone=True)
        own = own + written_out(block.attn, normed, values_alone=False)
        hidden = block.mlp["c_fc"](block.ln_2(own))
        own = own + block.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
    assert side is not None
    features = [functional.normalize(tower.ln_post(x) @ tower.proj, dim=-1) for x in (own, side)]
    return features[0][:, 0], features[1][:, 1:]


def written_out(attention: MultiheadAttention, x: Tensor, values_alone: bool) -> Tensor:
    query, key, value = attention.project(x)
    if values_alone:
        query = key = value
    weight = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
    out: Tensor = attention.out_proj((weight @ value).transpose(1, 2).flatten(2))
    return out


def blocks_of(tower: CLIPVisual) -> list[ResidualBlock]:
    return [part for part in tower.modules() if isinstance(part, ResidualBlock)]


def louder(tower: CLIPVisual) -> CLIPVisual:
    """The tower with a few channels far larger than the rest, from the first block on."""
    changed = copy.copy(tower)
    changed._modules = dict(tower._modules)
    changed.ln_pre = copy.deepcopy(tower.ln_pre)
    step = tower.config.width // len(LOUD)
    changed.ln_pre.bias[: step * len(LOUD) : step] = torch.tensor(LOUD)
    return changed


class LinearAttention(MultiheadAttention):
    """The same attention with its joint matrix in a linear layer, which can be quantised."""

    def __init__(self, known: MultiheadAttention) -> None:
        nn.Module.__init__(self)
        rows, width = known.in_proj_weight.shape
        self.heads, self.causal, self.out_proj = known.heads, False, known.out_proj
        self.in_proj = nn.Linear(width, rows)
        self.in_proj.weight, self.in_proj.bias = known.in_proj_weight, known.in_proj_bias

    def project(self, x: Tensor, first: int = 0, count: int = 3) -> tuple[Tensor, ...]:
        parts = self.in_proj(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return tuple(parts[first : first + count].unbind())


def quantized(tower: CLIPVisual) -> Run:
    changed = copy.deepcopy(tower)
    for block in blocks_of(changed):
        block.attn = LinearAttention(block.attn)
    quantize: Callable[..., CLIPVisual] = torch.ao.quantization.quantize_dynamic
    return ours(quantize(changed, {nn.Linear}, dtype=torch.qint8, inplace=True), "float32")


class Pair(nn.Module):
    """The tower as other runtimes take it: with plain tensors for results."""

    def __init__(self, tower: CLIPVisual) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, images: Tensor) -> Seen:
        features = self.tower(images)
        return features.image, features.patches[0]


def exported(tower: CLIPVisual, quantized: bool) -> Run:
    """ONNX Runtime, picture by picture."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "tower.onnx"))
        torch.onnx.export(
            Pair(tower).eval(), (torch.zeros(1, 3, 336, 336),), file, dynamo=True, verbose=False
        )
        if quantized:
            quantization = importlib.import_module("onnxruntime.quantization")
            small = str(Path(folder, "small.onnx"))
            kind = quantization.QuantType.QInt8
            quantization.quantize_dynamic(file, small, weight_type=kind, per_channel=True)
            file = small
        session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> Seen:
        found = [session.run(None, {name: one[None].numpy()}) for one in images]
        image, patches = zip(*found, strict=True)
        return torch.from_numpy(np.concatenate(image)), torch.from_numpy(np.concatenate(patches))

    return run


def compiled(tower: CLIPVisual, precision: str) -> Run:
    openvino = importlib.import_module("openvino")
    example = torch.zeros(2, 3, 336, 336)
    model = openvino.convert_model(Pair(tower).eval(), example_input=example)
    threads = torch.get_num_threads()
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    program = openvino.Core().compile_model(model, "CPU", settings)

    def run(images: Tensor) -> Seen:
        found = program(images.numpy())
        return torch.from_numpy(found[0].copy()), torch.from_numpy(found[1].copy())

    return run


def cosines(found: Seen, exact: Seen) -> list[float]:
    """The lowest cosine of the image features, and of the patch features."""
    return [float((a * b).sum(dim=-1).min()) for a, b in zip(found, exact, strict=True)]


def best(run: Run, images: Tensor, runs: int) -> tuple[float, float]:
    """Shortest wall time, and shortest time on the processor, which other programs bend less."""
    run(images[:1])
    times = []
    for _ in range(runs):
        started = time.perf_counter(), time.process_time()
        run(images)
        times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return min(wall for wall, _ in times), min(used for _, used in times)


def processor() -> str:
    try:
        listed = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
        fields = dict(line.split(":", 1) for line in listed.splitlines() if ":" in line)
        return f"{fields['Model name'].strip()}, {fields['CPU(s)'].strip()} cores"
    except (OSError, KeyError, subprocess.CalledProcessError):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    with torch.no_grad():
        main()
