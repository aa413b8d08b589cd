"""Steps of a law that a network follows: the flow in the space of laws, projected on what the network can generate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.games import MLPGenerator
from measureflow.games.tangent import Tangent
from measureflow.metrics import Metric, Wasserstein
from measureflow.proximal import Step
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.couplings import COUPLINGS, Result
from measureflow.schemes.explicit import Explicit
from measureflow.schemes.info import States
from measureflow.schemes.jko import JKO
from measureflow.schemes.runge_kutta import RK2, RK4
from measureflow.states import Particles, State, Vector

LAW_STEPS = {"explicit": Explicit(), "jko": JKO(), "rk2": RK2(), "rk4": RK4()}
"""Steps of the law, by name."""

OUTPUTS = 4
"""Networks with more outputs than this solve with conjugate gradients, preconditioned by the mean kernel of the outputs."""

ITERATIONS = 8
"""Conjugate gradients of a pass."""


@final
class Projected(Scheme):
    """A network generator takes the step that its law would take, as well as it can; other players take steps of the same kind.

    The atoms x_i = G_theta(z_i) of the generated law make a step of size tau in W2, as `Particles` do, to x_i*. The network
    then follows by damped Gauss-Newton steps on random parts of ||G_theta(z_i) - x_i*||^2: with the Jacobian J on the part,

        change = J^T (J J^T + damping * mean diagonal)^-1 r,    theta += change,

    where r is a part of the gap to x*, which shrinks linearly to nothing over the passes so that the noise of the parts
    averages out. The change of the pass before is added times `memory`, and r lessened by what it does. For one pass on all
    atoms, without damping, this is the flow in the metric that W2 induces on the parameters, g(a, b) = mean_i J_i a . J_i b
    (Wasserstein natural gradient). The residual of the step is the root mean square of G_theta(z_i) - x_i* at its end, which
    bounds the W2 distance from the law's own step.

    Parameters
    ----------
    law : {"explicit", "jko", "rk2", "rk4"}
        Steps of the law and of players that are not networks.
    passes : int
        Gauss-Newton steps in one step.
    rows : int
        Atoms of a pass, drawn without replacement. Work grows like the square of rows times outputs (of rows alone above
        four outputs, where eight conjugate gradients, preconditioned by the mean of its diagonal blocks, stand for the inverse).
    damping, relaxation, memory : float
        Relative to the kernel's mean diagonal, positive, about 0.1 for many outputs; the first part of the gap, in (0, 1]; in
        [0, 1).
    coupling : {"simultaneous", "alternating"}
        See `Scheme`.
    seed : int
        Of the parts; they depend on it, the number of the step and the player only, so that a run can be resumed.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; with tau="auto", as the distance of two projected steps tells nothing about their
        errors.

    Notes
    -----
    Lengths of steps are those of the parameters, in the player's metric. The energy of the network player is `games.Generated`
    or that of a `games.GAN` with an `MLPGenerator`; every other one takes steps of the scheme `law`.

    Examples
    --------
    >>> import measureflow as mf
    >>> shift = mf.games.MLPGenerator(mf.Particles([[0.0], [1.0]]), 1, widths=())
    >>> energy = mf.games.Generated(mf.energies.SquaredWasserstein(mf.Particles([[4.0], [8.0]])), shift)
    >>> sol = mf.solve(energy, mf.Vector([1.0, 0.0]), 1.0, 1.0, scheme=mf.schemes.Projected(passes=60))
    >>> sol.states[-1].values.round(3)
    array([4., 4.])
    """

    couplings = ("simultaneous", "alternating")

    def __init__(
        self,
        law: str = "explicit",
        passes: int = 400,
        *,
        rows: int = 128,
        damping: float = 1e-4,
        relaxation: float = 0.3,
        memory: float = 0.9,
        coupling: str = "simultaneous",
        seed: int = 0,
    ) -> None:
        super().__init__(coupling)
        self.law = check.choice("law", law, tuple(LAW_STEPS))
        self.passes = check.integer("passes", passes, least=1)
        self.rows = check.integer("rows", rows, least=1)
        self.damping = check.scalar("damping", damping, above=0.0)
        self.relaxation = check.scalar("relaxation", relaxation, above=0.0, most=1.0)
        self.memory = check.scalar("memory", memory, least=0.0, below=1.0)
        self.seed = check.seed("seed", seed)

    @property
    def comparable(self) -> bool:
        return False

    def init(self, players: Players, states: States) -> Any:
        return 0

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return LAW_STEPS[self.law].advance(energy, metric, x, tau)

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        move = self.move(players, tau, partial(self._follow, memory))
        new, _, infos = COUPLINGS[self.coupling].step(move, players.metrics, states, (), tau)
        return new, memory + 1, infos

    def _follow(self, count: int, player: int, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        """Return the step of a player in step number `count`."""
        generator = getattr(energy, "generator", None)
        if not isinstance(generator, MLPGenerator):
            return self.advance(energy, metric, x, tau)
        law: Particles = energy.law(x)  # type: ignore[attr-defined]
        step = self.advance(energy.on_law(), Wasserstein(), law, tau)  # type: ignore[attr-defined]
        goal = step.state.coordinates
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(count, player)))
        new = Vector(self._fitted(x.coordinates, generator, goal, rng))
        gap = np.sqrt(law.weights @ np.sum((generator.points(new)[0] - goal) ** 2, axis=1))
        chart = metric.chart(x)
        length = chart.norm(chart.log(new) - chart.origin)
        return Step(new, length, float(gap), step.iterations + self.passes, f"projected {step.method}")

    def _fitted(self, theta: np.ndarray, generator: MLPGenerator, goal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return parameters whose points are near the goal (n, k)."""
        points, n = generator._latent, len(goal)
        even, before = bool(np.all(generator._weights == generator._weights[0])), np.zeros_like(theta)
        for k in range(self.passes):
            part = rng.choice(n, size=min(self.rows, n), replace=not even, p=None if even else generator._weights)
            tangent = Tangent(theta, generator.layers, generator.activation, points[part])
            gap = self.relaxation * (1.0 - k / self.passes) * (goal[part] - tangent.outputs)
            kept = self.memory * before
            if self.memory > 0.0 and k > 0:
                gap = gap - tangent.push(kept)
            before = kept + gauss_newton(tangent, gap, self.damping, rng)
            theta = theta + before
        return theta

    def __repr__(self) -> str:
        numbers = f"damping={self.damping:g}, relaxation={self.relaxation:g}, memory={self.memory:g}"
        rest = f"coupling={self.coupling!r}, seed={check.show(self.seed)}"
        return f"Projected({self.law!r}, passes={self.passes}, rows={self.rows}, {numbers}, {rest})"


def gauss_newton(tangent: Tangent, gap: np.ndarray, damping: float, rng: np.random.Generator) -> np.ndarray:
    """Return the change of the parameters, (p,), that closes a gap (n, k): J^T (J J^T + damping * mean diagonal)^-1 gap."""
    from scipy.linalg import cho_factor, cho_solve  # loaded at first use

    n, k = gap.shape
    joint = k <= OUTPUTS
    kernel = tangent.kernel() if joint else tangent.mean_kernel(rng)
    ridge = damping * float(np.trace(kernel)) / len(kernel)
    np.fill_diagonal(kernel, np.diagonal(kernel) + ridge)
    factor = cho_factor(kernel, lower=True, overwrite_a=True)
    if joint:
        return tangent.pull(cho_solve(factor, gap.T.ravel()).reshape(k, n).T)
    return tangent.pull(conjugate_gradients(tangent, gap, ridge, lambda rest: cho_solve(factor, rest)))


def conjugate_gradients(tangent: Tangent, gap: np.ndarray, ridge: float, like: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return an approximation of (J J^T + ridge)^-1 gap, (n, k), from a few preconditioned conjugate gradients."""
    found, rest = np.zeros_like(gap), gap.copy()
    direction = better = like(rest)
    size = float(np.sum(rest * better))
    for _ in range(ITERATIONS):
        image = tangent.push(tangent.pull(direction)) + ridge * direction
        curve = float(np.sum(direction * image))
        if not curve > 0.0 or not size > 0.0:
            break
        found += (size / curve) * direction
        rest -= (size / curve) * image
        better = like(rest)
        old, size = size, float(np.sum(rest * better))
        direction = better + (size / old) * direction
    return found
