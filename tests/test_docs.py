"""The documents keep their word: links lead somewhere, commands parse, examples run."""

from __future__ import annotations

import io
import re
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from zeroflaw.cli import main, parser
from zeroflaw.io import READERS

REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(text_of(document)) if kind == language]


def commands(document: Path) -> list[list[str]]:
    """The arguments of every `zeroflaw` command in the document's shell blocks."""
    lines = "".join(blocks(document, "")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if "zeroflaw" in line]
    return [line[1:] for line in words if line and line[0] == "zeroflaw"]


def anchor(heading: str) -> str:
    """The name that a rendered heading gets."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


def by_name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_every_link_leads_somewhere(document: Path) -> None:
    prose = FENCE.sub("", text_of(document))
    for link in LINK.findall(prose):
        target = urlparse(link)
        if target.scheme:
            assert target.scheme == "https", f"{link}: links are https"
            continue
        path = document.parent / unquote(target.path) if target.path else document
        assert path.exists(), f"{link}: no such file"
        if target.fragment:
            headings = {anchor(one) for one in HEADING.findall(text_of(path))}
            assert target.fragment in headings, f"{link}: no such heading"


def test_every_picture_is_small_and_shown_somewhere() -> None:
    shown = {
        (document.parent / link).resolve()
        for document in DOCUMENTS
        for link in LINK.findall(FENCE.sub("", text_of(document)))
    }
    pictures = [path for path in (REPOSITORY / "docs").iterdir() if path.suffix in {".png", ".svg"}]
    assert pictures
    for path in pictures:
        assert path.resolve() in shown, f"no page shows {path.name}"
        assert path.stat().st_size <= 400_000, f"{path.name} is too large for a page"


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_every_fence_is_closed(document: Path) -> None:
    assert len(re.findall(r"^```", text_of(document), re.MULTILINE)) % 2 == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_every_command_is_understood(document: Path) -> None:
    for arguments in commands(document):
        try:
            parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"zeroflaw {shlex.join(arguments)}")


def test_the_commands_are_found() -> None:
    assert ["inspect", "part.ply"] in commands(REPOSITORY / "README.md")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README speaks of, as the current one."""
    example = REPOSITORY / "examples" / "flange_dent.ply"
    for place in ("part.ply", "scans/one.ply", "more/two.ply"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(example, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readmes_inspections_run(workplace: Path) -> None:
    for arguments in commands(REPOSITORY / "README.md"):
        if arguments[0] != "inspect":
            continue
        given = [word.replace("*.pcd", "*.ply") for word in arguments]
        with redirect_stdout(io.StringIO()) as said:
            assert main(given) == 0, said.getvalue()
        assert "part.ply" in said.getvalue()
    for ending in ("_scores.ply", "_heatmap.png", ".json"):
        assert (workplace / "results" / f"part{ending}").is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
@pytest.mark.usefixtures("workplace")
def test_the_python_runs(document: Path) -> None:
    for example in blocks(document, "python"):
        with redirect_stdout(io.StringIO()):
            exec(compile(example, str(document), "exec"), {})


def test_the_readme_has_a_python_example() -> None:
    assert blocks(REPOSITORY / "README.md", "python")


def test_the_readme_and_the_guide_name_every_format() -> None:
    guide = text_of(REPOSITORY / "docs" / "guide.md")
    readme = text_of(REPOSITORY / "README.md")
    for suffix in READERS:
        assert suffix in guide, f"the guide does not name {suffix}"
    for suffix in {s for s in READERS if s not in {".tif", ".gltf"}}:
        assert suffix.lstrip(".").upper() in readme, f"the README does not name {suffix}"


def test_the_guide_names_every_option() -> None:
    guide = text_of(REPOSITORY / "docs" / "guide.md")
    with redirect_stdout(io.StringIO()) as said:
        for command in (
            "inspect",
            "calibrate",
            "train",
            "evaluate",
            "benchmark",
            "report",
            "synthesize",
        ):
            with pytest.raises(SystemExit):
                parser().parse_args([command, "--help"])
        for action in ("check", "get"):
            with pytest.raises(SystemExit):
                parser().parse_args(["data", action, "--help"])
    options = set(re.findall(r"--[a-z][a-z-]+", said.getvalue())) - {"--help"}
    assert options
    assert not {option for option in options if f"`{option}" not in guide}
