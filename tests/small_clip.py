"""A CLIP small enough for tests, of the same code as the published one."""

from __future__ import annotations

from zeroflaw.encoders.clip import CLIPConfig

CLIP = CLIPConfig(
    image=56,
    width=32,
    layers=3,
    heads=2,
    text_width=32,
    text_layers=3,
    text_heads=2,
    embedding=32,
    vv_layers=2,
)
