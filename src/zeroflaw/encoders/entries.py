"""Entries of weight files: read them without running code, load them without leaving one out."""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from zeroflaw.types import ZeroflawError


def plain_data() -> list[Any]:
    """Return the types beside tensors that training scripts keep: plain data, no code."""
    scalar = np.float64(0).__reduce__()[0]
    numbers = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8")]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [argparse.Namespace, np.dtype, *numbers, *((scalar, name) for name in names)]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a torch file holds, its tensors mapped from disk until they are used.

    Only tensors and plain data are read. Raises ZeroflawError for a file that is missing, damaged
    or holds anything else.
    """
    if not path.is_file():
        raise ZeroflawError(f"{path}: there is no such file; check the path of the weights")
    try:
        with torch.serialization.safe_globals(plain_data()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused next
            mapped = zipfile.is_zipfile(path)  # files from before PyTorch 1.6 cannot be
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises many kinds for damaged and for unsafe files
        code = re.search(r"GLOBAL (\S+)", str(error))
        said = " ".join(str(error).split()).partition("Weights only load failed")[0][:160]
        reason = f"it calls {code[1]}" if code else said or type(error).__name__
        raise ZeroflawError(
            f"{path}: not a torch file of tensors only ({reason}); "
            "download it again from its publisher"
        ) from error
    if not isinstance(content, dict):
        raise ZeroflawError(f"{path}: holds {type(content).__name__}, expected named entries")
    return content


def read_entries(path: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, Tensor]:
    """Return the named tensors of a safetensors or torch file whose names start with a prefix.

    A dictionary under `state_dict` is taken if there is one, and `module.` in front of the names
    is dropped. Of a safetensors file only the asked entries are read.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, prefixes)
    content = read_checkpoint(path)
    entries = named_tensors(content.get("state_dict", content), path)
    return {name: tensor for name, tensor in entries.items() if name.startswith(prefixes)}


def _read_safetensors(path: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    if not path.is_file():
        raise ZeroflawError(f"{path}: there is no such file; check the path of the weights")
    try:
        with safe_open(path, framework="pt") as file:
            names = {name.removeprefix("module."): name for name in file.keys()}  # noqa: SIM118
            wanted = {name for name in names if name.startswith(prefixes)}
            return {name: file.get_tensor(names[name]) for name in sorted(wanted)}
    except SafetensorError as error:
        raise ZeroflawError(
            f"{path}: not a whole safetensors file ({error}); download it again"
        ) from error


def named_tensors(entries: Any, source: str | Path) -> dict[str, Tensor]:
    """Return the tensors, without the `module.` that data-parallel training puts in front.

    What is no tensor is left out. Raises ZeroflawError if `entries` are not a dictionary.
    """
    if not isinstance(entries, Mapping):
        raise ZeroflawError(f"{source}: holds {type(entries).__name__}, expected named entries")
    return {
        str(name).removeprefix("module."): tensor
        for name, tensor in entries.items()
        if isinstance(tensor, Tensor)
    }


def load_entries(
    module: nn.Module,
    entries: Mapping[str, Tensor],
    source: str | Path,
    published: Callable[[str], str] = str,
) -> None:
    """Load entries into a module, all of them and nothing else.

    A module without memory of its own (device "meta") takes the tensors as they are. published:
    the module's name of an entry to the file's, for the messages. Raises ZeroflawError
    that names every missing, unexpected or differently shaped entry.
    """
    expected = module.state_dict()
    problems = []
    if missing := sorted(published(name) for name in set(expected) - set(entries)):
        problems.append("missing " + ", ".join(missing))
    if unexpected := sorted(published(name) for name in set(entries) - set(expected)):
        problems.append("unexpected " + ", ".join(unexpected))
    for name in sorted(set(expected) & set(entries)):
        ours, theirs = tuple(expected[name].shape), tuple(entries[name].shape)
        if ours != theirs:
            problems.append(f"{published(name)} has shape {theirs}, expected {ours}")
        elif expected[name].is_floating_point() and not entries[name].is_floating_point():
            problems.append(f"{published(name)} has type {entries[name].dtype}")
    if problems:
        raise ZeroflawError(f"{source}: entries do not fit: {'; '.join(problems)}")
    values = {name: tensor.to(expected[name].dtype) for name, tensor in entries.items()}
    unfilled = any(tensor.is_meta for tensor in expected.values())
    module.load_state_dict(values, strict=True, assign=unfilled)
