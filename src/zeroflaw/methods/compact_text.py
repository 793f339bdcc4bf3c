"""The compact detector's language: a small text tower over a closed vocabulary, learned with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

NORMAL = ("a flawless surface", "a normal part without a defect", "an intact object")
DEFECTIVE = ("a damaged surface", "a defective part with a flaw", "a broken object")
KIND_PROMPTS: dict[str, tuple[str, ...]] = {
    "bulge": ("a bulge on the surface", "a part with a bump"),
    "dent": ("a dent in the surface", "a part with a sink"),
    "hole": ("a hole in the surface", "a part with missing material"),
    "crack": ("a crack in the surface", "a part with a narrow open line"),
    "break": ("a broken edge", "a part with a piece broken off"),
    "bend": ("a bent shape", "a part that is bent out of shape"),
    "rough": ("a rough patch on the surface", "a part with a worn rough surface"),
    "flat": ("a flattened patch on the surface", "a part with a flat worn spot"),
    "scratch": ("a scratch on the surface", "a part with long shallow grooves"),
    "excess": ("excess material on the surface", "a part with weld spatter or a fin"),
    "shifted": ("a feature in the wrong place", "a part with a shifted feature"),
    "missing": ("a missing feature", "a part that lacks a feature"),
}
PROMPTS: dict[str, tuple[str, ...]] = {"normal": NORMAL, "defective": DEFECTIVE, **KIND_PROMPTS}
LENGTH = 12


def vocabulary() -> dict[str, int]:
    """Return the number of every word of the prompts; 0 is padding."""
    words = sorted(
        {word for prompts in PROMPTS.values() for text in prompts for word in text.split()}
    )
    return {word: number for number, word in enumerate(words, start=1)}


def tokens() -> tuple[Tensor, Tensor]:
    """Return the prompts' word numbers (P, LENGTH) and the row of PROMPTS each belongs to (P,)."""
    number = vocabulary()
    rows, owner = [], []
    for row, prompts in enumerate(PROMPTS.values()):
        for text in prompts:
            ids = [number[word] for word in text.split()]
            rows.append(ids + [0] * (LENGTH - len(ids)))
            owner.append(row)
    return torch.tensor(rows), torch.tensor(owner)


class WordTower(nn.Module):
    """A two-layer transformer over the prompts' words: one unit embedding per prompt set."""

    def __init__(self, width: int, out: int, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        words, owner = tokens()
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("owner", owner, persistent=False)
        self.embed = nn.Embedding(len(vocabulary()) + 1, width)
        self.position = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.Linear(width, out, bias=False)

    def forward(self) -> Tensor:
        """Returns (len(PROMPTS), out): the mean over each set's prompts, L2-normalised."""
        words: Tensor = self.get_buffer("words")
        padding = words == 0
        hidden = self.layers(self.embed(words) + self.position, src_key_padding_mask=padding)
        kept = (~padding).float()[..., None]
        pooled = (hidden * kept).sum(dim=1) / kept.sum(dim=1)
        embedded = functional.normalize(self.out(pooled), dim=-1)
        sets = embedded.new_zeros(len(PROMPTS), embedded.shape[1])
        sets = sets.index_add(0, self.get_buffer("owner"), embedded)
        return functional.normalize(sets, dim=-1)
