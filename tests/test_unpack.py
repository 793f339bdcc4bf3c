"""Archives are unfolded whole, and nothing that they hold gets out of the folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroflaw.io.unpack import unpack
from zeroflaw.types import ZeroflawError

FILES = {"bagel/train/good/xyz/000.tiff": b"x" * 3000, "bagel/licence.txt": b"", "readme": b"hi"}
PACKED = ["x.tar", "x.tar.gz", "x.tar.xz", "x.tar.bz2", "x.zip"]


def quiet(done: int, total: int | None) -> None:
    del done, total


def packed(path: Path, files: dict[str, bytes]) -> Path:
    """Write an archive of the kind that the path's ending says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    mode = "w:" + path.suffix.lstrip(".").replace("tar", "")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def special(path: Path, kind: bytes, link: str = "") -> Path:
    """Write a tar with an honest file and a member of another kind."""
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("honest"), io.BytesIO())
        entry = tarfile.TarInfo("strange")
        entry.type, entry.linkname = kind, link
        archive.addfile(entry)
    return path


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(archive: Path, **limits: int) -> str:
    """The error that an archive ends in; nothing but the archive is left."""
    before = content(archive.parent)
    with pytest.raises(ZeroflawError) as caught:
        unpack(archive, archive.parent / "out", quiet, **limits)
    assert content(archive.parent) == before
    assert sorted(path.name for path in archive.parent.iterdir()) == [archive.name]
    said = str(caught.value)
    assert "\n" not in said
    assert str(archive) in said
    return said


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_is_unfolded_whole_with_progress(tmp_path: Path, name: str) -> None:
    archive, steps = packed(tmp_path / name, FILES), []
    out = tmp_path / "new" / "out"
    assert unpack(archive, out, lambda done, total: steps.append((done, total))) == 3
    assert content(out) == FILES
    size = archive.stat().st_size
    assert steps[-1] == (size, size)
    assert steps == sorted(steps)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_kind_of_an_archive_is_told_by_its_content(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar.xz", FILES).rename(tmp_path / "download(1)")
    unpack(archive, tmp_path / "out", quiet)
    assert content(tmp_path / "out") == FILES


def test_folders_and_odd_spellings_of_the_current_one_are_understood(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.zip", {"./a/": b"", "./a/b\\c": b"1", "a//d": b"2"})
    unpack(archive, tmp_path / "out", quiet)
    assert content(tmp_path / "out") == {"a/b/c": b"1", "a/d": b"2"}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("../out.txt", "leads out"),
        ("a/../../b", "leads out"),
        ("a\\..\\..\\b", "leads out"),
        ("/etc/passwd", "absolute path"),
        ("C:\\b", "absolute path"),
        ("\\\\host\\b", "absolute path"),
        ("a\x1b[2Jb", "control characters"),
        (".", "leads out"),
    ],
)
def test_a_path_out_of_the_folder_is_refused(
    tmp_path: Path, name: str, member: str, said: str
) -> None:
    assert said in refused(packed(tmp_path / name, {"first": b"1", member: b"2"}))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
    ],
)
def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path, kind: bytes, said: str) -> None:
    assert f"strange is {said}" in refused(special(tmp_path / "x.tar", kind, "honest"))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        entry = zipfile.ZipInfo("strange")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    assert "a symbolic link" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
@pytest.mark.parametrize("second", ["a/b", "A/b", "a/B", "a", "a/b/c", "A/c", "a/./b"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_would_overwrite_another_is_refused(
    tmp_path: Path, name: str, second: str
) -> None:
    archive = tmp_path / name
    if name == "x.zip":
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("a/b", "1")
            opened.writestr(second, "2")
    else:
        with tarfile.open(archive, "w") as packed_files:
            for one in ("a/b", second):
                packed_files.addfile(tarfile.TarInfo(one), io.BytesIO())
    assert "would overwrite" in refused(archive)


@pytest.mark.parametrize("name", ["x.tar.xz", "x.tar.gz", "x.zip"])
def test_what_unfolds_to_far_more_than_itself_is_refused(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / name, {"bomb": bytes(80 << 20)})
    assert archive.stat().st_size < 200_000
    assert "more than 67,108,864 bytes" in refused(archive)


def test_there_is_a_limit_to_all_files_together(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar", {"a": bytes(600), "b": bytes(600)})
    assert "member b unfolds the archive to more than 1,000 bytes" in refused(archive, limit=1000)
    unpack(archive, tmp_path / "out", quiet, limit=1200)


def test_a_header_that_is_itself_a_bomb_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.xz", "w:xz", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a")
        entry.pax_headers = {"comment": "x" * (8 << 20)}
        archive.addfile(entry)
    assert "headers of" in refused(tmp_path / "x.tar.xz")


@pytest.mark.parametrize("name", PACKED)
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_archive_is_refused_wherever_it_ends(
    tmp_path_factory: pytest.TempPathFactory, name: str, share: float
) -> None:
    archive = packed(tmp_path_factory.mktemp("cut") / name, FILES)
    whole = archive.read_bytes()
    end = len(whole)
    if name == "x.tar":  # its end mark may be longer than needed
        end = len(whole.rstrip(b"\0")) // 512 * 512
    archive.write_bytes(whole[: int(share * end)])
    assert "not a whole tar or zip archive" in refused(archive)


@pytest.mark.parametrize("name", ["x.tar.xz", "x.tar.gz", "x.zip"])
def test_a_damaged_archive_is_refused_or_gives_what_was_packed(tmp_path: Path, name: str) -> None:
    files = {"a": bytes(range(256)) * 40, "b": b"1" * 600}
    archive = packed(tmp_path / name, files)
    whole = archive.read_bytes()
    refusals = 0
    for place in range(0, len(whole), max(len(whole) // 60, 1)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        archive.write_bytes(damaged)
        out = tmp_path / f"out{place}"
        try:
            unpack(archive, out, quiet)
        except ZeroflawError:
            refusals += 1
            assert not out.exists()
        else:
            assert sorted(content(out).values()) == sorted(files.values())
    assert refusals > 20
    assert not list(tmp_path.glob(".*"))


def test_a_second_archive_behind_the_first_is_not_left_out_in_silence(tmp_path: Path) -> None:
    first, second = packed(tmp_path / "x.tar", {"a": b"1"}), packed(tmp_path / "y.tar", {"b": b"2"})
    first.write_bytes(first.read_bytes() + second.read_bytes())
    second.unlink()
    assert "goes on after its end mark" in refused(first)


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    assert "holds no file" in refused(packed(tmp_path / "x.zip", {}))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    archive, out = packed(tmp_path / "x.tar", FILES), tmp_path / "out"
    out.mkdir()
    unpack(archive, out, quiet)
    (out / "readme").write_bytes(b"mine")
    with pytest.raises(ZeroflawError, match="is there already"):
        unpack(archive, out, quiet)
    assert (out / "readme").read_bytes() == b"mine"


def test_what_a_killed_call_left_is_removed_and_an_interrupted_one_leaves_nothing(
    tmp_path: Path,
) -> None:
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    archive = packed(tmp_path / "x.tar", FILES)
    left = tmp_path / ".out.unpacking" / "bagel"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"1")
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out", stop)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"1")
    unpack(archive, tmp_path / "out", quiet)
    assert content(tmp_path / "out") == FILES


def test_a_missing_archive_and_one_of_another_kind_are_errors_for_people(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="no such file"):
        unpack(tmp_path / "x.tar", tmp_path / "out", quiet)
    (tmp_path / "x.rar").write_bytes(b"Rar!\x1a\x07" + bytes(2000))
    assert "not a whole tar or zip archive" in refused(tmp_path / "x.rar")
