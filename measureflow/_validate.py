"""Checks of public arguments: every failure names the argument, the value seen and what is allowed."""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from measureflow.errors import CallbackError as CallbackError
from measureflow.errors import NotFiniteCallbackError

Float = np.ndarray
T = TypeVar("T")


def show(value: Any) -> str:
    """Return a one-line description of `value` for an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    try:
        text = repr(value).replace("\n", " ")
    except Exception:  # an int of too many digits, an object that cannot show itself
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _numeric(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be a rectangular array of numbers, got {show(value)}") from None
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of real numbers, got {show(value)}")
    return array


def array(
    name: str,
    value: Any,
    *,
    ndim: int | tuple[int, ...] | None = None,
    shape: tuple[int | None, ...] | None = None,
    nonempty: bool = True,
) -> np.ndarray:
    """Return `value` as a read-only C-contiguous float64 copy after checking it.

    Parameters
    ----------
    name : str
        Argument's name, for the message.
    value : array_like
        Real numbers; booleans, complex numbers and objects are refused.
    ndim : int or tuple of int, optional
        Allowed numbers of dimensions.
    shape : tuple, optional
        Required shape; None entries are free.
    nonempty : bool
        Refuse arrays of size 0.

    Raises
    ------
    TypeError
        If `value` does not hold real numbers.
    ValueError
        If shape, size or finiteness are wrong.
    """
    with np.errstate(over="ignore"):  # a wider float that is too large becomes infinite, and is refused below
        result = np.array(_numeric(name, value), dtype=np.float64, order="C", copy=True)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and result.ndim not in allowed:
        dims = " or ".join(f"{k}-D" for k in allowed)
        raise ValueError(f"{name} must be a {dims} array, got shape {result.shape}")
    if shape is not None and not _fits(result.shape, shape):
        raise ValueError(f"{name} must have shape {_shape_text(shape)}, got {result.shape}")
    if nonempty and result.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {result.shape}")
    require_finite(name, result)
    result.flags.writeable = False
    return result


def _fits(got: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(got) == len(shape) and all(want is None or want == k for want, k in zip(shape, got, strict=True))


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if k is None else str(k) for k in shape) + ("," if len(shape) == 1 else "") + ")"


def require_finite(name: str, values: np.ndarray, kind: type[ValueError] = ValueError) -> None:
    """Raise an error of this kind if an array has a NaN or an infinity."""
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise kind(f"{name} must be finite, got {bad} of {values.size} entries NaN or infinite")


def scalar(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Return `value` as a finite float in the stated range (`above`, `below` exclude their bound)."""
    rules = [
        f"{sign} {bound:g}" for sign, bound in ((">", above), (">=", least), ("<", below), ("<=", most)) if bound is not None
    ]
    rule = "a finite number" + (" " + " and ".join(rules) if rules else "")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.ndarray)):
        raise TypeError(f"{name} must be {rule}, got {show(value)}")
    if isinstance(value, np.ndarray) and (value.ndim or value.dtype.kind not in "fiu"):
        raise TypeError(f"{name} must be {rule}, got {show(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {rule}, got {show(value)}") from None
    inside = (
        math.isfinite(number)
        and (above is None or number > above)
        and (least is None or number >= least)
        and (below is None or number < below)
        and (most is None or number <= most)
    )
    if not inside:
        raise ValueError(f"{name} must be {rule}, got {number!r}")
    return number


def integer(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """Return `value` as an int in [least, most], of at most 64 bits; floats and booleans are refused."""
    number = _index(name, value, least, most)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} must be {_integer_rule(least, most)} of at most 64 bits, got {show(number)}")
    return number


def seed(name: str, value: Any, *, most: int | None = None) -> int:
    """Return `value` as an int in [0, most], of any size: seeds of 128 bits are common."""
    return _index(name, value, 0, most)


def _integer_rule(least: int | None, most: int | None) -> str:
    rules = [f"{sign} {bound}" for sign, bound in ((">=", least), ("<=", most)) if bound is not None]
    return "an integer" + (" " + " and ".join(rules) if rules else "")


def _index(name: str, value: Any, least: int | None, most: int | None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {_integer_rule(least, most)}, got {show(value)}") from None
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be {_integer_rule(least, most)}, got {show(value)}")
    if (least is not None and number < least) or (most is not None and number > most):
        raise ValueError(f"{name} must be {_integer_rule(least, most)}, got {show(number)}")
    return number


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {show(value)}")
    return bool(value)


def choice(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """Return `value` if it is one of `allowed`."""
    text = ", ".join(repr(item) for item in allowed)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be one of {text}, got {show(value)}")
    if value not in allowed:
        raise ValueError(f"{name} must be one of {text}, got {show(value)}")
    return value


def entries(name: str, value: Any, count: int | None, allowed: str) -> tuple[Any, ...]:
    """Return the `count` entries (None: one or more) of a list, tuple or 1-D array; `allowed` says in words what they are."""
    flat = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)
    if not flat or (len(value) != count if count is not None else not len(value)):
        kind = ValueError if flat else TypeError
        raise kind(f"{name} must have {'one or more' if count is None else count} entries, {allowed}, got {show(value)}")
    return tuple(value)


def function(name: str, value: Any) -> Callable[..., Any]:
    """Return `value` if it can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {show(value)}")
    return value


def instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], allowed: str) -> T:
    """Return `value` if it is an instance of `kind`; `allowed` says what is allowed in words."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {allowed}, got {show(value)}")
    return value


def path(name: str, value: Any, suffix: str | None = None) -> Path:
    """Return the path of a file, with `suffix` checked, or added if there is none."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {show(value)}")
    text = os.fspath(value)
    if not isinstance(text, str) or not Path(text).name or "\0" in text:
        raise ValueError(f"{name} must name a file, got {show(value)}")
    result = Path(text)
    if suffix is None or result.suffix == suffix:
        return result
    if result.suffix:
        raise ValueError(f"{name} must end in {suffix}, got {show(text)}")
    return result.with_suffix(suffix)


def symmetric(name: str, matrix: np.ndarray, *, definite: bool = False) -> np.ndarray:
    """Return a square matrix (p, p), made exactly symmetric, after checking symmetry and the sign of its eigenvalues."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {matrix.shape}")
    scale = float(np.max(np.abs(matrix), initial=0.0))
    half = 0.5 * matrix
    gap = float(np.max(np.abs(half - half.T), initial=0.0))
    if gap > 0.5e-10 * scale:
        raise ValueError(f"{name} must be symmetric, got entries that differ by {2.0 * gap:.3g} from the transpose")
    result = half + half.T
    if definite:
        lowest = float(np.linalg.eigvalsh(result)[0])
        if lowest < -1e-12 * scale:
            raise ValueError(f"{name} must be positive semidefinite, got the eigenvalue {lowest:.6g}")
    result.flags.writeable = False
    return result


def _returned_array(name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    try:
        result = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        result = np.asarray(None)
    if result.dtype.kind not in "fiub":
        raise CallbackError(f"{name} must return real numbers of shape {_shape_text(shape)}, got {show(value)}")
    with np.errstate(over="ignore"):
        return result.astype(np.float64, copy=False)


def returned(name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Check what a user's function `name` returned: real, of this shape, finite; None entries of `shape` are free."""
    result = _returned_array(name, value, shape)
    if not _fits(result.shape, shape):
        raise CallbackError(f"{name} must return an array of shape {_shape_text(shape)}, got shape {result.shape}")
    if not np.all(np.isfinite(result)):
        bad = int(np.count_nonzero(~np.isfinite(result)))
        raise NotFiniteCallbackError(f"{name} must return finite values, got {bad} of {result.size} NaN or infinite")
    return result


def returned_scalar(name: str, value: Any) -> float:
    """Check that a user's function `name` returned one finite real number."""
    result = _returned_array(name, value, ())
    return float(returned(name, result.reshape(()) if result.size == 1 else result, ()))
