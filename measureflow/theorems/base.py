"""What a theorem is: a statement, and an experiment that could refute it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from measureflow.theorems.check import Check
from measureflow.theorems.curves import Curve

LEVELS = ("quick", "full")

Trial = Mapping[str, Any]
"""Arguments of a test: numbers, texts, True, False, and lists of them, so that a file can hold them."""
Test = Callable[..., Iterable[Check | Curve]]


def every(**choices: Sequence[Any]) -> list[Trial]:
    """Return all trials that take one of the choices for each argument; the first argument changes last.

    Examples
    --------
    >>> every(dim=[1, 2], seed=[0])
    [{'dim': 1, 'seed': 0}, {'dim': 2, 'seed': 0}]
    """
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


@final
@dataclass(frozen=True, eq=False)
class Control:
    """A case that violates a hypothesis, in which the conclusion must visibly fail.

    Parameters
    ----------
    violates : str
        The hypothesis that does not hold, in words.
    test : callable
        Yields checks like those of the theorem: in every trial at least one must come out violated.
    trials : sequence of trials
        The same at both levels.
    """

    violates: str
    test: Test
    trials: Sequence[Trial] = ({},)


@final
@dataclass(frozen=True, eq=False)
class Theorem:
    """A statement with an experiment that could refute it.

    Parameters
    ----------
    name : str
        As `verify` takes it, "one-step".
    label : str
        Its label in theory.md, "T1".
    title : str
        What it says, in a few words.
    statement : str
        In words, hypotheses apart.
    formula : str
        In TeX's mathematics, without dollars, as matplotlib reads it.
    hypotheses : sequence of str
    source : str
        Section of theory.md and paper.
    problems : sequence of str
        Labels in `measureflow.problems` that the experiment uses.
    test : callable
        trial(**arguments) yields `Check`s, and `Curve`s of the figure.
    quick, full : sequence of trials
        Arguments of `test` at the two levels, smallest first: the first that is violated is the counter-example.
    control : Control
    """

    name: str
    label: str
    title: str
    statement: str
    formula: str
    hypotheses: Sequence[str]
    source: str
    problems: Sequence[str]
    test: Test
    quick: Sequence[Trial]
    full: Sequence[Trial]
    control: Control

    def trials(self, level: str) -> Sequence[Trial]:
        """Return the trials of a level."""
        return self.quick if level == "quick" else self.full

    def __repr__(self) -> str:
        """Return label and title."""
        return f"Theorem({self.label} {self.name}: {self.title})"
