"""Fisher-Rao flows and games of mixed strategies with what is known exactly about them (theory, 3.6, 9.3 and 9.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import KL, CellPotential, Entropy, Function
from measureflow.games import KernelGame, MatrixGame, ModeWeights, Regularised
from measureflow.metrics import Euclidean, FisherRao
from measureflow.problems.base import Printed, Problem
from measureflow.recipes import named
from measureflow.states import Grid, Histogram, Vector

Pair = tuple[Any, ...]

FR = FisherRao()
COSTS = (0.3, -1.0, 2.0, 0.0, 0.5)
ROCK_PAPER_SCISSORS = ((0.0, -1.0, 1.0), (1.0, 0.0, -1.0), (-1.0, 1.0, 0.0))


def _cells(count: int) -> Grid:
    """Return a grid with a cell of width 1 for each of `count` choices."""
    return Grid([(0.0, float(count))], (count,))


def _normalised(log_masses: np.ndarray, grid: Grid) -> Histogram:
    masses = np.exp(log_masses - log_masses.max())
    return Histogram(masses / masses.sum(), grid)


def _logarithm(law: Histogram) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(law.masses)


def linear_cost(costs: Sequence[float] = COSTS, start: Sequence[float] | None = None, t: float = 1.0) -> Problem:
    """F1: E = sum f_i p_i: p_t is proportional to p_0 exp(-f t).

    Mirror steps are exact for every tau, minimizing movements in the Fisher-Rao distance are not. `start` holds the first
    masses, equal ones by default.
    """
    f = check.array("costs", costs, ndim=1)
    p0 = Histogram(np.full(len(f), 1.0 / len(f)) if start is None else start, _cells(len(f)))

    def after(law: Histogram, time: float) -> Histogram:
        return _normalised(_logarithm(law) - time * f, law.grid)

    return Problem(
        label="F1",
        title=f"linear cost on {len(f)} cells",
        source="theory.md, 9.3 F1",
        problem=CellPotential(f),
        initial=p0,
        t_span=(0.0, t),
        exact=lambda time: after(p0, time),
        exact_step={"mirror": after, "implicit mirror": after},
        metrics=(FR,),
    )


def relative_entropy(
    mean: float = 3.0, variance: float = 0.1, target_variance: float = 2.0, speed: float = 1.3, n: int = 220, t: float = 1.5
) -> Problem:
    """F2: E = KL(. | pi): mu_t is proportional to mu_0^a pi^(1-a), a = e^(-bt), b the speed.

    Here with Gaussian densities on n cells, which stay Gaussian: 1/V_t = 1/S + a (1/V_0 - 1/S), m_t = V_t a m_0 / V_0. Where
    mu/pi is small the energy is not semiconvex in the Fisher-Rao distance: its minimizing movements fill thin tails too early
    unless tau is small; mirror steps do not.
    """
    mean, speed = check.scalar("mean", mean), check.scalar("speed", speed, above=0.0)
    spread = [check.scalar("variance", variance, above=0.0), check.scalar("target_variance", target_variance, above=0.0)]
    reach = 8.5 * float(np.sqrt(max(spread)))
    grid = Grid([(min(mean, 0.0) - reach, max(mean, 0.0) + reach)], (check.integer("n", n, least=2),))
    x = grid.axes[0]
    p0 = _normalised(-0.5 * (x - mean) ** 2 / spread[0], grid)
    target = _normalised(-0.5 * x**2 / spread[1], grid)

    def mixed(law: Histogram, share: float) -> Histogram:
        held = law.masses > 0.0
        with np.errstate(invalid="ignore"):
            return _normalised(np.where(held, share * _logarithm(law) + (1.0 - share) * _logarithm(target), -np.inf), grid)

    printed = (mean, variance, target_variance, speed) == (3.0, 0.1, 2.0, 1.3)
    return Problem(
        label="F2",
        title="Fisher-Rao flow of a relative entropy",
        source="theory.md, 9.3 F2",
        problem=KL(target),
        initial=p0,
        t_span=(0.0, t),
        exact=lambda time: mixed(p0, float(np.exp(-speed * time))),
        exact_step={
            "mirror": lambda law, tau: mixed(law, 1.0 - speed * tau),
            "implicit mirror": lambda law, tau: mixed(law, 1.0 / (1.0 + speed * tau)),
        },
        speeds=(speed,),
        reference={
            "m(1.5)": Printed("2.305148879", lambda law: float(law.mean()[0]), 1.5),
            "V(1.5)": Printed(".5400723766", lambda law: float(law.covariance()[0, 0]), 1.5),
        }
        if printed
        else {},
        metrics=(FR,),
    )


@named("half squared Fisher-Rao distance to even masses")
def _to_even(law: Histogram) -> float:
    return 0.5 * FR.distance(law, _even(law)) ** 2


@named("first variation of the half squared Fisher-Rao distance to even masses")
def _slope_to_even(law: Histogram) -> np.ndarray:
    angle = 0.5 * FR.distance(law, _even(law))
    tiny = np.finfo(float).tiny
    return np.asarray(-2.0 / np.sinc(angle / np.pi) * np.sqrt(_even(law).masses / np.maximum(law.masses, tiny)))


def _even(law: Histogram) -> Histogram:
    return Histogram(np.full(law.masses.shape, 1.0 / law.masses.size), law.grid)


def simplex_geometry(start: Sequence[float] = (0.6, 0.3, 0.1), t: float = 1.0) -> Problem:
    """F4: E = d^2(., even masses)/2: the flow is the point at 1 - e^(-t) of the great circle of sqrt(p).

    A minimizing movement goes to its point at tau/(1 + tau), an explicit step to that at tau.
    """
    masses = check.array("start", start, ndim=1)
    p0 = Histogram(masses, _cells(len(masses)))

    def towards(law: Histogram, share: float) -> Any:
        return FR.geodesic(law, _even(law), share)

    return Problem(
        label="F4",
        title="squared Fisher-Rao distance on the simplex",
        source="theory.md, 9.3 F4",
        problem=Function(_to_even, _slope_to_even),
        initial=p0,
        t_span=(0.0, t),
        exact=lambda time: towards(p0, float(-np.expm1(-time))),
        exact_step={"jko": lambda law, tau: towards(law, tau / (1.0 + tau)), "explicit": towards},
        metrics=(FR,),
    )


def mode_weights(eta: float = 1.0, beta: float = 0.0, start: Sequence[float] = (0.4, 0.3, 0.2, 0.1), t: float = 5.0) -> Problem:
    """G13: weights of k modes against a linear critic of speed eta with a ridge beta; uniform target.

    beta = 0: KL(q | p) + |D|^2/(2 eta) is conserved. Near the target the flow has the eigenvalues
    -eta beta/2 +- sqrt(eta^2 beta^2/4 - eta/k). No closed flow is known.
    """
    eta, beta = check.scalar("eta", eta, above=0.0), check.scalar("beta", beta, least=0.0)
    masses = check.array("start", start, ndim=1)
    grid, k = _cells(len(masses)), len(masses)
    game = ModeWeights(Histogram(np.full(k, 1.0 / k), grid), beta)
    metrics, speeds = (FR, Euclidean()), (1.0, eta)
    root = np.sqrt(complex(0.25 * (eta * beta) ** 2 - eta / k))
    return Problem(
        label="G13",
        title=f"mode-weight GAN on {k} modes, eta = {eta:g}, beta = {beta:g}",
        source="theory.md, 8 M3 and 9.4 G13",
        problem=game,
        initial=(Histogram(masses, grid), Vector(np.zeros(k))),
        t_span=(0.0, t),
        speeds=speeds,
        invariants=game.invariants(metrics, speeds),
        constants={"frequency": float(root.imag), "slowest decay": float(0.5 * eta * beta - root.real)},
        metrics=metrics,
    )


def strategies(kind: str = "rock-paper-scissors", **parameters: Any) -> Problem:
    """G14: games of mixed strategies under Fisher-Rao: `kind` is "rock-paper-scissors" or "torus".

    See `rock_paper_scissors` and `torus` for the parameters of each.
    """
    kinds: dict[str, Callable[..., Problem]] = {"rock-paper-scissors": rock_paper_scissors, "torus": torus}
    return kinds[check.choice("kind", kind, tuple(kinds))](**parameters)


def rock_paper_scissors(
    first: Sequence[float] = (0.5, 0.3, 0.2), second: Sequence[float] = (0.3, 0.3, 0.4), t: float = 5.0
) -> Problem:
    """G14: rock-paper-scissors: KL sums to the centre are conserved, orbits there turn with the frequency 1/sqrt(3).

    A simultaneous mirror step increases the KL sum by exactly log Z_p + log Z_q, Z the sums by which masses are divided.
    """
    game, metrics, speeds = MatrixGame(ROCK_PAPER_SCISSORS), (FR, FR), (1.0, 1.0)
    return Problem(
        label="G14",
        title="rock-paper-scissors",
        source="theory.md, 3.6 and 9.4 G14",
        problem=game,
        initial=(Histogram(first, _cells(3)), Histogram(second, _cells(3))),
        t_span=(0.0, t),
        invariants=game.invariants(metrics, speeds),
        constants={"frequency": float(1.0 / np.sqrt(3.0)), "value": 0.0},
        metrics=metrics,
    )


@named("cosine kernel")
def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.cos(x - y.T))


@named("slope of the cosine kernel in x")
def _cosine_in_x(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(-np.sin(x - y.T)[..., None])


@named("slope of the cosine kernel in y")
def _cosine_in_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.sin(x - y.T)[..., None])


def von_mises(k: np.ndarray, grid: Grid) -> Histogram:
    """Return the law of density proportional to exp(k_0 cos x + k_1 sin x) on a periodic grid of the circle."""
    return _normalised(k[0] * np.cos(grid.axes[0]) + k[1] * np.sin(grid.axes[0]), grid)


def natural_parameters(law: Histogram) -> np.ndarray:
    """Return k (2,) of a von Mises law on a periodic grid of the circle: the first Fourier coefficients of its log masses."""
    x, logs = law.grid.axes[0], _logarithm(law)
    return np.array([np.sum(logs * np.cos(x)), np.sum(logs * np.sin(x))]) * (2.0 / len(x))


def torus(
    temperature: float = 0.0,
    first: Sequence[float] = (1.0, 0.0),
    second: Sequence[float] = (0.5, 1.0),
    n: int = 256,
    t: float = 3.0,
) -> Problem:
    """G14: J = E cos(x - y) on the circle with entropies of temperature T: von Mises laws stay so.

    Their natural parameters solve k1' = -A(|k2|) k2/|k2| - T k1, k2' = A(|k1|) k1/|k1| - T k2 with A = I1/I0. T = 0: log I0(|k1|)
    + log I0(|k2|) is conserved. T > 0: eigenvalues -T +- i/2 at the uniform laws. Mirror steps are Euler's in k: explicit if
    simultaneous, symplectic if alternating. The exact flow is an ODE in k, solved to 1e-12.
    """
    T = check.scalar("temperature", temperature, least=0.0)
    grid = Grid([(0.0, 2.0 * np.pi)], (check.integer("n", n, least=8),), periodic=True)
    k0 = np.concatenate([check.array("first", first, shape=(2,)), check.array("second", second, shape=(2,))])
    game = KernelGame(_cosine, _cosine_in_x, _cosine_in_y)
    return Problem(
        label="G14",
        title=f"cosine game on the circle, T = {T:g}",
        source="theory.md, 9.4 G14",
        problem=Regularised(game, [Entropy(T), Entropy(T)]) if T > 0.0 else game,
        initial=(von_mises(k0[:2], grid), von_mises(k0[2:], grid)),
        t_span=(0.0, t),
        exact=_torus_flow(T, k0, grid),
        exact_step=_torus_steps(T, grid),
        invariants={} if T > 0.0 else {"log I0(|k1|) + log I0(|k2|)": _bessel_sum},
        constants={"damping": T, "frequency": 0.5},
        metrics=(FR, FR),
    )


def _pull(k: np.ndarray) -> np.ndarray:
    """Return the mean of (cos, sin) under a von Mises law: A(|k|) k/|k|."""
    from scipy.special import ive

    size = float(np.hypot(*k))
    return k * 0.5 if size == 0.0 else np.asarray(ive(1, size) / ive(0, size) * k / size)


def _bessel_sum(states: Pair) -> float:
    from scipy.special import ive

    sizes = np.array([np.hypot(*natural_parameters(law)) for law in states])
    return float(np.sum(np.log(ive(0, sizes)) + sizes))


def _torus_flow(T: float, k0: np.ndarray, grid: Grid) -> Callable[[float], Pair]:
    """Return the exact flow from natural parameters k0 (4,)."""

    def slope(time: float, k: np.ndarray) -> np.ndarray:
        return np.concatenate([-_pull(k[2:]), _pull(k[:2])]) - T * k

    def flow(time: float) -> Pair:
        from scipy.integrate import solve_ivp

        k = k0 if time == 0.0 else solve_ivp(slope, (0.0, time), k0, method="DOP853", rtol=3e-14, atol=1e-15).y[:, -1]
        return von_mises(k[:2], grid), von_mises(k[2:], grid)

    return flow


def _torus_steps(T: float, grid: Grid) -> dict[str, Callable[[Pair, float], Pair]]:
    """Return mirror steps in natural parameters."""

    def scheme(alternating: bool, implicit: bool) -> Callable[[Pair, float], Pair]:
        def moved(k: np.ndarray, push: np.ndarray, tau: float) -> np.ndarray:
            return np.asarray((k + tau * push) / (1.0 + tau * T) if implicit else k + tau * (push - T * k))

        def step(states: Pair, tau: float) -> Pair:
            k1, k2 = (natural_parameters(law) for law in states)
            new = moved(k1, -_pull(k2), tau)
            seen = new if alternating else k1
            return von_mises(new, grid), von_mises(moved(k2, _pull(seen), tau), grid)

        return step

    return {
        "mirror simultaneous": scheme(False, False),
        "mirror alternating": scheme(True, False),
        "implicit mirror": scheme(False, True),
    }
