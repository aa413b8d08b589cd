"""Bilinear games: what every scheme does to a rotation, exactly and to leading order in tau (theory, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.games import Bilinear
from measureflow.problems.base import SCHEMES, Problem
from measureflow.schemes import JKO, Explicit, Scheme
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Gaussian, Particles, Quantiles, State, Vector, moments
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]

ROUNDING = 1e-13
EXACT = 1e-12
FAR = 50.0
START = (1.0, 0.5)


@dataclass(frozen=True)
class Row:
    """A row of the table of section 6: |mu| as a function of kappa, the largest stable kappa, the angle of mu if special."""

    size: Callable[[float], float]
    limit: float
    angle: Callable[[float], float] | None = None


def _popov(k: float) -> float:
    """Return |mu| of the optimistic steps."""
    if k <= 0.5:
        return float(np.sqrt(0.5 * (1.0 + np.sqrt(1.0 - 4.0 * k**2))))
    return float(np.sqrt(0.25 * (1.0 + (2.0 * k + np.sqrt(4.0 * k**2 - 1.0)) ** 2)))


def _two_step(a: complex, b: complex, c: complex) -> float:
    """Return the largest modulus of the roots of a m^2 + b m + c."""
    return float(np.abs(np.roots([a, b, c])).max())


_LEAPFROG = Row(lambda k: 1.0, 2.0, lambda k: 2.0 * float(np.arcsin(0.5 * k)))
_BASIC: Mapping[str, Row] = {
    "simultaneous": Row(lambda k: float(np.sqrt(1.0 + k**2)), 0.0),
    "alternating": _LEAPFROG,
    "symmetric": _LEAPFROG,
    "implicit": Row(lambda k: float(1.0 / np.sqrt(1.0 + k**2)), np.inf),
    "extragradient": Row(lambda k: float(np.sqrt(1.0 - k**2 + k**4)), 1.0),
    "optimistic": Row(_popov, float(1.0 / np.sqrt(3.0))),
}
ROWS: Mapping[str, Row] = MappingProxyType(
    {
        **{f"{prefix}{name}": row for name, row in _BASIC.items() for prefix in ("", "explicit ")},
        "adjoint": _LEAPFROG,
        "vim symmetric": _LEAPFROG,
        "vim implicit": Row(lambda k: 1.0, np.inf, lambda k: 2.0 * float(np.arctan(0.5 * k))),
        "vim optimistic": Row(lambda k: _two_step(1.0, -1.0 - 1.5j * k, 0.5j * k), 0.0),
        "bdf2 implicit": Row(lambda k: _two_step(1.5 - 1j * k, -2.0, 0.5), np.inf),
        "bdf2 optimistic": Row(lambda k: _two_step(1.5, -2.0 - 2j * k, 0.5 + 1j * k), 0.0),
        "rk2": Row(lambda k: float(np.sqrt(1.0 + 0.25 * k**4)), 0.0),
        "rk4": Row(lambda k: float(np.sqrt(1.0 - k**6 / 72.0 + k**8 / 576.0)), float(np.sqrt(8.0))),
    }
)
"""Scheme -> its row. The largest stable kappa is 0 for schemes that are never stable, inf for those that always are."""

TWO_STEP = ("optimistic", "explicit optimistic", "vim optimistic", "bdf2 implicit", "bdf2 optimistic")


def _game(omega: float, speeds: Sequence[float]) -> tuple[Problem, float]:
    """Return G1 with these speeds, and its frequency."""
    problem = problems.get("G1", omega=omega, speeds=tuple(speeds), start=START)
    return problem, abs(omega) * float(np.sqrt(speeds[0] * speeds[1]))


def _multipliers(problem: Problem, scheme: str | Scheme) -> Callable[[float], np.ndarray]:
    """Return tau -> eigenvalues of a step at the equilibrium, of largest modulus first; differences of linear steps are exact."""
    sol = problem.solve(0.1, scheme, t=0.1)
    origin = tuple(Vector(np.zeros_like(x.values)) for x in problem.initial)
    return lambda tau: sol.linearisation(at=origin, step=True, tau=tau, difference=0.1).eigenvalues


def _first_quadrants(mu: complex) -> complex:
    return complex(mu.real, abs(mu.imag))


def _rotating(sol: Solution, speeds: Sequence[float]) -> np.ndarray:
    """Return x / sqrt(eta_1) + i y / sqrt(eta_2) at every row."""
    x, y = (np.array([state[k].coordinates.mean() for state in sol.states]) for k in range(2))
    return np.asarray(x / np.sqrt(speeds[0]) + 1j * y / np.sqrt(speeds[1]))


def _table(scheme: str, omega: float, kappas: Sequence[float], speeds: Sequence[float]) -> Found:
    """Compare multipliers, their moduli and angles, and a whole orbit with the row of a scheme."""
    problem, frequency = _game(omega, speeds)
    row, places, step = ROWS[scheme], [f"{scheme}, kappa = {k:g}" for k in kappas], _multipliers(problem, scheme)
    seen = [_first_quadrants(step(k / frequency)[0]) for k in kappas]
    known = [_first_quadrants(problem.factors[scheme](k / frequency)) for k in kappas]
    tight = {"tolerance": EXACT, "error": ROUNDING, "where": places}
    yield equal("distance of the multiplier", [abs(a - b) for a, b in zip(seen, known, strict=True)], 0.0, **tight)
    yield equal("modulus of the multiplier", [abs(mu) for mu in seen], [row.size(k) for k in kappas], **tight)
    turning = row.angle
    if turning is not None:
        yield equal("angle of the multiplier", np.angle(seen), [turning(k) for k in kappas], **tight)
    yield from _orbit(problem, scheme, kappas[0] / frequency, speeds)


def _orbit(problem: Problem, scheme: str, tau: float, speeds: Sequence[float]) -> Found:
    """Follow an orbit: all its points where one step is known in closed form, its last factor for two-step schemes."""
    steps = 60 if scheme in TWO_STEP else 12
    sol = problem.solve(tau, scheme, t=steps * tau)
    z = _rotating(sol, speeds)
    slack = {"tolerance": EXACT, "error": ROUNDING + float(np.max(sol.info["residual"])), "where": scheme}
    if scheme in TWO_STEP:
        factor = problem.factors[scheme](tau)
        yield equal("last factor of an orbit", abs(_first_quadrants(z[-1] / z[-2]) - _first_quadrants(factor)), 0.0, **slack)
        return
    states, gaps = problem.initial, []
    for row in sol.states[1:]:
        states = problem.exact_step[scheme](states, tau)
        gaps.append(problem.distance(row, states) / max(1.0, problem.distance(states, problem.initial)))
    yield equal("distance from the orbit in closed form", gaps, 0.0, **slack)
    if scheme.endswith("alternating"):
        width = np.sqrt(speeds[0] * speeds[1]) * tau * float(problem.problem.C[0, 0])  # type: ignore[union-attr]
        form = z.real**2 + z.imag**2 - width * z.real * z.imag
        yield equal("x^2 + y^2 - kappa x y", form / form[0], 1.0, **slack)


def _matrix(scheme: str, sizes: Sequence[int], seed: int, tau: float, speeds: Sequence[float]) -> Found:
    """Compare the multipliers of x^T C y with those of its singular values."""
    C = np.random.default_rng(seed).normal(size=tuple(sizes))
    ones, origin = (tuple(Vector(np.full(size, value)) for size in sizes) for value in (1.0, 0.0))
    sol = solve(Bilinear(C), ones, tau, tau, scheme=SCHEMES[scheme], speeds=tuple(speeds))
    seen = sol.linearisation(at=origin, step=True, tau=tau, difference=0.1).eigenvalues
    known = [problems.get("G1", omega=s, speeds=tuple(speeds)).factors[scheme](tau) for s in np.linalg.svd(C)[1]]
    gaps = [np.abs(seen - mu).min() for factor in known for mu in (factor, np.conj(factor))]
    yield equal("multipliers of x^T C y", gaps, 0.0, tolerance=EXACT, error=3.0 * ROUNDING, where=f"{scheme}, seed {seed}")


def _inner_steps(name: str, counts: Sequence[int], omega: float, tau: float, speeds: Sequence[float]) -> Found:
    """Inner steps act as speeds: kappa^2 = n_1 n_2 omega^2 tau^2."""
    problem, _ = _game(omega, speeds)
    coupling = name.removeprefix("explicit ")
    scheme = (Explicit if name.startswith("explicit") else JKO)(coupling, inner_steps=tuple(counts))
    seen = _multipliers(problem, scheme)(tau)[0]
    known = problem.factors[name](tau * float(np.sqrt(counts[0] * counts[1])))
    gap = abs(_first_quadrants(seen) - _first_quadrants(known))
    yield equal("multiplier with inner steps", gap, 0.0, tolerance=EXACT, error=ROUNDING, where=f"{scheme!r}")


def _law(kind: str, mean: float) -> State:
    """Return a law of some shape with this mean."""
    spread = np.array([-1.7, -0.4, 0.1, 2.0])
    if kind == "gaussian":
        return Gaussian(mean, 0.3 + mean**2)
    return Particles((mean + spread)[:, None]) if kind == "particles" else Quantiles(mean + spread)


def _laws(scheme: str, kinds: Sequence[str], omega: float, tau: float, steps: int, speeds: Sequence[float]) -> Found:
    """Means of laws move as points do; shapes do not change."""
    problem, _ = _game(omega, speeds)
    pair = tuple(_law(kind, mean) for kind, mean in zip(kinds, START, strict=True))
    sol = solve(problem.problem, pair, steps * tau, tau, scheme=SCHEMES[scheme], speeds=tuple(speeds))
    points = problem.solve(tau, scheme, t=steps * tau)
    slack = {"tolerance": EXACT, "error": ROUNDING + float(np.max([np.max(s.info["residual"]) for s in (sol, points)]))}
    for k, kind in enumerate(kinds):
        means, shapes = zip(*(moments(row[k]) for row in sol.states), strict=True)
        known = np.array([row[k].values for row in points.states])
        place = f"{kind}, {scheme}"
        yield equal("means of laws less the points' orbit", np.array(means) - known, 0.0, **slack, where=place)
        yield equal("variances of laws", np.ravel(shapes), float(np.ravel(shapes)[0]), **slack, where=place)


def _limits(scheme: str, omega: float, speeds: Sequence[float]) -> Found:
    """Look at the largest stable kappa from both sides."""
    problem, frequency = _game(omega, speeds)
    step = _multipliers(problem, scheme)
    limit = ROWS[scheme].limit
    inside = [0.5 * limit, 0.99 * limit] if 0.0 < limit < np.inf else [0.01, 1.0, FAR] if limit else []
    beyond = [1.01 * limit] if 0.0 < limit < np.inf else [] if limit else [0.05, 0.5]
    known = {"error": ROUNDING, "where": f"{scheme}, largest stable kappa {limit:.4g}"}
    if inside:
        grown = [abs(step(k / frequency)[0]) for k in inside]
        yield at_most("modulus below the largest stable kappa", grown, 1.0, tolerance=EXACT, **known)
    if beyond:
        grown = [abs(step(k / frequency)[0]) for k in beyond]
        yield at_least("modulus beyond the largest stable kappa, less 1", np.array(grown) - 1.0, 1e-9, **known)


def _continuous(omega: float, unrolled: int, eta: float, consensus: float) -> Found:
    """Compare the eigenvalues of the flows with consensus or foresight, and the multiplier of foreseen steps."""
    problem = problems.get("G10", omega=omega, unrolled=unrolled, eta=eta, consensus=consensus)
    origin = (Vector(0.0), Vector(0.0))
    near = problem.solve(0.01, "explicit", t=0.01).linearisation(at=origin)
    place = f"{unrolled} steps foreseen" if unrolled else f"consensus {consensus:g}"
    slack = {"tolerance": 1e-9, "error": 1e-11, "where": place}
    yield equal("growth rate of the flow", near.eigenvalues.real.max(), problem.constants["growth"], **slack)
    yield equal("frequency of the flow", near.frequency, problem.constants["frequency"], **slack)
    if unrolled:
        plain, frequency = _game(omega, (0.7, 1.9))
        k = frequency * eta
        seen = _multipliers(plain, Explicit(unrolled=unrolled))(eta)
        half = 1.0 - unrolled * k**2
        square = half**2 - (1.0 - (2 * unrolled - 1) * k**2)
        known = half + np.sqrt(complex(square))
        yield equal("multiplier of foreseen steps", np.abs(seen - known).min(), 0.0, **slack)


def _picture(kappas: Sequence[float]) -> Found:
    """Draw |mu| over kappa."""
    moduli = Panel("modulus of one step of a rotation", r"$\kappa = \omega \tau$", r"$|\mu|$")
    fine = np.linspace(1e-3, max(kappas), 120)
    problem, frequency = _game(1.0, (1.0, 1.0))
    for scheme in ("simultaneous", "alternating", "extragradient", "optimistic", "implicit", "rk4"):
        step = _multipliers(problem, scheme)
        seen = [abs(step(k / frequency)[0]) for k in kappas]
        yield Curve(moduli, scheme, kappas, seen)
        yield Curve(moduli, "", fine, [_size(scheme, k) for k in fine], role="predicted")


def _size(scheme: str, k: float) -> float:
    """Return |mu|, also where alternating steps have two real multipliers."""
    return (
        float(0.5 * k**2 - 1.0 + k * np.sqrt(0.25 * k**2 - 1.0)) if scheme == "alternating" and k > 2.0 else ROWS[scheme].size(k)
    )


_CASES: Mapping[str, Callable[..., Found]] = {
    "table": _table,
    "matrix": _matrix,
    "inner steps": _inner_steps,
    "laws": _laws,
    "limits": _limits,
    "continuous": _continuous,
    "picture": _picture,
}


def _test(case: str, **trial: Any) -> Found:
    yield from _CASES[case](**trial)


def _control(case: str, scheme: str, share: float) -> Found:
    """Claim stability 1 % beyond the limit, or the table for a game that is not bilinear, or not zero-sum."""
    problem, frequency = _game(1.0, (1.0, 1.0))
    if case == "beyond":
        tau = share * ROWS[scheme].limit / frequency
    else:
        tau = 0.4
        problem = problems.get("G22", own=(0.0, 0.0), coupling=(1.0, 1.0))
        problem = problems.get("G2", P=share, C=1.0, Q=share, start=START) if case == "curved" else problem
    seen = abs(_multipliers(problem, scheme)(tau)[0])
    place = f"{scheme}, {case}"
    yield equal("modulus of the multiplier", seen, _size_at(scheme, tau, case), tolerance=EXACT, error=ROUNDING, where=place)
    if case != "curved":
        lengths = np.abs(_rotating(problem.solve(tau, scheme, t=12 * tau), (1.0, 1.0)))
        axes = Panel("orbits where a hypothesis fails", "steps", "radius", "log y")
        yield Curve(axes, place, np.arange(13), lengths, role="control")


def _size_at(scheme: str, tau: float, case: str) -> float:
    return min(1.0, ROWS[scheme].size(tau)) if case == "beyond" else ROWS[scheme].size(tau)


_SPEEDS = [[0.7, 1.9], [1.0, 1.0], [3.0, 0.2]]
_LIMITED = [name for name in ROWS if not name.startswith("explicit") and name != "bdf2 optimistic"]
_KINDS = [["gaussian", "particles"], ["quantiles", "gaussian"], ["particles", "quantiles"]]
_STEPS_OF_LAWS = ["simultaneous", "alternating", "implicit", "extragradient", "optimistic", "vim implicit", "rk4"]


def _quick() -> list[Trial]:
    tables = every(case=["table"], scheme=list(ROWS), omega=[1.3], kappas=[[0.2, 1.5]], speeds=[[0.7, 1.9]])
    names = ["alternating", "optimistic", "implicit", "vim implicit", "rk4"]
    matrices = every(case=["matrix"], scheme=names, sizes=[[2, 2], [3, 2]], seed=[0], tau=[0.3], speeds=[[0.7, 1.9]])
    inner = every(case=["inner steps"], name=["alternating", "explicit simultaneous"], counts=[[1, 3], [2, 5]], omega=[-1.1])
    laws = every(case=["laws"], scheme=_STEPS_OF_LAWS, kinds=_KINDS[:1], omega=[1.2], tau=[0.2], steps=[8], speeds=[[0.5, 2.0]])
    limits = every(case=["limits"], scheme=_LIMITED, omega=[0.8], speeds=[[2.0, 0.5]])
    flows = every(case=["continuous"], omega=[1.2], unrolled=[0, 1, 3], eta=[0.1], consensus=[0.3])
    inner = [{**trial, "tau": 0.15, "speeds": [0.7, 1.9]} for trial in inner]
    picture = {"case": "picture", "kappas": [0.3, 0.8, 1.3, 1.9, 2.7]}
    return [*tables, *matrices, *inner, *laws, *limits, *flows, picture]


def _full() -> list[Trial]:
    kappas = [0.1, 0.35, 0.6, 0.75, 0.95, 1.25, 1.5]
    tables = every(case=["table"], scheme=list(ROWS), omega=[-0.6], kappas=[kappas, kappas[::-1]], speeds=_SPEEDS[1:])
    names = [name for name in ROWS if not name.startswith("explicit")]
    matrices = every(case=["matrix"], scheme=names, sizes=[[1, 1], [2, 5], [4, 3]], seed=[1], tau=[0.21], speeds=_SPEEDS[:1])
    counts: dict[str, Any] = {"counts": [[1, 2], [4, 1], [3, 5]], "omega": [1.0], "tau": [0.1], "speeds": _SPEEDS[:2]}
    couplings = ["alternating", "explicit alternating", "simultaneous", "explicit simultaneous"]
    inner = every(case=["inner steps"], name=couplings, **counts)
    laws = every(case=["laws"], scheme=names, kinds=_KINDS, omega=[-0.9], tau=[0.2], steps=[10], speeds=_SPEEDS[::2])
    limits = every(case=["limits"], scheme=[*_LIMITED, "explicit optimistic"], omega=[-2.0], speeds=_SPEEDS[::2])
    flows = every(case=["continuous"], omega=[0.7, 1.2], unrolled=[0, 1, 2, 5], eta=[0.05, 0.3], consensus=[0.8])
    return [*_quick(), *tables, *matrices, *inner, *laws, *limits, *flows]


FACTORS = Theorem(
    name="bilinear-factors",
    label="6",
    title="what each scheme multiplies a rotation by",
    statement=(
        "On J = omega x y with speeds eta_1 and eta_2 one step of every scheme multiplies x / sqrt(eta_1) + i y / "
        "sqrt(eta_2) by a number mu that depends on kappa = omega tau sqrt(eta_1 eta_2) only, given by the table of section"
        " 6 with its largest stable kappa; alternating steps keep x^2 + y^2 - kappa x y. For x^T C y the multipliers are "
        "those of the singular values; n_1 and n_2 inner steps give kappa^2 = n_1 n_2 omega^2 tau^2; means of laws in W2 "
        "move as points do and shapes are frozen."
    ),
    formula=r"z_{n+1} = \mu(\kappa)\, z_n, \quad \kappa = \omega \tau \sqrt{\eta_1 \eta_2}",
    hypotheses=("zero-sum", "bilinear payoff, no energies of the players' own", "equal steps"),
    source="theory, section 6 and 9.4, G1 and G10; Zhang and Yu, arXiv 1908.05699",
    problems=("G1", "G2", "G10", "G22"),
    test=_test,
    quick=_quick(),
    full=_full(),
    control=Control(
        "kappa beyond the largest stable one by 1 %; players with energies of their own; a game that is not zero-sum",
        _control,
        [
            *every(case=["beyond"], scheme=["alternating", "extragradient", "optimistic", "rk4"], share=[1.01]),
            *every(case=["curved"], scheme=["simultaneous", "alternating", "implicit"], share=[0.01]),
            *every(case=["cooperative"], scheme=["simultaneous", "alternating", "implicit"], share=[0.0]),
        ],
    ),
)

ENTRIES = (FACTORS,)
