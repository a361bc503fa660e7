"""A file is there completely or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.storage import atomic


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_files_and_folders_are_the_owners_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        atomic.write_json(tmp_path / "a/b/c.json", {"x": 1})
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b"), mode(tmp_path / "a/b/c.json")) == (0o700, 0o700, 0o600)


def test_a_failing_writer_leaves_the_old_content_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "x"
    atomic.write_bytes(path, b"old")
    with pytest.raises(TypeError), atomic.replacing(path) as file:
        file.writelines([b"half", "not bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_transient_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Transient, match=r"No space left.*free space"):
        atomic.write_bytes(tmp_path / "x", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Permanent, match=r"cannot be written"):
        atomic.write_bytes(tmp_path / "file/x", b"content")


def test_a_failing_read_inside_the_block_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.replacing(tmp_path / "x") as file:
        file.write((tmp_path / "elsewhere/none").read_bytes())


def test_stale_files_are_removed_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / ".tmp-1234").write_text("half")
    (tmp_path / "kept.dcm").write_text("whole")
    assert atomic.remove_stale(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["kept.dcm"]


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=2000))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("w") / "x"
    atomic.write_bytes(path, content)
    assert path.read_bytes() == content


def test_a_killed_writer_never_leaves_half_a_file(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pacs_pipeline.storage.atomic import write_bytes\n"
        "n = 0\n"
        "while True:\n"
        "    n = (n + 1) % 10\n"
        "    write_bytes(Path(sys.argv[1]) / 'x', str(n).encode() * 1_000_000)\n"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        deadline = time.monotonic() + 20
        while not (tmp_path / "x").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = (tmp_path / "x").read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1
    atomic.remove_stale(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_files_and_their_folders_are_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[Path] = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(Path(f"/proc/self/fd/{fd}").readlink()))
    folders = [tmp_path / "instances" / name for name in ("1.2", "1.3")]
    files = [folder / f"{number}.dcm" for folder in folders for number in range(100)]
    for folder in folders:
        folder.mkdir(parents=True)
    for file in files:
        file.write_bytes(b"x")
    atomic.make_durable(files)
    assert synced == {*files, *folders, tmp_path / "instances"}


def test_a_disk_that_fails_while_files_are_made_durable_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    file = tmp_path / "a"
    file.write_bytes(b"x")
    with pytest.raises(Transient):
        atomic.make_durable([file])
