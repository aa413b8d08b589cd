"""What mitigations of mode collapse do, by measurement: every line of the table of theory.md, section 8."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow import problems
from measureflow.games import GAN, Clip, FeatureCritic
from measureflow.modes.phase import phase_diagram
from measureflow.modes.phase_models import eigenvalues, fast_critic, rotating_wave, spreading
from measureflow.modes.side_by_side import side_by_side
from measureflow.problems.base import Problem
from measureflow.problems.fisher_rao import natural_parameters
from measureflow.problems.modes import packed_jensen_shannon, packed_total_variation
from measureflow.solve import solve
from measureflow.states import Particles, Vector

EXACT, CLOSE, DRAWN = 1e-3, 0.02, 0.1
"""What is allowed: for flows; for thresholds by bisection and leading orders; for mini-batches."""


@final
@dataclass(frozen=True)
class Mitigation:
    """One effect of one mitigation.

    Attributes
    ----------
    mitigation, effect : str
    predicted, measured : float
    tolerance : float
        Of `deviation`.
    source : str
        Model of the measurement (label in theory.md).
    bound : bool
        Whether the prediction is an upper bound.
    """

    mitigation: str
    effect: str
    predicted: float
    measured: float
    tolerance: float
    source: str
    bound: bool = False

    @property
    def deviation(self) -> float:
        """Measured less predicted, relative to the prediction where that is not 0."""
        gap = self.measured - self.predicted
        return gap / abs(self.predicted) if self.predicted else gap

    @property
    def holds(self) -> bool:
        """Whether the measurement agrees."""
        return (self.deviation if self.bound else abs(self.deviation)) <= self.tolerance


Rows = Iterator[Mitigation]


def _pair(name: str, effect: str, found: tuple[float, float], known: tuple[float, float], source: str) -> Rows:
    """Yield damping and frequency near an equilibrium."""
    for word, measured, predicted in zip(("damping", "frequency"), found, known, strict=True):
        yield Mitigation(name, f"{word}{effect}", predicted, measured, EXACT, source)


def _spectrum(problem: Problem, number: Callable[[Any], float], t: float, tau: float) -> tuple[float, float]:
    """Return damping and frequency of a number along a flow near equilibrium."""
    sol = problem.solve(tau, "rk4", t=t)
    damping, frequency, _ = eigenvalues(np.array([[number(row)] for row in sol.states]), tau)
    return float(damping[0]), float(frequency[0])


def _threshold(model: str, x: float, around: float, **settings: Any) -> tuple[float, float]:
    """Return the measured and the predicted threshold at one parameter, looked for between 0.6 and 1.6 times `around`."""
    edge = phase_diagram(model, [x], around * np.array([0.6, 1.6]), **settings).threshold()
    assert edge.predicted is not None
    return float(edge.measured[0]), float(edge.predicted[0])


def _ridge() -> Rows:
    eta, beta = 2.0, 0.6
    name, half = "critic ridge, R1", 0.5 * eta * beta
    law = problems.get("M2", eta=eta, beta=beta, start=(1e-3, 0.0), n=12)
    known = half, float(np.sqrt(0.5 * eta - half**2))
    yield from _pair(name, ", law on the ring", _spectrum(law, lambda row: _feature(row[0]), 8.0, 0.05), known, "M2")
    weights = problems.get("G13", eta=eta, beta=beta, start=(0.2501, 0.2499, 0.25, 0.25))
    known = half, float(np.sqrt(eta / 4.0 - half**2))
    yield from _pair(
        name, ", weights of 4 modes", _spectrum(weights, lambda row: row[0].masses[0] - 0.25, 8.0, 0.05), known, "M3"
    )
    dirac = problems.get("G5", strength=0.3, start=(1e-3, 0.0))
    known = 0.15, float(np.sqrt(0.25 - 0.15**2))
    yield from _pair(name, ", Dirac-GAN with R1", _spectrum(dirac, lambda row: row[0].values[0], 12.0, 0.05), known, "G5")
    for model, label in (("rotating-wave", "M1"), ("hopping", "M4")):
        measured, predicted = _threshold(model, eta, 1.0 / np.sqrt(eta))
        yield Mitigation(name, "ridge that stops the wave" if label == "M1" else "... hopping", predicted, measured, CLOSE, label)


def _feature(law: Particles) -> float:
    return float(np.cos(law.points).mean())


def _entropy() -> Rows:
    T = 0.2
    torus = problems.get("G14", kind="torus", temperature=T, first=(1e-3, 0.0), second=(0.0, 1e-3), n=32)
    found = _spectrum(torus, lambda row: natural_parameters(row[0])[0], 8.0, 0.1)
    yield from _pair("entropy T of both players", ", torus", found, (T, 0.5), "G14")
    far = problems.get("G14", kind="torus", temperature=T, first=(1.0, 0.0), second=(0.5, 1.0), n=32)
    sol = far.solve(0.1, "rk4", t=4.0)
    sums = [sum(_entropy_above_uniform(law) for law in row) for row in sol.states]
    ratio = float(sums[-1] / sums[0])
    yield Mitigation(
        "entropy T of both players", "KL to the Nash point at t = 4", float(np.exp(-4.0 * T)), ratio, EXACT, "G14", True
    )


def _entropy_above_uniform(law: Any) -> float:
    held = law.masses[law.masses > 0.0]
    return float(np.sum(held * np.log(held * law.masses.size)))


def _noise() -> Rows:
    sigma, eta, name = 0.7, 2.0, "instance noise"
    for k in (1, 2):
        damping, frequency = _noisy_feature(k, sigma, eta)
        known = k * np.sqrt(0.5 * eta) * float(np.exp(-0.5 * (k * sigma) ** 2))
        yield Mitigation(name, f"frequency of feature {k}", known, frequency, EXACT, "M2")
        yield Mitigation(name, f"damping of feature {k}", 0.0, damping, EXACT, "M2")
    speed = float(rotating_wave(np.array([eta]), np.array([0.2]), sigma)["value"][0])
    shrunk = float(np.exp(-(sigma**2)))
    yield Mitigation(name, "speed of the wave", float(np.sqrt(shrunk - 0.04 * eta)), speed, EXACT, "M1")
    measured, predicted = _threshold("instance-noise", sigma, float(np.exp(-0.5 * sigma**2)))
    yield Mitigation(name, "ridge that stops the wave", predicted, measured, CLOSE, "M1")
    for variant, known in (("gan", (sigma**2 / 4.0, float(np.sqrt(0.25 - sigma**4 / 16.0)))), ("wgan", (0.0, 1.0))):
        yield from _pair(name, f", Dirac-{variant.upper()}", _noisy_dirac(variant, sigma), known, "G6")


def _noisy_feature(k: int, sigma: float, eta: float) -> tuple[float, float]:
    """Return damping and frequency of the feature k of a law near the uniform one, without a ridge."""
    critic = FeatureCritic(
        lambda x: np.concatenate([np.cos(k * x), np.sin(k * x)], axis=1),
        lambda x: k * np.stack([-np.sin(k * x), np.cos(k * x)], axis=1),
    )
    angles = 2.0 * np.pi * (np.arange(12) + 0.5) / 12.0
    game = side_by_side(GAN(Particles(angles[:, None]), critic=critic), [[1.0, eta]], 0.0, sigma)
    start = angles - 1e-4 * np.sin(k * angles)
    _, x, _ = game.solve(start[:, None], [[0.0, 0.0]], 8.0, 0.05)
    damping, frequency, _ = eigenvalues(np.cos(k * x).mean(axis=1), 0.05)
    return float(damping[0]), float(frequency[0])


def _noisy_dirac(variant: str, sigma: float) -> tuple[float, float]:
    from measureflow.games import DiracGAN

    sol = solve(DiracGAN(variant, instance_noise=sigma), (Vector(1e-3), Vector(0.0)), 10.0, 0.05, scheme="rk4")
    damping, frequency, _ = eigenvalues(np.array([row[0].values for row in sol.states]), 0.05)
    return float(damping[0]), float(frequency[0])


def _fast_critic() -> Rows:
    name = "faster critic"
    for eta in (4.0, 16.0):
        found = fast_critic(np.array([eta]), np.array([1e-9]))
        rate = float(found["value"][0]) * np.sqrt(eta)
        yield Mitigation(name, f"frequency without ridge, speed {eta:g}", float(np.sqrt(eta)), rate, EXACT, "G9")
    measured, predicted = _threshold("fast-critic", 4.0, 1.0)
    yield Mitigation(name, "eps / beta^2 that stops rotation", 1.0 / (4.0 * predicted**2), 1.0 / (4.0 * measured**2), CLOSE, "G9")


def _unrolling() -> Rows:
    problem = problems.get("G10", unrolled=5, eta=0.1, start=(1.0, 0.5))
    damping, _ = _spectrum(problem, lambda row: row[0].values[0], 6.0, 0.05)
    yield Mitigation("unrolling K steps", "damping K eta, K eta = 0.5", 0.5, damping, EXACT, "G10")
    measured, predicted = _threshold("unrolling", 4.0, 0.25)
    yield Mitigation("unrolling K steps", "K eta that stops rotation", 4.0 * predicted, 4.0 * measured, CLOSE, "G10")


def _couplings() -> Rows:
    tau, problem = 0.05, problems.get("G1")
    signs = {"extragradient": 1.0, "optimistic": 1.0, "implicit": 1.0, "simultaneous": -1.0, "alternating": 0.0}
    for coupling, sign in signs.items():
        rates = [_loss(problem, coupling, step) for step in (tau, 0.5 * tau)]
        yield Mitigation("EG, OGDA, implicit", f"damping, {coupling}", sign * 0.5 * tau, rates[0], CLOSE, "section 6")
        if sign > 0.0:
            yield Mitigation("EG, OGDA, implicit", "... at tau / at tau/2", 2.0, rates[0] / rates[1], CLOSE, "section 6")


def _loss(problem: Problem, coupling: str, tau: float) -> float:
    """Return the damping of a rotation over whole turns: what a scheme adds."""
    from measureflow.schemes import Explicit

    sol = problem.solve(tau, Explicit(coupling), t=8.0 * np.pi)
    size = np.array([float(x.values[0] ** 2 + y.values[0] ** 2) for x, y in sol.states])
    whole = np.flatnonzero(sol.t >= 2.0 * np.pi)[0]
    return float(-0.5 * np.log(size[-1] / size[whole]) / (sol.t[-1] - sol.t[whole]))


def _packing() -> Rows:
    k, j = 4, 2
    for m in (1, 2, 3):
        seen = packed_total_variation(k, j, m), 2.0 * packed_jensen_shannon(k, j, m), m * float(np.log(k / j))
        settings: tuple[tuple[str, str, Any, float], ...] = (
            ("wasserstein", "total variation", Clip(0.5), 64.0),
            ("js", "2 JS", None, 1e6),
            ("kl", "KL", None, 1e6),
        )
        for (loss, word, penalty, t), known in zip(settings, seen, strict=True):
            yield Mitigation("packing", f"{word} in packs of {m}", known, _best_critic(k, j, m, loss, penalty, t), EXACT, "G25")


def _best_critic(k: int, j: int, m: int, loss: str, penalty: Any, t: float) -> float:
    """Return the value that the flow of a critic of packs reaches against a law on j of k modes."""
    packs, lost = (np.array(list(itertools.product(range(count), repeat=m)), float) for count in (k, j))
    places = k ** np.arange(m)
    critic = FeatureCritic(lambda x: np.eye(k**m)[np.rint(x @ places).astype(int)], lambda x: np.zeros((len(x), k**m, m)))
    game = GAN(Particles(packs), loss, critic=critic, penalty=penalty)
    start = Vector(np.zeros(k**m))
    sol = solve(game.energy(1, (Particles(lost), start)), start, t, t / 10.0)
    return -float(sol.energies[-1])


def _batch() -> Rows:
    for n in (2, 4, 16):
        problem = problems.get("N4", n=n, copies=20)
        sol = problem.solve(0.25, "explicit", t=10.0, batch=100, seed=n, save_at=4)
        scale = float(np.mean([row.values for row in sol.states[-4:]]))
        yield Mitigation("mini-batches", f"scale found by batches of {n}", problem.constants["g/target"], scale, CLOSE, "N4")
    measured, predicted = _threshold("batch", 4.0, 0.6)
    yield Mitigation("mini-batches", "scale that batches of 4 keep", predicted, measured, DRAWN, "N4")


def _laws() -> Rows:
    name = "law as generator"
    for eta, beta in ((2.0, 0.3), (0.5, 0.8)):
        rate = float(spreading(np.array([eta]), np.array([beta]), t=12.0)["rate"][0]) * np.sqrt(eta)
        yield Mitigation(name, f"spreading on the wave, eta = {eta:g}", eta * beta, rate, EXACT, "M2")
    rate = float(spreading(np.array([2.0]), np.array([1.5]), t=12.0)["rate"][0]) * np.sqrt(2.0)
    yield Mitigation(name, "spreading at rest", 1.0 / 1.5, rate, EXACT, "M2")
    for reaction, share in ((1.0, 0.2), (0.0, 0.5)):
        measured = _moved_mass(reaction, (-1.5, 1.7))
        yield Mitigation("WFR moves", f"mass at a mode of 0.2, reaction {reaction:g}", share, measured, EXACT, "8 WFR")
    yield Mitigation("WFR moves", "mass at a mode without atoms", 0.0, _moved_mass(1.0, (-2.4, -1.6), 2.0), EXACT, "8 WFR")


def _moved_mass(reaction: float, start: Sequence[float], t: float = 40.0) -> float:
    """Return the mass left of 0, or, if none starts right of it, the mass right of it, at the end of a flow."""
    from measureflow.metrics import Wasserstein, WassersteinFisherRao

    problem = problems.get("8 WFR", start=start, reaction=reaction or 1.0)
    metric = WassersteinFisherRao(1.0, reaction) if reaction else Wasserstein()
    law = solve(problem.problem, problem.initial, t, 0.2, scheme="rk4", metric=metric, save_at=[0.0, t]).states[-1]
    right = min(start) < 0.0 and max(start) < 0.0
    return float(np.sum(law.weights[(law.points[:, 0] > 0.0) == right]))


MITIGATIONS: Mapping[str, Callable[[], Rows]] = MappingProxyType(
    {
        "ridge": _ridge,
        "entropy": _entropy,
        "instance-noise": _noise,
        "fast-critic": _fast_critic,
        "unrolling": _unrolling,
        "couplings": _couplings,
        "packing": _packing,
        "batches": _batch,
        "laws": _laws,
    }
)
"""Measurements by name, one a line of the table."""


def mitigations(names: str | Sequence[str] = ()) -> list[Mitigation]:
    """Measure what mitigations do, against what the theory says.

    Parameters
    ----------
    names : str or sequence of str
        Some of `MITIGATIONS`; none: all of them.

    Raises
    ------
    TypeError, ValueError
        If one is unknown.

    Examples
    --------
    >>> rows = mitigations("entropy")
    >>> print(mitigation_table(rows))
    | mitigation | effect | predicted | measured | deviation | model |
    | --- | --- | --- | --- | --- | --- |
    | entropy T of both players | damping, torus | 0.2 | 0.2 | ... % | G14 |
    | entropy T of both players | frequency, torus | 0.5 | 0.5 | ... % | G14 |
    | entropy T of both players | KL to the Nash point at t = 4 | <= 0.449329 | 0.2353... | -48 % | G14 |
    """
    given = (names,) if isinstance(names, str) else names
    chosen = check.entries("names", given, None, "names of mitigations") if np.size(given) else tuple(MITIGATIONS)
    keys = [check.choice("names", name, tuple(MITIGATIONS)) for name in chosen]
    return [row for key in keys for row in MITIGATIONS[key]()]


def mitigation_table(rows: Sequence[Mitigation]) -> str:
    """Return the table as Markdown; rows that fail end with a mark."""
    lines = ["| mitigation | effect | predicted | measured | deviation | model |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        sign = "<= " if row.bound else ""
        off = f"{100.0 * row.deviation:.2g} %" if row.predicted else f"{row.deviation:.1e}"
        mark = "" if row.holds else " FAILS"
        numbers = f"{sign}{row.predicted:.6g} | {row.measured:.6g} | {off}{mark}"
        lines.append(f"| {row.mitigation} | {row.effect} | {numbers} | {row.source} |")
    return "\n".join(lines)
