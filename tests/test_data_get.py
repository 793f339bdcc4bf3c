"""Data sets come with their terms, whole and checked, or with a word on how to get them by hand."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from dataset_trees import anomaly_shapenet_tree, real3d_ad_tree
from zeroflaw import data_get
from zeroflaw.cli import main
from zeroflaw.data_get import run
from zeroflaw.datasets import DATASETS
from zeroflaw.datasets.sources import SOURCES
from zeroflaw.types import ZeroflawError

SET = "Chopper233/Anomaly-ShapeNet"


class Hub:
    """Serves files on this machine as the Hugging Face hub serves a data set, two to a page."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.large = {name for name, content in files.items() if len(content) > 2000}
        self.asked: list[str] = []
        self.rows: dict[str, dict[str, object]] = {}  # of files that have changed since
        self.stops_after: int | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.following = f"{self.url}/api/datasets/{SET}/tree/abc?recursive=true&cursor="
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path)
        if path == f"/api/datasets/{SET}":
            self.send(request, json.dumps({"id": SET, "sha": "abc"}).encode())
        elif path.startswith(f"/api/datasets/{SET}/tree/abc?recursive=true"):
            start = int(path.partition("cursor=")[2] or 0)
            rows = [self.row(name) for name in list(self.files)[start : start + 2]]
            rows.append({"type": "directory", "oid": "0", "size": 0, "path": "folder"})
            more = start + 2 < len(self.files)
            link = {"Link": f'<{self.following}{start + 2}>; rel="next"'} if more else {}
            self.send(request, json.dumps(rows).encode(), link)
        else:
            name = path.removeprefix(f"/datasets/{SET}/resolve/abc/")
            self.asked.append(name)
            self.send(request, self.files[name])

    def row(self, name: str) -> dict[str, object]:
        if name in self.rows:
            return self.rows[name]
        content = self.files[name]
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        row: dict[str, object] = {"type": "file", "oid": oid, "size": len(content), "path": name}
        if name in self.large:
            row |= {"oid": "0", "lfs": {"oid": hashlib.sha256(content).hexdigest()}}
        return row

    def send(
        self,
        request: BaseHTTPRequestHandler,
        content: bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        asked = request.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        request.send_response(206 if asked else 200)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        body = content[start:]
        if self.stops_after is not None and len(content) > 2000:
            body = body[: self.stops_after]
        request.wfile.write(body)


@pytest.fixture
def published(tmp_path: Path) -> dict[str, bytes]:
    """The files of a miniature Anomaly-ShapeNet of one category, as the hub might hold them."""
    root = anomaly_shapenet_tree(tmp_path / "published", categories=("bag0",), scans=1)
    files = {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*.*"))}
    named = {f"Anomaly ShapeNet/{path.as_posix()}": content for path, content in files.items()}
    return {"README.md": b"about", ".gitattributes": b"*.pcd", "empty.txt": b"", **named}


@pytest.fixture
def hub(published: dict[str, bytes]) -> Iterator[Hub]:
    served = Hub(published)
    yield served
    served.http.shutdown()
    served.http.server_close()


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_there_is_a_word_on_every_data_set() -> None:
    assert set(SOURCES) == set(DATASETS)
    for source in SOURCES.values():
        assert source.hub or source.steps


def test_the_list_names_every_data_set_and_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    for name, kind in DATASETS.items():
        assert f"{name}  ({kind.title})\n  licence: {kind.licence}\n" in shown


@pytest.mark.parametrize("name", ["real3d_ad", "mvtec_3d_ad", "eyecandies"])
def test_what_needs_a_browser_is_said_with_its_terms_and_the_code_is_1(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "get", name]) == 1
    shown = capsys.readouterr().out
    kind = DATASETS[name]
    for said in (kind.licence, kind.citation, kind.homepage, "browser", f"data get {name} --arch"):
        assert said in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "said"), [("synthetic", "--data synthetic"), ("folder", "own")])
def test_what_is_not_published_need_not_be_got(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "get", name]) == 0
    assert said in capsys.readouterr().out


def test_a_data_set_on_the_hub_is_downloaded_whole(
    tmp_path: Path, hub: Hub, published: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("anomaly_shapenet", out, hub=hub.url) == 0
    del published[".gitattributes"]
    assert content(out) == published
    shown = capsys.readouterr().out
    assert DATASETS["anomaly_shapenet"].licence in shown
    root = shown.splitlines()[-1].removeprefix("next: zeroflaw data check anomaly_shapenet ")
    assert DATASETS["anomaly_shapenet"](Path(root)).categories() == ("bag0",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "published"]


def test_an_interrupted_download_goes_on_with_what_is_missing(
    tmp_path: Path, hub: Hub, published: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    hub.stops_after = 700
    with pytest.raises(ZeroflawError, match="the same command again goes on") as caught:
        run("anomaly_shapenet", out, hub=hub.url)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    (part,) = (tmp_path / ".out.downloading").rglob("*.part")
    assert part.stat().st_size == 700
    before, hub.stops_after = list(hub.asked), None
    run("anomaly_shapenet", out, hub=hub.url)
    assert hub.asked[len(before)] == before[-1]
    assert len(hub.asked) == len(set(hub.asked)) + 1
    del published[".gitattributes"]
    assert content(out) == published


@pytest.mark.parametrize("large", [True, False])
def test_a_file_that_is_not_the_published_one_is_not_kept(
    tmp_path: Path, hub: Hub, large: bool
) -> None:
    name = next(name for name in hub.files if (name in hub.large) == large and hub.files[name])
    hub.rows[name] = hub.row(name)
    hub.files[name] = bytes(len(hub.files[name]))
    with pytest.raises(ZeroflawError, match="its size or hash differs"):
        run("anomaly_shapenet", tmp_path / "out", hub=hub.url)
    assert name not in content(tmp_path / ".out.downloading")
    assert not (tmp_path / "out").exists()


def test_an_archive_on_the_hub_is_unpacked_and_removed(tmp_path: Path) -> None:
    tree = real3d_ad_tree(tmp_path / "tree", categories=("car",), scans=1)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(tree, "Real3D-AD")
    hub = Hub({"data/all.tar.gz": (tmp_path / "x.tar.gz").read_bytes()})
    data_get.download_from_hub(SET, tmp_path / "out", hub.url)
    assert content(tmp_path / "out" / "data" / "all.tar.gz.unpacked" / "Real3D-AD") == content(tree)
    assert not (tmp_path / "out" / "data" / "all.tar.gz").exists()
    hub.http.shutdown()
    hub.http.server_close()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a\\..\\..\\evil"])
def test_a_server_cannot_write_outside_the_folder(tmp_path: Path, name: str) -> None:
    hub = Hub({name: b"1"})
    with pytest.raises(ZeroflawError, match="not a listing as the hub documents it"):
        run("anomaly_shapenet", tmp_path / "out", hub=hub.url)
    assert list(tmp_path.iterdir()) == []
    hub.http.shutdown()
    hub.http.server_close()


def test_a_listing_that_goes_on_elsewhere_is_not_followed(tmp_path: Path, hub: Hub) -> None:
    hub.following = "file:///etc/passwd?"
    with pytest.raises(ZeroflawError, match="it goes on elsewhere"):
        run("anomaly_shapenet", tmp_path / "out", hub=hub.url)


def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path, hub: Hub) -> None:
    hub.http.shutdown()
    hub.http.server_close()
    with pytest.raises(ZeroflawError, match="check the connection") as caught:
        run("anomaly_shapenet", tmp_path / "out", hub=hub.url)
    assert "\n" not in str(caught.value)


def test_an_archive_that_one_has_is_unpacked_and_its_root_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = real3d_ad_tree(tmp_path / "tree", categories=("car",), scans=1)
    with tarfile.open(tmp_path / "real.tar.gz", "w:gz") as archive:
        archive.add(tree, "a/b")
    out = tmp_path / "out"
    words = ["data", "get", "real3d_ad", "--archive", str(tmp_path / "real.tar.gz"), "--out"]
    assert main([*words, str(out)]) == 0
    root = capsys.readouterr().out.splitlines()[-1].rpartition(" ")[2]
    assert DATASETS["real3d_ad"](Path(root)).categories() == ("car",)
    assert main(["data", "get", "real3d_ad", "--out", str(out)]) == 0
    assert "is there already and is left as it is" in capsys.readouterr().out
    assert main([*words, str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_an_archive_with_another_md5_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "mvtec_3d_anomaly_detection.tar.xz"
    with tarfile.open(archive, "w:xz") as opened:
        (tmp_path / "1.txt").write_text("1")
        opened.add(tmp_path / "1.txt", "bagel/train/good/xyz/1.txt")
    with pytest.raises(ZeroflawError, match=f"is not that of {archive.name}, d8bb2800"):
        run("mvtec_3d_ad", tmp_path / "out", archive)
    assert not (tmp_path / "out").exists()
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(SOURCES, "mvtec_3d_ad", replace(SOURCES["mvtec_3d_ad"], md5=md5))
    assert run("mvtec_3d_ad", tmp_path / "out", archive) == 0
    assert len(content(tmp_path / "out")) == 1


def test_an_unknown_data_set_and_a_missing_archive_are_errors_for_people(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="'real4d': unknown; there are anomaly_shapenet"):
        run("real4d")
    with pytest.raises(ZeroflawError, match="there is no such file"):
        run("mvtec_3d_ad", tmp_path / "out", tmp_path / "missing.tar.xz")
