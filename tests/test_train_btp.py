"""`zeroflaw train btp --data FOLDER` from labelled scans to a detector that needs no text tower."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from zeroflaw import checkpoint, train
from zeroflaw.encoders.text import TextTower
from zeroflaw.methods.btp import BTP
from zeroflaw.resume import Position
from zeroflaw.types import ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "points": 128,
    "groups": 16,
    "patch_size": 8,
    "width": 24,
    "depth": 2,
    "heads": 2,
    "embedding": 24,
    "position_width": 16,
    "layers": [1, 2],
    "text_space": 24,
    "hidden": 16,
    "gfcm": [8, 8, 8],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))
    return path


def run(data: Path, out: Path, config: Path, **options: object) -> int:
    given: dict[str, object] = {"epochs": 2, "stand_in": True, "progress": False, **options}
    return train.run("btp", [str(data)], out, config=config, device="cpu", **given)  # type: ignore[arg-type]


def test_a_folder_becomes_a_detector_that_inspects_without_a_text_tower(
    data: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run(data, out, config) == 0
    assert capsys.readouterr().out == f"{out / 'last.safetensors'}\n"

    def no_tower(*_: object) -> None:
        raise AssertionError("a text tower was built")

    monkeypatch.setattr(TextTower, "__init__", no_tower)
    method, card = checkpoint.load(out / "last")
    assert isinstance(method, BTP)
    assert method.config.layers == (1, 2)
    assert card["trained_on"] == "4 labelled scans of scans"
    assert card["stand_in"]
    assert 0 < card["threshold"] < 1
    assert 0 < card["point_threshold"] < 1
    torch.testing.assert_close(method.get_buffer("text").norm(dim=1), torch.ones(2))
    from zeroflaw.datasets.folder import Folder

    scan = Folder(data).select()[0]
    with torch.inference_mode():
        prepared = method.prepare(scan)
        scores = method.score(method(prepared), scan, prepared)
    assert scores.point.shape == (600,)
    assert torch.isfinite(scores.point).all()


def test_an_interrupted_run_says_how_to_go_on_and_ends_the_same(
    data: Path,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(data, tmp_path / "whole", config) == 0
    undisturbed = train.train

    def disturbed(*given: object, **options: object) -> train.History:
        def interrupt(position: Position) -> None:
            if position.step == 3:
                raise KeyboardInterrupt

        return undisturbed(*given, on_step=interrupt, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "train", disturbed)
    assert run(data, tmp_path / "halved", config) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(train, "train", undisturbed)
    assert run(data, tmp_path / "halved", config) == 0
    whole, halved = (tmp_path / name / "last.safetensors" for name in ("whole", "halved"))
    assert whole.read_bytes() == halved.read_bytes()


def test_features_are_prepared_once_for_all_epochs_and_runs(
    data: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"prepare": 0, "target": 0}
    for name in counts:
        original = getattr(BTP, name)

        def counted(*given: object, name: str = name, original: object = original) -> object:
            counts[name] += 1
            return original(*given)  # type: ignore[operator]

        monkeypatch.setattr(BTP, name, counted)
    run(data, tmp_path / "a", config, cache=tmp_path / "cache")
    run(data, tmp_path / "b", config, cache=tmp_path / "cache", seed=111, epochs=3)
    assert counts == {"prepare": 4, "target": 4}


def test_validation_scans_choose_the_best_epoch(data: Path, config: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "out", config, validation=data, watch="point_auroc") == 0
    _, card = checkpoint.load(tmp_path / "out" / "best")
    assert 0 <= card["figures"]["validation_point_auroc"] <= 1
    assert 0 <= card["figures"]["validation_object_auroc"] <= 1


def test_a_training_does_not_go_on_with_other_validation_scans(
    data: Path, config: Path, tmp_path: Path
) -> None:
    run(data, tmp_path / "out", config, validation=data)
    other = tmp_path / "other"
    shutil.copytree(data / "good", other / "good")
    with pytest.raises(ZeroflawError, match="another training data"):
        run(data, tmp_path / "out", config, validation=other, watch="loss")


def test_prompts_and_heads_are_learned_the_encoder_is_not(
    data: Path, config: Path, tmp_path: Path
) -> None:
    run(data, tmp_path / "short", config, epochs=1, batch=4)
    run(data, tmp_path / "long", config, epochs=5)
    short, long = (
        checkpoint.load(tmp_path / n / "last")[0].state_dict() for n in ("short", "long")
    )
    moved = {name for name in short if not torch.equal(short[name], long[name])}
    assert "text" in moved
    assert "patch_feature_embedder.layer_weights" in moved
    assert not any(name.startswith("encoder.") for name in moved)


def test_what_cannot_be_trained_is_said_before_any_work(
    data: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path / "nothing"))
    with pytest.raises(ZeroflawError, match="zeroflaw weights fetch ulip2-pointbert"):
        run(data, tmp_path / "out", config, stand_in=False)
    with pytest.raises(ZeroflawError, match="no such folder"):
        run(data / "none", tmp_path / "out", config)
    with pytest.raises(ZeroflawError, match="no such folder"):
        run(data, tmp_path / "out", config, validation=data / "none")
    with pytest.raises(ZeroflawError, match="'other' cannot be trained on a folder"):
        train.run("other", [str(data)], tmp_path / "out")
    config.write_text('{"colour": 1}')
    with pytest.raises(ZeroflawError, match=r"small\.json: unknown setting 'colour'"):
        run(data, tmp_path / "out", config)
    config.write_text("{")
    with pytest.raises(ZeroflawError, match=r"small\.json: not JSON"):
        run(data, tmp_path / "out", config)
