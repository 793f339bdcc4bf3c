"""Encoders: points and text to features, and the register of their published weights."""

from __future__ import annotations

from zeroflaw.encoders.pointbert import PointBERT

ENCODERS: dict[str, type] = {"pointbert": PointBERT}
