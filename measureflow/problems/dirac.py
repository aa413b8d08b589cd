"""The Dirac-GAN: exact orbits, limit cycles, eigenvalues and final radii (theory, 7.1, 9.4 and 11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.games import DiracGAN
from measureflow.problems.base import Factor, Printed, Problem
from measureflow.schemes import Explicit
from measureflow.states import Vector

Pair = tuple[Any, Any]
Start = tuple[float, float]

DERIVATIVES = {"gan": (0.5, -0.25), "nsgan": (0.5, -0.25), "wgan": (1.0, 0.0)}
"""f'(0) and f''(0) by variant."""

PERIODS = {0.5: "12.66492955", 1.0: "12.96524840", 2.0: "14.23811183"}
"""Printed period of G3 by r^2."""

CYCLES = {
    (0.7, 1.0): ("1.326605205", "6.707432422"),
    (0.3, 0.5): (".6412879678", "6.35508678"),
    (1.5, 1.0): ("1.587612365", "9.499283294"),
}
"""Printed amplitude and period of the limit cycle of G8 by (strength, size) of the penalty."""

MESCHEDER = "Mescheder et al., arXiv 1801.04406"
TRAINING = {
    "SIM": Explicit("simultaneous"),
    "ALT1": Explicit("alternating"),
    "ALT5": Explicit("alternating", inner_steps=(1, 5)),
}
"""The schemes of the published phase portraits: generator first, one critic step or five."""


def radius(states: Pair) -> float:
    """Return sqrt(theta^2 + psi^2)."""
    return float(np.hypot(states[0].values[0], states[1].values[0]))


def _pair(theta: float, psi: float) -> Pair:
    return Vector(theta), Vector(psi)


def _const(name: str, digits: str, number: float) -> dict[str, Printed]:
    return {name: Printed(digits, lambda states: number, 0.0)}


def _final_radii(**digits: str) -> dict[str, Printed]:
    """Return the radii after 500 steps of size .2 from (1, 1), generator first (theory, section 11)."""
    return {f"final radius, {key}": Printed(text, radius, 100.0, TRAINING[key], 0.2) for key, text in digits.items()}


def _eigenvalues(mean: float, square: float) -> dict[str, float]:
    """Return the eigenvalues mean +- sqrt(square) of a flow at its equilibrium."""
    root = complex(square) ** 0.5
    return {"growth": mean + root.real, "second growth": mean - root.real, "frequency": root.imag}


def simultaneous_factor(tau: float, damping: float = 0.0, slope: float = 0.5) -> complex:
    """Return the multiplier of explicit simultaneous steps of theta' = -slope psi, psi' = slope theta - damping psi.

    |mu| = sqrt(1 + tau^2 slope^2) without damping, sqrt(1 - tau damping + tau^2 slope^2) if it oscillates (theory, 7.1).
    """
    return 1.0 + tau * (complex(0.25 * damping**2 - slope**2) ** 0.5 - 0.5 * damping)


def alternating_factor(tau: float, damping: float = 0.0, slope: float = 0.5, inner_steps: tuple[int, int] = (1, 1)) -> complex:
    """Return the multiplier of explicit alternating steps, n_g of the generator, then n_d of the critic.

    Without damping mu = 1 - a^2/2 +- sqrt((1 - a^2/2)^2 - 1), a = sqrt(n_g n_d) tau slope; |mu| = sqrt(1 - tau damping) for
    single steps that oscillate (theory, 7.1).
    """
    kept = (1.0 - tau * damping) ** np.arange(inner_steps[1] + 1)
    half = 0.5 * (1.0 + kept[-1] - inner_steps[0] * (tau * slope) ** 2 * kept[:-1].sum())
    inside = half**2 - kept[-1]
    root = complex(inside) ** 0.5
    return complex(half - root if inside > 0.0 > half else half + root)  # the larger one where they are real


def _factors(damping: float = 0.0, slope: float = 0.5) -> dict[str, Factor]:
    """Return multipliers of one step of the game linearised at its equilibrium."""
    return {
        "explicit simultaneous": lambda tau: simultaneous_factor(tau, damping, slope),
        "explicit alternating": lambda tau: alternating_factor(tau, damping, slope),
    }


def dirac_gan(r2: float = 1.0, eta: float = 1.0, t: float | None = None) -> Problem:
    """G3: the Dirac-GAN with critic speed eta: r2 = theta^2 + psi^2/eta is conserved, the orbit is periodic.

    The angle of (theta, psi/sqrt(eta)) solves sqrt(eta) t = phi + int exp(a sin 2u) du, a = sqrt(eta) r2/2, a Bessel series; the
    period is 2 pi (1 + I_0(a)) / sqrt(eta). Starts at theta = psi/sqrt(eta).
    """
    from scipy.special import iv

    r2, speed = check.scalar("r2", r2, above=0.0), float(np.sqrt(check.scalar("eta", eta, above=0.0)))
    a = 0.5 * speed * r2
    turn = float(2.0 * np.pi * (1.0 + iv(0, a)))
    angle = _dirac_angle(a, turn)

    def flow(time: float) -> Pair:
        phi = angle(speed * time)
        return _pair(np.sqrt(r2) * np.cos(phi), speed * np.sqrt(r2) * np.sin(phi))

    printed = eta == 1.0 and r2 in PERIODS
    reference = _const("period", PERIODS[r2], turn) if printed else {}
    if printed and r2 == 2.0:
        reference |= _final_radii(SIM="3.09695", ALT1="1.42102", ALT5="1.84527")
    return Problem(
        label="G3",
        title=f"Dirac-GAN, r^2 = {r2:g}" + (f", critic speed {eta:g}" if eta != 1.0 else ""),
        source=f"theory.md, 7.1 and 9.4 G3; {MESCHEDER}",
        problem=DiracGAN("gan"),
        initial=_pair(np.sqrt(0.5 * r2), speed * np.sqrt(0.5 * r2)),
        t_span=(0.0, turn / speed if t is None else t),
        exact=flow,
        speeds=(1.0, float(eta)) if eta != 1.0 else None,
        invariants={"radius": lambda states: float(np.hypot(states[0].values[0], states[1].values[0] / speed))},
        factors=_factors() if eta == 1.0 else {},
        constants={"period": turn / speed} | _eigenvalues(0.0, -0.25 * eta),
        reference=reference,
    )


def _dirac_angle(a: float, period: float) -> Callable[[float], float]:
    """Return the angle phi(t), phi(0) = pi/4, of dphi/dt = 1 / (1 + exp(a sin 2 phi))."""
    from scipy.optimize import brentq
    from scipy.special import iv

    # exp(a sin v) = I_0 + 2 sum (-1)^k I_{2k+1} sin((2k+1) v) + 2 sum (-1)^k I_{2k} cos(2k v), integrated at v = 2 phi
    orders = np.arange(1, 60 + int(4.0 * a))
    odd = orders % 2 == 1
    terms = (-1.0) ** (orders // 2) * iv(orders, a) / orders

    def clock(phi: float) -> float:
        waves = np.where(odd, -np.cos(2.0 * orders * phi), np.sin(2.0 * orders * phi))
        return float(period / (2.0 * np.pi) * phi + terms @ waves)

    begin = np.pi / 4.0
    origin = clock(begin)

    def angle(time: float) -> float:
        turns, rest = divmod(time, period)
        bracket = begin - 1e-9, begin + 2.0 * np.pi + 1e-9
        phi = brentq(lambda phi: clock(phi) - origin - rest, *bracket, xtol=1e-15, rtol=1e-15)
        return float(phi + 2.0 * np.pi * turns)

    return angle


def nonsaturating_dirac_gan(t: float = 100.0) -> Problem:
    """G4: the Dirac-GAN with the non-saturating loss: r^2 decays like 1/(1/r_0^2 + t/8); no closed flow is known."""
    return Problem(
        label="G4",
        title="non-saturating Dirac-GAN",
        source=f"theory.md, 7.1 and 9.4 G4; {MESCHEDER}",
        problem=DiracGAN("nsgan"),
        initial=_pair(1.0, 1.0),
        t_span=(0.0, t),
        factors=_factors(),
        constants={"limit of t r^2": 8.0} | _eigenvalues(0.0, -0.25),
        reference=_final_radii(SIM=".64021", ALT1=".28392", ALT5=".13888"),
    )


def r1_dirac_gan(strength: float = 0.3, start: Start = (1.0, 1.0), t: float = 100.0) -> Problem:
    """G5: the Dirac-GAN with the penalty (g/2) psi^2: eigenvalues -g/2 +- sqrt(g^2/4 - 1/4), critical damping at g = 1."""
    g = check.scalar("strength", strength, above=0.0)
    values = _eigenvalues(-0.5 * g, 0.25 * g**2 - 0.25)
    radii = {0.3: {"SIM": "2.643e-6", "ALT1": "2.301e-7", "ALT5": "9.25e-34"}, 1.0: {"SIM": "9.529e-22"}}
    return Problem(
        label="G5",
        title=f"Dirac-GAN with R1 penalty {g:g}",
        source=f"theory.md, 7.1 and 9.4 G5; {MESCHEDER}",
        problem=DiracGAN("gan", r1=g),
        initial=_pair(*start),
        t_span=(0.0, t),
        factors=_factors(g),
        constants={"critical strength": 1.0, "largest stable tau": 4.0 * g if g < 1.0 else -2.0 / values["second growth"]}
        | values,
        reference=_final_radii(**radii.get(g, {})) if tuple(start) == (1.0, 1.0) else {},
    )


def damped_dirac_gan(
    instance_noise: float | None = 0.7,
    consensus: float | None = None,
    variant: str = "gan",
    start: Start = (1.0, 1.0),
    t: float = 100.0,
) -> Problem:
    """G6: a Dirac-GAN with instance noise or with consensus; the published strengths are .7 and 1.

    With f1 = f'(0), f2 = f''(0): eigenvalues f2 sigma^2 +- sqrt(f2^2 sigma^4 - f1^2) for noise on data and generator, and
    -gamma f1^2 +- i f1 for consensus. For "wgan" (f1 = 1, f2 = 0) the flow is linear: noise does not damp it.
    """
    if (instance_noise is None) == (consensus is None):
        raise ValueError(f"instance_noise or consensus must be given, not both, got {instance_noise!r} and {consensus!r}")
    game = DiracGAN(variant, instance_noise=instance_noise, consensus=consensus)
    f1, f2 = DERIVATIVES[game.variant]
    damping = (consensus or 0.0) * f1**2 - f2 * (instance_noise or 0.0) ** 2
    square = -(f1**2) if consensus is not None else damping**2 - f1**2

    def flow(time: float) -> Pair:
        z = complex(*start) * np.exp((1j - damping) * time)
        return _pair(z.real, z.imag)

    return Problem(
        label="G6",
        title="Dirac-GAN with " + (f"instance noise {instance_noise:g}" if consensus is None else f"consensus {consensus:g}"),
        source=f"theory.md, 7.1 and 9.4 G6, G10; {MESCHEDER}",
        problem=game,
        initial=_pair(*start),
        t_span=(0.0, t),
        exact=flow if game.variant == "wgan" else None,
        constants=_eigenvalues(-damping, square),
    )


def clipped_wgan(start: Start = (2.0, 0.0), clip: float = 0.5, t: float | None = None) -> Problem:
    """G7: Dirac-WGAN with |psi| <= c: orbits rotate, slide along |psi| = c at speed c until theta = 0, then rotate on radius c.

    From (theta0, 0) the circle of radius c is reached at arcsin(c/theta0) + sqrt(theta0^2 - c^2)/c. The energies are convex on
    the interval: a dual EVI flow with lambda = 0, whose orbits do not move apart (D2).
    """
    c = check.scalar("clip", clip, above=0.0)
    theta0, psi0 = check.scalar("start[0]", start[0]), check.scalar("start[1]", start[1], least=-c, most=c)
    r, side = float(np.hypot(theta0, psi0)), 1.0 if theta0 >= 0.0 else -1.0
    outside = r > c
    first = float(np.arctan2(side * psi0, side * theta0))
    arc = float(np.arcsin(c / r)) - first if outside else 0.0
    slide = float(np.sqrt(r**2 - c**2)) / c if outside else 0.0

    def flow(time: float) -> Pair:
        if outside and arc <= time < arc + slide:
            return _pair(side * c * (arc + slide - time), side * c)
        free = not outside or time < arc
        angle, size = (first + time, r) if free else (0.5 * np.pi + time - arc - slide, c)
        return _pair(side * size * np.cos(angle), side * size * np.sin(angle))

    reference = {}
    if (theta0, psi0, c) == (2.0, 0.0, 0.5):
        reference = _const("time to the circle", "4.125663601", arc + slide)
    if (theta0, psi0, c) == (1.0, 1.0, 1.0):
        reference = _final_radii(SIM="1.00215", ALT1="1.02412", ALT5=".91688")
    return Problem(
        label="G7",
        title=f"Dirac-WGAN clipped at {c:g}",
        source=f"theory.md, 7.1 and 9.4 G7; {MESCHEDER}",
        problem=DiracGAN("wgan", clip=c),
        initial=_pair(theta0, psi0),
        t_span=(0.0, arc + slide + 2.0 * np.pi if t is None else t),
        exact=flow,
        constants={"time to the boundary": arc, "time to the circle": arc + slide, "period": 2.0 * np.pi},
        reference=reference,
    )


def gradient_penalty_wgan(
    strength: float = 0.7, size: float = 1.0, start: Start | None = None, t: float | None = None
) -> Problem:
    """G8: Dirac-WGAN with the penalty (g/2) (|psi| - g0)^2, g < 2: an attracting limit cycle, by default the start.

    On each side of psi = 0 the flow is a damped rotation about (-+ g g0, 0) of frequency w = sqrt(1 - g^2/4). The cycle crosses
    psi = 0 at theta = +- g g0 coth(g pi/(4w)) and has the period 2 pi/w; from one crossing to the next
    |theta| -> q (|theta| + g g0) + g g0, q = exp(-g pi/(2w)).
    """
    g, g0 = check.scalar("strength", strength, above=0.0, below=2.0), check.scalar("size", size, above=0.0)
    w = float(np.sqrt(1.0 - 0.25 * g**2))
    amplitude, period = float(g * g0 / np.tanh(0.25 * g * np.pi / w)), float(2.0 * np.pi / w)
    first = (amplitude, 0.0) if start is None else (check.scalar("start[0]", start[0]), check.scalar("start[1]", start[1]))
    if first[1] == 0.0 and abs(first[0]) <= g * g0:
        raise ValueError(f"start must not lie on psi = 0, |theta| <= {g * g0:g}, where flows are not unique, got {start!r}")

    def flow(time: float) -> Pair:
        return _pair(*_across(first, time, g, g0, w))

    reference = {}
    if start is None and (g, g0) in CYCLES:
        digits = CYCLES[g, g0]
        reference = {"amplitude": Printed(digits[0], lambda states: abs(float(states[0].values[0])), 0.5 * period)}
        reference |= _const("period", digits[1], period)
    if (g, g0, start) == (0.7, 1.0, (1.0, 1.0)):
        reference = _final_radii(SIM="1.80179", ALT1="1.22107", ALT5=".71630")
    return Problem(
        label="G8",
        title=f"Dirac-WGAN with gradient penalty {g:g}, target {g0:g}",
        source=f"theory.md, 7.1 and 9.4 G8; {MESCHEDER}",
        problem=DiracGAN("wgan", gradient_penalty=(g, g0)),
        initial=_pair(*first),
        t_span=(0.0, period if t is None else t),
        exact=flow,
        constants={"amplitude": amplitude, "period": period, "half-cycle factor": float(np.exp(-0.5 * g * np.pi / w))},
        reference=reference,
    )


def _across(start: Start, time: float, g: float, g0: float, w: float) -> Start:
    """Return the flow of G8 after a time, crossing by crossing."""
    theta, psi = start
    while True:
        side = float(np.sign(psi if psi != 0.0 else theta))
        u = theta + side * g * g0
        turn = (u - 0.5 * g * psi) / w
        until = float(np.arctan2(abs(psi), -side * turn)) / w  # of psi cos(w t) + turn sin(w t) = 0
        span = min(time, until)
        decay, c, s = np.exp(-0.5 * g * span), np.cos(w * span), np.sin(w * span)
        theta = float(decay * (u * c + (0.5 * g * u - psi) * s / w)) - side * g * g0
        if time <= until:
            return theta, float(decay * (psi * c + turn * s))
        psi, time = 0.0, time - until


def two_time_scales(eps: float = 0.1, beta: float = 1.0, start: Start = (1.0, 0.0), t: float = 3.0) -> Problem:
    """G9: Dirac-WGAN with penalty (beta/2) psi^2 and critic speed 1/eps: eigenvalues eps l^2 + beta l + 1 = 0 (D9).

    They are real, so that nothing rotates, for eps <= beta^2/4; as eps -> 0 the generator decays like exp(-t/beta).
    """
    from scipy.linalg import expm

    eps, beta = check.scalar("eps", eps, above=0.0), check.scalar("beta", beta, above=0.0)
    matrix = np.array([[0.0, -1.0], [1.0 / eps, -beta / eps]])
    return Problem(
        label="G9",
        title=f"fast critic, eps = {eps:g}, ridge {beta:g}",
        source="theory.md, D9 and 9.4 G9",
        problem=DiracGAN("wgan", r1=beta),
        initial=_pair(*start),
        t_span=(0.0, t),
        exact=lambda time: _pair(*(expm(time * matrix) @ start)),
        speeds=(1.0, 1.0 / eps),
        constants={"largest eps without rotation": 0.25 * beta**2, "rate of the fast critic": 1.0 / beta}
        | _eigenvalues(-0.5 * beta / eps, 0.25 * (beta / eps) ** 2 - 1.0 / eps),
    )
