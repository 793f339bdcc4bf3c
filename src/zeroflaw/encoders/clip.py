"""CLIP's visual tower: pictures in, one feature per picture and one per patch of it out.

Patch features come from a second path beside the network's own, on which the last blocks attend
by value alone (DPAM): Zhou et al., "AnomalyCLIP" (ICLR 2024). Source of the tower: Radford et al.,
"Learning transferable visual models from natural language" (2021). Entry names are those of the
published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.clip_blocks import ResidualBlock
from zeroflaw.encoders.sizes import check_blocks, check_sizes
from zeroflaw.types import ZeroflawError

# Of the pictures that CLIP was trained on (Radford et al.'s code).
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both towers; the defaults are those of OpenAI's ViT-L/14 at 336 pixels.

    image: side of the pictures, in pixels; others are taken too. patch: side of a patch.
    embedding: width of the space that pictures and texts share. vv_layers: how many of the last
    visual blocks have the v–v path. quick_gelu: x·sigmoid(1.702 x), OpenAI's activation, in place
    of the GELU.
    """

    image: int = 336
    patch: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    context: int = 77
    vocabulary: int = 49408
    embedding: int = 768
    vv_layers: int = 19
    quick_gelu: bool = True

    def __post_init__(self) -> None:
        check_sizes(self, "image", "patch", "width", "text_width", "context", "embedding")
        check_sizes(self, "vocabulary", largest=1 << 20)
        check_blocks(self.width, self.heads, self.layers, (self.layers,))
        check_blocks(self.text_width, self.text_heads, self.text_layers, (self.text_layers,))
        if not 0 <= self.vv_layers <= self.layers:
            raise ValueError(f"vv_layers is {self.vv_layers}, expected 0 to {self.layers}")
        if self.image < self.patch:
            raise ValueError(f"image is {self.image}, smaller than a patch of {self.patch}")

    @classmethod
    def small(cls) -> CLIPConfig:
        """Return a compact stand-in for tests and for learning without downloads."""
        return cls(
            image=112,
            width=64,
            layers=6,
            heads=4,
            text_width=64,
            text_layers=4,
            text_heads=4,
            embedding=64,
            vv_layers=4,
        )

    @property
    def activation(self) -> str:
        """The activation's name in the blocks."""
        return "quick_gelu" if self.quick_gelu else "gelu"

    @property
    def grid(self) -> int:
        """How many patches lie along a side of the picture."""
        return self.image // self.patch


@dataclass(frozen=True)
class CLIPFeatures:
    """What the visual tower saw, every feature of length 1.

    image: (B, D), from the network's own path. patches: for each asked layer (B, G, D), row by
    row of the picture; classes: for each asked layer (B, D), the class token on the same path.
    """

    image: Tensor
    patches: tuple[Tensor, ...]
    classes: tuple[Tensor, ...] = ()

    @property
    def tokens(self) -> tuple[Tensor, ...]:
        """For each asked layer (B, 1 + G, D): class token first, then the patches."""
        pairs = zip(self.classes, self.patches, strict=True)
        return tuple(torch.cat([token[:, None], patches], dim=1) for token, patches in pairs)


def preprocess(pictures: Tensor, size: int) -> Tensor:
    """Return pictures as CLIP was trained on them: (B, 3, size, size), normalised.

    pictures: (B, H, W) grey or (B, 3, H, W), in [0, 1]. They are resized bicubically where they
    have another size. Raises ZeroflawError for other shapes.
    """
    if pictures.ndim == 3:
        pictures = pictures[:, None].expand(-1, 3, -1, -1)
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        shape = tuple(pictures.shape)
        raise ZeroflawError(f"pictures have shape {shape}, expected (B, H, W) or (B, 3, H, W)")
    if pictures.shape[-2:] != (size, size):
        resized = functional.interpolate(
            pictures, (size, size), mode="bicubic", align_corners=False, antialias=True
        )
        pictures = resized.clamp(0, 1)  # the cubic overshoots at edges
    mean = pictures.new_tensor(MEAN)[:, None, None]
    return (pictures - mean) / pictures.new_tensor(DEVIATION)[:, None, None]


class CLIPVisual(nn.Module):
    """The visual tower; the constructor draws random weights.

    precision: "float32", "bfloat16" (matrices are multiplied in it, sums stay float32), or "auto":
    bfloat16 where the device computes in it and nothing learns, else float32.
    """

    def __init__(self, config: CLIPConfig | None = None, precision: str = "float32") -> None:
        super().__init__()
        config = CLIPConfig() if config is None else config
        if precision not in PRECISIONS:
            raise ZeroflawError(f"precision {precision!r}; use one of {', '.join(PRECISIONS)}")
        self.config = config
        self.precision = precision
        width, scale = config.width, config.width**-0.5
        self.conv1 = nn.Conv2d(3, width, config.patch, stride=config.patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(config.grid**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        blocks = (
            ResidualBlock(width, config.heads, config.activation, causal=False)
            for _ in range(config.layers)
        )
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, config.embedding))

    def forward(
        self, images: Tensor, layers: Sequence[int] = (), dpam: bool = True
    ) -> CLIPFeatures:
        """Return the features of pictures.

        images: (B, 3, S, S), as `preprocess` makes them; S a multiple of the patch. layers: the
        blocks whose patch features are asked, counted from 1, by default the last. dpam: take
        them from the v–v path, in the blocks that have one.
        """
        layers = layers or (self.config.layers,)
        if not all(1 <= layer <= self.config.layers for layer in layers):
            raise ZeroflawError(
                f"layers are {list(layers)}, expected numbers from 1 to {self.config.layers}"
            )
        own = self.embed(images)
        with self._multiplying(images):
            own, kept = self._run(own, frozenset(layers), dpam)
        unit = {layer: self._project(kept[layer]) for layer in frozenset(layers)}
        return CLIPFeatures(
            image=self._project(own[:, 0]),
            patches=tuple(unit[layer][:, 1:] for layer in layers),
            classes=tuple(unit[layer][:, 0] for layer in layers),
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens that the first block takes, (B, 1 + G, width), class token first.

        The positions are resized bilinearly for pictures of another size than the tower's.
        """
        patch = self.config.patch
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise ZeroflawError(f"images have shape {tuple(images.shape)}, expected (B, 3, S, S)")
        side, rest = divmod(images.shape[-1], patch)
        if rest or not side:
            raise ZeroflawError(
                f"images of {images.shape[-1]} pixels; use a multiple of {patch}, the patch's side"
            )
        tokens = self.conv1(images).flatten(2).transpose(1, 2)
        token = self.class_embedding.expand(images.shape[0], 1, -1)
        tokens = torch.cat([token, tokens], dim=1) + self._positions(side)
        embedded: Tensor = self.ln_pre(tokens)
        return embedded

    def _positions(self, side: int) -> Tensor:
        known = self.config.grid
        if side == known:
            return self.positional_embedding
        token, places = self.positional_embedding[:1], self.positional_embedding[1:]
        square = places.T.reshape(1, -1, known, known)
        square = functional.interpolate(square, (side, side), mode="bilinear", align_corners=False)
        return torch.cat([token, square[0].flatten(1).T])

    def _run(
        self, own: Tensor, asked: frozenset[int], dpam: bool
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the own path behind the last block, and the path of the patches at each asked one.

        What nobody reads is not computed: the v–v path behind the last asked block, and all but
        the class token of the own path in the last block.
        """
        config, kept = self.config, {}
        first = config.layers - config.vv_layers + 1 if dpam else config.layers + 1
        side: Tensor | None = None
        blocks = self.transformer["resblocks"]
        assert isinstance(blocks, nn.ModuleList)
        for number, block in enumerate(blocks, start=1):
            assert isinstance(block, ResidualBlock)
            split = number >= first
            aside = (own if side is None else side) if split and number <= max(asked) else None
            read_whole = number < config.layers or (number in asked and not split)
            own, side = _block(block, own, aside, read_whole)
            if number in asked:
                kept[number] = own if side is None else side
        return own, kept

    def _project(self, tokens: Tensor) -> Tensor:
        """Return unit features of tokens, (..., D), in the shared space."""
        return functional.normalize(self.ln_post(tokens) @ self.proj, dim=-1)

    def precision_on(self, device: torch.device) -> str:
        """Return the precision on a device where nothing learns: "float32" or "bfloat16"."""
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if has_bfloat16(device) else "float32"

    def _multiplying(self, images: Tensor) -> AbstractContextManager[None]:
        """The context in which the blocks multiply in the chosen precision."""
        device, precision = images.device, self.precision
        if precision == "auto":
            precision = "float32" if torch.is_grad_enabled() else self.precision_on(device)
        return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _block(
    block: ResidualBlock, own: Tensor, side: Tensor | None, whole: bool
) -> tuple[Tensor, Tensor | None]:
    """Return both paths behind one block; the side path's attention knows the values alone.

    own, side: (B, T, C); no side path where it is None. whole: all tokens of the own path are
    wanted, else the class token's only, (B, 1, C).
    """
    attention, normed = block.attn, block.ln_1(own)
    if whole:
        query, key, value = attention.project(normed)
    else:
        (query,) = attention.project(normed[:, :1], count=1)
        key, value = attention.project(normed, first=1, count=2)
        own = own[:, :1]
    if side is not None:
        side = side + attention.mix(value, value, value)
    return block.feed_forward(own + attention.mix(query, key, value)), side


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # since PyTorch 2.6
    return device.type == "cpu" and known is not None and bool(known())
