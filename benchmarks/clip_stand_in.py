"""Train a compact stand-in for CLIP on rendered synthetic views, in minutes on one core.

    PYTHONPATH=. python -m benchmarks.clip_stand_in [--out DIR] [--pairs 700] [--epochs 3]

Writes `clip.safetensors`, which every view-based method takes as `--encoder`. It is no CLIP: it has
seen nothing but pictures of parametric parts of the training families, each once with a defect and
once without, and learns to put patches and pictures near texts that say in words of their own which
kind of surface they show ("a photo of a dented part."). It has never read the words of the methods'
texts, normal, flawless, damaged, broken or object: they must learn what to say.

Shaded pictures are learned on the v–v path and depth pictures on the tower's own, as the methods
read them. Prints how far the patches of validation families are told apart. Run it again to go on
where it stopped. Needs CLIP's tokeniser (extra `text`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.batches import Item
from zeroflaw.datasets.base import Split
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.encoders.clip import CLIPConfig, CLIPVisual, preprocess
from zeroflaw.encoders.clip_blocks import ResidualBlock
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.clip_weights import save_clip
from zeroflaw.encoders.tokenizer import tokenize
from zeroflaw.geometry.cameras import PRESETS
from zeroflaw.geometry.view_render import Views, projected_mask, render_views
from zeroflaw.io.atomic import replacing
from zeroflaw.methods.base import Evidence, Method, Prepared, Target
from zeroflaw.methods.views import TEMPERATURE
from zeroflaw.metrics.ranking import auroc
from zeroflaw.reports.progress import progress
from zeroflaw.synthesis.generate import Settings, good_twin
from zeroflaw.train import TrainSettings, train

SEED = 5
CONFIG = replace(CLIPConfig.small(), image=168, width=96, layers=4, vv_layers=1, text_layers=3)
CLEAR = Settings(  # defects that a person sees in a picture of 168 pixels
    points=(22_000, 26_000),
    one_sided_share=0.0,
    sizes=(0.18, 0.3),
    amplitudes=(0.35, 0.5),
    noise=(0.00005, 0.0001),
    kinds=("bulge", "dent", "hole"),
)
SHOWN = 4  # views of a pair, those that show most of the defect
RARE = 8.0  # what a defective patch counts, a sound one being 1
TOUCHED = 0.2  # share of a patch that makes it defective; one with less of the defect is left out
WHOLE = 0.5  # what pictures count beside their patches
WORD_DEVIATION = 0.02  # of the words' vectors, as in CLIP, where learned ones start as small
PART = 50  # pairs of a file
VALIDATION_PAIRS = 50
PICTURES = "pictures"
CLIP = "clip.safetensors"

STYLES = {"shade": ("a photo of a {}.", "a picture of a {}."), "depth": ("a depth map of a {}.",)}
THINGS = ("part", "surface", "body")
WORDS = {  # for what a patch or a picture shows; sound ones first
    "good": ("smooth", "even", "whole"),
    "bulge": ("bulging", "swollen", "raised"),
    "dent": ("dented", "sunken", "pressed"),
    "hole": ("pierced", "perforated", "torn"),
}


class StandIn(Method):
    """Both towers of a small CLIP, whole and learning, on pictures that are ready."""

    name = "clip_stand_in"
    config: CLIPConfig

    def __init__(self, config: CLIPConfig = CONFIG) -> None:
        super().__init__()
        self.config = config
        self.visual = CLIPVisual(config)
        self.language = CLIPText(config)
        with torch.no_grad():
            see_nearby(self.visual)
            # The words are as good as any others; what they mean, the tower above them learns.
            words = self.language.tower.token_embedding.requires_grad_(False)
            words.weight.mul_(WORD_DEVIATION)
        for style in STYLES:
            self.register_buffer(f"tokens_{style}", style_tokens(style), persistent=False)

    def forward(self, batch: Prepared) -> Evidence:
        """Return how near pictures and their patches are to the texts of each kind.

        Reads shade and depth, (B, V, S, S) uint8, mask (B, V, S, S) bool and kind (B,). The tensors
        are "patch" (R, V, G, K) and "view" (R, V, K), logits of the K kinds of WORDS, "share"
        (R, V, G), the defective part of patches, and "kind" (R,). Their rows are of shaded
        pictures, then of depth pictures; in training every second item's, which cost as much and
        are read less. In training pictures are turned and mirrored at random, and texts drawn.
        """
        tensors: dict[str, list[Tensor]] = {"patch": [], "view": [], "share": [], "kind": []}
        for style in STYLES:
            some = slice(None, None, 2 if self.training and style == "depth" else 1)
            mask = batch["mask"][some].float()
            count = mask.shape[:2]
            both = torch.stack([batch[style][some].float() / 255, mask]).flatten(1, 2)
            pictures, defect = turned(both) if self.training else both
            seen = self.visual(preprocess(pictures, self.config.image), dpam=style == "shade")
            text = self.texts(style)
            touched = functional.avg_pool2d(defect[:, None], self.config.patch).flatten(1)
            parts = {
                "patch": seen.patches[0] @ text.T / TEMPERATURE,
                "view": seen.image @ text.T / TEMPERATURE,
                "share": touched,
            }
            for name, part in parts.items():
                tensors[name].append(part.view(*count, *part.shape[1:]))
            tensors["kind"].append(batch["kind"][some])
        logit = defect_logit(tensors["patch"][0]).flatten(1)
        found = {name: torch.cat(rows) for name, rows in tensors.items()}
        return Evidence(logit.amax(dim=1), logit, found)

    def texts(self, style: str) -> Tensor:
        """Return (K, D), unit length: one text of each kind, drawn, or in evaluation their mean."""
        tokens = self.get_buffer(f"tokens_{style}")
        if self.training:
            tokens = tokens[:, torch.randint(tokens.shape[1], (1,))]
        rows = tokens.flatten(0, 1)
        found = self.language(self.language.embed_tokens(rows), rows.argmax(dim=1))
        return functional.normalize(found.view(*tokens.shape[:2], -1).mean(dim=1), dim=-1)

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return the cross-entropies of patches, weighed, and of whole pictures."""
        patch, share, view = (evidence.tensors[name] for name in ("patch", "share", "view"))
        touched = share > TOUCHED
        kind = 1 + evidence.tensors["kind"].view(-1, 1)
        weight = torch.where(touched, RARE, (share == 0).float())
        each = functional.cross_entropy(
            patch.flatten(0, 2), (kind[..., None] * touched).flatten(), reduction="none"
        )
        shown = (kind * touched.any(dim=-1)).flatten()
        return {
            "patch": (weight.flatten() * each).sum() / weight.sum(),
            "view": WHOLE * functional.cross_entropy(view.flatten(0, 1), shown),
        }


@torch.no_grad()
def see_nearby(tower: CLIPVisual) -> None:
    """Let every token attend to those near it and like it at first, which few pictures teach late.

    Places are sines and cosines, and keys the queries (after Trockman and Kolter, "Mimetic
    initialization of self-attention layers", ICML 2023).
    """
    tower.positional_embedding[1:] = places(tower.config.grid, tower.config.width)
    blocks = tower.transformer["resblocks"]
    assert isinstance(blocks, nn.ModuleList)
    for block in blocks:
        assert isinstance(block, ResidualBlock)
        query, key, _ = block.attn.in_proj_weight.chunk(3)
        key.copy_(query)


def places(side: int, width: int) -> Tensor:
    """Return vectors of the places of a square, (side², width): sines and cosines of rows, columns.

    Neighbours are alike.
    """
    quarter = width // 4
    rate = 1 / 30 ** (torch.arange(quarter) / quarter)
    angle = torch.arange(side)[:, None] * rate
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)
    both = [wave[:, None].expand(-1, side, -1), wave[None].expand(side, -1, -1)]
    found = torch.cat(both, dim=2).flatten(0, 1)
    return functional.pad(found, (0, width - found.shape[1]))


def style_tokens(style: str) -> Tensor:
    """Return the token numbers of all texts of a style, (K, T, L), a row for each kind."""
    texts = [
        [
            way.format(f"{word} {thing}")
            for way in STYLES[style]
            for thing in THINGS
            for word in some
        ]
        for some in WORDS.values()
    ]
    rows = tokenize([text for one in texts for text in one])
    longest = int(rows.argmax(dim=1).max()) + 1
    return rows[:, :longest].reshape(len(texts), -1, longest)


def defect_logit(kinds: Tensor) -> Tensor:
    """Return the logits of any defect. kinds: (..., K), sound first."""
    return kinds[..., 1:].logsumexp(dim=-1) - kinds[..., 0]


def turned(pictures: Tensor) -> Tensor:
    """Return each picture by a random quarter turn, mirrored or not. (C, P, S, S), C as one."""
    turns, mirrored = torch.randint(4, pictures.shape[1:2]), torch.randint(2, pictures.shape[1:2])
    rows = []
    for number, (turn, mirror) in enumerate(zip(turns.tolist(), mirrored.tolist(), strict=True)):
        one = torch.rot90(pictures[:, number], turn, (1, 2))
        rows.append(one.flip(2) if mirror else one)
    return torch.stack(rows, dim=1)


def clear_scans(split: Split, seed: int) -> SyntheticScans:
    """Return synthetic scans of parametric parts whose defects can be seen in small pictures."""
    return SyntheticScans(SyntheticSettings(None, split, seed, scans=CLEAR))


def pictures_of(scans: SyntheticScans, numbers: range, size: int) -> dict[str, Tensor]:
    """Return what the numbered pairs show, each with its twin's pictures behind its own.

    shade, depth (P, 2 · SHOWN, S, S) uint8 and mask, bool; kind (P,), its number in CLEAR.
    """
    found: dict[str, list[Tensor]] = {"shade": [], "depth": [], "mask": [], "kind": []}
    for number in numbers:
        shape, seed, made = scans.pair(number)
        twin = good_twin(shape, seed, scans.pair_settings)
        bad, good = (_rendered(one.scan.points, size) for one in (made, twin))
        assert made.scan.labels is not None
        mask = projected_mask(bad, torch.from_numpy(made.scan.labels)).cpu()
        best = mask.flatten(1).sum(dim=1).topk(SHOWN).indices
        found["mask"].append(torch.cat([mask[best], torch.zeros_like(mask[best])]))
        found["kind"].append(torch.tensor(CLEAR.kinds.index(made.kind)))
        for style in STYLES:
            both = torch.cat([getattr(bad, style)[best], getattr(good, style)[best]])
            found[style].append((255 * both).round().to(torch.uint8).cpu())
    return {name: torch.stack(parts) for name, parts in found.items()}


def _rendered(points: np.ndarray[Any, Any], size: int) -> Views:
    return render_views(points, PRESETS["around"], size)


def kept_pictures(below: Path, split: Split, count: int, size: int) -> dict[str, Tensor]:
    """Return the pictures of so many pairs; those that the folder's files hold are not made again.

    As `pictures_of`.
    """
    folder = below / f"{split}_{size}"
    folder.mkdir(parents=True, exist_ok=True)
    scans, parts = clear_scans(split, SEED), []
    with progress(count) as step:
        for first in range(0, count, PART):
            path, end = folder / f"{first:05d}.safetensors", min(first + PART, count)
            made = safetensors.torch.load_file(path) if path.is_file() else {}
            if not made or len(made["mask"]) < end - first:
                made = pictures_of(scans, range(first, end), size)
                with replacing(path) as file:
                    file.write(safetensors.torch.save(made))
            parts.append(made)
            step(end, f"{split} pictures")
    names = parts[0]
    return {name: torch.cat([part[name] for part in parts])[:count] for name in names}


class Pairs:
    """Pictures as a source of training: in every epoch each view of each pair, with its twin's."""

    def __init__(self, pictures: Mapping[str, Tensor], seed: int = SEED) -> None:
        self.pictures = pictures
        self.seed = seed
        self.pairs, both = pictures["mask"].shape[:2]
        self.views = both // 2

    def __len__(self) -> int:
        return self.pairs * self.views

    def epoch(self, number: int, chosen: Sequence[int]) -> Iterator[Item]:
        """Yield the chosen items of the epoch's order."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(len(self), generator=generator).tolist()
        for place in chosen:
            pair, view = divmod(order[place], self.views)
            yield self.item(pair, [view, self.views + view])

    def item(self, pair: int, views: Sequence[int]) -> Item:
        """Return the given views of a pair."""
        found = {"kind": self.pictures["kind"][pair : pair + 1]}
        for name in (*STYLES, "mask"):
            found[name] = self.pictures[name][pair, list(views)][None]
        return Prepared(found), Target(torch.zeros(1, 1), torch.zeros(1))  # the masks say it all


@torch.no_grad()
def seen_by(method: StandIn, pictures: Mapping[str, Tensor]) -> dict[str, float]:
    """Return AUROCs of patches that show the part, and of whole pictures, of either style."""
    method.eval()
    source, found = Pairs(pictures), []
    for number in range(source.pairs):
        prepared, _ = source.item(number, range(2 * source.views))
        found.append(method(prepared).tensors)
    figures = {}
    white = (pictures["shade"] == 255).float()
    part = functional.avg_pool2d(white, method.config.patch).flatten(2) < 0.8
    for number, style in enumerate(STYLES):
        patch, view, share = (
            torch.cat([one[name][number : number + 1] for one in found])
            for name in ("patch", "view", "share")
        )
        defective = share > TOUCHED
        known = part & (defective | (share == 0))
        logit = defect_logit(patch)
        figures[f"patch_{style}"] = auroc(logit[known].numpy(), defective[known].numpy())
        shown = defective.any(dim=-1).flatten().numpy()
        figures[f"view_{style}"] = auroc(defect_logit(view).flatten().numpy(), shown)
        figures[f"highest_{style}"] = auroc(logit.amax(dim=-1).flatten().numpy(), shown)
    return figures


def stand_in(
    out: Path, pairs: int = 700, epochs: int = 3, config: CLIPConfig = CONFIG, show: bool = True
) -> Path:
    """Return the file of the stand-in, trained if it is not there."""
    path = out / CLIP
    if path.is_file():
        return path
    learned = kept_pictures(out / PICTURES, "train", pairs, config.image)
    held = kept_pictures(out / PICTURES, "validation", min(pairs, VALIDATION_PAIRS), config.image)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        method = StandIn(config)
    settings = TrainSettings(
        epochs=epochs,
        batch=4,
        learning_rate=2e-3,
        weight_decay=0.05,
        optimizer="muon",
        watch="patch_shade",
        seed=SEED,
    )
    facts = f"{pairs} pairs {asdict(CLEAR)}"

    def validate(method: nn.Module) -> dict[str, float]:
        assert isinstance(method, StandIn)
        return seen_by(method, held)

    train(method, Pairs(learned), settings, out, validate, progress=show, data=facts)
    for tensor in method.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())  # nothing is gained by more digits
    save_clip(path, method.visual, method.language)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/out/clip_stand_in"))
    parser.add_argument("--pairs", type=int, default=700, help="of a defective part and its twin")
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args(arguments)
    try:
        print(stand_in(given.out, given.pairs, given.epochs))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
