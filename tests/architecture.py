"""The rules of the house, read from the files of a package without importing it.

Every rule is a function that takes the modules of a package and returns one line per violation.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOMS = (
    "types",
    "io",
    "geometry",
    "synthesis",
    "datasets",
    "encoders",
    "methods",
    "metrics",
    "reports",
    "verbs",
    "cli",
)
# Modules in the package root that are not verbs, and the room whose place in the order they share.
NOT_VERBS = {"types": "types", "version": "types", "cli": "cli", "__main__": "cli", "web": "cli"}
LONGEST_FILE = 400
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "manager"}


@dataclass(frozen=True)
class Module:
    """One file of the package. name: dotted, a folder's `__init__` under the folder's name."""

    name: str
    is_folder: bool
    tree: ast.Module

    @property
    def room(self) -> str:
        """The module's place in the order; "?" for a folder that the order does not know."""
        parts = self.name.split(".")
        if len(parts) == 1:
            return "verbs"
        if parts[1] in NOT_VERBS:
            return NOT_VERBS[parts[1]]
        if len(parts) == 2 and not self.is_folder:
            return "verbs"
        return parts[1] if parts[1] in ROOMS else "?"


Modules = Mapping[str, Module]


def read_package(root: Path) -> dict[str, Module]:
    """All modules of the package in the folder `root`, by name."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        is_folder = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_folder else parts)
        modules[name] = Module(name, is_folder, ast.parse(path.read_text(encoding="utf-8")))
    return modules


@dataclass(frozen=True)
class Import:
    """One imported module of the package, and the names taken from it."""

    source: Module
    target: str
    line: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line} imports {self.target}"


def imports(module: Module, modules: Modules) -> Iterator[Import]:
    """Every import of the package's own modules, wherever it stands in the file.

    Imports inside functions, under TYPE_CHECKING and by `import_module("…")` count as well.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            dotted = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            dotted = [(f"{base}.{alias.name}", alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
            dotted = [(str(name), "") for name in names]
        else:
            continue
        for path, name in dotted:
            target = _longest_known(path, modules)
            if target:
                yield Import(module, target, node.lineno, name)


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    parts = parts[: len(parts) - node.level + module.is_folder]
    return ".".join([*parts, *filter(None, [node.module])])


def _longest_known(path: str, modules: Modules) -> str:
    parts = path.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in modules), "")


def wrong_way_imports(modules: Modules) -> list[str]:
    """Imports from a room further right, and folders that have no place in the order."""
    found = [
        f"{name}: no room {name.split('.')[1]!r} in the order {' → '.join(ROOMS)}"
        for name, module in modules.items()
        if module.room == "?"
    ]
    for edge in _edges(modules):
        source, target = edge.source.room, modules[edge.target].room
        if "?" in {source, target} or _is_own_root(edge, modules):
            continue
        if ROOMS.index(target) > ROOMS.index(source):
            found.append(f"{edge}, but {source} stands left of {target}")
    return found


def imports_of_own_folder(modules: Modules) -> list[str]:
    """Files that import the `__init__` of a folder that they lie in.

    The version in the package root may be taken by anyone.
    """
    return [
        f"{edge}, the __init__ of its own folder"
        for edge in _edges(modules)
        if edge.source.name.startswith(edge.target + ".")
        and modules[edge.target].is_folder
        and edge.name != "__version__"
    ]


def import_cycles(modules: Modules) -> list[str]:
    """The first cycle among the modules, if there is one."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for edge in _edges(modules):
        if edge.target != edge.source.name and not _is_own_root(edge, modules):
            graph[edge.source.name].add(edge.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" ← ".join(error.args[1])]
    return []


def _edges(modules: Modules) -> Iterator[Import]:
    for module in modules.values():
        yield from imports(module, modules)


def _is_own_root(edge: Import, modules: Modules) -> bool:
    """Whether the import is one that `imports_of_own_folder` speaks about."""
    return "." not in edge.target and modules[edge.target].is_folder


def long_files(*folders: Path) -> list[str]:
    """Python files of more than 400 lines."""
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            found.append(f"{path}: {lines} lines, at most {LONGEST_FILE}")
    return found


def empty_names(modules: Modules) -> list[str]:
    """Modules whose name says nothing."""
    return [name for name in modules if name.rsplit(".", 1)[-1] in EMPTY_NAMES]


def undocumented(modules: Modules) -> list[str]:
    """Public functions and classes without a docstring."""
    return [
        f"{module.name}:{node.lineno} {node.name} has no docstring"
        for module in modules.values()
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]


def work_at_import(modules: Modules) -> list[str]:
    """Statements of a module that do something when it is imported."""
    found = []
    for module in modules.values():
        for node in module.tree.body:
            does = isinstance(node, ast.For | ast.While | ast.With | ast.Try | ast.Delete)
            calls = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
            if does or calls:
                found.append(f"{module.name}:{node.lineno} does more than define")
    return found


Definition = ast.FunctionDef | ast.ClassDef


def _returns(node: ast.FunctionDef, name: str) -> bool:
    return node.returns is not None and ast.unparse(node.returns).strip("'\"") == name


def _is_reader(node: Definition, used: set[str]) -> bool:
    """A public function from a path to a Scan."""
    del used
    return (
        isinstance(node, ast.FunctionDef)
        and _returns(node, "Scan")
        and bool(node.args.args)
        and node.args.args[0].arg == "path"
    )


def _is_writer(node: Definition, used: set[str]) -> bool:
    """A public function from a path and an Inspection to a file."""
    del used
    return isinstance(node, ast.FunctionDef) and any(
        argument.annotation is not None and ast.unparse(argument.annotation) == "Inspection"
        for argument in node.args.args[1:2]
    )


def _extends(node: Definition, name: str) -> bool:
    return isinstance(node, ast.ClassDef) and name in {ast.unparse(base) for base in node.bases}


def _is_dataset(node: Definition, used: set[str]) -> bool:
    """A class that extends Dataset, or what some of them share, which is called …Dataset too."""
    del used
    bases = [ast.unparse(base) for base in getattr(node, "bases", [])]
    return any(base.endswith("Dataset") for base in bases) and not node.name.endswith("Dataset")


def _is_method(node: Definition, used: set[str]) -> bool:
    """A class that extends Method, or what some of them share, which is called …Method too."""
    del used
    bases = [ast.unparse(base) for base in getattr(node, "bases", [])]
    return any(base.endswith("Method") for base in bases) and not node.name.endswith("Method")


def _is_encoder(node: Definition, used: set[str]) -> bool:
    """A network that is not a part of another one in the same folder."""
    return _extends(node, "nn.Module") and node.name not in used


def _is_defect(node: Definition, used: set[str]) -> bool:
    """A public function of a place and chance that says what a defect does to a surface."""
    del used
    if not isinstance(node, ast.FunctionDef) or not _returns(node, "Change"):
        return False
    return [arg.arg for arg in node.args.args] == ["site", "rng"]


def _is_metric(node: Definition, used: set[str]) -> bool:
    """A public function from arrays to one figure."""
    del used
    return isinstance(node, ast.FunctionDef) and _returns(node, "float")


# In this folder, what the predicate picks must be in this dictionary.
KINDS: dict[tuple[str, str], Callable[[Definition, set[str]], bool]] = {
    ("io", "READERS"): _is_reader,
    ("io", "WRITERS"): _is_writer,
    ("synthesis", "DEFECTS"): _is_defect,
    ("datasets", "DATASETS"): _is_dataset,
    ("encoders", "ENCODERS"): _is_encoder,
    ("methods", "METHODS"): _is_method,
    ("metrics", "METRICS"): _is_metric,
}


def kinds_outside_dictionaries(modules: Modules) -> list[str]:
    """Readers, encoders, metrics and other kinds that their folder's dictionary does not name."""
    found = []
    root = next(iter(modules)).split(".")[0]
    for (folder, dictionary), is_kind in KINDS.items():
        members = {n: m for n, m in modules.items() if n.startswith(f"{root}.{folder}.")}
        if not members:
            continue
        homes = [m for n, m in modules.items() if n == f"{root}.{folder}" or n in members]
        listed = set().union(*(_names_in(home.tree, dictionary) for home in homes))
        used = {name for module in members.values() for name in _names_used(module.tree)}
        found += [
            f"{module.name}:{node.lineno} {node.name} is not in {folder}.{dictionary}"
            for module in members.values()
            for node in module.tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and node.name not in listed
            and is_kind(node, used)
        ]
    return found


def _names_in(tree: ast.Module, variable: str) -> set[str]:
    """Names that the value of a module's variable is made of."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if variable in {ast.unparse(t) for t in targets} and getattr(node, "value", None):
            return _names_used(node.value)  # type: ignore[attr-defined]
    return set()


def _names_used(tree: ast.AST) -> set[str]:
    """Names that are read, as they stand or as attributes."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return names | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
