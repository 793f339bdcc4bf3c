"""The view-based methods through the verbs: stages, interruption, missing weights, inspection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from zeroflaw import checkpoint, train
from zeroflaw.cache import FeatureCache
from zeroflaw.cli import main
from zeroflaw.detector import Detector
from zeroflaw.encoders.clip import CLIPConfig, CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.clip_weights import save_clip
from zeroflaw.resume import Position
from zeroflaw.start import start
from zeroflaw.types import ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

CLIP = {
    "image": 56,
    "width": 32,
    "layers": 3,
    "heads": 2,
    "text_width": 32,
    "text_layers": 3,
    "text_heads": 2,
    "embedding": 32,
    "vv_layers": 2,
}
SMALL = {"clip": CLIP, "points": 128, "precision": "float32"}
METHODS = ("align3d_ad", "pointad")
NET = {"centers": [64, 32, 16, 8], "radii": [0.3, 0.5, 0.8, 1.2], "neighbours": 8, "width": 4}


def small(method: str, folder: Path) -> Path:
    """A file with the settings of a small one."""
    own = {"cloud": 128, "pointnet": NET} if method == "gs_clip" else {}
    path = folder / f"{method}.json"
    path.write_text(json.dumps({**SMALL, **own}))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return small("pointad", tmp_path)


def run(method: str, data: Path, out: Path, config: Path, **options: object) -> int:
    given: dict[str, object] = {"epochs": 2, "stand_in": True, "progress": False, **options}
    return train.run(method, [str(data)], out, config=config, device="cpu", **given)  # type: ignore[arg-type]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)[0].state_dict()


@pytest.mark.parametrize("method", METHODS)
def test_a_folder_becomes_a_detector_that_inspects_without_a_text_tower(
    method: str, data: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(method, data, out, config) == 0

    def no_tower(*_: object) -> None:
        raise AssertionError("a text tower was built")

    monkeypatch.setattr(CLIPText, "__init__", no_tower)
    detector = Detector.load(out / "last", device="cpu")
    assert detector.card["stand_in"]
    found = detector.inspect(data / "0.npz")
    assert found.point_scores.shape == (600,)
    assert found.point_scores.std() > 0


@pytest.mark.parametrize("method", [*METHODS, "gs_clip"])
def test_evaluate_and_inspect_take_it(
    method: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, config = tmp_path / "out", small(method, tmp_path)
    assert run(method, data, out, config, epochs=1) == 0
    last = str(out / "last.safetensors")
    options = ["--data", str(data), "--out", str(tmp_path / "figures"), "--device", "cpu"]
    assert main(["evaluate", *options, "--checkpoint", last, "--method", method]) == 0
    found = json.loads((tmp_path / "figures" / "results.json").read_text())
    assert method in json.dumps(found)
    report = ["--out", str(tmp_path / "report"), "--detector", last, "--device", "cpu"]
    assert main(["inspect", str(data / "0.npz"), *report]) == 0
    capsys.readouterr()


def test_stages_have_folders_of_their_own_and_end_in_one_detector(
    data: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("align3d_ad", data, out, config, progress=True) == 0
    told = [line.split("  ")[0] for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert told == [f"{stage}: epoch {n}/2" for stage in ("align", "prompts") for n in (1, 2)]
    first, whole = weights(out / "align" / "last"), weights(out / "last")
    aligners = [name for name in whole if "aligner" in name]
    assert aligners
    assert all(torch.equal(first[name], whole[name]) for name in aligners)
    assert not torch.equal(first["text"], whole["text"])
    card = checkpoint.load(out / "last")[1]
    assert 0 < card["threshold"] < 1


@pytest.mark.parametrize(
    ("method", "at"), [("align3d_ad", 1), ("align3d_ad", 3), ("gs_clip", 1), ("gs_clip", 3)]
)
def test_an_interrupted_training_goes_on_in_its_stage_and_ends_the_same(
    method: str,
    at: int,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each stage has two steps, the second beginning with the third of all."""
    cache, config = tmp_path / "cache", small(method, tmp_path)
    assert run(method, data, tmp_path / "whole", config, cache=cache) == 0
    undisturbed, steps = train.train, []

    def disturbed(*given: object, **options: object) -> train.History:
        def interrupt(position: Position) -> None:
            steps.append(position.step)
            if len(steps) == at:
                raise KeyboardInterrupt

        return undisturbed(*given, **options, on_step=interrupt)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "train", disturbed)
    assert run(method, data, tmp_path / "cut", config, cache=cache) == 130
    monkeypatch.setattr(train, "train", undisturbed)
    assert "the same command goes on" in capsys.readouterr().err
    assert run(method, data, tmp_path / "cut", config, cache=cache) == 0
    whole, cut = weights(tmp_path / "whole" / "last"), weights(tmp_path / "cut" / "last")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_stages_have_defaults_of_their_own_and_what_is_given_wins(config: Path) -> None:
    method = start("align3d_ad", config, stand_in=True)
    alone = train.staged(method, {})
    assert [one.epochs for one in alone] == [250, 15]
    given = train.staged(method, {"epochs": 3, "seed": 7})
    assert [(one.epochs, one.seed, one.batch) for one in given] == [(3, 7, 4)] * 2
    (only,) = train.staged(start("pointad", config, stand_in=True), {})
    assert only.learning_rate == 2e-3


@pytest.mark.parametrize("method", METHODS)
def test_missing_weights_are_told_in_one_line_with_the_remedy(
    method: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(ZeroflawError, match="zeroflaw weights fetch clip-vit-l-336") as told:
        train.run(method, [str(data)], tmp_path / "out", device="cpu", progress=False)
    assert "\n" not in str(told.value)


def test_a_file_of_clip_brings_its_own_sizes(tmp_path: Path) -> None:
    sizes = CLIPConfig(**CLIP)  # type: ignore[arg-type]
    visual, text = CLIPVisual(sizes), CLIPText(sizes)
    save_clip(tmp_path / "clip.safetensors", visual, text)
    method = start("pointad", {"points": 99}, encoder=tmp_path / "clip.safetensors")
    assert method.config.clip == sizes
    assert method.config.points == 99
    stored = method.state_dict()
    for name, entry in visual.state_dict().items():
        assert torch.equal(stored[f"visual.{name}"], entry)
    assert all(not n.startswith("visual.") for n, w in method.named_parameters() if w.requires_grad)


def test_what_does_not_belong_together_is_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="both towers are in the one file of CLIP"):
        start("pointad", config, text_tower=tmp_path / "text.pt")
    with pytest.raises(ZeroflawError, match="choose"):
        start("pointad", config, encoder=tmp_path / "clip.pt", stand_in=True)
    with pytest.raises(ZeroflawError, match="unknown setting 'colour'"):
        start("pointad", {"colour": 1}, stand_in=True)


def test_fixed_texts_need_no_training_to_become_a_detector(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "fixed.json"
    config.write_text(json.dumps({**SMALL, "texts": "photo"}))
    assert run("pointad", data, tmp_path / "out", config) == 0
    assert not (tmp_path / "out" / "state.pt").exists()
    detector = Detector.load(tmp_path / "out" / "last", device="cpu")
    assert detector.inspect(data / "0.npz").point_scores.std() > 0
    assert 0 < detector.card["threshold"] < 1


def test_trained_detectors_share_what_was_prepared(
    data: Path, config: Path, tmp_path: Path
) -> None:
    """Their texts differ, and do not count."""
    for seed in (1, 2):
        assert run("pointad", data, tmp_path / str(seed), config, epochs=1, seed=seed) == 0
    names = [
        FeatureCache(checkpoint.load(tmp_path / seed / "last")[0], tmp_path / "c").method_hash
        for seed in ("1", "2")
    ]
    assert names[0] == names[1]
    assert not torch.equal(*(weights(tmp_path / seed / "last")["text"] for seed in ("1", "2")))
