"""Methods at the start of their training, with the frozen parts that they build upon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zeroflaw.checkpoint import build_config
from zeroflaw.encoders.pointbert import PointBERT
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.methods.base import Method
from zeroflaw.methods.btp import BTP, BTPConfig
from zeroflaw.methods.btp_published import published_btp
from zeroflaw.types import ZeroflawError

STAND_IN = 0  # seed of the weights that stand in for published ones, whatever the training's seed


def start(
    method: str,
    config: Path | Mapping[str, Any] | None = None,
    encoder: Path | None = None,
    text_tower: Path | None = None,
    stand_in: bool = False,
) -> Method:
    """Return the method, ready to train, its heads drawn from torch's random state.

    config: settings other than the defaults, or a JSON file with them. encoder, text_tower: files
    of the published weights, by default those that `zeroflaw weights` keeps. stand_in: random ones
    instead, always the same, for trying things out without a download. Raises ZeroflawError for a
    method that is not trained on a folder, for unknown settings, and for a missing file, saying
    how to get it.
    """
    if method != BTP.name:
        raise ZeroflawError(f"{method!r} cannot be trained on a folder of scans; {BTP.name} can")
    given = read_settings(config) if isinstance(config, Path) else config or {}
    where = str(config) if isinstance(config, Path) else method
    settings: BTPConfig = build_config(BTPConfig, given, where)
    if not stand_in:
        return published_btp(settings, encoder, text_tower)
    if encoder or text_tower:
        raise ZeroflawError("stand-in weights were asked for and files of weights given; choose")
    btp = BTP(settings)
    small = TextConfig(width=64, depth=2, heads=1, projection=settings.text_space)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(STAND_IN)
        btp.encoder.load_state_dict(PointBERT(settings.encoder()).state_dict())
        tower = TextTower(small)
    btp.learn_prompts(tower)
    return btp


def read_settings(config: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises ZeroflawError for what is not one."""
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ZeroflawError(f"{config}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ZeroflawError(f"{config}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise ZeroflawError(
            f'{config}: expected a JSON object of settings, like {{"points": 1024}}'
        )
    return values
