"""What a training writes down: its figures per epoch as a table, and what it ran on."""

from __future__ import annotations

import csv
import io
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from zeroflaw.io.atomic import replacing
from zeroflaw.resume import Row


def write_log(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows, one per epoch, as CSV; a figure that a row lacks stays empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def machine() -> str:
    """Return the processor's name and how many of its cores this process may use."""
    given = getattr(os, "sched_getaffinity", None)
    cores = len(given(0)) if given else os.cpu_count()
    return f"{processor(torch.device('cpu'))}, {cores} cores"


def processor(device: torch.device) -> str:
    """Return the name of the processor that computes, as a person would look for it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
