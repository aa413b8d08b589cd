"""Pictures of the demo on handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from measureflow.demo import Outcome

COLUMNS = 20


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
    rows = [(f"t = {t:g}", mu.points[chosen]) for t, (mu, _) in zip(sol.t, sol.states, strict=True)]
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
    figure = _figure(10.0, 3.2)
    energy, nearest, gaps = figure.subplots(1, 3)
    finest = outcome.solutions[-1]
    energy.plot(finest.t, finest.energies, marker="o", markersize=3)
    energy.legend(["generator", "critic"], frameon=False)
    energy.set(xlabel="t", ylabel="energy of each player")
    for sol, found in zip(outcome.solutions, outcome.measured, strict=True):
        ratios = [outcome.data.nearest(mu)[0] for mu, _ in sol.states]
        nearest.plot(sol.t, ratios, marker="o", markersize=3, label=f"tau = {found.tau:g}")
    nearest.axhline(1.3, color="0.6", linewidth=1.0, linestyle="--")
    nearest.set(xlabel="t", ylabel="distance to nearest datum / data's own", yscale="log")
    nearest.legend(frameon=False)
    for gap, found in zip(outcome.differences, outcome.measured, strict=False):
        gaps.plot(outcome.times[1:], gap[1:], marker="o", markersize=3, label=f"tau = {found.tau:g} and half of it")
    gaps.set(xlabel="t", ylabel="distance between solutions", yscale="log")
    gaps.legend(frameon=False)
    figure.savefig(path, dpi=110)
    return path
