"""Encoders: points, pictures and text to features, and the register of their published weights."""

from __future__ import annotations

from torch import nn

from zeroflaw.encoders.clip import CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.compact import CompactEncoder
from zeroflaw.encoders.pointbert import PointBERT
from zeroflaw.encoders.pointnet2 import PointNet2
from zeroflaw.encoders.text import TextTower

ENCODERS: dict[str, type[nn.Module]] = {
    "clip": CLIPVisual,
    "clip_text": CLIPText,
    "compact": CompactEncoder,
    "pointbert": PointBERT,
    "pointnet2": PointNet2,
    "text": TextTower,
}
