"""The view-based methods with the published weights of CLIP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from zeroflaw.encoders.clip_weights import load_clip
from zeroflaw.encoders.weights import listing, path_of
from zeroflaw.methods.views import ViewConfig, ViewMethod

CLIPS = ("clip-vit-l-336", "clip-vit-l-336-float32")  # the same weights in two files


def find_clip(clip: Path | None = None) -> Path:
    """Return the file of CLIP, the cache's if none is given.

    Raises ZeroflawError that says how to get one that is missing there.
    """
    if clip is not None:
        return clip
    here = {entry.name: path for entry, path in listing() if path is not None}
    return path_of(next((name for name in CLIPS if name in here), CLIPS[0]))


def published_views(
    kind: Any, config: ViewConfig, clip: Path | None = None, own_sizes: bool = False
) -> ViewMethod:
    """Return a view-based method of this class, ready to train, with a published CLIP.

    clip: file; by default that in the cache of weights. own_sizes: whether the configuration's
    sizes of CLIP are asked for; else they are the file's. Raises ZeroflawError that says how to
    get a missing file, or what does not fit.
    """
    blocks = config.clip.vv_layers if own_sizes else None
    visual, text = load_clip(find_clip(clip), vv_layers=blocks, precision=config.precision)
    method: ViewMethod = kind(config if own_sizes else replace(config, clip=visual.config))
    method.use_clip(visual, text)
    return method
