"""What produced a folder of results: the command, versions, data, times and the machine."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

from zeroflaw.io.atomic import replacing
from zeroflaw.log import processor
from zeroflaw.types import ZeroflawError
from zeroflaw.version import __version__

RUN = "run.json"
RUNNING, DONE, INTERRUPTED, FAILED = "running", "done", "interrupted", "failed"
EARLIER = 50  # runs in the same folder that are remembered
_PATIENCE = 10.0  # seconds for git to answer


def provenance(**facts: Any) -> dict[str, Any]:
    """Return what is known of the process that asks, and then `facts`.

    facts: by name, such as `data`, `data_hash` and `seed`; anything that JSON can hold, and paths
    and dataclasses.
    """
    return {
        "command": command(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
        **{name: _plain(value) for name, value in facts.items()},
    }


@contextmanager
def recorded(folder: Path | None, **facts: Any) -> Iterator[dict[str, Any]]:
    """Keep `run.json` in `folder` while work is done: what `provenance` says, state and seconds.

    Facts that become known on the way are put into the dict that is yielded, and written at the
    end. The state is "running", then "done", "interrupted" (Ctrl-C) or "failed"; after a kill it
    stays "running". Earlier runs in the same folder are kept with their state and seconds, in the
    entry `earlier`. Without a folder nothing is written, as by all but one of several processes
    that work together. Raises ZeroflawError if the file cannot be written.
    """
    if folder is None:
        yield {}
        return
    record = {**provenance(**facts), "state": RUNNING, "seconds": None}
    earlier = _earlier(folder)
    if earlier:
        record["earlier"] = earlier
    begun = time.monotonic()
    write_record(folder, record)
    state = FAILED
    try:
        yield record
        state = DONE
    except KeyboardInterrupt:
        state = INTERRUPTED
        raise
    except ZeroflawError as error:
        record["error"] = str(error)
        raise
    finally:
        record["state"] = state
        record["seconds"] = round(time.monotonic() - begun, 3)
        write_record(folder, record)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `run.json`. Raises ZeroflawError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZeroflawError(
            f"{folder}: cannot hold the results ({error.strerror}); name another folder"
        ) from None
    with replacing(folder / RUN) as file:
        file.write((json.dumps(_plain(record), indent=2) + "\n").encode())


def amend(folder: Path, **facts: Any) -> None:
    """Add facts to the `run.json` in `folder`, or write one of them alone. Raises ZeroflawError."""
    try:
        record = dict(json.loads((folder / RUN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        record = {}
    write_record(folder, {**record, **facts})


def _earlier(folder: Path) -> list[dict[str, Any]]:
    """Runs that `run.json` tells of, the latest last; none if it is missing or damaged."""
    try:
        former = json.loads((folder / RUN).read_text(encoding="utf-8"))
        runs = [*former.get("earlier", []), former]
        names = ("command", "started", "state", "seconds")
        return [{name: run.get(name) for name in names} for run in runs][-EARLIER:]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []


def command() -> str:
    """Return the command line of the process, as one would type it."""
    program, *arguments = sys.argv or [""]
    path = Path(program)
    name = path.parent.name if path.name == "__main__.py" else path.name
    return shlex.join([name or "python", *arguments])


def versions() -> dict[str, str]:
    """Return the versions of all that the figures depend on."""
    return {
        "zeroflaw": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def commit() -> str | None:
    """Return the git commit of the source, with a "+" if files were changed, or None.

    None where the package does not run from a checkout of its own, or git is missing.
    """
    package = Path(__file__).resolve().parent
    root = package.parent.parent
    if not (root / ".git").exists() or package != root / "src" / package.name:
        return None
    head = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changed else head or None


def _git(root: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        said = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.strip()


def machine() -> dict[str, Any]:
    """Return the processor, its cores that may be used, memory in bytes, GPUs and the system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "processor": processor(torch.device("cpu")),
        "cores": usable,
        "memory": _memory(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(found)],
        "platform": platform.platform(),
    }


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _plain(value: Any) -> Any:
    """The same as what JSON can hold; a number that is not finite is null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in (sorted(value) if isinstance(value, set) else value)]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)
