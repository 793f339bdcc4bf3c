"""Object-agnostic prompts for CLIP: learned contexts, learned tokens deep in the text tower.

Source: Zhou et al., "AnomalyCLIP: Object-agnostic prompt learning for zero-shot anomaly detection"
(ICLR 2024, arXiv 2310.18961). PointAD, GS-CLIP and Align3D-AD take it over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.methods.prompts import END, START
from zeroflaw.types import ZeroflawError

Words = tuple[int, ...]

# Numbers in CLIP's vocabulary. What comes behind the learned context: "object", "damaged object".
NORMAL_WORDS: Words = (14115,)
ANOMALOUS_WORDS: Words = (13568, 14115)
STOP = 269  # "."

# Fixed texts of the two states for scoring without training, and what they read in words.
FIXED: dict[str, tuple[tuple[Words, ...], tuple[Words, ...]]] = {
    "photo": (  # a photo of a normal / flawless object. – a photo of a damaged / broken object.
        ((320, 1125, 539, 320, 5967, 14115, 269), (320, 1125, 539, 320, 15531, 14115, 269)),
        ((320, 1125, 539, 320, 13568, 14115, 269), (320, 1125, 539, 320, 5107, 14115, 269)),
    ),
    "depth": (  # a depth map of a normal / flawless object. – … of a damaged / broken object.
        (
            (320, 10350, 3923, 539, 320, 5967, 14115, 269),
            (320, 10350, 3923, 539, 320, 15531, 14115, 269),
        ),
        (
            (320, 10350, 3923, 539, 320, 13568, 14115, 269),
            (320, 10350, 3923, 539, 320, 5107, 14115, 269),
        ),
    ),
}


class PromptLearner(nn.Module):
    """A learned context for each state in front of its words, and learned tokens in later blocks.

    The frozen text tower moves with the module but is neither one of its parameters nor in its
    state. context_normal, context_anomalous: (length, W). deep: `deep_blocks` of (deep_length, W);
    each takes the places behind the start token in one block, from the second on.
    """

    def __init__(
        self, text: CLIPText, length: int = 12, deep_blocks: int = 8, deep_length: int = 4
    ) -> None:
        super().__init__()
        config = text.config
        needed = length + len(ANOMALOUS_WORDS) + 3
        if needed > config.context:
            raise ZeroflawError(
                f"prompts of {needed} tokens; the text tower takes {config.context}"
            )
        if deep_blocks >= config.text_layers:
            raise ZeroflawError(
                f"deep prompts for {deep_blocks} blocks; behind its first one the text tower has "
                f"{config.text_layers - 1}"
            )
        self._tower = [text.eval().requires_grad_(False)]
        device = next(text.parameters()).device
        self.context_normal = nn.Parameter(_drawn(length, config.text_width, device))
        self.context_anomalous = nn.Parameter(_drawn(length, config.text_width, device))
        self.deep = nn.ParameterList(
            [_drawn(deep_length, config.text_width, device) for _ in range(deep_blocks)]
        )

    @property
    def tower(self) -> CLIPText:
        """The frozen text tower."""
        return self._tower[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.tower._apply(fn)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def forward(self, normal: Tensor | None = None, anomalous: Tensor | None = None) -> Tensor:
        """Return the unit embeddings of both states, normal first.

        normal: (B, 1, W) and anomalous: (B, 2, W), vectors in the places of the states' words;
        returns (B, 2, D). Without them the words stand there; returns (2, D).
        """
        given = normal if normal is not None else anomalous
        count = 1 if given is None else len(given)
        sides = [
            self._embedded(self.context_normal, NORMAL_WORDS, normal, count),
            self._embedded(self.context_anomalous, ANOMALOUS_WORDS, anomalous, count),
        ]
        longest = max(side.shape[1] for side in sides)
        end = torch.tensor([side.shape[1] - 1 for side in sides], device=sides[0].device)
        padded = [functional.pad(side, (0, 0, 0, longest - side.shape[1])) for side in sides]
        embedded = torch.stack(padded, dim=1).flatten(0, 1)
        deep = list(self.deep) or None
        unit: Tensor = self.tower(embedded, end.repeat(count), deep)
        return unit if given is None else unit.view(count, 2, -1)

    def _embedded(self, context: Tensor, words: Words, middle: Tensor | None, count: int) -> Tensor:
        """Start token, context, words or what stands in their place, stop and end token."""
        tokens = torch.tensor([[START, *words, STOP, END]], device=context.device)
        known = self.tower.embed_tokens(tokens).expand(count, -1, -1)
        inner = known[:, 1 : 1 + len(words)] if middle is None else middle
        if inner.shape[1] != len(words):
            raise ValueError(f"{inner.shape[1]} vectors in the places of {len(words)} words")
        own = context.expand(count, -1, -1)
        return torch.cat([known[:, :1], own, inner, known[:, 1 + len(words) :]], dim=1)


def _drawn(count: int, width: int, device: torch.device) -> Tensor:
    return torch.randn(count, width, device=device) * 0.02


@torch.no_grad()
def fixed_embedding(text: CLIPText, style: str) -> Tensor:
    """Return (2, D), unit length, normal first: the mean over the fixed texts of each state.

    style: a key of FIXED, "photo" for shaded views and "depth" for depth views.
    """
    sides = [state_embedding(text, texts) for texts in FIXED[style]]
    return torch.stack(sides)


def state_embedding(text: CLIPText, texts: Sequence[Words]) -> Tensor:
    """Return (D,), unit length: the mean of the embeddings of token rows."""
    device = next(text.parameters()).device
    total = [
        text(
            text.embed_tokens(torch.tensor([[START, *words, END]], device=device)),
            torch.tensor([len(words) + 1], device=device),
        )
        for words in texts
    ]
    return functional.normalize(torch.cat(total).mean(dim=0), dim=-1)
