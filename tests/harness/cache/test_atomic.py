import errno
import hashlib
import os
import threading

import pytest

from harness.cache.atomic import LOCK_FILE, folder_lock, remove_leftovers, write_file
from harness.errors import UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_and_digest(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    digest = write_file(path, [b"one", memoryview(b"two"), b""])
    assert path.read_bytes() == b"onetwo"
    assert digest == hashlib.sha256(b"onetwo").hexdigest()
    assert names(path.parent) == ["file.bin"]


def test_others_may_read_it(tmp_path):
    """A temporary file of the standard library is private, and a cache would stay so."""
    write_file(tmp_path / "a", [b"x"])
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_partial_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:3]))
    write_file(tmp_path / "file", [b"0123456789"])
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    write_file(tmp_path / "file", [b"x"])
    assert calls == ["write", "fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "disk .* is full: free space"),
        (errno.EDQUOT, "disk .* is full: free space"),
        (errno.EROFS, "may not be written"),
        (errno.EIO, "could not be written .*nput/output error"),
    ],
)
@pytest.mark.parametrize("operation", ["open", "write", "fsync", "replace"])
def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch, operation, code, sentence):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, operation, fail)
        with pytest.raises(UserError, match=sentence):
            write_file(path, [b"new"])
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_interrupt_leaves_nothing(tmp_path):
    def parts():
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", parts())
    assert names(tmp_path) == []


def test_leftovers(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in (".a.safetensors.1-2.tmp", "deep/.b.1-2.tmp", "mine.tmp", ".keep"):
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".keep", "deep", "mine.tmp"]
    assert names(tmp_path / "deep") == []


class TestLock:
    def test_held_and_free_again(self, tmp_path):
        folder = tmp_path / "new"
        with folder_lock(folder):
            assert names(folder) == [LOCK_FILE]
            with pytest.raises(UserError, match=r"another run is writing to .* did not end within 0 s"):
                folder_lock(folder, wait_s=0).__enter__()
        with folder_lock(folder, wait_s=0):
            pass

    def test_a_time_out_is_a_sentence_after_a_message(self, tmp_path):
        told = []
        with folder_lock(tmp_path), pytest.raises(UserError, match=r"within 0\.1 s: wait for it, stop it, or choose"):
            folder_lock(tmp_path, wait_s=0.1, notify=told.append).__enter__()
        assert told == [f"another run is writing to '{tmp_path}': waiting up to 0.1 s for it to end"]

    def test_waiting_ends_with_the_other_run(self, tmp_path):
        first = folder_lock(tmp_path)
        first.__enter__()
        order, waits = [], threading.Event()

        def second():
            with folder_lock(tmp_path, wait_s=60, notify=lambda _: waits.set()):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(60)
        order.append("first")
        first.__exit__(None, None, None)
        thread.join()
        assert order == ["first", "second"]

    def test_an_error_inside_frees_it(self, tmp_path):
        with pytest.raises(ZeroDivisionError), folder_lock(tmp_path):
            _ = 1 / 0
        with folder_lock(tmp_path, wait_s=0):
            pass

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(UserError, match="could not be written"), folder_lock(tmp_path / "file"):
            pass
