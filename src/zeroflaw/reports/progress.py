"""How far long work has come, on a terminal and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zeroflaw.types import printable

Step = Callable[..., None]


@contextmanager
def progress(total: int) -> Iterator[Step]:
    """A function `step(done, name="")` that moves a bar on stderr, if that is a terminal."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda done, name="": None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (BarColumn(24), MofNCompleteColumn(), Remaining(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, name="": bar.update(
            task, completed=done, description=escape(printable(name))
        )
