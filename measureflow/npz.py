"""Arrays in one .npz file of which every byte is accounted for.

The files are plain ZIP archives of .npy members, stored without compression, that `numpy.load` reads. They are canonical: names,
sizes and checksums determine every other byte, so that a reader compares what it finds with what the writer would have written. A
flipped bit anywhere, a hidden or repeated member, a size that is not there or a compressed member is refused before use.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np

from measureflow.files import open_regular

LOCAL, CENTRAL, END64, LOCATOR, END = 0x04034B50, 0x02014B50, 0x06064B50, 0x07064B50, 0x06054B50
VERSION, DATE, UNKNOWN, ZIP64 = 45, 0x21, 0xFFFFFFFF, 1
TAIL = 56 + 20 + 22
MOST_MEMBERS, LONGEST_NAME = 4096, 80
DTYPES = ("<f8", "<f4", "<i8", "|u1")
"""What a member may hold: no objects, so that reading a file never runs code."""

Rows = Sequence[np.ndarray]


@final
@dataclass(frozen=True)
class Member:
    """One array of a file: its name, the size and CRC-32 of its bytes (header included), and where they start."""

    name: str
    size: int
    checksum: int
    start: int

    @property
    def entry(self) -> bytes:
        """The name in the archive."""
        return f"{self.name}.npy".encode()

    @property
    def local(self) -> bytes:
        """What stands before the member's bytes."""
        fields = (LOCAL, VERSION, 0, 0, 0, DATE, self.checksum, UNKNOWN, UNKNOWN, len(self.entry), 20)
        return struct.pack("<I5H3I2H", *fields) + self.entry + struct.pack("<2H2Q", ZIP64, 16, self.size, self.size)

    @property
    def central(self) -> bytes:
        """What stands for the member in the archive's directory."""
        sizes = (self.checksum, UNKNOWN, UNKNOWN, len(self.entry), 28, 0, 0, 0, 0, UNKNOWN)
        fixed = struct.pack("<I6H3I5H2I", CENTRAL, VERSION, VERSION, 0, 0, 0, DATE, *sizes)
        offset = self.start - len(self.local)
        return fixed + self.entry + struct.pack("<2H3Q", ZIP64, 24, self.size, self.size, offset)


def _directory(members: Sequence[Member]) -> bytes:
    """Return what follows the last member."""
    central = b"".join(member.central for member in members)
    count, size = len(members), len(central)
    start = members[-1].start + members[-1].size if members else 0
    end64 = struct.pack("<IQ2H2I4Q", END64, 44, VERSION, VERSION, 0, 0, count, count, size, start)
    locator = struct.pack("<2IQI", LOCATOR, 0, start + size, 1)
    return central + end64 + locator + struct.pack("<I4H2IH", END, 0, 0, 0xFFFF, 0xFFFF, UNKNOWN, UNKNOWN, 0)


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray | Rows]) -> None:
    """Write arrays to an open file; a list of equal arrays becomes one array with a new first axis, without a copy.

    Raises
    ------
    ValueError
        If a name is not of letters, digits, dots and underscores, or an array is of a type that is not kept.
    """
    if len(arrays) > MOST_MEMBERS:
        raise ValueError(f"arrays must be at most {MOST_MEMBERS}, got {len(arrays)}")
    members: list[Member] = []
    end = 0
    for name, value in arrays.items():
        chunks = _chunks(name, value)
        checksum = 0
        for chunk in chunks:
            checksum = zlib.crc32(chunk, checksum)
        blank = Member(name, sum(len(chunk) for chunk in chunks), checksum, 0)
        members.append(Member(name, blank.size, checksum, end + len(blank.local)))
        for chunk in (blank.local, *chunks):
            file.write(chunk)
        end = members[-1].start + blank.size
    file.write(_directory(members))


def _chunks(name: str, value: np.ndarray | Rows) -> list[Any]:
    """Return the bytes of a member: its .npy header, and the array or its rows."""
    if not _plain(name):
        raise ValueError(f"name of an array must be of letters, digits, dots and underscores, got {name!r}")
    rows = [value] if isinstance(value, np.ndarray) else list(value)
    kind = rows[0].dtype.newbyteorder("<").str
    if kind not in DTYPES or any(row.dtype != rows[0].dtype or row.shape != rows[0].shape for row in rows):
        raise ValueError(f"array {name!r} must be of one shape and of a type in {', '.join(DTYPES)}, got {rows[0].dtype.str}")
    shape = rows[0].shape if isinstance(value, np.ndarray) else (len(rows), *rows[0].shape)
    flat: list[Any] = [np.ascontiguousarray(row, dtype=kind).reshape(-1) for row in rows if row.size]
    return [_header(kind, shape), *(memoryview(row).cast("B") for row in flat)]


def _plain(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isascii() and all(c.isalnum() or c in "._" for c in name)


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@final
class Archive:
    """A file that `write` made, opened for reading; nothing but names, shapes and types is read before it is asked for.

    Parameters
    ----------
    path : Path
    whole : bool
        Read all of it at once and keep it in memory: for a file that may be replaced while it is read.

    Raises
    ------
    ValueError
        If the file is not one, byte for byte.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Path, whole: bool = False) -> None:
        self.path = path
        self._content: bytes | None = None
        if whole:
            with self._opened() as file:
                self._content = file.read()
        with self._opened() as file:
            self.size = file.seek(0, os.SEEK_END)
            self.members = {member.name: member for member in self._directory(file)}
            self.kinds = {name: self._kind(file, member) for name, member in self.members.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return self._known(name)[1]

    def read(self, name: str) -> np.ndarray:
        """Return an array, read-only, after checking its CRC-32."""
        kind, shape = self._known(name)
        member = self.members[name]
        with self._opened() as file:
            data = self._exactly(file, member.start, member.size)
        if zlib.crc32(data) != member.checksum:
            raise self._damaged(f"the checksum of {name} is wrong")
        return np.frombuffer(data, dtype=kind, offset=len(_header(kind, shape))).reshape(shape)

    def verify(self) -> None:
        """Check every array's CRC-32."""
        for name in self.members:
            self.read(name)

    def _known(self, name: str) -> tuple[str, tuple[int, ...]]:
        if name not in self.kinds:
            raise self._damaged(f"there is no array {name}")
        return self.kinds[name]

    def _damaged(self, what: str) -> ValueError:
        return ValueError(f"{self.path} is damaged or was not written by measureflow: {what}")

    def _directory(self, file: BinaryIO) -> list[Member]:
        """Return the members, after checking that every byte around them is as `write` makes it."""
        if self.size < TAIL:
            raise self._damaged(f"it has {self.size} bytes")
        _, _, _, _, _, _, count, _, size, start = struct.unpack("<IQ2H2I4Q", self._exactly(file, self.size - TAIL, 56))
        if count > MOST_MEMBERS or start + size + TAIL != self.size:
            raise self._damaged("its directory is not where it says")
        found = self._exactly(file, start, size + TAIL)
        members = list(self._entries(found[:size], count))
        names = {member.name for member in members}
        if len(names) != count or _directory(members) != found or sum(len(m.local) + m.size for m in members) != start:
            raise self._damaged("its directory is not as written")
        for member in members:
            if self._exactly(file, member.start - len(member.local), len(member.local)) != member.local:
                raise self._damaged(f"the entry of {member.name} is not as written")
        return members

    def _entries(self, central: bytes, count: int) -> Any:
        at, end = 0, 0
        for _ in range(count):
            if len(central) < at + 46:
                raise self._damaged("its directory is cut off")
            checksum, length = struct.unpack_from("<I8xH", central, at + 16)
            entry = central[at + 46 : at + 46 + length]
            name = entry[:-4].decode("ascii", "replace")
            if entry[-4:] != b".npy" or not _plain(name) or len(central) < at + 46 + length + 28:
                raise self._damaged("its directory holds a wrong name")
            (size,) = struct.unpack_from("<Q", central, at + 46 + length + 4)
            blank = Member(name, size, checksum, 0)
            if end + len(blank.local) + size > self.size:
                raise self._damaged(f"{name} is larger than the file")
            yield Member(name, size, checksum, end + len(blank.local))
            end += len(blank.local) + size
            at += 46 + length + 28

    def _kind(self, file: BinaryIO, member: Member) -> tuple[str, tuple[int, ...]]:
        """Return type and shape of a member from its .npy header, after checking that its size follows from them."""
        head = self._exactly(file, member.start, min(member.size, 1024))
        try:
            buffer = io.BytesIO(head)
            np.lib.format.read_magic(buffer)
            shape, _, dtype = np.lib.format.read_array_header_1_0(buffer)
        except Exception as error:
            raise self._damaged(f"{member.name} is not an array: {error}") from error
        header = _header(dtype.str, shape) if dtype.str in DTYPES and min(shape, default=0) >= 0 else b""
        data = math.prod(shape) * dtype.itemsize
        if (
            any(type(k) is not int for k in shape)
            or not header
            or head[: len(header)] != header
            or member.size != len(header) + data
        ):
            raise self._damaged(f"{member.name} is not as its header says")
        return dtype.str, shape

    def _opened(self) -> BinaryIO:
        return open_regular(self.path) if self._content is None else io.BytesIO(self._content)

    def _exactly(self, file: BinaryIO, start: int, size: int) -> bytes:
        file.seek(start)
        data = file.read(size)
        if len(data) != size:
            raise self._damaged(f"it ends before byte {start + size}")
        return data
