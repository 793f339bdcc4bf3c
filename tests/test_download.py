"""Downloads go on where they stopped, and files are hashed as others hash them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test_weights import CONTENT, Server
from zeroflaw.io.download import bar, download, file_digest


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.http.shutdown()
    served.http.server_close()


def quiet(done: int, total: int | None) -> None:
    del done, total


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    have=st.integers(0, len(CONTENT)),
    comes=st.integers(0, len(CONTENT)),
    honours=st.booleans(),
)
def test_wherever_it_stops_it_goes_on_and_ends_whole(
    tmp_path_factory: pytest.TempPathFactory, server: Server, have: int, comes: int, honours: bool
) -> None:
    partial = tmp_path_factory.mktemp("download") / "file.part"
    partial.write_bytes(CONTENT[:have])
    server.honours_ranges, server.stops_after = honours, comes
    missing = len(CONTENT) - have if honours else len(CONTENT)
    if comes < missing:
        with pytest.raises(OSError, match="the connection ended after"):
            download(server.url, partial, quiet)
        assert CONTENT.startswith(partial.read_bytes())
    server.stops_after = None
    download(server.url, partial, quiet)
    assert partial.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["sha256", "md5", "sha1"])
def test_a_digest_is_that_of_hashlib_and_reports_its_progress(tmp_path: Path, kind: str) -> None:
    path, steps = tmp_path / "file", []
    path.write_bytes(CONTENT)
    found = file_digest(path, kind, progress=lambda done, total: steps.append((done, total)))
    assert found == hashlib.new(kind, CONTENT).hexdigest()
    assert steps[-1] == (len(CONTENT), len(CONTENT))


def test_a_blob_has_the_hash_that_git_gives_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert file_digest(path, "sha1", b"blob 6\0") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("[red]file") as shown:
        shown(1, 2)
    assert capsys.readouterr() == ("", "")
