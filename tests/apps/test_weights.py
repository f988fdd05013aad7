"""Downloads against a server on this machine: whole, broken, wrong, hostile, several at once."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kigraph.errors import WeightsError
from kigraph.weights import Entry, cached_path, fetch, resolve_weights, store, transfer
from kigraph.weights import archive as archive_module

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server does with a path, and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    #: Paths whose first answers break off after so many bytes.
    breaks: dict[str, list[int]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    hide_length: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def entry(self, path: str = "/weights.bin", **changes: object) -> Entry:
        entry = Entry(
            name="test",
            title="a test file",
            url=self.url + path,
            size=len(CONTENT),
            sha256=SHA256,
            filename="weights.bin",
            licence="none",
        )
        return replace(entry, **changes)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = state.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            etag = state.etags.get(self.path, '"v1"')
            start = 0
            if wanted and state.ranges and self.headers.get("If-Range") == etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            if state.hide_length:
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(data) - start))
            self.send_header("ETag", etag)
            self.end_headers()
            stops = state.breaks.get(self.path)
            stop = stops.pop(0) if stops else len(data)
            self.wfile.write(data[start : max(stop, start)])
            if stop < len(data):
                self.close_connection = True

    class QuietServer(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that hang up are part of these tests."""

    httpd = QuietServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{httpd.server_address[1]}", {"/weights.bin": CONTENT})
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)


def _leftovers(entry: Entry) -> list[str]:
    folder = store.cache_folder() / "weights" / entry.name
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".part") if folder.exists() else []


def test_download_and_cache(server: Server) -> None:
    entry, seen = server.entry(), []
    path = fetch(entry, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert fetch(entry) == path == cached_path(entry)
    assert len(server.asked) == 1
    assert store.verify(entry)
    fetch(entry, force=True)
    assert len(server.asked) == 2
    assert not _leftovers(entry)


@pytest.mark.parametrize("hide_length", [False, True])
def test_a_broken_connection_is_continued(server: Server, hide_length: bool) -> None:
    server.hide_length = hide_length
    server.breaks["/weights.bin"] = [300_000, 700_000]
    assert fetch(server.entry()).read_bytes() == CONTENT
    assert [r for _, r in server.asked] == [None, "bytes=300000-", "bytes=700000-"]


def test_without_ranges_it_starts_again(server: Server) -> None:
    server.ranges = False
    server.breaks["/weights.bin"] = [300_000]
    assert fetch(server.entry()).read_bytes() == CONTENT


def test_a_file_that_changes_meanwhile_starts_again(server: Server) -> None:
    server.breaks["/weights.bin"] = [300_000]
    server.etags["/weights.bin"] = 'W/"weak"'
    assert fetch(server.entry()).read_bytes() == CONTENT
    assert [r for _, r in server.asked] == [None, None]


def test_it_gives_up(server: Server) -> None:
    server.breaks["/weights.bin"] = [1000] * 10
    server.ranges = False
    entry = server.entry()
    with pytest.raises(WeightsError, match=r"failed 4 times.*1,000 of 1,048,576"):
        fetch(entry)
    assert cached_path(entry) is None
    assert not _leftovers(entry)


def test_wrong_checksum(server: Server) -> None:
    entry = server.entry(sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"wrong checksum.*nothing was kept"):
        fetch(entry)
    assert cached_path(entry) is None
    assert not _leftovers(entry)


@pytest.mark.parametrize("difference", [-1, 1])
def test_wrong_size(server: Server, difference: int) -> None:
    for server.hide_length in (False, True):
        with pytest.raises(WeightsError, match=r"expected|after|announces|sends more"):
            fetch(server.entry(size=len(CONTENT) + difference, sha256=None))


def test_endless_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MAX_BYTES", 500_000)
    server.hide_length = True
    with pytest.raises(WeightsError, match="more than the expected 500,000"):
        fetch(server.entry(size=None, sha256=None))
    server.hide_length = False
    with pytest.raises(WeightsError, match="limit for a download"):
        fetch(server.entry(size=None, sha256=None))


def test_missing_file(server: Server) -> None:
    with pytest.raises(WeightsError, match="404"):
        fetch(server.entry("/none"))


def test_unreachable_host(server: Server) -> None:
    with pytest.raises(WeightsError, match=r"cannot reach.*--weights PATH"):
        fetch(server.entry().__class__(**_fields(server.entry(), url="http://127.0.0.1:9/weights.bin")))


def _fields(entry: Entry, **changes: object) -> dict[str, object]:
    return {name: getattr(entry, name) for name in Entry.__dataclass_fields__} | changes


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x"])
def test_only_http(server: Server, url: str) -> None:
    with pytest.raises(WeightsError, match="only http"):
        fetch(replace(server.entry(), url=url))
    server.redirects["/weights.bin"] = url
    with pytest.raises(WeightsError, match=r"only http|not allowed"):
        fetch(server.entry())


def test_without_a_checksum_only_tls(server: Server) -> None:
    with pytest.raises(WeightsError, match="only https"):
        fetch(replace(server.entry(), url="http://example.org/weights.bin", sha256=None))


def test_redirects_are_followed(server: Server) -> None:
    server.redirects["/moved"] = server.url + "/weights.bin"
    assert fetch(server.entry("/moved")).read_bytes() == CONTENT


def test_trust_on_first_use(server: Server) -> None:
    entry = server.entry(sha256=None)
    fetch(entry)
    server.files["/weights.bin"] = CONTENT[::-1]
    with pytest.raises(WeightsError, match="wrong checksum"):
        fetch(entry, force=True)
    path = cached_path(entry)
    assert path is not None
    assert path.read_bytes() == CONTENT


def test_a_changed_cache_is_noticed(server: Server) -> None:
    entry = server.entry()
    path = fetch(entry)
    path.write_bytes(bytes(len(CONTENT)))
    assert cached_path(entry) == path
    assert not store.verify(entry)
    assert fetch(entry).read_bytes() == CONTENT
    path.write_bytes(b"short")
    assert cached_path(entry) is None
    assert fetch(entry).read_bytes() == CONTENT


@pytest.mark.parametrize("at", [0, 1000, len(CONTENT) - 1])
def test_a_flipped_bit_never_reaches_a_model(server: Server, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = server.entry()
    fetch(entry).write_bytes(CONTENT[:at] + bytes([CONTENT[at] ^ 0x40]) + CONTENT[at + 1 :])
    monkeypatch.setattr(store, "CATALOGUE", (entry,))
    monkeypatch.setattr(store, "catalogue_entry", lambda name: entry)
    with pytest.raises(WeightsError, match="not in the cache"):
        resolve_weights(entry.name, allow_download=False)
    with pytest.raises(WeightsError):
        resolve_weights(allow_download=False)
    assert resolve_weights().path.read_bytes() == CONTENT


def test_several_at_once_download_once(server: Server) -> None:
    entry = server.entry()
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(fetch(entry))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {p.read_bytes() for p in results} == {CONTENT}
    assert len(results) == 6
    assert len(server.asked) == 1


def test_an_unwritable_cache(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(blocked / "cache"))
    with pytest.raises(WeightsError, match="KIGRAPH_CACHE_DIR"):
        fetch(server.entry())


def _tar(*members: tuple[str, bytes | str], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _archive(server: Server, data: bytes, **changes: object) -> Entry:
    server.files["/a.tgz"] = data
    sha256 = hashlib.sha256(data).hexdigest()
    return server.entry("/a.tgz", size=len(data), sha256=sha256, member="weights.bin", **changes)


@pytest.mark.parametrize("name", ["weights.bin", "./weights.bin"])
def test_one_member_of_an_archive(server: Server, name: str) -> None:
    entry = _archive(server, _tar(("readme.txt", b"hi"), (name, CONTENT), ("../evil", b"x")), member_size=len(CONTENT))
    path = fetch(entry)
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "record.json", "weights.bin"]
    assert store.verify(entry)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_tar(("other", b"x")), "has no member"),
        (_tar(("weights.bin", "/etc/passwd")), "not a regular file"),
        (_tar(("weights.bin", b"short")), "has 5 bytes, expected"),
        (_tar(("../weights.bin", CONTENT)), "has no member"),
        (b"this is no archive", r"not a readable \.tar\.gz"),
        (_tar(("weights.bin", CONTENT))[:900], r"not a readable \.tar\.gz|ends after"),
        (_tar(*((f"f{i}", b"") for i in range(300)), ("weights.bin", CONTENT)), "more than 256 members"),
    ],
    ids=["missing", "link", "size", "outside", "no-archive", "truncated", "many"],
)
def test_bad_archives(server: Server, data: bytes, message: str) -> None:
    entry = _archive(server, data, member_size=len(CONTENT))
    with pytest.raises(WeightsError, match=message):
        fetch(entry)
    assert cached_path(entry) is None
    assert not _leftovers(entry)


def test_an_archive_bomb(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MAX_UNPACKED", 1_000_000)
    entry = _archive(server, _tar(("zeros", bytes(5_000_000)), ("weights.bin", b"x")))
    with pytest.raises(WeightsError, match="1,000,000 bytes"):
        fetch(entry)


def test_resolution_order(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = server.entry()
    monkeypatch.setattr(store, "CATALOGUE", (entry,))
    monkeypatch.setattr(store, "catalogue_entry", lambda name: entry)
    mine, other = tmp_path / "mine.pb", tmp_path / "other.pb"
    mine.touch()
    other.touch()
    with pytest.raises(WeightsError, match="no weights: downloads are switched off"):
        resolve_weights(allow_download=False)
    assert resolve_weights().origin == "download"
    assert resolve_weights().origin == "cache"
    monkeypatch.setenv("KIGRAPH_WEIGHTS", str(other))
    found = resolve_weights()
    assert (found.origin, found.path) == ("KIGRAPH_WEIGHTS", other)
    found = resolve_weights(mine)
    assert (found.origin, found.path) == ("argument", mine)
    assert resolve_weights("test").path == cached_path(entry)
    with pytest.raises(WeightsError, match=r"no such file: nothing.*known: test"):
        resolve_weights("nothing")


def test_generated_is_the_last_resort(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.graph.models.inception_v3 import build as inception_v3

    monkeypatch.setattr(inception_v3, "write_untrained_2015", lambda path, seed: Path(path).write_bytes(b"generated"))
    entry = server.entry("/none")
    monkeypatch.setattr(store, "catalogue_entry", lambda name: entry)
    with pytest.raises(WeightsError, match="404"):
        resolve_weights()
    found = resolve_weights(allow_generated=True)
    assert (found.origin, found.trained) == ("generated", False)
    assert "404" in found.reason
    assert "the labels mean nothing" in str(found)
    again = resolve_weights(found.path)
    assert not again.trained, "naming the generated file does not train it"
    server.files["/none"] = CONTENT
    assert resolve_weights(allow_generated=True).trained


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", "~/somewhere")
    assert store.cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("KIGRAPH_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / "kigraph"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert store.cache_folder() == Path(os.path.expanduser("~")) / ".cache" / "kigraph"


def test_the_progress_bar_is_drawn_for_downloads_only(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    import sys
    from unittest import mock

    from kigraph.cli.output import download_progress

    with mock.patch.object(sys.stderr, "isatty", return_value=True):
        with download_progress(quiet=False) as progress:
            assert progress is not None
        assert capsys.readouterr().err == ""
        with download_progress(quiet=False) as progress:
            fetch(server.entry(), progress=progress)
        assert "downloading" in capsys.readouterr().err
    with download_progress(quiet=True) as progress:
        assert progress is None
