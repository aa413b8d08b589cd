"""Many theorems at once: in several processes, as a table, as a page, as figures and counter-examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from measureflow import _validate as check
from measureflow.pools import in_processes, with_bar
from measureflow.report import columns
from measureflow.theorems.base import LEVELS
from measureflow.theorems.catalogue import get, names
from measureflow.theorems.check import Check, Ruling
from measureflow.theorems.runner import verify
from measureflow.theorems.verdict import Verdict, tally
from measureflow.theorems.verdict import table as checks_table

HEADER = ("theorem", "", "verdict", "checks", "decided by", "measured", "", "predicted", "margin", "error", "control", "CPU s")
SHOWN = 10
"""Checks that do not hold and are shown."""
MARKS = {Ruling.holds: "holds", Ruling.violated: "VIOLATED", Ruling.undecided: "undecided"}


def verify_all(chosen: Sequence[str] = (), level: str = "quick", jobs: int | None = None) -> Iterator[Verdict]:
    """Yield the verdicts of theorems as they come, several at a time.

    Parameters
    ----------
    chosen : sequence of str
        Names or labels; none stands for all.
    level : {"quick", "full"}
    jobs : int, optional
        Processes; default: the number of cores.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, before any work starts.

    Examples
    --------
    >>> [verdict.name for verdict in verify_all(["conventions"], jobs=1)]
    ['conventions']
    """
    wanted = list(dict.fromkeys(get(name).name for name in chosen)) or list(names())
    check.choice("level", level, LEVELS)
    return in_processes(verify, [(name, level) for name in wanted], jobs)


def collected(found: Iterable[Verdict], count: int | None = None, *, progress: bool = False) -> list[Verdict]:
    """Return verdicts in the order of the catalogue, once all have come; with a progress bar on standard error if wanted."""
    places = {name: k for k, name in enumerate(names())}
    shown = with_bar(found, len(names()) if count is None else count, "theorem", progress=progress)
    return sorted(shown, key=lambda verdict: places.get(verdict.name, len(places)))


def contents(chosen: Sequence[str] = ()) -> str:
    """Return labels, names and titles as lines of text."""
    wanted = [get(name) for name in chosen or names()]
    return columns(("label", "name", "title"), [(entry.label, entry.name, entry.title) for entry in wanted])


def trouble(verdict: Verdict) -> str:
    """Return in lines of text why a theorem does not hold: the first checks that do not, and its counter-example."""
    failed = [check for check in verdict.checks if check.ruling is not Ruling.holds]
    lines = [f"{verdict.label} {verdict.name}: {verdict.status}", checks_table(failed[:SHOWN])]
    if len(failed) > SHOWN:
        lines.append(f"  and {len(failed) - SHOWN} more")
    if not verdict.control_fails:
        lines.append("  the negative control does not fail, so that the experiment could not have told")
    if verdict.broken:
        lines.append(f"  {verdict.broken}")
    if verdict.counterexample is not None:
        lines.append(f"  counter-example: {verdict.counterexample}")
    return "\n".join(line for line in lines if line)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return in one line how many theorems hold, and what they cost."""
    count = tally(verdicts)
    checks = sum(len(verdict.checks) for verdict in verdicts)
    seconds = sum(verdict.cpu_seconds for verdict in verdicts)
    told = ", ".join(f"{count[ruling]} {ruling}" for ruling in Ruling if count[ruling] or ruling is Ruling.holds)
    return f"{len(verdicts)} theorems: {told}; {checks} checks, {seconds:.1f} CPU seconds"


def row(verdict: Verdict) -> tuple[str, ...]:
    """Return a verdict as a row of the table."""
    worst = verdict.decisive
    numbers = ("", "", "", "", "", "") if worst is None else _numbers(worst)
    control = "fails" if verdict.control_fails else "PASSES"
    return (
        verdict.label,
        verdict.name,
        MARKS[verdict.status],
        str(len(verdict.checks)),
        *numbers,
        control if verdict.control else "",
        f"{verdict.cpu_seconds:.1f}",
    )


def _numbers(worst: Check) -> tuple[str, ...]:
    numbers = f"{worst.measured:.6g}", worst.relation, f"{worst.predicted:.6g}", f"{worst.margin:.2g}", f"{worst.error:.1g}"
    return worst.name, *numbers


def table(verdicts: Sequence[Verdict]) -> str:
    """Return verdicts as lines of text."""
    return columns(HEADER, [row(verdict) for verdict in verdicts])


def write_counterexamples(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Write the counter-example of each violated theorem to a file of its name; return the files."""
    found = [verdict for verdict in verdicts if verdict.counterexample is not None]
    if found:
        folder.mkdir(parents=True, exist_ok=True)
    return [verdict.save(folder / f"{verdict.name}.toml") for verdict in found]


def write_figures(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Write the figure of each verdict to a PNG file of its name; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{verdict.name}.png" for verdict in verdicts]
    for file, verdict in zip(files, verdicts, strict=True):
        file.write_bytes(verdict.png)
    return files
