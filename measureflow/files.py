"""Files that appear whole or not at all, text that says when it was changed, and the lock of a folder."""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, final

from measureflow.errors import RunLockedError

LARGEST_TEXT = 4 * 2**20
DEEPEST = 100


@contextmanager
def renamed(path: Path) -> Iterator[Path]:
    """Yield another name in the same folder, of a file to write, and give it its own name at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file under another name, bring it to the disk, and rename it: a kill leaves the old file or the new one."""
    with renamed(path) as temporary, open(temporary, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


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


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, but no pipe and no device, which might never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ValueError(f"{path} must be a file, got a folder, pipe or device")
    return os.fdopen(descriptor, "rb")


def to_text(data: dict[str, Any]) -> bytes:
    """Return data as JSON text with a checksum, an entry a line: numbers, strings, lists and dictionaries with text keys."""
    entries = [f"{json.dumps(key)}: {json.dumps(data[key], sort_keys=True, allow_nan=False)}" for key in sorted(data)]
    number = zlib.crc32("".join(entries).encode())
    text = ("{\n " + ",\n ".join([*entries, f'"crc32": {number}']) + "\n}\n").encode()
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"a text must have at most {LARGEST_TEXT} bytes, got {len(text)}")
    return text


def from_text(text: bytes, source: str) -> dict[str, Any]:
    """Return what `to_text` was given; `source` names the text in the ValueError for one that is not as it was written."""
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"{source} must have at most {LARGEST_TEXT} bytes of text, got {len(text)}")
    try:
        data = json.loads(text)
        data.pop("crc32")
        _require_shallow(data)
        intact = to_text(data) == text
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"{source} is damaged or was not written by measureflow: {error}") from error
    if not intact:
        raise ValueError(f"{source} is damaged or was changed: its text does not agree with its checksum")
    return dict(data)


def _require_shallow(data: Any) -> None:
    level = [data]
    for _ in range(DEEPEST):
        lists = [list(entry.values()) if isinstance(entry, dict) else entry for entry in level if isinstance(entry, (dict, list))]
        level = [entry for entries in lists for entry in entries]
    if level:
        raise ValueError(f"it is more than {DEEPEST} levels deep")


def write_text(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as file:
        file.write(to_text(data))


def read_text(path: Path) -> dict[str, Any]:
    """Read a JSON file that `write_text` wrote."""
    with open_regular(path) as file:
        return from_text(file.read(min(os.fstat(file.fileno()).st_size, LARGEST_TEXT) + 1), str(path))


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
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
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
