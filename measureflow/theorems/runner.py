"""Runs the experiments of theorems."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from measureflow import _validate as check
from measureflow.status import one_line
from measureflow.theorems.base import LEVELS, Theorem, Trial
from measureflow.theorems.catalogue import get
from measureflow.theorems.check import Check, Ruling
from measureflow.theorems.counterexample import CounterExample
from measureflow.theorems.curves import Curve
from measureflow.theorems.verdict import Verdict


def verify(name: str, level: str = "quick") -> Verdict:
    """Run the experiment of a theorem, and its negative control.

    Parameters
    ----------
    name : str
        One of `names()`, or its label in theory.md.
    level : {"quick", "full"}
        "quick" takes seconds, "full" up to minutes, with more cases and finer steps.

    Returns
    -------
    Verdict

    Raises
    ------
    TypeError, ValueError
        If there is no such theorem or level.

    Examples
    --------
    >>> import measureflow as mf
    >>> mf.theorems.verify("conventions").holds
    True
    """
    return examine(get(name), level)


def examine(theorem: Theorem, level: str = "quick") -> Verdict:
    """Run the experiment of a theorem that need not be in the catalogue; arguments and result as `verify`.

    Examples
    --------
    >>> from measureflow.theorems import Check, Control, Theorem
    >>> def halving(tau):
    ...     yield Check("factor", 1.0 / (1.0 + tau), 0.5, "equal to", tolerance=1e-12)
    >>> claim = Theorem("halving", "", "a step halves", "", "x_+ = x / 2", (), "", (), halving, [{"tau": 1.0}], [{"tau": 1.0}],
    ...                 Control("tau is not 1", halving, [{"tau": 0.5}]))
    >>> examine(claim).holds
    True
    """
    check.choice("level", level, LEVELS)
    began = time.process_time()
    checks: list[Check] = []
    curves: list[Curve] = []
    found, broken = None, ""
    for trial in theorem.trials(level):
        seen, broken = _outcome(theorem.test, trial, curves)
        checks += seen
        worst = [entry for entry in seen if entry.ruling is Ruling.violated]
        if worst and found is None:
            found = _counterexample(theorem, trial, min(worst, key=lambda entry: entry.clearance))
        if broken:
            break
    control = []
    for trial in theorem.control.trials:
        seen, problem = _outcome(theorem.control.test, trial, curves)
        control.append(seen)
        broken = broken or (problem and f"control: {problem}")
    spent = time.process_time() - began
    return Verdict(
        name=theorem.name,
        label=theorem.label,
        title=theorem.title,
        statement=theorem.statement,
        source=theorem.source,
        checks=checks,
        cpu_seconds=spent,
        level=level,
        control=control,
        curves=curves,
        counterexample=found,
        broken=broken,
    )


def _outcome(test: Any, trial: Trial, curves: list[Curve]) -> tuple[list[Check], str]:
    """Return the checks of a trial, and what ended it before its end; its curves are added to those given."""
    seen: list[Check] = []
    try:
        _sort(test(**trial), seen, curves)
    except Exception as error:  # whatever breaks: the experiment is then undecided, and says why
        where = ", ".join(f"{name} = {value}" for name, value in trial.items())
        return seen, one_line(f"{type(error).__name__} in the trial {where or 'without arguments'}: {error}")
    return seen, ""


def _sort(found: Iterable[Check | Curve], checks: list[Check], curves: list[Curve]) -> None:
    for entry in found:
        if isinstance(entry, Check):
            checks.append(entry)
        else:
            curves.append(entry)


def _counterexample(theorem: Theorem, trial: Trial, seen: Check) -> CounterExample:
    content = {"theorem": {"name": theorem.name}, "trial": dict(trial)}
    return CounterExample("theorem", f"{theorem.label} {theorem.name}".strip(), content, seen)


def repeat(content: dict[str, Any]) -> Sequence[Check]:
    """Compute the trial of a counter-example of a theorem again, from what its file holds; return its checks.

    Raises
    ------
    TypeError, ValueError
        If the file does not name a theorem and arguments of its experiment.
    """
    table = check.instance("theorem", content.get("theorem"), dict, "a table with the name of a theorem")
    theorem = get(table.get("name", ""))
    trial = check.instance("trial", content.get("trial", {}), dict, "a table of arguments of the experiment")
    known = {name for entry in (*theorem.quick, *theorem.full) for name in entry}
    for name in trial:
        check.choice("an entry of trial", name, sorted(known))
    return [entry for entry in theorem.test(**trial) if isinstance(entry, Check)]
