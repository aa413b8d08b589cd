"""Panels of a picture of a flow: how the states of its players change with time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow.look import finish, finish_bar, legend, player_color, time_colors, time_steps
from measureflow.states import Field, Gaussian, Histogram, Law, Particles, State, Vector
from measureflow.states.draw import COLORS, FONT, GREY, Plane, draw, name_plane, principal_plane, project

if TYPE_CHECKING:
    from measureflow.solution import Solution

SNAPSHOTS = 6
MULTIPLES = 5
MOST_LINES = 24
MOST_PATHS = 250
MOST_POINTS = 2000

Panel = Callable[[Any], None]


def require_rows(sol: Solution) -> None:
    """Raise ValueError if a solution has nothing to draw."""
    if not len(sol.t):
        raise ValueError("the solution must have at least one saved row to be drawn, got none")


def panels(sol: Solution) -> tuple[list[Panel], list[Panel]]:
    """Return what to draw for the players: functions of one axes, and functions of a row of `MULTIPLES` axes."""
    first = sol.row(0)
    if is_portrait(first):
        return [partial(portrait, sol)], []
    one: list[Panel] = [partial(_panel_of(state), sol, k) for k, state in enumerate(first) if not _is_image(state)]
    many: list[Panel] = [partial(_multiples, sol, k) for k, state in enumerate(first) if _is_image(state)]
    return one, many


def is_portrait(states: tuple[State, ...]) -> bool:
    """Return whether the players are two numbers, so that the flow is a curve in the plane."""
    return len(states) == 2 and all(isinstance(x, Vector) and len(x) == 1 for x in states)


def player_title(sol: Solution, player: int, state: State) -> str:
    """Return the title of a player's panel: the kind of state, for games with the number of the player."""
    kind = type(state).__name__
    return kind if sol.single else f"player {player}: {kind}"


def snapshots(sol: Solution, count: int) -> list[int]:
    """Return at most `count` rows spread over the flow, half by time and half by distance travelled, ends included."""
    rows = len(sol.t)
    if rows <= count:
        return list(range(rows))
    travelled = np.nan_to_num(np.reshape(sol.info["distance"], (rows, -1))).cumsum(axis=0)
    length = (travelled / np.maximum(travelled[-1], np.finfo(float).tiny)).mean(axis=1)
    progress = 0.5 * (sol.t - sol.t[0]) / (sol.t[-1] - sol.t[0]) + 0.5 * length
    wanted = np.linspace(progress[0], progress[-1], count)
    nearest = np.abs(progress[:, None] - wanted).argmin(axis=0)
    return sorted({0, rows - 1, *map(int, nearest)})


def common_plane(states: list[State]) -> Plane | None:
    """Return one plane of projection for atoms in d > 2 at several times; None where none is needed."""
    laws = [x for x in states if isinstance(x, Particles) and x.dim > 2]
    if not laws:
        return None
    weights = np.concatenate([x.weights for x in laws]) / len(laws)
    return principal_plane(np.concatenate([x.points for x in laws]), weights)


def common_peak(states: list[State]) -> float | None:
    """Return one end of the colour scale for grids in 2-D and 3-D at several times; None where none is needed."""
    if not _is_image(states[0]):
        return None
    return max(float(np.abs(_shown(x)).max()) for x in states) or 1.0


def _shown(state: Any) -> np.ndarray:
    """Return the values that `draw` shows as an image."""
    if isinstance(state, Field):
        return state.values if state.grid.dim == 2 else state.values.mean(axis=2)
    density: np.ndarray = state.density
    return density if state.dim == 2 else density.sum(axis=2) * state.grid.spacing[2]


def _is_image(state: Any) -> bool:
    return isinstance(state, (Histogram, Field)) and state.grid.dim > 1


def _panel_of(state: State) -> Callable[..., None]:
    if isinstance(state, Vector) or (isinstance(state, Particles) and state.dim == 1 and len(state) <= 12):
        return _components
    if isinstance(state, Particles) and state.dim > 1:
        return _paths
    return _overlay


def _column(sol: Solution, player: int, rows: list[int]) -> list[Any]:
    return [sol.row(k)[player] for k in rows]


def _thin(sol: Solution, most: int) -> list[int]:
    return sorted(set(np.linspace(0, len(sol.t) - 1, min(len(sol.t), most)).round().astype(int).tolist()))


def _overlay(sol: Solution, player: int, axes: Any) -> None:
    """Draw laws or functions of several times over each other, coloured by time."""
    rows = snapshots(sol, SNAPSHOTS)
    colors = time_colors(len(rows))
    states = _column(sol, player, rows)
    if isinstance(states[0], Gaussian) and states[0].dim > 1:
        means = np.array([x.mean[:2] for x in _column(sol, player, _thin(sol, MOST_POINTS))])
        axes.plot(means[:, 0], means[:, 1], color=GREY, linewidth=0.8, zorder=0.0)
    for color, state in zip(colors, states, strict=True):
        draw(state, axes, color=color, fill=False, deviations=(1.0, 2.0))
    if isinstance(states[0], Law) and states[0].dim == 1:
        _cut_peaks(axes)
    finish(axes, player_title(sol, player, states[0]))
    time_steps(axes, sol.t[rows], colors)


def _cut_peaks(axes: Any) -> None:
    """Let a few very high densities leave the picture, so that the others can be seen."""
    curves = [line.get_ydata() for line in axes.lines if line.get_transform() == axes.transData]
    curves += [patch.get_data().values for patch in axes.patches]
    heights = [float(np.max(y)) for y in curves]
    if heights and max(heights) > 5.0 * np.median(heights):
        axes.set_ylim(0.0, 5.0 * np.median(heights))


def _paths(sol: Solution, player: int, axes: Any) -> None:
    """Draw the atoms at several times, coloured by time, and the paths of at most 250 of them."""
    from matplotlib.collections import LineCollection

    rows = snapshots(sol, MULTIPLES)
    colors = time_colors(len(rows))
    states = _column(sol, player, rows)
    plane = common_plane(states)
    along = _column(sol, player, _thin(sol, 60))
    if len(along) > 1 and len({x.points.shape for x in along}) == 1:
        atoms = np.linspace(0, len(along[0]) - 1, min(len(along[0]), MOST_PATHS)).round().astype(int)
        lines = np.stack([project(x.points[atoms], plane) for x in along], axis=1)
        axes.add_collection(LineCollection(list(lines), colors=GREY, linewidths=0.5, alpha=0.45, zorder=0.5))
    for color, state in zip(colors, states, strict=True):
        draw(state, axes, color=color, plane=plane)
    name_plane(axes, states[0].dim)
    finish(axes, player_title(sol, player, states[0]))
    time_steps(axes, sol.t[rows], colors)


def _components(sol: Solution, player: int, axes: Any) -> None:
    """Draw the components of a vector, or the places of a few atoms on the line, against time."""
    rows = _thin(sol, MOST_POINTS)
    states = _column(sol, player, rows)
    values = np.array([x.coordinates.ravel() for x in states])
    count = values.shape[1]
    shown = np.unique(np.linspace(0, count - 1, min(count, MOST_LINES)).round().astype(int))
    mark = "o" if len(rows) == 1 else None
    for rank, k in enumerate(shown):
        color = COLORS[rank] if 1 < count <= len(COLORS) else player_color(player)
        alpha = 1.0 if count < 9 else 0.6
        axes.plot(sol.t[rows], values[:, k], color=color, alpha=alpha, marker=mark, linewidth=1.4, label=f"{k}")
    what = "component" if isinstance(states[0], Vector) else "x"
    axes.set_xlabel("t")
    axes.set_ylabel(what)
    title = player_title(sol, player, states[0])
    finish(axes, f"{title}, {len(shown)} of {count} components" if len(shown) < count else title)
    if 1 < count <= len(COLORS) and isinstance(states[0], Vector):
        legend(axes, len(rows), title=what)


def _multiples(sol: Solution, player: int, row: Any) -> None:
    """Draw grids in 2-D or 3-D side by side on one colour scale."""
    rows = snapshots(sol, MULTIPLES)
    states = _column(sol, player, rows)
    peak = common_peak(states)
    places = np.atleast_1d(row.subplots(1, MULTIPLES, sharex=True, sharey=True))
    for k, (axes, index, state) in enumerate(zip(places, rows, states, strict=False)):
        draw(state, axes, peak=peak)
        finish(axes, f"t = {sol.t[index]:.3g}")
        if k:
            axes.set_ylabel("")
    for axes in places[len(rows) :]:
        axes.remove()
    bar = row.colorbar(places[0].images[0], ax=list(places[: len(rows)]), pad=0.01, aspect=25, shrink=0.8)
    bar.locator = _few_ticks()
    bar.update_ticks()
    finish_bar(bar, "value" if isinstance(states[0], Field) else "density")
    row.suptitle(player_title(sol, player, states[0]), fontsize=FONT + 1.0)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def portrait(sol: Solution, axes: Any) -> None:
    """Draw the path of two numbers in the plane, coloured by time, with start (ring) and end (disc)."""
    times, path = portrait_path(sol)
    _trail(axes, path, times)
    axes.plot(*path[0], "o", color="black", markerfacecolor="white", markersize=7.0, label="start", linestyle="none")
    axes.plot(*path[-1], "o", color="black", markersize=7.0, label="end", linestyle="none")
    name_portrait(axes, path)
    finish(axes, "phase portrait")
    legend(axes, len(times))


def portrait_path(sol: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 2000 of the saved times (rows,) and the path of two numbers at them (rows, 2)."""
    rows = _thin(sol, MOST_POINTS)
    return sol.t[rows], np.array([np.concatenate([x.coordinates for x in sol.row(k)]) for k in rows])


def _trail(axes: Any, path: np.ndarray, times: np.ndarray) -> None:
    """Draw a path (rows, 2) coloured by time, with a colour bar."""
    if len(path) < 2:
        return
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    middle = 0.5 * (times[1:] + times[:-1])
    pieces = list(np.stack([path[:-1], path[1:]], axis=1))
    lines = LineCollection(pieces, array=middle, cmap=ListedColormap(time_colors(256)), linewidths=1.6)
    axes.add_collection(lines)
    lines.set_clim(float(times[0]), float(times[-1]))
    bar = axes.get_figure(root=False).colorbar(lines, ax=axes, pad=0.02, aspect=25)
    finish_bar(bar, "t")


def name_portrait(axes: Any, path: np.ndarray) -> None:
    """Label a phase portrait, with equal scales unless one player moves far more than the other."""
    size = np.ptp(path, axis=0)
    if size.min() > 0.2 * size.max() or size.max() == 0.0:
        axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("player 0", fontsize=FONT)
    axes.set_ylabel("player 1", fontsize=FONT)
