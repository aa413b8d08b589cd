"""How two orbits of a dual flow move relative to each other (theory, D1, D2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from measureflow import problems
from measureflow.games import LinearQuadratic, QuadraticGame
from measureflow.solve import solve
from measureflow.states import Gaussian, Particles, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._dual import KINDS, Pair, moved_apart, random_case, weighted
from measureflow.theorems.check import Check, at_most, equal
from measureflow.theorems.curves import Curve, Panel

SCHEMES = ("rk4", "vim symmetric", "bdf2 optimistic", "adjoint", "explicit optimistic", "alternating", "vim optimistic", "rk2")
"""The limit of tau -> 0 does not depend on the scheme: trials take them in turn."""
IMPLICIT = ("vim symmetric", "bdf2 optimistic", "adjoint", "alternating", "vim optimistic")
"""Those for quantiles with an entropy, which is stiff."""

SECOND = {"vectors": "vim implicit", "gaussians": "adjoint", "particles": "vim symmetric"}
"""A scheme of order 2 for each kind of states."""
QUICK = (("vectors", [1.0, 1.0]), ("gaussians", [0.5, 2.0]))


def _turn(kind: str, seed: int) -> str:
    """Return the scheme of a trial: precise ones for particles, whose optimal plans may change on the way."""
    choice = {"particles": ("rk4", "adjoint"), "quantiles": IMPLICIT}.get(kind, SCHEMES)
    return choice[(seed + KINDS.index(kind)) % len(choice)]


# D1 ----------------------------------------------------------------------------------------------------------------

ATTAINED = Panel("equality for cooperation (G22)", "$t$", "distances", "log y")
BOUNDED = Panel("random games", "$t$", r"distance / bound")


def gronwall(kind: str, seed: int, speeds: Sequence[float], steps: int = 3) -> Iterator[Check | Curve]:
    """Compare distances of two orbits of a random game with exp(tM) of the first ones."""
    from scipy.linalg import expm

    case = random_case(kind, seed, zero_sum=False, own=(-0.5, 2.0))
    times = np.linspace(0.0, 1.0, 3)
    scheme = _turn(kind, seed)
    found, error = moved_apart(case.game, case.starts, times, scheme, speeds, steps)
    bound = np.array([expm(t * case.growth(speeds)) @ found[0] for t in times])
    where = [f"{kind}, {scheme}, player {i}, t = {t:g}" for t in times[1:] for i in (0, 1)]
    yield at_most("distance of two orbits", found[1:], bound[1:], tolerance=1e-9, error=error[1:], where=where)
    if seed == 0:
        yield Curve(BOUNDED, kind, times, (found / bound).max(axis=1))


def cooperation(kind: str, speeds: Sequence[float], claimed: float = 1.0, control: bool = False) -> Iterator[Check | Curve]:
    """Compare distances of cooperating players of one kind with exp(tM); `claimed` multiplies L."""
    from scipy.linalg import expm

    problem = problems.get("G22")
    assert isinstance(problem.problem, QuadraticGame)
    (l1, l2), (up, down) = (1.0, 0.5), (0.7, 1.2)
    times = np.linspace(0.0, 2.0, 3)
    starts = _translates(kind, [1.0, 0.4])
    found, error = moved_apart(problem.problem, starts, times, SECOND[kind], speeds, 4)
    matrix = np.asarray(speeds)[:, None] * np.array([[-l1, claimed * up], [claimed * down, -l2]])
    bound = np.array([expm(t * matrix) @ found[0] for t in times])
    where = [f"{kind}, player {i}, t = {t:g}" for t in times[1:] for i in (0, 1)]
    name = "distance / exp(tM) of the first" + (" with L 1 % too small" if claimed < 1.0 else "")
    ratio, error = found[1:] / bound[1:], error[1:] / bound[1:]
    if claimed < 1.0:
        yield at_most(name, ratio, 1.0, tolerance=1e-9, error=error, where=where)
    else:
        yield equal(name, ratio, 1.0, tolerance=1e-4, error=error, where=where)
    if kind == "vectors" and not control:
        fine = np.linspace(0.0, 2.0, 21)
        curves = np.array([expm(t * matrix) @ found[0] for t in fine])
        for player, symbol in enumerate("ab"):
            yield Curve(ATTAINED, f"${symbol}(t)$, speeds {tuple(speeds)}", times, found[:, player])
            yield Curve(ATTAINED, rf"$\exp(tM)$, {symbol}", fine, curves[:, player], "predicted")
        if tuple(speeds) == (1.0, 1.0):
            exact = np.array([[float(x.values[0]) for x in problem.exact(t)] for t in times])  # type: ignore[misc]
            yield equal("distance and the exact flow", found, exact, tolerance=1e-4, error=error.max(), where=kind)
    if kind == "vectors" and control:
        yield Curve(BOUNDED, "cooperation, $L$ 1 % too small", times[1:], ratio.max(axis=1), "control")


def _translates(kind: str, shift: Sequence[float]) -> tuple[Pair, Pair]:
    """Return two pairs of states on the line that differ by a shift."""

    def pair(a: float, b: float) -> Pair:
        if kind == "vectors":
            return Vector(a), Vector(b)
        if kind == "gaussians":
            return Gaussian(a, 0.5), Gaussian(b, 1.3)
        return Particles([[a - 0.5], [a + 0.3], [a + 1.0]]), Particles([[b], [b + 0.7]], [0.3, 0.7])

    return pair(0.2, -0.3), pair(0.2 + shift[0], -0.3 + shift[1])


def _d1(kind: str = "", speeds: Sequence[float] = (1.0, 1.0), seed: int = -1, steps: int = 3) -> Iterator[Check | Curve]:
    yield from cooperation(kind, speeds) if seed < 0 else gronwall(kind, seed, speeds, steps)


GRONWALL = Theorem(
    name="dual-gronwall",
    label="D1",
    title="two orbits of a dual flow keep below exp(tM)",
    statement=(
        "The distances a and b of two orbits, player by player, are at most exp(tM) times the first ones, entry by entry: with "
        "own convexities on the diagonal of M and mixed Lipschitz constants off it. So dual flows are unique. Cooperating "
        "players with quadratic energies attain it, with any speeds."
    ),
    formula=(
        r"(a, b)(t) \leq e^{tM} (a, b)(0), \quad M_{ii} = -\eta_i \lambda_i, \quad "
        r"M_{12} = \eta_1 L_1, \quad M_{21} = \eta_2 L_2"
    ),
    hypotheses=(
        "both orbits are dual EVI flows with constants lambda_i, of any sign",
        "mixed differences of E_i are at most L_i d_1 d_2",
    ),
    source="theory, section 3.3, D1",
    problems=("G22",),
    test=_d1,
    quick=[
        *({"kind": kind, "speeds": pair} for kind, pair in QUICK),
        *every(kind=KINDS, seed=[0], speeds=[[0.7, 1.6]]),
    ],
    full=[
        *every(kind=["vectors", "gaussians", "particles"], speeds=[[1.0, 1.0], [0.5, 2.0], [3.0, 0.2]]),
        *every(kind=KINDS, seed=range(4), speeds=[[0.7, 1.6]], steps=[6]),
    ],
    control=Control(
        violates="the mixed Lipschitz constant: L is taken 1 % too small, where the bound is attained",
        test=cooperation,
        trials=every(kind=["vectors", "gaussians"], speeds=[[0.5, 2.0]], claimed=[0.99], control=[True]),
    ),
)

# D2 ----------------------------------------------------------------------------------------------------------------

CONTRACTED = Panel("zero-sum games, speeds (0.5, 2)", "$t$", r"$D(t) / D(0)$", "log y")


def _d2(kind: str, speeds: Sequence[float], seed: int = -1, steps: int = 3) -> Iterator[Check | Curve]:
    """Compare D(t) of two orbits with exp(-lambda t) D(0); without a seed in games that attain it."""
    yield from attained(kind, speeds) if seed < 0 else contraction(kind, seed, speeds, steps)


def contraction(kind: str, seed: int, speeds: Sequence[float], steps: int) -> Iterator[Check | Curve]:
    """Compare the product distance of two orbits of a random zero-sum game with its bound."""
    case = random_case(kind, seed, zero_sum=True, own=(0.8, 3.0), coupling=2.0 if kind == "gaussians" else 0.8)
    times = np.linspace(0.0, 1.0, 3)
    scheme = _turn(kind, seed)
    found, error = moved_apart(case.game, case.starts, times, scheme, speeds, steps)
    rate = float(np.min(np.asarray(speeds) * case.convexity))
    far, bound = weighted(found, speeds), np.exp(-rate * times) * weighted(found, speeds)[0]
    where = [f"{kind}, {scheme}, t = {t:g}" for t in times[1:]]
    yield at_most("D(t) of two orbits", far[1:], bound[1:], tolerance=1e-9, error=weighted(error, speeds)[1:], where=where)
    if seed == 0:
        yield Curve(CONTRACTED, kind, times, far / far[0])


def attained(kind: str, speeds: Sequence[float], cooperative: bool = False, claimed: float = 1.0) -> Iterator[Check | Curve]:
    """Compare D(t) with its bound where eta_1 lambda_1 = eta_2 lambda_2, whatever the coupling; `claimed` multiplies the rate."""
    rate, c, (first, second) = 0.6, 1.5, speeds
    game = QuadraticGame(rate / first, c, rate / second, c if cooperative else -c)
    times = np.linspace(0.0, 1.5, 3)
    found, error = moved_apart(game, _translates(kind, [1.0, -0.4]), times, SECOND[kind], speeds, 3)
    far = weighted(found, speeds)
    ratio = far / far[0] * np.exp(claimed * rate * times)
    error = weighted(error, speeds) / far[0] * np.exp(claimed * rate * times)
    where = [f"{kind}, t = {t:g}" for t in times[1:]]
    if cooperative or claimed > 1.0:
        name = "D(t) exp(lambda t) / D(0)" + (", cooperative" if cooperative else ", rate 1 % too high")
        yield at_most(name, ratio[1:], 1.0, tolerance=1e-9, error=error[1:], where=where)
        if kind == "vectors" and cooperative:
            yield Curve(CONTRACTED, "cooperative", times, far / far[0], "control")
        return
    yield equal("D(t) exp(lambda t) / D(0), attained", ratio[1:], 1.0, tolerance=2e-3, error=error[1:], where=where)
    if kind == "gaussians" and tuple(speeds) == (0.5, 2.0):
        yield Curve(CONTRACTED, r"equal $\eta_i \lambda_i$", times, far / far[0])
        yield Curve(CONTRACTED, r"$e^{-\lambda t}$, attained", times, np.exp(-rate * times), "predicted")
        yield from _asymptotic(speeds)


def _asymptotic(speeds: Sequence[float]) -> Iterator[Check]:
    """Compare the damping of linear games with the eigenvalues of the remark, beyond and below |l1 - l2|/2."""
    l1, l2, root = 2.0, 0.5, float(np.sqrt(speeds[0] * speeds[1]))
    game = [LinearQuadratic(l1 / speeds[0], c / root, l2 / speeds[1]) for c in (0.4, 3.0)]
    nash = Vector(0.0), Vector(0.0)
    damping = [solve(g, nash, 0.1, 0.1, speeds=speeds).linearisation().damping for g in game]
    slow = 0.5 * (l1 + l2) - np.sqrt(0.25 * (l1 - l2) ** 2 - 0.4**2)
    where = ["c < |l1 - l2|/2", "c > |l1 - l2|/2"]
    yield equal("asymptotic rate of a linear game", damping, [slow, 0.5 * (l1 + l2)], tolerance=1e-7, error=1e-9, where=where)


CONTRACTION = Theorem(
    name="zero-sum-contraction",
    label="D2",
    title="in zero-sum games the coupling drops out of the contraction",
    statement=(
        "Two orbits of a zero-sum dual flow come together at the rate of the weaker own convexity, whatever the coupling, in "
        "the product metric weighted by the inverse speeds. Where both rates are equal the bound is attained; in the long run "
        "a linear game may be faster."
    ),
    formula=(
        r"D(t) \leq e^{-\lambda t} D(0), \quad \lambda = \min_i \, \eta_i \lambda_i, \quad "
        r"D^2 = \frac{d_1^2}{\eta_1} + \frac{d_2^2}{\eta_2}"
    ),
    hypotheses=("the game is zero-sum", "both players' frozen energies have EVI flows with constants lambda_i"),
    source="theory, section 3.4, D2; Conger et al., arXiv 2411.07403",
    problems=("G11",),
    test=_d2,
    quick=[
        *({"kind": kind, "speeds": pair} for kind, pair in QUICK),
        *every(kind=KINDS, seed=[0], speeds=[[0.5, 2.0]]),
    ],
    full=[
        *every(kind=["vectors", "gaussians", "particles"], speeds=[[1.0, 1.0], [0.5, 2.0], [3.0, 0.2]]),
        *every(kind=KINDS, seed=range(4), speeds=[[0.5, 2.0]], steps=[6]),
    ],
    control=Control(
        violates="the game is zero-sum: the players cooperate; then: the rate is claimed 1 % too high, where it is attained",
        test=attained,
        trials=[
            *every(kind=["vectors", "gaussians"], speeds=[[0.5, 2.0]], cooperative=[True]),
            *every(kind=["vectors", "particles"], speeds=[[0.5, 2.0]], claimed=[1.01]),
        ],
    ),
)

ENTRIES = (GRONWALL, CONTRACTION)
