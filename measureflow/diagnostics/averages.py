"""Time averages of a computed flow next to its instantaneous values (theory, 3.5 and D10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.states import Field, Gaussian, Histogram, Law, Particles, State, Vector, atoms, moments

if TYPE_CHECKING:
    from measureflow.solution import Solution


@final
@dataclass(frozen=True, eq=False, repr=False)
class Averages:
    """Quantities at each row, and their means over the time from the first row to each row (trapezoidal rule).

    Attributes
    ----------
    t : ndarray, shape (rows,)
    instantaneous, running : dict
        Name -> array (rows, ...). "values" of a `Vector` or `Field`; "masses" of a `Histogram`; "mean" and "covariance" of every
        law. In games names begin with "player0_", "player1_", ... Running means and covariances are those of the mixture of the
        laws over time. User's observables have their own names. Row 0 of both is the same.
    """

    t: np.ndarray
    instantaneous: dict[str, np.ndarray]
    running: dict[str, np.ndarray]

    def __repr__(self) -> str:
        span = f", t {self.t[0]:g} to {self.t[-1]:g}; at the end:" if len(self.t) else ""
        lines = [f"Averages over {len(self.t)} rows{span}"]
        for name, values in self.instantaneous.items():
            now, mean = (np.array2string(np.ravel(v[-1])[:4], precision=4) for v in (values, self.running[name]))
            lines.append(f"  {name}: now {now}, on average {mean}{' ...' if values[-1].size > 4 else ''}")
        return "\n".join(lines)


def time_averages(sol: Solution, observables: Any) -> Averages:
    """Return states' coordinates and moments, and observables, with their running means."""
    now: dict[str, np.ndarray] = {}
    mean: dict[str, np.ndarray] = {}
    for player in range(len(sol.players) if len(sol) else 0):
        prefix = "" if sol.single else f"player{player}_"
        parts = _quantities([sol.row(k)[player] for k in range(len(sol))])
        now |= {prefix + name: values for name, values in parts.items()}
        mean |= {prefix + name: values for name, values in _running_quantities(sol.t, parts).items()}
    for name, function in _observables(observables, now).items():
        now[name] = _observed(f"observables[{name!r}]", [function(x) for x in sol.states])
        mean[name] = running_mean(sol.t, now[name])
    return Averages(sol.t, now, mean)


def _observables(given: Any, taken: Mapping[str, Any]) -> Mapping[str, Callable[[Any], Any]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"observables must be a dict of names and functions, got {check.show(given)}")
    for name, function in given.items():
        check.function(f"observables[{name!r}]", function)
        if name in taken:
            raise ValueError(f"observables must have names of their own, got {name!r}, which the states have")
    return given


def _observed(name: str, results: list[Any]) -> np.ndarray:
    """Return what an observable gave at each row as one array, after checking that its shape stays the same."""
    shape = np.asarray(results[0], dtype=object).shape if results else ()
    return np.array([check.returned(name, result, shape) for result in results])


def _quantities(states: list[State]) -> dict[str, np.ndarray]:
    """Return the arrays (rows, ...) of one player's states."""
    parts: dict[str, np.ndarray] = {}
    if isinstance(states[0], (Vector, Field, Histogram)):
        name = "masses" if isinstance(states[0], Histogram) else "values"
        parts[name] = np.array([state.coordinates for state in states])
    if isinstance(states[0], Law):
        pairs = [moments(state) for state in states if isinstance(state, Law)]
        parts["mean"] = np.array([mean for mean, _ in pairs])
        parts["covariance"] = np.array([covariance for _, covariance in pairs])
    return parts


def _running_quantities(t: np.ndarray, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    means = {name: running_mean(t, values) for name, values in parts.items()}
    if "covariance" in parts:
        outer = np.einsum("ri,rj->rij", parts["mean"], parts["mean"])
        means["covariance"] += running_mean(t, outer) - np.einsum("ri,rj->rij", means["mean"], means["mean"])
    return means


def running_mean(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean of values (rows, ...) over [t[0], t[k]] by the trapezoidal rule, the first value at row 0."""
    steps = np.diff(t).reshape(-1, *[1] * (values.ndim - 1))
    result = values.astype(np.float64)
    elapsed = (t[1:] - t[:1]).reshape(steps.shape)
    result[1:] = np.cumsum(0.5 * steps * (values[1:] + values[:-1]), axis=0) / elapsed
    return result


def averaged_states(sol: Solution) -> list[tuple[State, ...]]:
    """Return every player's time-averaged state at each row: means of vectors, fields and masses, mixtures of atoms."""
    columns = [_averaged(sol.t, player, [sol.row(k)[player] for k in range(len(sol))]) for player in range(len(sol.players))]
    return list(zip(*columns, strict=True))


def _averaged(t: np.ndarray, player: int, states: list[State]) -> list[State]:
    if not states:
        return []
    if isinstance(states[0], (Vector, Field, Histogram)):
        means = running_mean(t, np.array([state.coordinates for state in states]))
        return [state.replace(mean) for state, mean in zip(states, means, strict=True)]
    if isinstance(states[0], Gaussian) or not isinstance(states[0], Law):
        raise UnsupportedError(
            f"averaged=True needs averages that are states, and player {player} has {type(states[0]).__name__}; "
            "take Vector, Field, Histogram, Particles or Quantiles"
        )
    return [states[0], *(_mixture(t[: k + 1], states[: k + 1]) for k in range(1, len(states)))]


def _mixture(t: np.ndarray, states: list[State]) -> Particles:
    """Return the law of all atoms, weighted by time (trapezoidal rule)."""
    steps = np.diff(t)
    shares = 0.5 * (np.append(steps, 0.0) + np.append(0.0, steps)) / (t[-1] - t[0])
    points, weights = zip(*(atoms(state) for state in states), strict=True)
    return Particles(np.concatenate(points), np.concatenate([s * w for s, w in zip(shares, weights, strict=True)]))
