"""What came out of the experiment of a theorem, or of a claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

from measureflow.report import columns
from measureflow.states.draw import png_bytes
from measureflow.theorems.check import Check, Ruling
from measureflow.theorems.counterexample import CounterExample
from measureflow.theorems.curves import Curve

DPI = 90.0
"""Of the figures of theorems."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Verdict:
    """Whether a theorem or a claim holds, with the numbers.

    Attributes
    ----------
    name, label, title, statement, source : str
    checks : sequence of Check
        All comparisons, in the order in which they were made.
    control : sequence of sequence of Check
        Those of each trial of the negative control; at least one of each must be violated. Empty for claims.
    curves : sequence of Curve
        What the figure shows.
    cpu_seconds : float
    level : str
        "quick", "full", or "claim".
    counterexample : CounterExample or None
        The smallest case found that violates the claim; ``verdict.counterexample.save(path)`` writes it to a file that
        ``measureflow run`` computes again.
    broken : str
        What ended the experiment before its end, in one line; "" if nothing did.

    Examples
    --------
    >>> import measureflow as mf
    >>> verdict = mf.theorems.contraction("S1", rate=1.0)
    >>> verdict.holds, verdict.status
    (True, <Ruling.holds: 'holds'>)
    """

    name: str
    label: str
    title: str
    statement: str
    source: str
    checks: Sequence[Check]
    cpu_seconds: float
    level: str
    control: Sequence[Sequence[Check]] = ()
    curves: Sequence[Curve] = ()
    counterexample: CounterExample | None = None
    broken: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> Ruling:
        """holds, violated or undecided.

        A theorem holds if all its checks hold and its control fails. A control that does not fail decides nothing: then the
        experiment could not have told.
        """
        rulings = {check.ruling for check in self.checks}
        if Ruling.violated in rulings:
            return Ruling.violated
        if self.broken or not self.checks or Ruling.undecided in rulings or not self.control_fails:
            return Ruling.undecided
        return Ruling.holds

    @property
    def holds(self) -> bool:
        """Whether the status is "holds"."""
        return self.status is Ruling.holds

    @property
    def control_fails(self) -> bool:
        """Whether every trial of the control violates a check, as it must; True if there is no control."""
        return all(any(check.ruling is Ruling.violated for check in trial) for trial in self.control)

    @property
    def decisive(self) -> Check | None:
        """The check that is met by least; None if there is none."""
        order = {Ruling.violated: 0, Ruling.undecided: 1, Ruling.holds: 2}
        return min(self.checks, key=lambda check: (order[check.ruling], check.clearance), default=None)

    @property
    def measured(self) -> float:
        """What the decisive check measured."""
        return self._of("measured")

    @property
    def predicted(self) -> float:
        """What the decisive check predicted."""
        return self._of("predicted")

    @property
    def margin(self) -> float:
        """By how much the decisive check is met; negative if it is missed."""
        return self._of("margin")

    @property
    def error(self) -> float:
        """The sum of errors of the decisive check; the claim holds only if the margin exceeds it."""
        return self._of("error")

    @cached_property
    def png(self) -> bytes:
        """The figure as the bytes of a PNG file; needs the extra `plot`."""
        return png_bytes(self.plot(), DPI)

    def plot(self) -> Any:
        """Draw the figure.

        Returns
        -------
        matplotlib.figure.Figure
            Needs the extra `plot`.
        """
        from measureflow.theorems.pictures import figure

        return figure(self)

    def save(self, path: str | Path) -> Path:
        """Write the counter-example to a file that ``measureflow run`` computes again.

        Raises
        ------
        ValueError
            If there is none, because the claim is not violated.
        """
        if self.counterexample is None:
            raise ValueError(f"a verdict must be violated to have a counter-example, got {self.status}")
        return self.counterexample.save(path)

    def __repr__(self) -> str:
        """Return status and table of checks."""
        head = f"{self.label} {self.name}".strip()
        lines = [f"{head}: {self.status} ({self.cpu_seconds:.2g} CPU s)", table(self.checks)]
        if self.control:
            lines.append(f"control: {'fails, as it must' if self.control_fails else 'does not fail'}")
            lines.append(table([_worst(trial) for trial in self.control if trial]))
        if self.broken:
            lines.append(self.broken)
        if self.counterexample is not None:
            lines.append(f"counter-example: {self.counterexample}")
        return "\n".join(line for line in lines if line)

    def _of(self, name: str) -> float:
        return float("nan") if self.decisive is None else float(getattr(self.decisive, name))


def _worst(checks: Sequence[Check]) -> Check:
    return min(checks, key=lambda check: (check.ruling is not Ruling.violated, check.clearance))


def tally(verdicts: Sequence[Verdict]) -> dict[Ruling, int]:
    """Return how many verdicts there are of each status."""
    return {ruling: sum(verdict.status is ruling for verdict in verdicts) for ruling in Ruling}


def numbers(check: Check) -> tuple[str, ...]:
    """Return what was measured, its relation to what was predicted, tolerance, margin and error as texts."""
    first = f"{check.measured:.6g}", check.relation, f"{check.predicted:.6g}"
    return *first, f"{check.tolerance:.2g}", f"{check.margin:.3g}", f"{check.error:.2g}"


def table(checks: Sequence[Check]) -> str:
    """Return checks as lines of text."""
    if not checks:
        return ""
    header = ("check", "measured", "", "predicted", "tolerance", "margin", "error", "", "where")
    rows = [(check.name, *numbers(check), str(check.ruling), check.where) for check in checks]
    return "\n".join("  " + line for line in columns(header, rows).splitlines())
