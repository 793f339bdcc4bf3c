"""CLIP's text tower in the view-based systems: learned prompts in, unit features out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.clip import CLIPConfig
from zeroflaw.encoders.text import TextConfig, TextTower


def text_sizes(config: CLIPConfig) -> TextConfig:
    """Return the sizes of the text tower of a CLIP."""
    return TextConfig(
        width=config.text_width,
        depth=config.text_layers,
        heads=config.text_heads,
        context_length=config.context,
        vocabulary=config.vocabulary,
        projection=config.embedding,
        activation=config.activation,
    )


class CLIPText(nn.Module):
    """The text tower, with room for deep prompts; the constructor draws random weights."""

    def __init__(self, config: CLIPConfig | None = None) -> None:
        super().__init__()
        self.config = CLIPConfig() if config is None else config
        self.tower = TextTower(text_sizes(self.config))

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """tokens: (P, L) int64. Returns (P, L, width), the positions not yet added."""
        return self.tower.embed(tokens)

    def forward(
        self, embedded: Tensor, eot: Tensor, deep: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return the unit feature of each prompt, (P, D).

        embedded: (P, L, width), start token first; gradients flow to it. eot: (P,) int64, where
        each prompt's end token stands; what lies behind it has no influence. deep: learned
        tokens that take the places 1 to n before the second block, the third and so on, each
        (n, width) or (P, n, width); at most one for every block but the first.
        """
        seen = embedded[:, : int(eot.max()) + 1]
        return functional.normalize(self.tower(seen, eot, deep), dim=-1)
