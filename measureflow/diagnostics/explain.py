"""What happened in a computed flow, in words and numbers, and what the theory suggests (theory, sections 6 to 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow._threads import one_blas_thread
from measureflow.diagnostics.captured import Captured, captured, found_modes, given_modes
from measureflow.diagnostics.decay import Decay, fitted
from measureflow.diagnostics.linearisation import linearise
from measureflow.diagnostics.paths import Path, gan_of, generated, path, target_of
from measureflow.diagnostics.remedies import (
    Suggestion,
    against_collapse,
    against_rotation,
    batch_for,
    exact_amplitude,
    law_generator,
    wider_kernel,
)
from measureflow.diagnostics.rotation import Rotation, rotation
from measureflow.metrics import Wasserstein, distance
from measureflow.states import Gaussian, Histogram, Law, Particles, Vector, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

SETTLED = 0.01
FAR = 0.1
SMALL = 40
STEADY = 2e-4
GROWN = 20.0
COMPARED = 500
HOPS = 3


@final
class Finding(StrEnum):
    """What a flow does."""

    converged = "converged"
    """It came to rest, at its target if it has one."""
    converges = "converges"
    """It slows down, and has a way to go."""
    rotates = "rotates"
    """It turns around a point."""
    frozen = "frozen"
    """It came to rest away from its target."""
    blind = "blind"
    """It came to rest where critic or kernel see no difference from the target, and W2 does."""
    collapsed = "collapsed"
    """The generator holds some of the target's modes only."""
    hops = "hops"
    """The generator holds some of the modes at a time, and changes them."""
    shrunk = "shrunk"
    """It keeps trembling, and its spread falls short of the target's."""
    diverges = "diverges"
    """It leaves every bound."""
    undecided = "undecided"
    """None of these shows in the time computed."""


@final
@dataclass(frozen=True, eq=False)
class Explanation:
    """What happened in a flow.

    Attributes
    ----------
    status : Finding
    text : str
        A few sentences.
    evidence : dict
        Name -> number that shows it.
    suggestions : list of Suggestion
        What the theory suggests, best first: `name`, `words`, `call`, `value`, and `change`, arguments for `measureflow.solve`.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 10.0, 0.1)
    >>> print(sol.explain().text)
    The flow has come to rest, exponentially at the rate 0.9531 (between 0.9531 and 0.9531).
    """

    status: Finding
    text: str
    evidence: Mapping[str, float]
    suggestions: list[Suggestion]

    def __repr__(self) -> str:
        numbers = [f"  {name} = {value:.6g}" for name, value in self.evidence.items()]
        advice = [f"  - {suggestion!r}" for suggestion in self.suggestions]
        return "\n".join([f"{self.status}: {self.text}", *numbers, *(["Suggestions:", *advice] if advice else [])])


def explained(sol: Solution, centres: Any, std: Any) -> Explanation:
    """Return the explanation of a solution."""
    given = given_modes(centres, std)
    if len(sol) < 2:
        return Explanation(Finding.undecided, "There is no step to explain.", {}, [])
    with one_blas_thread():
        return _Case(sol, given).verdict()


class _Case:
    """One solution and what was found out about it."""

    def __init__(self, sol: Solution, given: Any) -> None:
        self.sol = sol
        self.problem = None if sol.scheme is None else sol.players.game
        self.evidence: dict[str, float] = {}
        self.path: Path = path(sol)
        table = np.reshape(sol.speeds, (len(sol), -1))
        self.speed = np.sqrt(np.sum(table**2 / np.asarray(sol.players.speeds), axis=1))
        self.decay: Decay | None = fitted(sol.t, self.speed)
        self.target = None if self.problem is None else target_of(self.problem)
        modes = found_modes(self.target) if given is None else given
        self.captured: Captured | None = None if modes is None else captured(sol, self.problem, modes)
        self._use_linearisation()

    # measured quantities

    def _use_linearisation(self) -> None:
        """Near a stable point the decay is exponential in the end, at the linearised rate."""
        stable = self._linear(None, step=False)
        if stable is None or self.decay is None or self.decay.kind == "finite" or self._left(self.decay) > FAR * self.length:
            return
        elapsed = float(self.sol.t[-1] - self.sol.t[0])
        near = stable.residual < 0.2 * float(self.speed.max())
        if near and stable.roughness < 0.1 and stable.damping * elapsed > 3.0:
            self.evidence["rate of the flow, linearised"] = stable.damping
            if self.decay.kind == "algebraic":
                self.decay = Decay("exponential", stable.damping, stable.damping, stable.damping, self.decay.misfit)

    def _linear(self, at: Any, step: bool) -> Any:
        sizes = [x.coordinates.size for x in self.sol.row(-1)]
        if self.problem is None or sum(sizes) > SMALL:
            return None
        try:
            return linearise(self.sol, at, step, None, 1e-3)
        except (ValueError, TypeError, np.linalg.LinAlgError):
            return None

    @property
    def length(self) -> float:
        """Length of the curve."""
        return float(np.sum(self.speed[1:] * np.diff(self.sol.t)))

    def _left(self, decay: Decay | None) -> float:
        return np.inf if decay is None else decay.remaining(float(self.sol.t[-1]), float(self.speed[-1]))

    @property
    def rests(self) -> bool:
        """Whether less than 1 % of the way is left, or nothing moved at all."""
        size = float(np.abs(self.path.joint).max(initial=1.0))
        elapsed = float(self.sol.t[-1] - self.sol.t[0])
        if self.length <= 1e-9 * max(size, 1.0) or self.speed[-1] * elapsed <= 1e-7 * self.length:
            return True
        return self._left(self.decay) <= SETTLED * self.length

    def _turning(self) -> tuple[Rotation, Any] | None:
        """Return the rotation of all players' coordinates, or of those of one, the last first; and the player."""
        found = rotation(self.path.t, self.path.joint)
        if found is not None or len(self.path.players) == 1:
            return None if found is None else (found, None)
        for k in reversed(range(len(self.path.players))):
            found = rotation(self.path.t, self.path.players[k])
            if found is not None:
                return found, k
        return None

    def _far(self) -> bool | None:
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
        goal = atoms(_spread_out(target))  # type: ignore[arg-type]
        middle = goal[1] @ goal[0]
        spread = float(np.sqrt(goal[1] @ np.sum((goal[0] - middle) ** 2, axis=1)))
        if points is None or points[0].shape[1] != goal[0].shape[1]:
            return None, spread
        a, b = (_thinned(*law) for law in (points, goal))
        size = max(spread, 1e-12 + float(np.abs(goal[0]).max()) if spread == 0.0 else spread)
        return distance(a, b, Wasserstein()), size

    def _features(self) -> tuple[float, float] | None:
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

    # verdicts

    def verdict(self) -> Explanation:
        """Return the first explanation that fits."""
        for rule in (self._broken, self._hopping, self._turned, self._resting, self._covering, self._moving):
            found = rule()
            if found is not None:
                return found
        text = f"Neither rest nor rotation shows up to t = {self.sol.t[-1]:g}; the last speed is {self.speed[-1]:.4g}."
        return self._says(Finding.undecided, text, [])

    def _says(self, status: Finding, text: str, suggestions: list[Suggestion]) -> Explanation:
        numbers = {name: float(value) for name, value in self.evidence.items()}
        return Explanation(status, text, numbers, suggestions)

    def _broken(self) -> Explanation | None:
        if self.sol.success:
            return None
        status = Finding.diverges if self.sol.status == "not_finite" else Finding.undecided
        return self._says(status, f"The solver stopped: {self.sol.message}", [])

    def _hopping(self) -> Explanation | None:
        c = self.captured
        if c is None or self.rests:
            return None
        late = c.visited[len(c.visited) // 2 :]
        if c.hops < HOPS or late.max() >= len(c.modes) or c.union <= late.max():
            return None
        self.evidence |= {
            "changes of the heaviest mode": c.hops,
            "modes at a time": float(late.mean()),
            "modes over time": c.union,
        }
        text = (
            f"The generator holds {late.mean():.2g} of {len(c.modes)} modes at a time and has changed the heaviest one {c.hops} "
            f"times: it hops, and visited {c.union} modes in the last half. Time averages may match the target (theory, D10)."
        )
        return self._says(Finding.hops, text, self._collapse_cures(c))

    def _turned(self) -> Explanation | None:
        turning = None if self.rests and self.length <= 1e-9 else self._turning()
        if turning is None:
            return None
        found, player = turning
        flow, step = self._growths(found, player)
        self.evidence |= {
            "period": found.period,
            "frequency": found.frequency,
            "growth": found.growth,
            "factor of a turn": found.factor,
            "amplitude": found.amplitude,
            "turns": found.turns,
        }
        alike = flow is not None and step is not None and abs(step - found.growth) < 0.3 * abs(found.growth)
        made_by_step = alike and abs(flow or 0.0) < 0.2 * abs(found.growth)
        steady = abs(found.growth) * found.period < STEADY
        if found.growth < 0.0 and not steady and not made_by_step:
            return self._spiralling(found)
        if self.captured is not None and self.captured.atoms >= len(self.captured.modes) and self.captured.fair[-1] > 0:
            return None
        whole = "" if player is None else f" (player {player})"
        text = f"The flow turns{whole} with period {found.period:.6g}, {found.turns:.3g} times; " + self._amplitude(
            found, flow, made_by_step
        )
        if self.problem is None:
            return self._says(Finding.rotates, text, [])
        cures = against_rotation(self.sol, found.frequency, flow, found.growth)
        if made_by_step and found.growth > 0.0 and not steady:
            cures.insert(0, exact_amplitude())
        if self.captured is not None and self.captured.atoms < len(self.captured.modes):
            cures.insert(0, law_generator(len(self.captured.modes)))
        grown = found.growth * found.period * found.turns > np.log(GROWN)
        return self._says(Finding.diverges if grown else Finding.rotates, text, cures)

    def _amplitude(self, found: Rotation, flow: float | None, made_by_step: bool) -> str:
        """Say how the amplitude changes, and what makes it change."""
        if abs(found.growth) * found.period < STEADY:
            return f"its amplitude {found.amplitude:.4g} stays."
        verb = "grows" if found.growth > 0.0 else "decays"
        text = f"its amplitude {verb} at the rate {found.growth:.4g}."
        if made_by_step:
            tau = float(np.median(np.diff(self.sol.t)))
            return f"{text} That is made by the step of size {tau:g}: the flow's own rate is {flow:.2g} (theory, 6, D8)."
        if flow is not None and flow * found.growth < 0.0:
            return f"{text} The flow itself goes the other way, at the rate {flow:.4g}: the step is too large (theory, D7)."
        return text

    def _growths(self, found: Rotation, player: int | None) -> tuple[float | None, float | None]:
        """Return the growth of the linearised flow and of its step at the centre of the rotation, at its frequency."""
        at = None if player is not None else self._centre(found.centre)
        if at is None:
            return None, None
        rates: list[float | None] = []
        for name, step in (("growth of the flow, linearised", False), ("growth of a step, linearised", True)):
            near = self._linear(at, step)
            if near is None or near.roughness > 0.1:
                rates.append(None)
                continue
            turning = near.rates[np.abs(near.rates.imag) > 0.3 * found.frequency]
            rates.append(float(turning.real.max()) if len(turning) else None)
            if rates[-1] is not None:
                self.evidence[name] = rates[-1]
        return rates[0], rates[1]

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

    def _spiralling(self, found: Rotation) -> Explanation | None:
        self.decay = Decay("exponential", -found.growth, -found.growth, -found.growth, 0.0)
        if not self.rests:
            fit = fitted(self.path.t, np.linalg.norm(self.path.joint - found.centre, axis=1)) if len(self.path.players) else None
            if fit is not None and fit.kind == "algebraic" and not found.linear:
                self.decay = fit
        return self._resting() if self.rests else None

    def _resting(self) -> Explanation | None:
        if not self.rests:
            return None
        rate = self._rate()
        far = self._far()
        if far is None or not far:
            where = "" if far is None else f" at its target (W2 {self.evidence['W2 to the target']:.3g})"
            return self._says(Finding.converged, f"The flow has come to rest{where}{rate}.", [])
        gap = self.evidence["W2 to the target"]
        features = self._features()
        seen = features[0] / max(features[1], 1e-300) if features is not None else self._relative_energy()
        if features is not None:
            self.evidence["gap in the features"] = features[0]
        if seen is not None and seen < 1e-3:
            text = (
                f"The flow rests where its critic or kernel sees no difference from the target (relative gap {seen:.2g}), "
                f"while W2 to it is {gap:.4g}{rate}: different laws have the same features (theory, M1, section 12, 22)."
            )
            return self._says(Finding.blind, text, [_features_cure()])
        c = self.captured
        if c is not None and c.atoms >= len(c.modes) > c.visited[-1]:
            return self._collapsed(c, rate, wider_kernel(self.problem, gap))
        text = (
            f"The flow rests{rate}, but W2 to the target is {gap:.4g}: nothing pulls it on, as the critic is flat at its atoms."
        )
        few = [law_generator(len(c.modes))] if c is not None and c.atoms < len(c.modes) else []
        return self._says(Finding.frozen, text, [*few, *wider_kernel(self.problem, self.evidence["W2 to the target"])])

    def _relative_energy(self) -> float | None:
        """Return the energy of a single flow relative to its first one, if it is a discrepancy from a target."""
        energies = np.reshape(self.sol.energies, (len(self.sol), -1))[:, 0]
        if not self.sol.single or not energies[0] > 0.0 or energies[-1] < -1e-9 * energies[0]:
            return None
        self.evidence["energy, relative to the first"] = float(energies[-1] / energies[0])
        return float(abs(energies[-1] / energies[0]))

    def _rate(self) -> str:
        """Return in words how fast it came to rest, and note the numbers."""
        d = self.decay
        if d is None:
            return ""
        if d.kind == "finite":
            self.evidence["time of arrival"] = d.end
            return f", reached in finite time at t = {d.end:.5g}"
        if d.kind == "exponential":
            self.evidence |= {"rate": d.rate, "rate, lowest": d.low, "rate, highest": d.high}
            return f", exponentially at the rate {d.rate:.5g} (between {d.low:.4g} and {d.high:.4g})"
        self.evidence |= {"exponent of the speed": d.rate, "exponent of the distance": d.rate - 1.0}
        return f", algebraically: the speed falls like t^-{d.rate:.4g}"

    def _covering(self) -> Explanation | None:
        """Return the verdict on a law that covers some or all modes and still moves."""
        c = self.captured
        if c is None or c.atoms < len(c.modes):
            return None
        late = c.fair[-max(len(c.fair) // 4, 1) :]
        if late.min() == len(c.modes):
            self.evidence |= {"modes": len(c.modes), "high quality": float(c.inside[-1].sum())}
            inside = 100.0 * c.inside[-1].sum()
            text = f"All {len(c.modes)} modes are held since t = {c.t[-len(late)]:.4g}; {inside:.1f} % of the mass is in them."
            return self._says(Finding.converged, text, [])
        gone = c.fair[-1] < c.fair.max()
        stuck = c.visited[len(c.visited) // 2 :].max() < len(c.modes) and late.max() < len(c.modes)
        if c.visited[-1] >= len(c.modes) or not (stuck or (gone and c.fair[-1] <= 0.5 * len(c.modes))):
            return None
        return self._collapsed(c, "")

    def _collapsed(self, c: Captured, rate: str, cures: list[Suggestion] | None = None) -> Explanation:
        since, k = c.since(), int(c.visited[-1])
        self.evidence |= {
            "modes": k,
            "fair modes": int(c.fair[-1]),
            "modes of the target": len(c.modes),
            "since t": since,
            "modes over time": c.union,
            "high quality": float(c.inside[-1].sum()),
        }
        text = (
            f"The generator has collapsed to {k} of {len(c.modes)} modes, from t = {since:.4g} on{rate}; "
            f"{100.0 * c.inside[-1].sum():.1f} % of its mass lies within modes, and it visited {c.union} in the last half."
        )
        return self._says(Finding.collapsed, text, [*(cures or []), *self._collapse_cures(c)])

    def _collapse_cures(self, c: Captured) -> list[Suggestion]:
        if self.problem is None:
            return []
        return against_collapse(self.sol, self.evidence, c.atoms < len(c.modes), len(c.modes))

    def _moving(self) -> Explanation | None:
        """Return the verdict on a flow that goes on: slower and slower, trembling, or faster and faster."""
        shrunk = self._shrunk()
        if shrunk is not None:
            return shrunk
        if self.decay is not None and self.speed[-1] < 0.7 * self.speed.max():
            left = self._left(self.decay)
            if np.isfinite(left):
                self.evidence["way that is left"] = left
            words = self._rate().removeprefix(", ")
            more = (
                f"a way of {left:.3g} is left after {self.length:.3g}"
                if np.isfinite(left)
                else "its way has no end if it goes on so"
            )
            return self._says(Finding.converges, f"The flow slows down {words}; {more}.", self._longer(left))
        first, last = (np.median(part) for part in np.array_split(self.speed, 5)[:: len(np.array_split(self.speed, 5)) - 1])
        reach = np.linalg.norm(self.path.joint - self.path.joint[0], axis=1)
        if last > 3.0 * first > 0.0 and reach[-1] > 0.7 * reach.max():
            self.evidence |= {"first speed": first, "last speed": last, "distance from the start": float(reach[-1])}
            text = f"The flow runs away: its speed grew from {first:.4g} to {last:.4g}, {reach[-1]:.4g} away from the start."
            return self._says(Finding.diverges, text, [])
        return None

    def _longer(self, left: float) -> list[Suggestion]:
        d = self.decay
        if d is None or d.kind != "exponential" or not np.isfinite(left):
            return []
        t = float(self.sol.t[-1]) + float(np.log(max(left / (SETTLED * self.length), 1.0))) / d.rate
        words = f"At the rate {d.rate:.4g} one per cent of the way is left at t = {t:.4g}."
        return [Suggestion("time", words, f"t_span={t:.4g}", t, {"t_span": (float(self.sol.t[0]), t)})]

    def _shrunk(self) -> Explanation | None:
        """Return whether a law that trembles, as under mini-batches, has a smaller spread than its target (theory, N4)."""
        state = self.sol.row(-1)[0]
        if self.target is None or isinstance(self.target, Gaussian) or not isinstance(state, Law):
            return None
        rows = np.linspace(len(self.sol) // 2, len(self.sol) - 1, 40).round().astype(int)
        laws = [generated(self.problem, self.sol.row(int(k))[0]) for k in rows]
        if any(law is None for law in laws):
            return None
        spreads = np.array([_spread(*law) for law in laws if law is not None])
        goal = atoms(self.target)
        ratio = spreads / _spread(*goal)
        drift = abs(ratio[:20].mean() - ratio[20:].mean())
        trembles = float(self.speed[len(self.speed) // 2 :].min()) > 0.05 * float(np.median(self.speed[len(self.speed) // 2 :]))
        steady = drift < 0.25 * (1.0 - ratio.mean()) and trembles and self._left(self.decay) > SETTLED * self.length
        if not steady or ratio.mean() > 0.97:
            return None
        seen, wanted = batch_for(goal[0], float(ratio.mean()))
        self.evidence |= {"spread, relative to the target's": float(ratio.mean()), "batch that shrinks so": seen}
        words = f"Transport to mini-batches shrinks deviations by sqrt(rho_B); {wanted} atoms keep 99 % of them (theory, N4)."
        text = (
            f"The law trembles and its spread stays at {ratio.mean():.4g} of the target's, as transport to batches of about "
            f"{seen:.1f} atoms would have it; no smaller step helps (theory, N4)."
        )
        return self._says(Finding.shrunk, text, [Suggestion("batch", words, f"batch={wanted}", wanted, {"batch": wanted})])


def _spread(points: np.ndarray, weights: np.ndarray) -> float:
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


def _features_cure() -> Suggestion:
    words = (
        "Features that vanish on the difference cannot see it; a characteristic kernel or a critic of neurons can (theory, 7.2)."
    )
    return Suggestion("features", words, "critic=mf.games.NeuronCritic() or mf.energies.EnergyDistance(target)")
