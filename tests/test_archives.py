"""Archives of arrays: what numpy reads, every flipped bit found, and nothing else let in."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crafting import (
    Members,
    frugal,
    header,
    npy,
    open_and_check,
    read_arrays,
    refused,
    whole_size,
    within,
    write_arrays,
    zipped,
)

from measureflow import npz

# archives: round trip -------------------------------------------------------------------------------------------------

KEPT: dict[str, Any] = {
    "0-d": np.array(1.5),
    "0-d integer": np.array(-7),
    "empty": np.zeros(0),
    "empty in the middle": np.zeros((3, 0, 2)),
    "matrix": np.arange(6.0).reshape(2, 3),
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other": np.arange(12.0)[::2],
    "backwards": np.arange(12)[::-1],
    "big endian": np.array([1.0, -2.5e300], dtype=">f8"),
    "big endian integers": np.array([[1, -(2**62)]], dtype=">i8"),
    "single precision": np.array([1.0, 1e-40], dtype=np.float32),
    "bytes": np.arange(256, dtype=np.uint8),
    "not finite": np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324]),
    "rows": [np.arange(4.0).reshape(2, 2), np.ones((2, 2)), -np.arange(4.0).reshape(2, 2)],
    "rows in Fortran order": [np.asfortranarray(np.arange(6.0).reshape(2, 3))] * 2,
    "rows of numbers": [np.array(1.0), np.array(2.0)],
    "empty rows": [np.zeros((0, 2))] * 3,
    "rows big endian": [np.array([1.0, 2.0], dtype=">f8")] * 2,
    "read-only": np.frombuffer(b"12345678" * 3, dtype=np.float64),
    "many dimensions": np.arange(4.0).reshape((1,) * 10 + (2, 2)),
}


def saved(path: Path, arrays: dict[str, Any]) -> npz.Archive:
    write_arrays(path, arrays)
    return npz.Archive(path)


@pytest.mark.parametrize("name", KEPT)
def test_an_array_comes_back_bit_for_bit_and_numpy_and_zipfile_read_it(name: str, tmp_path: Path) -> None:
    value = KEPT[name]
    expected = np.array(value) if isinstance(value, list) else value
    found = saved(tmp_path / "a.npz", {"first": np.zeros(3), "x.y_1": value, "last": np.ones(2)})
    values = found.read("x.y_1")
    assert values.dtype == expected.dtype.newbyteorder("<")
    assert values.shape == expected.shape == found.shape("x.y_1")
    assert values.tobytes() == expected.astype(expected.dtype.newbyteorder("<")).tobytes()
    assert values.flags.c_contiguous
    assert not values.flags.writeable
    found.verify()
    assert "x.y_1" in found
    assert "x.y_1.npy" not in found
    with np.load(tmp_path / "a.npz", allow_pickle=False) as plain:
        assert plain.files == ["first", "x.y_1", "last"]
        assert plain["x.y_1"].tobytes() == values.tobytes()
        assert plain["x.y_1"].dtype == values.dtype
        assert plain["x.y_1"].shape == values.shape
    with zipfile.ZipFile(tmp_path / "a.npz") as plain_zip:
        assert plain_zip.testzip() is None
        assert [info.compress_type for info in plain_zip.infolist()] == [zipfile.ZIP_STORED] * 3


def test_an_archive_may_be_empty(tmp_path: Path) -> None:
    found = saved(tmp_path / "a.npz", {})
    assert not found.members
    with zipfile.ZipFile(tmp_path / "a.npz") as plain:
        assert plain.namelist() == []


@pytest.mark.parametrize(
    "value",
    [
        np.array([{}], dtype=object),
        np.array(["text"]),
        np.array([True]),
        np.array([1.0j]),
        np.zeros(2, dtype="i4,f8"),
        np.zeros(2, dtype=np.int32),
        np.zeros(2, dtype=np.float16),
        np.zeros(2, dtype="M8[s]"),
        [np.zeros(2), np.zeros(3)],
        [np.zeros(2), np.zeros(2, dtype=np.int64)],
    ],
)
def test_arrays_of_other_types_and_ragged_rows_are_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match="must be of one shape and of a type in"):
        npz.write(io.BytesIO(), {"x": value})


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a\\b", "a b", "a\0", "é", "a:b", "a" * 81])
def test_arrays_of_other_names_are_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="name of an array must be"):
        npz.write(io.BytesIO(), {name: np.zeros(1)})


def test_a_file_of_more_arrays_than_are_read_is_not_written(tmp_path: Path) -> None:
    number = np.zeros(())
    assert len(saved(tmp_path / "most.npz", {f"a{k}": number for k in range(npz.MOST_MEMBERS)}).members) == npz.MOST_MEMBERS
    with pytest.raises(ValueError):
        npz.write(io.BytesIO(), {f"a{k}": number for k in range(npz.MOST_MEMBERS + 1)})


# archives: damage -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    write_arrays(path, {"a": np.array([1.0, 2.0]), "bc": np.array(7, dtype=np.uint8)})
    open_and_check(path)
    return path


def test_every_flipped_bit_is_found(small: Path) -> None:
    good = small.read_bytes()
    with open(small, "r+b", buffering=0) as file:
        for k in range(len(good)):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([good[k] ^ (1 << bit)]), k)
                with pytest.raises(ValueError, match="damaged"):
                    open_and_check(small)
            os.pwrite(file.fileno(), good[k : k + 1], k)
    open_and_check(small)


def test_every_cut_is_found(small: Path) -> None:
    good = small.read_bytes()
    for size in range(len(good)):
        for part in (good[:size], good[len(good) - size :])[: 1 + (size % 8 == 0)]:
            small.write_bytes(part)
            with pytest.raises(ValueError, match="damaged"):
                open_and_check(small)


def test_every_byte_at_the_end_and_at_the_start_is_found(small: Path) -> None:
    good = small.read_bytes()
    for byte in range(256):
        for bad in (good + bytes([byte]), bytes([byte]) + good, good + bytes([byte] * 98))[: 1 + 2 * (byte % 16 == 0)]:
            small.write_bytes(bad)
            with pytest.raises(ValueError, match="damaged"):
                open_and_check(small)


def test_every_byte_put_in_or_left_out_is_found(small: Path) -> None:
    good = small.read_bytes()
    for k in range(len(good)):
        small.write_bytes(good[:k] + (b"", b"\0" + good[k : k + 1], good[k : k + 1] * 2)[k % 3] + good[k + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            open_and_check(small)


# archives: made by hand -----------------------------------------------------------------------------------------------


PAIR = npy(header(), np.array([1.0, 2.0]).tobytes())
TWO: Members = [(b"a.npy", PAIR), (b"b.npy", PAIR)]


def test_archives_made_by_hand_are_those_of_the_package(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"a": np.array([1.0, 2.0]), "b": np.array([1.0, 2.0])})
    assert (tmp_path / "a.npz").read_bytes() == zipped(TWO)


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a member twice": lambda: zipped([TWO[0], TWO[0]]),
    "a member twice at one place": lambda: zipped([TWO[0], TWO[0]], offsets=[0, 0]),
    "members that overlap": lambda: zipped(TWO, offsets=[0, 0]),
    "members in another order": lambda: zipped(TWO, offsets=[len(PAIR) + 55, 0]),
    "a member before the file": lambda: zipped(TWO, offsets=[2**64 - 1, 0]),
    "other names in the local headers": lambda: zipped(TWO, inner=[b"b.npy", b"a.npy"]),
    "compressed members": lambda: zipped(TWO, *[{"method": 8}] * 2, stored=[deflated(PAIR)] * 2),
    "compressed members by one header only": lambda: zipped(TWO, {"method": 8}, stored=[deflated(PAIR)] * 2),
    "a method that does not exist": lambda: zipped(TWO, *[{"method": 99}] * 2),
    "encryption": lambda: zipped(TWO, *[{"flags": 1}] * 2),
    "encryption by one header only": lambda: zipped(TWO, None, {"flags": 1}),
    "data descriptors": lambda: zipped(
        TWO, *[{"flags": 8}] * 2, gap=struct.pack("<4sI2Q", b"PK\x07\x08", zlib.crc32(PAIR), 144, 144)
    ),
    "names in UTF-8": lambda: zipped(TWO, *[{"flags": 0x800}] * 2),
    "bytes between members": lambda: zipped(TWO, gap=b"\0"),
    "a comment": lambda: zipped(TWO, comment=b"hello"),
    "a comment that is an archive": lambda: zipped(TWO, comment=zipped(TWO)),
    "a comment on a member": lambda: zipped(TWO, None, {"comment": b"hello"}),
    "bytes before": lambda: b"#!/bin/sh\n" + zipped(TWO),
    "bytes after": lambda: zipped(TWO) + b"\n",
    "two archives": lambda: zipped(TWO) + zipped(TWO),
    "another disk": lambda: zipped(TWO, None, {"disk": 1}),
    "a wrong checksum in both headers": lambda: zipped(TWO, *[{"crc": 1}] * 2),
    "a wrong checksum in the directory": lambda: zipped(TWO, None, {"crc": 1}),
    "a size larger than the file": lambda: zipped(TWO, *[{"size": 10**6, "raw": 10**6}] * 2),
    "a size of 2**63": lambda: zipped(TWO, *[{"size": 2**63, "raw": 2**63}] * 2),
    "sizes that add up to the file by overflow": lambda: zipped(TWO, *[{"size": 2**64 - 1, "raw": 2**64 - 1}] * 2),
    "more members than are there": lambda: zipped(TWO, count=3),
    "fewer members than are there": lambda: zipped(TWO, count=1),
    "2**40 members": lambda: zipped(TWO, count=2**40),
    "nothing but an end": lambda: zipped(TWO)[-98:],
    "a name with a slash": lambda: zipped([(b"a/b.npy", PAIR)]),
    "a name above": lambda: zipped([(b"../a.npy", PAIR)]),
    "an absolute name": lambda: zipped([(b"/etc/a.npy", PAIR)]),
    "a name with a backslash": lambda: zipped([(b"..\\a.npy", PAIR)]),
    "a name with a drive": lambda: zipped([(b"C:a.npy", PAIR)]),
    "a name with NUL": lambda: zipped([(b"a\0b.npy", PAIR)]),
    "a name with a line": lambda: zipped([(b"a\n.npy", PAIR)]),
    "a name with a space": lambda: zipped([(b"a .npy", PAIR)]),
    "a name in UTF-8": lambda: zipped([("ä.npy".encode(), PAIR)]),
    "a name in fullwidth letters": lambda: zipped([("\uff41.npy".encode(), PAIR)]),
    "no name": lambda: zipped([(b"", PAIR)]),
    "a name that is a suffix": lambda: zipped([(b".npy", PAIR)]),
    "a name without suffix": lambda: zipped([(b"about", PAIR)]),
    "a long name": lambda: zipped([(b"a" * 81 + b".npy", PAIR)]),
    "a name of 65535 letters": lambda: zipped([(b"a" * 65531 + b".npy", PAIR)]),
    "a folder": lambda: zipped([(b"a/", b"")]),
    "a file made by numpy.savez": lambda: packed(a=np.array([1.0, 2.0]), b=np.array([1.0, 2.0])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_archives_that_the_package_does_not_write_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(HOSTILE[name]())
    with within(60.0), frugal(path.stat().st_size), pytest.raises(ValueError, match="damaged"):
        open_and_check(path)


FLOAT = np.array([1.0, 2.0]).tobytes()
HEADERS: dict[str, bytes] = {
    "complex numbers": npy(header("'<c16'", "(1,)"), FLOAT),
    "booleans": npy(header("'|b1'", "(16,)"), FLOAT),
    "text": npy(header("'<U4'", "(1,)"), FLOAT),
    "strings": npy(header("'|S8'"), FLOAT),
    "dates": npy(header("'<M8[s]'"), FLOAT),
    "bytes without type": npy(header("'|V8'"), FLOAT),
    "half precision": npy(header("'<f2'", "(8,)"), FLOAT),
    "short integers": npy(header("'<i4'", "(4,)"), FLOAT),
    "unsigned integers": npy(header("'<u8'"), FLOAT),
    "big endian": npy(header("'>f8'"), FLOAT),
    "the machine's order": npy(header("'=f8'"), FLOAT),
    "another name of the type": npy(header("'float64'"), FLOAT),
    "a letter as type": npy(header("'d'"), FLOAT),
    "a structure": npy(header("[('x', '<f8')]"), FLOAT),
    "a structure with a title": npy(header("[(('title', 'x'), '<f8')]"), FLOAT),
    "an array of arrays": npy(header("('<f8', (2,))", "(1,)"), FLOAT),
    "a huge item": npy(header("'|V2000000000'", "(1,)"), FLOAT),
    "an unknown type": npy(header("'<q9'"), FLOAT),
    "a type that is a number": npy(header("7"), FLOAT),
    "a type that is a list": npy(header("['<f8']"), FLOAT),
    "objects": npy(header("'|O'"), FLOAT),
    "objects in a structure": npy(header("[('x', '|O')]"), FLOAT),
    "Fortran order": npy(header(shape="(1, 2)", fortran="True"), FLOAT),
    "Fortran order of a line": npy(header(fortran="True"), FLOAT),
    "Fortran order as a number": npy(header(fortran="0"), FLOAT),
    "a negative size": npy(header(shape="(-2,)"), FLOAT),
    "two negative sizes": npy(header(shape="(-1, -2)"), FLOAT),
    "a size that wraps to zero": npy(header(shape="(4294967296, 4294967296)")),
    "sizes that wrap to the right size": npy(header(shape="(4611686018427387905, 4, 2)"), FLOAT),
    "a size of 2**63": npy(header(shape="(9223372036854775808,)"), FLOAT),
    "a size of a hundred digits": npy(header(shape=f"({'9' * 100},)"), FLOAT),
    "a size of nine hundred digits": npy(header(shape=f"({'9' * 900},)"), FLOAT),
    "nothing of a huge size": npy(header(shape="(0, 9223372036854775807, 9223372036854775807)"), b"x"),
    "a size that is True": npy(header(shape="(True,)"), FLOAT[:8]),
    "a size that is a float": npy(header(shape="(2.0,)"), FLOAT),
    "a size that is a text": npy(header(shape="('2',)"), FLOAT),
    "a size that is None": npy(header(shape="None"), FLOAT),
    "a size in another base": npy(header(shape="(0x2,)"), FLOAT),
    "a shape that is a number": npy(header(shape="2"), FLOAT),
    "a shape that is a list": npy(header(shape="[2]"), FLOAT),
    "a long integer": npy(header(shape="(2L,)"), FLOAT),
    "a sum": npy(header(shape="(1 + 1,)"), FLOAT),
    "a hundred dimensions": npy(header(shape=str((1,) * 99 + (2,))), FLOAT),
    "too little data": npy(header(), FLOAT[:-1]),
    "too much data": npy(header(), FLOAT + b"\0"),
    "no data": npy(header()),
    "a call": npy(header("__import__('os').system('true')"), FLOAT),
    "a lambda": npy("(lambda: 0)()", FLOAT),
    "deep brackets": npy("(" * 900, FLOAT),
    "deep signs": npy(header(shape=f"({'-' * 900}2,)"), FLOAT),
    "deep powers": npy(header(shape="(9**9**9**9,)"), FLOAT),
    "another key": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'x': 1, }", FLOAT),
    "a key twice": npy("{'descr': '|O', 'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", FLOAT),
    "a missing key": npy("{'descr': '<f8', 'shape': (2,), }", FLOAT),
    "another order of keys": npy("{'shape': (2,), 'fortran_order': False, 'descr': '<f8', }", FLOAT),
    "a comment": npy(header() + "#", FLOAT),
    "another padding": npy(header(), FLOAT, width=16),
    "a header of 960 bytes": npy(header() + " " * 900, FLOAT),
    "a header of 5000 bytes": npy(header() + " " * 5000, FLOAT),
    "a header of 60000 bytes": npy(header() + " " * 60000, FLOAT),
    "a header longer than the member": b"\x93NUMPY\x01\x00\xff\xff" + header().encode(),
    "version 2": npy(header(), FLOAT, (2, 0)),
    "version 3": npy(header(), FLOAT, (3, 0)),
    "version 9": npy(header(), FLOAT, (9, 0)),
    "NUL": npy("\0" * 60, FLOAT),
    "letters above ASCII": npy(header() + "\xe9", FLOAT),
    "no header": b"",
    "half a magic": b"\x93NUM",
    "a pickle": pickle.dumps([1.0, 2.0]),
    "an archive": zipped(TWO),
    "zeros": bytes(128),
}


@pytest.mark.parametrize("name", HEADERS)
def test_members_that_are_not_plain_arrays_are_refused_before_use(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(zipped([(b"a.npy", PAIR), (b"b.npy", HEADERS[name])]))
    with within(60.0), frugal(path.stat().st_size), pytest.raises(ValueError, match=r"damaged|there is no"):
        npz.Archive(path)


class Payload:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def objects(path: Path) -> np.ndarray:
    return np.array([Payload(path), Payload(path)], dtype=object)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    pickled = pickle.dumps(objects(mark), protocol=2)
    hidden = zipped([(b"about.npy", npy(header("'|O'"), pickled))])
    shown = io.BytesIO()
    np.savez(shown, about=objects(mark), t=objects(mark))
    alone = io.BytesIO()
    np.save(alone, objects(mark), allow_pickle=True)
    for data in (hidden, zipped([(b"about.npy", pickled)]), shown.getvalue(), alone.getvalue(), pickled):
        (tmp_path / "bad.npz").write_bytes(data)
        refused(tmp_path / "bad.npz")
        with pytest.raises(ValueError):
            npz.Archive(tmp_path / "bad.npz")
        assert not mark.exists()
    with np.load(io.BytesIO(shown.getvalue()), allow_pickle=True) as opened:
        assert len(opened["t"]) == 2
    assert mark.exists()  # so would any reader that unpickles


def test_compressed_zeros_are_refused_without_unpacking(tmp_path: Path, copied: Callable[[str], Path]) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", about=np.zeros(30_000_000, dtype=np.uint8), t=np.zeros(10_000_000))
    bomb = (tmp_path / "bomb.npz").read_bytes()
    zeros = npy(header("'|u1'", "(30000000,)"), bytes(30_000_000))
    method: dict[str, Any] = {"method": 8}
    (tmp_path / "hidden.npz").write_bytes(zipped([(b"about.npy", zeros)], method, method, stored=[deflated(zeros)]))
    assert len(bomb) < 200_000
    run = copied("vector")
    (run / "segments" / "00000001.npz").write_bytes(bomb)
    for path in (tmp_path / "bomb.npz", tmp_path / "hidden.npz", run):
        with frugal(whole_size(path)):
            refused(path)


def test_a_file_of_the_same_arrays_by_numpy_is_refused(library: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "again.npz", **read_arrays(library / "saved" / "vector.npz"))
    refused(tmp_path / "again.npz")
