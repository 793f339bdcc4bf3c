"""How a training shows itself: a bar with the losses on a terminal, else a line per epoch."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column


class TrainingProgress:
    """Entered for as long as training runs; writes to stderr, and nothing at all if not shown.

    stage: the name of the part of the training that the epochs are of, put in front of them.
    """

    def __init__(self, shown: bool, epochs: int, steps_per_epoch: int, stage: str = "") -> None:
        self.shown = shown
        self.epochs = epochs
        self.front = f"{stage}: " if stage else ""
        self.bar: Progress | None = None
        if shown and sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(bar_width=12),
                TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
                TextColumn(
                    "{task.fields[losses]}",
                    table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
                ),
                console=Console(stderr=True),
                expand=True,
            )
            self.task = self.bar.add_task("training", total=epochs * steps_per_epoch, losses="")

    def __enter__(self) -> TrainingProgress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def resumed(self, epoch: int, step: int) -> None:
        """Show where training goes on: `epoch` from 0, after `step` steps."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step)
        at = min(epoch + 1, self.epochs)
        self._line(f"{self.front}going on in epoch {at}, after {step} steps")

    def step(self, epoch: int, step: int, losses: Mapping[str, float]) -> None:
        """Show a step: `epoch` from 0, how many steps are done in all, the step's losses."""
        if self.bar is not None:
            text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            title = f"{self.front}epoch {epoch + 1}/{self.epochs}"
            self.bar.update(self.task, description=title, completed=step, losses=text)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Show a finished epoch's figures."""
        hidden = ("epoch", "seconds", "learning_rate")
        figures = "  ".join(f"{name} {row[name]:.4f}" for name in row if name not in hidden)
        done = f"{self.front}epoch {row['epoch']:.0f}/{self.epochs}"
        self._line(f"{done}  {figures}  {row['seconds']:.0f} s")

    def _line(self, text: str) -> None:
        if not self.shown:
            return
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)
