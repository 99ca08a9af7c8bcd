"""Files that are there completely or not at all, and a folder that one run at a time writes to."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import UserError

LOCK_FILE = ".lock"
_TEMPORARY = ".tmp"
_BLOCK = 1 << 24
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

Notify = Callable[[str], None]
"""Tells people one line."""


def silent(text: str) -> None:
    """Tell nobody."""


def write_file(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    """Write a file: temporary file beside it, fsync, rename, fsync of the folder.

    Whenever the process dies, the path holds the old content or the new one, never a part of it.

    Args:
        path: The file; its folder is made.
        parts: The content, piece by piece.

    Returns:
        sha256 (hex) of the content.

    Raises:
        UserError: The disk is full, or the folder cannot be written to; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
        try:
            digest = _write_durably(temporary, parts)
            os.replace(temporary, path)  # noqa: PTH105 - the atomic step, by its own name
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    return digest


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of runs that were killed; only while the folder's lock is held."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


@contextmanager
def folder_lock(folder: Path, *, wait_s: float = 600.0, notify: Notify = silent) -> Iterator[None]:
    """Hold the folder alone; another run that holds it is waited for, with a message.

    The operating system frees the lock when its holder ends, however it ends.

    Args:
        folder: Made if it is not there.
        wait_s: Seconds to wait; 0 refuses at once.
        notify: Told once when there is something to wait for.

    Raises:
        UserError: The other run did not end in time, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if wait_s > 0:
                notify(f"another run is writing to '{folder}': waiting up to {wait_s:g} s for it to end")
                lock.acquire(timeout=wait_s)
            else:
                raise
    except Timeout as error:
        raise UserError(
            f"another run is writing to '{folder}' and did not end within {wait_s:g} s: "
            "wait for it, stop it, or choose another folder with --out"
        ) from error
    except OSError as error:
        raise _not_written(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _write_durably(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for part in parts:
            rest = memoryview(part)
            digest.update(rest)
            while rest:
                rest = rest[os.write(descriptor, rest[:_BLOCK]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(path: Path, error: OSError) -> UserError:
    if error.errno in _FULL:
        return UserError(
            f"'{path}' could not be written, the disk (or its quota) is full: free space or choose another folder "
            "with --out, then run the same command again; what was finished before is kept"
        )
    if error.errno in _FORBIDDEN:
        return UserError(f"'{path}' may not be written: make its folder writable or choose another one with --out")
    return UserError(f"'{path}' could not be written ({error.strerror or error}): choose another folder with --out")
