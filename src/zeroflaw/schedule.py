"""Cells one after the other in this process, or side by side in several."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from zeroflaw.cells import Job, State, state_of, work, write_failure
from zeroflaw.interruption import interruptible
from zeroflaw.workers import end_with_parent

Outcome = State | str
Finished = Callable[[Job, Outcome], None]
CODES = {"done": 0, "failed": 1, "busy": 3}
PATIENCE = 60.0  # seconds that a cell gets to write its state after Ctrl-C


def run_jobs(jobs: Sequence[Job], workers: int, devices: Sequence[str], finished: Finished) -> None:
    """Work all jobs and call `finished` after each with how it went.

    workers: processes; 1 works them here. devices: worker after worker takes the next one. A
    process that dies makes its cell fail and no other. Raises KeyboardInterrupt after Ctrl-C and
    SIGTERM, once all processes have written their states and ended.
    """
    with interruptible():
        if workers == 1:
            for number, job in enumerate(jobs):
                placed = replace(job, device=devices[number % len(devices)])
                finished(placed, work(placed))
        else:
            _side_by_side(list(jobs), workers, devices, finished)


def _side_by_side(
    waiting: list[Job], workers: int, devices: Sequence[str], finished: Finished
) -> None:
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    running: dict[int, tuple[BaseProcess, Job]] = {}  # by the worker's number
    waiting.reverse()
    try:
        while waiting or running:
            for worker in range(workers):
                if worker not in running and waiting:
                    device = devices[worker % len(devices)]
                    job = replace(waiting.pop(), device=device, threads=threads, progress=False)
                    process: BaseProcess = context.Process(target=_child, args=(job,))
                    process.start()
                    running[worker] = process, job
            wait([process.sentinel for process, _ in running.values()])
            for worker, (process, job) in list(running.items()):
                if process.exitcode is not None:
                    process.join()
                    del running[worker]
                    finished(job, _outcome(job, process.exitcode))
    finally:
        _stop([process for process, _ in running.values()])


def _outcome(job: Job, code: int) -> Outcome:
    """Return how a cell went by its process's exit code; note a death that it could not."""
    for outcome, known in CODES.items():
        if code == known:
            return outcome
    if state_of(job.folder) != "done":
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        write_failure(
            job.folder, f"its process ended by {reason}; was it killed, for instance for memory?"
        )
    return state_of(job.folder)


def _stop(processes: Sequence[BaseProcess]) -> None:
    """Let processes write their states and end; those that do not in time are killed."""
    for process in processes:
        process.terminate()
    limit = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _child(job: Job) -> None:
    """Work one job and exit with its code. Ends when the parent does, however that dies."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C in the terminal is the parent's to pass on, once
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        with interruptible():
            code = CODES[work(job)]
    except KeyboardInterrupt:
        code = 130
    os._exit(code)
