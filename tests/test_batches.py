"""A batch may be computed in parts, and the weights move as if it had not been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tiny_method import Tiny, TinyConfig, tiny_items
from zeroflaw.batches import Batch, stack
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Prepared, Target
from zeroflaw.train import TrainSettings, train

SETTINGS = TrainSettings(epochs=2, batch=4)


def numbered(count: int, counts: tuple[int, ...]) -> Batch:
    number = torch.arange(count)
    target = Target(number[:, None], number, {"kind": number})
    return Batch(Prepared({"number": number}), target, counts)


@pytest.mark.parametrize(("size", "expected"), [(2, [2, 2, 1]), (5, [5]), (9, [5]), (0, [5])])
def test_a_batch_falls_into_parts_in_order(size: int, expected: list[int]) -> None:
    parts = numbered(5, (5,)).parts(size)
    assert [len(part.target.object) for part in parts] == expected
    assert [part.counts for part in parts] == [(one,) for one in expected]
    for found in (
        torch.cat([part.prepared["number"] for part in parts]),
        torch.cat([part.target.object for part in parts]),
        torch.cat([part.target.point[:, 0] for part in parts]),
        torch.cat([part.target.tensors["kind"] for part in parts]),
    ):
        assert found.tolist() == [0, 1, 2, 3, 4]


def test_among_processes_a_batch_stays_whole() -> None:
    batch = numbered(3, (3, 2))
    assert batch.parts(1) == [batch]


def plain_method() -> Tiny:
    """Without what depends on the other items of a batch, or on chance."""
    torch.manual_seed(0)
    method = Tiny(TinyConfig(dropout=0.0))
    method.head[1] = nn.Identity()
    return method


def first_weights(method: Tiny) -> Tensor:
    entry: Tensor = method.state_dict()["head.0.weight"]
    return entry.clone()


@pytest.mark.parametrize("together", [1, 3])
def test_parts_of_a_batch_teach_what_the_whole_does(
    tmp_path: Path, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "tiny", Tiny)
    trained = []
    for size in (0, together):
        method = plain_method()
        items = tiny_items(method, 6)
        assert len(stack(items)[1].object) == 6
        settings = replace(SETTINGS, together=size)
        history = train(method, items, settings, tmp_path / str(size), progress=False)
        trained.append((first_weights(method), history.rows))
    (whole, rows), (parts, part_rows) = trained
    torch.testing.assert_close(parts, whole)
    for row, part_row in zip(rows, part_rows, strict=True):
        assert part_row["loss"] == pytest.approx(row["loss"], rel=1e-5)
        assert part_row["object"] == pytest.approx(row["object"], rel=1e-5)
    assert not torch.equal(whole, first_weights(plain_method()))
