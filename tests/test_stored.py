"""Scores on disk come back as they were, and damaged ones are told from whole ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroflaw.reports.plan import Plan, PlannedScan, read_plan, write_plan
from zeroflaw.reports.stored import (
    StoredScores,
    read_category,
    read_identity,
    read_stored,
    stored_path,
    write_stored,
)
from zeroflaw.types import ZeroflawError


def stored(name: str = "car/test/1_bulge", count: int = 500, **changes: Any) -> StoredScores:
    rng = np.random.default_rng(0)
    label = np.zeros(count, dtype=bool)
    label[: count // 10] = True
    shown = np.arange(0, count, 7)
    scores = StoredScores(
        name=name,
        category="car",
        kind="bulge",
        identity="abc",
        seconds=0.25,
        object=0.75,
        point=rng.random(count).astype(np.float32),
        label=label,
        region=np.where(label, 0, -1),
        sampled=np.arange(0, count, 3),
        preview_index=shown,
        preview_points=rng.normal(size=(len(shown), 3)).astype(np.float32),
    )
    return dataclasses.replace(scores, **changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scores = stored()
    write_stored(tmp_path, scores)
    path = stored_path(tmp_path, scores.name)
    assert path == tmp_path / "scores" / "car" / "test" / "1_bulge.npz"
    found = read_stored(path)
    for field in dataclasses.fields(StoredScores):
        expected, value = getattr(scores, field.name), getattr(found, field.name)
        assert type(value) is type(expected)
        assert np.array_equal(value, expected)
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype
    assert (read_identity(path), read_category(path)) == ("abc", "car")


def test_the_same_scores_are_the_same_bytes_and_small(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_stored(tmp_path / folder, stored(count=100_000))
    files = [
        stored_path(tmp_path / folder, stored().name).read_bytes() for folder in ("one", "two")
    ]
    assert files[0] == files[1]
    assert len(files[0]) < 100_000 * (4 + 0.5) + 14286 * 20 + 10_000


def test_a_scan_is_defective_as_its_kind_or_else_its_labels_say() -> None:
    blank = np.zeros(500, dtype=bool)
    assert stored().defective
    assert stored(label=blank, region=np.full(500, -1)).defective  # a part is missing altogether
    assert stored(kind="").defective
    assert not stored(kind="good", label=blank).defective
    assert not stored(kind="", label=blank).defective


def test_scores_that_are_not_there_say_so(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="there are no scores here"):
        read_stored(tmp_path / "scores" / "x.npz")
    assert read_identity(tmp_path / "scores" / "x.npz") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"label": np.zeros(3, dtype=bool)},
        {"region": np.full(500, -1)},
        {"point": np.full(500, np.nan, dtype=np.float32)},
        {"object": float("inf")},
        {"sampled": np.array([0, 500])},
        {"preview_index": np.array([-1])},
        {"preview_points": np.zeros((2, 3), dtype=np.float32)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_parts_that_do_not_fit_are_damage(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_stored(tmp_path, stored(**changes))
    with pytest.raises(ZeroflawError, match="damaged scores"):
        read_stored(stored_path(tmp_path, stored().name))


@pytest.fixture(scope="module")
def whole() -> Iterator[bytes]:
    with TemporaryDirectory() as folder:
        write_stored(Path(folder), stored(count=60))
        yield stored_path(Path(folder), stored().name).read_bytes()


@given(st.data())
def test_a_damaged_file_is_never_taken_for_other_scores(whole: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    changed = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    damaged = whole[:place] if cut else whole[:place] + changed + whole[place + 1 :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        path.write_bytes(damaged)
        assert read_identity(path) in (None, "abc")
        said = ""
        try:
            found = read_stored(path)
        except ZeroflawError as error:
            said = str(error)
    if said:
        assert said.startswith(str(path))
        assert "\n" not in said
        return
    expected = stored(count=60)
    for field in dataclasses.fields(StoredScores):
        assert np.array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_a_plan_comes_back_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    scans = (PlannedScan("a/1", "a", "xyz"), PlannedScan("b/1", "b", ""))
    plan = Plan("compact", "real3d_ad", "test", scans, ("b",), {"threshold": 0.5})
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    assert plan.categories == ("a", "b")
    path = tmp_path / "evaluation.json"
    for damaged in ("{", "[]", '{"format": 2}', '{"format": 1, "scans": [{"name": 3}]}'):
        path.write_text(damaged)
        with pytest.raises(ZeroflawError, match=r"evaluation\.json: damaged"):
            read_plan(tmp_path)
    path.unlink()
    with pytest.raises(ZeroflawError, match="name the --out of an evaluation"):
        read_plan(tmp_path)
