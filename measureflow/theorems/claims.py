"""Claims of anyone's about a flow: order of convergence, contraction, EVI, conserved quantities, bounds.

A claim about the flow, not about a scheme, is tested in the limit tau -> 0: three solutions with tau, tau/2 and tau/4 are
extrapolated (Richardson), and how far the extrapolation moves is its error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.residuals import evi_residuals
from measureflow.schemes import JKO
from measureflow.theorems.asked import Asked, verdict_of
from measureflow.theorems.case import Case, Made, case_of
from measureflow.theorems.probes import probes
from measureflow.theorems.verdict import Verdict

PROBES = 4
TEST_STATES = 24
TOLERANCES = {1: 0.05, 2: 0.1, 3: 0.15, 4: 0.2}
"""By how much an order may be missed."""
QUANTITIES = ("error", "energy", "slope", "speed")


def order_of_convergence(
    make_problem: Made,
    taus: Sequence[float],
    *,
    predicted: float | None = None,
    scheme: Any = None,
    tolerance: float | None = None,
) -> Verdict:
    """Claim that a scheme converges with a certain order in tau on a problem.

    Parameters
    ----------
    make_problem : str, Problem, tuple or callable
        A label of `measureflow.problems`, a `Problem`, ``(energy_or_game, initial, t_span)``, or a function without arguments
        that returns one of them.
    taus : sequence of float
        At least four steps, falling. Without an exact flow errors are distances between successive solutions, and the ratio of
        successive steps must be the same.
    predicted : float, optional
        The order claimed; default: that of the scheme.
    scheme : str or Scheme, optional
        Default: minimizing movements.
    tolerance : float, optional
        By how much the order may be missed: 0.05 for order 1, 0.1 for order 2.

    Returns
    -------
    Verdict

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    MeasureflowError
        If the flow cannot be computed.

    Examples
    --------
    >>> import measureflow as mf
    >>> taus = [0.1, 0.05, 0.025, 0.0125]
    >>> mf.theorems.order_of_convergence("S1", taus).holds
    True
    >>> mf.theorems.order_of_convergence("S1", taus, predicted=2).status
    <Ruling.violated: 'violated'>
    """
    steps = check.array("taus", taus, ndim=1)
    if len(steps) < 4 or np.any(np.diff(steps) >= 0.0) or steps[-1] <= 0.0:
        raise ValueError(f"taus must be at least four positive numbers that fall, got {check.show(list(steps))}")
    case = case_of(make_problem, float(steps[0]), scheme)
    ratios = steps[:-1] / steps[1:]
    if case.exact is None and np.ptp(ratios) > 1e-6 * ratios[0]:
        raise ValueError(
            f"taus must have one ratio for a problem without an exact flow, got ratios {check.show(ratios.tolist())}"
        )
    claimed = float(case.order()) if predicted is None else check.scalar("predicted", predicted, above=0.0)
    allowed = TOLERANCES.get(round(claimed), 0.05 * claimed) if tolerance is None else tolerance
    numbers = {"taus": steps.tolist(), "predicted": claimed, "tolerance": check.scalar("tolerance", allowed, least=0.0)}
    statement = f"{case.scheme!r} converges with order {claimed:g} in tau"
    return verdict_of(Asked("order_of_convergence", statement, numbers), [case])


def contraction(
    make_problem: Made,
    rate: float,
    *,
    others: Sequence[Any] | None = None,
    tau: float | None = None,
    scheme: Any = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> Verdict:
    """Claim that two flows approach each other at least at a rate: D(t) <= exp(-rate t) D(0) (theory, T5 and D2).

    Parameters
    ----------
    make_problem : str, Problem, tuple or callable
        As in `order_of_convergence`.
    rate : float
        Negative: how fast flows may part.
    others : sequence of states, optional
        Second starts, for games tuples of states; default: four drawn at random near the initial state.
    tau : float, optional
        Largest step; default: a 32nd of the time span. A half and a quarter of it are used too.
    scheme : str or Scheme, optional
        Default: minimizing movements.
    tolerance : float, optional
        By how much the rate may be missed; default: 1 % of it, and at least 0.001.
    seed : int
        Of the second starts.

    Returns
    -------
    Verdict
        The distance is that of the product metric, D^2 = sum d_i^2 / speed_i.

    Raises
    ------
    TypeError, ValueError, MeasureflowError
        As `order_of_convergence`.

    Examples
    --------
    >>> import measureflow as mf
    >>> mf.theorems.contraction("G2", rate=0.3).holds, mf.theorems.contraction("G2", rate=0.5).holds
    (True, False)
    """
    claimed = check.scalar("rate", rate)
    allowed = max(0.01 * abs(claimed), 1e-3) if tolerance is None else check.scalar("tolerance", tolerance, least=0.0)
    cases = _with_seconds(case_of(make_problem, tau, scheme), "others", others, seed, PROBES)
    statement = f"two flows approach each other at rate {claimed:g}"
    return verdict_of(Asked("contraction", statement, {"rate": claimed, "tolerance": allowed}), cases)


def evi(
    make_problem: Made,
    lambda_: float | Sequence[float],
    *,
    test_states: Sequence[Any] | None = None,
    tau: float | None = None,
    scheme: Any = None,
    seed: int = 0,
) -> Verdict:
    """Claim that minimizing movements satisfy the discrete evolution variational inequality with constant lambda (theory, T2).

    For each step and each test state z, [d(x+, z)^2 - d(x, z)^2]/(2 tau) + (lambda/2) d(x+, z)^2 + E(x+) + d(x, x+)^2/(2 tau)
    is at most E(z); for games player by player, opponents frozen as the scheme saw them.

    Parameters
    ----------
    make_problem : str, Problem, tuple or callable
        As in `order_of_convergence`.
    lambda_ : float or sequence of float
        For all players, or one a player.
    test_states : sequence of states, optional
        For games tuples of states; default: the worst four of 24 drawn at random near the initial state.
    tau : float, optional
        Step; default: a 32nd of the time span.
    scheme : JKO, optional
        With any coupling.
    seed : int
        Of the test states.

    Returns
    -------
    Verdict

    Raises
    ------
    TypeError, ValueError, MeasureflowError
        As `order_of_convergence`; ValueError if the scheme is no minimizing movement.

    Examples
    --------
    >>> import measureflow as mf
    >>> mf.theorems.evi("S1", 1.0).holds, mf.theorems.evi("S1", 1.3).status
    (True, <Ruling.violated: 'violated'>)
    """
    case = case_of(make_problem, tau, scheme)
    if not isinstance(case.scheme, JKO):
        raise ValueError(f"scheme must be a minimizing movement (JKO), got {case.scheme!r}")
    players = len(case.row(case.initial))
    given = (lambda_,) * players if np.ndim(lambda_) == 0 else check.entries("lambda_", lambda_, players, "one number a player")
    constants = [check.scalar("lambda_", value) for value in given]
    cases = _with_seconds(case, "test_states", test_states, seed, TEST_STATES)
    if test_states is None:
        cases = _worst(case, cases, constants)
    statement = f"the evolution variational inequality holds with lambda = {', '.join(f'{value:g}' for value in constants)}"
    return verdict_of(Asked("evi", statement, {"lambda_": constants}), cases)


def conserved(
    make_problem: Made,
    quantity: Callable[[Any], float] | str,
    *,
    tau: float | None = None,
    scheme: Any = None,
    tolerance: float | None = None,
) -> Verdict:
    """Claim that the flow conserves a quantity, whatever drift the scheme adds at finite tau.

    Parameters
    ----------
    make_problem : str, Problem, tuple or callable
        As in `order_of_convergence`.
    quantity : callable or str
        state (tuple of states for games) -> float, or a name in `Solution.invariants`.
    tau : float, optional
        Largest step; default: a 32nd of the time span. A half and a quarter of it are used too.
    scheme : str or Scheme, optional
        Default: minimizing movements.
    tolerance : float, optional
        Drift that is allowed in the limit tau -> 0; default: 0.001 of the largest value, at least of 1e-6.

    Returns
    -------
    Verdict

    Raises
    ------
    TypeError, ValueError, MeasureflowError
        As `order_of_convergence`.

    Examples
    --------
    >>> import measureflow as mf
    >>> def squares(states):
    ...     return float(states[0] @ states[0] + states[1] @ states[1])
    >>> mf.theorems.conserved("G3", squares, scheme="rk4").holds
    True
    >>> mf.theorems.conserved("G5", squares, scheme="rk4").holds
    False
    """
    if not isinstance(quantity, str):
        check.function("quantity", quantity)
    case = case_of(make_problem, tau, scheme)
    allowed = None if tolerance is None else check.scalar("tolerance", tolerance, above=0.0)
    called = quantity if isinstance(quantity, str) else getattr(quantity, "__name__", "a quantity")
    numbers = {"quantity": quantity, "tolerance": allowed}
    return verdict_of(Asked("conserved", f"the flow conserves {called}", numbers), [case])


def bound(
    make_problem: Made,
    formula: Callable[[float], float] | float,
    *,
    quantity: Callable[[Any], float] | str = "energy",
    tau: float | None = None,
    scheme: Any = None,
    tolerance: float = 0.0,
    limit: bool = True,
) -> Verdict:
    """Claim that a quantity stays below a bound at all times.

    Parameters
    ----------
    make_problem : str, Problem, tuple or callable
        As in `order_of_convergence`.
    formula : callable or float
        t -> bound.
    quantity : callable or str
        state (tuple of states for games) -> float; or "energy", "slope" (for games of player 0), "speed" (root of the sum of
        squares over the players), or "error", the distance from the exact flow, which a claim about a scheme is.
    tau, scheme
        As in `contraction`.
    tolerance : float
        By how much the bound may be missed.
    limit : bool
        Whether the claim is about the flow (tau -> 0) or about the scheme with this tau; "error" is always the latter.

    Returns
    -------
    Verdict

    Raises
    ------
    TypeError, ValueError, MeasureflowError
        As `order_of_convergence`; ValueError if "error" is asked and no exact flow is known.

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> mf.theorems.bound("S1", lambda t: 2.2 * np.exp(-2.0 * t), tolerance=1e-3).holds
    True
    >>> mf.theorems.bound("S1", lambda t: 2.2 * np.exp(-2.5 * t), tolerance=1e-3).counterexample
    bound of S1: energy measured ..., claimed at most ..., t = ...
    """
    if isinstance(quantity, str):
        check.choice("quantity", quantity, QUANTITIES)
    else:
        check.function("quantity", quantity)
    flow = check.flag("limit", limit) and quantity != "error"
    case = case_of(make_problem, tau, scheme)
    if quantity == "error" and case.exact is None:
        raise ValueError(f"quantity must be another one than 'error': no exact flow is known for {case.title}")
    fixed = formula if callable(formula) else check.scalar("formula", formula)
    numbers = {
        "formula": fixed,
        "quantity": quantity,
        "tolerance": check.scalar("tolerance", tolerance, least=0.0),
        "limit": flow,
    }
    called = quantity if isinstance(quantity, str) else getattr(quantity, "__name__", "a quantity")
    return verdict_of(Asked("bound", f"{called} stays below the bound", numbers), [case])


def _with_seconds(case: Case, name: str, given: Sequence[Any] | None, seed: int, count: int) -> list[Case]:
    """Return the case with each of the states given, or drawn near its own, as the second one."""
    if given is None:
        rows = probes(case.row(case.initial), count, check.seed("seed", seed))
        return [replace(case, second=row if case.is_game else row[0]) for row in rows]
    if not isinstance(given, (list, tuple)) or not given:
        raise TypeError(f"{name} must be a list of states, got {check.show(given)}")
    return [replace(case, second=state) for state in given]


def _worst(case: Case, cases: Sequence[Case], constants: Sequence[float]) -> list[Case]:
    """Return the cases whose test states violate the EVI most, or satisfy it by least."""
    sol = case.solve()
    return sorted(cases, key=lambda one: -np.max(evi_residuals(sol, [one.second], list(constants))))[:PROBES]
