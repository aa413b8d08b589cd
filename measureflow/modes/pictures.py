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
    sides = _sides(diagram.x), _sides(diagram.y)
    _values(diagram, left, sides)
    _statuses(diagram, right, sides)
    for axes, title in ((left, diagram.model.quantity), (right, "what runs ended as")):
        _thresholds(diagram, edge, axes)
        axes.set_xlabel(diagram.model.x)
        axes.set_xscale("linear" if diagram.x[0] == 0.0 else "log")
        axes.set_yscale("log")
        axes.set_xlim(sides[0][[0, -1]])
        axes.set_ylim(sides[1][[0, -1]])
        finish(axes, title)
    left.set_ylabel(diagram.model.y)
    _plain_ticks(diagram, (left, right))
    figure.suptitle(diagram.model.title, fontsize=FONT + 2.0)
    return figure


def _sides(values: np.ndarray) -> np.ndarray:
    """Return the sides of cells around values, even in the logarithm unless they start at 0."""
    if len(values) == 1:
        return values[0] * np.array([0.8, 1.25]) if values[0] > 0.0 else np.array([-0.5, 0.5])
    u = values if values[0] == 0.0 else np.log(values)
    inner = 0.5 * (u[1:] + u[:-1])
    sides = np.concatenate([[2.0 * u[0] - inner[0]], inner, [2.0 * u[-1] - inner[-1]]])
    return sides if values[0] == 0.0 else np.exp(sides)


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


def _statuses(diagram: PhaseDiagram, axes: Any, sides: tuple[np.ndarray, np.ndarray]) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    names = [name for name in Status if np.any(diagram.status == str(name))]
    codes = np.select([diagram.status == str(name) for name in names], range(len(names)))
    colors = ListedColormap([STATUS_COLORS[name] for name in names])
    axes.pcolormesh(*sides, codes, cmap=colors, norm=BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names)), rasterized=True)
    keys = [Patch(color=STATUS_COLORS[name], label=str(name)) for name in names]
    axes.add_artist(axes.legend(handles=keys, fontsize=FONT, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False))


def _thresholds(diagram: PhaseDiagram, edge: Threshold | None, axes: Any) -> None:
    shown = []
    if diagram.predicted is not None:
        shown += axes.plot(diagram.x, diagram.predicted, "--", color="black", linewidth=1.6, label="theory")
    if edge is not None:
        style = {"color": "white", "markeredgecolor": "black", "markersize": 4.5}
        shown += axes.plot(edge.x, edge.measured, "o", label="measured", **style)
    if shown:
        axes.legend(handles=shown, fontsize=FONT, loc="lower left", framealpha=0.85)


def _plain_ticks(diagram: PhaseDiagram, places: Sequence[Any]) -> None:
    """Write numbers as 0.1 and 10, and whole parameters as they are."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    plain = FuncFormatter(lambda value, place: f"{value:g}")
    for axes in places:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(plain)
            axis.set_minor_formatter(NullFormatter())
        if diagram.model.whole:
            axes.xaxis.set_major_locator(FixedLocator(diagram.x.tolist()))


def mitigation_picture(rows: Sequence[Mitigation]) -> Any:
    """Draw measured over predicted numbers, one line a row of the table, with the tolerance shaded."""
    figure = canvas((9.0, 0.9 + 0.24 * len(rows)))
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        color = COLORS[0] if row.holds else COLORS[1]
        axes.barh(place, 2.0 * row.tolerance, left=-row.tolerance, color="#E4E8EC", height=0.8)
        axes.plot(row.deviation, place, "o", color=color, markersize=5.0)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=1e-6)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_xlabel("measured less predicted, relative where the prediction is not 0; grey: what is allowed")
    finish(axes, "What mitigations of mode collapse do")
    axes.set_yticks(range(len(rows)), [f"{row.mitigation}: {row.effect}" for row in reversed(rows)], fontsize=FONT - 1.0)
    return figure
