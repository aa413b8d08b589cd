"""What is measured of a computed flow to explain it: speed and its decay, rotation, modes, the distance to its target."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow.diagnostics.captured import Captured, captured, found_modes
from measureflow.diagnostics.conserved import invariants
from measureflow.diagnostics.decay import Decay, fitted
from measureflow.diagnostics.linearisation import linearise
from measureflow.diagnostics.paths import Path, gan_of, generated, path, target_of
from measureflow.diagnostics.rotation import Rotation, rotation
from measureflow.metrics import FisherRao, Wasserstein, distance
from measureflow.states import Gaussian, Histogram, Law, Particles, Vector, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

SETTLED = 0.01
FAR = 0.1
SMALL = 40
COMPARED = 500
GAPS = 25
BOUNDS = 1e40
FALLING = 0.7


@final
class Seen:
    """One solution and what was measured of it; `evidence` gathers the numbers that are told."""

    def __init__(self, sol: Solution, given: Any) -> None:
        self.sol = sol
        self.problem = None if sol.scheme is None else sol.players.game
        self.evidence: dict[str, float] = {}
        self.path: Path = path(sol)
        table = np.reshape(sol.speeds, (len(sol), -1))
        self.speed = np.linalg.norm(table / np.sqrt(sol.players.speeds), axis=1)
        self.decay: Decay | None = fitted(sol.t, self.speed)
        self.target = None if self.problem is None else target_of(self.problem)
        modes = found_modes(self.target) if given is None else given
        self.captured: Captured | None = None if modes is None else captured(sol, self.problem, modes)
        self._use_linearisation()

    def _use_linearisation(self) -> None:
        """Near a stable point the decay is exponential in the end, at the linearised rate."""
        stable = self.linear(None, step=False)
        if stable is None or self.decay is None or self.decay.kind == "finite" or self.left(self.decay) > FAR * self.length:
            return
        elapsed = float(self.sol.t[-1] - self.sol.t[0])
        near = stable.residual < 0.2 * float(self.speed.max())
        if near and stable.roughness < 0.1 and stable.damping * elapsed > 3.0:
            self.evidence["rate of the flow, linearised"] = stable.damping
            if self.decay.kind == "algebraic":
                self.decay = Decay("exponential", stable.damping, stable.damping, stable.damping, self.decay.misfit)

    def linear(self, at: Any, step: bool) -> Any:
        sizes = [x.coordinates.size for x in self.sol.row(-1)]
        if self.problem is None or sum(sizes) > SMALL:
            return None
        try:
            return linearise(self.sol, at, step, None, 1e-3)
        except (ValueError, TypeError, np.linalg.LinAlgError):
            return None

    @property
    def beyond(self) -> float | None:
        """Decimal logarithm of the largest coordinate, if it has grown by more than 1e40; None else."""
        sizes = np.abs(self.path.joint).max(axis=1)
        return float(np.log10(sizes[-1])) if sizes[-1] > BOUNDS * max(float(sizes[0]), 1.0) else None

    @property
    def length(self) -> float:
        """Length of the curve."""
        return float(np.sum(self.speed[1:] * np.diff(self.sol.t)))

    def left(self, decay: Decay | None) -> float:
        return np.inf if decay is None else decay.remaining(float(self.sol.t[-1]), float(self.speed[-1]))

    @property
    def rests(self) -> bool:
        """Whether less than 1 % of the way is left, or nothing moved at all."""
        size = float(np.abs(self.path.joint).max(initial=1.0))
        elapsed = float(self.sol.t[-1] - self.sol.t[0])
        if self.length <= 1e-9 * max(size, 1.0) or self.speed[-1] * elapsed <= 1e-7 * self.length:
            return True
        return self.left(self.decay) <= SETTLED * self.length

    def turning(self) -> tuple[Rotation, Any] | None:
        """Return the rotation of all players' coordinates, or of those of one, the last first; and the player."""
        found = rotation(self.path.t, self.path.joint)
        if found is not None or len(self.path.players) == 1:
            return None if found is None else (found, None)
        for k in reversed(range(len(self.path.players))):
            found = rotation(self.path.t, self.path.players[k])
            if found is not None:
                return found, k
        return None

    def far(self) -> bool | None:
        """Whether the last law is far from the target in W2, against the target's spread; None if that cannot be told."""
        if self.target is None:
            return None
        gap, spread = self._gap()
        if gap is None:
            return None
        self.evidence |= {"W2 to the target": gap, "spread of the target": spread}
        return gap > FAR * spread

    def _gap(self) -> tuple[float | None, float]:
        state, target = self.sol.row(-1)[0], self.target
        if isinstance(target, Gaussian):
            spread = float(np.sqrt(np.trace(target.cov)))
            return (distance(state, target), spread) if isinstance(state, Gaussian) else (None, spread)
        points = generated(self.problem, state)
        alike = isinstance(state, Histogram) and isinstance(target, Histogram)
        goal = atoms(target if alike else _spread_out(target))  # type: ignore[arg-type]
        spread = deviation(*goal)
        if points is None or points[0].shape[1] != goal[0].shape[1]:
            return None, spread
        a, b = (_thinned(*law) for law in (points, goal))
        size = max(spread, 1e-12 + float(np.abs(goal[0]).max()) if spread == 0.0 else spread)
        return distance(a, b, Wasserstein()), size

    @cached_property
    def _gaps(self) -> tuple[np.ndarray, np.ndarray]:
        """Times and sliced W2 to the target at up to 25 rows, none if that cannot be told."""
        goal = None if self.target is None or isinstance(self.target, Gaussian) else atoms(self.target)
        rows = np.unique(np.linspace(0, len(self.sol) - 1, GAPS).round().astype(int))
        laws = [] if goal is None else [generated(self.problem, self.sol.row(int(k))[0]) for k in rows]
        if goal is None or any(law is None or law[0].shape[1] != goal[0].shape[1] for law in laws):
            return np.zeros(0), np.zeros(0)
        sliced, far = Wasserstein(method="sliced", projections=40), _thinned(*goal)
        metric = Wasserstein() if far.dim == 1 else sliced
        return self.sol.t[rows], np.array([distance(_thinned(*law), far, metric) for law in laws if law is not None])

    @property
    def gap_times(self) -> np.ndarray:
        """Times of `gaps`."""
        return self._gaps[0]

    @property
    def gaps(self) -> np.ndarray:
        """Sliced W2 to the target at up to 25 rows (W2 on the line); empty if that cannot be told."""
        return self._gaps[1]

    @property
    def gap_name(self) -> str:
        """Which distance `gaps` are."""
        return "W2" if isinstance(self.target, Law) and self.target.dim == 1 else "sliced W2"

    @property
    def linear_critic(self) -> bool:
        """Whether the problem is a GAN whose critic is linear in its features."""
        gan = gan_of(self.problem)
        return gan is not None and gan.critic.linear

    @property
    def falls(self) -> bool:
        """Whether the distance to the target still falls by 7 % in the last quarter, and mostly in the last half of the run."""
        n, late = len(self.gaps), self.gaps[len(self.gaps) // 2 :]
        if n < 5 or np.mean(np.diff(late) < 0.0) < FALLING:
            return False
        return float(np.median(late[-max(n // 5, 1) :])) < 0.93 * float(np.median(self.gaps[n // 2 : -n // 4]))

    @property
    def spread(self) -> float | None:
        """Root mean square distance of the target's points from their mean; None if it is no law of atoms."""
        return None if self.target is None or isinstance(self.target, Gaussian) else deviation(*atoms(self.target))

    @property
    def fixed(self) -> bool:
        """Whether the first player's atoms stay, so that only their masses move."""
        return isinstance(self.sol.row(-1)[0], Histogram) or isinstance(self.sol.players.metrics[0], FisherRao)

    @property
    def smoothness(self) -> float:
        """Median cosine of the angle between one move and the next, in the last half: 1 on smooth curves."""
        moves = np.diff(self.path.players[0][len(self.path.t) // 2 :], axis=0)
        sizes = np.linalg.norm(moves, axis=1)
        cosines = np.sum(moves[1:] * moves[:-1], axis=1) / np.maximum(sizes[1:] * sizes[:-1], 1e-300)
        return float(np.median(cosines)) if len(cosines) else 1.0

    def features(self) -> tuple[float, float] | None:
        """Return |E_mu phi - E_target phi| of a critic linear in its features at the last row, and the features' own size."""
        gan = gan_of(self.problem)
        if gan is None or not gan.critic.linear or gan.pack > 1 or not isinstance(self.sol.row(-1)[1], Vector):
            return None
        critic = self.sol.row(-1)[1]
        points = generated(self.problem, self.sol.row(-1)[0])
        if points is None:
            return None
        fake = gan.critic.pullback(critic, *points)
        real = gan.critic.pullback(critic, gan._real.points, gan._real.weights)
        each = [gan.critic.pullback(critic, points[0][k : k + 1], np.ones(1)) for k in range(0, len(points[0]), 8)]
        return float(np.linalg.norm(fake - real)), float(np.max(np.linalg.norm(each, axis=1)))

    def growths(self, found: Rotation, player: int | None) -> tuple[float | None, float | None]:
        """Return the growth of the linearised flow and of its step at the centre of the rotation, at its frequency."""
        at = None if player is not None else self._centre(found.centre)
        if at is None:
            return None, None
        rates: list[float | None] = []
        for name, step in (("growth of the flow, linearised", False), ("growth of a step, linearised", True)):
            near = self.linear(at, step)
            if near is None or near.roughness > 0.1:
                rates.append(None)
                continue
            turning = near.rates[np.abs(near.rates.imag) > 0.3 * found.frequency]
            rates.append(float(turning.real.max()) if len(turning) else None)
            if rates[-1] is not None:
                self.evidence[name] = rates[-1]
        return rates[0], rates[1]

    def conserved(self) -> str | None:
        """Return the name of an invariant of the flow that its steps changed by more than 1 %; None if there is none."""
        if self.problem is None:
            return None
        for name, values in invariants(self.sol, False).items():
            if np.all(np.isfinite(values)) and abs(values[-1] - values[0]) > 0.01 * abs(values[0]):
                return name
        return None

    def _centre(self, centre: np.ndarray) -> Any:
        """Return the states at the centre of a rotation, for players that are `Vector` or `Particles`."""
        row, parts = self.sol.row(-1), []
        if not all(isinstance(x, (Vector, Particles)) for x in row) or sum(x.coordinates.size for x in row) != len(centre):
            return None
        for state, eta in zip(row, self.sol.players.speeds, strict=True):
            size = state.coordinates.size
            z, centre = centre[:size].reshape(state.coordinates.shape) * np.sqrt(eta), centre[size:]
            parts.append(state.replace(z / np.sqrt(state.weights)[:, None] if isinstance(state, Particles) else z))
        return parts[0] if self.sol.single else tuple(parts)

    def relative_energy(self) -> float | None:
        """Return the energy of a single flow relative to its first one, if it is a discrepancy from a target."""
        energies = np.reshape(self.sol.energies, (len(self.sol), -1))[:, 0]
        if not self.sol.single or not energies[0] > 0.0 or energies[-1] < -1e-9 * energies[0]:
            return None
        self.evidence["energy, relative to the first"] = float(energies[-1] / energies[0])
        return float(abs(energies[-1] / energies[0]))


def deviation(points: np.ndarray, weights: np.ndarray) -> float:
    """Return the root mean square distance of a law's points from their mean."""
    return float(np.sqrt(weights @ np.sum((points - weights @ points) ** 2, axis=1)))


def _spread_out(law: Law) -> Law:
    """Return a law of atoms like a Histogram on the line, whose few cells may be wide; other laws as they are."""
    wide = isinstance(law, Histogram) and law.grid.dim == 1 and law.masses.size < COMPARED
    return Particles(law.sample(4 * COMPARED, 0)) if wide else law


def _thinned(points: np.ndarray, weights: np.ndarray) -> Particles:
    """Return at most 500 atoms of a law, the same ones whenever it is asked."""
    held = np.flatnonzero(weights > 0.0)
    if len(held) > COMPARED:
        held = np.random.default_rng(0).choice(held, COMPARED, replace=False)
    return Particles(points[held], weights[held] / weights[held].sum())
