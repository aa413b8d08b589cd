"""Files that appear whole or not at all, text that says when it was changed, and the lock of a folder."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, final

from measureflow.errors import RunLockedError

LARGEST_TEXT = 64 * 2**20


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file under another name, bring it to the disk, and rename it: a kill leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def to_text(data: dict[str, Any]) -> bytes:
    """Return data as JSON text with a checksum: numbers, strings, lists and dictionaries with text keys."""
    text = json.dumps(data, indent=1, sort_keys=True, allow_nan=False)
    return json.dumps({**data, "crc32": zlib.crc32(text.encode())}, indent=1, sort_keys=True).encode() + b"\n"


def from_text(text: bytes, source: str) -> dict[str, Any]:
    """Return what `to_text` was given; `source` names the text in the ValueError for one that is not as it was written."""
    try:
        data = json.loads(text)
        data.pop("crc32")
        intact = to_text(data) == text
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"{source} is damaged or was not written by measureflow: {error}") from error
    if not intact:
        raise ValueError(f"{source} is damaged or was changed: its text does not agree with its checksum")
    return dict(data)


def write_text(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as file:
        file.write(to_text(data))


def read_text(path: Path) -> dict[str, Any]:
    """Read a JSON file that `write_text` wrote."""
    size = path.stat().st_size
    if size > LARGEST_TEXT:
        raise ValueError(f"{path} must have at most {LARGEST_TEXT} bytes, got {size}")
    return from_text(path.read_bytes(), str(path))


@final
class Lock:
    """Keeps every other process, and every other flow of this one, out of a folder; a killed process lets go of it.

    Raises
    ------
    RunLockedError
        If another flow holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self.descriptor)
        except OSError:
            holder = os.pread(self.descriptor, 20, 0).decode("ascii", "replace").strip() if os.name == "posix" else ""
            os.close(self.descriptor)
            raise RunLockedError(f"store {path.parent} is in use by {f'process {holder}' if holder else 'a process'}") from None
        os.ftruncate(self.descriptor, 0)
        os.write(self.descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others in."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _lock(descriptor: int) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        windows: Any = msvcrt  # there one locks bytes: the first one stands for the folder
        windows.locking(descriptor, windows.LK_NBLCK, 1)
