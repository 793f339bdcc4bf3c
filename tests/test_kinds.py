"""Regions get a name, and a detector can be asked for one kind of defect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from conftest import dent, sphere_points
from peak_method import Peak, peak_checkpoint
from zeroflaw import checkpoint
from zeroflaw.cli import main
from zeroflaw.detector import Detector
from zeroflaw.geometry.regions import describe_regions
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Evidence, Prepared, Scores
from zeroflaw.methods.compact_text import KIND_PROMPTS
from zeroflaw.methods.kinds import SYNONYMS, PointKinds, find_kind, name_regions
from zeroflaw.types import Scan, ZeroflawError

KINDS = tuple(KIND_PROMPTS)


SURE = 0.8


class Sided(Peak):
    """Calls what sticks out a bulge above the middle of the scan, and excess below it."""

    name = "sided"
    kinds = ("bulge", "excess", "dent")

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        above = torch.from_numpy(scan.points[:, 2] > np.median(scan.points[:, 2])).double()
        first = SURE * above + (1 - SURE) / 2 * (1 - above)
        second = SURE * (1 - above) + (1 - SURE) / 2 * above
        kind = torch.stack([first, second, 1 - first - second], dim=1)
        return replace(super().score(evidence, scan, prepared), kind=kind)


def twice_bulged(count: int = 4000) -> NDArray[np.float64]:
    """A sphere of radius 10 with a bulge on top and a lower one at its bottom."""
    points = sphere_points(count) * 10
    points = dent(points, (0, 0, 10), 4, (0, 0, 6))[0]
    return dent(points, (0, 0, -10), 4, (0, 0, -5))[0]


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("dent", "dent"),
        ("Scratches!", "scratch"),
        ("find a deep scratch", "scratch"),
        ("bumps on the surface", "bulge"),
        ("sink marks", "dent"),
        ("missing material", "hole"),
        ("missing", "missing"),
        ("weld spatter", "excess"),
        ("broken edges", "break"),
        ("flat worn spot", "flat"),
        ("warped", "bend"),
    ],
)
def test_a_prompt_near_the_vocabulary_is_understood(prompt: str, kind: str) -> None:
    assert find_kind(prompt, KINDS) == kind


def test_every_prompt_that_the_detector_learned_from_stands_for_its_kind() -> None:
    for kind, prompts in KIND_PROMPTS.items():
        for prompt in (kind, *prompts, *SYNONYMS.get(kind, ())):
            assert find_kind(prompt, KINDS) == kind


@pytest.mark.parametrize("prompt", ["", "Kratzer", "grass", "a part", "boss", "s", "es"])
def test_a_prompt_of_no_kind_says_what_can_be_asked_for(prompt: str) -> None:
    with pytest.raises(ZeroflawError, match="ask for one of bulge, dent, hole"):
        find_kind(prompt, KINDS)


def test_a_prompt_of_two_kinds_or_of_one_that_is_not_told_is_refused() -> None:
    with pytest.raises(ZeroflawError, match="could be dent or hole"):
        find_kind("a dent or a hole", KINDS)
    with pytest.raises(ZeroflawError, match="'scratch' is no kind that this detector tells"):
        find_kind("grooves", KINDS[:8])


@pytest.mark.parametrize("prompt", ["no dent", "not a bulge", "anything but scratches"])
def test_a_prompt_that_says_what_not_to_look_for_is_refused(prompt: str) -> None:
    with pytest.raises(ZeroflawError, match="only what to look for; ask for one of"):
        find_kind(prompt, KINDS)


def test_a_very_long_prompt_is_refused_in_a_short_line() -> None:
    said = kind_or_error("dent " * 20_000)
    assert "100000 letters are too many; ask for one of bulge" in said
    assert len(said) < 500


@given(st.text())
def test_any_text_gets_a_kind_or_one_line(prompt: str) -> None:
    said = kind_or_error(prompt)
    assert said in KINDS or "ask for one of" in said
    assert len(said.splitlines()) == 1


def kind_or_error(prompt: str) -> str:
    try:
        return find_kind(prompt, KINDS)
    except ZeroflawError as error:
        return str(error)


def test_a_kind_of_another_method_needs_no_entry_anywhere() -> None:
    assert find_kind("Cold shuts", ("porosity", "cold shut")) == "cold shut"


def test_regions_are_named_each_by_its_own_points() -> None:
    found = Detector(Sided()).inspect(twice_bulged())
    upper, lower = sorted(found.regions, key=lambda one: -one.center[2])
    assert (upper.kind, lower.kind) == ("bulge", "excess")
    assert upper.kind_probability == pytest.approx(0.8)
    assert found.prompt is None


def test_a_detector_without_kinds_leaves_regions_without_names() -> None:
    (region,) = Detector(Peak()).inspect(twice_bulged()[:2000] + 5).regions[:1]
    assert region.kind is None
    assert region.kind_probability is None
    assert region.area is not None


def kinds_of(share: list[list[float]], row: list[int] | None = None, t: float = 1.0) -> PointKinds:
    rows = None if row is None else torch.tensor(row)
    count = len(share) if row is None else len(row)
    found = PointKinds.of(
        Scores(torch.zeros(count), 0.0, torch.tensor(share), rows), ("bulge", "dent"), t
    )
    assert found is not None
    return found


def test_a_regions_probability_is_softmax_of_the_mean_logits_weighted_by_score() -> None:
    shares = [[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]]
    index, weight = np.array([0, 1]), np.array([0.2, 0.6], dtype=np.float32)
    logits = np.array([0.25 * np.log(9.0) + 0.75 * np.log(4 / 6), 0.0])
    expected = np.exp(logits) / np.exp(logits).sum()
    assert kinds_of(shares).of_part(index, weight) == pytest.approx(expected)
    warm = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert kinds_of(shares, t=2.0).of_part(index, weight) == pytest.approx(warm)
    equal = kinds_of(shares).of_part(index, np.zeros(2, dtype=np.float32))
    assert equal == pytest.approx(kinds_of(shares).of_part(index, np.ones(2, dtype=np.float32)))


def test_a_place_that_was_scanned_more_densely_counts_no_more() -> None:
    shares, weight = [[0.9, 0.1], [0.2, 0.8]], np.ones(10, dtype=np.float32)
    dense = kinds_of(shares, [0] * 9 + [1]).of_part(np.arange(10), weight)
    even = kinds_of(shares, [0, 1]).of_part(np.arange(2), weight[:2])
    assert dense == pytest.approx(even)
    assert kinds_of(shares, [0] * 9 + [1]).of_points("dent") == pytest.approx([0.1] * 9 + [0.8])


def test_kinds_that_are_none_never_get_out() -> None:
    class Broken(Sided):
        bad: torch.Tensor | None = None

        def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
            return replace(super().score(evidence, scan, prepared), kind=self.bad)

    points = twice_bulged()
    method = Broken()
    for bad in (None, torch.full((len(points), 3), torch.nan), torch.ones(len(points), 2)):
        method.bad = bad
        with pytest.raises(ZeroflawError, match="detector sided gave"):
            Detector(method).inspect(points)


def test_asked_for_a_kind_scores_and_regions_are_of_it_alone() -> None:
    detector, points = Detector(Sided()), twice_bulged()
    any_kind, asked = detector.inspect(points), detector.inspect(points, prompt="bumps")
    assert asked.prompt == "bulge"
    (region,) = asked.regions
    (same,) = (one for one in any_kind.regions if one.kind == "bulge")
    assert np.array_equal(region.index, same.index)
    assert (region.kind_probability, region.height) == (same.kind_probability, same.height)
    above = points[:, 2] > np.median(points[:, 2])
    shares = np.where(above, 0.8, 0.1)
    assert np.allclose(asked.point_scores, any_kind.point_scores * shares, atol=1e-6)
    assert region.peak == asked.point_scores[region.index].max()
    assert asked.score == pytest.approx(0.8 * any_kind.score)


def test_asked_for_a_kind_that_is_not_there_the_scan_scores_low() -> None:
    detector = Detector(Sided())
    defective = detector.inspect(twice_bulged(), prompt="dent")
    assert defective.regions == ()
    assert defective.score == pytest.approx(0.1 * detector.inspect(twice_bulged()).score)
    plain = sphere_points(2000) * 10
    assert detector.inspect(plain, "dent").score <= 0.5 * detector.inspect(plain).score


def test_a_card_may_temper_the_kinds() -> None:
    plain, warm = (
        Detector(Sided(), {"kind_temperature": t}).inspect(twice_bulged()) for t in (1.0, 3.0)
    )
    for one, other in zip(plain.regions, warm.regions, strict=True):
        assert one.kind == other.kind
        assert one.kind_probability is not None
        assert other.kind_probability is not None
        assert other.kind_probability < one.kind_probability
    for bad in (0, -1.0, "hot", True, float("nan"), None):
        with pytest.raises(ZeroflawError, match="kind_temperature is"):
            Detector(Sided(), {"kind_temperature": bad})


def test_the_shipped_detector_calls_the_dent_of_the_bundled_scan_one_and_says_how_deep() -> None:
    examples = Path(__file__).parent.parent / "examples"
    shipped = Detector.load("compact", device="cpu")
    found = shipped.inspect(examples / "flange_dent.ply", prompt="a part with a sink")
    assert found.prompt == "dent"
    region = found.regions[0]
    assert region.kind == "dent"
    assert region.height is not None
    assert region.height < 0
    assert region.kind_probability is not None
    assert 1 / len(shipped.method.kinds) < region.kind_probability <= 1


def test_the_names_cost_no_search_of_their_own() -> None:
    scan = Scan(sphere_points(300))
    row = torch.arange(300) % 7
    scores = Scores(torch.linspace(0, 1, 300), 0.5, torch.softmax(torch.randn(7, 3), 1), row)
    kinds = PointKinds.of(scores, ("a", "b", "c"))
    assert kinds is not None
    assert kinds.logits.shape == (7, 3)
    points = scores.point.numpy()
    for region in name_regions(describe_regions(scan, points, 0.5), kinds, points):
        assert region.kind in ("a", "b", "c")


@pytest.fixture
def sided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setitem(METHODS, "sided", Sided)
    path = checkpoint.save(tmp_path / "sided.safetensors", Sided(), {})[0]
    np.savetxt(tmp_path / "part.xyz", twice_bulged())
    return [str(tmp_path / "part.xyz"), "--detector", str(path), "--device", "cpu"]


def test_the_command_names_regions_in_table_and_json(
    sided: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", *sided]) == 0
    shown = capsys.readouterr().out
    assert "bulge 0.80" in shown
    assert "excess 0.80" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["inspect", *sided, "--json", "--prompt", "a bump"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["scans"]
    assert said["prompt"] == "bulge"
    (region,) = said["regions"]
    assert region["kind"] == "bulge"
    assert region["kind_probability"] == pytest.approx(0.8)
    assert region["height"] > 0
    assert region["area"] > 0
    assert main(["inspect", *sided, "--prompt", "a bump"]) == 0
    assert "asked for bulge: scores and defects are of this kind alone" in capsys.readouterr().out


@pytest.mark.parametrize("prompt", ["scratch", "Kratzer"])
def test_a_prompt_that_cannot_be_answered_is_one_line_before_the_work(
    sided: list[str], capsys: pytest.CaptureFixture[str], prompt: str
) -> None:
    np.savetxt(Path(sided[0]).with_name("other.xyz"), sphere_points(500))
    folder = str(Path(sided[0]).parent)
    assert main(["inspect", folder, *sided[1:], "--prompt", prompt]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert "ask for one of bulge, excess, dent" in line


def test_a_detector_without_kinds_says_so_when_it_is_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = peak_checkpoint(tmp_path, monkeypatch)
    np.savetxt(tmp_path / "part.xyz", twice_bulged())
    given = [str(tmp_path / "part.xyz"), "--detector", str(path), "--device", "cpu"]
    assert main(["inspect", *given, "--prompt", "dent"]) == 2
    assert "tells no kinds of defects; leave out the prompt" in capsys.readouterr().err
