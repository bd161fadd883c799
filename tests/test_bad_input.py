"""Twenty-odd kinds of bad input, from the command line: a clear line or a counted row, and nothing half-written."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tedbench import importing, store

pytestmark = pytest.mark.slow


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_checksum(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def sixteen_bit(path: Path) -> None:
    Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)).save(path)


def cmyk(path: Path) -> None:
    Image.new("CMYK", (64, 64)).save(path, format="TIFF")


def unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)  # a link to itself; as root no permission bit stops a reader


BAD_IMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": truncated,
    "zero bytes": lambda path: path.write_bytes(b""),
    "text called png": lambda path: path.write_text("I am no image, whatever my name says."),
    "40000x1": lambda path: Image.new("RGB", (40000, 1)).save(path),
    "bomb": bomb,
    "flipped byte": bad_checksum,
    "16 bit": sixteen_bit,
    "cmyk": cmyk,
    "svg": lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'),
}


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a command: non-zero, one line, no traceback."""
    assert done.returncode not in (0, 70)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tedbench: ")
    assert "unexpected" not in lines[0]
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture
def first(drawn: tuple[Path, Path]) -> Path:
    return drawn[1] / sorted(importing.list_images(drawn[1]))[0]


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_a_counted_failed_row(kind, drawn, first, tmp_path, cli):  # type: ignore[no-untyped-def]
    BAD_IMAGES[kind](first)
    run = tmp_path / "run"
    done = cli("import", drawn[1], "--dataset", "folder", "--data", drawn[0], "--method", "m", "--out", run)
    assert done.returncode == 0, done.stderr
    assert "PARTIAL" in done.stdout
    assert "failed (1)" in done.stderr
    cells = store.open_run(run).cells()
    bad = cells[cells["status"] == "failed"]
    assert len(bad) == 1
    assert first.name in bad["error"].iloc[0]
    done = cli(
        "import",
        drawn[1],
        "--dataset",
        "folder",
        "--data",
        drawn[0],
        "--method",
        "m",
        "--out",
        tmp_path / "s",
        "--strict",
    )
    assert first.name in one_line(done) or "strict" in one_line(done)
    assert not (tmp_path / "s").exists()


def test_failed_rows_reach_the_scores(drawn, first, tmp_path, cli):  # type: ignore[no-untyped-def]
    truncated(first)
    run = tmp_path / "run"
    cli("import", drawn[1], "--dataset", "folder", "--data", drawn[0], "--method", "m", "--out", run)
    done = cli("score", run, "--metrics", "psnr@64,ssim@64")
    assert done.returncode == 0, done.stderr
    frame = store.read_scores(run)
    asked = len(store.open_run(run).cell_list())
    assert frame.groupby("metric")["value"].count().tolist() == [asked - 1] * 2
    assert frame.groupby("metric").size().tolist() == [asked] * 2


def manifest(text: str) -> Callable[[Path], None]:
    return lambda data: (data / "manifest.csv").write_bytes(text.encode())  # type: ignore[func-returns-value]


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing column": (manifest("img_name,text\na.png,x\n"), "target_text"),
    "nan in a csv": (manifest("img_name,target_text\na.png,NaN\n"), "target_text"),
    "names that climb": (manifest("img_name,target_text\n../../a.png,x\n"), ".."),
    "absolute names": (manifest("img_name,target_text\n/etc/hostname,x\n"), "/etc/hostname"),
    "no such image": (manifest("img_name,target_text\nghost.png,x\n"), "ghost.png"),
    "empty manifest": (manifest(""), "manifest.csv"),
    "header only": (manifest("img_name,target_text\n"), "no rows"),
    "latin-1": (
        lambda data: (data / "manifest.csv").write_bytes("img_name,target_text\na.png,é\n".encode("latin-1")),
        "UTF-8",
    ),
    "utf-16": (
        lambda data: (data / "manifest.csv").write_bytes("img_name,target_text\na.png,x\n".encode("utf-16")),
        "UTF-8",
    ),
    "duplicate rows": (
        lambda data: (data / "manifest.csv").write_text(
            (data / "manifest.csv").read_text() + (data / "manifest.csv").read_text().splitlines()[1] + "\n"
        ),
        "same question",
    ),
    "a photo that is cut": (lambda data: truncated(next(iter(sorted(data.rglob("*.png"))))), ".png"),
    "no folder": (shutil.rmtree, "data"),
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_bad_data_sets_are_one_clear_line(kind, drawn, tmp_path, cli):  # type: ignore[no-untyped-def]
    spoil, named = BAD_DATA[kind]
    spoil(drawn[0])
    run = tmp_path / "run"
    done = cli("import", drawn[1], "--dataset", "folder", "--data", drawn[0], "--method", "m", "--out", run)
    assert named in one_line(done)
    assert not run.exists()
    assert not list(tmp_path.glob(".*"))


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(not shutil.which("mount"), reason="needs mount")
def test_a_full_disk_leaves_nothing_half_written(drawn, tmp_path, cli):  # type: ignore[no-untyped-def]
    arguments = ["--dataset", "folder", "--data", drawn[0], "--method", "m"]
    with tmpfs(tmp_path / "small", "size=1m") as small:
        (small / "ballast").write_bytes(os.urandom(1000 * 1024))
        done = cli("import", drawn[1], *arguments, "--out", small / "run")
        assert "No space left" in one_line(done)
        assert [path.name for path in small.iterdir()] == ["ballast"]


def test_a_disk_that_fills_while_scoring_keeps_what_was_there(drawn, tmp_path, cli):  # type: ignore[no-untyped-def]
    run = tmp_path / "run"
    cli("import", drawn[1], "--dataset", "folder", "--data", drawn[0], "--method", "m", "--out", run)
    cli("score", run, "--metrics", "psnr@64")
    with tmpfs(tmp_path / "small", "size=4m") as small:
        shutil.copytree(run, small / "run")
        before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
        with contextlib.suppress(OSError):
            (small / "ballast").write_bytes(b"x" * 2**23)
        done = cli("score", small / "run", "--metrics", "ssim@64", "--data", drawn[0])
        assert "No space left" in one_line(done)
        (small / "ballast").unlink()
        assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before
        assert cli("report", small / "run", "--out", tmp_path / "report").returncode == 0


def test_a_read_only_folder_is_one_line(drawn, tmp_path, cli):  # type: ignore[no-untyped-def]
    run = tmp_path / "run"
    cli("import", drawn[1], "--dataset", "folder", "--data", drawn[0], "--method", "m", "--out", run)
    with tmpfs(tmp_path / "frozen", "size=8m") as frozen:
        shutil.copytree(run, frozen / "run")
        subprocess.run(["mount", "-o", "remount,ro", frozen], check=True)
        for arguments in (
            ("import", drawn[1], "--dataset", "folder", "--data", drawn[0], "--method", "m", "--out", frozen / "new"),
            ("score", frozen / "run", "--metrics", "psnr@64", "--data", drawn[0]),
            ("report", run, "--out", frozen / "report"),
        ):
            if arguments[0] == "report":
                cli("score", run, "--metrics", "psnr@64")
            assert "Read-only" in one_line(cli(*arguments))


BAD_CALLS: dict[str, tuple[list[str], str]] = {
    "no such metric": (["score", "RUN", "--metrics", "lpip-alex@256"], "Did you mean 'lpips-alex'"),
    "no such size": (["score", "RUN", "--metrics", "lpips-alex@huge"], "lpips-alex@huge"),
    "size nought": (["score", "RUN", "--metrics", "lpips-alex@0"], "size"),
    "no metrics": (["score", "RUN", "--metrics", ","], "--metrics"),
    "no run": (["score", "nowhere", "--metrics", "psnr"], "nowhere"),
    "report without a run": (["report", "nowhere"], "nowhere"),
    "report without scores": (["report", "RUN", "--out", "REPORT"], "tedbench score"),
    "fid": (["score", "RUN", "--metrics", "fid"], "FID"),
    "no weights": (["score", "RUN", "--metrics", "clip-text@ViT-B-32/openai"], "ViT-B-32"),
    "weights that are not there": (["score", "RUN", "--metrics", "clip-text@local-dir:/nowhere"], "/nowhere"),
    "no such data set": (["import", "X", "--dataset", "tedbnch", "--method", "m", "--out", "o"], "'tedbench'"),
    "unknown field": (["score", "RUN", "--metrics", "psnr@64?siez=3"], "Did you mean 'size'"),
    "unknown command": (["scroe"], "scroe"),
    "fetch without network": (["data", "fetch", "tedbench", "--out", "FETCH"], "network"),
    "a stranger's module": (["score", "RUN", "--metrics", "no_such_module:Metric"], "no_such_module"),
}


@pytest.mark.parametrize("kind", BAD_CALLS)
def test_bad_calls_are_one_clear_line(kind, drawn, tmp_path, cli):  # type: ignore[no-untyped-def]
    arguments, named = BAD_CALLS[kind]
    run = tmp_path / "RUN"
    cli("import", drawn[1], "--dataset", "folder", "--data", drawn[0], "--method", "m", "--out", run)
    before = sorted(path.name for path in tmp_path.iterdir())
    # A port where nobody listens stands in for a network that is not there, wherever the test runs.
    done = cli(*arguments, cwd=tmp_path, https_proxy="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")
    assert named in one_line(done)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "FETCH") == before
    assert not (run / "scores.parquet").exists()
