"""The package keeps the rules of the house, and the rules catch those who do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from architecture import (
    Modules,
    empty_names,
    import_cycles,
    imports_of_own_folder,
    kinds_outside_dictionaries,
    long_files,
    read_package,
    undocumented,
    work_at_import,
    wrong_way_imports,
)

REPOSITORY = Path(__file__).parent.parent
RULES: list[Callable[[Modules], list[str]]] = [
    wrong_way_imports,
    imports_of_own_folder,
    import_cycles,
    kinds_outside_dictionaries,
    empty_names,
    undocumented,
    work_at_import,
]


@pytest.fixture(scope="module")
def package() -> Modules:
    return read_package(REPOSITORY / "src" / "zeroflaw")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Callable[[Modules], list[str]], package: Modules) -> None:
    assert len(package) > 20, "the package was not found"
    assert not rule(package), "\n".join(rule(package))


def test_no_file_is_longer_than_400_lines() -> None:
    folders = [REPOSITORY / name for name in ("src", "tests", "benchmarks")]
    assert not long_files(*folders)


def house(tmp_path: Path, files: dict[str, str]) -> Modules:
    """A package made of these files; folders get an empty `__init__` where none is given."""
    root = tmp_path / "zeroflaw"
    for name, text in {"__init__.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        init = path.parent / "__init__.py"
        if not init.exists():
            init.write_text("")
    return read_package(root)


@pytest.mark.parametrize(
    "line",
    [
        "from zeroflaw.methods.btp import BTP",
        "import zeroflaw.methods.btp",
        "import zeroflaw.methods.btp as b",
        "from zeroflaw.methods import btp",
        "from zeroflaw import methods",
        "from ..methods.btp import BTP",
        "from .. import methods",
        "def f():\n    from zeroflaw.methods.btp import BTP",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import zeroflaw.methods.btp",
        "import importlib\nm = importlib.import_module('zeroflaw.methods.btp')",
    ],
)
def test_an_import_from_the_right_is_found_however_it_is_written(tmp_path: Path, line: str) -> None:
    modules = house(tmp_path, {"io/ply.py": line, "methods/btp.py": "BTP = 1"})
    assert len(wrong_way_imports(modules)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("types.py", "from zeroflaw.io.ply import x"),
        ("io/ply.py", "from zeroflaw.inspect import x"),
        ("methods/btp.py", "from zeroflaw.cli import x"),
        ("inspect.py", "from zeroflaw.cli import x"),
        ("__init__.py", "from zeroflaw.cli import x"),
    ],
)
def test_every_room_has_its_place_in_the_order(tmp_path: Path, file: str, line: str) -> None:
    rooms = {"types.py": "", "io/ply.py": "", "inspect.py": "", "cli.py": ""}
    assert len(wrong_way_imports(house(tmp_path, {**rooms, file: line}))) == 1


def test_imports_from_the_left_are_welcome(tmp_path: Path) -> None:
    files = {
        "types.py": "class Scan: ...",
        "version.py": "__version__ = '1'",
        "__init__.py": "from zeroflaw.detector import Detector",
        "io/__init__.py": "from zeroflaw.io.ply import read_ply",
        "io/ply.py": "import numpy\nfrom zeroflaw.types import Scan",
        "io/pcd.py": "from zeroflaw.io.ply import read_ply\nfrom zeroflaw import __version__",
        "methods/btp.py": "from zeroflaw.io import READERS",
        "detector.py": "from zeroflaw.methods.btp import BTP\nfrom zeroflaw.version import v",
        "inspect.py": "from zeroflaw.detector import Detector",
        "cli.py": "def main():\n    from zeroflaw.inspect import inspect",
        "__main__.py": "from zeroflaw.cli import main",
    }
    modules = house(tmp_path, files)
    assert wrong_way_imports(modules) == []
    assert imports_of_own_folder(modules) == []
    assert import_cycles(modules) == []


def test_a_room_without_a_place_in_the_order_is_found(tmp_path: Path) -> None:
    modules = house(tmp_path, {"plugins/loader.py": ""})
    assert any("no room 'plugins'" in line for line in wrong_way_imports(modules))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("io/ply.py", "from zeroflaw.io import READERS"),
        ("io/ply.py", "import zeroflaw.io"),
        ("io/ply.py", "from . import READERS"),
        ("io/ply.py", "def f():\n    from zeroflaw.io import READERS"),
        ("io/ply.py", "from zeroflaw import Detector"),
        ("inspect.py", "import zeroflaw"),
    ],
)
def test_an_import_of_the_own_folder_is_found(tmp_path: Path, file: str, line: str) -> None:
    assert len(imports_of_own_folder(house(tmp_path, {"io/ply.py": "", file: line}))) == 1


def test_siblings_may_be_imported_by_the_name_of_their_folder(tmp_path: Path) -> None:
    modules = house(tmp_path, {"io/ply.py": "from zeroflaw.io import header", "io/header.py": ""})
    assert imports_of_own_folder(modules) == []


def test_a_cycle_is_found_with_its_members(tmp_path: Path) -> None:
    files = {
        "train.py": "from zeroflaw.detector import Detector",
        "detector.py": "from zeroflaw.checkpoint import load",
        "checkpoint.py": "def load():\n    from zeroflaw.train import train",
    }
    (cycle,) = import_cycles(house(tmp_path, files))
    assert all(name in cycle for name in ("train", "detector", "checkpoint"))


def test_a_file_of_401_lines_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("x = 1\n" * 401)
    (tmp_path / "short.py").write_text("x = 1\n" * 400)
    (line,) = long_files(tmp_path)
    assert "long.py: 401" in line


READER = """
    def read_ply(path) -> Scan: ...
    def parse_header(text) -> Header: ...
    def _read_binary(path) -> Scan: ...
"""
DATASET = """
    class PointDataset(Dataset): ...
    class Real3DAD(PointDataset): ...
"""
METHOD = """
    class Config: ...
    class BTP(Method): ...
"""
ENCODER = """
    class Block(nn.Module): ...
    class PointBERT(nn.Module):
        def __init__(self):
            self.block = Block()
"""
DEFECT = "def dent(site: Site, rng: Generator) -> Change: ..."
WRITER = "def write_ply(path: Path, inspection: Inspection) -> None: ..."


@pytest.mark.parametrize(
    ("folder", "text", "dictionary", "name"),
    [
        ("io", READER, "READERS", "read_ply"),
        ("io", WRITER, "WRITERS", "write_ply"),
        ("synthesis", DEFECT, "DEFECTS", "dent"),
        ("datasets", "class Folder(Dataset): ...", "DATASETS", "Folder"),
        ("datasets", DATASET, "DATASETS", "Real3DAD"),
        ("methods", METHOD, "METHODS", "BTP"),
        ("encoders", ENCODER, "ENCODERS", "PointBERT"),
    ],
)
def test_a_kind_must_be_in_its_dictionary(
    tmp_path: Path, folder: str, text: str, dictionary: str, name: str
) -> None:
    files = {f"{folder}/kind.py": text, f"{folder}/__init__.py": f"{dictionary} = {{}}"}
    (line,) = kinds_outside_dictionaries(house(tmp_path / "without", files))
    assert f"{name} is not in {folder}.{dictionary}" in line

    files[f"{folder}/__init__.py"] = f"{dictionary}: dict[str, Any] = {{'a': {name}}}"
    assert kinds_outside_dictionaries(house(tmp_path / "within", files)) == []


def test_being_named_elsewhere_does_not_replace_the_dictionary(tmp_path: Path) -> None:
    files = {"io/ply.py": READER, "io/__init__.py": "OTHERS = {'.ply': read_ply}\nREADERS = {}"}
    assert len(kinds_outside_dictionaries(house(tmp_path, files))) == 1


def test_a_public_function_without_a_docstring_is_found(tmp_path: Path) -> None:
    text = """
        def bare(): ...
        def told():
            '''Return nothing.'''
        def _own(): ...
        class Bare: ...
    """
    found = undocumented(house(tmp_path, {"io/ply.py": text}))
    assert [line.split()[1] for line in found] == ["bare", "Bare"]


@pytest.mark.parametrize(
    "line", ["print('hello')", "for i in []:\n    pass", "torch.manual_seed(0)"]
)
def test_work_at_import_is_found(tmp_path: Path, line: str) -> None:
    assert len(work_at_import(house(tmp_path, {"io/ply.py": f"'''Doc.'''\nx = 1\n{line}"}))) == 1


def test_a_name_that_says_nothing_is_found(tmp_path: Path) -> None:
    assert empty_names(house(tmp_path, {"io/utils.py": ""})) == ["zeroflaw.io.utils"]
