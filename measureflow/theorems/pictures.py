"""Figures of verdicts, and formulas as drawings."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow.look import canvas, finish, legend
from measureflow.states.draw import COLORS, FONT
from measureflow.theorems.check import Ruling
from measureflow.theorems.curves import Curve, Panel

if TYPE_CHECKING:
    from measureflow.theorems.verdict import Verdict

PANEL = (4.6, 3.5)
COLUMNS = 3
CONTROL = "0.45"
INK = {Ruling.holds: "#2a7f3f", Ruling.violated: "#c0392b", Ruling.undecided: "#b9770e"}
FORMULA_SIZE = 15.0
CROWDED = 6
"""Entries of a legend above which it stands beside the axes."""
FEW_DECADES = 200.0
"""Ratio of largest to smallest up to which a logarithmic axis has plain numbers."""


def figure(verdict: Verdict) -> Any:
    """Draw the curves of a verdict, a panel each; without curves the margins of its checks.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    panels: dict[Panel, list[Curve]] = {}
    for curve in verdict.curves:
        panels.setdefault(curve.panel, []).append(curve)
    count = max(len(panels), 1)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    picture = canvas((PANEL[0] * columns, PANEL[1] * rows))
    places = np.atleast_1d(picture.subplots(rows, columns)).ravel()
    for axes, (panel, curves) in zip(places, panels.items(), strict=False):
        _panel(axes, panel, curves)
    if not panels:
        _margins(places[0], verdict)
    for axes in places[count:]:
        axes.set_axis_off()
    return picture


def _panel(axes: Any, panel: Panel, curves: list[Curve]) -> None:
    color = 0
    drawn: dict[str, str] = {}
    for curve in curves:
        if curve.role == "control":
            ink = CONTROL
        else:  # what is predicted has the colour of what is measured under the same name
            key = curve.label.removeprefix("predicted ").removesuffix(", predicted")
            if key not in drawn:
                drawn[key], color = COLORS[color % len(COLORS)], color + 1
            ink = drawn[key]
        _curve(axes, curve, ink)
    if panel.scale in ("log x", "log"):
        axes.set_xscale("log")
        _plain(axes.xaxis, np.concatenate([curve.x for curve in curves]))
    if panel.scale in ("log y", "log"):
        axes.set_yscale("log")
        _plain(axes.yaxis, np.concatenate([curve.y for curve in curves]))
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    finish(axes, panel.title)
    named = len({curve.label for curve in curves if curve.label})
    if named > CROWDED:
        axes.legend(frameon=False, fontsize=FONT - 1.0, loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif named:
        legend(axes, sum(curve.x.size for curve in curves))


def _plain(axis: Any, drawn: np.ndarray) -> None:
    """Label a logarithmic axis with powers of ten only, or with plain numbers where there are few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    shown = drawn[np.isfinite(drawn) & (drawn > 0.0)]
    if shown.size and shown.max() < FEW_DECADES * shown.min():
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _curve(axes: Any, curve: Curve, ink: str) -> None:
    styles: dict[str, dict[str, Any]] = {
        "measured": {"marker": "o" if curve.x.size <= 24 else None, "markersize": 4.0, "linewidth": 1.4},
        "predicted": {"linestyle": "--", "linewidth": 1.4, "alpha": 0.8},
        "control": {"marker": "x" if curve.x.size <= 24 else None, "markersize": 5.0, "linewidth": 1.2, "linestyle": ":"},
    }
    style = styles[curve.role]
    label = curve.label or "_nolegend_"
    if curve.error is None:
        axes.plot(curve.x, curve.y, color=ink, label=label, **style)
    else:
        axes.errorbar(curve.x, curve.y, yerr=np.asarray(curve.error, np.float64), color=ink, label=label, capsize=3.0, **style)


def _margins(axes: Any, verdict: Verdict) -> None:
    """Draw margins against errors: what lies above the diagonal holds."""
    margins = np.array([check.margin for check in verdict.checks])
    errors = np.array([max(check.error, 1e-18) for check in verdict.checks])
    finite = np.isfinite(margins) & (margins > 0.0)
    inks = [INK[check.ruling] for check in verdict.checks]
    axes.scatter(errors[finite], margins[finite], c=np.array(inks)[finite], s=18.0)
    if np.any(finite):
        ends = np.array([errors.min(), max(errors.max(), margins[finite].max())])
        axes.plot(ends, ends, "--", color="0.6", linewidth=1.0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("error")
    axes.set_ylabel("margin")
    finish(axes, "checks above the line hold")


def formula_svg(formula: str) -> str:
    r"""Return a formula of TeX's mathematics as SVG text, letters as outlines, so that no font is needed.

    Examples
    --------
    >>> formula_svg(r"d(x_t, y_t) \leq e^{-\lambda t} d(x_0, y_0)").startswith("<svg")
    True
    """
    canvas((1.0, 1.0))  # says what is missing without matplotlib
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "measureflow", "mathtext.fontset": "cm"}):
        math_to_image(f"${formula}$", buffer, prop=FontProperties(size=FORMULA_SIZE), format="svg")
    text = buffer.getvalue().decode()
    return re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.S).strip()
