"""Pictures of the demo on handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from measureflow.demo import Outcome

COLUMNS = 20
EVERY = 2
CELL = 10
FRAME = 0.12
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
    labels = [f"t = {sol.t[k]:g}" for k in shown] + ["nearest datum"]
    rows = [sol.states[k][0].points[chosen] for k in shown]
    rows.append(data.points[data.index(rows[-1])])
    figure = _figure(0.42 * len(chosen) + 1.0, 0.42 * len(rows) + 0.3)
    axes = figure.subplots()
    axes.imshow(_mosaic(np.array(rows) + data.centre), cmap="gray_r", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set(xticks=[], yticks=CELL * np.arange(len(rows)) + 0.5 * CELL, yticklabels=labels)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=110)
    return path


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Return one picture of images (rows, columns, 64), each of 8 x 8 pixels in a pale frame."""
    rows, columns, _ = images.shape
    picture = np.full((rows, CELL, columns, CELL), FRAME)
    picture[:, 1:9, :, 1:9] = images.reshape(rows, columns, 8, 8).transpose(0, 2, 1, 3)
    return picture.reshape(rows * CELL, columns * CELL)


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


def table(outcome: Outcome, path: Path) -> Path:
    """Draw the table of results."""
    header, rows = outcome.rows()
    figure = _figure(8.6, 0.3 * (len(rows) + 1) + 0.2)
    axes = figure.subplots()
    axes.axis("off")
    cells = axes.table(cellText=rows, colLabels=header, loc="center", cellLoc="right", edges="horizontal")
    cells.auto_set_font_size(False)
    cells.set_fontsize(9)
    cells.auto_set_column_width(range(len(header)))
    cells.scale(1.0, 1.3)
    figure.savefig(path, dpi=110)
    return path
