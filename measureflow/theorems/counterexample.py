"""The smallest case that violates a claim, as a file of data."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from measureflow import _validate as check
from measureflow.files import replace_text
from measureflow.theorems.check import Check

HEAD = """# A counter-example. `measureflow run THIS-FILE` computes it again and says what it measures; exit status 1 if the claim
# is violated again.
"""


@final
@dataclass(frozen=True, eq=False, repr=False)
class CounterExample:
    """The smallest case that violates a claim.

    Attributes
    ----------
    kind : {"theorem", "claim"}
    content : mapping
        What the file holds: tables of numbers, texts, lists.
    seen : Check
        What was measured.

    Examples
    --------
    >>> import measureflow as mf
    >>> print(mf.theorems.contraction("E1", rate=1.5).counterexample)
    contraction of E1: rate of contraction measured 0.99..., claimed at least 1.5, t = 0 to 0.03125
    """

    kind: str
    title: str
    content: Mapping[str, Any]
    seen: Check

    def save(self, path: str | Path) -> Path:
        """Write the file, TOML.

        Raises
        ------
        TypeError, ValueError
            If path is not a path that ends in .toml.
        OSError
            If it cannot be written.
        """
        target = check.path("path", path, ".toml")
        seen = {name: getattr(self.seen, name) for name in ("name", "measured", "relation", "predicted", "tolerance", "error")}
        replace_text(target, HEAD + toml({"kind": self.kind, **self.content, "seen": seen}))
        return target

    def __repr__(self) -> str:
        """Return what was claimed and seen, in one line."""
        place = f", {self.seen.where}" if self.seen.where else ""
        relation = "" if self.seen.relation == "equal to" else f"{self.seen.relation} "
        claimed = f"{relation}{self.seen.predicted:.6g}"
        return f"{self.title}: {self.seen.name} measured {self.seen.measured:.6g}, claimed {claimed}{place}"


def read(path: str | Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises
    ------
    ValueError
        If it is not TOML.
    OSError
        If it cannot be read.
    """
    source = check.path("path", path, ".toml")
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{source} must be a TOML file: {error}") from error


def toml(content: Mapping[str, Any], prefix: str = "") -> str:
    """Return data as TOML text.

    Examples
    --------
    >>> print(toml({"kind": "claim", "trial": {"tau": 0.1, "shape": [2, 3]}}))
    kind = "claim"
    <BLANKLINE>
    [trial]
    tau = 0.1
    shape = [2, 3]
    <BLANKLINE>
    """
    plain = [f"{_key(name)} = {_value(entry)}" for name, entry in content.items() if not isinstance(entry, Mapping)]
    text = "\n".join([*plain, ""]) if plain else ""
    for name, entry in content.items():
        if isinstance(entry, Mapping):
            path = f"{prefix}.{_key(name)}" if prefix else _key(name)
            text += f"\n[{path}]\n" + toml(entry, path)
    return text


def _key(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isalnum() and bare.isascii() else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(entry: Any) -> str:
    if isinstance(entry, bool):
        return "true" if entry else "false"
    if isinstance(entry, float):
        return repr(entry) if math.isfinite(entry) else str(entry)
    if isinstance(entry, (list, tuple)):
        return "[" + ", ".join(_value(part) for part in entry) + "]"
    if isinstance(entry, int):
        return str(entry)
    if isinstance(entry, str):
        return _text(entry)
    raise TypeError(f"a configuration must hold numbers, texts and lists of them, got {check.show(entry)}")
