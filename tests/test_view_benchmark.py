"""The benchmark of the view-based methods: its stand-in for CLIP learns, and its rows differ."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from benchmarks import clip_stand_in, view_methods
from benchmarks.clip_stand_in import CONFIG, StandIn, as_items, stand_in
from benchmarks.view_methods import MENDED, ROWS, SWITCHED, SWITCHES, make_scans

from zeroflaw.datasets.base import GOOD
from zeroflaw.datasets.synthetic_pairs import HELD_OUT_SOLIDS
from zeroflaw.encoders.clip_weights import load_clip
from zeroflaw.methods.base import Prepared
from zeroflaw.methods.gs_clip import GSCLIPConfig

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = replace(CONFIG, width=32, heads=2, layers=2, vv_layers=1, text_layers=1)


def drawn_pictures(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Grey pictures whose defects are black squares, two sound ones behind two defective ones."""
    torch.manual_seed(seed)
    size = SMALL.image
    mask = torch.zeros(count, 4, size, size, dtype=torch.bool)
    for number in range(count):
        for view in range(2):
            row, column = (int(one) for one in torch.randint(size - 28, (2,)))
            mask[number, view, row : row + 28, column : column + 28] = True
    grey = torch.randint(150, 200, mask.shape, dtype=torch.uint8)
    dark = torch.where(mask, torch.zeros_like(grey), grey)
    return {"shade": dark, "depth": dark.clone(), "mask": mask}


def patch_gap(method: StandIn, pictures: dict[str, torch.Tensor]) -> float:
    """How much higher the logits of wholly defective patches are than those of sound ones."""
    method.eval()
    with torch.no_grad():
        seen = method(Prepared(pictures)).tensors
    share, logit = seen["share"], seen["patch"]
    return float(logit[share > 0.9].mean() - logit[share == 0].mean())


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in learns from squares, which takes seconds."""

    def made(scans: object, count: int, size: int) -> dict[str, torch.Tensor]:
        return drawn_pictures(count)

    monkeypatch.setattr(clip_stand_in, "pictures_of", made)


@pytest.mark.usefixtures("drawn")
def test_the_stand_in_learns_and_is_a_clip_like_any_other(tmp_path: Path) -> None:
    unseen = drawn_pictures(2, seed=9)
    before = patch_gap(StandIn(SMALL), unseen)
    path = stand_in(tmp_path, 4, 6, SMALL, show=False)
    visual, text = load_clip(path)
    assert visual.config == SMALL
    method = StandIn(SMALL)
    method.visual.load_state_dict(visual.state_dict())
    method.language.load_state_dict(text.state_dict())
    assert patch_gap(method, unseen) > before + 1


@pytest.mark.usefixtures("drawn")
def test_a_stand_in_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    path = stand_in(tmp_path, 2, 1, SMALL, show=False)
    written = path.stat().st_mtime_ns
    assert stand_in(tmp_path, 2, 1, SMALL, show=False).stat().st_mtime_ns == written


def test_pictures_of_a_pair_show_the_defect_in_the_first_half_alone() -> None:
    pictures = clip_stand_in.pictures_of(clip_stand_in.clear_scans("train", 1), 1, 56)
    mask, shade = pictures["mask"], pictures["shade"]
    half = mask.shape[1] // 2
    assert mask[:, :half].flatten(2).any(dim=2)[0, 0]
    assert not mask[:, half:].any()
    bad, good = shade[:, :half].int(), shade[:, half:].int()
    assert (bad - good)[mask[:, :half]].abs().sum() > 0
    assert len(as_items(pictures)) == 1


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
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = stand_in(tmp_path / "clip", 2, 1, SMALL, show=False)
    given = ["--out", str(tmp_path), "--clip", str(clip), "--pairs", "1", "--held-out", "1"]
    given += ["--share", "0.02", "--only", "across_views", "--table", str(tmp_path / "table.md")]
    assert view_methods.main(given) == 0
    first = capsys.readouterr().out
    trained = tmp_path / "trained" / "across_views" / "views" / "log.csv"
    trained.unlink()
    assert view_methods.main(given) == 0
    assert not trained.exists()
    row = next(line for line in first.splitlines() if "length 1" in line)
    assert row in capsys.readouterr().out
    assert row in (tmp_path / "table.md").read_text(encoding="utf-8")
