"""Recipes of benchmarks: which method is trained on what, tested on what, and laid beside what."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from zeroflaw.checkpoint import build_config
from zeroflaw.datasets.base import SPLITS
from zeroflaw.epochs import TrainSettings
from zeroflaw.methods import METHODS
from zeroflaw.reports.benchmark_table import Layout
from zeroflaw.types import ZeroflawError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EACH, ALL, OTHERS, SAME = "each", "all", "others", "same"
TRAINING = tuple(item.name for item in dataclasses.fields(TrainSettings) if item.name != "seed")
LISTS = ("train", "variant", "test", "table")
ONE_OR_MORE = ("categories", "figures", "published", "beside", "tests")  # brackets may be missing
TOP = ("title", "about", "checkpoint", "method", "seeds", "speed", *TRAINING, *LISTS)
TAKEN = ("train", "trained.json", "cell.json", "failed.txt", "lock", "run.json")  # in a cell
SEPARATORS = '/\\:*?"<>|'  # what no folder may be called with everywhere


@dataclass(frozen=True)
class Variant:
    """A way to configure a method. method: settings. training: of TrainSettings.

    kind: the method's name, "" for that of the recipe.
    """

    name: str
    method: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""


@dataclass(frozen=True)
class Train:
    """What is trained on. categories: each of them by itself; ("each",) or ("all",) together."""

    data: str
    categories: tuple[str, ...] = (EACH,)
    split: str = "test"


@dataclass(frozen=True)
class Test:
    """What is tested on. data: "same" as trained on. method: settings at inspection only."""

    data: str = SAME
    name: str = ""
    categories: tuple[str, ...] = (OTHERS,)
    split: str = "test"
    method: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A benchmark. method: its name, "" where every variant has its own; or else `checkpoint`.

    A checkpoint is not trained at all. settings: of the method, and of all variants where it has
    no name. training: of TrainSettings. speed: whether clouds per second are
    measured. content: all of it as plain values, overrides included.
    """

    name: str
    title: str
    about: str
    method: str
    checkpoint: str
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    seeds: tuple[int, ...]
    train: tuple[Train, ...]
    variants: tuple[Variant, ...]
    tests: tuple[Test, ...]
    tables: tuple[Layout, ...]
    speed: bool
    content: Mapping[str, Any]

    @property
    def data(self) -> tuple[str, ...]:
        """The names of all data sets that it needs, sorted."""
        names = {one.data for one in self.train} | {one.data for one in self.tests}
        return tuple(sorted(names - {SAME}))

    def method_of(self, variant: Variant) -> str:
        """Return the name of the method that a variant trains, "" for a checkpoint."""
        return variant.kind or self.method

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of all methods that it trains, sorted; none for a checkpoint."""
        return tuple(sorted({self.method_of(one) for one in self.variants} - {""}))

    def method_settings(self, variant: Variant) -> dict[str, Any]:
        """Return the method's settings in a variant; those of another method do not count."""
        shared = self.method_of(variant) == self.method or not self.method
        return {**(self.settings if shared else {}), **variant.method}

    def train_settings(self, variant: Variant, seed: int) -> dict[str, Any]:
        """Return the training's settings in a variant, but those that have the usual value."""
        return {**self.training, **variant.training, "seed": seed}


def bundled() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    folder = Path(str(resources.files("zeroflaw"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_recipe(name_or_path: str) -> Path:
    """Return the path of a bundled recipe or of a file. Raises ZeroflawError."""
    known = bundled()
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise ZeroflawError(
        f"{name_or_path}: no such recipe; bundled are {', '.join(known)}; anything else is the "
        "path of a TOML file"
    )


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe. Raises ZeroflawError that names file and place.

    overrides: KEY=VALUE each, see `override`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ZeroflawError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ZeroflawError(f"{path}: not TOML ({error})") from None
    for one in overrides:
        override(content, one)
    return build_recipe(content, path.stem, str(path))


def override(content: dict[str, Any], given: str) -> None:
    """Change one value of a recipe, in place.

    given: KEY=VALUE, the key dotted (`method.points`), an element of a list by its name or by its
    number from 1 (`variant.full.epochs`), the value as in TOML or else plain text. Raises
    ZeroflawError.
    """
    key, equals, text = given.partition("=")
    if not equals or not key.strip():
        raise ZeroflawError(f"--set {given}: expected KEY=VALUE, such as epochs=1")
    *path, last = key.strip().split(".")
    node: Any = content
    for part in path:
        if isinstance(node, list):
            node = _element(node, part, given)
        elif isinstance(node, dict):
            node = node.setdefault(part, {})
    if not isinstance(node, dict):
        raise ZeroflawError(f"--set {given}: the recipe has no table {'.'.join(path)}")
    try:
        node[last] = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        node[last] = text


def _element(elements: list[Any], part: str, given: str) -> Any:
    names = [str(one.get("name", "")) for one in elements if isinstance(one, dict)]
    if part in names:
        return elements[names.index(part)]
    if part.isdecimal() and 1 <= int(part) <= len(elements):
        return elements[int(part) - 1]
    known = ", ".join(name for name in names if name) or f"1 to {len(elements)}"
    raise ZeroflawError(f"--set {given}: no element {part!r}; there are {known}")


def build_recipe(content: Mapping[str, Any], name: str, where: str) -> Recipe:
    """Return the recipe that plain values describe, checked. Raises ZeroflawError.

    where: the file, for messages.
    """
    unknown = sorted(set(content) - set(TOP))
    if unknown:
        raise ZeroflawError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(TOP)}")
    settings = dict(_mapping(content.get("method", {}), f"{where}: [method]"))
    method = settings.pop("name", "")
    checkpoint = content.get("checkpoint", "")
    training = {key: content[key] for key in TRAINING if key in content}
    default = method or checkpoint
    variants = _variants(content, default if isinstance(default, str) else "", where)
    named = [method, *(variant.kind for variant in variants)]
    whole = bool(method) or all(variant.kind for variant in variants)
    if (any(named) if checkpoint else not whole) or not isinstance(default, str):
        raise ZeroflawError(
            f"{where}: name either a method to train, in [method] or in the method of every "
            "[[variant]], or a checkpoint to test"
        )
    for one in named:
        if one and one not in METHODS:
            known = ", ".join(sorted(METHODS))
            raise ZeroflawError(f"{where}: [method] unknown method {one!r}; known are {known}")
    recipe = Recipe(
        name=name,
        title=_text(content, "title", where),
        about=_text(content, "about", where, needed=False),
        method=method,
        checkpoint=checkpoint,
        settings=settings,
        training=training,
        seeds=_seeds(content, where),
        train=_elements(content, "train", Train, where),
        variants=variants,
        tests=_elements(content, "test", Test, where) or (Test(),),
        tables=_elements(content, "table", Layout, where),
        speed=_yes(content, "speed", where),
        content=content,
    )
    _check_settings(recipe, where)
    _check_data(recipe, where)
    return recipe


def _check_settings(recipe: Recipe, where: str) -> None:
    """Build every configuration once, so that a wrong one is found before anything is trained."""
    for variant in recipe.variants:
        place = f"{where}: variant {variant.name!r}"
        build_config(TrainSettings, {**recipe.training, **variant.training}, place)
        if recipe.methods:
            kind: Any = METHODS[recipe.method_of(variant)]
            for test in (None, *recipe.tests):
                later = {} if test is None else test.method
                build_config(kind.Config, {**recipe.method_settings(variant), **later}, place)
    for name in (recipe.methods or ("",)) if recipe.speed else ():
        if not hasattr(METHODS.get(name), "encode"):
            raise ZeroflawError(f"{where}: speed cannot be measured of {name or 'a checkpoint'}")
    if recipe.checkpoint and recipe.training:
        raise ZeroflawError(
            f"{where}: {next(iter(recipe.training))!r} has no effect on a checkpoint; leave it out"
        )


def _check_data(recipe: Recipe, where: str) -> None:
    if recipe.methods and not recipe.train:
        raise ZeroflawError(f"{where}: [[train]] is missing: name the data to train on")
    if recipe.checkpoint and recipe.train:
        raise ZeroflawError(f"{where}: [[train]] has no effect on a checkpoint; leave it out")
    for number, train in enumerate(recipe.train, 1):
        place = f"{where}: [[train]] {number}"
        _check_choice(train.categories, (EACH, ALL), train.split, place)
    _no_doubles([train.data for train in recipe.train], f"{where}: [[train]]")
    for number, test in enumerate(recipe.tests, 1):
        place = f"{where}: [[test]] {number}"
        _check_choice(test.categories, (OTHERS, ALL), test.split, place)
        if test.data == SAME and not recipe.train:
            raise ZeroflawError(f"{place}: names no data, and nothing is trained on")
    names = [one.name or one.data for one in recipe.tests]
    _no_doubles(names, f"{where}: [[test]]")
    for name in names:
        _folder_name(name, f"{where}: [[test]]")
        if name.casefold() in TAKEN:
            raise ZeroflawError(
                f"{where}: [[test]]: {name!r} is a file of the cell itself; choose another name"
            )
    for layout in recipe.tables:
        for wanted in layout.tests:
            if wanted not in names:
                known = ", ".join(names)
                raise ZeroflawError(f"{where}: [[table]] no test {wanted!r}; there are {known}")
        variants = [one.name for one in recipe.variants]
        for wanted in layout.own:
            if wanted not in variants:
                known = ", ".join(variants)
                raise ZeroflawError(f"{where}: [[table]] no variant {wanted!r}; there are {known}")


def _check_choice(
    categories: tuple[str, ...], words: tuple[str, str], split: str, place: str
) -> None:
    """Raise ZeroflawError for a choice of scans that means nothing."""
    found = [one for one in categories if one in (EACH, ALL, OTHERS)]
    if not categories or (found and (len(categories) > 1 or found[0] not in words)):
        raise ZeroflawError(
            f"{place}: categories are a list of names, {words[0]!r} or {words[1]!r}"
        )
    if split not in SPLITS:
        raise ZeroflawError(f"{place}: split {split!r}; there are {', '.join(SPLITS)}")


def _variants(content: Mapping[str, Any], default: str, where: str) -> tuple[Variant, ...]:
    found = []
    for number, raw in enumerate(_list(content, "variant", where), 1):
        place = f"{where}: [[variant]] {number}"
        known = ("name", "method", *TRAINING)
        if unknown := sorted(set(raw) - set(known)):
            raise ZeroflawError(
                f"{place}: unknown key {unknown[0]!r}; known are {', '.join(known)}"
            )
        method = dict(_mapping(raw.get("method", {}), f"{place}: method"))
        kind = method.pop("name", "")
        if not isinstance(kind, str):
            raise ZeroflawError(f"{place}: method {kind!r}; a method's name expected")
        training = {key: raw[key] for key in TRAINING if key in raw}
        found.append(Variant(_text(raw, "name", place), method, training, kind))
    if not found:
        stem = Path(default).name.removesuffix(".safetensors")
        found = [Variant(stem)]
    for variant in found:
        _folder_name(variant.name, f"{where}: [[variant]]")
    _no_doubles([variant.name for variant in found], f"{where}: [[variant]]")
    return tuple(found)


def _seeds(content: Mapping[str, Any], where: str) -> tuple[int, ...]:
    seeds = content.get("seeds", [TrainSettings().seed])
    fits = isinstance(seeds, list) and all(
        type(seed) is int and 0 <= seed < 1 << 32 for seed in seeds
    )
    if not fits or not seeds or len(set(seeds)) < len(seeds):
        raise ZeroflawError(
            f"{where}: seeds are a list of different whole numbers below 2**32, not {seeds!r}"
        )
    return tuple(seeds)


def _elements(content: Mapping[str, Any], key: str, kind: Any, where: str) -> tuple[Any, ...]:
    found = []
    for number, raw in enumerate(_list(content, key, where), 1):
        plain = {
            name: [value] if name in ONE_OR_MORE and isinstance(value, str) else value
            for name, value in raw.items()
        }
        found.append(build_config(kind, plain, f"{where}: [[{key}]] {number}"))
    return tuple(found)


def _list(content: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise ZeroflawError(f"{where}: {key!r} is written as [[{key}]], in double brackets")
    return value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ZeroflawError(f"{where} is {value!r}; a table of settings expected")
    return value


def _text(content: Mapping[str, Any], key: str, where: str, needed: bool = True) -> str:
    value = content.get(key, "")
    if not isinstance(value, str) or (needed and not value.strip()):
        raise ZeroflawError(f"{where}: {key!r} is missing or no text")
    return value


def _yes(content: Mapping[str, Any], key: str, where: str) -> bool:
    value = content.get(key, False)
    if not isinstance(value, bool):
        raise ZeroflawError(f"{where}: {key!r} is {value!r}; true or false expected")
    return value


def _folder_name(name: str, where: str) -> None:
    strange = any(letter in SEPARATORS or not letter.isprintable() for letter in name)
    if strange or name[:1] in ". " or len(name.encode()) > 200:
        raise ZeroflawError(f"{where}: {name!r} cannot be a folder; choose a plainer name")


def _no_doubles(names: Sequence[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ZeroflawError(f"{where}: two are called {name!r}; give each a `name` of its own")
