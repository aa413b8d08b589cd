"""Eigenvalues of the Dirac-GAN, of its regularisers and of its steps (theory, 7.1, G3 to G6 and G9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.games import DiracGAN
from measureflow.problems.base import Problem
from measureflow.problems.dirac import DERIVATIVES, alternating_factor, radius
from measureflow.schemes import Explicit, Scheme
from measureflow.solve import solve
from measureflow.states import Vector
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]

ORIGIN = (Vector(0.0), Vector(0.0))


def _known(problem: Problem) -> np.ndarray:
    """Return the two eigenvalues that a problem tells of."""
    c = problem.constants
    return np.array([c["growth"] + 1j * c["frequency"], c["second growth"] - 1j * c["frequency"]])


def _gap(seen: np.ndarray, known: np.ndarray) -> float:
    """Return the distance of two pairs of numbers, in the better order."""
    return float(min(np.abs(seen - known).max(), np.abs(seen - known[::-1]).max()))


def _flow(label: str, options: Mapping[str, Any]) -> Found:
    """Compare the eigenvalues of the flow at the equilibrium with their formulas."""
    problem = problems.get(label, **options)
    near = problem.solve(0.01, "explicit", t=0.01).linearisation(at=ORIGIN)
    place = ", ".join([label, *(f"{name} = {value}" for name, value in options.items())])
    yield equal(
        "distance of the eigenvalues", _gap(near.eigenvalues, _known(problem)), 0.0, tolerance=1e-9, error=2e-11, where=place
    )
    yield equal("speed at the equilibrium", near.residual, 0.0, tolerance=1e-12, error=1e-15, where=place)


def _critical(strength: float) -> Found:
    """Below the critical strength of R1 the flow oscillates, beyond it does not."""
    for share in (0.99, 1.01):
        problem = problems.get("G5", strength=share * strength)
        seen = problem.solve(0.01, "explicit", t=0.01).linearisation(at=ORIGIN).frequency
        place = f"{share:g} of the critical strength"
        if share < 1.0:
            yield at_least("frequency of the flow", seen, 0.05, error=1e-9, where=place)
        else:
            yield equal("frequency of the flow", seen, 0.0, tolerance=1e-9, error=1e-12, where=place)


def _step(problem: Problem, scheme: str | Scheme, tau: float) -> np.ndarray:
    return problem.solve(tau, scheme, t=tau).linearisation(at=ORIGIN, step=True, tau=tau).eigenvalues


def _factors(label: str, taus: Sequence[float], options: Mapping[str, Any]) -> Found:
    """Compare the multipliers of explicit steps with their formulas, those of minimizing movements by trace and determinant."""
    problem = problems.get(label, **options)
    g, slope = float(options.get("strength", 0.0)), 0.5
    slack = {"tolerance": 1e-8, "error": 1e-9}
    for tau in taus:
        place, pull = f"{problem.title}, tau = {tau:g}", tau * slope
        for name, factor in problem.factors.items():
            gap = np.abs(_step(problem, name, tau) - factor(tau)).min()
            yield equal(f"multiplier of {name} steps", gap, 0.0, **slack, where=place)
        for name, product in (("simultaneous", 1.0 + pull**2), ("alternating", 1.0)):
            seen = _step(problem, name, tau)
            yield equal(
                f"product of the multipliers, {name}", float(seen.prod().real), product / (1.0 + tau * g), **slack, where=place
            )
        if g < 1.0:
            seen = abs(_step(problem, "explicit simultaneous", tau)[0])
            yield equal("modulus, explicit simultaneous", seen, np.sqrt(1.0 - tau * g + pull**2), **slack, where=place)
        if (2.0 - tau * g - pull**2) ** 2 < 4.0 * (1.0 - tau * g):
            seen = abs(_step(problem, "explicit alternating", tau)[0])
            yield equal("modulus, explicit alternating", seen, np.sqrt(1.0 - tau * g), **slack, where=place)


def _inner(variant: str, counts: Sequence[int], tau: float) -> Found:
    """Inner steps: mu = 1 - a^2/2 +- sqrt((1 - a^2/2)^2 - 1) with a = sqrt(n_g n_d) tau f'(0), stable up to a = 2."""
    slope = DERIVATIVES[variant][0]
    problem = Problem("", "", "", DiracGAN(variant), (Vector(1.0), Vector(0.5)), (0.0, 1.0))
    scheme, place = Explicit("alternating", inner_steps=tuple(counts)), f"{variant}, inner steps {list(counts)}"
    known = alternating_factor(tau, 0.0, slope, (counts[0], counts[1]))
    gap = np.abs(_step(problem, scheme, tau) - known).min()
    yield equal("multiplier with inner steps", gap, 0.0, tolerance=1e-8, error=1e-9, where=place)
    edge = 2.0 / (slope * float(np.sqrt(counts[0] * counts[1])))
    kept, grown = (abs(_step(problem, scheme, share * edge)[0]) for share in (0.99, 1.01))
    yield equal("modulus just inside a = 2", kept, 1.0, tolerance=1e-8, error=1e-9, where=place)
    yield at_least("modulus just beyond a = 2", grown, 1.05, error=1e-8, where=place)


def edge_of(strength: float, scheme: str) -> float:
    """Return the largest stable tau with R1: g/f1^2 of simultaneous steps if complex, a root for alternating ones."""
    if scheme.endswith("simultaneous"):
        return 4.0 * strength
    return 4.0 * (float(np.sqrt(strength**2 + 1.0)) - strength)


def _edges(strength: float, scheme: str) -> Found:
    """Look at the largest stable step with R1 from both sides."""
    problem = problems.get("G5", strength=strength)
    edge = problem.constants["largest stable tau"] if scheme == "explicit simultaneous" else edge_of(strength, scheme)
    place = f"{scheme}, R1 {strength:g}, largest stable tau {edge:.4g}"
    inside, beyond = (abs(_step(problem, scheme, share * edge)[0]) for share in (0.99, 1.01))
    yield at_most("modulus 1 % inside the stable range", inside, 1.0 - 1e-5, error=1e-8, where=place)
    yield at_least("modulus 1 % beyond the stable range", beyond, 1.0 + 1e-5, error=1e-8, where=place)


def _noise(variant: str, sigma: float) -> Found:
    """Instance noise damps by the curvature of the loss: not at all for WGAN."""
    problem, size = problems.get("G6", instance_noise=sigma, variant=variant), 1e-3
    turn = 2.0 * np.pi / problem.constants["frequency"]
    start = (Vector(size), Vector(0.0))
    sol = solve(problem.problem, start, turn, turn / 60.0, scheme="rk4")
    rate = np.log(radius(sol.states[-1]) / size) / turn
    slack = {"tolerance": 1e-5, "error": 1e-6}
    yield equal(
        "damping by instance noise over a turn", rate, problem.constants["growth"], **slack, where=f"{variant}, sigma = {sigma:g}"
    )


def _spectrum_picture(strengths: Sequence[float]) -> Found:
    parts = Panel("eigenvalues with R1", r"strength $g$", "real and imaginary parts")
    near = [
        problems.get("G5", strength=g).solve(0.01, "explicit", t=0.01).linearisation(at=ORIGIN).eigenvalues for g in strengths
    ]
    fine = np.linspace(min(strengths), max(strengths), 200)
    known = np.array([_known(problems.get("G5", strength=float(g))) for g in fine])
    for k, name in enumerate(("upper real part", "lower real part")):
        yield Curve(parts, name, strengths, np.sort([values.real for values in near], axis=1)[:, 1 - k])
        yield Curve(parts, "", fine, np.sort(known.real, axis=1)[:, 1 - k], role="predicted")
    yield Curve(parts, "imaginary part", strengths, [np.abs(values.imag).max() for values in near])
    yield Curve(parts, "", fine, np.abs(known.imag).max(axis=1), role="predicted")
    moduli = Panel("one explicit step with R1, g = 0.3", r"$\tau$", r"$|\mu|$")
    taus, problem = np.linspace(0.05, 3.2, 8), problems.get("G5", strength=0.3)
    for name in ("explicit simultaneous", "explicit alternating"):
        yield Curve(moduli, name.removeprefix("explicit "), taus, [abs(_step(problem, name, h)[0]) for h in taus])
        dense = np.linspace(0.05, 3.2, 100)
        yield Curve(moduli, "", dense, [abs(problem.factors[name](h)) for h in dense], role="predicted")


_SPECTRA: Mapping[str, Callable[..., Found]] = {
    "flow": _flow,
    "critical": _critical,
    "factors": _factors,
    "inner steps": _inner,
    "edges": _edges,
    "noise": _noise,
    "picture": _spectrum_picture,
}


def _spectra(case: str, **trial: Any) -> Found:
    yield from _SPECTRA[case](**trial)


def _spectra_control(case: str) -> Found:
    """Claim what is half or 1 % off, or the damping of the logistic loss for a loss without curvature."""
    if case == "noise on a loss without curvature":
        problem = problems.get("G6", instance_noise=0.8, variant="wgan")
        seen = problem.solve(0.01, "explicit", t=0.01).linearisation(at=ORIGIN).eigenvalues.real.max()
        yield equal("real part of the eigenvalues", seen, -0.25 * 0.8**2, tolerance=1e-8, error=1e-9, where=case)
    elif case == "noise on one law only":
        problem = problems.get("G6", instance_noise=0.8)
        seen = problem.solve(0.01, "explicit", t=0.01).linearisation(at=ORIGIN).eigenvalues.real.max()
        yield equal(
            "real part of the eigenvalues", seen, 0.5 * problem.constants["growth"], tolerance=1e-8, error=1e-9, where=case
        )
    else:
        for scheme in ("explicit simultaneous", "simultaneous", "explicit alternating"):
            seen = abs(_step(problems.get("G5", strength=0.3), scheme, 1.01 * edge_of(0.3, scheme))[0])
            yield at_most("modulus 1 % beyond the stable range", seen, 1.0, tolerance=1e-8, error=1e-9, where=scheme)


_FLOWS: list[tuple[str, dict[str, Any]]] = [
    ("G3", {"eta": 1.0}),
    ("G3", {"eta": 2.5}),
    ("G4", {}),
    ("G5", {"strength": 0.3}),
    ("G5", {"strength": 1.7}),
    ("G6", {"instance_noise": 0.7}),
    ("G6", {"instance_noise": 1.6, "variant": "nsgan"}),
    ("G6", {"instance_noise": 0.9, "variant": "wgan"}),
    ("G6", {"instance_noise": None, "consensus": 0.8}),
    ("G6", {"instance_noise": None, "consensus": 0.4, "variant": "wgan"}),
    ("G9", {"eps": 0.1, "beta": 1.0}),
    ("G9", {"eps": 0.6, "beta": 0.5}),
]


def _spectra_quick() -> list[Trial]:
    flows = [{"case": "flow", "label": label, "options": options} for label, options in _FLOWS]
    factors = [
        {"case": "factors", "label": label, "taus": [0.2, 0.7], "options": options}
        for label, options in (("G3", {}), ("G4", {}), ("G5", {"strength": 0.3}), ("G5", {"strength": 1.2}))
    ]
    inner = every(case=["inner steps"], variant=["gan", "wgan"], counts=[[1, 1], [1, 5]], tau=[0.2])
    edges = every(case=["edges"], strength=[0.3], scheme=["explicit simultaneous", "explicit alternating", "simultaneous"])
    noise = every(case=["noise"], variant=["gan", "wgan"], sigma=[0.7])
    picture = {"case": "picture", "strengths": [0.1, 0.4, 0.7, 0.9, 1.0, 1.1, 1.3, 1.6]}
    return [*flows, {"case": "critical", "strength": 1.0}, *factors, *inner, *edges, *noise, picture]


def _spectra_full() -> list[Trial]:
    r1, consensus = every(strength=[0.1, 0.6, 0.95, 1.05, 3.0]), every(consensus=[0.1, 2.0], variant=["gan", "wgan"])
    noise = every(instance_noise=[0.2, 1.0, 2.0], variant=["gan", "nsgan", "wgan"])
    lists: list[tuple[str, Sequence[Trial]]] = [
        ("G5", r1),
        ("G6", noise),
        ("G6", [{**entry, "instance_noise": None} for entry in consensus]),
    ]
    flows = [{"case": "flow", "label": label, "options": options} for label, table in lists for options in table]
    factors = [{"case": "factors", "label": "G5", "taus": [0.05, 1.1], "options": options} for options in r1]
    inner = every(case=["inner steps"], variant=["gan", "nsgan", "wgan"], counts=[[2, 1], [3, 4]], tau=[0.1, 0.3])
    names = ["explicit simultaneous", "explicit alternating", "simultaneous"]
    edges = every(case=["edges"], strength=[0.1, 0.45], scheme=names)
    damped = every(case=["noise"], variant=["gan", "nsgan", "wgan"], sigma=[0.3, 1.1])
    return [*_spectra_quick(), *flows, *factors, *inner, *edges, *damped]


SPECTRA = Theorem(
    name="dirac-spectra",
    label="G5",
    title="eigenvalues of the Dirac-GAN, its regularisers and its steps",
    statement=(
        "At the equilibrium of the Dirac-GAN the flow has the eigenvalues +- i f1 sqrt(eta); -g/2 +- sqrt(g^2/4 - f1^2) "
        "with R1; f2 sigma^2 +- sqrt(f2^2 sigma^4 - f1^2) with instance noise, so that a loss without curvature is not "
        "damped; -gamma f1^2 +- i f1 with consensus. Simultaneous steps grow by sqrt(1 + tau^2 f1^2), alternating ones are "
        "stable up to sqrt(n_g n_d) tau f1 = 2; with R1 simultaneous steps are stable up to tau = g / f1^2, alternating "
        "ones shrink by sqrt(1 - tau g), up to tau = (sqrt(g^2 + 4 f1^2) - g) / f1^2."
    ),
    formula=r"\lambda = -\frac{g}{2} \pm \sqrt{\frac{g^2}{4} - f_1^2}, \quad |\mu_{SIM}| = \sqrt{1 - \tau g + \tau^2 f_1^2}",
    hypotheses=("small perturbations of the equilibrium", "f1 = f'(0), f2 = f''(0)", "noise on data and generator"),
    source="theory, section 7.1, G5, G6 and G9; Mescheder, Geiger and Nowozin, arXiv 1801.04406",
    problems=("G3", "G4", "G5", "G6", "G9"),
    test=_spectra,
    quick=_spectra_quick(),
    full=_spectra_full(),
    control=Control(
        "a loss without curvature; noise on one law only; steps 1 % longer than the largest stable one",
        _spectra_control,
        every(case=["noise on a loss without curvature", "noise on one law only", "long steps"]),
    ),
)

ENTRIES = (SPECTRA,)
