"""Train a compact stand-in for CLIP on rendered synthetic views, in minutes on one core.

    PYTHONPATH=. python -m benchmarks.clip_stand_in [--out DIR] [--pairs 150] [--epochs 12]

Writes `clip.safetensors`, which every view-based method takes as `--encoder`. It is no CLIP: it has
seen nothing but pictures of parametric parts of the training families, sound and defective, and
learns to put patches and pictures near the texts of their state. So it shows that the methods
learn from a tower that sees something, and nothing about how they do with CLIP.

Shaded pictures are learned on the v–v path and depth pictures on the tower's own, as the methods
read them. Run it again to go on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from zeroflaw.batches import Item
from zeroflaw.datasets.base import Split
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.encoders.clip import CLIPConfig, CLIPVisual, preprocess
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.clip_weights import save_clip
from zeroflaw.geometry.cameras import PRESETS
from zeroflaw.geometry.view_render import Views, projected_mask, render_views
from zeroflaw.io.atomic import replacing
from zeroflaw.methods.base import Evidence, Method, Prepared, Target
from zeroflaw.methods.clip_prompts import (
    ANOMALOUS_WORDS,
    FIXED,
    NORMAL_WORDS,
    STOP,
)
from zeroflaw.methods.prompts import END, START
from zeroflaw.methods.views import TEMPERATURE
from zeroflaw.reports.progress import progress
from zeroflaw.synthesis.generate import Settings, good_twin
from zeroflaw.train import TrainSettings, train

SEED = 5
CONFIG = replace(CLIPConfig.small(), layers=3, vv_layers=2, text_layers=3)
CLEAR = Settings(  # defects that can be seen in a picture of 112 pixels
    points=(8_000, 9_000),
    one_sided_share=0.0,
    sizes=(0.18, 0.3),
    amplitudes=(0.35, 0.5),
    noise=(0.00005, 0.0001),
    kinds=("bulge", "dent", "hole"),
)
SHOWN = 3  # views of a pair, those that show most of the defect
RARE = 8.0  # what a defective patch counts, a sound one being 1
TOUCHED = 0.2  # share of a patch that makes it defective; one with less of the defect is left out
PICTURES = "pictures.safetensors"
CLIP = "clip.safetensors"
OWN = ((*NORMAL_WORDS, STOP), (*ANOMALOUS_WORDS, STOP))  # what the prompts end in
TEXTS = tuple(  # of shaded and of depth pictures, of either state, each as many
    tuple(
        [(START, *words, END) for words in (*FIXED[style][state], OWN[state])] for state in (0, 1)
    )
    for style in ("photo", "depth")
)


class StandIn(Method):
    """Both towers of a small CLIP, whole and learning, on pictures that are ready."""

    name = "clip_stand_in"
    config: CLIPConfig

    def __init__(self, config: CLIPConfig = CONFIG) -> None:
        super().__init__()
        self.config = config
        self.visual = CLIPVisual(config)
        self.language = CLIPText(config)
        # The words are as good as any others; what they mean, the tower above them learns.
        self.language.tower.token_embedding.requires_grad_(False)

    def forward(self, batch: Prepared) -> Evidence:
        """Return what pictures show, as the text of either state is nearer.

        Reads shade and depth, (B, V, S, S) uint8, and mask (B, V, S, S) bool. The tensors are
        "patch" and "share" (B, 2, V, G), logits and the defective part of patches, and "view"
        (B, 2, V, 2), logits; shaded pictures first.
        """
        mask = batch["mask"].float()
        patch, view, share = [], [], []
        for name, text in zip(("shade", "depth"), self.texts(), strict=True):
            pictures = batch[name].float() / 255
            shown, defect = turned(pictures, mask) if self.training else (pictures, mask)
            flat = preprocess(shown.flatten(0, 1), self.config.image)
            seen = self.visual(flat, dpam=name == "shade")
            count = pictures.shape[:2]
            apart = (text[1] - text[0]) / TEMPERATURE
            patch.append((seen.patches[0] @ apart).view(*count, -1))
            view.append((seen.image @ text.T / TEMPERATURE).view(*count, 2))
            share.append(functional.avg_pool2d(defect, self.config.patch).flatten(2))
        tensors = {
            name: torch.stack(parts, dim=1)
            for name, parts in (("patch", patch), ("view", view), ("share", share))
        }
        logit = tensors["patch"].flatten(1)
        return Evidence(logit.amax(dim=1), logit, tensors)

    def texts(self) -> Tensor:
        """Return (2, 2, D), unit length, normal first: the embeddings of TEXTS, averaged."""
        rows = [words for style in TEXTS for state in style for words in state]
        tokens = torch.tensor([[*one, *[0] * (max(map(len, rows)) - len(one))] for one in rows])
        end = torch.tensor([len(one) - 1 for one in rows])
        found = self.language(self.language.embed_tokens(tokens), end)
        mean = found.view(len(TEXTS), 2, -1, found.shape[-1]).mean(dim=2)
        return functional.normalize(mean, dim=-1)

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return the cross-entropies of patches, weighed, and of whole pictures."""
        patch, share, view = (evidence.tensors[name] for name in ("patch", "share", "view"))
        defective = (share > TOUCHED).float()
        weight = torch.where(share > TOUCHED, RARE, (share == 0).float())
        each = functional.binary_cross_entropy_with_logits(patch, defective, reduction="none")
        shown = (share > TOUCHED).any(dim=-1).long()
        return {
            "patch": (weight * each).sum() / weight.sum(),
            "view": 0.5 * functional.cross_entropy(view.flatten(0, 2), shown.flatten()),
        }


def turned(pictures: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return both by the same random quarter turn, mirrored or not. (B, V, S, S) each."""
    turns, mirrored = int(torch.randint(4, ())), bool(torch.randint(2, ()))
    both = [torch.rot90(one, turns, (2, 3)) for one in (pictures, mask)]
    shown, defect = (one.flip(3) if mirrored else one for one in both)
    return shown, defect


def clear_scans(split: Split, seed: int) -> SyntheticScans:
    """Return synthetic scans of parametric parts whose defects can be seen in small pictures."""
    return SyntheticScans(SyntheticSettings(None, split, seed, scans=CLEAR))


def pictures_of(scans: SyntheticScans, count: int, size: int) -> dict[str, Tensor]:
    """Return shade, depth (P, V, S, S) uint8 and mask, bool: of a pair, defective views first."""
    found: dict[str, list[Tensor]] = {"shade": [], "depth": [], "mask": []}
    with progress(count) as step:
        for number in range(count):
            shape, seed, made = scans.pair(number)
            twin = good_twin(shape, seed, scans.pair_settings)
            bad, good = (_rendered(one.scan.points, size) for one in (made, twin))
            assert made.scan.labels is not None
            mask = projected_mask(bad, torch.from_numpy(made.scan.labels)).cpu()
            best = mask.flatten(1).sum(dim=1).topk(SHOWN).indices
            found["mask"].append(torch.cat([mask[best], torch.zeros_like(mask[best])]))
            for kind in ("shade", "depth"):
                both = torch.cat([getattr(bad, kind)[best], getattr(good, kind)[best]])
                found[kind].append((255 * both).round().to(torch.uint8).cpu())
            step(number + 1, "pictures")
    return {name: torch.stack(parts) for name, parts in found.items()}


def _rendered(points: np.ndarray[Any, Any], size: int) -> Views:
    return render_views(points, PRESETS["around"], size)


def kept_pictures(path: Path, count: int, config: CLIPConfig) -> dict[str, Tensor]:
    """Return the pictures to learn from; from the file where it holds as many."""
    if path.is_file():
        found = safetensors.torch.load_file(path)
        if found["mask"].shape[::3] == (count, config.image):
            return found
    found = pictures_of(clear_scans("train", SEED), count, config.image)
    with replacing(path) as file:
        file.write(safetensors.torch.save(found))
    return found


def as_items(pictures: dict[str, Tensor]) -> list[Item]:
    """Return one item for each pair."""
    count = len(pictures["mask"])
    nothing = Target(torch.zeros(1, 1), torch.zeros(1))  # the masks say it all
    return [
        (Prepared({name: one[n : n + 1] for name, one in pictures.items()}), nothing)
        for n in range(count)
    ]


def stand_in(
    out: Path, pairs: int = 150, epochs: int = 12, config: CLIPConfig = CONFIG, show: bool = True
) -> Path:
    """Return the file of the stand-in, trained if it is not there."""
    path = out / CLIP
    if path.is_file():
        return path
    out.mkdir(parents=True, exist_ok=True)
    pictures = kept_pictures(out / PICTURES, pairs, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        method = StandIn(config)
    settings = TrainSettings(
        epochs=epochs, batch=1, learning_rate=1e-3, weight_decay=0.02, seed=SEED
    )
    facts = f"{pairs} pairs {asdict(CLEAR)}"
    train(method, as_items(pictures), settings, out, progress=show, data=facts)
    for tensor in method.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())  # nothing is gained by more digits
    save_clip(path, method.visual, method.language)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/out/clip_stand_in"))
    parser.add_argument("--pairs", type=int, default=150, help="of a defective part and its twin")
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args(arguments)
    try:
        print(stand_in(given.out, given.pairs, given.epochs))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
