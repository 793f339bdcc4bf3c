"""Published weights come into the cache whole, checked and only when asked for."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zeroflaw.encoders.weights import WEIGHTS, fetch, home, import_file, listing, path_of
from zeroflaw.types import ZeroflawError

CONTENT = bytes(range(256)) * 5000
NAME = "small"


class Server:
    """Serves CONTENT on this machine and remembers what it was asked for."""

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self.honours_ranges = True
        self.stops_after: int | None = None
        self.in_chunks = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if self.in_chunks:  # and gone in the middle of one
            request.protocol_version = "HTTP/1.1"
            request.send_response(200)
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            request.wfile.write(b"400\r\n" + CONTENT[:100])
            request.close_connection = True
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        partial = bool(asked) and self.honours_ranges
        if partial and start >= len(CONTENT):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            request.end_headers()
            return
        body = CONTENT[start:] if partial else CONTENT
        request.send_response(206 if partial else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.stops_after])


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.http.shutdown()
    served.http.server_close()


@pytest.fixture(autouse=True)
def _small_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and one small entry beside the published ones."""
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path / "home"))
    entry = replace(
        WEIGHTS["clip-bigg"],
        name=NAME,
        filename="small.safetensors",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    monkeypatch.setitem(WEIGHTS, NAME, entry)


def test_a_download_lands_in_the_cache_and_reports_its_progress(server: Server) -> None:
    steps: list[tuple[int, int | None]] = []
    path = fetch(NAME, lambda done, total: steps.append((done, total)), url=server.url)
    assert path == path_of(NAME)
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert [file.name for file in home().iterdir()] == ["small.safetensors"]


def test_what_is_there_is_not_downloaded_again(server: Server) -> None:
    fetch(NAME, url=server.url)
    fetch(NAME, url=server.url)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("honours_ranges", [True, False])
def test_an_interrupted_download_goes_on(server: Server, honours_ranges: bool) -> None:
    server.stops_after, server.honours_ranges = 300_000, honours_ranges
    with pytest.raises(ZeroflawError, match="weights fetch small` again") as caught:
        fetch(NAME, url=server.url)
    assert "\n" not in str(caught.value)
    assert not [path for entry, path in listing() if entry.name == NAME and path]
    server.stops_after = None
    assert fetch(NAME, url=server.url).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_a_download_that_lacks_only_its_check_is_finished(server: Server) -> None:
    home().mkdir(parents=True)
    (home() / "small.safetensors.part").write_bytes(CONTENT)
    assert fetch(NAME, url=server.url).read_bytes() == CONTENT


def test_a_download_cut_within_a_chunk_is_one_line_and_goes_on(server: Server) -> None:
    server.in_chunks = True
    with pytest.raises(ZeroflawError, match="weights fetch small` again"):
        fetch(NAME, url=server.url)
    server.in_chunks = False
    assert fetch(NAME, url=server.url).read_bytes() == CONTENT


def test_what_is_longer_than_the_file_is_thrown_away(server: Server) -> None:
    home().mkdir(parents=True)
    (home() / "small.safetensors.part").write_bytes(CONTENT + b"more")
    with pytest.raises(ZeroflawError, match="weights fetch small` again"):
        fetch(NAME, url=server.url)
    assert fetch(NAME, url=server.url).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_an_error_for_people(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / "home").write_text("")
    mine = tmp_path / "small.safetensors"
    mine.write_bytes(CONTENT)
    with pytest.raises(ZeroflawError, match="ZEROFLAW_HOME"):
        import_file(mine)
    with pytest.raises(ZeroflawError, match=r"Not a directory|exists"):
        fetch(NAME, url=server.url)


def test_a_file_that_is_not_the_published_one_is_refused_and_removed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WEIGHTS, NAME, replace(WEIGHTS[NAME], sha256="0" * 64))
    with pytest.raises(ZeroflawError, match=f"sha256 .*{WEIGHTS[NAME].notes}"):
        fetch(NAME, url=server.url)
    monkeypatch.setitem(WEIGHTS, NAME, replace(WEIGHTS[NAME], size=7))
    with pytest.raises(ZeroflawError, match=f"has {len(CONTENT)} bytes, small has 7"):
        fetch(NAME, url=server.url)
    assert list(home().iterdir()) == []


def test_an_address_that_does_not_answer_names_the_browser_way(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ZeroflawError, match="weights import FILE") as caught:
        fetch(NAME, url=server.url)
    assert WEIGHTS[NAME].page in str(caught.value)


def test_missing_weights_say_how_to_get_them() -> None:
    with pytest.raises(ZeroflawError) as caught:
        path_of("ulip2-pointbert")
    message = str(caught.value)
    assert "zeroflaw weights fetch ulip2-pointbert" in message
    assert "zeroflaw weights import FILE" in message
    assert WEIGHTS["ulip2-pointbert"].page in message
    with pytest.raises(ZeroflawError, match="clip-bigg"):
        path_of("clip-biig")


def test_an_imported_file_is_known_by_its_name_and_stays_where_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "small.safetensors"
    mine.write_bytes(CONTENT)
    renamed = tmp_path / "download(1)"
    renamed.write_bytes(CONTENT)
    with pytest.raises(ZeroflawError, match="cannot tell which weights"):
        import_file(renamed)
    assert import_file(mine).read_bytes() == CONTENT
    assert import_file(renamed, NAME).read_bytes() == CONTENT
    assert import_file(path_of(NAME), NAME) == path_of(NAME)
    assert mine.exists()
    assert [file.name for file in home().iterdir()] == ["small.safetensors"]


def test_a_wrong_file_is_not_imported(tmp_path: Path) -> None:
    wrong = tmp_path / "small.safetensors"
    wrong.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ZeroflawError, match="sha256"):
        import_file(wrong, NAME)
    assert not home().exists()
    assert import_file(wrong, NAME, check=False).read_bytes() == wrong.read_bytes()
    with pytest.raises(ZeroflawError, match="no such file"):
        import_file(tmp_path / "nothing", NAME)


def test_the_cache_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home() == tmp_path / "home" / "weights"
    monkeypatch.delenv("ZEROFLAW_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert home() == tmp_path / "zeroflaw" / "weights"
    monkeypatch.setattr("sys.platform", "darwin")
    assert home().parts[-4:] == ("Library", "Caches", "zeroflaw", "weights")


def test_every_entry_says_what_a_user_must_know() -> None:
    for name, entry in WEIGHTS.items():
        assert entry.name == name
        assert entry.url.startswith("https://")
        assert entry.page.startswith("https://")
        assert entry.licence
        assert entry.purpose
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert {entry.name for entry, path in listing()} == set(WEIGHTS)
