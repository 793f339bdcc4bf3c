"""What every method promises, held over the dictionary METHODS.

A method joins by its entry in SMALL: the smallest configuration that still has all its parts.
"""

from __future__ import annotations

import builtins
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroflaw import checkpoint
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.types import Scan, ZeroflawError

CLIP: dict[str, Any] = {
    "image": 56,
    "width": 32,
    "layers": 3,
    "heads": 2,
    "text_width": 32,
    "text_layers": 3,
    "text_heads": 2,
    "vocabulary": 49408,
    "embedding": 32,
    "vv_layers": 2,
}
SMALL: dict[str, dict[str, Any]] = {
    "btp": {
        "points": 256,
        "groups": 48,
        "patch_size": 16,
        "width": 32,
        "depth": 3,
        "heads": 2,
        "embedding": 16,
        "position_width": 16,
        "layers": [1, 2, 3],
        "text_space": 16,
        "hidden": 16,
        "gfcm": [8, 8, 16],
    },
    "compact": {
        "dense": 5000,
        "groups": 48,
        "size": 16,
        "width": 32,
        "depth": 2,
        "heads": 2,
        "hidden": 16,
        "embedding": 16,
        "layers": [1, 2],
        "text_width": 16,
    },
    "align3d_ad": {"clip": CLIP, "points": 512, "precision": "float32"},
    "gs_clip": {
        "clip": CLIP,
        "points": 512,
        "precision": "float32",
        "cloud": 300,
        "pointnet": {
            "centers": [64, 32, 16, 8],
            "radii": [0.3, 0.5, 0.8, 1.2],
            "neighbours": 8,
            "width": 4,
        },
        "prototypes": 8,
        "point_heads": 2,
        "lora_rank": 2,
    },
    "pointad": {"clip": CLIP, "points": 512, "precision": "float32"},
}
# The same where the method looks at fewer points than the test's scans have.
THINNED: dict[str, dict[str, Any]] = {"compact": {"dense": 1024}}
TOLERANCE = 1e-3
# What does not change the scores, unless the method's `invariances` name fewer and it says why.
INVARIANCES = ("order", "position", "scale", "rotation")


def build(name: str, seed: int = 0, **changes: Any) -> Method:
    """The method in its small configuration, weights drawn from the seed, ready to inspect."""
    kind: Any = METHODS[name]
    torch.manual_seed(seed)
    config = checkpoint.build_config(kind.Config, {**SMALL[name], **changes}, name)
    method: Method = kind(config)
    method.finish()
    return method.eval()


def ready_to_train(name: str) -> Method:
    """The same in training, with the text tower that some methods take from a file."""
    method: Any = build(name)
    if "clip" in SMALL[name]:
        method.learn_prompts(CLIPText(method.config.clip))
    elif hasattr(method, "learn_prompts"):
        config = TextConfig(width=16, depth=2, heads=2, projection=SMALL[name]["text_space"])
        method.learn_prompts(TextTower(config))
    trained: Method = method.train()
    return trained


def inspect(method: Method, scan: Scan) -> tuple[NDArray[np.float32], float]:
    """Scores of the points and of the scan."""
    with torch.inference_mode():
        device = next(method.parameters()).device
        prepared = method.prepare(scan).to(device)
        scores = method.score(method(prepared), scan, prepared)
    return scores.point.cpu().numpy(), scores.object


@pytest.fixture(params=sorted(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    assert request.param in SMALL, f"give {request.param} a small configuration in SMALL"
    return str(request.param)


def test_a_method_is_listed_under_its_own_name(name: str) -> None:
    assert METHODS[name].name == name


def test_there_is_one_score_between_0_and_1_for_every_point(name: str, dented_sphere: Scan) -> None:
    points, score = inspect(build(name), dented_sphere)
    assert points.shape == (len(dented_sphere),)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    assert points.min() >= 0
    assert points.max() <= 1
    assert 0 <= score <= 1


def test_a_score_says_something_of_its_own_point(name: str, dented_sphere: Scan) -> None:
    points, _ = inspect(build(name), dented_sphere)
    assert points.std() > 0


def test_the_same_scan_gets_the_same_scores_bit_for_bit(name: str, dented_plate: Scan) -> None:
    first, first_score = inspect(build(name), dented_plate)
    second, second_score = inspect(build(name), dented_plate)
    np.testing.assert_array_equal(first, second)
    assert first_score == second_score


def test_permuting_the_points_permutes_the_scores(name: str, dented_plate: Scan) -> None:
    method = build(name)
    order = np.random.default_rng(3).permutation(len(dented_plate))
    straight, straight_score = inspect(method, dented_plate)
    mixed, mixed_score = inspect(method, Scan(dented_plate.points[order]))
    np.testing.assert_allclose(mixed, straight[order], atol=TOLERANCE)
    assert mixed_score == pytest.approx(straight_score, abs=TOLERANCE)


def invariances(name: str) -> tuple[str, ...]:
    """What the method promises not to react to."""
    promised: tuple[str, ...] = getattr(METHODS[name], "invariances", INVARIANCES)
    return promised


def test_a_method_that_reacts_to_more_says_so(name: str) -> None:
    assert set(invariances(name)) <= set(INVARIANCES)
    assert "order" in invariances(name)
    if "rotation" not in invariances(name):
        assert "turning" in (METHODS[name].__doc__ or "")


def turn(axis: tuple[float, float, float], angle: float) -> NDArray[np.float64]:
    """Rotation by `angle` about `axis`, (3, 3)."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


MOTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "position": lambda points: points + np.array([5e5, 4e6, -200.0]),
    "scale": lambda points: points * 1000,
    "rotation": lambda points: points @ turn((1.0, 2.0, -0.5), 1.1).T,
}


def check_motion(method: Method, motion: str, scan: Scan) -> None:
    still, still_score = inspect(method, scan)
    moved, moved_score = inspect(method, Scan(MOTIONS[motion](scan.points)))
    np.testing.assert_allclose(moved, still, atol=TOLERANCE)
    assert moved_score == pytest.approx(still_score, abs=TOLERANCE)


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_and_scale_do_not_change_the_scores(
    name: str, motion: str, dented_plate: Scan
) -> None:
    if motion not in invariances(name):
        pytest.skip(f"{name} reads coordinates, as its docstring says")
    check_motion(build(name), motion, dented_plate)


@pytest.mark.parametrize("motion", ["position", "scale"])
@pytest.mark.parametrize("thinned", sorted(THINNED))
def test_nor_do_they_where_the_scan_is_thinned(
    thinned: str, motion: str, dented_plate: Scan
) -> None:
    """Turning is left out: thinning keeps one point per cell of a grid along the scan's axes."""
    check_motion(build(thinned, **THINNED[thinned]), motion, dented_plate)


def training_step(method: Method, stage: str, scan: Scan) -> dict[str, Tensor]:
    """The loss terms on the scan in the last epoch of a stage."""
    method.begin_stage(stage)
    method.begin_epoch(99, 100)
    prepared = method.prepare(scan)
    target = method.target(scan, prepared)
    made = {"kind": torch.zeros_like(target.point, dtype=torch.int64), "away": target.point}
    extra = {**made, **target.tensors}
    return method.losses(method(prepared), Target(target.point, target.object, extra))


def stages(method: Method) -> list[str]:
    """The names of its training's stages, one without a name where there are none."""
    return [stage.name for stage in method.stages()] or [""]


def test_every_loss_term_reaches_a_weight_and_every_weight_learns(
    name: str, dented_sphere: Scan
) -> None:
    method = ready_to_train(name)
    ever: set[str] = set()
    for stage in stages(method):
        terms = training_step(method, stage, dented_sphere)
        weights = {n: weight for n, weight in method.named_parameters() if weight.requires_grad}
        assert weights
        learning: set[str] = set()
        for term, value in terms.items():
            assert value.ndim == 0
            gradients = torch.autograd.grad(
                value, list(weights.values()), retain_graph=True, allow_unused=True
            )
            reached = {
                n
                for n, gradient in zip(weights, gradients, strict=True)
                if gradient is not None and bool(gradient.abs().max() > 0)
            }
            assert reached, f"the loss term {term} reaches no weight"
            learning |= reached
        assert learning == set(weights), f"never learn: {sorted(set(weights) - learning)}"
        ever |= learning
    assert {n for n, weight in method.named_parameters() if weight.requires_grad} <= ever


def test_a_process_without_an_item_of_a_batch_can_join_the_others(
    name: str, dented_sphere: Scan
) -> None:
    """Whatever `forward` gives has a leading batch axis, and a batch may be empty."""
    method = ready_to_train(name)
    prepared = method.prepare(dented_sphere)
    several, none = Prepared.stack([prepared] * 3), prepared.first(0)
    for stage in stages(method):
        method.begin_stage(stage)
        for batch, rows in ((several, 3), (none, 0)):
            evidence = method(batch)
            seen = [evidence.object_logit, evidence.point_logit, *evidence.tensors.values()]
            assert [len(tensor) for tensor in seen] == [rows] * len(seen)
        torch.autograd.backward(sum(tensor.sum() for tensor in seen if tensor.requires_grad))
        for weight in method.parameters():
            assert weight.grad is None or not weight.grad.any()


def test_every_trainable_weight_is_in_one_group_of_the_optimiser(name: str) -> None:
    method = ready_to_train(name)
    for stage in stages(method):
        method.begin_stage(stage)
        grouped = [id(weight) for group in method.parameter_groups() for weight in group["params"]]
        trainable = {id(weight) for weight in method.parameters() if weight.requires_grad}
        assert len(grouped) == len(set(grouped))
        assert set(grouped) == trainable


def test_saved_and_loaded_it_gives_the_same_scores(
    name: str, dented_sphere: Scan, tmp_path: Path
) -> None:
    method = build(name, seed=5)
    checkpoint.save(tmp_path / "detector", method, {"threshold": 0.4})
    loaded, card = checkpoint.load(tmp_path / "detector")
    assert card["method"] == name
    assert type(loaded) is METHODS[name]
    points, score = inspect(loaded, dented_sphere)
    trained_points, trained_score = inspect(method, dented_sphere)
    np.testing.assert_allclose(points, trained_points, atol=1e-6)
    assert score == pytest.approx(trained_score, abs=1e-6)

    checkpoint.save(tmp_path / "again", loaded, {})
    again, _ = checkpoint.load(tmp_path / "again")
    np.testing.assert_array_equal(inspect(again, dented_sphere)[0], points)
    assert inspect(again, dented_sphere)[1] == score


def test_what_is_saved_holds_no_text_tower(name: str) -> None:
    method = ready_to_train(name)
    kept = sum(entry.numel() for entry in method.inspection_state().values())
    assert kept <= sum(entry.numel() for entry in method.state_dict().values())
    if not getattr(method, "texts_of_the_scan", False):  # else inspection makes new ones
        assert not [entry for entry in method.inspection_state() if "tower" in entry]
    assert set(method.inspection_state()) == set(build(name).inspection_state())


def test_the_constructor_touches_neither_disk_nor_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(name)  # what torch itself loads at the first use is not the method's

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"touched {args}")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    build(name)


def test_its_configuration_builds_it_again(name: str) -> None:
    method = build(name)
    again = type(method)(method.config)
    assert {n: w.shape for n, w in again.state_dict().items()} == {
        n: w.shape for n, w in method.state_dict().items()
    }


def test_training_on_a_scan_without_labels_is_refused(name: str, dented_sphere: Scan) -> None:
    method = build(name)
    bare = replace(dented_sphere, labels=None)
    with pytest.raises(ZeroflawError, match="labels"):
        method.target(bare, method.prepare(bare))


def test_the_labels_follow_the_points(name: str, dented_sphere: Scan) -> None:
    method = build(name)
    prepared = method.prepare(dented_sphere)
    target = method.target(dented_sphere, prepared)
    assert dented_sphere.labels is not None
    expected = dented_sphere.labels[prepared["index"][0].numpy()]
    np.testing.assert_array_equal(target.point[0].numpy() > 0.5, expected)
    assert target.object.tolist() == [1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_scores_of_the_cpu(name: str, dented_plate: Scan) -> None:
    method = build(name)
    on_cpu, cpu_score = inspect(method, dented_plate)
    on_gpu, gpu_score = inspect(method.to("cuda"), dented_plate)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-4)
    assert gpu_score == pytest.approx(cpu_score, abs=1e-4)
