"""A run at an address: what is there is what a run here gives, and nothing that dies or ends loses it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tedbench import disk, store
from tedbench.errors import StoreError, UsageError
from tedbench.remote import addresses, copies, leases, mirror
from tedbench.remote.addresses import Address, Unreachable
from tedbench.running import events, sweeps
from tedbench.running.journal import Journal

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
BUCKET = "results"
METHODS = '''
"""Each fit leaves a line in calls.txt."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from tedbench import images
from tedbench.types import Strength


@dataclass(frozen=True)
class Counted:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5), low=0.0, high=1.0)

    def fit(self, pair, seed):
        with Path("calls.txt").open("a") as file:
            print(pair.uid, seed, file=file)
        return np.random.default_rng(seed).normal(0, 9, (8, 8, 3)).repeat(32, 0).repeat(32, 1)

    def edit(self, pair, state, strengths, seed):
        x = np.asarray(images.to_uint8(images.read(pair.image)), float)
        noise = state[: x.shape[0], : x.shape[1]]
        return [Image.fromarray((x + a * noise).clip(0, 255).round().astype(np.uint8)) for a in strengths]


class Slow(Counted):
    def fit(self, pair, seed):
        while Path("hold.txt").exists() and len(Path("calls.txt").read_text().split("\\n")) > 6:
            time.sleep(0.05)
        return super().fit(pair, seed)
'''


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    """S3 as moto serves it: real HTTP."""
    pytest.importorskip("s3fs", reason="s3fs is not installed; it is part of the dev extra")
    pytest.importorskip("moto.server", reason="moto's server is not installed; it is part of the dev extra")
    started = Server()
    yield started
    started.stop()


class Server:
    """moto's server, in a process of its own, so that it can go away."""

    def __init__(self, port: int = 0) -> None:
        code = (
            "import sys, logging\n"
            "from moto.server import ThreadedMotoServer\n"
            "logging.getLogger('werkzeug').setLevel(logging.ERROR)\n"
            f"server = ThreadedMotoServer('127.0.0.1', {port}, verbose=False)\n"
            "server.start()\n"
            "print(server.get_host_and_port()[1], flush=True)\n"
            "sys.stdin.read()\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def env(self) -> dict[str, str]:
        """What a user would set, and lists sent so often that a test can wait for them."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "TEDBENCH_PUSH_SECONDS": "0.3",
        }

    def bucket(self, name: str) -> Any:
        """A new bucket, as s3fs sees it."""
        import s3fs

        fs = s3fs.S3FileSystem(
            key="test", secret="test", endpoint_url=self.env["AWS_ENDPOINT_URL"], use_listings_cache=False,
            skip_instance_cache=True,
        )  # fmt: skip
        fs.mkdir(name)
        return fs


class World:
    """Machines that share a bucket: each has a cache of its own."""

    def __init__(self, cli: Cli, server: Server, home: Path, bucket: str) -> None:
        self.server, self.home, self.bucket = server, home, bucket
        self._cli = cli
        self._begun: list[subprocess.Popen[str]] = []
        self.address = f"s3://{bucket}/group/r"

    def env(self, machine: str) -> dict[str, str]:
        return {**self.server.env, "TEDBENCH_CACHE": str(self.home / machine)}

    def call(self, *arguments: str, machine: str = "one", **env: str) -> subprocess.CompletedProcess[str]:
        return self._cli(*arguments, cwd=self.home, **{**self.env(machine), **env})

    def run(self, *more: str, machine: str = "one", out: str = "", method: str = "Counted") -> Any:
        return self.call(*self.asked(method, out), *more, machine=machine)

    def asked(self, method: str = "Counted", out: str = "") -> tuple[str, ...]:
        data = ("--dataset", "folder", "--data", "drawn/data", "--limit", "3")
        return "run", *data, "--method", f"counted:{method}", "--out", out or self.address

    def begin(self, machine: str = "one") -> subprocess.Popen[str]:
        """A run that is not waited for, and waits itself after some sweeps while hold.txt is there."""
        (self.home / "calls.txt").touch()
        (self.home / "hold.txt").touch()
        tedbench = str(Path(sys.executable).with_name("tedbench"))
        env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **self.env(machine)}
        command = [tedbench, *self.asked("Slow"), "--seeds", "0:4:1"]
        self._begun.append(
            subprocess.Popen(command, cwd=self.home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return self._begun[-1]

    def release(self) -> None:
        """Let a run that waits go on."""
        (self.home / "hold.txt").unlink()

    def end(self) -> None:
        """Leave nothing behind that still runs."""
        for one in self._begun:
            if one.stdout and not one.stdout.closed:
                one.kill()
                one.communicate()

    def go_on(self, machine: str = "one", **env: str) -> subprocess.CompletedProcess[str]:
        return self.call("run", self.address, machine=machine, **env)

    def folder(self, machine: str = "one") -> Path:
        return next((self.home / machine / "runs").glob("*/r"))

    def calls(self) -> list[str]:
        path = self.home / "calls.txt"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def world(cli: Cli, server: Server, drawn: tuple[Path, Path], tmp_path: Path, request: Any) -> Iterator[World]:
    (tmp_path / "counted.py").write_text(METHODS)
    made = World(cli, server, tmp_path, f"bucket-{abs(hash(request.node.name)) % 10**9}")
    made.objects = server.bucket(made.bucket)  # type: ignore[attr-defined]
    yield made
    made.end()


def there(world: World) -> dict[str, bytes]:
    """What is at the address: name → content."""
    fs = world.objects  # type: ignore[attr-defined]
    start = len(f"{world.bucket}/group/r/")
    return {path[start:]: fs.cat_file(path) for path in fs.find(f"{world.bucket}/group/r")}


def files(folder: Path, *rooms: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for room in rooms
        for path in (folder / room).rglob("*")
        if path.is_file()
    }


def wait_for(what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_at_an_address_is_a_run_and_goes_on_elsewhere(world: World) -> None:
    done = world.run()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert f"{world.address}: worked on in {world.folder()}" in done.stdout
    assert f"{world.address}: 6/6 images" in done.stdout
    assert world.run(out="here").returncode == 0
    whole = there(world)
    here = files(world.home / "here", "images")
    assert here
    assert {name: data for name, data in whole.items() if name.startswith("images/")} == here
    assert set(whole) == set(files(world.home / "here", "."))  # the lease is gone, and nothing else has come
    assert json.loads(whole["run.json"])["name"] == "r"
    assert len(world.calls()) == 6  # three there, three here

    again = world.go_on(machine="two")
    assert again.returncode == 0, again.stderr
    assert "3 sweeps were done before" in again.stdout
    assert len(world.calls()) == 6
    assert files(world.folder("two"), "images") == here
    more = world.call("run", world.address, "--strengths", "0,0.5,1", machine="two")
    assert more.returncode == 0, more.stderr
    assert len(world.calls()) == 9
    back = world.go_on("one")  # asks for what the run was last asked for, as any machine may have said
    assert "9/9 images" in back.stdout, back.stdout + back.stderr
    assert "3 sweeps were done before" in back.stdout
    assert len(world.calls()) == 9
    assert len(files(world.folder("one"), "images")) == 9


@pytest.mark.slow
def test_other_commands_take_an_address_and_only_score_writes_there(world: World) -> None:
    assert world.run().returncode == 0
    before = there(world)
    status = world.call("status", world.address, machine="two")
    assert f"{world.address}: not running, 6/6 images" in status.stdout, status.stderr
    assert not list(world.folder("two").rglob("*.png"))  # status needs none of them
    plan = world.call("plan", world.address, machine="two")
    assert plan.stdout.endswith("nothing is left\n"), plan.stderr
    assert "every sweep there is asked for" in world.call("gc", world.address, machine="two").stdout
    verified = world.call("verify", world.address, machine="two")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.splitlines() == [
        f"{world.address}: looked at in {world.folder('two')}",
        f"{world.folder('two')}: 6 images and 3 records were looked at",
        "whole",
    ]
    assert there(world) == before
    scored = world.call("score", world.address, "--metrics", "psnr@64", machine="two")
    assert scored.returncode == 0, scored.stderr
    after = there(world)
    assert set(after) - set(before) == {"scores.parquet", "metrics.json"}
    assert {name: after[name] for name in before} == before
    scored = world.call("score", world.address, "--metrics", "ssim@64", machine="one")
    assert scored.returncode == 0, scored.stderr
    for command in ("submit", "export", ("study", "build"), "merge", "report"):
        words = (command,) if isinstance(command, str) else command
        refused = world.call(*words, world.address, "--out", f"{world.address}.zip", machine="two")
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
        assert "only `tedbench run` writes to an address" in refused.stderr
    report = world.call("report", world.address, machine="three")
    assert report.returncode == 0, report.stderr
    page = (world.home / "reports" / "r" / "report.md").read_text()
    assert "psnr@64" in page
    assert "ssim@64" in page


def test_what_is_not_done_at_an_address_is_said(memory: str) -> None:
    from tedbench.cli import keeping, options

    with pytest.raises(UsageError, match="only `tedbench run` writes to an address"):
        options.here(Path("s3://bucket/out"))
    assert options.here(Path("reports/r")) == Path("reports/r")
    with pytest.raises(UsageError, match="gc only lists there"):
        keeping.gc(memory, delete=True)
    with pytest.raises(StoreError, match=r"memory://group/r has no run.json"):
        mirror.local(memory)
    copy = copies.of(Address(memory)).folder  # of a run that was deleted there
    copy.mkdir(parents=True, exist_ok=True)
    (copy / "run.json").write_text("{}")
    with pytest.raises(StoreError, match=r"has no run.json any more; its copy here"):
        mirror.local(memory)


@pytest.mark.slow
@pytest.mark.parametrize("second", ["one", "two"], ids=["same machine", "another machine"])
def test_a_killed_run_goes_on(world: World, second: str) -> None:
    running = world.begin()
    wait_for(lambda: len(world.calls()) >= 6 and "sweeps/done.jsonl" in there(world))
    refused = world.go_on(second)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (6, 1)
    assert f"is being run {'by another process' if second == 'one' else 'from elsewhere'}" in refused.stderr
    status = world.call("status", world.address, machine=second)
    assert f"{world.address}: running, " in status.stdout, status.stderr
    running.kill()
    running.communicate()
    left = there(world)
    named = [json.loads(line) for line in left["sweeps/done.jsonl"].splitlines() if b'"key"' in line]
    assert named
    for entry in named:  # a list names nothing that is not there
        for name in [entry["record"], *(row["file"] for row in entry["cells"])]:
            assert name in left
    with Journal(world.folder()) as kept:
        done = len(kept) if second == "one" else len(named)
    calls = len(world.calls())
    if second == "two":  # the lease of the dead one is fresh still
        assert world.go_on("two").returncode == 6
        said = json.loads(left["held.json"])
        world.objects.pipe_file(  # type: ignore[attr-defined]
            f"{world.bucket}/group/r/held.json", json.dumps({**said, "time": time.time() - leases.STALE - 1}).encode()
        )
    world.release()
    again = world.go_on(second)
    assert again.returncode == 0, again.stderr
    assert "30/30 images" in again.stdout
    assert f"{done} sweeps were done before" in again.stdout
    assert len(world.calls()) == calls + 15 - done
    assert "held.json" not in there(world)
    assert {n: d for n, d in there(world).items() if n.startswith("images/")} == files(world.folder(second), "images")


def test_what_is_damaged_there_is_done_again(world: World) -> None:
    assert world.run().returncode == 0
    whole = there(world)
    first, second, third = sorted(name for name in whole if name.endswith("-0.5.png") or "-0.5." in name)[:3]
    fs, root = world.objects, f"{world.bucket}/group/r"  # type: ignore[attr-defined]
    fs.pipe_file(f"{root}/{first}", whole[first][:-4] + b"abcd")  # as long as before
    fs.pipe_file(f"{root}/{second}", whole[second][:100])
    fs.rm_file(f"{root}/{third}")
    again = world.go_on("two")
    assert again.returncode == 0, again.stderr
    assert "0 sweeps were done before, 3 damaged ones done again" in again.stdout
    assert len(world.calls()) == 6
    images = {name for name in whole if name.startswith("images/")}
    assert {name: there(world)[name] for name in images} == {name: whole[name] for name in images}
    fs.rm_file(f"{root}/{third}")
    assert world.go_on("one").returncode == 0  # has it, and brings it back
    assert there(world)[third] == whole[third]
    assert len(world.calls()) == 6


@pytest.mark.slow
def test_a_server_that_goes_away_costs_no_work(world: World) -> None:
    lone = Server()
    world.server = lone
    objects = lone.bucket(world.bucket)
    running = world.begin()
    wait_for(lambda: len(world.calls()) >= 6)
    lone.stop()
    world.release()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 6, out + err
    lines = [line for line in err.splitlines() if line.startswith("tedbench: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert f"all that is done is kept in {world.folder()}, go on with: tedbench run {world.address}" in lines[0]
    with Journal(world.folder()) as kept:
        done = len(kept)
    assert done >= 3
    calls = len(world.calls())
    assert calls <= done + 1
    gone = world.go_on()
    assert (gone.returncode, len(gone.stderr.splitlines())) == (6, 1)
    assert "cannot be" in gone.stderr
    back = Server(lone.port)  # with nothing in it: all that was done goes up again
    try:
        objects.mkdir(world.bucket)
        again = world.go_on()
        assert again.returncode == 0, again.stderr
        assert f"{done} sweeps were done before" in again.stdout
        assert len(world.calls()) == calls + 15 - done
        world.objects = objects  # type: ignore[attr-defined]
        whole = there(world)
        assert {n: d for n, d in whole.items() if n.startswith("images/")} == files(world.folder(), "images")
        assert len(json.loads(whole["run.json"])["config"]["seeds"]) == 5
    finally:
        back.stop()


def test_a_place_that_cannot_be_written_is_one_line(world: World) -> None:
    for text, more in {
        "s3://": "names no folder",
        "nobody://b/r": "Protocol not known",
        "dropbox://b/r": "pip install dropboxdrivefs",
        "s3://b/..": "names no folder",
        "s3://b/.running": "names no folder",
        "ftp://me:secret@host/r": r"ftp://host/r was named with a password",
    }.items():
        with pytest.raises(UsageError, match=more):
            Address(text)
    done = world.run(out="s3://no-such-bucket/r")
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1)
    assert "bucket does not exist" in done.stderr
    assert world.calls() == []
    fs = world.objects  # type: ignore[attr-defined]
    fs.pipe_file(f"{world.bucket}/group/r/other.txt", b"mine")
    done = world.run()
    assert done.returncode == 6
    assert "holds 'other.txt' and is no run" in done.stderr
    assert set(there(world)) == {"other.txt"}


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import fsspec

    monkeypatch.setenv("TEDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TEDBENCH_PUSH_SECONDS", "0.1")
    yield "memory://group/r"
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_an_address_keeps_files(kind: str, memory: str, tmp_path: Path) -> None:
    address = Address(memory if kind == "memory" else f"file://{tmp_path}/far/r")
    assert address.name == "r"
    assert address.sizes() == {}
    assert address.read("run.json") == b""
    (tmp_path / "a").write_bytes(b"one")
    address.put({"images/m/a.png": tmp_path / "a"})
    (tmp_path / "a").write_bytes(b"four")
    address.put({"images/m/a.png": tmp_path / "a", "run.json": tmp_path / "a"})
    assert address.sizes() == {"images/m/a.png": 4, "run.json": 4}
    address.get({"images/m/a.png": tmp_path / "b"})
    assert (tmp_path / "b").read_bytes() == b"four"
    assert address.write("held.json", b"x", new=True)
    assert not address.write("held.json", b"y", new=True)
    assert address.read("held.json") == b"x"
    address.remove("held.json")
    address.remove("held.json")
    assert set(address.sizes()) == {"images/m/a.png", "run.json"}
    with pytest.raises(StoreError, match="cannot be read"):
        address.get({"gone.png": tmp_path / "c"})


def test_addresses_are_told_from_paths_and_from_each_other(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert addresses.is_address("s3://b/r")
    assert not addresses.is_address("results/r")
    assert Address(memory).digest == Address(memory + "/").digest
    assert Address(memory).digest != Address(memory + "2").digest
    here = Address(memory).digest
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://other")
    assert Address(memory).digest != here
    assert copies.of(Address(memory)).folder.name == "r"
    with pytest.raises(UsageError, match="names no folder"):
        Address("memory://")


def test_a_lease_is_one_machines(memory: str, tmp_path: Path) -> None:
    address = Address(memory)
    ours, theirs = (leases.Lease(address, tmp_path / name, every=0.1) for name in ("one", "two"))
    assert not leases.is_held(address)
    ours.take()
    assert leases.is_held(address)
    with pytest.raises(StoreError, match="being run from elsewhere, last sign of life 0 s ago"):
        theirs.take()
    heir = leases.Lease(address, tmp_path / "one", every=0.1)  # on the machine where one was killed
    heir.take()
    ours._said_at = 0.0
    with pytest.raises(StoreError, match="another has taken over"):
        ours.keep()
    ours.drop()
    assert leases.is_held(address)
    said = json.loads(address.read(leases.NAME))
    address.write(leases.NAME, json.dumps({**said, "time": time.time() - leases.STALE - 1}).encode())
    assert not leases.is_held(address)
    theirs.take()
    theirs.drop()
    assert address.sizes() == {}
    address.write(leases.NAME, b"nobody's words")
    heir.take()
    assert leases.is_held(address)


@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_a_clock_that_is_wrong_takes_no_living_lease(off: float, memory: str, tmp_path: Path) -> None:
    address, over = Address(memory), threading.Event()
    ours, theirs = (leases.Lease(address, tmp_path / name, every=0.2) for name in ("one", "two"))
    ours.take()

    def live() -> None:
        while not over.wait(0.05):
            ours.keep()
            said = json.loads(address.read(leases.NAME) or b"{}")
            if abs(said["time"] - time.time()) < 1800:
                address.write(leases.NAME, json.dumps({**said, "time": said["time"] + off}).encode())

    living = threading.Thread(target=live)
    living.start()
    try:
        wait_for(lambda: not leases.is_held(address))  # by this clock
        with pytest.raises(StoreError, match="being run from elsewhere"):
            theirs.take()
    finally:
        over.set()
        living.join()
    theirs.take()  # what stirs no more is dead
    ours._said_at = 0.0
    with pytest.raises(StoreError, match="another has taken over"):
        ours.keep()


def entry(folder: Path, key: str, **images: bytes) -> dict[str, Any]:
    """A sweep with images, as `sweeps` leaves one."""
    rows = []
    for name, data in images.items():
        path = folder / "images" / "m" / f"{name}.{key[:4]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        stat = path.stat()
        rows.append(
            {"strength": float(len(rows)), "status": "ok", "file": path.relative_to(folder).as_posix(),
             "sha256": store.images.sha256(data), "size": stat.st_size, "ctime_ns": stat.st_ctime_ns}
        )  # fmt: skip
    record = folder / "sweeps" / "m" / f"{key[:4]}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_bytes(disk.as_json({"key": key}))
    stat = record.stat()
    return {"key": key, "record": f"sweeps/m/{key[:4]}.json", "record_size": stat.st_size,
            "record_sha256": store.images.sha256(record.read_bytes()), "record_ctime_ns": stat.st_ctime_ns, "how": {},
            "cells": rows}  # fmt: skip


def machine(name: str, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> copies.Copy:
    monkeypatch.setenv("TEDBENCH_CACHE", str(tmp_path / name))
    return copies.of(Address(memory))


def test_lists_are_united_entry_by_entry(memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = (letter * 32 for letter in "abc")
    one = machine("one", memory, tmp_path, monkeypatch)
    with mirror.working(memory) as place, Journal(place.folder) as journal:
        assert place.finished is not None
        place.folder.mkdir(parents=True)
        disk.write_json(place.folder / "run.json", {})
        for key in (a, b):
            journal.append(made := entry(place.folder, key, x=key.encode(), y=b"y"))
            place.finished(made)
    there = Address(memory).sizes()
    assert {"run.json", "sweeps/done.jsonl", "images/m/x.aaaa.png", "sweeps/m/bbbb.json"} <= set(there)
    assert "held.json" not in there
    with Journal(one.folder) as journal:  # killed before it could send that
        journal.append(entry(one.folder, c, x=b"c"))
        journal.append(entry(one.folder, a, x=a.encode(), y=b"y", z=b"z"))
    machine("two", memory, tmp_path, monkeypatch)
    with mirror.working(memory) as place, Journal(place.folder) as journal:
        assert place.finished is not None
        assert sorted(found["key"] for found in journal.entries()) == [a, b]
        row = journal.find(b)["cells"][0]  # type: ignore[index]
        assert row["ctime_ns"] == (place.folder / row["file"]).stat().st_ctime_ns
        assert sweeps.stands(journal.find(b), [0.0, 1.0], str(place.folder))  # type: ignore[arg-type]
        assert journal.look_up(b)[1]
        journal.append(made := entry(place.folder, b, x=b.encode(), y=b"y", w=b"w"))
        place.finished(made)
    machine("one", memory, tmp_path, monkeypatch)
    with mirror.working(memory) as place, Journal(place.folder) as journal:
        assert {found["key"]: len(found["cells"]) for found in journal.entries()} == {a: 3, b: 3, c: 1}
        assert (place.folder / "images/m/w.bbbb.png").read_bytes() == b"w"
    there = Address(memory).sizes()
    assert {"images/m/z.aaaa.png", "images/m/x.cccc.png", "images/m/w.bbbb.png"} <= set(there)
    machine("three", memory, tmp_path, monkeypatch)
    with Journal(mirror.local(memory)) as journal:
        assert {found["key"]: len(found["cells"]) for found in journal.entries()} == {a: 3, b: 3, c: 1}


def test_a_record_that_is_as_long_as_theirs_is_not_taken_for_it(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines did one sweep: it counts as the one did it or the other, and is not done a third time."""
    told = {}
    for name in ("one", "two"):
        folder = machine(name, memory, tmp_path, monkeypatch).folder
        made = entry(folder, key := "a" * 32, x=b"x")
        told[name] = disk.as_json({"key": key, "by": name})
        (folder / made["record"]).write_bytes(told[name])
        with Journal(folder) as journal:
            said = {"record_size": len(told[name]), "record_sha256": store.images.sha256(told[name])}
            journal.append({**made, **said})
        disk.write_json(folder / "run.json", {})
        with mirror.working(memory) as place:
            assert (place.folder / made["record"]).read_bytes() == told["one"]
    assert len(told["one"]) == len(told["two"])
    assert Address(memory).read(made["record"]) == told["one"]


def test_names_that_lead_out_of_a_run_are_not_followed(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("one", memory, tmp_path, monkeypatch)
    made = tmp_path / "made"
    bad = entry(made, "d" * 32, x=b"x")
    bad["cells"][0]["file"] = "images/../../../out.png"
    (made / "sweeps" / "done.jsonl").write_bytes(json.dumps(bad).encode() + b"\n")
    (made / "run.json").write_bytes(b"{}")
    files = {"images/../../../out.png": made / "images/m/x.dddd.png"}
    files |= {name: made / name for name in ("sweeps/done.jsonl", "run.json", bad["record"])}
    Address(memory).put(files)
    assert set(Address(memory).sizes()) == set(files)
    with Journal(mirror.local(memory)) as journal:
        assert list(journal.entries()) == []
    assert not list((tmp_path / "one").rglob("out.png"))


def test_a_list_names_nothing_that_is_not_there(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put, lacking, lists = Address.put, [], [0]

    def slow(self: Address, files: Any) -> None:
        for path in (path for name, path in files.items() if name == "sweeps/done.jsonl"):
            there = set(self.sizes())
            named = [json.loads(line) for line in path.read_text().splitlines() if "key" in line]
            lacking.extend(one["record"] for one in named if one["record"] not in there)
            lists[0] += 1
        if any(name.endswith(".png") for name in files):
            time.sleep(0.03)
        put(self, files)

    monkeypatch.setattr(Address, "put", slow)
    with mirror.working(memory) as place, Journal(place.folder) as journal:
        assert place.finished is not None
        place.folder.mkdir(parents=True)
        disk.write_json(place.folder / "run.json", {})
        for n in range(60):
            journal.append(made := entry(place.folder, f"{n:04x}" * 8, x=b"x"))
            place.finished(made)
            time.sleep(0.02)
    assert lacking == []
    assert lists[0] > 2


def test_small_files_that_changed_on_both_sides(memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = machine("one", memory, tmp_path, monkeypatch)
    one.folder.mkdir(parents=True)
    (one.folder / events.NAME).write_bytes(b'{"a": 1}\n')
    disk.write_json(one.folder / "run.json", {"at": 1})
    one.push_small()
    two = machine("two", memory, tmp_path, monkeypatch)
    two.fetch()
    for copy, n in ((one, 2), (two, 3)):
        with (copy.folder / events.NAME).open("ab") as file:
            file.write(b'{"a": %d}\n' % n)
    disk.write_json(two.folder / "run.json", {"at": 2})
    two.push_small()
    one.fetch()
    assert disk.read_json(one.folder / "run.json") == {"at": 2}
    assert [line["a"] for line in disk.read_lines(one.folder / events.NAME)] == [1, 3, 2]
    disk.write_json(one.folder / "run.json", {"at": 3})
    one.fetch()  # changed here alone
    assert disk.read_json(one.folder / "run.json") == {"at": 3}


def test_a_network_that_ends_is_waited_for_and_then_told(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, down = Address.put, [True]

    def fails(self: Address, files: Any) -> None:
        if down[0] and files:
            raise Unreachable(f"{self} cannot be written (down)")
        put(self, files)

    monkeypatch.setattr(Address, "put", fails)
    with mirror.working(memory) as place, Journal(place.folder) as journal:
        assert place.finished is not None
        place.folder.mkdir(parents=True)
        disk.write_json(place.folder / "run.json", {})
        journal.append(made := entry(place.folder, "e" * 32, x=b"x"))
        place.finished(made)
        time.sleep(0.3)
        down[0] = False
    assert "images/m/x.eeee.png" in Address(memory).sizes()
    down[0] = True

    def last() -> None:
        with mirror.working(memory) as place, Journal(place.folder) as journal:
            assert place.finished is not None
            for _ in range(200):
                journal.append(made := entry(place.folder, "f" * 32, x=b"x"))
                place.finished(made)
                time.sleep(0.05)

    began = time.monotonic()
    with pytest.raises(StoreError, match=r"\(down\); all that is done is kept in .*, go on with: tedbench run memory:"):
        last()
    assert 0.5 < time.monotonic() - began < 9


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("of a library")])
def test_whatever_ends_the_thread_that_sends_ends_the_run(
    error: Exception, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, make = list[bool](), tempfile.TemporaryDirectory

    def fails(**more: Any) -> Any:
        if begun:
            raise error
        return make(**more)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fails)
    with (
        pytest.raises(StoreError, match=rf"{error.args[-1]}.*; all that is done is kept in .*, go on with: "),
        mirror.working(memory) as place,
        Journal(place.folder) as journal,
    ):
        assert place.finished is not None
        place.folder.mkdir(parents=True)
        disk.write_json(place.folder / "run.json", {})
        begun.append(True)
        for _ in range(100):
            journal.append(made := entry(place.folder, "e" * 32, x=b"x"))
            place.finished(made)
            time.sleep(0.05)
        pytest.fail("nobody heard of it")
