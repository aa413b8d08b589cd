"""Random dual flows whose constants are known, orbits of them in the limit tau -> 0, and orders of schemes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from measureflow import problems
from measureflow.energies import Energy, Entropy, Quadratic
from measureflow.games import AbstractGame, Game, KernelGame, QuadraticGame, Regularised, ZeroSum
from measureflow.metrics import distance
from measureflow.problems.base import Problem, named_scheme
from measureflow.schemes import ExtrapolatedBDF2, ExtrapolatedVIM, Scheme
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Gaussian, Particles, Quantiles, State, Vector, atoms
from measureflow.theorems.check import Check, equal
from measureflow.theorems.statistics import limit, order

Pair = tuple[State, State]

KINDS = ("vectors", "particles", "quantiles", "gaussians")
SIZES = {"vectors": (2, 3), "particles": (2, 1), "quantiles": (1, 1), "gaussians": (2, 2)}
"""Dimensions of the two players' spaces."""
SHIFT = 1.0
"""Waves are sin(x_i) sin(y_j + SHIFT), so that no symmetry hides a sign."""


@final
@dataclass(frozen=True, eq=False)
class Case:
    """A game with two pairs of initial states; `convexity` and `mixed` are lambda_i and L_i of theory, D1."""

    game: AbstractGame
    starts: tuple[Pair, Pair]
    convexity: np.ndarray
    mixed: np.ndarray

    def growth(self, speeds: Sequence[float]) -> np.ndarray:
        """Return the matrix M of D1 for players of these speeds: row i is eta_i times that of speed 1."""
        (a, b), (up, down) = self.convexity, self.mixed
        return np.asarray(speeds)[:, None] * np.array([[-a, up], [down, -b]])


def random_case(kind: str, seed: int, zero_sum: bool, own: Sequence[float] = (1.0, 3.0), coupling: float = 0.6) -> Case:
    """Return E_i = (own quadratic) + (coupling) of random matrices, for players of one kind; own[0] is the smaller lambda_i.

    Vectors and particles meet in sum_ij A_ij sin(x_i) sin(y_j + 1), with L <= |A| and a second derivative of at most
    max_i sum_j |A_ij| in x; quantiles in the same and with an entropy of their own; Gaussians, with entropies, in x.A y.
    """
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    p, q = SIZES[kind]
    A = coupling * rng.normal(size=(p, q))
    B = -A.T if zero_sum else coupling * rng.normal(size=(q, p))
    low = own[0] + np.array([0.0, 0.2 * (own[1] - own[0])])[rng.permutation(2)]
    bend = [0.0, 0.0] if kind == "gaussians" else [np.abs(A).sum(axis=1).max(), np.abs(B).sum(axis=1).max()]
    P, Q = (_stiff(rng, size, (a + b, own[1] + b)) for size, a, b in zip((p, q), low, bend, strict=True))
    mixed = np.array([np.linalg.norm(A, 2), np.linalg.norm(B, 2)])
    starts = (_start(rng, kind), _start(rng, kind))
    return Case(_game(kind, zero_sum, P, A, Q, B), starts, low, mixed)


def _stiff(rng: np.random.Generator, size: int, between: Sequence[float]) -> np.ndarray:
    """Return a symmetric matrix with eigenvalues between two numbers, the lower one among them."""
    frame = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = rng.uniform(between[0], between[1], size)
    values[0] = between[0]
    matrix = (frame * values) @ frame.T
    return np.asarray(0.5 * (matrix + matrix.T))


def random_gaussian(rng: np.random.Generator, dim: int) -> Gaussian:
    """Return a Gaussian with a full covariance of moderate condition."""
    return Gaussian(rng.normal(size=dim), _stiff(rng, dim, (0.3, 1.5)))


def _start(rng: np.random.Generator, kind: str) -> Pair:
    p, q = SIZES[kind]
    if kind == "vectors":
        return Vector(rng.normal(size=p)), Vector(rng.normal(size=q))
    if kind == "gaussians":
        return random_gaussian(rng, p), random_gaussian(rng, q)
    if kind == "quantiles":
        ends = [rng.normal() - 1.0 + np.cumsum(rng.uniform(0.2, 0.6, 8)) for _ in range(2)]
        return Quantiles(ends[0]), Quantiles(ends[1])
    n, m = (int(k) for k in rng.integers(3, 6, 2))
    v, w = rng.dirichlet(np.full(n, 3.0)), rng.dirichlet(np.full(m, 3.0))
    return Particles(rng.normal(size=(n, p)), v), Particles(rng.normal(size=(m, q)), w)


def _game(kind: str, zero_sum: bool, P: np.ndarray, A: np.ndarray, Q: np.ndarray, B: np.ndarray) -> AbstractGame:
    if kind == "gaussians" and zero_sum:
        return problems.get("G11", P=P, C=A, Q=Q, temperature=0.4).problem  # type: ignore[return-value]
    if kind == "gaussians":
        return Regularised(QuadraticGame(P, A, Q, B), [Entropy(0.4), Entropy(0.7)])
    noise: list[Energy] = [Entropy(0.2), Entropy(0.3)] if kind == "quantiles" else [Quadratic(0.0), Quadratic(0.0)]
    return Regularised(_waves(kind, zero_sum, A, B), [Quadratic(P) + noise[0], Quadratic(Q) + noise[1]])


def _waves(kind: str, zero_sum: bool, A: np.ndarray, B: np.ndarray) -> AbstractGame:
    if not zero_sum:
        return Game([_felt(A, 0.0, SHIFT), _felt(B, SHIFT, 0.0)])
    if kind == "vectors":
        return ZeroSum(_payoff(A))
    return KernelGame(
        lambda x, y: np.sin(x) @ A @ np.sin(y + SHIFT).T,
        lambda x, y: np.cos(x)[:, None, :] * (np.sin(y + SHIFT) @ A.T)[None, :, :],
        lambda x, y: (np.sin(x) @ A)[:, None, :] * np.cos(y + SHIFT)[None, :, :],
    )


def _felt(A: np.ndarray, mine: float, theirs: float) -> Any:
    """Return the energy (own, others) -> (value, gradient) of sum_ij A_ij sin(x_i + mine) sin(y_j + theirs)."""

    def energy(own: State, others: tuple[State, ...]) -> tuple[float, np.ndarray]:
        x, w = _points(own)
        y, v = _points(others[0])
        pull = A @ (v @ np.sin(y + theirs))
        return float(w @ (np.sin(x + mine) @ pull)), (np.cos(x + mine) * pull).reshape(own.coordinates.shape)

    return energy


def _points(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Return points (n, d) and weights of a law or, as one atom, of a vector."""
    return (state.coordinates[None, :], np.ones(1)) if isinstance(state, Vector) else atoms(state)


def _payoff(A: np.ndarray) -> Any:
    def payoff(x: Any, y: Any) -> tuple[float, np.ndarray, np.ndarray]:
        a, b = np.asarray(x), np.asarray(y) + SHIFT
        return np.sin(a) @ A @ np.sin(b), np.cos(a) * (A @ np.sin(b)), np.cos(b) * (A.T @ np.sin(a))

    return payoff


# orbits ------------------------------------------------------------------------------------------------------------


def rows_apart(first: Sequence[Any], second: Sequence[Any]) -> np.ndarray:
    """Return both players' distances between two sequences of pairs of states, (rows, 2)."""
    rows = zip(first, second, strict=True)
    return np.array([[distance(a, b) for a, b in zip(x, y, strict=True)] for x, y in rows])


def apart(first: Solution, second: Solution) -> np.ndarray:
    """Return both players' distances between two orbits at each row, (rows, 2)."""
    return rows_apart(first.states, second.states)


def moved_apart(
    game: AbstractGame, starts: tuple[Pair, Pair], times: np.ndarray, scheme: str, speeds: Sequence[float], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return both players' distances of two orbits at equidistant times (rows, 2), in the limit tau -> 0, and their error.

    `steps` is the number of steps between the times, then twice and four times as many.
    """

    def orbits(count: int) -> np.ndarray:
        options: dict[str, Any] = {"scheme": named_scheme(scheme), "speeds": speeds, "save_at": count}
        tau = float(times[1] - times[0]) / count
        return apart(*(solve(game, start, float(times[-1]), tau, **options) for start in starts))

    return limit([orbits(steps * 2**k) for k in range(3)], named_scheme(scheme).order)


def weighted(distances: np.ndarray, speeds: Sequence[float]) -> np.ndarray:
    """Return the product distance D of D^2 = a^2/eta_1 + b^2/eta_2 from distances (rows, 2)."""
    return np.asarray(np.sqrt(np.sum(distances**2 / np.asarray(speeds), axis=-1)))


# orders ------------------------------------------------------------------------------------------------------------

OTHERS: dict[str, Scheme] = {
    "extrapolated vim implicit": ExtrapolatedVIM("implicit"),
    "extrapolated bdf2 optimistic": ExtrapolatedBDF2("optimistic"),
}
"""Schemes that `problems.SCHEMES` has no name for."""


def scheme_of(name: str) -> Scheme:
    """Return a scheme by its name."""
    return OTHERS[name] if name in OTHERS else named_scheme(name)


def smooth_game(label: str) -> Problem:
    """Return a game with an exact flow, of moderate rotation so that few steps show the order."""
    if label == "G2":
        return problems.get("G2", P=[[0.6, 0.2], [0.2, 0.9]], C=[[1.0], [-0.6]], Q=0.7, start=([1.0, -0.5], [0.8]), t=0.5)
    if label == "G1":
        return problems.get("G1", omega=1.1, speeds=(0.6, 1.7), t=1.0)
    return problems.get(label, **{"G18": {"c": 1.5, "t": 0.5}, "G12": {"beta": 0.3, "t": 1.0}, "G11": {"t": 0.4}}[label])


def order_check(
    problem: Problem, name: str, goal: float, tolerance: float, finer: int = 1
) -> tuple[Check, list[float], list[float]]:
    """Return the check of an order, with taus and errors; the last step of each run is half as long as the others."""
    first = (
        40 * finer
        if goal == 1.0 and "optimistic" in name
        else finer * (20 if any(part in name for part in ("bdf2", "optimistic", "extragradient")) else 9)
    )
    taus = [problem.t_span[1] / (count + 0.5) for count in (first, 2 * first, 4 * first)]
    errors = [problem.error(problem.solve(tau, scheme_of(name))) for tau in taus]
    found = order(taus, errors)
    return equal(f"order of {name}", found.value, goal, tolerance=tolerance, error=found.error, where=problem.label), taus, errors
