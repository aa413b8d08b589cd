"""Pictures of phase diagrams and of the table of mitigations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow.look import canvas, finish, finish_bar
from measureflow.modes.phase_models import Status
from measureflow.states.draw import COLORS, FONT

if TYPE_CHECKING:
    from measureflow.modes.mitigations import Mitigation
    from measureflow.modes.phase import PhaseDiagram, Threshold

STATUS_COLORS = {
    Status.COVERS: "#009E73",
    Status.BLURRED: "#A6D8C8",
    Status.CONVERGES: "#009E73",
    Status.FROZEN: "#56B4E9",
    Status.COLLAPSES: "#D55E00",
    Status.ROTATES: "#E69F00",
}


def phase_picture(diagram: PhaseDiagram, edge: Threshold | None = None) -> Any:
    """Draw what was measured and what runs ended as, with the predicted threshold as a line and a measured one as dots."""
    figure = canvas((9.6, 4.2))
    left, right = figure.subplots(1, 2, sharey=True)
    sides = _both_sides(diagram)
    _values(diagram, left, sides)
    _keys(figure, _statuses(diagram, right, sides))
    for axes, title in ((left, diagram.model.quantity), (right, "what runs ended as")):
        _thresholds(diagram, edge, axes)
        _frame(diagram, axes, sides)
        finish(axes, title)
    left.set_ylabel(diagram.model.y)
    figure.suptitle(diagram.model.title, fontsize=FONT + 2.0)
    return figure


def panels_picture(setting: str, values: Sequence[Any], diagrams: Sequence[PhaseDiagram]) -> Any:
    """Draw what runs ended as, a panel for each value of a setting, with the predicted thresholds as lines."""
    rows = -(-len(diagrams) // 4)
    columns = -(-len(diagrams) // rows)
    figure = canvas((2.9 * columns + 1.6, 0.9 + 3.0 * rows))
    places = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    seen: set[str] = set()
    for axes, value, diagram in zip(places.flat, values, diagrams, strict=False):
        sides = _both_sides(diagram)
        seen |= set(_statuses(diagram, axes, sides))
        _thresholds(diagram, None, axes)
        _frame(diagram, axes, sides)
        finish(axes, str(value) if isinstance(value, str) else f"{setting.replace('_', ' ')} {value}")
    for k, axes in enumerate(places.flat):
        axes.set_visible(k < len(diagrams))
        axes.tick_params(labelbottom=k + columns >= len(diagrams))
    for axes in places[:, 0]:
        axes.set_ylabel(diagrams[0].model.y)
    _keys(figure, [name for name in Status if name in seen])
    figure.suptitle(diagrams[0].model.title, fontsize=FONT + 2.0)
    return figure


def _both_sides(diagram: PhaseDiagram) -> tuple[np.ndarray, np.ndarray]:
    up = np.arange(len(diagram.y)) if diagram.model.named else diagram.y
    return _sides(diagram.x, diagram.model.whole), _sides(up, diagram.model.named or diagram.model.whole_y)


def _sides(values: np.ndarray, whole: bool) -> np.ndarray:
    """Return the sides of cells around values, even in the logarithm unless they may be 0 or are a few whole numbers."""
    linear = _linear(values, whole)
    if len(values) == 1:
        return values[0] + np.array([-0.5, 0.5]) if linear else values[0] * np.array([0.8, 1.25])
    u = values if linear else np.log(values)
    inner = 0.5 * (u[1:] + u[:-1])
    sides = np.concatenate([[2.0 * u[0] - inner[0]], inner, [2.0 * u[-1] - inner[-1]]])
    return sides if linear else np.exp(sides)


def _linear(values: np.ndarray, whole: bool) -> bool:
    return bool(values[0] == 0.0 or (whole and values[-1] - values[0] < 10.0))


def _frame(diagram: PhaseDiagram, axes: Any, sides: tuple[np.ndarray, np.ndarray]) -> None:
    """Set scales, limits and ticks: numbers as 0.1 and 10, whole parameters and names as they are."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    model = diagram.model
    up = np.arange(len(diagram.y)) if model.named else diagram.y
    kinds = (axes.xaxis, diagram.x, model.whole), (axes.yaxis, up, model.whole_y or model.named)
    axes.set_xscale("linear" if _linear(*kinds[0][1:]) else "log")
    axes.set_yscale("linear" if _linear(*kinds[1][1:]) else "log")
    for axis, values, fixed in kinds:
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        if fixed:
            axis.set_major_locator(FixedLocator(values.tolist()))
            axis.set_minor_locator(NullLocator())
    if model.named:
        axes.set_yticks(up, diagram.y.tolist())
    axes.set_xlabel(model.x)
    axes.set_xlim(sides[0][[0, -1]])
    axes.set_ylim(sides[1][[0, -1]])


def _values(diagram: PhaseDiagram, axes: Any, sides: tuple[np.ndarray, np.ndarray]) -> None:
    values = np.where(np.isfinite(diagram.values["value"]), diagram.values["value"], np.nan)
    low, high = np.nanquantile(values, [0.02, 0.98])
    signed = low < 0.0 < high
    peak = max(-low, high)
    style: dict[str, Any] = (
        {"cmap": "RdBu_r", "vmin": -peak, "vmax": peak} if signed else {"cmap": "viridis", "vmin": low, "vmax": high}
    )
    mesh = axes.pcolormesh(*sides, values, **style, rasterized=True)
    bar = axes.get_figure(root=False).colorbar(mesh, ax=axes, pad=0.02, aspect=25)
    finish_bar(bar, "")


def _statuses(diagram: PhaseDiagram, axes: Any, sides: tuple[np.ndarray, np.ndarray]) -> list[Status]:
    """Draw what runs ended as, and return the statuses there are."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    names = [name for name in Status if np.any(diagram.status == str(name))]
    codes = np.select([diagram.status == str(name) for name in names], range(len(names)))
    colors = ListedColormap([STATUS_COLORS[name] for name in names])
    axes.pcolormesh(*sides, codes, cmap=colors, norm=BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names)), rasterized=True)
    return names


def _keys(figure: Any, names: Sequence[Status]) -> None:
    """Say what the colours mean, to the right of the panels."""
    from matplotlib.patches import Patch

    keys = [Patch(color=STATUS_COLORS[name], label=str(name)) for name in names]
    figure.legend(handles=keys, fontsize=FONT, loc="outside right upper", frameon=False)


def _thresholds(diagram: PhaseDiagram, edge: Threshold | None, axes: Any) -> None:
    shown = []
    known = diagram.predicted
    if known is not None and np.any((known >= diagram.y[0]) & (known <= diagram.y[-1])):
        shown += axes.plot(diagram.x, diagram.predicted, "--", color="black", linewidth=1.6, label="theory")
    if edge is not None:
        style = {"color": "white", "markeredgecolor": "black", "markersize": 4.5}
        shown += axes.plot(edge.x, edge.measured, "o", label="measured", **style)
    if shown:
        axes.legend(handles=shown, fontsize=FONT, loc="lower left", framealpha=0.85)


LEAST = 1e-8
"""Smallest share of the tolerance that is drawn; what is less stands there as a triangle."""


def mitigation_picture(rows: Sequence[Mitigation]) -> Any:
    """Draw deviations in units of what is allowed, a line for each mitigation and a dot for each of its effects."""
    names = list(dict.fromkeys(row.mitigation for row in rows))
    figure = canvas((9.0, 1.4 + 0.28 * len(names)))
    axes = figure.subplots()
    axes.axvspan(LEAST / 3.0, 1.0, color="#E4E8EC", zorder=0)
    for row in rows:
        share = max(row.deviation, 0.0) if row.bound else abs(row.deviation)
        share, color = share / row.tolerance, COLORS[0] if row.holds else COLORS[1]
        marker = "o" if share > LEAST else "<"
        axes.plot(max(share, LEAST), names.index(row.mitigation), marker, color=color, alpha=0.7, markersize=6.0)
    axes.set_xscale("log")
    axes.set_xlim(LEAST / 3.0, 10.0 * max([1.0, *(abs(row.deviation) / row.tolerance for row in rows if not row.holds)]))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("|measured - predicted| as a share of what is allowed (grey); triangles: less, or below an upper bound")
    finish(axes, "What mitigations of mode collapse do")
    axes.set_yticks(range(len(names)), names, fontsize=FONT)
    return figure
