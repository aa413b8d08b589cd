"""What an explicit coupling costs, and which limit comes first (theory, D7, D8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from measureflow import problems
from measureflow.games import LinearQuadratic
from measureflow.problems.base import named_scheme
from measureflow.solve import solve
from measureflow.states import Gaussian, Particles, State, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._dual import Pair
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

# D7 ----------------------------------------------------------------------------------------------------------------

RADIUS = Panel("$l = 0.5, c = 2$", r"$\tau$", "spectral radius of a step", "log x")
ORBIT = Panel(r"simultaneous steps around the threshold", "step", "$|z_n|$", "log y")
EXPLICIT = ("simultaneous", "explicit simultaneous", "alternating")
TAUS = (0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.6, 2.5)


def _d7(kind: str, own: float, coupling: float, speeds: Sequence[float]) -> Iterator[Check | Curve]:
    """Compare factors and thresholds of one-step schemes with those of D7."""
    problem = problems.get("G24", own=own, coupling=coupling)
    where = f"{kind}, l = {own:g}, c = {coupling:g}, speeds {tuple(speeds)}"
    for name, factor in problem.factors.items():
        # explicit steps of a covariance need 1 - l tau > 0
        taus = [tau for tau in TAUS if kind != "gaussians" or "explicit" not in name or own * tau < 0.9]
        known = np.array([factor(tau) for tau in taus])
        matrices = [_matrix(kind, own, coupling, speeds, name, tau) for tau in taus]
        found = [_nearest(matrix, goal) for matrix, goal in zip(matrices, known, strict=True)]
        seen = np.column_stack([np.abs(found), np.real(found)])
        predicted = np.column_stack([np.abs(known), np.real(known)])
        yield equal(f"factor of {name} steps", seen, predicted, tolerance=1e-12, error=1e-14, where=where)
        if (own, coupling, kind) == (0.5, 2.0, "vectors") and tuple(speeds) == (1.0, 1.0):
            grid = np.geomspace(TAUS[0], TAUS[-1], 60)
            yield Curve(RADIUS, name, taus, [abs(_leading(matrix)) for matrix in matrices])
            if name != "alternating":
                yield Curve(RADIUS, "", grid, [abs(factor(float(tau))) for tau in grid], "predicted")
    for name in EXPLICIT:
        threshold = problem.constants[f"largest stable {name} tau"]
        below, beyond = (_radius(kind, own, coupling, speeds, name)(share * threshold) for share in (0.99, 1.01))
        yield at_most(f"spectral radius 1 % below the threshold of {name} steps", below, 1.0, error=1e-12, where=where)
        yield at_least(f"spectral radius 1 % beyond the threshold of {name} steps", beyond, 1.0, error=1e-12, where=where)
    yield from _exact_modulus(kind, own, coupling, speeds, problem.constants["exact modulus of alternating up to tau"])
    large = [_radius(kind, own, coupling, speeds, "implicit")(tau) for tau in (1.0, 30.0, 1000.0)]
    yield at_most("spectral radius of implicit steps", large, 1.0, error=1e-9, where=where)
    strong = _radius(kind, 2.0 * coupling, coupling, speeds, "simultaneous")(100.0)
    yield at_most("spectral radius of simultaneous steps, c < l", strong, 1.0, error=1e-9, where=where)
    if kind == "vectors":
        yield from _bisected(own, coupling, speeds)
    if kind == "vectors" and tuple(speeds) == (1.0, 1.0):
        yield from _orbits(own, coupling, problem.constants["largest stable simultaneous tau"])


def _game(own: float, coupling: float, speeds: Sequence[float]) -> LinearQuadratic:
    """Return the game that is G24 in the coordinates x/sqrt(eta_1), y/sqrt(eta_2)."""
    first, second = speeds
    return LinearQuadratic(own / first, coupling / np.sqrt(first * second), own / second)


def _matrix(kind: str, own: float, coupling: float, speeds: Sequence[float], name: str, tau: float) -> np.ndarray:
    """Return the matrix of one step of a scheme on the scaled (means of the) players' states."""
    game, scale = _game(own, coupling, speeds), np.sqrt(np.asarray(speeds))
    columns: list[list[float]] = []
    for unit in np.eye(2):
        sol = solve(game, _pair(kind, *(scale * unit)), tau, tau, scheme=named_scheme(name), speeds=speeds)
        columns.append([_mean(x) / s for x, s in zip(sol.states[-1], scale, strict=True)])
    return np.array(columns).T


def _pair(kind: str, x: float, y: float) -> Pair:
    if kind == "vectors":
        return Vector(x), Vector(y)
    if kind == "gaussians":
        return Gaussian(x, 0.4), Gaussian(y, 1.1)
    return Particles([[x - 1.0], [x + 1.0]]), Particles([[y - 0.6], [y + 0.4]], [0.4, 0.6])


def _mean(state: State) -> float:
    if isinstance(state, Vector):
        return float(state.values[0])
    return float(state.mean[0] if isinstance(state, Gaussian) else state.mean()[0])  # type: ignore[attr-defined]


def _leading(matrix: np.ndarray) -> complex:
    """Return the eigenvalue of largest modulus."""
    values = np.linalg.eigvals(matrix)
    return complex(values[np.argmax(np.abs(values))])


def _nearest(matrix: np.ndarray, known: complex) -> complex:
    """Return the eigenvalue that is nearest to a multiplier, of which the conjugate is one too."""
    values = np.linalg.eigvals(matrix)
    return complex(values[np.argmin(np.abs(values.real - known.real) + np.abs(np.abs(values.imag) - abs(known.imag)))])


def _radius(kind: str, own: float, coupling: float, speeds: Sequence[float], name: str) -> Callable[[float], float]:
    return lambda tau: abs(_leading(_matrix(kind, own, coupling, speeds, name, tau)))


def _exact_modulus(kind: str, own: float, coupling: float, speeds: Sequence[float], end: float) -> Iterator[Check]:
    """Compare the modulus of alternating steps with 1/(1 + l tau), which it is up to `end` and not beyond."""
    radius = _radius(kind, own, coupling, speeds, "alternating")
    seen = [radius(share * end) * (1.0 + share * own * end) for share in (0.3, 0.99, 1.01)]
    yield equal("(1 + l tau) times the factor of alternating steps", seen[:2], 1.0, tolerance=1e-12, error=2e-14, where=kind)
    yield at_least("the same, 1 % beyond c^2 tau^2 = 4 (1 + l tau)", seen[2], 1.05, error=1e-9, where=kind)


def _bisected(own: float, coupling: float, speeds: Sequence[float]) -> Iterator[Check]:
    """Find the thresholds by bisection."""
    known = problems.get("G24", own=own, coupling=coupling).constants
    for name in EXPLICIT:
        threshold, radius = known[f"largest stable {name} tau"], _radius("vectors", own, coupling, speeds, name)
        below, above = 0.3 * threshold, 2.5 * threshold
        while above - below > 1e-4 * threshold:
            middle = 0.5 * (below + above)
            below, above = (middle, above) if radius(middle) < 1.0 else (below, middle)
        found, error = 0.5 * (above + below) / threshold, 0.5 * (above - below) / threshold
        yield equal(f"largest stable tau of {name} steps, of that of D7", found, 1.0, tolerance=1e-2, error=error)


def _orbits(own: float, coupling: float, threshold: float) -> Iterator[Check | Curve]:
    """Follow two orbits of simultaneous steps, just below and beyond the threshold."""
    game, steps = _game(own, coupling, (1.0, 1.0)), 200
    for share, relation in ((0.97, at_most), (1.03, at_least)):
        sol = solve(game, _pair("vectors", 1.0, 0.5), steps * share * threshold, share * threshold, scheme=named_scheme("jko"))
        size = np.array([np.hypot(_mean(x), _mean(y)) for x, y in sol.states])
        yield relation(f"|z_{steps}| / |z_0| at {share:g} thresholds", size[-1] / size[0], 1.0, error=1e-9)
        if own == 0.5:
            yield Curve(ORBIT, rf"{share:g} $\tau_*$", np.arange(len(size))[::20], size[::20])


def _beyond(name: str) -> Iterator[Check | Curve]:
    """Claim that steps 1 % larger than allowed are stable."""
    threshold = problems.get("G24").constants[f"largest stable {name} tau"]
    found = _radius("vectors", 0.5, 2.0, (1.0, 1.0), name)(1.01 * threshold)
    yield at_most(f"spectral radius 1 % beyond the threshold of {name} steps", found, 1.0, error=1e-12)
    yield Curve(RADIUS, "", [1.01 * threshold], [found], "control")


EXPLICIT_COUPLING = Theorem(
    name="explicit-coupling",
    label="D7",
    title="steps that are implicit in the own variable only are stable for small tau",
    statement=(
        "Simultaneous minimizing movements see the opponent's old state: with own convexity l and coupling c > l they are stable "
        "for tau below 2l/(c^2 - l^2) only, explicit ones below 2l/(c^2 + l^2), alternating ones below 2/(c - l), where they "
        "contract by exactly 1/(1 + l tau) up to c^2 tau^2 = 4(1 + l tau); fully implicit ones always."
    ),
    formula=(
        r"|\mu_{\mathrm{sim}}| = \frac{\sqrt{1 + c^2 \tau^2}}{1 + l \tau}, \quad "
        r"|\mu_{\mathrm{alt}}| = \frac{1}{1 + l \tau}, \quad "
        r"|\mu_{\mathrm{nash}}| = \frac{1}{\sqrt{(1 + l \tau)^2 + c^2 \tau^2}}"
    ),
    hypotheses=(r"J = (l/2) x^2 + c x y - (l/2) y^2, of vectors or of laws, whose means are seen",),
    source="theory, section 5.2, D7, and 9.4 G24",
    problems=("G24",),
    test=_d7,
    quick=[
        {"kind": "vectors", "own": 0.5, "coupling": 2.0, "speeds": [1.0, 1.0]},
        {"kind": "gaussians", "own": 0.3, "coupling": 1.5, "speeds": [0.5, 2.0]},
    ],
    full=every(kind=["vectors", "gaussians", "particles"], own=[0.5, 1.5], coupling=[2.0], speeds=[[1.0, 1.0], [3.0, 0.5]]),
    control=Control(
        violates="tau is below the threshold: it is 1 % beyond",
        test=_beyond,
        trials=every(name=list(EXPLICIT)),
    ),
)

# D8 ----------------------------------------------------------------------------------------------------------------

LATE = Panel(r"$\tau = 0.2$, the flow rotates", "$t$", "radius", "log y")
FIXED = Panel("$T = 1$", r"$\tau$", "error", "log")
FATE = {
    "simultaneous": "grows",
    "explicit simultaneous": "grows",
    "alternating": "cycles",
    "vim implicit": "cycles",
    "vim symmetric": "cycles",
    "implicit": "decays",
    "extragradient": "decays",
    "optimistic": "decays",
    "explicit optimistic": "decays",
}
"""What schemes of a fixed tau do to a rotation as T grows."""
SHOWN = ("simultaneous", "alternating", "implicit")


def _d8(name: str, speeds: Sequence[float], laws: bool = False, steps: int = 150) -> Iterator[Check | Curve]:
    """Compare a scheme at T = 1 for falling tau with the flow, and at tau = 0.2 for growing T with its multiplier."""
    problem, scheme = problems.get("G1", omega=1.3, speeds=tuple(speeds), laws=laws), named_scheme(name)
    taus = 0.1 / 2.0 ** np.arange(4)
    errors = [problem.error(problem.solve(float(tau), name)) for tau in taus]
    found = order(taus, errors)
    where = f"{name}, speeds {tuple(speeds)}" + (", laws" if laws else "")
    allowed = {1: 0.05, 2: 0.1}[scheme.order]
    yield equal("order at T = 1", found.value, float(scheme.order), tolerance=allowed, error=found.error, where=where)
    tau = 0.2
    sol = problem.solve(tau, name, t=steps * tau)
    radius = np.array([problem.invariants["radius"](states) for states in sol.states])
    span = 0.5 * steps * tau
    rate = np.log(radius[-1] / radius[steps // 2]) / span
    growth = np.log(abs(problem.factors[name](tau))) / tau
    # alternating steps move on an ellipse, and the second root of two-step schemes dies out
    off = {"alternating": 2.0 * tau, "vim symmetric": tau**2}.get(name, 1e-3 if "optimistic" in name else 1e-9) / span
    yield equal("growth rate at tau = 0.2", rate, growth, tolerance=off, error=1e-12, where=where)
    ratio = radius[-1] / radius[0]
    if FATE[name] == "cycles":
        yield equal("log of the radius at the end / first", np.log(ratio), 0.0, tolerance=0.4, error=1e-9, where=where)
    else:
        bound, relation = (3.0, at_least) if FATE[name] == "grows" else (1.0 / 3.0, at_most)
        yield relation("radius at the end / first", ratio, bound, error=1e-9, where=where)
    if name in SHOWN and tuple(speeds) == (1.0, 1.0):
        yield Curve(FIXED, name, taus, errors)
        yield Curve(LATE, name, sol.t[::10], radius[::10])
        yield Curve(LATE, "", sol.t[::10], radius[0] * np.exp(growth * sol.t[::10]), "predicted")


def _uniform(name: str) -> Iterator[Check | Curve]:
    """Claim that the error at T = 1 bounds that at all times."""
    problem = problems.get("G1", omega=1.3)
    sol = problem.solve(0.2, name, t=40.0)
    errors = np.array([problem.error(sol, row) for row in range(len(sol))])
    yield at_most("largest error up to T = 40 / largest up to T = 1", errors.max() / errors[:6].max(), 1.0, tolerance=1.0)
    if name == "implicit":
        yield Curve(LATE, "error of implicit steps", sol.t[1::10], errors[1::10], "control")


LIMITS = Theorem(
    name="limits",
    label="D8",
    title="small steps and long times do not commute",
    statement=(
        "At a fixed time every scheme converges to the flow as tau -> 0. At a fixed tau, as time grows, simultaneous steps of a "
        "game that rotates diverge, alternating and midpoint steps cycle, implicit, extragradient and optimistic ones converge: "
        "none of it says what the flow does, which rotates."
    ),
    formula=r"\lim_{T \to \infty} \lim_{\tau \to 0} z^{\tau}(T) \neq \lim_{\tau \to 0} \lim_{T \to \infty} z^{\tau}(T)",
    hypotheses=(
        "the coupling is Lipschitz (D4), so that the first limit exists",
        "T is fixed while tau -> 0, or tau while T grows",
    ),
    source="theory, section 5.2, D8, and section 6",
    problems=("G1",),
    test=_d8,
    quick=[
        *every(name=list(SHOWN), speeds=[[1.0, 1.0]]),
        *every(name=["extragradient", "optimistic"], speeds=[[0.5, 1.6]]),
        {"name": "vim symmetric", "speeds": [2.0, 0.7], "laws": True, "steps": 80},
    ],
    full=[
        *every(name=list(FATE), speeds=[[1.0, 1.0], [0.5, 1.6]], steps=[300]),
        *every(name=list(SHOWN), speeds=[[2.0, 0.7]], laws=[True]),
    ],
    control=Control(
        violates="T is fixed: the error at T = 1 is claimed to bound that at all times, up to a factor 2",
        test=_uniform,
        trials=every(name=["simultaneous", "implicit", "extragradient"]),
    ),
)

ENTRIES = (EXPLICIT_COUPLING, LIMITS)
