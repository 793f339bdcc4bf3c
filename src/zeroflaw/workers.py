"""Jobs shared among processes: the same results whoever does them, and no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Any, TypeVar

from zeroflaw.types import ZeroflawError

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")

MOST = 8  # processes, where nobody says how many
_in_this_process: list[Any] = []  # what a worker's `start` gave


def default_workers() -> int:
    """Return how many processes to use where nobody says: one per core that we may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST)
    return min(os.cpu_count() or 1, MOST)


def in_processes(
    work: Callable[[Shared, Job], Result],
    start: Callable[[], Shared],
    jobs: Sequence[Job],
    workers: int,
) -> Generator[tuple[int, Result], None, None]:
    """Yield the number of every job and `work(start(), job)`, as they are done.

    start: called once per process. Both functions and all that they take are pickled, so they
    stand at the top of a module. With one worker, or one job, all happens in this process.
    Interrupted or closed (`contextlib.closing`), the jobs in progress are finished and the others
    dropped; workers whose parent is killed end by themselves. Raises ZeroflawError if a worker is
    killed, and what `work` raises.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        if jobs:
            shared = start()
            yield from ((number, work(shared, job)) for number, job in enumerate(jobs))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (start,))
    heard: SimpleQueue[Future[Result] | int] = SimpleQueue()  # jobs that are done, and signals
    numbers: dict[Future[Result], int] = {}
    try:
        with _held_back(heard.put) as deliver:
            for number, job in enumerate(jobs):
                future = pool.submit(_do, work, job)
                numbers[future] = number
                future.add_done_callback(heard.put)
            while numbers:
                found = heard.get()
                if isinstance(found, int):
                    deliver(found)
                else:
                    yield numbers.pop(found), found.result()
    except BrokenProcessPool:
        raise ZeroflawError(
            "a worker process was killed, perhaps for want of memory; use fewer --workers"
        ) from None
    finally:  # not by `with`, which would wait for all jobs
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _held_back(hear: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Hand Ctrl-C and SIGTERM to `hear`, and yield what does with one what it would have done.

    An exception in the midst of the pool's own work would leave its locks locked for ever.
    """
    former: dict[int, Any] = {}
    waiting: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        waiting.append(number)
        hear(number)

    def deliver(number: int) -> None:
        waiting.remove(number)
        former[number](number, None)

    if threading.current_thread() is threading.main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(kind)):
                former[kind] = signal.signal(kind, note)
    try:
        yield deliver
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if waiting:
            deliver(waiting[0])


def _begin(start: Callable[[], Any]) -> None:
    """Run in a worker before its first job: Ctrl-C is the parent's affair, its end ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    _in_this_process[:] = [start()]


def end_with_parent() -> None:
    """End this process when its parent does, however that dies; run in a thread."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(work: Callable[[Any, Any], Any], job: Any) -> Any:
    return work(_in_this_process[0], job)
