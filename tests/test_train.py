"""Training goes on where it stopped, keeps the best, and says what went wrong."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tiny_method import Tiny, TinyConfig, tiny_items, tiny_method
from zeroflaw import checkpoint
from zeroflaw.batches import Item, Shuffled, training_mode
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Evidence, Method, Target
from zeroflaw.resume import Position
from zeroflaw.train import History, TrainSettings, train
from zeroflaw.types import ZeroflawError
from zeroflaw.validate import HeldOut

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = TrainSettings(epochs=4, batch=2)


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "tiny", Tiny)


def run(out: Path, method: Tiny | None = None, **options: object) -> History:
    method = method or tiny_method()
    settings = options.pop("settings", SETTINGS)
    items = options.pop("items", None) or tiny_items(method)
    return train(method, items, settings, out, progress=False, **options)  # type: ignore[arg-type]


def weights(out: Path, name: str = "last") -> bytes:
    return (out / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize("stop", [1, 3, 5, 6, 11])
def test_a_training_interrupted_after_any_step_ends_bit_for_bit_like_an_undisturbed_one(
    tmp_path: Path, stop: int
) -> None:
    def interrupt(position: Position) -> None:
        if position.step == stop:
            raise KeyboardInterrupt

    held = HeldOut(tiny_items(tiny_method(), 3))
    whole = run(tmp_path / "whole", validate=held)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halved", validate=held, on_step=interrupt)
    halved = run(tmp_path / "halved", tiny_method(), validate=held)
    assert weights(tmp_path / "whole") == weights(tmp_path / "halved")
    assert weights(tmp_path / "whole", "best") == weights(tmp_path / "halved", "best")
    without_time = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
        for history in (whole, halved)
    ]
    assert without_time[0] == without_time[1]


def test_the_state_written_within_an_epoch_is_enough_after_a_crash(tmp_path: Path) -> None:
    class CrashError(Exception):
        pass

    def crash(position: Position) -> None:
        if position.step == 5:
            raise CrashError

    often = TrainSettings(epochs=4, batch=2, state_minutes=0.0)
    run(tmp_path / "whole")
    with pytest.raises(CrashError):
        run(tmp_path / "halved", on_step=crash, settings=often)
    steps: list[int] = []
    run(tmp_path / "halved", on_step=lambda position: steps.append(position.step))
    assert steps[0] == 5  # the fourth was in the state, within the second epoch
    assert weights(tmp_path / "whole") == weights(tmp_path / "halved")


KILLED = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path[:0] = [{tests!r}]
from tiny_method import Tiny, tiny_items, tiny_method
from zeroflaw.methods import METHODS
from zeroflaw.train import TrainSettings, train
METHODS["tiny"] = Tiny
method = tiny_method()
def step(position):
    if position.step == 8:
        print("here", flush=True)
        time.sleep(60)
train(method, tiny_items(method), TrainSettings(epochs=4, batch=2), Path({out!r}),
      progress=False, on_step=step)
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_a_whole_state(tmp_path: Path, kind: signal.Signals) -> None:
    out = tmp_path / "killed"
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    while process.poll() is None:  # after the first Ctrl-C the step goes on, the second ends it
        process.send_signal(kind)
        time.sleep(0.1)
    process.stdout.close()
    assert process.returncode != 0
    run(tmp_path / "whole")
    run(out)
    assert weights(tmp_path / "whole") == weights(out)


def test_ctrl_c_ends_the_step_and_writes_the_state_first(tmp_path: Path) -> None:
    seen: list[int] = []

    def press(position: Position) -> None:
        seen.append(position.step)
        if position.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=press)
    assert seen == [1, 2, 3, 4]
    assert signal.getsignal(signal.SIGINT) is before
    run(tmp_path, on_step=lambda position: seen.append(position.step))
    assert seen == list(range(1, 13))


def test_training_works_outside_the_main_thread(tmp_path: Path) -> None:
    thread = threading.Thread(target=run, args=(tmp_path,))
    thread.start()
    thread.join(60)
    assert weights(tmp_path)


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    seen: list[int] = []
    again = run(tmp_path, on_step=lambda position: seen.append(position.step))
    assert seen == []
    assert again.rows == first.rows


def test_a_state_of_another_training_is_refused_and_says_why(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ZeroflawError, match=r"another epochs \(4; now 5\)"):
        run(tmp_path, settings=TrainSettings(epochs=5, batch=2))
    with pytest.raises(ZeroflawError, match="another frozen encoder"):
        run(tmp_path, tiny_method(seed=3))
    with pytest.raises(ZeroflawError, match="another training data"):
        run(tmp_path, data="abc")
    run(tmp_path, data="abc", resume=False)


def test_starting_anew_forgets_the_old_state_at_once(tmp_path: Path) -> None:
    class CrashError(Exception):
        pass

    def crash(position: Position) -> None:
        raise CrashError

    run(tmp_path)
    with pytest.raises(CrashError):
        run(tmp_path, resume=False, on_step=crash)
    steps: list[int] = []
    run(tmp_path, on_step=lambda position: steps.append(position.step))
    assert steps[0] == 1


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04"])
def test_a_damaged_state_is_an_error_for_people(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(ZeroflawError, match=r"state\.pt: damaged training state"):
        run(tmp_path)


def test_training_lowers_the_loss_and_leaves_the_frozen_part_alone(tmp_path: Path) -> None:
    method = tiny_method()
    encoder = {name: entry.clone() for name, entry in method.encoder.state_dict().items()}
    settings = TrainSettings(epochs=30, batch=2, learning_rate=0.02)
    history = run(tmp_path, method, settings=settings)
    assert history.rows[-1]["loss"] < 0.7 * history.rows[0]["loss"]
    assert all(
        torch.equal(entry, encoder[name]) for name, entry in method.encoder.state_dict().items()
    )
    assert method.prompt is not None
    assert method.prompt.abs().sum() > 0


def test_gradients_are_clipped_together(tmp_path: Path) -> None:
    method = tiny_method()
    norms: list[float] = []

    def look(position: Position) -> None:
        grads = [weight.grad for weight in method.parameters() if weight.grad is not None]
        norms.append(float(torch.stack([grad.norm() for grad in grads]).norm()))

    run(tmp_path, method, settings=TrainSettings(epochs=1, batch=2, clip=1e-3), on_step=look)
    assert norms == pytest.approx([1e-3] * 3, rel=1e-2)


def test_frozen_norms_stay_in_evaluation_while_the_rest_trains() -> None:
    method = tiny_method()
    training_mode(method)
    assert method.head[1].training
    assert method.training
    assert not method.encoder[1].training


def test_the_losses_of_an_epoch_are_means_over_its_items(tmp_path: Path) -> None:
    rows = run(tmp_path).rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row["loss"] == pytest.approx(row["point"] + row["object"])
    with (tmp_path / "log.csv").open() as file:
        logged = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in logged] == [row["loss"] for row in rows]


def test_the_checkpoint_holds_stored_text_and_its_card_says_how_it_was_made(tmp_path: Path) -> None:
    history = run(tmp_path, card={"trained_on": "spheres"}, data="0123456789abcdef0123")
    method, card = checkpoint.load(history.last)
    assert method.get_buffer("text").abs().sum() > 0
    assert (card["trained_on"], card["seed"]) == ("spheres", 111)
    training = card["training"]
    assert training["settings"]["learning_rate"] == 5e-4
    assert training["epoch"] == 4
    assert "0123456789abcdef" in training["data"]
    assert training["processor"]
    assert training["versions"]["torch"] == torch.__version__


class Scripted:
    """A validation that gives the figures it was told, one per epoch."""

    def __init__(self, *values: float) -> None:
        self.values: Iterator[float] = iter(values)

    def __call__(self, method: Method) -> dict[str, float]:
        assert not method.training
        assert not torch.is_grad_enabled()
        return {"loss": next(self.values), "point_auroc": 0.5}


def test_the_best_epoch_is_kept_and_patience_ends_the_training(tmp_path: Path) -> None:
    settings = TrainSettings(epochs=9, batch=2, patience=2)
    history = run(tmp_path, settings=settings, validate=Scripted(3.0, 1.0, 2.0, 1.5, 0.1))
    assert history.best_epoch == 2
    assert history.stopped
    assert len(history.rows) == 4
    assert checkpoint.load(history.best)[1]["training"]["epoch"] == 2
    assert checkpoint.load(history.last)[1]["training"]["epoch"] == 4
    assert checkpoint.load(history.best)[1]["figures"]["validation_loss"] == 1.0
    again = run(tmp_path, settings=settings, validate=Scripted(0.0))
    assert again.stopped
    assert len(again.rows) == 4


def test_any_figure_but_the_loss_is_better_when_higher(tmp_path: Path) -> None:
    figures = iter([0.5, 0.9, 0.7, 0.8])
    settings = TrainSettings(epochs=4, batch=2, watch="point_auroc")
    history = run(
        tmp_path, settings=settings, validate=lambda method: {"point_auroc": next(figures)}
    )
    assert history.best_epoch == 2


def test_a_figure_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="gives no 'f1' to watch, only loss, point_auroc"):
        run(tmp_path, settings=TrainSettings(epochs=1, watch="f1"), validate=Scripted(1.0))


def test_a_loss_that_is_no_number_stops_the_training_and_names_itself(tmp_path: Path) -> None:
    class Broken(Tiny):
        def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
            terms = super().losses(evidence, target)
            return {**terms, "object": terms["object"] * float("nan")}

    method = Broken()
    with pytest.raises(ZeroflawError, match=r"object became nan in epoch 1, step 1; lower"):
        run(tmp_path, method)
    assert not (tmp_path / "state.pt").exists()


def test_a_fresh_source_is_asked_for_every_epoch_and_from_where_it_stopped(tmp_path: Path) -> None:
    method = tiny_method()
    items = tiny_items(method)

    class Fresh:
        def __init__(self) -> None:
            self.asked: list[tuple[int, list[int]]] = []

        def __len__(self) -> int:
            return 5

        def epoch(self, number: int, chosen: Sequence[int]) -> Iterator[Item]:
            self.asked.append((number, list(chosen)))
            return (items[(number + index) % 5] for index in chosen)

    def interrupt(position: Position) -> None:
        if position.step == 4:
            raise KeyboardInterrupt

    source = Fresh()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", items=source, on_step=interrupt)
    run(tmp_path / "a", items=source)
    run(tmp_path / "b", items=Fresh())
    whole = list(range(5))
    assert source.asked == [(0, whole), (1, whole), (1, whole[2:]), (2, whole), (3, whole)]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_every_epoch_sees_every_item_once_in_another_order() -> None:
    items = tiny_items(tiny_method(), 8)
    orders = [
        [id(item) for item in Shuffled(items, seed).epoch(number, range(8))]
        for seed, number in ((1, 0), (1, 1), (2, 0))
    ]
    assert all(sorted(order) == sorted(map(id, items)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [id(item) for item in Shuffled(items, 1).epoch(0, range(3, 8))] == orders[0][3:]


def test_scans_of_different_size_in_one_batch_are_an_error_for_people(tmp_path: Path) -> None:
    items = tiny_items(tiny_method(), 1)
    small = Tiny(TinyConfig(points=16))
    items += tiny_items(small, 1)
    with pytest.raises(ZeroflawError, match=r"differ in features \[1, \d+, 8\].*batch 1"):
        run(tmp_path, items=items)
    run(tmp_path, items=items, settings=TrainSettings(epochs=1, batch=1))


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="nothing to train on"):
        train(tiny_method(), [], SETTINGS, tmp_path)


def test_without_a_terminal_there_is_a_line_per_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = tiny_method()
    train(method, tiny_items(method), SETTINGS, tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 4
    assert err.startswith("epoch 1/4  loss ")


def test_the_random_state_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    method = tiny_method()
    before = torch.random.get_rng_state()
    run(tmp_path, method)
    assert torch.equal(before, torch.random.get_rng_state())
