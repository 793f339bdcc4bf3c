"""Methods at the start of their training, with the frozen parts that they build upon."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from zeroflaw.checkpoint import build_config
from zeroflaw.encoders.clip import CLIPConfig, CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.pointbert import PointBERT
from zeroflaw.encoders.pointnet2 import PointNet2Config, load_pointnet2
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.encoders.weights import path_of
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Method
from zeroflaw.methods.btp import BTP, BTPConfig
from zeroflaw.methods.btp_published import find_published, published_btp
from zeroflaw.methods.gs_clip import GSCLIP
from zeroflaw.methods.view_published import find_clip, published_views
from zeroflaw.methods.views import ViewConfig, ViewMethod
from zeroflaw.types import ZeroflawError

POINTNET = "pointnet2-s3dis"
ONE_FILE = "{}: both towers are in the one file of CLIP; give it as the encoder's weights"
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
    of the published weights, by default those that `zeroflaw weights` keeps; a view-based method
    takes CLIP's one file as the encoder's. stand_in: random ones instead, always the same, for
    trying things out without a download. Raises ZeroflawError for a method that is not trained on a
    folder, for unknown settings, and for a missing file, saying how to get it.
    """
    if method not in STARTS:
        able = ", ".join(STARTS)
        raise ZeroflawError(f"{method!r} cannot be trained on a folder of scans; {able} can")
    given = read_settings(config) if isinstance(config, Path) else config or {}
    where = str(config) if isinstance(config, Path) else method
    if stand_in and (encoder or text_tower):
        raise ZeroflawError("stand-in weights were asked for and files of weights given; choose")
    if METHODS[method] is not BTP and text_tower:
        raise ZeroflawError(ONE_FILE.format(method))
    return STARTS[method](METHODS[method], Given(given, where, encoder, text_tower, stand_in))


@dataclass(frozen=True)
class Given:
    """What a method is started with. where: the source of the settings, for messages."""

    settings: Mapping[str, Any]
    where: str
    encoder: Path | None
    text_tower: Path | None
    stand_in: bool


def start_btp(kind: Any, given: Given) -> Method:
    """Return BTP with ULIP-2's encoder and OpenCLIP's text tower, or with random ones."""
    settings: BTPConfig = build_config(kind.Config, given.settings, given.where)
    if not given.stand_in:
        return published_btp(settings, given.encoder, given.text_tower)
    btp = BTP(settings)
    small = TextConfig(width=64, depth=2, heads=1, projection=settings.text_space)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(STAND_IN)
        btp.encoder.load_state_dict(PointBERT(settings.encoder()).state_dict())
        tower = TextTower(small)
    btp.learn_prompts(tower)
    return btp


def start_views(kind: Any, given: Given) -> Method:
    """Return a view-based method with CLIP's towers, or with small random ones.

    Settings that name CLIP's sizes are kept to; else they are the file's or the stand-in's.
    """
    settings: ViewConfig = build_config(kind.Config, given.settings, given.where)
    own_sizes = "clip" in given.settings
    if not given.stand_in:
        return published_views(kind, settings, given.encoder, own_sizes)
    if not own_sizes:
        settings = replace(settings, clip=CLIPConfig.small())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(STAND_IN)
        towers = CLIPVisual(settings.clip), CLIPText(settings.clip)
    method: ViewMethod = kind(settings)
    method.use_clip(*towers)
    return method


def start_gs_clip(kind: Any, given: Given) -> Method:
    """Return GS-CLIP as `start_views` does, with PointNet++ from S3DIS, or with a small random one.

    Settings that name PointNet++'s sizes are kept to.
    """
    if given.stand_in:
        settings = {"pointnet": asdict(PointNet2Config.small()), **given.settings}
        return start_views(kind, replace(given, settings=settings))
    weights = path_of(POINTNET)
    method = cast(GSCLIP, start_views(kind, given))
    method.use_points(load_pointnet2(weights, method.config.pointnet))
    return method


def check_published(
    methods: Collection[str], encoder: Path | None = None, text_tower: Path | None = None
) -> None:
    """Raise ZeroflawError unless the published weights are there that the methods start from.

    encoder, text_tower: as for `start`, of all the methods.
    """
    views = sorted(set(methods) - {BTP.name})
    if encoder and views and BTP.name in methods:
        raise ZeroflawError(
            f"{encoder}: {BTP.name} and {views[0]} have different encoders; keep the files with "
            "`zeroflaw weights import`, and give none"
        )
    if text_tower and views:
        raise ZeroflawError(ONE_FILE.format(views[0]))
    if BTP.name in methods:
        find_published(encoder, text_tower)
    if views:
        find_clip(encoder)
    if GSCLIP.name in methods:
        path_of(POINTNET)


STARTS: dict[str, Callable[[Any, Given], Method]] = {
    "align3d_ad": start_views,
    "btp": start_btp,
    "gs_clip": start_gs_clip,
    "pointad": start_views,
}


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
