"""The variance game: a Gaussian generator against a quadratic critic (theory, sections 8 M5 and 9.4 G12)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.games import GAN, Ridge, quadratic_critic
from measureflow.games.quadratic_critic import critic_of, variance_energy
from measureflow.problems.base import Printed, Problem
from measureflow.problems.ode import integrated
from measureflow.states import Gaussian

Pair = tuple[Any, Any]


def variance_game(target: Gaussian | None = None, law: Gaussian | None = None, beta: float = 0.0, t: float = 6.0) -> Problem:
    """G12: generator N(m, G G^T), critic psi.x + x.A x/2, ridge beta: every velocity is affine, so that Gaussians stay Gaussians.

    m' = -psi - A m, G' = -A G, psi' = m - m* - beta psi, A' = (S + m m^T - S* - m* m*^T)/2 - beta A. Centred on the line without
    a ridge H = a^2/2 + g^2/4 - (g*^2/2) log g is conserved: the deviation g shrinks and grows for ever, with frequency g* near
    the target; with a ridge its eigenvalues are -beta/2 +- sqrt(beta^2/4 - g*^2). By default g* = 1.3, g_0 = .3, a_0 = 0.
    """
    goal = Gaussian(0.0, 1.69) if target is None else check.instance("target", target, Gaussian, "a Gaussian")
    start = Gaussian(0.0, 0.09) if law is None else check.instance("law", law, Gaussian, "a Gaussian")
    beta, d = check.scalar("beta", beta, least=0.0), goal.dim
    second = goal.cov + np.outer(goal.mean, goal.mean)
    cuts = np.cumsum([d, d * d, d])

    def field(z: np.ndarray) -> np.ndarray:
        m, G, psi, A = _parts(z, cuts, d)
        rise = 0.5 * (G @ G.T + np.outer(m, m) - second) - beta * A
        return np.concatenate([-psi - A @ m, (-A @ G).ravel(), m - goal.mean - beta * psi, rise.ravel()])

    flow = integrated(field, np.concatenate([start.mean, np.linalg.cholesky(start.cov).ravel(), np.zeros(d + d * d)]))

    def exact(time: float) -> Pair:
        m, G, psi, A = _parts(flow(time), cuts, d)
        return Gaussian(m, G @ G.T), critic_of(psi, 0.5 * (A + A.T))

    centred = d == 1 and goal.mean[0] == start.mean[0] == 0.0
    return Problem(
        label="G12",
        title=f"variance game, beta = {beta:g}",
        source="theory.md, 8 M5 and 9.4 G12; reference flow by DOP853",
        problem=GAN(goal, critic=quadratic_critic(), penalty=Ridge(beta)),
        initial=exact(0.0),
        t_span=(0.0, t),
        exact=exact,
        invariants={"H": lambda states: variance_energy(states, goal, (1.0, 1.0))} if centred and beta == 0.0 else {},
        constants={"frequency": float(np.sqrt(goal.cov[0, 0])), **_turning_points(start, goal)} if centred else {},
        reference={"H": Printed("1.03985702", lambda states: variance_energy(states, goal, (1.0, 1.0)), 0.0)}
        if centred and (goal.cov[0, 0], start.cov[0, 0], beta) == (1.69, 0.09, 0.0)
        else {},
    )


def _parts(z: np.ndarray, cuts: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    m, G, psi, A = np.split(z, cuts)
    return m, G.reshape(d, d), psi, A.reshape(d, d)


def _turning_points(start: Gaussian, goal: Gaussian) -> dict[str, float]:
    """Return the smallest and the largest deviation of a centred orbit that starts with a = 0."""
    from scipy.special import lambertw

    s, q = float(start.cov[0, 0]), float(goal.cov[0, 0])
    # u - log u is the same at both ends for u = g^2/g*^2: u = -W(-v exp(-v)) on the other branch
    v = s / q
    u = float(-lambertw(-v * np.exp(-v), -1 if v < 1.0 else 0).real)
    ends = sorted(float(np.sqrt(q * w)) for w in (u, v))
    return {"smallest deviation": ends[0], "largest deviation": ends[1]}
