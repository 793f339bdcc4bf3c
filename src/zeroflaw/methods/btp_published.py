"""BTP from published files: ready to train, or with the heads that the release's code trained."""

from __future__ import annotations

from pathlib import Path

from zeroflaw.encoders.entries import load_entries, named_tensors, read_checkpoint
from zeroflaw.encoders.pointbert import load_pointbert
from zeroflaw.encoders.text import load_text_tower
from zeroflaw.encoders.weights import listing, path_of
from zeroflaw.methods.btp import BTP, HEADS, BTPConfig
from zeroflaw.types import ZeroflawError

POINT_ENCODER = "ulip2-pointbert"
TEXT_TOWERS = ("clip-bigg", "clip-bigg-torch")  # the same weights in two files
PROMPTS = ("ctx", "token_prefix_pos", "token_suffix_pos", "token_prefix_neg", "token_suffix_neg")
BESIDE = {"prompt_learner", "epoch", "loss"}


def published_btp(
    config: BTPConfig | None = None,
    point_encoder: Path | None = None,
    text_tower: Path | None = None,
) -> BTP:
    """Return BTP ready to train: ULIP-2's point encoder, OpenCLIP's text tower, new heads.

    point_encoder, text_tower: files; by default those in the cache of weights. Raises
    ZeroflawError that says how to get a missing file, or names the entries that do not fit.
    """
    point_encoder, text_tower = find_published(point_encoder, text_tower)
    method = BTP(config)
    encoder = load_pointbert(point_encoder, method.encoder.config)
    method.encoder.load_state_dict(encoder.state_dict())
    method.learn_prompts(load_text_tower(text_tower))
    return method


def find_published(
    point_encoder: Path | None = None, text_tower: Path | None = None
) -> tuple[Path, Path]:
    """Return the files of point encoder and text tower, those of the cache if none are given.

    Raises ZeroflawError that says how to get a missing one of the cache.
    """
    if text_tower is None:
        here = {entry.name: path for entry, path in listing() if path is not None}
        name = next((name for name in TEXT_TOWERS if name in here), TEXT_TOWERS[0])
        return point_encoder or path_of(POINT_ENCODER), path_of(name)
    return point_encoder or path_of(POINT_ENCODER), text_tower


def load_released_heads(method: BTP, path: Path) -> None:
    """Load GFCM and MGFEM from a file that the release's training wrote.

    Its prompts are checked but not used: their context received no gradient there. Raises
    ZeroflawError that names every missing or unexpected entry.
    """
    content = read_checkpoint(path)
    expected = {*HEADS, *BESIDE}
    problems = []
    if missing := sorted({*HEADS, "prompt_learner"} - set(content)):
        problems.append("missing " + ", ".join(missing))
    if unexpected := sorted(set(content) - expected):
        problems.append("unexpected " + ", ".join(unexpected))
    if not problems:
        found = set(named_tensors(content["prompt_learner"], path))
        wanted = set(PROMPTS)
        for word, names in (("missing", wanted - found), ("unexpected", found - wanted)):
            if names:
                listed = ", ".join(f"prompt_learner.{name}" for name in sorted(names))
                problems.append(f"{word} {listed}")
    if problems:
        raise ZeroflawError(f"{path}: entries do not fit: {'; '.join(problems)}")
    for name in HEADS:
        entries = named_tensors(content[name], path)
        load_entries(method.get_submodule(name), entries, path, f"{name}.{{}}".format)
