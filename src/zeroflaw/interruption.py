"""Ctrl-C and SIGTERM as KeyboardInterrupt, also where a library makes another error of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupter:
    """A signal handler that raises KeyboardInterrupt and remembers that it did."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt."""
        self.requested = True
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """While entered, Ctrl-C and SIGTERM raise KeyboardInterrupt, and `insist` knows of them.

    A signal that is ignored stays so. Outside the main thread nothing changes.
    """
    former = {}
    if threading.current_thread() is threading.main_thread():
        handler = Interrupter()
        for kind in SIGNALS:
            if signal.getsignal(kind) is not signal.SIG_IGN:
                former[kind] = signal.signal(kind, handler)
    try:
        yield
    finally:
        for kind, before in former.items():
            signal.signal(kind, before)


def insist() -> None:
    """Raise KeyboardInterrupt if one was raised before, and something has swallowed it.

    An interruption within a compiled library can come out as an error of the library's own, such as
    that of a damaged file. Whoever catches errors of any kind to go on after them asks here first.
    """
    handlers = map(signal.getsignal, SIGNALS)
    if any(isinstance(one, Interrupter) and one.requested for one in handlers):
        raise KeyboardInterrupt
