"""Tensors of a TorchScript archive, such as OpenAI's CLIP files, read without running its code.

The archive is a zip file: a pickle that names the program's parts, and the tensors' bytes. The
pickle is read with every class of the program replaced by an empty one.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeroflaw.types import ZeroflawError

LONGEST_PICKLE = 64 << 20  # OpenAI's are below 1 MB
DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Return whether the file is a zip archive with a TorchScript program in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of the archived program, by their dotted names.

    Raises ZeroflawError for an archive that is damaged or holds anything but a program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            described = _stored(archive, root, LONGEST_PICKLE)
            program = _Reader(described, archive, root.removesuffix("data.pkl")).load()
            found: dict[str, Tensor] = {}
            _collect(program, "", found)
            return found
    except Exception as error:  # a damaged pickle raises almost anything
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ZeroflawError(
            f"{path}: not a whole TorchScript archive ({reason}); "
            "download it again, or give the safetensors file of the same weights"
        ) from error


def _stored(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """Return a record's bytes; compressed ones could be of any size, and torch writes none."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > largest:
        raise ValueError(f"{name} is compressed or has {info.file_size} bytes")
    return archive.read(info)


class _Reader(pickle.Unpickler):
    """A pickle reader that knows tensors, plain containers and empty parts, nothing else."""

    def __init__(self, described: bytes, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(described))
        self.archive = archive
        self.root = root

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a class or function of the pickle."""
        if module.startswith("__torch__"):
            return type("Part", (), {})
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch.jit._pickle":
            return _plain
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"it calls {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the flat tensor that a record of the archive holds."""
        _, kind, key, _, count = pid
        dtype = DTYPES[kind]
        size = count * dtype.itemsize
        content = _stored(self.archive, f"{self.root}data/{key}", size)
        if len(content) != size:
            raise ValueError(f"data/{key} has {len(content)} bytes, expected {size}")
        return (
            torch.frombuffer(bytearray(content), dtype=dtype) if size else torch.empty(0).to(dtype)
        )


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any
) -> Tensor:
    if math.prod(size) > storage.numel():  # repeated by its strides, it could fill any memory
        raise ValueError(f"a tensor of shape {tuple(size)} has {storage.numel()} values")
    return storage.as_strided(size, stride, offset).clone()


def _plain(value: Any, *rest: Any) -> Any:
    return value


def _collect(part: Any, front: str, found: dict[str, Tensor]) -> None:
    """Put every tensor below a part into `found` under its dotted name."""
    held: Mapping[str, Any] = getattr(part, "__dict__", {})
    for name, value in held.items():
        if isinstance(value, Tensor):
            found[front + name] = value
        elif hasattr(value, "__dict__"):
            _collect(value, f"{front}{name}.", found)
