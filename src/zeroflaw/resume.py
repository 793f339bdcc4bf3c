"""The state of a training on disk, from which it goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from zeroflaw.average import Average
from zeroflaw.cache import frozen_names
from zeroflaw.io.atomic import replacing
from zeroflaw.methods.base import Method
from zeroflaw.optimize import Joint
from zeroflaw.types import ZeroflawError

Row = dict[str, float]


@dataclass
class Position:
    """How far a training has come.

    epoch: the one in progress, from 0. done: its items that are done. step: steps of all epochs.
    sums: of its losses, each item counted once. history: a row of figures per finished epoch.
    best: of the watched figure, reached in best_epoch (from 1; 0 for none). seconds: worked so far.
    """

    epoch: int = 0
    done: int = 0
    step: int = 0
    sums: Row = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    stopped: bool = False
    seconds: float = 0.0


def write_state(
    path: Path,
    method: Method,
    optimizer: Joint,
    position: Position,
    identity: Mapping[str, str],
    average: Average | None = None,
) -> None:
    """Write all that training moves: weights, their average, optimiser and position, atomically.

    There is no random state among it: every step seeds its own.

    identity: what must be the same when training goes on, as text by name.
    """
    state = {
        "identity": dict(identity),
        "position": dataclasses.asdict(position),
        "weights": _moving(method),
        "optimizer": optimizer.state_dict(),
        "average": {} if average is None else average.weights,
    }
    with replacing(path) as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def read_state(
    path: Path,
    method: Method,
    optimizer: Joint,
    identity: Mapping[str, str],
    average: Average | None = None,
) -> Position | None:
    """Put method, optimiser and average back and return the position; None without a file.

    Raises ZeroflawError for a damaged file and for one of another training, naming the difference.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        position = Position(**state["position"])
        found = dict(state["identity"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    except (pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from None
    for name in sorted({*found, *identity}):
        if found.get(name) != identity.get(name):
            raise ZeroflawError(
                f"{path}: was written by a training with another {name} ({found.get(name)}; now "
                f"{identity.get(name)}); use the same, another folder, or start anew (--restart)"
            )
    if set(state["weights"]) != set(_moving(method)):
        raise _damaged(path, ValueError("its weights are not the method's"))
    try:
        method.load_state_dict(state["weights"], strict=False)
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load(state["average"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path, error) from None
    return position


def _moving(method: Method) -> dict[str, torch.Tensor]:
    frozen = frozen_names(method)
    return {name: entry for name, entry in method.state_dict().items() if name not in frozen}


def _damaged(path: Path, error: Exception) -> ZeroflawError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ZeroflawError(
        f"{path}: damaged training state ({reason}); delete it or start anew (--restart)"
    )


class Interruption:
    """While entered, Ctrl-C and SIGTERM set `requested` instead of stopping within a step.

    A second one stops at once, if it comes `grace` seconds after the first or later. Outside the
    main thread signals stay as they are.
    """

    def __init__(self, grace: float = 0.0) -> None:
        self.requested = False
        self._grace = grace
        self._when = 0.0
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._former[kind] = signal.signal(kind, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, former in self._former.items():
            signal.signal(kind, former)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._when = True, time.monotonic()
        elif time.monotonic() - self._when >= self._grace:
            raise KeyboardInterrupt
