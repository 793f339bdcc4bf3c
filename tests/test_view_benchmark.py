"""The benchmark of the view-based methods: its stand-in for CLIP learns, and its rows differ."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import clip_stand_in, view_methods
from benchmarks.clip_stand_in import (
    CLEAR,
    CONFIG,
    PART,
    STYLES,
    Pairs,
    StandIn,
    kept_pictures,
    seen_by,
    stand_in,
    style_tokens,
    turned,
)
from benchmarks.scan_intervals import drawn_aurocs, intervals
from benchmarks.view_methods import MENDED, ROWS, SWITCHED, SWITCHES, make_scans

from zeroflaw.datasets.base import GOOD
from zeroflaw.datasets.synthetic_pairs import HELD_OUT_SOLIDS
from zeroflaw.encoders.clip import CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.clip_weights import load_clip
from zeroflaw.methods.clip_prompts import ANOMALOUS_WORDS, FIXED, NORMAL_WORDS
from zeroflaw.methods.gs_clip import GSCLIPConfig
from zeroflaw.metrics.ranking import auroc
from zeroflaw.reports.stored import StoredScores

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = replace(CONFIG, image=84, patch=14, width=32, heads=2, layers=2, vv_layers=1, text_layers=1)


def drawn_pictures(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Grey pictures whose defects are black squares, each with a sound twin."""
    torch.manual_seed(seed)
    size = SMALL.image
    mask = torch.zeros(count, 4, size, size, dtype=torch.bool)
    for number in range(count):
        for view in range(2):
            row, column = (int(one) for one in torch.randint(size - 28, (2,)))
            mask[number, view, row : row + 28, column : column + 28] = True
    grey = torch.randint(150, 200, mask.shape, dtype=torch.uint8)
    dark = torch.where(mask, torch.zeros_like(grey), grey)
    return {"shade": dark, "depth": dark.clone(), "mask": mask, "kind": torch.arange(count) % 3}


def told_apart(visual: CLIPVisual, text: CLIPText) -> float:
    """The AUROC of a stand-in's patches on pictures that it has not seen."""
    method = StandIn(visual.config)
    method.visual.load_state_dict(visual.state_dict())
    method.language.load_state_dict(text.state_dict())
    return seen_by(method, drawn_pictures(4, seed=9))["patch_shade"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in learns from squares, which takes seconds."""

    def made(scans: object, numbers: range, size: int) -> dict[str, torch.Tensor]:
        return drawn_pictures(len(numbers))

    monkeypatch.setattr(clip_stand_in, "pictures_of", made)


@pytest.mark.usefixtures("drawn")
def test_the_stand_in_learns_and_is_a_clip_like_any_other(tmp_path: Path) -> None:
    path = stand_in(tmp_path, 8, 8, SMALL, show=False)
    visual, text = load_clip(path)
    assert visual.config == SMALL
    assert told_apart(visual, text) > 0.9


@pytest.mark.usefixtures("drawn")
def test_a_stand_in_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    path = stand_in(tmp_path, 2, 1, SMALL, show=False)
    written = path.stat().st_mtime_ns
    assert stand_in(tmp_path, 2, 1, SMALL, show=False).stat().st_mtime_ns == written


def test_pictures_of_a_pair_show_the_defect_in_the_first_half_alone() -> None:
    scans = clip_stand_in.clear_scans("train", 1)
    pictures = clip_stand_in.pictures_of(scans, range(1), 56)
    mask, shade = pictures["mask"], pictures["shade"]
    half = mask.shape[1] // 2
    assert mask[:, :half].flatten(2).any(dim=2)[0, 0]
    assert not mask[:, half:].any()
    bad, good = shade[:, :half].int(), shade[:, half:].int()
    assert (bad - good)[mask[:, :half]].abs().sum() > 0
    assert CLEAR.kinds[int(pictures["kind"][0])] == scans.pair(0)[2].kind


@pytest.mark.usefixtures("drawn")
def test_pictures_are_made_once_and_more_of_them_join_those(tmp_path: Path) -> None:
    few = kept_pictures(tmp_path, "train", 3, SMALL.image)
    (path,) = tmp_path.rglob("*.safetensors")
    written = path.stat().st_mtime_ns
    again = kept_pictures(tmp_path, "train", 2, SMALL.image)
    assert path.stat().st_mtime_ns == written
    assert torch.equal(again["mask"], few["mask"][:2])
    assert len(kept_pictures(tmp_path, "train", PART + 1, SMALL.image)["mask"]) == PART + 1


def test_every_epoch_shows_each_view_once_with_its_twins() -> None:
    pictures = drawn_pictures(5)
    pairs = Pairs(pictures)
    assert len(pairs) == 10
    for epoch in (0, 1):
        items = [item for item, _ in pairs.epoch(epoch, range(10))]
        bad, good = zip(*(item["mask"][0] for item in items), strict=True)
        assert not any(one.any() for one in good)
        shown = sorted(one.nonzero()[0].tolist() for one in bad)
        assert shown == sorted(
            one.nonzero()[0].tolist() for one in pictures["mask"][:, :2].flatten(0, 1)
        )


def test_the_stand_in_has_read_none_of_the_words_of_the_methods_texts() -> None:
    read = {int(token) for style in STYLES for token in style_tokens(style).flatten()}
    told = [
        words for style in FIXED.values() for state in style for text in state for words in text
    ]
    common = {320, 539, 269, 1125, 10350, 3923}  # "a", "of", ".", "photo", "depth", "map"
    assert not read & (set(told) - common)
    assert not read & {*NORMAL_WORDS, *ANOMALOUS_WORDS}


def test_turned_pictures_keep_their_masks() -> None:
    pictures = drawn_pictures(3)["mask"][:, 0].float()
    torch.manual_seed(0)
    shown, mask = turned(torch.stack([pictures, pictures]))
    assert torch.equal(shown, mask)
    assert not torch.equal(shown, pictures)
    assert shown.sum() == pictures.sum()


def test_intervals_hold_the_figure_and_narrow_with_more_scans() -> None:
    widths = []
    for pairs in (8, 64):
        stored = drawn_scores(pairs)
        found = intervals(stored)
        low, high = found["object_auroc"]
        whole = auroc([one.object for one in stored], [one.defective for one in stored])
        assert low < whole < high
        points = np.concatenate([one.point for one in stored])
        low_point, high_point = found["point_auroc"]
        assert low_point < auroc(points, np.concatenate([one.label for one in stored])) < high_point
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


def test_the_aurocs_of_draws_are_those_of_their_scans() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.random(40).round(1), rng.random(40) < 0.3) for _ in range(4)]
    times = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    for found, row in zip(drawn_aurocs(pairs, times), times, strict=True):
        chosen = [pair for pair, count in zip(pairs, row, strict=True) for _ in range(count)]
        scores, labels = (np.concatenate([pair[n] for pair in chosen]) for n in (0, 1))
        assert found == pytest.approx(auroc(scores, labels))


def drawn_scores(pairs: int) -> list[StoredScores]:
    """Scores of defective scans, somewhat higher than those of their twins."""
    rng = np.random.default_rng(pairs)
    found = []
    for number in range(pairs):
        for kind in ("dent", GOOD):
            label = (np.arange(50) < 10) & (kind != GOOD)
            point = (rng.random(50) + 0.5 * label).astype(np.float32)
            whole = 0.3 * (kind != GOOD) + 0.7 * float(rng.random())
            found.append(
                StoredScores(
                    name=f"cup/{number:04d}_{kind}",
                    category="cup",
                    kind=kind,
                    identity="",
                    seconds=0.0,
                    object=whole,
                    point=point,
                    label=label,
                    region=np.where(label, 0, -1),
                    sampled=np.arange(5),
                    preview_index=np.arange(1),
                    preview_points=np.zeros((1, 3), np.float32),
                )
            )
    return found


def test_scans_are_of_held_out_families_and_made_once(tmp_path: Path) -> None:
    folder = make_scans(tmp_path, "test", 2)
    entries = folder.select().entries
    assert {HELD_OUT_SOLIDS[entry.category] for entry in entries} == {"test"}
    for entry in entries:
        labels = folder.read(entry).labels
        assert labels is not None
        assert labels.any() == (entry.kind != GOOD)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.ply")}
    again = make_scans(tmp_path, "test", 2)
    assert len(again.select()) == len(written) == 4
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())


def test_every_row_of_the_mending_switches_one_setting_and_the_last_all() -> None:
    mended, release = asdict(MENDED), asdict(GSCLIPConfig.release())
    for name in SWITCHED:
        config = asdict(ROWS[name].config)
        changed = {key for key, value in config.items() if value != mended[key]}
        assert changed == ({name} if name in SWITCHES else set(SWITCHES))
        assert all(config[key] == release[key] for key in changed)


@pytest.mark.usefixtures("drawn")
def test_a_row_is_measured_once_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_methods, "DRAWS", 2)
    clip = stand_in(tmp_path / "clip", 2, 1, SMALL, show=False)
    given = ["--out", str(tmp_path), "--clip", str(clip), "--pairs", "1", "--held-out", "1"]
    given += [
        "--share",
        "0.02",
        "--only",
        "across_views",
        "unlearned",
        "--table",
        str(tmp_path / "table.md"),
    ]
    assert view_methods.main(given) == 0
    first = capsys.readouterr().out
    trained = tmp_path / "trained" / "across_views" / "views" / "log.csv"
    trained.unlink()
    assert view_methods.main(given) == 0
    assert not trained.exists()
    written = (tmp_path / "table.md").read_text(encoding="utf-8")
    again = capsys.readouterr().out
    for title in ("length 1", "before training |"):
        row = next(line for line in first.splitlines() if title in line)
        assert row in again
        assert row in written
    kept = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["unlearned"]
    low, high = kept["intervals"]["point_auroc"]
    assert low < kept["point_auroc"] < high
