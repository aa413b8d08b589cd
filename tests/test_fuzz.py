"""Random damage: whatever is in a file, reading gives a solution, a ValueError or an OSError, soon and in little memory.

Every input follows from its number: `replay` makes it again.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crafting import (
    FLOWS,
    Stop,
    as_text,
    at,
    content,
    edit_about,
    edit_text,
    npy,
    places,
    replaced,
    stop_at,
    text_of,
    within,
    zipped,
)
from test_recipes import EXAMPLES

import measureflow as mf
from measureflow import archive, files, npz, recipes, rundir, store, stored

SEED = 20240611
SECONDS = 60.0
FLOOR, SHARE = 50_000_000, 20
"""Reading may take FLOOR bytes, and SHARE times the size of the files."""

Files = dict[str, bytes]
Random = np.random.Generator


class Failure(AssertionError):
    """An input that does what none may."""


# the good files that are damaged ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    """Runs and saved files of every kind of flow, as bytes by their names; a saved file is alone in its dictionary."""
    home = tmp_path_factory.mktemp("sources")
    found: list[Files] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "MOST_ROWS", 5)
        for name, flow in FLOWS.items():
            path = flow(store=home / name).save(home / f"{name}.npz")
            edit_text(home / name / "done.json", timeless)
            edit_about(path, timeless)
            found += [read_files(home / name), {"saved.npz": path.read_bytes()}]
        with pytest.raises(Stop):
            mf.solve(mf.energies.Quadratic(), mf.Vector([1.0, -2.0]), 1.0, 0.125, store=home / "open", events=stop_at(0.51))
    return [*found, *[read_files(home / "open")] * 3]


def timeless(about: dict[str, Any]) -> None:
    """Replace the one number that is not the same every time."""
    about["outcome"]["cpu_seconds"] = 0.25


def read_files(run: Path) -> Files:
    names = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(run)): path.read_bytes() for path in names}


UNPACKED: dict[bytes, dict[str, np.ndarray]] = {}


def unpacked(data: bytes, folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file; those of good files are remembered."""
    if data not in UNPACKED:
        path = folder / "unpacked.npz"
        path.write_bytes(data)
        opened = npz.Archive(path)
        arrays = {name: opened.read(name) for name in opened.members}
        if len(UNPACKED) > 200:
            return arrays
        UNPACKED[data] = arrays
    return dict(UNPACKED[data])


def packed(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    npz.write(buffer, {name: np.asarray(values) for name, values in arrays.items()})
    return buffer.getvalue()


# damage to bytes ----------------------------------------------------------------------------------------------------------


def one_of(rng: Random, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def between(rng: Random, size: int) -> tuple[int, int]:
    a, b = sorted(int(k) for k in rng.integers(0, size + 1, 2))
    return a, min(b, a + int(rng.integers(1, 64))) if rng.random() < 0.7 else b


INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1, 2**40]


def damaged(data: bytes, other: bytes, rng: Random) -> bytes:
    """Return bytes with one to four wounds; `other` is a stranger from which pieces come."""
    for _ in range(int(rng.integers(1, 5))):
        a, b = between(rng, len(data))
        c, d = between(rng, len(other))
        kind = int(rng.integers(10))
        if kind == 0 and data:
            k = int(rng.integers(len(data)))
            data = data[:k] + bytes([data[k] ^ (1 << int(rng.integers(8)))]) + data[k + 1 :]
        elif kind == 1:
            data = data[:a] + rng.bytes(b - a) + data[b:]
        elif kind == 2:
            data = data[:a] + data[b:]
        elif kind == 3:
            data = data[:b] + data[a:b] * int(rng.integers(1, 4)) + data[b:]
        elif kind == 4:
            data = data[:a] + other[c:d] + data[b:]
        elif kind == 5:
            data = data[:a] + bytes(b - a) + data[b:]
        elif kind == 6:
            data = one_of(rng, [data[:a], data[a:], data + other[c:d], other[c:d] + data, data[:a] + other[c:]])
        elif kind == 7:
            number = one_of(rng, INTERESTING)
            width = one_of(rng, [1, 2, 4, 8])
            piece = (number % 256**width).to_bytes(width, "little")
            data = data[:a] + piece + data[a + width :]
        elif kind == 8:
            tail = bytearray(data)  # the directory of an archive, where its numbers are
            k = max(0, len(tail) - int(rng.integers(1, 400)))
            tail[k : k + 8] = struct.pack("<Q", one_of(rng, INTERESTING))[: len(tail[k : k + 8])]
            data = bytes(tail)
        else:
            e, f = between(rng, len(data))
            data = data[:a] + data[e:f] + data[b:] if rng.random() < 0.5 else data[e:] + data[:e]
    return data[:200_000]


# damage to content ---------------------------------------------------------------------------------------------------------

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    10**30,
    10**400,
    0.0,
    -0.0,
    0.5,
    1.5,
]
SCALARS += [
    -1.0,
    1e308,
    -1e308,
    5e-324,
    "",
    "x",
    "1",
    "Vector",
    "done",
    "os.system",
    "../../x",
    "a0",
    "about",
    "é",
    "\ud800",
    "\0",
]
RECIPES: list[Any] = [
    {"float": "nan"},
    {"float": "inf"},
    {"float": "-0x1.8p+1"},
    {"float": "0x1p99999"},
    {"float": "x"},
    {"array": "a0"},
    {"array": "a1"},
    {"array": "rows.t"},
    {"array": "player0.values"},
    {"function": "sign"},
    {"function": "os.system"},
    {"python": "os.system"},
    {"kind": "os.system", "with": {}},
    {"kind": "Euclidean", "with": {}},
    {"kind": "Wasserstein", "with": {"p": 1}},
    {"kind": "Vector", "with": {"values": {"array": "a0"}}},
    {"kind": "Particles", "with": {"points": {"array": "a0"}, "weights": None}},
    {"kind": "Gaussian", "with": {"mean": [0, 0], "cov": {"array": "a0"}}},
    {"kind": "Bilinear", "with": {"C": {"array": "a0"}}},
    {"kind": "Grid", "with": {"bounds": [[0, 1]], "shape": [10**9], "periodic": False}},
    {"sum": []},
    {"sum": [[1, {"kind": "Entropy", "with": {}}]]},
    {"kind": "Vector", "grid": None},
    {"kind": "Field", "grid": {"bounds": [[0.0, 1.0]], "shape": [10**9], "periodic": [False]}},
    {"bounds": [[0.0, 1.0]], "shape": [6], "periodic": [True]},
]
CONTAINERS: list[Any] = [[], {}, [[]], [None], [0, 0], [[0, 0.5]], {"": None}, {"0": 0}, {"with": {}}, {"kind": "Vector"}]


def value(rng: Random, data: Any) -> Any:
    """Return something that does not belong there: of another type, from another place, nested."""
    kind = rng.random()
    if kind < 0.1:
        return None
    if kind < 0.4:
        return one_of(rng, SCALARS)
    if kind < 0.6:
        return copy.deepcopy(one_of(rng, RECIPES))
    if kind < 0.75:
        return copy.deepcopy(one_of(rng, CONTAINERS))
    if kind < 0.9:
        return copy.deepcopy(at(data, one_of(rng, list(places(data)))))
    result = one_of(rng, SCALARS)
    for _ in range(int(rng.integers(1, 120))):
        result = [result] if rng.random() < 0.7 else {one_of(rng, ["sum", "with", "kind", "x"]): result}
    return result


def descent(data: Any, rng: Random) -> tuple[Any, ...]:
    """Return the way to a random entry; entries of small dictionaries and lists are as likely as those of large ones."""
    way: tuple[Any, ...] = ()
    while isinstance(data, dict | list) and data and (not way or rng.random() < 0.85):
        way += (one_of(rng, list(data) if isinstance(data, dict) else range(len(data))),)
        data = data[way[-1]]
    return way


def retold(data: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Return text data with one to three entries that are replaced, removed, renamed, repeated, nudged or exchanged."""
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            return data
        way = descent(data, rng)
        kind, old = rng.random(), at(data, way)
        if kind < 0.5:
            data = replaced(data, way, value(rng, data))
            continue
        data = copy.deepcopy(data)
        holder = at(data, way[:-1])
        if kind < 0.6:
            del holder[way[-1]]
        elif kind < 0.7 and isinstance(holder, dict):
            holder[one_of(rng, ["x", "", "kind", "with", "run", "grid"])] = holder.pop(way[-1])
        elif kind < 0.8 and isinstance(holder, list):
            holder.insert(way[-1], copy.deepcopy(old))
        elif isinstance(old, int | float) and not isinstance(old, bool):
            half = 0.5 if abs(old) < 2**53 else 0
            holder[way[-1]] = one_of(rng, [old + 1, old - 1, -old, old + half, str(half), 2 * old if half else 0])
        else:
            other = one_of(rng, list(places(data)))
            holder[way[-1]] = copy.deepcopy(at(data, other))
    return data


NUMBERS = [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1.0, 2.0, 1e300, -1e308, 1.7e308, 5e-324, 0.1, 1e-300]
TYPES = [np.float64, np.float32, np.int64, np.uint8]


def bent(values: np.ndarray, rng: Random) -> np.ndarray:
    """Return an array with other numbers, of another shape or of another type."""
    kind = int(rng.integers(13))
    size = values.size
    if kind <= 3 and size:
        result = values.astype(np.float64).reshape(-1)
        k = rng.integers(0, size, int(rng.integers(1, 4)))
        with np.errstate(all="ignore"):
            result[k] = one_of(rng, NUMBERS) if kind < 3 else result[k] * rng.normal(size=len(k))
        result = result.reshape(values.shape)
        return (
            result
            if values.dtype.kind == "f"
            else np.nan_to_num(result, posinf=1e9, neginf=-1e9).clip(0, 255).astype(values.dtype)
        )
    if kind == 4:
        return np.clip(np.nan_to_num(values), 0, 255).astype(one_of(rng, TYPES))
    if kind == 5:
        return values.reshape(-1)[: int(rng.integers(0, size + 1))]
    if kind == 6:
        return values[None] if rng.random() < 0.5 else values[..., None]
    if kind == 7 and values.ndim:
        return np.concatenate([values, values[: int(rng.integers(1, 4))]])
    if kind == 8 and values.ndim:
        return np.flip(values, int(rng.integers(values.ndim)))
    if kind == 9 and values.ndim:
        return values[tuple(slice(int(rng.integers(0, 2)), None) for _ in values.shape)]
    if kind in (10, 11):
        return np.full(values.shape, one_of(rng, NUMBERS))
    shape = one_of(rng, [(), (0,), (1,), (3,), (3, 1), (1, 3), (2, 2), (0, 5), (3, 0), (100_000, 0), (1, 1, 1), (3, 2, 2)])
    return np.full(shape, one_of(rng, NUMBERS))


def rearranged(arrays: dict[str, np.ndarray], other: dict[str, np.ndarray], rng: Random) -> dict[str, np.ndarray]:
    """Return arrays with one to three that are bent, missing, exchanged, renamed or new."""
    arrays = dict(arrays)
    for _ in range(int(rng.integers(1, 4))):
        names = [name for name in arrays if name != "about"]
        if not names:
            return arrays
        name, second, kind = one_of(rng, names), one_of(rng, names), rng.random()
        if kind < 0.65:
            arrays[name] = bent(arrays[name], rng)
        elif kind < 0.72:
            del arrays[name]
        elif kind < 0.8:
            arrays[name], arrays[second] = arrays[second], arrays[name]
        elif kind < 0.88:
            arrays[name] = one_of(rng, list(other.values()))
        elif kind < 0.94:
            arrays[one_of(rng, ["a0", "t", "rows.t", "player1.values", "player0.weights", "x"])] = arrays.pop(name)
        else:
            arrays[f"{one_of(rng, ['a', 'player', 'rows.player'])}{int(rng.integers(9))}"] = bent(arrays[name], rng)
    return arrays


DESCRIPTIONS = [
    "'<f8'",
    "'<f4'",
    "'<i8'",
    "'|u1'",
    "'|O'",
    "'>f8'",
    "'<U4'",
    "[('x', '<f8')]",
    "('<f8', (2,))",
    "'|V9999999'",
    "7",
    "None",
]
SHAPES = [
    "()",
    "(1,)",
    "(3,)",
    "(3, 1)",
    "(-1,)",
    "(0, 99999999999)",
    "(99999999999,)",
    f"({'9' * 90},)",
    "(True,)",
    "2",
    "(1.0,)",
    "[3]",
]


def rebuilt(arrays: dict[str, np.ndarray], rng: Random) -> bytes:
    """Return an archive, right in all but the headers and bytes of its arrays, their names and their order."""
    members = []
    for name, values in arrays.items():
        head = f"{{'descr': {values.dtype.str!r}, 'fortran_order': False, 'shape': {values.shape}, }}"
        data = values.tobytes()
        if rng.random() < 0.2:
            kind = int(rng.integers(5))
            if kind == 0:
                head = head.replace(repr(values.dtype.str), one_of(rng, DESCRIPTIONS))
            elif kind == 1:
                head = head.replace(str(values.shape), one_of(rng, SHAPES))
            elif kind == 2:
                head = damaged(head.encode(), head.encode(), rng).decode("latin1")[:60_000]
            elif kind == 3:
                data = damaged(data, data, rng)
            else:
                head = head.replace("False", one_of(rng, ["True", "0", "None"]))
            name = one_of(rng, [name, name, name, "../" + name, name + "/", "é", "t"])
        members.append((f"{name}.npy".encode(), npy(head, data)))
    return zipped(members)


def renumbered(run: Files, folder: Path) -> Files:
    """Return a run whose files carry the number of its run.json, if that has one."""
    result = dict(run)
    try:
        number = rundir.run_number(files.from_text(run["run.json"], "run.json"))
    except ValueError:
        return result
    for name, data in run.items():
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            if name.startswith("segments/"):
                result[name] = packed({**unpacked(data, folder), "run": np.array(number)})
            elif name == "checkpoint.npz":
                arrays = unpacked(data, folder)
                result[name] = packed({**arrays, "about": as_text({**text_of(arrays), "run": number})})
            elif name == "done.json":
                result[name] = files.to_text({**files.from_text(data, "done.json"), "run": number})
    return result


def crafted(good: Files, other: Files, rng: Random, folder: Path) -> tuple[str, Files]:
    """Return files in which the content is wrong and everything else is right, and what was changed."""
    result = {name: data for name, data in good.items() if name != "done.json"} if rng.random() < 0.4 else dict(good)
    name = one_of(rng, list(result))
    stranger = unpacked(one_of(rng, [data for part, data in other.items() if part.endswith(".npz")]), folder)
    if name.endswith(".json"):
        result[name] = files.to_text(retold(files.from_text(good[name], name), rng))
    else:
        arrays = unpacked(good[name], folder)
        kind = rng.random()
        if "about" in arrays and kind < 0.5:
            result[name] = packed({**arrays, "about": as_text(retold(text_of(arrays), rng))})
        elif kind < 0.85:
            result[name] = packed(rearranged(arrays, stranger, rng))
        else:
            result[name] = rebuilt(arrays, rng)
    if name == "inputs.npz" and "run.json" in good:
        with contextlib.suppress(ValueError, TypeError):
            sums = {key: zlib.crc32(values.tobytes()) for key, values in unpacked(result[name], folder).items()}
            result["run.json"] = files.to_text({**files.from_text(good["run.json"], "run.json"), "arrays": sums})
    return f"content of {name}", renumbered(result, folder) if name in ("run.json", "inputs.npz") else result


def made(number: int, sources: list[Files], folder: Path) -> tuple[str, Files]:
    """Return input `number`: what was done, and the files."""
    rng = np.random.default_rng([SEED, number])
    good, other = one_of(rng, sources), one_of(rng, sources)
    if rng.random() < 0.75:
        return crafted(good, other, rng, folder)
    name, stranger = one_of(rng, list(good)), one_of(rng, list(other.values()))
    if rng.random() < 0.1:
        return f"{name} of another flow", {**good, name: stranger}
    return f"bytes of {name}", {**good, name: damaged(good[name], stranger, rng)}


# the trial ----------------------------------------------------------------------------------------------------------------


class Places:
    """A folder in which runs are written over each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: Files = {}
        (folder / "run" / "segments").mkdir(parents=True)

    def put(self, content: Files) -> Path:
        """Write the files of an input, and only what has changed since the last one; return what to load."""
        if list(content) == ["saved.npz"]:
            (self.folder / "saved.npz").write_bytes(content["saved.npz"])
            return self.folder / "saved.npz"
        for name in self.written.keys() - content.keys():
            (self.folder / "run" / name).unlink()
        for name, data in content.items():
            if self.written.get(name) != data:
                (self.folder / "run" / name).write_bytes(data)
        self.written = content
        return self.folder / "run"


@contextlib.contextmanager
def watched(number: int, what: str, size: int, measured: bool) -> Iterator[None]:
    """Fail, with the input's number, unless the block ends in time and memory; ValueError and OSError pass."""
    if measured:
        tracemalloc.start()
    try:
        with within(SECONDS), contextlib.suppress(ValueError, OSError):
            yield
        if measured and (peak := tracemalloc.get_traced_memory()[1]) > FLOOR + SHARE * size:
            raise Failure(f"{peak} bytes for files of {size}")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Failure(f"input {number} of seed {SEED} ({what}): {type(error).__name__}: {str(error)[:300]}") from error
    finally:
        if measured:
            tracemalloc.stop()


def attempt(number: int, sources: list[Files], spots: Places, measured: bool) -> bool:
    """Load one input and read everything in it; return whether it was found good."""
    what, inputs = made(number, sources, spots.folder)
    path = spots.put(inputs)
    lazily = number % 3 == 0
    passed = False
    with pytest.MonkeyPatch.context() as patch, watched(number, what, sum(map(len, inputs.values())), measured):
        if lazily:
            patch.setattr(stored, "VERIFIED", 0)
            patch.setattr(archive, "VERIFIED", 0)
        sol = mf.load(path)
        try:
            assert repr(sol)
            content(sol)
            assert not len(sol) or sol(float(sol.t[-1]))
        except (ValueError, OSError) as error:
            if not lazily:
                raise Failure(f"a file that was found good is not: {error}") from error
            raise
        passed = True
    return passed


def replay(number: int, sources: list[Files], folder: Path) -> tuple[str, Files]:
    """Return an input again, and leave its files in a folder."""
    what, inputs = made(number, sources, folder)
    Places(folder).put(inputs)
    return what, inputs


def campaign(numbers: range, sources: list[Files], folder: Path) -> int:
    """Try inputs; return how many were found good. Memory is measured of every tenth, as that takes time."""
    spots = Places(folder)
    return sum(attempt(number, sources, spots, number % 10 == 0) for number in numbers)


def test_damaged_and_crafted_files_give_a_solution_a_ValueError_or_an_OSError(sources: list[Files], tmp_path: Path) -> None:
    good = campaign(range(400), sources, tmp_path)
    assert 8 < good < 200  # most are refused, but not all by their first byte


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_a_hundred_thousand_files_give_a_solution_a_ValueError_or_an_OSError(
    part: int, sources: list[Files], tmp_path: Path
) -> None:
    assert campaign(range(1000 + 10_000 * part, 11_000 + 10_000 * part), sources, tmp_path) > 200


def test_the_good_files_are_good_and_inputs_repeat(sources: list[Files], tmp_path: Path) -> None:
    spots = Places(tmp_path)
    for files_of_one in sources:
        assert content(mf.load(spots.put(files_of_one)))
    for number in range(40):
        assert made(number, sources, tmp_path) == made(number, sources, tmp_path)


# parts by themselves --------------------------------------------------------------------------------------------------------


def several(numbers: range, make: Callable[[Random], bytes | Any], read: Callable[[Any], Any], passing: Any) -> None:
    for number in numbers:
        rng = np.random.default_rng([SEED, 1, number])
        item = make(rng)
        try:
            with within(SECONDS), contextlib.suppress(passing):
                read(item)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise Failure(f"input {number} of seed {SEED}: {type(error).__name__}: {str(error)[:200]}") from error


def test_any_bytes_are_text_or_a_ValueError(sources: list[Files]) -> None:
    texts = [data for part in sources for name, data in part.items() if name.endswith(".json")]

    def make(rng: Random) -> bytes:
        text = one_of(rng, texts)
        if rng.random() < 0.5:
            return damaged(text, one_of(rng, texts), rng)
        data = retold(files.from_text(text, "text"), rng)
        return json.dumps({**data, "crc32": int(rng.integers(2**32))}, indent=1, sort_keys=bool(rng.integers(2))).encode()

    several(range(1000), make, lambda text: files.from_text(text, "text"), ValueError)


def test_any_bytes_are_an_archive_or_a_ValueError(sources: list[Files], tmp_path: Path) -> None:
    whole = [data for part in sources for name, data in part.items() if name.endswith(".npz")]
    parts = [unpacked(data, tmp_path) for data in whole]

    def make(rng: Random) -> bytes:
        return rebuilt(one_of(rng, parts), rng) if rng.random() < 0.5 else damaged(one_of(rng, whole), one_of(rng, whole), rng)

    def read(data: bytes) -> None:
        (tmp_path / "a.npz").write_bytes(data)
        npz.Archive(tmp_path / "a.npz").verify()

    several(range(1000), make, read, ValueError)


def test_any_recipe_is_an_object_or_refused(tmp_path: Path) -> None:
    good = []
    for thing, _ in EXAMPLES:
        arrays: dict[str, np.ndarray] = {}
        recipe = recipes.encode(thing, arrays)
        good.append((json.loads(json.dumps({"recipe": recipe})), arrays))

    def make(rng: Random) -> Any:
        recipe, arrays = one_of(rng, good)
        bent_ones = {name: bent(values, rng) if rng.random() < 0.1 else values for name, values in arrays.items()}
        return retold(recipe, rng) if rng.random() < 0.9 else recipe, bent_ones

    def read(item: Any) -> None:
        recipes.decode(item[0].get("recipe"), item[1])

    several(range(1000), make, read, (ValueError, TypeError, KeyError))


def test_any_recipe_is_searched_for_functions_of_the_user() -> None:
    def make(rng: Random) -> Any:
        return retold({"recipe": copy.deepcopy(one_of(rng, RECIPES))}, rng)

    several(range(500), make, lambda item: recipes.has_python(item), ())
