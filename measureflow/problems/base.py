"""What a problem with an exact solution is, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.games import AbstractGame
from measureflow.metrics import Metric, distance
from measureflow.schemes import BDF2, JKO, RK2, RK4, VIM, Explicit, Mirror, Scheme
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import State

Flow = Callable[[float], Any]
ExactStep = Callable[[Any, float], Any]
Factor = Callable[[float], complex]

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "jko": JKO(),
        "explicit": Explicit(),
        **{name: JKO(name) for name in JKO.couplings},
        **{f"explicit {name}": Explicit(name) for name in Explicit.couplings},
        "vim": VIM(),
        **{f"vim {name}": VIM(name) for name in VIM.couplings},
        "bdf2": BDF2(),
        **{f"bdf2 {name}": BDF2(name) for name in BDF2.couplings},
        "rk2": RK2(),
        "rk4": RK4(),
        **{f"mirror {name}": Mirror(name) for name in Mirror.couplings},
        "mirror": Mirror(),
        "implicit mirror": Mirror(implicit=True),
    }
)
"""The schemes by the names that `Problem.exact_step` and `Problem.factors` use."""


@final
@dataclass(frozen=True, eq=False)
class Printed:
    """A number printed in theory.md that an exact flow, or a computed one, must show.

    Parameters
    ----------
    digits : str
        The number as printed; half a unit of its last digit is its tolerance.
    measure : callable
        (state or tuple of states) -> float.
    t : float
        The time at which to measure.
    scheme : Scheme, optional
        None: a number of the exact flow; else of the flow that this scheme computes with steps `tau`.
    tau : float, optional
        Step of that scheme.
    slack : float
        Discretisation error of the state (a finite number of quantile levels) to be allowed on top.

    Examples
    --------
    >>> Printed("0.25", lambda state: 0.2503, 1.0).error(None) <= 0.0
    True
    """

    digits: str
    measure: Callable[[Any], float]
    t: float
    scheme: Scheme | None = None
    tau: float | None = None
    slack: float = 0.0

    @property
    def value(self) -> float:
        """The number."""
        return float(self.digits)

    @property
    def tolerance(self) -> float:
        """Half a unit of the last printed digit, plus `slack`."""
        mantissa, _, exponent = self.digits.lower().partition("e")
        decimals = len(mantissa.partition(".")[2])
        return float(0.51 * 10.0 ** (int(exponent or 0) - decimals) + self.slack)

    def error(self, state: Any) -> float:
        """Return by how much a state misses the printed digits; at most 0 if it shows them."""
        return abs(float(self.measure(state)) - self.value) - self.tolerance


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """A gradient flow or a game with what is known exactly about it.

    Attributes
    ----------
    label : str
        Its label in theory.md, "S1".
    title : str
        What it is, in words.
    source : str
        Section of theory.md, and paper where there is one.
    problem : Energy or game
    initial : State or tuple of State
        A tuple for games.
    t_span : (float, float)
    exact : callable or None
        t -> state (tuple of states): the exact flow, from t_span[0] on.
    exact_step : mapping
        Name in `SCHEMES` -> function (state(s), tau) -> state(s): what that scheme returns after one step.
    speeds : tuple of float, optional
        Speeds of the players.
    invariants : mapping
        Name -> function of the state(s) that the exact flow conserves.
    factors : mapping
        Name in `SCHEMES` -> function tau -> complex multiplier of one step, for linear games.
    constants : mapping
        Name -> number that a formula of theory.md gives: periods, speeds, thresholds.
    reference : mapping
        Name -> `Printed` number of theory.md.
    metrics : tuple of Metric or None
        The metric of each player; None stands for the state's own, as in `solve`.

    Examples
    --------
    >>> from measureflow import problems
    >>> p = problems.get("E2")
    >>> sol = p.solve(0.25)
    >>> p.error(sol) < 1e-12
    True
    """

    label: str
    title: str
    source: str
    problem: Energy | AbstractGame
    initial: Any
    t_span: tuple[float, float]
    exact: Flow | None = None
    exact_step: Mapping[str, ExactStep] = field(default_factory=dict)
    speeds: tuple[float, ...] | None = None
    invariants: Mapping[str, Callable[[Any], float]] = field(default_factory=dict)
    factors: Mapping[str, Factor] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    reference: Mapping[str, Printed] = field(default_factory=dict)
    metrics: tuple[Metric | None, ...] | None = None

    @property
    def is_game(self) -> bool:
        """Whether there are several players, so that states come as tuples."""
        return isinstance(self.problem, AbstractGame)

    def solve(self, tau: float, scheme: str | Scheme = "jko", *, t: float | None = None, **options: Any) -> Solution:
        """Solve the problem from its initial state.

        Parameters
        ----------
        tau : float
            Step.
        scheme : str or Scheme, optional
            A Scheme, or a name in `SCHEMES`.
        t : float, optional
            Last time; default: the end of `t_span`.
        **options
            Further arguments of `measureflow.solve`.

        Returns
        -------
        Solution

        Raises
        ------
        TypeError, ValueError
            As `measureflow.solve`.
        """
        method = named_scheme(scheme)
        span = (self.t_span[0], self.t_span[1] if t is None else t)
        known: dict[str, Any] = {"speeds": self.speeds, "metric": self.metrics}
        return solve(self.problem, self.initial, span, tau, scheme=method, **(known | options))

    def error(self, sol: Solution, row: int = -1) -> float:
        """Return the distance of a computed state from the exact flow, by default at the last time.

        Raises
        ------
        ValueError
            If no exact flow is known.
        """
        if self.exact is None:
            raise ValueError(f"no exact flow is known for the problem {self.label}")
        return self.distance(sol.states[row], self.exact(float(sol.t[row])))

    def distance(self, a: Any, b: Any) -> float:
        """Return the distance of two states, or the product distance of two tuples of states, in the metrics of the problem."""
        return distance_between(a, b, self.metrics)

    def __repr__(self) -> str:
        """Return label and title."""
        return f"Problem({self.label}: {self.title})"


def midpoint(jko: ExactStep) -> ExactStep:
    """Return the step of `VIM` in flat coordinates, 2 J_{tau/2}(x) - x, from a minimizing movement J (theory, 4.4).

    Examples
    --------
    >>> from measureflow import Vector
    >>> halved = midpoint(lambda x, tau: x.replace(x.values / (1.0 + tau)))
    >>> float(halved(Vector(3.0), 1.0)[0])
    1.0
    """

    def step(state: Any, tau: float) -> Any:
        return state.replace(2.0 * jko(state, 0.5 * tau).coordinates - state.coordinates)

    return step


def named_scheme(scheme: str | Scheme) -> Scheme:
    """Return a scheme from its name in `SCHEMES`, or the scheme itself."""
    if isinstance(scheme, Scheme):
        return scheme
    return SCHEMES[check.choice("scheme", scheme, tuple(SCHEMES))]


def distance_between(a: Any, b: Any, metrics: tuple[Metric | None, ...] | None = None) -> float:
    """Return the distance of two states, or the product distance of two tuples of states; None is the natural metric.

    Examples
    --------
    >>> from measureflow import Vector
    >>> distance_between((Vector(0.0), Vector(0.0)), (Vector(3.0), Vector(4.0)))
    5.0
    """
    if isinstance(a, State):
        return distance(a, b, metrics[0] if metrics else None)
    pairs = zip(a, b, metrics or (None,) * len(a), strict=True)
    return float(np.sqrt(sum(distance(x, y, metric) ** 2 for x, y, metric in pairs)))
