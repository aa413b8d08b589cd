"""Pictures of the demo on handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from measureflow.demo import Outcome

COLUMNS = 20
EVERY = 2
GREY = "0.55"
TAUS = ("#9ecae1", "#4292c6", "#08306b")


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def digit_grid(outcome: Outcome, path: Path) -> Path:
    """Draw twenty particles of the finest solution as images, one column each, two of every class, time downwards."""
    sol, data = outcome.solutions[-1], outcome.data
    _, classes = data.nearest(sol.states[-1][0])
    chosen = np.concatenate([_first_of(classes, digit, COLUMNS // 10) for digit in range(10)])
    shown = range(0, len(sol.t), EVERY)
    rows = [(f"t = {sol.t[k]:g}", sol.states[k][0].points[chosen]) for k in shown]
    rows.append(("nearest\ndatum", data.points[data._tree.query(rows[-1][1])[1]]))
    figure = _figure(0.42 * len(chosen) + 0.8, 0.42 * len(rows) + 0.3)
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for line, (label, points) in zip(axes, rows, strict=True):
        for axis, point in zip(line, points, strict=True):
            axis.imshow((point + data.centre).reshape(8, 8), cmap="gray_r", vmin=0.0, vmax=1.0)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=110)
    return path


def _first_of(classes: np.ndarray, digit: int, count: int) -> np.ndarray:
    return np.flatnonzero(classes == digit)[:count]


def curves(outcome: Outcome, path: Path) -> Path:
    """Draw energies, nearest-datum distance and distances between successive solutions against time."""
    figure = _figure(11.0, 3.3)
    energy, nearest, gaps = figure.subplots(1, 3)
    finest = outcome.solutions[-1]
    for values, name, colour in zip(finest.energies.T, ("generator", "critic"), ("#0072B2", "#D55E00"), strict=True):
        energy.plot(finest.t, values, color=colour, label=name)
    energy.axhline(0.0, color=GREY, linewidth=0.8)
    energy.set(xlabel="t", ylabel="energy", title="Energies of the two players")
    for sol, found, colour, width in zip(outcome.solutions, outcome.measured, TAUS, (5.0, 2.5, 1.0), strict=True):
        ratios = [outcome.data.nearest(mu)[0] for mu, _ in sol.states]
        nearest.plot(sol.t, ratios, color=colour, linewidth=width, label=f"tau = {found.tau:g}")
    nearest.axhline(1.3, color=GREY, linewidth=1.0, linestyle="--", label="goal 1.3")
    nearest.axhline(1.0, color=GREY, linewidth=1.0, linestyle=":", label="data to itself")
    nearest.set(xlabel="t", ylabel="ratio", title="Distance to the nearest datum", ylim=(0.9, None))
    for gap, found, colour in zip(outcome.differences, outcome.measured, TAUS[1:], strict=False):
        gaps.plot(outcome.times, gap, color=colour, label=f"tau = {found.tau:g} and {found.tau / 2:g}")
    gaps.set(xlabel="t", ylabel="product W2 distance, labels kept", title=f"Successive solutions: order {outcome.order:.2f}")
    gaps.set_ylim(bottom=0.0)
    for axis in (energy, nearest, gaps):
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    return path
