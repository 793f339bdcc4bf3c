"""The command speaks to people: short help, one line per error, exit codes that mean something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import zeroflaw
from zeroflaw import cli
from zeroflaw.cli import main
from zeroflaw.types import ZeroflawError

COMMANDS = [
    [],
    ["inspect"],
    ["calibrate"],
    ["train"],
    ["evaluate"],
    ["benchmark"],
    ["report"],
    ["synthesize"],
    ["data"],
    ["data", "list"],
    ["data", "check"],
    ["data", "get"],
    ["weights"],
    ["weights", "list"],
    ["weights", "fetch"],
    ["weights", "import"],
]


def python(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **options}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=120
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_80_columns_however_wide_the_window(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: zeroflaw")
    assert max(map(len, shown.splitlines())) <= 80


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["inspect", "--help"])
    shown = capsys.readouterr().out
    for option in ("--detector", "--out", "--threshold", "--json", "--device", "--fail-on-defect"):
        lines = shown.splitlines()
        place = next(i for i, line in enumerate(lines) if line.strip().startswith(option))
        assert len(" ".join(lines[place : place + 2]).split()) > 4
    assert "exit codes: 0 inspected; 1" in shown


def test_version_and_help_need_no_torch() -> None:
    code = (
        "import sys\nfrom zeroflaw.cli import main\n"
        "try: main([sys.argv[1]])\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "heavy = [m for m in ('torch', 'scipy', 'trimesh', 'PIL', 'rich') if m in sys.modules]\n"
        "print('loaded', heavy)"
    )
    for option, said in (("--help", "commands:"), ("--version", zeroflaw.__version__)):
        shown = python("-c", code, option)
        assert said in shown.stdout, shown.stderr
        assert shown.stdout.endswith("loaded []\n")


def test_the_module_is_the_command() -> None:
    shown = python("-m", "zeroflaw", "--version")
    assert (shown.returncode, shown.stdout) == (0, f"zeroflaw {zeroflaw.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["inspect"],
        ["look"],
        ["calibrate"],
        ["calibrate", "x.ply", "--false-alarms", "0"],
        ["calibrate", "x.ply", "--false-alarms", "nan"],
        ["inspect", "x.ply", "--threshold", "2"],
        ["inspect", "x.ply", "--threshold", "nan"],
        ["inspect", "x.ply", "--threshold", "high"],
        ["synthesize", "x.stl"],
        ["synthesize", "x.stl", "--out", "o", "--count", "0"],
        ["train", "btp", "--data", "d", "--out", "o", "--epochs", "-1"],
        ["weights", "steal"],
        ["data", "steal"],
        ["data", "check"],
        ["data", "get"],
        ["data", "check", "folder", "x", "--workers", "0"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_exit_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "zeroflaw" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "missing.ply"], "missing.ply: no such file"),
        (["inspect", ".", "--detector", "nowhere"], "nowhere: no such detector"),
        (["inspect", ".", "--device", "gpu"], "device 'gpu'"),
        (["weights", "fetch", "nothing"], "nothing"),
        (["weights", "import", "missing.bin"], "missing.bin"),
        (["train", "nothing", "--data", ".", "--out", "out"], "nothing"),
        (["train", "btp", "--data", "missing", "--out", "out"], "missing"),
        (["synthesize", "missing.stl", "--out", "out"], "missing.stl"),
        (["data", "check", "nothing", "."], "'nothing': unknown"),
        (["data", "check", "missing"], "missing: no such folder"),
        (["data", "get", "nothing"], "'nothing': unknown"),
        (["data", "get", "real3d_ad", "--archive", "missing.zip"], "missing.zip"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "scan.xyz").write_text("0 0 0\n1 0 0\n0 1 0\n" * 20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path / "home"))
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("zeroflaw: ")
    assert said in line


def test_ctrl_c_is_130_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.inspect, "run", stop)
    assert main(["inspect", "x"]) == 130
    assert capsys.readouterr().err == "zeroflaw: interrupted\n"


def test_a_reader_that_leaves_early_is_no_error_of_ours(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom zeroflaw import cli\n"
        "def chatter(_):\n    for _ in range(100000): print('x' * 80)\n    return 0\n"
        "cli.weights.list_weights = chatter\nsys.exit(cli.main(['weights', 'list']))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) != 0


def test_an_error_that_is_no_text_for_the_terminal_is_printed_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.ply")
    shown = python("-m", "zeroflaw", "inspect", name, PYTHONIOENCODING="ascii")
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr
    assert "no such file" in shown.stderr


def test_weights_say_whether_they_are_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path))
    assert main(["weights", "list"]) == 0
    shown = capsys.readouterr().out
    assert "ulip2-pointbert" in shown
    assert "not here" in shown
    assert max(map(len, shown.splitlines())) <= 200


def test_zeroflaw_errors_of_any_verb_end_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise ZeroflawError("weights: the moon is full; wait")

    monkeypatch.setattr(cli.weights, "list_weights", fail)
    assert main(["weights"]) == 2
    assert capsys.readouterr().err == "zeroflaw: weights: the moon is full; wait\n"
