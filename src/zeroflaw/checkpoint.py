"""A trained method on disk: its weights as safetensors, and beside them a card in JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import types
import typing
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from zeroflaw.io.atomic import replacing
from zeroflaw.io.download import file_digest
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Method
from zeroflaw.metrics.calibration import Scalings
from zeroflaw.types import ZeroflawError
from zeroflaw.version import __version__

Card = dict[str, Any]

MOST = 1e9  # of a threshold; scores are from 0 to 1
LARGE = 1 << 16  # values of an entry from which it is worth a look whether 16 bits hold them

CARD_DEFAULTS: Card = {
    "threshold": 0.5,
    "point_threshold": 0.5,
    "trained_on": "not stated",
    "licence": "not stated",
    "figures": {},
    "seed": None,
}


def save(
    path: str | Path, method: Method, card: Mapping[str, Any], half: bool = False
) -> tuple[Path, Path]:
    """Write `<stem>.safetensors` and `<stem>.json`; return both paths.

    card: what is known about the training; `method`, `config`, `version` and the weights' sha256
    are filled in here. half: store floating weights in 16 bits, for small files. Without it, only
    large entries that 16 bits hold exactly are stored so, as OpenAI's CLIP was published. Each file
    appears whole or not at all; a reader that meets one new and one old file refuses them (see
    `load`).
    """
    weights, sheet = paths(path)
    entries = {name: _stored(tensor, half) for name, tensor in method.inspection_state().items()}
    content = _serialize(entries)
    own = {"method": method.name, "config": dataclasses.asdict(method.config)}
    filled: Card = {
        **own,
        **CARD_DEFAULTS,
        **card,
        **own,  # a card of earlier weights may say otherwise
        "version": __version__,
        "half": half,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    text = json.dumps(filled, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    weights.parent.mkdir(parents=True, exist_ok=True)
    _write(weights, content)
    _write(sheet, text.encode())
    return weights, sheet


def load(path: str | Path) -> tuple[Method, Card]:
    """Return the method, rebuilt from its card, in evaluation mode on the CPU, and the card.

    path: either of the two files, or their common stem. Raises ZeroflawError, one line, for a
    missing, damaged or foreign file, an unknown method or setting, and for every entry that is
    missing, unexpected, or of another shape or type than the method's. No code is ever unpickled.
    A method whose constructor has a `trainable` option is built without what only training needs.
    """
    weights, sheet = paths(path)
    card = read_card(sheet)
    if card["method"] not in METHODS:
        known = ", ".join(sorted(METHODS))
        raise ZeroflawError(f"{sheet}: unknown method {card['method']!r}; known are {known}")
    kind: Any = METHODS[card["method"]]
    config = build_config(kind.Config, card["config"], str(sheet))
    entries = _read_weights(weights, card)
    method = for_inspection(kind, config)
    expected = method.inspection_state()
    _check_entries(weights, entries, expected)
    method.load_state_dict(
        {name: tensor.to(expected[name].dtype) for name, tensor in entries.items()}, strict=False
    )
    method.eval()
    return method, card


def for_inspection(kind: Any, config: Any) -> Method:
    """Return a method of this class and configuration without what training alone needs.

    Its weights are yet to be loaded.
    """
    inspection = {"trainable": False} if "trainable" in signature(kind).parameters else {}
    with torch.random.fork_rng(devices=[]):
        method: Method = kind(config, **inspection)
    return method


def paths(path: str | Path) -> tuple[Path, Path]:
    """Return the paths of the weights and of the card for either of them or their common stem."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def read_card(path: Path) -> Card:
    """Return a card, its required keys checked. Raises ZeroflawError."""
    content = _read(path, "the card of a checkpoint", lambda: path.read_text(encoding="utf-8"))
    try:
        card = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ZeroflawError(f"{path}: damaged card ({error}); fetch or train it again") from None
    if not isinstance(card, dict):
        raise ZeroflawError(f"{path}: a card is a JSON object, this is a {type(card).__name__}")
    for key, kind in (("method", str), ("config", dict), ("sha256", str)):
        if not isinstance(card.get(key), kind):
            raise ZeroflawError(f"{path}: the card needs {key!r} ({kind.__name__}); not a card?")
    card = {**CARD_DEFAULTS, **card}
    for key in ("threshold", "point_threshold"):
        value = card[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
            raise ZeroflawError(f"{path}: {key} is {value!r}; a number expected; correct the card")
    try:
        Scalings.read(card.get("calibration"))
    except ZeroflawError as error:
        raise ZeroflawError(f"{path}: 'calibration': {error}; correct the card") from None
    if not _says_where(card.get("seen")):
        raise ZeroflawError(f"{path}: 'seen' names no data set and categories; correct the card")
    return card


def _says_where(seen: Any) -> bool:
    """Whether the entry tells what was trained on, or is not there."""
    if not isinstance(seen, dict):
        return seen is None
    categories = seen.get("categories")
    return isinstance(categories, list) and all(isinstance(one, str) for one in categories)


def build_config(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Return an instance of the configuration dataclass `kind` from values read from JSON.

    Lists become tuples, nested objects nested dataclasses. Raises ZeroflawError for an unknown
    or missing key and for a value of another type, naming it and the file `where`.
    """
    hints = typing.get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind) if item.init}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ZeroflawError(
            f"{where}: unknown setting {unknown[0]!r}; known are {', '.join(fields)}"
        )
    for name, item in fields.items():
        required = (
            item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise ZeroflawError(f"{where}: setting {name!r} is missing")
    built = {
        name: _fit(hints[name], value, f"{where}: setting {name!r}")
        for name, value in values.items()
    }
    try:
        return kind(**built)
    except (TypeError, ValueError) as error:
        raise ZeroflawError(f"{where}: settings that do not fit together ({error})") from None


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and (half or tensor.numel() >= LARGE):
        shorter = tensor.half()
        tensor = shorter if half or torch.equal(shorter.to(tensor.dtype), tensor) else tensor
    return tensor.contiguous()


def _serialize(entries: dict[str, Tensor]) -> bytes:
    """Return a safetensors file; entries that share memory are written once each."""
    seen: set[int] = set()
    for name, tensor in entries.items():
        place = tensor.untyped_storage().data_ptr()
        if place in seen or tensor.untyped_storage().nbytes() != tensor.nbytes:
            entries[name] = tensor.clone()
        seen.add(place)
    return safetensors.torch.save(entries, metadata={"format": "pt"})


def _read(path: Path, what: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise ZeroflawError(f"{path}: no such file; expected {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ZeroflawError(f"{path}: cannot be read as {what} ({error})") from None


def _read_weights(path: Path, card: Card) -> dict[str, Tensor]:
    digest = _read(path, "the weights of a checkpoint", lambda: file_digest(path))
    if digest != card["sha256"]:
        raise ZeroflawError(
            f"{path}: its sha256 is not the card's; the file is damaged or belongs to another "
            "card; fetch or train it again"
        )
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ZeroflawError(f"{path}: not a safetensors file ({error})") from None


def _check_entries(
    path: Path, entries: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    problems = [f"missing {name}" for name in sorted(set(expected) - set(entries))]
    problems += [f"unexpected {name}" for name in sorted(set(entries) - set(expected))]
    for name in sorted(set(entries) & set(expected)):
        found, wanted = entries[name], expected[name]
        shorter = found.dtype == torch.float16 and wanted.is_floating_point()
        if found.shape != wanted.shape:
            problems.append(f"{name} has shape {list(found.shape)}, not {list(wanted.shape)}")
        elif found.dtype != wanted.dtype and not shorter:
            problems.append(f"{name} has type {found.dtype}, not {wanted.dtype}")
    if problems:
        raise ZeroflawError(f"{path}: the weights do not fit the method: {'; '.join(problems)}")


def _fit(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as the annotated type `kind` wants it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _fit(next(part for part in inner if part is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in inner:
            raise ZeroflawError(f"{where} is {value!r}; one of {', '.join(map(repr, inner))}")
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return build_config(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(_fit(part, one, where) for part, one in zip(kinds, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or kind
    if not isinstance(value, plain) or (plain in (int, float) and isinstance(value, bool)):
        name = getattr(kind, "__name__", str(kind))
        raise ZeroflawError(f"{where} is {value!r}; {name} expected")
    return value
