"""Collapsed generators: a rotating wave, hopping between two modes, the spreading of a law (theory, section 8, M1, M2, M4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.games import GAN, Ridge
from measureflow.problems.base import Problem
from measureflow.problems.games import critic_size, generator_speed, ring_critic
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Particles, Vector
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.catalogue._bilinear import near
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]


def _angles(sol: Solution) -> np.ndarray:
    """Return the coordinate of a one-atom generator at every row."""
    return np.array([float(row[0].points[0, 0]) for row in sol.states])


# one atom on the ring --------------------------------------------------------------------------------------------------


def _frozen(beta: float, angle: float) -> tuple[Particles, Vector]:
    """Return the atom at an angle with the critic that it sees at rest."""
    return Particles([[angle]]), Vector([np.cos(angle) / beta, np.sin(angle) / beta])


def _wave(eta: float, damping: float, modes: int, tau: float) -> Found:
    """Follow the wave, or the frozen generator, from itself; `damping` is beta sqrt(eta)."""
    beta = damping / np.sqrt(eta)
    problem = problems.get("G15", eta=eta, beta=beta, modes=modes)
    t, place = 60.0 * tau, f"eta = {eta:g}, beta sqrt(eta) = {damping:g}, {modes} modes"
    sol = problem.solve(tau, "rk4", t=t)
    theta, c = _angles(sol), problem.constants
    slack = {"tolerance": 1e-6, "error": 1e-8, "where": place}
    yield equal("speed of the generator", theta[-1] / t, c["speed"], **slack)
    yield equal("slope that it sees", generator_speed(sol.states[-1]), c["speed"], **slack)
    yield equal("size of the critic", [critic_size(row) for row in sol.states], c["critic"], **slack)


def _threshold(eta: float, angle: float) -> Found:
    """Look at the frozen state 1 % on both sides of beta sqrt(eta) = 1, beyond which it is stable."""
    for damping in (0.99, 1.01):
        beta = damping / np.sqrt(eta)
        problem = problems.get("G15", eta=eta, beta=beta)
        real = np.sort(near(problem, _frozen(beta, angle)).eigenvalues.real)[::-1]
        rate, place = 1.0 / beta - eta * beta, f"eta = {eta:g}, beta sqrt(eta) = {damping:g}"
        yield equal("rate of the frozen state", real[0 if damping < 1.0 else 1], rate, tolerance=1e-8, error=1e-10, where=place)
        if damping < 1.0:
            yield at_least("largest rate below the threshold", real[0], 0.005, error=1e-9, where=place)
        else:
            yield at_most("rates above the threshold but for turning", real[1:], -0.005, error=1e-9, where=place)
            yield equal("rate of turning as a whole", real[0], 0.0, tolerance=1e-8, error=1e-10, where=place)


def _attracted(eta: float, damping: float, t: float, tau: float, tolerance: float) -> Found:
    """Start elsewhere: the wave, or a frozen state, is reached."""
    problem = problems.get("G15", eta=eta, beta=damping / np.sqrt(eta))
    start = (Particles([[0.2]]), Vector([0.5, -0.9]))
    sol = solve(problem.problem, start, t, tau, scheme="rk4", speeds=problem.speeds)
    place, c = f"eta = {eta:g}, beta sqrt(eta) = {damping:g}, t = {t:g}", problem.constants
    known = {"tolerance": tolerance, "error": 0.05 * tolerance, "where": place}
    yield equal("speed reached", abs(generator_speed(sol.states[-1])), c["speed"], **known)
    yield equal("size of the critic reached", critic_size(sol.states[-1]), c["critic"], **known)
    panel = Panel("speed of the generator", r"$t$", r"$|\dot\theta|$")
    label = rf"$\beta \sqrt{{\eta}} = {damping:g}$"
    yield Curve(panel, label, sol.t, [abs(generator_speed(row)) for row in sol.states])
    yield Curve(panel, "", [0.0, t], [c["speed"]] * 2, role="predicted")


def _wave_order(scheme: str, eta: float, beta: float, counts: Sequence[int]) -> Found:
    """Schemes of first order follow the wave to first order."""
    problem = problems.get("G15", eta=eta, beta=beta)
    rate = order([1.0 / n for n in counts], [problem.error(problem.solve(1.0 / n, scheme, t=1.0)) for n in counts])
    yield equal("order of the error", rate.value, 1.0, tolerance=0.1, error=rate.error, where=f"{scheme}, eta = {eta:g}")


_RING: Mapping[str, Callable[..., Found]] = {
    "wave": _wave,
    "threshold": _threshold,
    "attracted": _attracted,
    "order": _wave_order,
}


def _ring(case: str, **trial: Any) -> Found:
    yield from _RING[case](**trial)


def _ring_control(case: str) -> Found:
    """Claim the wave 1 % beyond the threshold, rest 1 % before it, or the wave for a target that is not uniform to the critic."""
    damping = 1.01 if case == "beyond" else 0.99 if case == "before" else 0.5
    problem = problems.get("G15", eta=2.0, beta=damping / np.sqrt(2.0))
    if case == "before":
        real = near(problem, _frozen(damping / np.sqrt(2.0), 0.3)).eigenvalues.real
        yield at_most("rates of the frozen state", real.max(), 0.0, tolerance=1e-8, error=1e-9, where=case)
        return
    game = (
        problem.problem if case == "beyond" else GAN(Particles([[0.5]]), critic=ring_critic(), penalty=Ridge(0.5 / np.sqrt(2.0)))
    )
    start = _frozen(damping / np.sqrt(2.0), 0.0) if case == "beyond" else problem.initial
    sol = solve(game, start, 9.0, 0.1, scheme="rk4", speeds=problem.speeds)
    known = float(np.sqrt(2.0 * abs(1.0 - damping**2)))
    yield equal("speed of the generator", abs(generator_speed(sol.states[-1])), known, tolerance=1e-2, error=1e-4, where=case)
    yield Curve(Panel("no wave", r"$t$", r"$\theta$"), case, sol.t, _angles(sol), role="control")


def _ring_quick() -> list[Trial]:
    waves = every(case=["wave"], eta=[2.0], damping=[0.5, 1.4], modes=[2], tau=[0.04])
    edge = {"case": "wave", "eta": 1.0, "damping": 0.99, "modes": 3, "tau": 0.05}
    limits = every(case=["threshold"], eta=[1.0, 3.0], angle=[0.4])
    rates = {"case": "order", "scheme": "alternating", "eta": 2.0, "beta": 0.4, "counts": [16, 32, 64]}
    far = every(case=["attracted"], eta=[1.0], damping=[0.6, 1.4], t=[20.0], tau=[0.2], tolerance=[2e-3])
    return [*waves, edge, *limits, rates, *far]


def _ring_full() -> list[Trial]:
    waves = [
        {"case": "wave", "eta": eta, "damping": float(beta * np.sqrt(eta)), "modes": modes, "tau": 0.02}
        for eta, beta, modes in ((1.0, 0.6, 2), (2.0, 0.5, 5), (1.0, 1.4, 4), (6.0, 0.5, 2), (0.3, 1.0, 3))
    ]
    limits = every(case=["threshold"], eta=[0.2, 2.0, 8.0], angle=[-2.0, 1.0])
    rates = every(case=["order"], scheme=["simultaneous", "alternating", "explicit simultaneous"], eta=[0.5, 2.0], beta=[0.4])
    rates = [{**trial, "counts": [40, 80, 160]} for trial in rates]
    far = every(case=["attracted"], eta=[1.0], damping=[0.6, 1.4], t=[50.0], tau=[0.05], tolerance=[1e-5])
    return [*_ring_quick(), *waves, *limits, *rates, *far]


WAVE = Theorem(
    name="rotating-wave",
    label="M1",
    title="a one-atom generator on the ring runs for ever, or freezes",
    statement=(
        "A generator of one atom against D(x) = c_1 cos x + c_2 sin x with critic speed eta and ridge beta, equidistant "
        "modes: if beta sqrt(eta) < 1 it is caught by a rotating wave of speed sqrt(eta (1 - beta^2 eta)) and critic size "
        "sqrt(eta), and visits all modes for ever; if beta sqrt(eta) > 1 it freezes at any angle with critic size 1/beta. "
        "The frozen state has the rate 1/beta - eta beta, which changes its sign at the threshold."
    ),
    formula=r"\dot\theta = \pm \sqrt{\eta (1 - \beta^2 \eta)} \quad \mathrm{if} \quad \beta \sqrt{\eta} < 1",
    hypotheses=("two or more equidistant modes, whose features vanish", "one atom", "the flow, the limit tau -> 0"),
    source="theory, section 8 M1 and 9.4 G15",
    problems=("G15",),
    test=_ring,
    quick=_ring_quick(),
    full=_ring_full(),
    control=Control(
        "beta sqrt(eta) 1 % on the other side of the threshold; a single mode, whose features do not vanish",
        _ring_control,
        every(case=["beyond", "before", "one mode"]),
    ),
)


# two modes -------------------------------------------------------------------------------------------------------------


def _fixed_point(beta: float, side: float) -> tuple[Particles, Vector]:
    """Return the point theta^2 = 1/2 with w = (theta, theta^2 - 1) / beta."""
    theta = side * np.sqrt(problems.get("G17").constants["theta^2 of the fixed points"])
    return Particles([[theta]]), Vector([theta / beta, (theta**2 - 1.0) / beta])


def _hopf(eta: float, side: float) -> Found:
    """Look at the fixed points for beta^2 eta 1 % below and above 1."""
    for product in (0.99, 1.01):
        beta = float(np.sqrt(product / eta))
        found = near(problems.get("G17", eta=eta, beta=beta), _fixed_point(beta, side))
        place = f"eta = {eta:g}, beta^2 eta = {product:g}"
        yield equal("speed at the fixed point", found.residual, 0.0, tolerance=1e-12, error=1e-15, where=place)
        yield at_least("frequency of the least damped pair", found.frequency, 0.5, error=1e-9, where=place)
        if product < 1.0:
            yield at_most("damping below the threshold", found.damping, -1e-3, error=1e-9, where=place)
        else:
            yield at_least("damping above the threshold", found.damping, 1e-3, error=1e-9, where=place)


def _hops(eta: float, beta: float, t: float, tau: float, least: int) -> Found:
    """Follow the generator: it hops for ever below the threshold, with the moments of the target on average if beta = 0."""
    problem = problems.get("G17", eta=eta, beta=beta)
    sol = problem.solve(tau, "rk4", t=t)
    theta, place = _angles(sol), f"eta = {eta:g}, beta = {beta:g}, t = {t:g}"
    late = theta[sol.t >= 0.5 * t]
    hops = np.count_nonzero(np.diff(np.sign(late)))
    if eta < problem.constants["largest eta without stable points"]:
        yield at_least("changes of sign in the second half", hops, least, error=0.5, where=place)
    else:
        yield at_most("changes of sign in the second half", hops, 0, tolerance=0.5, where=place)
        known = problem.constants["theta^2 of the fixed points"]
        yield equal("theta^2 at the end", late[-1] ** 2, known, tolerance=1e-2, error=1e-3, where=place)
    panel = Panel("the generator", r"$t$", r"$\theta$")
    yield Curve(panel, rf"$\beta^2 \eta = {beta**2 * eta:g}$", sol.t, theta)
    if beta == 0.0:
        yield from _moments(problem, sol, eta, place)


def _moments(problem: Problem, sol: Solution, eta: float, place: str) -> Found:
    """Compare averages over time with (w_T - w_0) / (eta T), and with the moments of the target."""
    averages = sol.averages({"square": lambda states: float(states[0].points[0, 0] ** 2)}).running
    means = np.array([averages["player0_mean"][-1, 0], averages["square"][-1]])
    weights = np.array([row[1].values for row in sol.states])
    c = problem.constants
    targets = np.array([c["average of theta"], c["average of theta^2"]])
    shifts = (weights[-1] - weights[0]) / (eta * sol.t[-1])
    slack = {"error": 1e-5, "where": place}
    yield equal("average moments less the shift of the critic", means - shifts, targets, tolerance=3e-3, **slack)
    bound = 2.0 * np.abs(weights).max() / (eta * sol.t[-1])
    yield at_most("distance of the average moments from the target's", np.abs(means - targets), bound, tolerance=3e-3, **slack)
    panel = Panel(r"averages over time, $\beta = 0$", r"$t$", "moments")
    yield Curve(panel, r"mean of $\theta$", sol.t[1:], averages["player0_mean"][1:, 0])
    yield Curve(panel, r"mean of $\theta^2$", sol.t[1:], averages["square"][1:])
    for target in targets:
        yield Curve(panel, "", [0.0, sol.t[-1]], [target, target], role="predicted")


def _hopping_error(scheme: str, eta: float, beta: float, counts: Sequence[int]) -> Found:
    """Schemes of first order follow the exact flow to first order."""
    problem = problems.get("G17", eta=eta, beta=beta)
    rate = order([1.0 / n for n in counts], [problem.error(problem.solve(1.0 / n, scheme, t=1.0)) for n in counts])
    yield equal("order of the error", rate.value, 1.0, tolerance=0.1, error=rate.error, where=f"{scheme}, eta = {eta:g}")


_TWO_MODES: Mapping[str, Callable[..., Found]] = {"hopf": _hopf, "hops": _hops, "order": _hopping_error}


def _two_modes(case: str, **trial: Any) -> Found:
    yield from _TWO_MODES[case](**trial)


def _two_modes_control(product: float) -> Found:
    """Claim stability 1 % below the threshold, or hopping above it."""
    beta = float(np.sqrt(product))
    problem = problems.get("G17", eta=1.0, beta=beta, start=(0.75, 0.75 / beta, -0.45 / beta))
    damping = near(problem, _fixed_point(beta, 1.0)).damping
    if product < 1.0:
        yield at_least("damping of the fixed point", damping, 0.0, error=1e-9, where=f"beta^2 eta = {product:g}")
    else:
        sol = problem.solve(0.2, "rk4", t=20.0)
        hops = np.count_nonzero(np.diff(np.sign(_angles(sol))))
        yield at_least("changes of sign", hops, 1.0, error=0.5, where=f"beta^2 eta = {product:g}")
        yield Curve(
            Panel("no hopping", r"$t$", r"$\theta$"), rf"$\beta^2 \eta = {product:g}$", sol.t, _angles(sol), role="control"
        )


def _two_modes_quick() -> list[Trial]:
    hops = {"case": "hops", "eta": 1.0, "beta": 0.0, "t": 30.0, "tau": 0.15, "least": 3}
    stay = {"case": "hops", "eta": 1.0, "beta": 1.5, "t": 20.0, "tau": 0.2, "least": 0}
    rates = {"case": "order", "scheme": "alternating", "eta": 1.5, "beta": 0.3, "counts": [16, 32, 64]}
    return [*every(case=["hopf"], eta=[1.0, 2.0], side=[1.0]), hops, stay, rates]


def _two_modes_full() -> list[Trial]:
    hops = [
        {"case": "hops", "eta": eta, "beta": beta, "t": t, "tau": 0.1, "least": least}
        for eta, beta, t, least in ((1.0, 0.0, 200.0, 20), (2.0, 0.3, 60.0, 6), (1.0, 0.8, 60.0, 3))
    ]
    rates = every(case=["order"], scheme=["simultaneous", "explicit alternating"], eta=[0.7], beta=[0.0, 1.0])
    rates = [{**trial, "counts": [40, 80, 160]} for trial in rates]
    return [*_two_modes_quick(), *every(case=["hopf"], eta=[0.3, 1.0, 5.0], side=[1.0, -1.0]), *hops, *rates]


HOPPING = Theorem(
    name="two-mode-hopping",
    label="M4",
    title="a one-atom generator hops between two modes unless the critic's ridge is strong",
    statement=(
        "Modes at -1 and 1, one atom theta, critic w_1 x + w_2 (x^2 - 1) of speed eta with ridge beta: the points theta^2 ="
        " 1/2 are stable if and only if beta^2 eta > 1, by a Hopf bifurcation; below the generator hops between the modes "
        "for ever. Without a ridge its averages over time are those of the target up to (w_T - w_0) / (eta T)."
    ),
    formula=r"\theta^2 = \frac{1}{2} \quad \mathrm{stable\ iff} \quad \beta^2 \eta > 1",
    hypotheses=("one atom", "critic of the first two moments", "the flow, the limit tau -> 0"),
    source="theory, section 8 M4, 9.4 G17 and D10",
    problems=("G17",),
    test=_two_modes,
    quick=_two_modes_quick(),
    full=_two_modes_full(),
    control=Control("beta^2 eta on the other side of 1", _two_modes_control, every(product=[0.99, 2.0])),
)

ENTRIES = (WAVE, HOPPING)
