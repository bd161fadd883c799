"""A model from the hub, over a real local HTTP server that speaks as much of the hub as loading needs."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tedbench import store

pytestmark = pytest.mark.slow
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """/api/models/ORG/NAME/revision/REV, and /ORG/NAME/resolve/REV/FILE."""

    protocol_version = "HTTP/1.1"
    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.asked.append(path)
        _, _, file = path.partition("org/tiny/resolve/")
        revision, _, file = file.partition("/")
        if path == f"api/models/org/tiny/tree/{COMMIT}":
            self.send(200, json.dumps(self.tree()).encode(), body, {"Content-Type": "application/json"})
        elif path.startswith("api/models/org/tiny") and path.rpartition("/")[2] in ("v1", COMMIT):
            self.send(200, json.dumps(self.info()).encode(), body, {"Content-Type": "application/json"})
        elif revision in ("v1", COMMIT) and (self.folder / file).is_file():
            data = (self.folder / file).read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()}"'
            self.send(200, data, body, {"ETag": tag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})
        else:
            self.send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound" if "nope" in path else "EntryNotFound"})

    def tree(self) -> list[dict[str, object]]:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [
            {
                "type": "file",
                "path": path.relative_to(self.folder).as_posix(),
                "size": path.stat().st_size,
                "oid": "0" * 40,
            }
            for path in files
        ]

    def info(self) -> dict[str, object]:
        siblings = [{"rfilename": file["path"], "size": file["size"]} for file in self.tree()]
        about = {"tags": [], "private": False, "lastModified": "2026-01-01T00:00:00.000Z", "library_name": "diffusers"}
        return {"id": "org/tiny", "modelId": "org/tiny", "sha": COMMIT, "siblings": siblings, **about}

    def send(self, code: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(saved, tmp_path):
    handler = type("Serving", (Hub,), {"folder": saved("tiny-sd2"), "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host, port = server.server_address[:2]
    yield (
        {"HF_ENDPOINT": f"http://{host}:{port}", "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"},
        handler.asked,
    )
    server.shutdown()
    server.server_close()
    thread.join()


def run(cli, home: Path, data: Path, model: str, out: str, env: dict[str, str]):
    arguments = ("--dataset", "folder", "--data", data, "--limit", "1", "--method", "sdedit", "--set", "steps=2")
    return cli("run", *arguments, "--strengths", "0.5", "--model", model, "--out", out, cwd=home, **env)


def test_a_branch_is_resolved_to_its_commit_fetched_once_and_used_offline(cli, hub, drawn, tmp_path) -> None:
    env, asked = hub
    done = run(cli, tmp_path, drawn[0], "org/tiny@v1", "one", env)
    assert done.returncode == 0, done.stderr
    opened = store.open_run(tmp_path / "one")
    assert opened.run.execution["sdedit"]["model"] == [f"org/tiny@{COMMIT}"]
    assert any(path.endswith("unet/diffusion_pytorch_model.safetensors") for path in asked)
    count = len(asked)
    again = run(cli, tmp_path, drawn[0], f"org/tiny@{COMMIT}", "two", {**env, "HF_HUB_OFFLINE": "1"})
    assert again.returncode == 0, again.stderr
    assert len(asked) == count  # nothing was asked of the network
    assert [c.sha256 for c in store.open_run(tmp_path / "two").cell_list()] == [c.sha256 for c in opened.cell_list()]


def test_a_revision_that_is_not_there_is_one_line(cli, hub, drawn, tmp_path) -> None:
    done = run(cli, tmp_path, drawn[0], "org/tiny@nope", "x", hub[0])
    assert done.returncode == 5
    assert "model 'org/tiny@nope'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()
