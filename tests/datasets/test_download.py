"""Downloads against a real local server that resumes."""

import hashlib
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tedbench import datasets
from tedbench.datasets import tedbench
from tedbench.datasets.download import result_name
from tedbench.errors import DataError, NetworkError, UsageError


class Site(ThreadingHTTPServer):
    files: dict[str, bytes]
    asked: list[tuple[str, str | None]]
    ranges = True
    cut = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        path, asked = urllib.parse.unquote(self.path).removeprefix("/rev/tedbench/"), self.headers.get("Range")
        self.server.asked.append((path, asked))
        if path not in self.server.files:
            self.send_error(404)
            return
        body, start = self.server.files[path], 0
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : self.server.cut or None])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A small release of three files on a server of its own."""
    known = tedbench.release()
    pairs = (("cat.jpeg", "A cat, 100%."), ("dog.png", "A café."))
    files = {"input_list.json": b"[]" * 9, "originals/cat.jpeg": b"cat" * 40000, "originals/dog.png": b"dog" * 50}
    files |= {f"imagic/{result_name(*pair)}": b"result of " + pair[0].encode() for pair in pairs}
    sha = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    facts = next(iter(known.originals.values()))
    small = replace(
        known,
        list_sha256=sha["input_list.json"],
        pairs=pairs,
        originals={name: replace(facts, sha256=sha[f"originals/{name}"]) for name, _ in pairs},
        results={"cat.jpeg-A_cat,_100%.png": sha["imagic/cat.jpeg-A_cat,_100%.png"]},
    )
    monkeypatch.setattr(tedbench, "release", lambda: small)
    server = Site(("127.0.0.1", 0), Handler)
    server.files, server.asked = files, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def get(site: Site, folder: Path, results: bool = False) -> list[str]:
    return datasets.fetch("tedbench", folder, base_url=site.url, revision="rev", results=results)


def test_fetch_gets_all_and_skips_what_is_right(site: Site, tmp_path: Path) -> None:
    assert get(site, tmp_path / "new") == []
    wanted = {name for name in site.files if not name.startswith("imagic/")}
    assert {p.relative_to(tmp_path / "new").as_posix() for p in (tmp_path / "new").rglob("*.*")} == wanted
    assert all((tmp_path / "new" / name).read_bytes() == site.files[name] for name in wanted)
    site.asked.clear()
    (tmp_path / "new" / "originals" / "dog.png").write_bytes(b"altered")
    assert get(site, tmp_path / "new") == []
    assert site.asked == [("originals/dog.png", None)]


def test_results_without_a_digest_are_named(site: Site, tmp_path: Path) -> None:
    (line,) = get(site, tmp_path, results=True)
    assert line == "not verified (no hash on record): imagic/dog.png-A_café.png"
    assert (tmp_path / "imagic" / "dog.png-A_café.png").read_bytes() == b"result of dog.png"
    assert (tmp_path / "imagic" / "cat.jpeg-A_cat,_100%.png").is_file()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("have", [1000, 120000])
def test_a_partial_file_is_resumed(site: Site, tmp_path: Path, ranges: bool, have: int) -> None:
    site.ranges = ranges
    part = tmp_path / "originals" / "cat.jpeg.part"
    part.parent.mkdir()
    part.write_bytes(site.files["originals/cat.jpeg"][:have])
    get(site, tmp_path)
    assert (tmp_path / "originals" / "cat.jpeg").read_bytes() == site.files["originals/cat.jpeg"]
    asked = [header for path, header in site.asked if path == "originals/cat.jpeg"]
    assert asked == (["bytes=1000-"] if have == 1000 else [])
    assert not part.exists()


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * 200000])
def test_a_stale_partial_file_is_replaced(site: Site, tmp_path: Path, stale: bytes) -> None:
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / "cat.jpeg.part").write_bytes(stale)
    get(site, tmp_path)
    assert (tmp_path / "originals" / "cat.jpeg").read_bytes() == site.files["originals/cat.jpeg"]


def test_a_broken_connection_is_told_and_resumed(site: Site, tmp_path: Path) -> None:
    site.cut = 70000
    with pytest.raises(NetworkError, match="broke"):
        get(site, tmp_path)
    part = tmp_path / "originals" / "cat.jpeg.part"
    assert 0 < part.stat().st_size <= 70000 and not (tmp_path / "originals" / "cat.jpeg").exists()
    site.cut = 0
    get(site, tmp_path)
    assert (tmp_path / "originals" / "cat.jpeg").read_bytes() == site.files["originals/cat.jpeg"]


def test_a_corrupted_file_is_refused(site: Site, tmp_path: Path) -> None:
    site.files["originals/dog.png"] = b"another dog"
    with pytest.raises(DataError, match=r"dog\.png.*not the released file"):
        get(site, tmp_path)
    assert not list((tmp_path / "originals").glob("dog*"))


def test_a_missing_file_and_a_dead_server_are_network_errors(site: Site, tmp_path: Path) -> None:
    del site.files["originals/dog.png"]
    with pytest.raises(NetworkError, match="404"):
        get(site, tmp_path)
    with pytest.raises(NetworkError, match=r"needs the network.*--data") as error:
        datasets.fetch("tedbench", tmp_path / "x", base_url="http://127.0.0.1:1", revision="rev")
    assert "\n" not in str(error.value)


def test_only_tedbench_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pinned source"):
        datasets.fetch("tedbench++", tmp_path)


def test_the_pin_is_the_manifest() -> None:
    assert tedbench.release().commit == datasets.PINNED and tedbench.release().repository in datasets.GITHUB_RAW
