"""Hybrid prompts: learned vectors between the start token and fixed words, seen through CLIP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.text import TextTower
from zeroflaw.encoders.tokenizer import tokenize
from zeroflaw.types import ZeroflawError

START, END = 49406, 49407

# The words' numbers in CLIP's vocabulary, so that the method's own prompts need no tokeniser.
PROMPT_TOKENS: dict[str, tuple[int, ...]] = {
    "normal object.": (5967, 14115, 269),
    "defective object.": (4148, 9313, 14115, 269),
    "normal .": (5967, 269),
    "defective .": (4148, 9313, 269),
}


def prompt_tokens(texts: tuple[str, ...]) -> Tensor:
    """Return the token numbers, (P, T) int64, padded with zeros behind the end token.

    Raises ZeroflawError for a text that is not the method's own if the tokeniser is missing.
    """
    if any(text not in PROMPT_TOKENS for text in texts):
        rows = tokenize(texts)
        return rows[:, : int(rows.argmax(dim=1).max()) + 1]
    numbers = [[START, *PROMPT_TOKENS[text], END] for text in texts]
    longest = max(len(row) for row in numbers)
    return torch.tensor([row + [0] * (longest - len(row)) for row in numbers])


class HybridPrompts(nn.Module):
    """One learned context for all states of the surface, each state with its own words.

    The frozen text tower moves with the module but is neither one of its parameters nor in its
    state: only the context is learned and stored.
    """

    def __init__(self, tower: TextTower, tokens: Tensor, length: int) -> None:
        """tokens: (P, T) int64, start token first, the end token highest. length: of context."""
        super().__init__()
        limit, needed = tower.config.context_length, tokens.shape[1] + length
        if needed > limit:
            raise ZeroflawError(f"prompts of {needed} tokens; the text tower takes {limit}")
        self._tower = [tower.eval().requires_grad_(False)]
        device = tower.text_projection.device
        self.ctx = nn.Parameter(torch.randn(length, tower.config.width, device=device) * 0.02)
        self.register_buffer("tokens", tokens.to(device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        for tower in self._tower:
            tower._apply(fn)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def forward(self) -> Tensor:
        """Return the unit text embeddings, (P, projection), in the order of the tokens."""
        tower, tokens = self._tower[0], self.get_buffer("tokens")
        words = tower.embed(tokens)
        context = self.ctx.expand(len(tokens), -1, -1)
        embedded = torch.cat([words[:, :1], context, words[:, 1:]], dim=1)
        end = tokens.argmax(dim=1) + len(self.ctx)
        return functional.normalize(tower(embedded, end), dim=-1)
