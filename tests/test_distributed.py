"""Two processes train like one: the same losses, the same weights, and they stop together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from rank_worker import made, trained
from tiny_method import Tiny, tiny_items, tiny_method
from zeroflaw.batches import Shuffled, batches
from zeroflaw.distributed import Ranks, joined, local_device
from zeroflaw.methods import METHODS
from zeroflaw.types import ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

TESTS = Path(__file__).parent
SETTINGS = {"epochs": 3, "batch": 4, "learning_rate": 0.01}  # the fifth scan is a batch of its own
LIMIT = 1e-4


@dataclass
class Ended:
    """How the processes of the trainings ended, in the order of their ranks."""

    codes: list[int]
    results: list[Any]
    errors: list[str]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(p for p in [str(TESTS), *sys.path] if p)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


def plan(folder: str, method: str = "btp", **more: Any) -> dict[str, Any]:
    return {"folder": folder, "method": method, "settings": SETTINGS, **more}


def together(out: Path, *plans: Mapping[str, Any], size: int = 2) -> Ended:
    """Train in processes that see what torchrun tells them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, str(TESTS / "rank_worker.py"), str(out), json.dumps(plans)]
    started = [
        subprocess.Popen(
            command,
            env=environment(**told, RANK=str(rank), LOCAL_RANK=str(rank)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=60) for process in started]
    codes = [process.returncode for process in started]
    results = [json.loads(out) if out else None for out, _ in said]
    return Ended(codes, results, [err for _, err in said])


def same(ours: Path, theirs: Path, rows: Any, expected: Any) -> None:
    """Loss curves and weights within LIMIT; figures of the validation see the norms' noise too."""
    assert len(rows) == len(expected) == SETTINGS["epochs"]
    for row, other in zip(rows, expected, strict=True):
        assert set(row) == set(other)
        for name in set(row) - {"seconds"}:
            limit = 0.02 if name.startswith("validation") else LIMIT
            assert row[name] == pytest.approx(other[name], rel=limit, abs=limit), name
    found, expected = weights(ours), weights(theirs)
    assert set(found) == set(expected)
    for name, entry in expected.items():
        torch.testing.assert_close(found[name], entry, rtol=1e-3, atol=1e-3, msg=name)
    difference = [(found[name] - entry).abs().flatten() for name, entry in expected.items()]
    assert float(torch.cat(difference).mean()) < LIMIT / 10


def weights(folder: Path) -> dict[str, Tensor]:
    """The last weights, but for biases that the norm behind them takes away, and its mean.

    Their gradient is nothing but rounding, Adam makes whole steps of it, and the mean follows.
    """
    found = {name: t.double() for name, t in load_file(folder / "last.safetensors").items()}
    for name in [name for name in found if name.endswith(".1.running_mean")]:
        del found[name], found[name.removesuffix("1.running_mean") + "0.bias"]
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Both methods trained by a single process: the folder, and the rows by method."""
    out, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "tiny", Tiny)
        rows = {method: trained(out, plan(method, method)) for method in ("btp", "tiny")}
    torch.set_num_threads(threads)
    return out, rows


def test_two_processes_end_with_the_losses_and_weights_of_one_stopped_or_not(
    tmp_path: Path, alone: tuple[Path, dict[str, Any]]
) -> None:
    """SIGTERM in one of them stops both after the same step; a single one can go on from there."""
    plans = [
        plan("btp"),
        plan("tiny", "tiny"),
        plan("stopped", signal="SIGTERM", at=3),
    ]
    ended = together(tmp_path, *plans)
    assert ended.codes == [0, 0], ended.errors
    for btp, tiny, stopped in ended.results:
        same(tmp_path / "btp", alone[0] / "btp", btp, alone[1]["btp"])
        same(tmp_path / "tiny", alone[0] / "tiny", tiny, alone[1]["tiny"])
        assert stopped == "interrupted"
    again = trained(tmp_path, plan("stopped"))
    same(tmp_path / "stopped", alone[0] / "btp", again, alone[1]["btp"])


def test_killed_in_one_process_all_end_and_go_on_from_the_last_state(
    tmp_path: Path, alone: tuple[Path, dict[str, Any]]
) -> None:
    often = {**SETTINGS, "state_minutes": 0.0}
    ended = together(tmp_path, plan("btp", settings=often, signal="SIGKILL", at=3))
    assert ended.codes == [2, -9]
    assert "process 0: another process of the training has ended" in ended.errors[0]
    state = torch.load(tmp_path / "btp" / "state.pt", weights_only=True)
    assert state["position"]["step"] in (2, 3)
    ended = together(tmp_path, plan("btp"))
    assert ended.codes == [0, 0], ended.errors
    same(tmp_path / "btp", alone[0] / "btp", ended.results[0][0], alone[1]["btp"])


def test_torchrun_trains_unchanged_and_one_process_speaks(tmp_path: Path) -> None:
    data, config = tmp_path / "scans", tmp_path / "small.json"
    data.mkdir()
    for seed in range(3):
        points = np.random.default_rng(seed).normal(size=(300, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        labels = points[:, 2] > 0.8
        np.savez(data / f"{seed}.npz", points=points * (1 - 0.3 * labels[:, None]), labels=labels)
    small: dict[str, object] = {
        "points": 64,
        "groups": 8,
        "patch_size": 8,
        "width": 24,
        "depth": 1,
        "heads": 2,
    }
    small |= {"embedding": 24, "position_width": 8, "layers": [1], "text_space": 24, "hidden": 8}
    config.write_text(json.dumps(small))
    run = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    train = ["-m", "zeroflaw", "train", "btp", "--data", str(data), "--out", str(tmp_path / "out")]
    more = ["--stand-in", "--config", str(config), "--epochs", "2", "--device", "cpu"]
    command = [sys.executable, *run, *train, *more, "--workers", "1"]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out' / 'last.safetensors'}\n"
    assert [line[:9] for line in done.stderr.splitlines()] == ["epoch 1/2", "epoch 2/2"]


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 11))
@settings(max_examples=20, deadline=None)
def test_processes_share_every_batch_without_gaps_and_doubles(
    size: int, batch: int, start: int
) -> None:
    source = Shuffled(tiny_items(tiny_method(), 12), seed=3)
    alone = list(batches(source, 1, start, batch))
    shared = [list(batches(source, 1, start, batch, Ranks(rank, size))) for rank in range(size)]
    for number, whole in enumerate(alone):
        parts = [one[number] for one in shared]
        joint = torch.cat([part.prepared["features"] for part in parts])
        assert torch.equal(joint, whole.prepared["features"])
        assert torch.equal(torch.cat([p.target.object for p in parts]), whole.target.object)
        assert {part.counts for part in parts} == {tuple(len(p.target.object) for p in parts)}
        assert max(parts[0].counts) - min(parts[0].counts) <= 1


def test_alone_nothing_is_exchanged() -> None:
    method, items = made("tiny")
    ranks = Ranks.current()
    assert ranks == Ranks(0, 1)
    ranks.start(method)
    assert not [module for module in method.modules() if type(module).__name__ == "JointBatchNorm"]
    evidence = method(items[0][0])
    assert ranks.joint(evidence, items[0][1], [1]) == (evidence, items[0][1])
    assert ranks.tell({"loss": 1.0}) == {"loss": 1.0}
    assert ranks.any(True)
    assert not ranks.any(False)


def test_norms_that_cannot_be_joined_are_refused_by_name() -> None:
    class Images(nn.Module):
        name = "images"

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

    with pytest.raises(ZeroflawError, match="images: norm is a BatchNorm2d"):
        Ranks(0, 2).start(Images())  # type: ignore[arg-type]


def test_a_size_without_its_processes_is_an_error_for_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(ZeroflawError, match="WORLD_SIZE is set but RANK is not"),
        joined(torch.device("cpu")),
    ):
        raise AssertionError("joined nobody")


def test_a_process_takes_its_own_gpu_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert local_device(torch.device("cuda", 0)) == torch.device("cuda", 0)
    assert local_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ZeroflawError, match="process 2 has no GPU, there are 2"):
        local_device(torch.device("cuda"))
