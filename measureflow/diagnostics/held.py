"""The verdict on the modes that a law holds in the last quarter of a run: all, some, none, or some at a time."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow.diagnostics.captured import Captured
from measureflow.diagnostics.finding import Finding

HOPS = 3
SHARP = 0.5
DIM = 0.2
NEARLY = 0.8
ROWS = 8


@final
class Held:
    """The modes that a generator holds in the end.

    `lowest`, `typical` and `highest` are numbers of modes that are nearest to 20 % of their weight, `quality` is the mass within
    modes; all of them in the last quarter of the rows.
    """

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.k = len(captured.modes)
        visited = captured.visited[captured.late]
        self.lowest, self.highest = int(visited.min()), int(visited.max())
        self.typical = float(np.median(visited))
        self.quality = float(np.median(captured.quality[captured.late]))
        self.covers = bool(np.median(captured.fair[captured.late]) == self.k and captured.fair[-1] >= self.k - self.k // 4)

    @property
    def enough(self) -> bool:
        """Whether there are atoms for all modes, and rows to judge by."""
        return self.captured.atoms >= self.k and len(self.captured.t) >= ROWS

    @property
    def status(self) -> Finding | None:
        """What is said of a law that does not come nearer to its target."""
        if self.covers:
            return Finding.converged if self.quality >= SHARP else Finding.blurred
        if self.highest < self.k and (self.quality >= DIM or self.typical <= 0.5 * self.k):
            return Finding.collapsed
        if self.quality < SHARP:
            return Finding.blurred
        nearly = self.lowest == self.k and np.median(self.captured.fair[self.captured.late]) >= NEARLY * self.k
        return Finding.converges if nearly else None

    @property
    def hops(self) -> bool:
        """Whether few modes are held at a time, and more over time; or whether many are lost and found again."""
        c = self.captured
        late = c.visited[len(c.visited) // 2 :]
        if late.max() < c.union and c.hops >= HOPS and np.median(late) <= max(1, self.k // 2):
            return True
        return self.enough and np.median(late) < self.k and c.come_and_go > max(1, self.k // 4)

    def numbers(self) -> dict[str, float]:
        """Return what is told by numbers."""
        c = self.captured
        return {
            "modes": int(c.visited[-1]),
            "fair modes": int(c.fair[-1]),
            "modes of the target": self.k,
            "modes over time": c.union,
            "high quality": float(c.quality[-1]),
        }

    @property
    def count(self) -> str:
        """How many modes of how many: "3 of 8", or "3 to 5 of 8" if that changes."""
        several = "" if self.lowest == self.highest else f" to {self.highest}"
        return f"{self.lowest}{several} of {self.k}"

    @property
    def within(self) -> str:
        """How much of the mass lies within modes, in words."""
        return f"{100.0 * self.quality:.1f} % of its mass lies within the modes"
