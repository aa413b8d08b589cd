"""What a flow does, in a word, a few sentences and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from measureflow.diagnostics.suggestion import Suggestion


@final
class Finding(StrEnum):
    """What a flow does."""

    converged = "converged"
    """It came to rest, at its target if it has one, or holds all of the target's modes."""
    converges = "converges"
    """It slows down or comes nearer to its target, and has a way to go."""
    rotates = "rotates"
    """It turns around a point."""
    frozen = "frozen"
    """It came to rest away from its target."""
    blind = "blind"
    """It came to rest where critic or kernel see no difference from the target, and W2 does."""
    blurred = "blurred"
    """The generator's mass lies about the target's modes, but not within them."""
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
