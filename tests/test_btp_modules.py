"""BTP without one of its modules or losses, as the paper's ablation has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from zeroflaw import checkpoint
from zeroflaw.cache import FeatureCache
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.methods.btp import BTP, BTPConfig
from zeroflaw.types import Scan, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = BTPConfig(
    points=128,
    groups=24,
    patch_size=16,
    width=16,
    depth=2,
    heads=2,
    embedding=8,
    position_width=8,
    layers=(1, 2),
    text_space=16,
    hidden=16,
    gfcm=(8, 8, 16),
)
ABLATIONS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "MGFEM only": ({"modules": "mgfem"}, {"focal", "dice", "object"}),
    "GFCM only": ({"modules": "gfcm"}, {"focal", "dice", "object", "geometric"}),
    "baseline": ({"modules": "none"}, {"object"}),
    "without geometric loss": ({"geometric_weight": 0.0}, {"focal", "dice", "object"}),
    "without local loss": ({"local_weight": 0.0}, {"object", "geometric"}),
    "without global loss": ({"object_weight": 0.0}, {"focal", "dice", "geometric"}),
}


def ready(**changes: Any) -> BTP:
    torch.manual_seed(0)
    method = BTP(replace(SMALL, **changes))
    method.learn_prompts(TextTower(TextConfig(width=16, depth=2, heads=2, projection=16)))
    return method.train()


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_what_is_switched_off_is_gone_and_all_that_is_left_learns(
    ablation: str, dented_sphere: Scan
) -> None:
    changes, expected = ABLATIONS[ablation]
    method = ready(**changes)
    prepared = method.prepare(dented_sphere)
    terms = method.losses(method(prepared), method.target(dented_sphere, prepared))
    assert set(terms) == expected
    sum(terms.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    idle = [
        name
        for name, weight in method.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.abs().max() > 0)
    ]
    assert not idle
    grouped = {id(one) for group in method.parameter_groups() for one in group["params"]}
    assert grouped == {id(one) for one in method.parameters() if one.requires_grad}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_it_scores_and_is_saved_and_loaded_like_the_whole(
    ablation: str, dented_sphere: Scan, tmp_path: Path
) -> None:
    method = ready(**ABLATIONS[ablation][0]).eval()
    checkpoint.save(tmp_path / "part", method, {})
    loaded, _ = checkpoint.load(tmp_path / "part")
    prepared = method.prepare(dented_sphere)
    with torch.no_grad():
        ours = method.score(method(prepared), dented_sphere, prepared)
        theirs = loaded.score(loaded(prepared), dented_sphere, prepared)
    assert ours.point.shape == (len(dented_sphere),)
    torch.testing.assert_close(theirs.point, ours.point, atol=1e-6, rtol=0)
    assert theirs.object == pytest.approx(ours.object, abs=1e-6)


def test_the_baseline_gives_every_point_the_scans_score(dented_sphere: Scan) -> None:
    method = ready(modules="none").eval()
    prepared = method.prepare(dented_sphere)
    scores = method.score(method(prepared), dented_sphere, prepared)
    assert max(scores.point.tolist()) == min(scores.point.tolist()) == scores.object


def test_without_any_loss_there_is_no_method() -> None:
    for settings in ({"local_weight": 0, "object_weight": 0}, {"modules": "none"}):
        with pytest.raises(ZeroflawError, match="neither the points nor the objects have a loss"):
            checkpoint.build_config(BTPConfig, {"object_weight": 0, **settings}, "here")


def test_ablations_share_their_features_and_other_samplings_do_not(tmp_path: Path) -> None:
    whole = FeatureCache(ready(), tmp_path).method_hash
    for changes, _ in ABLATIONS.values():
        assert FeatureCache(ready(**changes), tmp_path).method_hash == whole
    assert FeatureCache(ready(rule="max"), tmp_path).method_hash == whole
    assert FeatureCache(ready(descriptor="sampled"), tmp_path).method_hash != whole
    assert FeatureCache(ready(points=64), tmp_path).method_hash != whole


def test_preparing_a_scan_before_training_leaves_the_frozen_encoder_as_it_is(
    dented_sphere: Scan,
) -> None:
    method = BTP(SMALL)
    before = {name: entry.clone() for name, entry in method.encoder.state_dict().items()}
    method.prepare(dented_sphere)
    for name, entry in method.encoder.state_dict().items():
        assert entry.equal(before[name]), name
