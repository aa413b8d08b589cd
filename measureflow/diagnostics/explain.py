"""What happened in a computed flow, in words and numbers, and what the theory suggests (theory, sections 6 to 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow._threads import one_blas_thread
from measureflow.diagnostics.captured import given_modes
from measureflow.diagnostics.decay import Decay, fitted
from measureflow.diagnostics.finding import Explanation as Explanation
from measureflow.diagnostics.finding import Finding as Finding
from measureflow.diagnostics.paths import generated
from measureflow.diagnostics.remedies import (
    against_collapse,
    against_rotation,
    batch_for,
    exact_amplitude,
    law_generator,
    other_critic,
    smaller_step,
    stable_step,
    wider_kernel,
    with_transport,
)
from measureflow.diagnostics.rotation import Rotation
from measureflow.diagnostics.seen import FAR, SETTLED, Seen, deviation
from measureflow.diagnostics.suggestion import Suggestion
from measureflow.diagnostics.told import Told
from measureflow.states import Gaussian, Law, atoms

if TYPE_CHECKING:
    from measureflow.solution import Solution

STEADY = 2e-4
GROWN = 20.0
FEW = 5
TREMBLES = 0.5
STRAIGHT = 1e-3
GONE = 10.0


def explained(sol: Solution, centres: Any, std: Any) -> Explanation:
    """Return the explanation of a solution."""
    given = given_modes(centres, std)
    if len(sol) < 2:
        return Explanation(Finding.undecided, "There is no step to explain.", {}, [])
    with one_blas_thread(), np.errstate(all="ignore"):
        return _Case(Seen(sol, given)).verdict()


class _Case(Told):
    """The verdict on what was measured of a run."""

    def verdict(self) -> Explanation:
        """Return the first explanation that fits."""
        rules = (self._broken, self._gone, self._hopping, self._turned, self._resting, self._covering, self._moving)
        for rule in rules:
            found = rule()
            if found is not None:
                return found
        return self._open()

    def _broken(self) -> Explanation | None:
        sol = self.seen.sol
        if self.seen.beyond:
            text = f"The flow leaves every bound: its coordinates reach 1e{self.seen.beyond:.0f} at t = {sol.t[-1]:g}."
            return self._says(Finding.diverges, text, [] if self.seen.problem is None else [smaller_step(sol)])
        if sol.status != "not_finite":
            return None
        first, last = float(self.seen.speed[0]), float(self.seen.speed[-1])
        self.seen.evidence |= {"first speed": first, "last speed": last}
        text = f"The solver stopped: {sol.message}. Its speed went from {first:.4g} to {last:.4g}."
        return self._says(Finding.diverges, text, [] if self.seen.problem is None else [smaller_step(sol)])

    def _gone(self) -> Explanation | None:
        """Return the verdict on a law that runs away from its target."""
        gaps, spread = self.seen.gaps, self.seen.spread
        if self.held is not None and not self.held.enough:
            return None
        if len(gaps) < FEW or spread is None or gaps[-1] < GONE * max(gaps[0], spread) or gaps[-1] < 0.5 * gaps.max():
            return None
        self.seen.evidence |= {"distance, first": float(gaps[0]), "distance, last": float(gaps[-1])}
        text = (
            f"The law runs away: its {self.seen.gap_name} to the target grew from {gaps[0]:.4g} to {gaps[-1]:.4g}, "
            f"{gaps[-1] / max(spread, 1e-300):.3g} times the target's spread."
        )
        cures = stable_step(self.seen.sol, self.seen.evidence)
        more = [] if self.held is None else self._collapse_cures(self.held.captured)
        return self._says(Finding.diverges, text, [*cures, *more])

    def _open(self) -> Explanation:
        """Return what is said where nothing is decided."""
        sol, held = self.seen.sol, self.held
        if len(sol) < FEW:
            text = f"There are {len(sol)} rows only, too few to tell; the last speed is {self.seen.speed[-1]:.4g}."
        else:
            text = f"Neither rest nor rotation shows up to t = {sol.t[-1]:g}; the last speed is {self.seen.speed[-1]:.4g}."
        text += self._distance()
        if held is not None and held.captured.atoms >= held.k:
            self.seen.evidence |= held.numbers()
            text += f" Its mass is nearest to {held.count} modes, and {held.within}."
        swings = len(sol) >= FEW and self.seen.problem is not None and not self.seen.falls
        cures = against_collapse(sol, self.seen.evidence, False, 0) if swings else []
        return self._says(Finding.undecided, text, [*self._more_time(), *cures])

    def _hopping(self) -> Explanation | None:
        held = self.held
        if held is None or self.seen.rests or not held.hops or (self.seen.fixed and self.seen.turning() is not None):
            return None
        c = held.captured
        late = c.visited[len(c.visited) // 2 :]
        self.seen.evidence |= {
            "changes of the heaviest mode": c.hops,
            "modes that come and go": c.come_and_go,
            "modes at a time": float(late.mean()),
            "modes over time": c.union,
            "high quality": held.quality,
        }
        text = (
            f"The generator holds {late.mean():.2g} of {held.k} modes at a time, and {c.union} over the last half, from t = "
            f"{c.t[len(c.t) // 2]:.4g} on: it hops. The heaviest mode changed {c.hops} times there, {c.come_and_go} modes were "
            "lost and found again. Time averages may match the target (theory, D10)."
        )
        return self._says(Finding.hops, text, self._collapse_cures(c))

    def _turned(self) -> Explanation | None:
        turning = None if self.seen.rests and self.seen.length <= 1e-9 else self.seen.turning()
        if turning is None or (self.held is not None and not self.seen.fixed and self.held.covers):
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
            return self._spiralling(found, player)
        c = self.seen.captured
        if self.held is not None and self.held.enough and not self.seen.fixed and self.held.status is not None:
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
        kept = self.seen.conserved() if flow is None else None
        return (
            text if kept is None else f"{text} That is made by the steps: the flow itself conserves the {kept} (theory, 6, D8)."
        )

    def _spiralling(self, found: Rotation, player: int | None) -> Explanation | None:
        if self.seen.rests:
            self.seen.decay = Decay("exponential", -found.growth, -found.growth, -found.growth, 0.0)
            return self._resting()
        if player is not None:
            return None
        self.seen.decay = Decay("exponential", -found.growth, -found.growth, -found.growth, 0.0)
        fit = fitted(self.seen.path.t, np.linalg.norm(self.seen.path.joint - found.centre, axis=1))
        if fit is not None and fit.kind == "algebraic" and not found.linear:
            self.seen.decay = fit
        return self._resting() if self.seen.rests else None

    def _resting(self) -> Explanation | None:
        if not self.seen.rests:
            return None
        rate, held = self._rate(), self.held
        far = self.seen.far()
        if held is not None and held.enough and held.covers and held.status is Finding.converged:
            return self._holds_all(f" The flow has come to rest{rate}.")
        if far is None or not far:
            where = "" if far is None else f" at its target (W2 {self.seen.evidence['W2 to the target']:.3g})"
            return self._says(Finding.converged, f"The flow has come to rest{where}{rate}.", [])
        return self._blind(rate) or self._away(rate)

    def _blind(self, rate: str) -> Explanation | None:
        """Return the verdict on a flow that rests where its critic or kernel sees no difference from the target."""
        features = self.seen.features()
        seen = features[0] / max(features[1], 1e-300) if features is not None else self.seen.relative_energy()
        if features is not None:
            self.seen.evidence["gap in the features"] = features[0]
        if seen is None or seen >= 1e-3:
            return None
        text = (
            f"The flow rests where its critic or kernel sees no difference from the target (relative gap {seen:.2g}), "
            f"while W2 to it is {self.seen.evidence['W2 to the target']:.4g}{rate}: different laws have the same features "
            "(theory, M1, section 12, 22)."
        )
        return self._says(Finding.blind, text, other_critic(self.seen.sol))

    def _away(self, rate: str) -> Explanation:
        """Return the verdict on a flow that rests away from its target."""
        gap, held, problem = self.seen.evidence["W2 to the target"], self.held, self.seen.problem
        cures = with_transport(self.seen.sol) or wider_kernel(problem, gap)
        if held is not None and held.enough and held.status is Finding.collapsed:
            return self._collapsed(held, rate, cures or other_critic(self.seen.sol))
        gaps = self.seen.gaps
        if held is not None and held.enough and held.status is Finding.blurred and gaps[-1] < 0.5 * gaps[0]:
            return self._blurred(held, f"; the flow rests{rate}")
        text = (
            f"The flow rests{rate}, but W2 to the target is {gap:.4g}: nothing pulls it on, as the critic is flat at its atoms."
        )
        few = [law_generator(held.k)] if held is not None and held.captured.atoms < held.k else []
        flat = [*few, *cures] if few or cures else other_critic(self.seen.sol)
        return self._says(Finding.frozen, text, flat)

    def _covering(self) -> Explanation | None:
        """Return the verdict on a law that covers some or all modes and still moves."""
        held = self.held
        if held is None or not held.enough or held.status is None:
            return None
        if held.status is Finding.converged:
            return self._holds_all("")
        if self.seen.falls or held.status is Finding.converges:
            return self._nearer(held)
        if held.status is Finding.collapsed:
            return self._collapsed(held, "")
        return self._shrunk() or self._blurred(held, "")

    def _moving(self) -> Explanation | None:
        """Return the verdict on a flow that goes on: slower and slower, trembling, or faster and faster."""
        return self._shrunk() or self._slower() or self._away_for_ever()

    def _slower(self) -> Explanation | None:
        d = self.seen.decay
        if d is None or d.low <= 0.0 or self.seen.speed[-1] >= 0.7 * self.seen.speed.max():
            return None
        gaps, spread = self.seen.gaps, self.seen.spread
        if len(gaps) >= FEW and spread is not None and gaps[-1] > max(0.9 * gaps[0], FAR * spread) and not self.seen.falls:
            if self.seen.speed[-1] > 0.1 * self.seen.speed.max():
                return None
            words = self._rate().removeprefix(", ")
            text = f"The flow slows down {words}, and comes no nearer to its target.{self._distance()}"
            cures = wider_kernel(self.seen.problem, float(gaps[-1])) or other_critic(self.seen.sol)
            return self._says(Finding.frozen, text, cures)
        left, words = self.seen.left(d), self._rate().removeprefix(", ")
        if np.isfinite(left):
            self.seen.evidence["way that is left"] = left
        more = (
            f"a way of {left:.3g} is left after {self.seen.length:.3g}"
            if np.isfinite(left)
            else "its way has no end if it goes on so"
        )
        return self._says(Finding.converges, f"The flow slows down {words}; {more}.{self._distance()}", self._longer(left))

    def _away_for_ever(self) -> Explanation | None:
        """Return the verdict on a flow that goes faster and faster, or straight on, far beyond where it began."""
        speed, joint = self.seen.speed, self.seen.path.joint
        if len(speed) < FEW:
            return None
        fifths = np.array_split(speed, 5)
        first, last = float(np.median(fifths[0])), float(np.median(fifths[-1]))
        reach = np.linalg.norm(joint - joint[0], axis=1)
        faster = last > 3.0 * first > 0.0 and reach[-1] > 0.7 * reach.max()
        same = bool(np.ptp(speed[1:]) <= STRAIGHT * speed[-1]) and self.seen.target is None
        straight = same and reach[-1] > max(0.95 * self.seen.length, 3.0 * float(np.linalg.norm(joint[0])))
        if not faster and not straight:
            return None
        self.seen.evidence |= {"first speed": first, "last speed": last, "distance from the start": float(reach[-1])}
        how = f"grew from {first:.4g} to {last:.4g}" if faster else f"stays {last:.4g}, straight on"
        text = f"The flow runs away: its speed {how}, {reach[-1]:.4g} away from the start."
        return self._says(Finding.diverges, text, [])

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
        if not deviation(*goal) > 0.0:
            return None
        ratio = spreads / deviation(*goal)
        drift = abs(ratio[:20].mean() - ratio[20:].mean())
        going = self.seen.left(self.seen.decay) > SETTLED * self.seen.length
        if drift >= 0.25 * (1.0 - ratio.mean()) or not going or ratio.mean() > 0.97 or self.seen.smoothness > TREMBLES:
            return None
        seen, wanted = batch_for(goal[0], float(ratio.mean()))
        self.seen.evidence |= {"spread, relative to the target's": float(ratio.mean()), "batch that shrinks so": seen}
        words = f"Transport to mini-batches shrinks deviations by sqrt(rho_B); {wanted} atoms keep 99 % of them (theory, N4)."
        text = (
            f"The law trembles and its spread stays at {ratio.mean():.4g} of the target's, as transport to batches of about "
            f"{seen:.1f} atoms would have it; no smaller step helps (theory, N4)."
        )
        return self._says(Finding.shrunk, text, [Suggestion("batch", words, f"batch={wanted}", wanted, {"batch": wanted})])
