"""Sizes of networks that can be built: a card or a recipe may say anything."""

from __future__ import annotations

from collections.abc import Sequence

LARGEST = 1 << 14  # of a width; ULIP-2's are below 2,000
DEEPEST = 256
MOST_POINTS = 1 << 20  # that a method takes of a scan


def check_sizes(config: object, *names: str, largest: int = LARGEST) -> None:
    """Raise ValueError if one of these fields is not from 1 to `largest`."""
    for name in names:
        value = getattr(config, name)
        if not 1 <= value <= largest:
            raise ValueError(f"{name} is {value}, expected 1 to {largest}")


def check_blocks(width: int, heads: int, depth: int, layers: Sequence[int]) -> None:
    """Raise ValueError if no transformer of these sizes returns the outputs of these blocks.

    layers: blocks, counted from 1.
    """
    if not 1 <= depth <= DEEPEST:
        raise ValueError(f"depth is {depth}, expected 1 to {DEEPEST}")
    if heads < 1 or width % heads:
        raise ValueError(f"width {width} cannot be shared by {heads} heads")
    if not layers or not all(1 <= layer <= depth for layer in layers):
        raise ValueError(f"layers are {list(layers)}, expected numbers from 1 to {depth}")
