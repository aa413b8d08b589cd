"""What is said of a run: of its rate, its distance to the target, and the modes that it holds."""

from __future__ import annotations

from measureflow.diagnostics.captured import Captured
from measureflow.diagnostics.finding import Explanation, Finding
from measureflow.diagnostics.held import Held
from measureflow.diagnostics.remedies import against_collapse, longer, other_critic, sharper_kernel
from measureflow.diagnostics.seen import Seen
from measureflow.diagnostics.suggestion import Suggestion


class Told:
    """What was measured of a run, in sentences."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.held = None if seen.captured is None else Held(seen.captured)

    def _says(self, status: Finding, text: str, suggestions: list[Suggestion]) -> Explanation:
        numbers = {name: float(value) for name, value in self.seen.evidence.items()}
        if not self.seen.sol.success and status is not Finding.diverges:
            text = f"The solver stopped: {self.seen.sol.message}. {text}"
        return Explanation(status, text, numbers, suggestions)

    def _distance(self) -> str:
        """Say how the distance to the target has changed, if there is one."""
        gaps = self.seen.gaps
        if not len(gaps):
            return ""
        self.seen.evidence |= {"distance, first": float(gaps[0]), "distance, last": float(gaps[-1])}
        return f" Its {self.seen.gap_name} to the target went from {gaps[0]:.4g} to {gaps[-1]:.4g}."

    def _more_time(self) -> list[Suggestion]:
        return [] if self.seen.problem is None else [longer(self.seen.sol)]

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

    def _holds_all(self, more: str) -> Explanation:
        assert self.held is not None
        self.seen.evidence |= self.held.numbers() | {"modes": self.held.k}
        since = self.held.captured.held_since()
        self.seen.evidence["since t"] = since
        text = f"All {self.held.k} modes are held since t = {since:.4g}; {self.held.within}.{more}"
        return self._says(Finding.converged, text, [])

    def _nearer(self, held: Held) -> Explanation:
        """Return the verdict on a law that still comes nearer to its target."""
        t, gaps = self.seen.gap_times, self.seen.gaps
        half = len(gaps) // 2
        self.seen.evidence |= held.numbers() | {"distance, half-way": float(gaps[half]), "distance, last": float(gaps[-1])}
        text = (
            f"The law is on its way: its {self.seen.gap_name} to the target went from {gaps[half]:.4g} at t = {t[half]:.4g} to "
            f"{gaps[-1]:.4g} at t = {t[-1]:.4g}. It is near {held.count} modes now, {int(held.captured.fair[-1])} of which hold "
            f"20 % of their share; {held.within}."
        )
        return self._says(Finding.converges, text, self._more_time())

    def _blurred(self, held: Held, more: str) -> Explanation:
        self.seen.evidence |= held.numbers()
        text = (
            f"The law is blurred: its mass is nearest to {held.count} modes, but only {100.0 * held.quality:.1f} % of it lies "
            f"within them, and it does not come nearer to the target{more}."
        )
        cures = [*sharper_kernel(self.seen.problem, self.seen.sol), *self._collapse_cures(held.captured)]
        if not cures or self.seen.linear_critic:
            cures += other_critic(self.seen.sol)
        return self._says(Finding.blurred, text, cures)

    def _collapsed(self, held: Held, rate: str, cures: list[Suggestion] | None = None) -> Explanation:
        since = held.captured.since(held.highest)
        self.seen.evidence |= held.numbers() | {"since t": since}
        when = "from the start on" if since <= held.captured.t[0] else f"from t = {since:.4g} on"
        text = (
            f"The generator has collapsed to {held.count} modes, {when}{rate}; {held.within}, and it visited "
            f"{held.captured.union} of them in the last half."
        )
        return self._says(Finding.collapsed, text, [*(cures or []), *self._collapse_cures(held.captured)])

    def _collapse_cures(self, c: Captured) -> list[Suggestion]:
        if self.seen.problem is None:
            return []
        return against_collapse(self.seen.sol, self.seen.evidence, c.atoms < len(c.modes), len(c.modes))
