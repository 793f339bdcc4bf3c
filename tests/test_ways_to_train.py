"""Ways to train: mixed precision, another optimiser, averaged weights; all resume bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_method import Tiny, tiny_items, tiny_method
from zeroflaw.methods import METHODS
from zeroflaw.resume import Position
from zeroflaw.train import History, TrainSettings, train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "tiny", Tiny)


def run(out: Path, settings: TrainSettings, method: Tiny | None = None, **more: Any) -> History:
    method = method or tiny_method()
    return train(method, tiny_items(method), settings, out, progress=False, **more)


def weights(out: Path) -> bytes:
    return (out / "last.safetensors").read_bytes()


MIXED = TrainSettings(
    epochs=4, batch=2, precision="bfloat16", average=0.9, optimizer="muon", weight_decay=0.01
)


@pytest.mark.parametrize("stop", [1, 6, 7])
def test_averaged_mixed_training_with_muon_goes_on_bit_for_bit_too(
    tmp_path: Path, stop: int
) -> None:
    def interrupt(position: Position) -> None:
        if position.step == stop:
            raise KeyboardInterrupt

    run(tmp_path / "whole", MIXED)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halved", MIXED, on_step=interrupt)
    run(tmp_path / "halved", MIXED)
    assert weights(tmp_path / "whole") == weights(tmp_path / "halved")


def test_the_checkpoint_and_the_method_hold_the_average_of_the_last_steps(tmp_path: Path) -> None:
    settings = TrainSettings(epochs=1, batch=2, average=0.5)
    method = tiny_method()
    steps = [{n: w.detach().clone() for n, w in method.state_dict().items()}]

    def note(_: Position) -> None:
        steps.append({n: w.detach().clone() for n, w in method.state_dict().items()})

    run(tmp_path, settings, method, on_step=note)
    moving = [
        name
        for name, entry in steps[-1].items()
        if entry.is_floating_point() and not torch.equal(entry, steps[0][name])
    ]
    assert moving
    ended = method.state_dict()
    for name in moving:
        expected = steps[0][name]
        for number, step in enumerate(steps[1:], start=1):
            share = min(0.5, (1 + number) / (10 + number))
            expected = share * expected + (1 - share) * step[name]
        torch.testing.assert_close(ended[name], expected)
        assert not torch.equal(ended[name], steps[-1][name])


@pytest.mark.parametrize("wrong", [{"precision": "int8"}, {"optimizer": "sgd"}, {"average": 1.0}])
def test_unknown_ways_to_train_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        TrainSettings(**wrong)
