"""Commands that are killed at a chosen moment: right before one of the changes they make on disk.

What is done between two changes leaves no trace, so that the changes are all the moments there are.
They are counted by an audit hook, and the process kills itself by SIGKILL, so that no moment is
missed however fast or slow the machine is. A process that has imported everything forks a new one
for each command, which takes milliseconds rather than seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link")


@dataclass(frozen=True)
class Task:
    """A command. watched: the folder whose changes are counted. fatal: the change to die before,
    from 1; 0 for none. reading: whether files opened to be read count, too."""

    arguments: list[str]
    watched: str
    fatal: int = 0
    reading: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended. code: exit code, or the signal below 0. moments: changes it made."""

    code: int
    moments: int
    said: str


class Mortals:
    """The process that forks. While entered, `run` runs commands in it."""

    def __enter__(self) -> Mortals:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.communicate()

    def run(
        self, *arguments: str | Path, watched: Path, fatal: int = 0, reading: bool = False
    ) -> Ended:
        """Run `zeroflaw` with these arguments and say how it ended."""
        task = Task([str(one) for one in arguments], str(watched), fatal, reading)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asdict(task)) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))


class Counter:
    """An audit hook that counts the changes in a folder, and dies before the fatal one."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.moments = 0

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            writing = given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            counts = writing or self.task.reading
        else:
            counts = event in CHANGES
        if not counts or not isinstance(given[0], str | os.PathLike):
            return
        if Path(given[0]).is_relative_to(self.task.watched):
            self.moments += 1
            if self.moments == self.task.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def work(task: Task, said: int, moments: int) -> int:
    """Do the task in this process, and return the exit code."""
    from zeroflaw.cli import main

    os.dup2(said, 1)
    os.dup2(said, 2)
    counter = Counter(task)
    sys.addaudithook(counter)
    code = main(task.arguments)
    sys.stdout.flush()
    os.write(moments, str(counter.moments).encode())
    return code


def serve() -> None:
    """Fork a process for each task on standard input, one after the other."""
    import torch

    import zeroflaw.benchmark
    import zeroflaw.data_check
    import zeroflaw.data_get
    import zeroflaw.report
    import zeroflaw.train  # noqa: F401 (so that the forked ones need not)

    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # the first optimiser imports for seconds
    for line in sys.stdin:
        task = Task(**json.loads(line))
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as moments:
            child = os.fork()
            if child == 0:
                code = 99
                try:
                    code = work(task, said.fileno(), moments.fileno())
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            moments.seek(0)
            ended = Ended(code, int(moments.read() or 0), said.read().decode())
        print(json.dumps(asdict(ended)), flush=True)


if __name__ == "__main__":
    serve()
