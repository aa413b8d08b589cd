"""The page of the theorem laboratory: every statement, formula, figure and number in one file that needs no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from measureflow.files import replace_text
from measureflow.report import Page, html_table
from measureflow.theorems.catalogue import get
from measureflow.theorems.check import Check, Ruling
from measureflow.theorems.pictures import formula_svg
from measureflow.theorems.verdict import Verdict, numbers, tally

STYLE = """
body { max-width: 76rem; } section { border-top: 1px solid #ddd; margin-top: 2.2rem; padding-top: .4rem; }
h2 small { font-weight: normal; color: #666; } nav table { font-size: .92rem; }
a { color: #1f4e79; text-decoration: none; } table { font-size: .9rem; }
.holds { color: #2a7f3f; } .violated { color: #c0392b; font-weight: bold; } .undecided { color: #b9770e; font-weight: bold; }
.formula { margin: .8rem 0 .8rem 1.2rem; } .formula img { max-width: 100%; }
td, th { text-align: right; white-space: nowrap; } td.text, th.text { text-align: left; white-space: normal; }
details { margin: .6rem 0; } summary { cursor: pointer; color: #444; }
dt { color: #666; float: left; clear: left; width: 8rem; } dd { margin: 0 0 .2rem 8.5rem; }
"""
COLUMNS = ("check", "measured", "", "predicted", "tolerance", "margin", "error", "verdict", "where")
LEFT = (0, 7, 8)
SHOWN = 12
"""Checks that are shown without being asked for: those met by least."""


def write_page(verdicts: Sequence[Verdict], path: Path, title: str = "The theorem laboratory") -> Path:
    """Write the page of verdicts, replacing the file in one go.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    replace_text(path, page(verdicts, title))
    return path


def page(verdicts: Sequence[Verdict], title: str) -> str:
    """Return the source of the page of verdicts.

    Examples
    --------
    >>> import measureflow as mf
    >>> "Entropic steps" in page([mf.theorems.verify("F1")], "Checked")
    True
    """
    count = tally(verdicts)
    found = Page(title)
    found.parts.insert(0, f"<style>{STYLE}</style>")
    seconds = sum(verdict.cpu_seconds for verdict in verdicts)
    levels = ", ".join(sorted({verdict.level for verdict in verdicts}))
    found.paragraph(
        f"{len(verdicts)} theorems: {count[Ruling.holds]} hold, {count[Ruling.violated]} are violated, "
        f"{count[Ruling.undecided]} are undecided. Level {levels}, {seconds:.0f} CPU seconds."
    )
    found.paragraph(
        "A theorem holds if every check is met by a margin that exceeds the sum of its errors (residuals of inner solvers, "
        "intervals of regressions and of Monte-Carlo means), and if its negative control fails, which violates a hypothesis."
    )
    found.parts.append(_contents(verdicts))
    found.parts += [_section(verdict) for verdict in verdicts]
    return found.text()


def _contents(verdicts: Sequence[Verdict]) -> str:
    header = ("label", "theorem", "verdict", "decided by", "measured", "", "predicted", "margin", "error", "CPU s")
    body = []
    for verdict in verdicts:
        worst = verdict.decisive
        cells = ("",) * 6 if worst is None else (worst.name, *numbers(worst)[:3], *numbers(worst)[4:])
        link = f'<a href="#{verdict.name}">{_title(verdict)}</a>'
        cost = f"{verdict.cpu_seconds:.1f}"
        shown = [_escaped(verdict.label), link, _ruling(verdict.status), *map(_escaped, cells), cost]
        body.append(shown)
    return f"<nav>{html_table(header, body, text=range(4))}</nav>"


def _section(verdict: Verdict) -> str:
    theorem = get(verdict.name)
    formula = base64.b64encode(formula_svg(theorem.formula).encode()).decode()
    label = f"<small>{_escaped(verdict.label)}, {_escaped(verdict.name)}</small>"
    picture = base64.b64encode(verdict.png).decode()
    facts = {
        "hypotheses": "; ".join(theorem.hypotheses) or "none",
        "problems": ", ".join(theorem.problems) or "its own",
        "source": theorem.source,
        "control": theorem.control.violates + (": fails, as it must" if verdict.control_fails else ": does NOT fail"),
        "command": f"measureflow verify {verdict.name}" + (" --full" if verdict.level == "full" else ""),
        "cost": f"{verdict.cpu_seconds:.2f} CPU seconds, {len(verdict.checks)} checks",
    }
    listed = "".join(f"<dt>{_escaped(name)}</dt><dd>{_escaped(text)}</dd>" for name, text in facts.items())
    parts = [
        f'<section id="{verdict.name}"><h2>{_title(verdict)} {label} {_ruling(verdict.status)}</h2>',
        f"<p>{_escaped(verdict.statement)}</p>",
        f'<p class="formula"><img alt="{_escaped(theorem.formula)}" src="data:image/svg+xml;base64,{formula}"></p>',
        f"<dl>{listed}</dl>",
        f'<figure><img alt="figure of {_title(verdict)}" src="data:image/png;base64,{picture}"></figure>',
        _checks(verdict.checks),
    ]
    if verdict.control:
        rows = [check for trial in verdict.control for check in trial]
        parts.append(f"<details><summary>the negative control: {len(rows)} checks</summary>{_table(rows)}</details>")
    if verdict.broken:
        parts.append(f'<p class="undecided">{_escaped(verdict.broken)}</p>')
    if verdict.counterexample is not None:
        parts.append(f'<p class="violated">counter-example: {_escaped(str(verdict.counterexample))}</p>')
    return "\n".join([*parts, "</section>"])


def _checks(checks: Sequence[Check]) -> str:
    """Return the checks met by least as a table, and all of them behind a click."""
    order = {Ruling.violated: 0, Ruling.undecided: 1, Ruling.holds: 2}
    ordered = sorted(checks, key=lambda check: (order[check.ruling], check.clearance))
    if len(checks) <= SHOWN:
        return _table(checks)
    everything = f"<details><summary>all {len(checks)} checks</summary>{_table(checks)}</details>"
    return f"<p>The {SHOWN} of {len(checks)} checks that are met by least:</p>{_table(ordered[:SHOWN])}{everything}"


def _table(checks: Sequence[Check]) -> str:
    rows = [[_escaped(one.name), *map(_escaped, numbers(one)), _ruling(one.ruling), _escaped(one.where)] for one in checks]
    return html_table(COLUMNS, rows, text=LEFT)


def _ruling(ruling: Ruling) -> str:
    return f'<span class="{ruling}">{ruling}</span>'


def _title(verdict: Verdict) -> str:
    return _escaped(verdict.title[:1].upper() + verdict.title[1:])


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
