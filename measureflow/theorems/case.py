"""A problem of anyone's as data: what is solved, from where, how, and made smaller."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast, final

import numpy as np

from measureflow import _validate as check
from measureflow import problems
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.games import AbstractGame
from measureflow.problems import Problem
from measureflow.problems.base import named_scheme
from measureflow.recipes import decode, encode, has_python
from measureflow.schemes import JKO, Scheme
from measureflow.schemes import SCHEMES as NAMED
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Particles, Quantiles, State

Made = str | Problem | tuple[Any, ...] | Callable[[], Any]
STEPS = 32
"""Steps of a flow if no tau is given."""
FEWEST = 2
PARTS = ("problem", "initial", "second", "t_span", "tau", "scheme", "metrics", "speeds")
"""What of a case a file holds."""


@final
@dataclass(frozen=True, eq=False)
class Case:
    """What is solved, from where and how.

    Attributes
    ----------
    problem : Energy or game
    initial : State or tuple of State
    t_span : (float, float)
    tau : float
        Largest step.
    scheme : Scheme
    metrics : tuple of Metric or None
    speeds : tuple of float or None
    exact : callable or None
        t -> state(s): the exact flow.
    title : str
    second : State, tuple of State or None
        Another start, or a test state, of the same structure as `initial`.
    maker : str
        Name of the function that made the problem; "" if none did.
    label : str
        Its label in `measureflow.problems` if it was given by that; else "".
    """

    problem: Energy | AbstractGame
    initial: Any
    t_span: tuple[float, float]
    tau: float
    scheme: Scheme
    metrics: Any = None
    speeds: Any = None
    exact: Callable[[float], Any] | None = None
    title: str = "the problem"
    second: Any = None
    maker: str = ""
    label: str = ""

    def solve(self, tau: float | None = None, initial: Any = None, **options: Any) -> Solution:
        """Solve the case, with another step or from other states if they are given."""
        start = self.initial if initial is None else initial
        known = {"scheme": self.scheme, "metric": self.metrics, "speeds": self.speeds}
        return solve(self.problem, start, self.t_span, self.tau if tau is None else tau, **(known | options))

    @property
    def is_game(self) -> bool:
        """Whether states come as tuples."""
        return isinstance(self.problem, AbstractGame)

    def row(self, state: Any) -> tuple[State, ...]:
        """Return state(s) as a tuple."""
        return tuple(state) if self.is_game else (state,)

    def order(self) -> int:
        """Return the order of the scheme in tau."""
        return self.scheme.order_for(len(self.row(self.initial)))

    def smaller(self) -> Iterator[Case]:
        """Return smaller cases: half the time, half the atoms or levels of a state, the smallest steps last.

        Cases with fewer atoms have no exact flow any more.
        """
        first, last = self.t_span
        if last - first > 1.5 * self.tau:
            yield replace(self, t_span=(first, first + self.tau * max(round(0.5 * (last - first) / self.tau), 1)))
        for player in range(len(self.row(self.initial))):
            initial = self._halved(self.initial, player)
            second = None if self.second is None else self._halved(self.second, player)
            if initial is not None:
                yield replace(self, initial=initial, second=second, exact=None)

    def _halved(self, states: Any, player: int) -> Any:
        """Return state(s) with half the atoms or levels of one player; None if that has too few."""
        row = list(self.row(states))
        fewer = _half(row[player])
        if fewer is None:
            return None
        row[player] = fewer
        return tuple(row) if self.is_game else row[0]

    def data(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the case as tables of data: itself, and its arrays."""
        arrays: dict[str, np.ndarray] = {}
        recipe = json.dumps({name: encode(getattr(self, name), arrays) for name in PARTS})
        return {"recipe": recipe, "title": self.title, "maker": self.maker, "label": self.label if self.exact else ""}, {
            name: _packed(array) for name, array in arrays.items()
        }


def _half(state: State) -> State | None:
    if isinstance(state, Particles) and len(state.points) > FEWEST:
        half = slice(0, (len(state.points) + 1) // 2)
        weights = None if state.equal_weights else state.weights[half] / state.weights[half].sum()
        return Particles(state.points[half], weights)
    if isinstance(state, Quantiles) and len(state.values) > FEWEST:
        return Quantiles(state.values[::2])
    return None


def case_of(make_problem: Made, tau: Any = None, scheme: Any = None) -> Case:
    """Return the case that a label, a problem, a tuple or a function that makes one of them describes.

    Parameters
    ----------
    make_problem : str, Problem, tuple or callable
        A label of `measureflow.problems`, a `Problem`, ``(energy_or_game, initial, t_span)``, or a function without arguments
        that returns one of them.
    tau : float, optional
        Step; default: a 32nd of the time span.
    scheme : str or Scheme, optional
        Default: minimizing movements.
    """
    made = make_problem() if callable(make_problem) and not isinstance(make_problem, Problem) else make_problem
    if isinstance(made, str):
        made = problems.get(made)
    if isinstance(made, tuple):
        energy, initial, span = check.entries("make_problem", made, 3, "(energy or game, initial state, t_span)")
        span = (0.0, span) if np.ndim(span) == 0 else span
        made = Problem("", "the problem", "", energy, initial, span)
    check.instance(
        "make_problem", made, Problem, "a label, a Problem, (energy or game, initial, t_span), or a function that returns one"
    )
    check.instance("the problem", made.problem, (Energy, AbstractGame), "an Energy or a game")
    first, last = check.entries("t_span", made.t_span, 2, "the first and the last time")
    first = check.scalar("t_span[0]", first)
    last = check.scalar("t_span[1]", last, above=first)
    step = (last - first) / STEPS if tau is None else check.scalar("tau", tau, above=0.0, most=last - first)
    return Case(
        made.problem,
        made.initial,
        (first, last),
        (last - first) / max(round((last - first) / step), 1),
        _scheme(scheme),
        made.metrics,
        made.speeds,
        made.exact,
        made.label or made.title,
        None,
        getattr(make_problem, "__name__", "") if callable(make_problem) else "",
        make_problem if isinstance(make_problem, str) else "",
    )


def _scheme(scheme: Any) -> Scheme:
    """Return a scheme, or that of a name of `solve` or of the problems; None is the minimizing movement."""
    if scheme is None:
        return JKO()
    return NAMED[scheme]() if isinstance(scheme, str) and scheme in NAMED else named_scheme(scheme)


def case_from(table: Mapping[str, Any], arrays: Mapping[str, Any], functions: Mapping[str, Any]) -> Case:
    """Return the case that tables of data describe; `functions` holds what files do not keep, by name.

    Raises
    ------
    UnsupportedError
        If it holds functions of the user's, and the function that made the problem is not among those given.
    TypeError, ValueError
        If the tables do not describe a case.
    """
    text = check.instance("recipe", table.get("recipe"), str, "a text")
    maker = check.instance("maker", table.get("maker", ""), str, "a text")
    label = check.instance("label", table.get("label", ""), str, "a text")
    try:
        recipe = check.instance("recipe", json.loads(text), dict, "a table")
        found = {name: _unpacked(name, entry) for name, entry in arrays.items()}
        own = has_python(recipe["problem"])
        rest = {name: decode(recipe[name], found) for name in PARTS if name != "problem"}
        made = case_of(label or named_function(maker, functions, "the problem")) if own or label or maker in functions else None
        problem = decode(recipe["problem"], found) if made is None else made.problem
    except (KeyError, json.JSONDecodeError, RecursionError, AttributeError) as error:
        raise ValueError(f"the file must describe a case, and does not: {error!r}") from error
    return Case(
        problem,
        rest["initial"],
        rest["t_span"],
        rest["tau"],
        _scheme(rest["scheme"]),
        rest["metrics"],
        rest["speeds"],
        None if made is None or not _same(made.initial, rest["initial"]) else made.exact,
        str(table.get("title", "the problem")),
        rest["second"],
        maker,
        label,
    )


def _same(a: Any, b: Any) -> bool:
    """Return whether two states, or tuples of states, have the same coordinates."""
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    return all(np.array_equal(x.coordinates, y.coordinates) for x, y in pairs)


def named_function(name: str, functions: Mapping[str, Any], what: str) -> Callable[..., Any]:
    """Return a function of the user's by its name.

    Raises
    ------
    UnsupportedError
        If it is not among those given.
    """
    found = functions.get(name)
    if not callable(found):
        called = f"a function {name}" if name.isidentifier() else "functions without a name"
        raise UnsupportedError(
            f"files do not keep functions of the user's, and {what} needs {called}: give a file that defines it"
        )
    return cast(Callable[..., Any], found)


def _packed(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": array.dtype.name, "base64": base64.b64encode(array.tobytes()).decode()}


def _unpacked(name: str, entry: Any) -> np.ndarray:
    table = check.instance(name, entry, dict, "a table with shape, dtype and base64")
    kind = check.choice(f"{name}.dtype", table.get("dtype"), ("float64", "int64"))
    shape = [check.integer(f"{name}.shape", size, least=0) for size in table.get("shape", ())]
    data = np.frombuffer(base64.b64decode(table.get("base64", ""), validate=True), dtype=kind)
    if data.size != int(np.prod(shape)):
        raise ValueError(f"{name} must hold {int(np.prod(shape))} numbers, got {data.size}")
    return data.reshape(shape)
