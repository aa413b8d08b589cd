"""A claim that is asked of cases: its verdict, the smallest counter-example, and that computed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import MeasureflowError
from measureflow.theorems import comparisons
from measureflow.theorems.case import Case, case_from, named_function
from measureflow.theorems.check import Check, Ruling
from measureflow.theorems.counterexample import CounterExample
from measureflow.theorems.curves import Curve
from measureflow.theorems.verdict import Verdict

Comparison = Callable[..., tuple[Check, list[Curve]]]
MOST_TRIES = 24
PYTHON = "python:"
NUMBERS = ("taus", "predicted", "tolerance", "rate", "lambda_", "quantity", "formula", "limit")

COMPARISONS: Mapping[str, Comparison] = {
    "order_of_convergence": comparisons.order,
    "contraction": comparisons.contraction,
    "evi": comparisons.evi,
    "conserved": comparisons.conserved,
    "bound": comparisons.bound,
}


@final
@dataclass(frozen=True, eq=False)
class Asked:
    """A claim: its name in `COMPARISONS`, what it says, and the numbers that define it."""

    name: str
    statement: str
    numbers: Mapping[str, Any]

    def ask(self, case: Case) -> tuple[Check, list[Curve]]:
        """Return what a case says, and curves."""
        return COMPARISONS[self.name](case, **self.numbers)


def verdict_of(asked: Asked, cases: Sequence[Case]) -> Verdict:
    """Ask of every case, make the first violation smaller, and put it all together."""
    began = time.process_time()
    checks: list[Check] = []
    curves: list[Curve] = []
    found: CounterExample | None = None
    for case in cases:
        seen, drawn = asked.ask(case)
        checks.append(seen)
        curves += drawn if case is cases[0] or seen.ruling is Ruling.violated else []
        if seen.ruling is Ruling.violated and found is None:
            found = _counterexample(asked, *_smallest(asked, *_portable(asked, case, seen)))
    return Verdict(
        name=asked.name,
        label="",
        title=f"{asked.name.replace('_', ' ')} of {cases[0].title}",
        statement=asked.statement,
        source="a claim",
        checks=checks,
        cpu_seconds=time.process_time() - began,
        level="claim",
        curves=curves,
        counterexample=found,
    )


def _portable(asked: Asked, case: Case, seen: Check) -> tuple[Case, Check]:
    """Return the case without an exact flow that a file could not give back, if it violates the claim without that too."""
    if case.exact is None or case.label or case.maker:
        return case, seen
    alone = replace(case, exact=None)
    try:
        found, _ = asked.ask(alone)
    except (AssertionError, ValueError):
        return case, seen  # the claim is about the exact flow
    return (alone, found) if found.ruling is Ruling.violated else (case, seen)


def _smallest(asked: Asked, case: Case, seen: Check) -> tuple[Case, Check]:
    """Return the smallest case found that still violates the claim: less time, fewer atoms."""
    tries, better = 0, True
    while better and tries < MOST_TRIES:
        better = False
        for smaller in case.smaller():
            tries += 1
            try:
                found, _ = asked.ask(smaller)
            except (MeasureflowError, ValueError, TypeError, IndexError, np.linalg.LinAlgError):
                continue  # the problem does not exist that small
            if found.ruling is Ruling.violated:
                case, seen, better = smaller, found, True
                break
    return case, seen


def _counterexample(asked: Asked, case: Case, seen: Check) -> CounterExample:
    table, arrays = case.data()
    numbers = {name: _as_data(value) for name, value in asked.numbers.items() if value is not None}
    content = {"claim": {"name": asked.name, **numbers}, "case": table, "arrays": arrays}
    return CounterExample("claim", f"{asked.name.replace('_', ' ')} of {case.title}", content, seen)


def _as_data(value: Any) -> Any:
    """Return a number of a claim as data; a function as its name, which says what the file lacks."""
    return f"{PYTHON}{getattr(value, '__name__', type(value).__name__)}" if callable(value) else value


def repeat(content: Mapping[str, Any], functions: Mapping[str, Any] | None = None) -> list[Check]:
    """Compute the counter-example of a claim again, from what its file holds.

    Parameters
    ----------
    content : mapping
        What the file holds.
    functions : mapping, optional
        Functions that files do not keep, by name: quantities, formulas, and the one that made the problem.

    Raises
    ------
    UnsupportedError
        If the claim or its problem need functions that are not given.
    TypeError, ValueError
        If the file does not describe a claim.
    """
    known = functions or {}
    numbers = dict(check.instance("claim", content.get("claim"), dict, "a table with the name of a claim"))
    ask = COMPARISONS[check.choice("the name of the claim", numbers.pop("name", None), tuple(COMPARISONS))]
    for name, value in numbers.items():
        check.choice("an entry of claim", name, NUMBERS)
        if isinstance(value, str) and value.startswith(PYTHON):
            numbers[name] = named_function(value.removeprefix(PYTHON), known, f"the {name}")
    case = case_from(
        check.instance("case", content.get("case"), dict, "a table"),
        check.instance("arrays", content.get("arrays", {}), dict, "a table of arrays"),
        known,
    )
    if ask is comparisons.conserved:
        numbers.setdefault("tolerance", None)
    return [ask(case, **numbers)[0]]
