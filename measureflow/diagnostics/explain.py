"""What happened in a computed flow, in words and numbers, and what the theory suggests (theory, sections 6 to 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow._threads import one_blas_thread
from measureflow.diagnostics.captured import Captured, given_modes
from measureflow.diagnostics.decay import Decay, fitted
from measureflow.diagnostics.paths import generated
from measureflow.diagnostics.remedies import (
    Suggestion,
    against_collapse,
    against_rotation,
    batch_for,
    exact_amplitude,
    law_generator,
    wider_kernel,
)
from measureflow.diagnostics.rotation import Rotation
from measureflow.diagnostics.seen import SETTLED, Seen, deviation
from measureflow.states import Gaussian, Law, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

STEADY = 2e-4
GROWN = 20.0
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
        return _Case(Seen(sol, given)).verdict()


class _Case:
    """The verdict on what was measured of a run."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def verdict(self) -> Explanation:
        """Return the first explanation that fits."""
        for rule in (self._broken, self._hopping, self._turned, self._resting, self._covering, self._moving):
            found = rule()
            if found is not None:
                return found
        text = f"Neither rest nor rotation shows up to t = {self.seen.sol.t[-1]:g}; the last speed is {self.seen.speed[-1]:.4g}."
        return self._says(Finding.undecided, text, [])

    def _says(self, status: Finding, text: str, suggestions: list[Suggestion]) -> Explanation:
        numbers = {name: float(value) for name, value in self.seen.evidence.items()}
        return Explanation(status, text, numbers, suggestions)

    def _broken(self) -> Explanation | None:
        if self.seen.sol.success:
            return None
        status = Finding.diverges if self.seen.sol.status == "not_finite" else Finding.undecided
        return self._says(status, f"The solver stopped: {self.seen.sol.message}", [])

    def _hopping(self) -> Explanation | None:
        c = self.seen.captured
        if c is None or self.seen.rests:
            return None
        late = c.visited[len(c.visited) // 2 :]
        if c.hops < HOPS or late.max() >= len(c.modes) or c.union <= late.max():
            return None
        self.seen.evidence |= {
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
        turning = None if self.seen.rests and self.seen.length <= 1e-9 else self.seen.turning()
        if turning is None:
            return None
        found, player = turning
        flow, step = self.seen.growths(found, player)
        self.seen.evidence |= {
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
        c = self.seen.captured
        if c is not None and c.atoms >= len(c.modes) and c.fair[-1] > 0:
            return None
        whole = "" if player is None else f" (player {player})"
        text = f"The flow turns{whole} with period {found.period:.6g}, {found.turns:.3g} times; " + self._amplitude(
            found, flow, made_by_step
        )
        if self.seen.problem is None:
            return self._says(Finding.rotates, text, [])
        cures = against_rotation(self.seen.sol, found.frequency, flow, found.growth)
        if made_by_step and found.growth > 0.0 and not steady:
            cures.insert(0, exact_amplitude())
        if c is not None and c.atoms < len(c.modes):
            cures.insert(0, law_generator(len(c.modes)))
        grown = found.growth * found.period * found.turns > np.log(GROWN)
        return self._says(Finding.diverges if grown else Finding.rotates, text, cures)

    def _amplitude(self, found: Rotation, flow: float | None, made_by_step: bool) -> str:
        """Say how the amplitude changes, and what makes it change."""
        if abs(found.growth) * found.period < STEADY:
            return f"its amplitude {found.amplitude:.4g} stays."
        verb = "grows" if found.growth > 0.0 else "decays"
        text = f"its amplitude {verb} at the rate {found.growth:.4g}."
        if made_by_step:
            tau = float(np.median(np.diff(self.seen.sol.t)))
            return f"{text} That is made by the step of size {tau:g}: the flow's own rate is {flow:.2g} (theory, 6, D8)."
        if flow is not None and flow * found.growth < 0.0:
            return f"{text} The flow itself goes the other way, at the rate {flow:.4g}: the step is too large (theory, D7)."
        return text

    def _spiralling(self, found: Rotation) -> Explanation | None:
        self.seen.decay = Decay("exponential", -found.growth, -found.growth, -found.growth, 0.0)
        if not self.seen.rests:
            fit = fitted(self.seen.path.t, np.linalg.norm(self.seen.path.joint - found.centre, axis=1))
            if fit is not None and fit.kind == "algebraic" and not found.linear:
                self.seen.decay = fit
        return self._resting() if self.seen.rests else None

    def _resting(self) -> Explanation | None:
        if not self.seen.rests:
            return None
        rate = self._rate()
        far = self.seen.far()
        if far is None or not far:
            where = "" if far is None else f" at its target (W2 {self.seen.evidence['W2 to the target']:.3g})"
            return self._says(Finding.converged, f"The flow has come to rest{where}{rate}.", [])
        gap = self.seen.evidence["W2 to the target"]
        features = self.seen.features()
        seen = features[0] / max(features[1], 1e-300) if features is not None else self.seen.relative_energy()
        if features is not None:
            self.seen.evidence["gap in the features"] = features[0]
        if seen is not None and seen < 1e-3:
            text = (
                f"The flow rests where its critic or kernel sees no difference from the target (relative gap {seen:.2g}), "
                f"while W2 to it is {gap:.4g}{rate}: different laws have the same features (theory, M1, section 12, 22)."
            )
            return self._says(Finding.blind, text, [_features_cure()])
        c = self.seen.captured
        if c is not None and c.atoms >= len(c.modes) > c.visited[-1]:
            return self._collapsed(c, rate, wider_kernel(self.seen.problem, gap))
        text = (
            f"The flow rests{rate}, but W2 to the target is {gap:.4g}: nothing pulls it on, as the critic is flat at its atoms."
        )
        few = [law_generator(len(c.modes))] if c is not None and c.atoms < len(c.modes) else []
        return self._says(Finding.frozen, text, [*few, *wider_kernel(self.seen.problem, self.seen.evidence["W2 to the target"])])

    def _rate(self) -> str:
        """Return in words how fast it came to rest, and note the numbers."""
        d = self.seen.decay
        if d is None:
            return ""
        if d.kind == "finite":
            self.seen.evidence["time of arrival"] = d.end
            return f", reached in finite time at t = {d.end:.5g}"
        if d.kind == "exponential":
            self.seen.evidence |= {"rate": d.rate, "rate, lowest": d.low, "rate, highest": d.high}
            return f", exponentially at the rate {d.rate:.5g} (between {d.low:.4g} and {d.high:.4g})"
        self.seen.evidence |= {"exponent of the speed": d.rate, "exponent of the distance": d.rate - 1.0}
        return f", algebraically: the speed falls like t^-{d.rate:.4g}"

    def _covering(self) -> Explanation | None:
        """Return the verdict on a law that covers some or all modes and still moves."""
        c = self.seen.captured
        if c is None or c.atoms < len(c.modes):
            return None
        late = c.fair[-max(len(c.fair) // 4, 1) :]
        if late.min() == len(c.modes):
            self.seen.evidence |= {"modes": len(c.modes), "high quality": float(c.inside[-1].sum())}
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
        self.seen.evidence |= {
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
        if self.seen.problem is None:
            return []
        return against_collapse(self.seen.sol, self.seen.evidence, c.atoms < len(c.modes), len(c.modes))

    def _moving(self) -> Explanation | None:
        """Return the verdict on a flow that goes on: slower and slower, trembling, or faster and faster."""
        shrunk = self._shrunk()
        if shrunk is not None:
            return shrunk
        if self.seen.decay is not None and self.seen.speed[-1] < 0.7 * self.seen.speed.max():
            left = self.seen.left(self.seen.decay)
            if np.isfinite(left):
                self.seen.evidence["way that is left"] = left
            words = self._rate().removeprefix(", ")
            more = (
                f"a way of {left:.3g} is left after {self.seen.length:.3g}"
                if np.isfinite(left)
                else "its way has no end if it goes on so"
            )
            return self._says(Finding.converges, f"The flow slows down {words}; {more}.", self._longer(left))
        fifths = np.array_split(self.seen.speed, 5)
        first, last = np.median(fifths[0]), np.median(fifths[-1])
        reach = np.linalg.norm(self.seen.path.joint - self.seen.path.joint[0], axis=1)
        if last > 3.0 * first > 0.0 and reach[-1] > 0.7 * reach.max():
            self.seen.evidence |= {"first speed": first, "last speed": last, "distance from the start": float(reach[-1])}
            text = f"The flow runs away: its speed grew from {first:.4g} to {last:.4g}, {reach[-1]:.4g} away from the start."
            return self._says(Finding.diverges, text, [])
        return None

    def _longer(self, left: float) -> list[Suggestion]:
        d = self.seen.decay
        if d is None or d.kind != "exponential" or not np.isfinite(left):
            return []
        t = float(self.seen.sol.t[-1]) + float(np.log(max(left / (SETTLED * self.seen.length), 1.0))) / d.rate
        words = f"At the rate {d.rate:.4g} one per cent of the way is left at t = {t:.4g}."
        return [Suggestion("time", words, f"t_span={t:.4g}", t, {"t_span": (float(self.seen.sol.t[0]), t)})]

    def _shrunk(self) -> Explanation | None:
        """Return whether a law that trembles, as under mini-batches, has a smaller spread than its target (theory, N4)."""
        state = self.seen.sol.row(-1)[0]
        if self.seen.target is None or isinstance(self.seen.target, Gaussian) or not isinstance(state, Law):
            return None
        rows = np.linspace(len(self.seen.sol) // 2, len(self.seen.sol) - 1, 40).round().astype(int)
        laws = [generated(self.seen.problem, self.seen.sol.row(int(k))[0]) for k in rows]
        if any(law is None for law in laws):
            return None
        spreads = np.array([deviation(*law) for law in laws if law is not None])
        goal = atoms(self.seen.target)
        ratio = spreads / deviation(*goal)
        drift = abs(ratio[:20].mean() - ratio[20:].mean())
        late = self.seen.speed[len(self.seen.speed) // 2 :]
        trembles = float(late.min()) > 0.05 * float(np.median(late))
        steady = drift < 0.25 * (1.0 - ratio.mean()) and trembles and self.seen.left(self.seen.decay) > SETTLED * self.seen.length
        if not steady or ratio.mean() > 0.97:
            return None
        seen, wanted = batch_for(goal[0], float(ratio.mean()))
        self.seen.evidence |= {"spread, relative to the target's": float(ratio.mean()), "batch that shrinks so": seen}
        words = f"Transport to mini-batches shrinks deviations by sqrt(rho_B); {wanted} atoms keep 99 % of them (theory, N4)."
        text = (
            f"The law trembles and its spread stays at {ratio.mean():.4g} of the target's, as transport to batches of about "
            f"{seen:.1f} atoms would have it; no smaller step helps (theory, N4)."
        )
        return self._says(Finding.shrunk, text, [Suggestion("batch", words, f"batch={wanted}", wanted, {"batch": wanted})])


def _features_cure() -> Suggestion:
    words = (
        "Features that vanish on the difference cannot see it; a characteristic kernel or a critic of neurons can (theory, 7.2)."
    )
    return Suggestion("features", words, "critic=mf.games.NeuronCritic() or mf.energies.EnergyDistance(target)")
