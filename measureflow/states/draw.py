"""Pictures of states on matplotlib axes.

Nothing here touches pyplot or global settings: the caller owns the axes, `png` owns its figure.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, final

import numpy as np

from measureflow.states.base import State
from measureflow.states.density import Curve, gaussian_density, kernel_density, quantile_density
from measureflow.states.field import Field
from measureflow.states.gaussian import Gaussian
from measureflow.states.histogram import Histogram
from measureflow.states.particles import Particles
from measureflow.states.quantiles import Quantiles
from measureflow.states.vector import Vector

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito (2008), colour-blind safe
GREY = "#8C8C8C"
FONT = 9.0
MOST_ATOMS = 5000

Plane = tuple[np.ndarray, np.ndarray]


@final
@dataclass(frozen=True)
class Style:
    """How a state is drawn.

    Attributes
    ----------
    color : Any
        Colour of curves, atoms and bars; grids in 2-D and 3-D have colour maps of their own.
    label : str or None
        Entry in the legend.
    fill : bool
        Fill the area under densities and inside ellipses, and show the atoms of 1-D `Particles` as a rug.
    peak : float or None
        Value at the end of the colour scale of grids in 2-D and 3-D; None: the largest one.
    plane : tuple or None
        Centre (d,) and directions (d, 2) on which `Particles` in d > 2 are projected; None: their principal directions.
    deviations : tuple of float
        Standard deviations at which the ellipses of `Gaussian` are drawn.
    """

    color: Any = COLORS[0]
    label: str | None = None
    fill: bool = True
    peak: float | None = None
    plane: Plane | None = None
    deviations: tuple[float, ...] = (1.0, 2.0, 3.0)


def draw(state: State, axes: Any, **style: Any) -> None:
    """Draw any state on matplotlib axes, and label the axes.

    Laws on the line are drawn by their densities (atoms: a kernel estimate and a rug), atoms in the plane as dots of
    area proportional to weight, in d > 2 on their principal plane; `Gaussian` by ellipses of its first two coordinates;
    grids in 2-D as images, in 3-D summed (`Field`: averaged) over the last axis; `Vector` by its components, of size 2
    as a point. Of more than 5000 atoms an even selection is shown.

    Parameters
    ----------
    state : State
    axes : matplotlib.axes.Axes
    **style
        Entries of `Style`: color, label, fill, peak, plane, deviations.

    Raises
    ------
    TypeError
        If state is not a state, or the style has an unknown entry.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> draw(Gaussian(0.0, 1.0), axes, color="black")
    >>> axes.get_ylabel()
    'density'
    """
    _draw(state, axes, Style(**style))


def png(state: State) -> bytes | None:
    """Return a small picture of a state for notebooks, 3 x 2.2 inches; None if matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(3.0, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw(state, axes)
    tidy(axes, 8.0)
    text = repr(state)
    figure.suptitle(text if len(text) <= 48 else text[:45] + "...", fontsize=7.0)
    return png_bytes(figure, 120.0)


def png_bytes(figure: Any, dpi: float = 100.0) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def tidy(axes: Any, size: float = FONT) -> None:
    """Give axes the look of the package: two spines (images: none), small quiet ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_visible(not axes.images)
    axes.spines[["left", "bottom"]].set_color("#4D4D4D")
    axes.tick_params(labelsize=size, length=3.0, color="#4D4D4D")
    axes.xaxis.label.set_size(size)
    axes.yaxis.label.set_size(size)
    for side, scale in (("x", axes.get_xscale()), ("y", axes.get_yscale())):
        if scale == "linear":
            axes.locator_params(axis=side, nbins=5)
    if not np.all(np.isfinite(axes.dataLim.intervaly)):
        axes.set_yticks([])  # a law at one place has no density to read off


@singledispatch
def _draw(state: Any, axes: Any, style: Style) -> None:
    raise TypeError(f"state must be a state, got {type(state).__name__}")


@_draw.register
def _(state: Particles, axes: Any, style: Style) -> None:
    if state.dim > 1:
        _cloud(state, axes, style)
        return
    _density(axes, kernel_density(state.points[:, 0], state.weights), float(state.points[0, 0]), style)
    if style.fill:
        shown = state.points[:: _stride(len(state)), 0]
        where = axes.get_xaxis_transform()
        opacity = float(np.clip(30.0 / len(shown), 0.15, 0.7))
        foot = np.full(len(shown), 0.02)
        axes.plot(shown, foot, "|", transform=where, color=style.color, alpha=opacity, markersize=5.0)


@_draw.register
def _(state: Quantiles, axes: Any, style: Style) -> None:
    _density(axes, quantile_density(state.values), float(state.values[0]), style)


@_draw.register
def _(state: Gaussian, axes: Any, style: Style) -> None:
    if state.dim > 1:
        _ellipses(state, axes, style)
        return
    mean = float(state.mean[0])
    _density(axes, gaussian_density(mean, float(state.cov[0, 0])), mean, style)


@_draw.register
def _(state: Histogram, axes: Any, style: Style) -> None:
    values = state.density
    if state.dim == 1:
        _steps(axes, values, state.grid.edges[0], style)
        _name(axes, "x", "density")
        return
    if state.dim == 3:
        values = values.sum(axis=2) * state.grid.spacing[2]
    from matplotlib.colors import PowerNorm

    peak = style.peak or float(values.max())
    _image(axes, values, state.grid, cmap="viridis", norm=PowerNorm(0.5, 0.0, peak))


@_draw.register
def _(state: Field, axes: Any, style: Style) -> None:
    values = state.values
    if state.grid.dim == 1:
        axes.axhline(0.0, color=GREY, linewidth=0.6, zorder=0.0)
        axes.plot(state.grid.axes[0], values, color=style.color, label=style.label, linewidth=1.6)
        _name(axes, "x", "value")
        return
    if state.grid.dim == 3:
        values = values.mean(axis=2)
    peak = style.peak or float(np.abs(values).max()) or 1.0
    _image(axes, values, state.grid, cmap="RdBu_r", vmin=-peak, vmax=peak)


@_draw.register
def _(state: Vector, axes: Any, style: Style) -> None:
    values = state.values
    if len(values) == 2:
        axes.plot(values[:1], values[1:], "o", color=style.color, label=style.label, markersize=6.0)
        _name(axes, "component 0", "component 1")
        return
    axes.axhline(0.0, color=GREY, linewidth=0.6, zorder=0.0)
    if len(values) > 60:
        _steps(axes, values, np.arange(len(values) + 1) - 0.5, style)
    else:
        axes.vlines(np.arange(len(values)), 0.0, values, color=style.color, linewidth=1.2, alpha=0.6)
        axes.plot(np.arange(len(values)), values, "o", color=style.color, label=style.label, markersize=4.0)
        axes.set_xlim(-0.5, len(values) - 0.5)
        axes.set_xticks(range(0, len(values), -(-len(values) // 6)))
    _name(axes, "component", "value")


def _density(axes: Any, curve: Curve | None, place: float, style: Style) -> None:
    """Draw the density of a law on the line, or a bar over the whole height at `place` if it has none."""
    if curve is None:
        where = axes.get_xaxis_transform()
        axes.plot([place, place], [0.0, 0.95], transform=where, color=style.color, label=style.label, linewidth=2.0)
    else:
        x = np.concatenate([curve[0][:1], curve[0], curve[0][-1:]])
        y = np.concatenate([[0.0], curve[1], [0.0]])
        (line,) = axes.plot(x, y, color=style.color, label=style.label, linewidth=1.6)
        line.sticky_edges.y.append(0.0)
        if style.fill:
            axes.fill_between(x, y, color=style.color, alpha=0.18, linewidth=0.0)
    _name(axes, "x", "density")


def principal_plane(points: np.ndarray, weights: np.ndarray) -> Plane:
    """Return the centre (d,) and the two principal directions (d, 2) of atoms (n, d) with weights (n,)."""
    centre = weights @ points
    offset = points - centre
    directions = np.linalg.eigh((offset * weights[:, None]).T @ offset)[1][:, :-3:-1]
    leading = np.argmax(np.abs(directions), axis=0)
    return centre, directions * np.where(directions[leading, [0, 1]] < 0.0, -1.0, 1.0)


def project(points: np.ndarray, plane: Plane | None) -> np.ndarray:
    """Return points (n, d) in the coordinates of a plane: (n, 2)."""
    return points if plane is None else (points - plane[0]) @ plane[1]


def name_plane(axes: Any, dim: int) -> None:
    """Label axes that show a plane of a d-dimensional space of atoms, with equal scales."""
    axes.set_aspect("equal", adjustable="datalim")
    if dim == 2:
        _name(axes, "$x_1$", "$x_2$")
    else:
        _name(axes, "principal coordinate 1", "principal coordinate 2")


def _cloud(state: Particles, axes: Any, style: Style) -> None:
    plane = style.plane or (principal_plane(state.points, state.weights) if state.dim > 2 else None)
    step = _stride(len(state))
    xy = project(state.points, plane)[::step]
    relative = state.weights[::step] * len(state)
    area = float(np.clip(3000.0 / len(xy), 5.0, 30.0)) * relative
    look = {"color": [style.color], "alpha": 0.75, "linewidths": 0.3, "edgecolors": "white"}
    axes.scatter(xy[:, 0], xy[:, 1], s=area, label=style.label, **look)
    name_plane(axes, state.dim)


def _ellipses(state: Gaussian, axes: Any, style: Style) -> None:
    mean = state.mean[:2]
    values, vectors = np.linalg.eigh(state.cov[:2, :2])
    angle = np.linspace(0.0, 2.0 * np.pi, 121)
    circle = vectors @ (np.sqrt(np.maximum(values, 0.0))[:, None] * np.stack([np.cos(angle), np.sin(angle)]))
    axes.plot(mean[:1], mean[1:], "o", color=style.color, markersize=3.5, label=style.label)
    for rank, k in enumerate(style.deviations):
        x, y = mean[:, None] + k * circle
        axes.plot(x, y, color=style.color, linewidth=1.4, alpha=1.0 - 0.25 * rank)
        if style.fill:
            axes.fill(x, y, color=style.color, alpha=0.10, linewidth=0.0)
    axes.set_aspect("equal", adjustable="datalim")
    _name(axes, "$x_1$", "$x_2$")


def _steps(axes: Any, values: np.ndarray, edges: np.ndarray, style: Style) -> None:
    if style.fill:
        axes.stairs(values, edges, color=style.color, fill=True, alpha=0.18, linewidth=0.0)
    axes.stairs(values, edges, color=style.color, label=style.label, linewidth=1.4)


def _image(axes: Any, values: np.ndarray, grid: Any, **options: Any) -> None:
    (x0, x1), (y0, y1) = grid.bounds[:2]
    shape = "equal" if 0.25 <= (x1 - x0) / (y1 - y0) <= 4.0 else "auto"
    box = (x0, x1, y0, y1)
    axes.imshow(values.T, origin="lower", extent=box, aspect=shape, interpolation="nearest", **options)
    _name(axes, "$x_1$", "$x_2$")


def _name(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=FONT)
    axes.set_ylabel(y, fontsize=FONT)


def _stride(n: int) -> int:
    return -(-n // MOST_ATOMS)


State.painter = staticmethod(png)
