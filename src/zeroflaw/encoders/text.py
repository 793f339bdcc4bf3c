"""CLIP's causal text tower, as OpenCLIP and OpenAI publish it.

Needed for training and for new prompts only: a trained detector stores its text embeddings.
Source: Radford et al., "Learning transferable visual models from natural language" (2021). Entry
names are those of the published checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zeroflaw.encoders.clip_blocks import ResidualBlock
from zeroflaw.encoders.entries import load_entries, read_entries
from zeroflaw.types import ZeroflawError

HEAD_WIDTH = 64  # of every published CLIP text tower
TEXT_ENTRIES = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.")
PREFIXES = ("", "text.", "open_clip_model.", "open_clip_model.text.")


@dataclass(frozen=True)
class TextConfig:
    """Sizes of a text tower; the defaults are OpenCLIP ViT-bigG-14's.

    activation: "gelu" (OpenCLIP) or "quick_gelu" (OpenAI's weights).
    """

    width: int = 1280
    depth: int = 32
    heads: int = 20
    context_length: int = 77
    vocabulary: int = 49408
    projection: int = 1280
    activation: str = "gelu"


class TextTower(nn.Module):
    """Tokens, or learned vectors in their place, to embeddings in the shared space."""

    def __init__(self, config: TextConfig | None = None) -> None:
        super().__init__()
        config = TextConfig() if config is None else config
        if config.activation not in ("gelu", "quick_gelu"):
            raise ZeroflawError(f'activation {config.activation!r}; use "gelu" or "quick_gelu"')
        self.config = config
        width = config.width
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(config.context_length, width) * 0.01)
        blocks = [
            ResidualBlock(width, config.heads, config.activation, causal=True)
            for _ in range(config.depth)
        ]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, config.projection) * width**-0.5)

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens: (P, T) int64. Returns (P, T, width), the positions not yet added."""
        out: Tensor = self.token_embedding(tokens)
        return out

    def forward(
        self, embedded: Tensor, end: Tensor, deep: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return the embedding of each prompt, (P, projection), not normalised.

        embedded: (P, T, width), T up to the context length; gradients flow to it. end: (P,) int64,
        where each prompt's end token stands; what lies behind it has no influence. deep: what
        takes the place of the tokens behind the start token before the second block, the third
        and so on, each (n, width) or (P, n, width).
        """
        length = embedded.shape[1]
        if length > self.config.context_length:
            raise ZeroflawError(
                f"a prompt has {length} tokens; the text tower takes {self.config.context_length}"
            )
        blocks = self.transformer["resblocks"]
        assert isinstance(blocks, nn.ModuleList)
        deep = () if deep is None else deep
        if len(deep) >= len(blocks):
            raise ZeroflawError(
                f"deep prompts for {len(deep)} blocks; the text tower has {len(blocks) - 1} "
                "behind its first"
            )
        x = embedded + self.positional_embedding[:length]
        for number, block in enumerate(blocks):
            if 0 < number <= len(deep):
                x = _with_prompt(x, deep[number - 1])
            x = block(x)
        last: Tensor = self.ln_final(x[torch.arange(len(x), device=x.device), end])
        return last @ self.text_projection

    def encode(self, tokens: Tensor) -> Tensor:
        """tokens: (P, T) int64, the end token the highest number. Returns (P, projection)."""
        end = tokens.argmax(dim=1)
        return self.forward(self.embed(tokens[:, : int(end.max()) + 1]), end)


def _with_prompt(x: Tensor, prompt: Tensor) -> Tensor:
    """Return x, (P, T, width), with the tokens behind the first replaced by the prompt's."""
    count = prompt.shape[-2]
    if count >= x.shape[1]:
        raise ZeroflawError(f"{count} deep prompt tokens do not fit into {x.shape[1]} tokens")
    prompt = prompt.to(x.dtype).expand(len(x), -1, -1)
    return torch.cat([x[:, :1], prompt, x[:, 1 + count :]], dim=1)


def text_config(entries: Mapping[str, Tensor], activation: str = "gelu") -> TextConfig:
    """Return the sizes of a text tower from its entries' shapes; heads are 64 wide."""
    vocabulary, width = entries["token_embedding.weight"].shape
    numbers = [re.match(r"transformer\.resblocks\.(\d+)\.", name) for name in entries]
    depth = 1 + max((int(found[1]) for found in numbers if found), default=-1)
    return TextConfig(
        width=width,
        depth=depth,
        heads=max(1, width // HEAD_WIDTH),
        context_length=entries["positional_embedding"].shape[0],
        vocabulary=vocabulary,
        projection=entries["text_projection"].shape[1],
        activation=activation,
    )


def load_text_tower(path: Path, activation: str = "gelu") -> TextTower:
    """Return the frozen text tower of a CLIP checkpoint; its image tower is never read.

    path: safetensors, or a torch file. Names may carry `module.`, `text.` or `open_clip_model.`
    in front. activation: "gelu" for OpenCLIP's weights, "quick_gelu" for OpenAI's. Raises
    ZeroflawError that names what is missing.
    """
    wanted = (*TEXT_ENTRIES, "text_projection")
    found = read_entries(path, tuple(front + name for front in PREFIXES for name in wanted))
    front = next((f for f in PREFIXES if f + "token_embedding.weight" in found), None)
    if front is None:
        raise ZeroflawError(
            f"{path}: no text tower in it (entry token_embedding.weight); "
            "give a CLIP checkpoint such as OpenCLIP ViT-bigG-14"
        )
    entries = {n.removeprefix(front): t for n, t in found.items() if n.startswith(front)}
    for name in ("token_embedding.weight", "positional_embedding", "text_projection"):
        if name not in entries:
            raise ZeroflawError(f"{path}: entries do not fit: missing {front}{name}")
        if entries[name].ndim != 2:
            shape = tuple(entries[name].shape)
            raise ZeroflawError(f"{path}: {front}{name} has shape {shape}, expected a matrix")
    with torch.device("meta"):
        tower = TextTower(text_config(entries, activation))
    load_entries(tower, entries, path, f"{front}{{}}".format)
    return tower.eval().requires_grad_(False)
