"""Phase portraits of games of two numbers: the velocity field and orbits in the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.games import AbstractGame
from measureflow.look import canvas, finish, legend
from measureflow.panels import is_portrait
from measureflow.solution import Solution
from measureflow.states import Vector
from measureflow.states.draw import COLORS, FONT

FIELD = "#B8BEC6"
GRID = 21

Box = tuple[tuple[float, float], tuple[float, float]]


def phase_portrait(
    game: AbstractGame,
    orbits: Mapping[str, Solution] | None = None,
    *,
    box: Any = 2.0,
    speeds: Any = None,
    axes: Any = None,
) -> Any:
    """Draw the plane of a game of two numbers: streamlines of its dual flow, and computed orbits over them.

    The flow is x' = -eta_0 grad_x E_0(x; y), y' = -eta_1 grad_y E_1(y; x). Where a player has bounds (a clipped critic) the field
    is drawn inside and the bounds as dashed lines.

    Parameters
    ----------
    game : game
        Of two players that are `Vector` of size 1.
    orbits : dict of str to Solution, optional
        Label -> computed flow of two numbers; a ring marks its start, a disc its end.
    box : float or ((float, float), (float, float))
        The part of the plane, (x from, x to), (y from, y to); a number b stands for -b to b in both.
    speeds : (float, float), optional
        eta_0 and eta_1; default 1.
    axes : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import measureflow as mf
    >>> game = mf.games.DiracGAN("gan", r1=0.3)
    >>> sol = mf.solve(game, (mf.Vector(1.0), mf.Vector(1.0)), 10.0, 0.2, scheme="explicit")
    >>> figure = mf.phase_portrait(game, {"simultaneous": sol})
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['player 0']
    """
    if check.instance("game", game, AbstractGame, "a game of two players").players != 2:
        raise UnsupportedError(f"game must have two players that are numbers, got {game.players} players")
    sides = _sides(box)
    rates = (1.0, 1.0) if speeds is None else check.entries("speeds", speeds, 2, "a positive number a player")
    rates = tuple(check.scalar("speeds", eta, above=0.0) for eta in rates)
    paths = _paths({} if orbits is None else check.instance("orbits", orbits, Mapping, "a dict of solutions"))
    axes = canvas((4.8, 4.4)).subplots() if axes is None else _checked(axes)
    field, bounds = velocity_field(game, sides, rates)
    _streamlines(axes, sides, field)
    _edges(axes, bounds)
    for color, (label, path) in zip(COLORS * len(paths), paths.items(), strict=False):
        axes.plot(*path.T, color=color, linewidth=1.1, label=label)
        axes.plot(*path[-1], "o", color=color, markersize=4.0)
        axes.plot(*path[0], "o", color="black", markerfacecolor="white", markersize=4.5)
    _frame(axes, sides)
    if paths:
        legend(axes, sum(map(len, paths.values())))
    return axes.get_figure(root=True)


def velocity_field(game: AbstractGame, box: Box, speeds: tuple[float, ...] = (1.0, 1.0)) -> tuple[np.ndarray, list[list[float]]]:
    """Return the velocities on an even grid of the box, (GRID, GRID, 2) with y first, NaN outside the players' bounds; and these.

    Examples
    --------
    >>> from measureflow.games import Bilinear
    >>> field, bounds = velocity_field(Bilinear(1.0), ((-1.0, 1.0), (-1.0, 1.0)))
    >>> field[0, 0], bounds
    (array([ 1., -1.]), [[], []])
    """
    xs, ys = (np.linspace(*side, GRID) for side in box)
    middle = Vector(float(np.mean(box[0]))), Vector(float(np.mean(box[1])))
    limits = [game.energy(player, middle).bounds for player in (0, 1)]
    inside = [_within(values, limit) for values, limit in zip((xs, ys), limits, strict=True)]
    field = np.full((GRID, GRID, 2), np.nan)
    for j, i in zip(*np.nonzero(inside[1][:, None] & inside[0][None, :]), strict=True):
        states = Vector(float(xs[i])), Vector(float(ys[j]))
        slopes = (game.energy(k, states).gradient(states[k]) for k in (0, 1))
        field[j, i] = [-eta * float(slope[0]) for eta, slope in zip(speeds, slopes, strict=True)]
    edges = [[] if limit is None else [float(e) for e in np.ravel(limit) if np.isfinite(e)] for limit in limits]
    return field, edges


def _within(values: np.ndarray, limit: Any) -> np.ndarray:
    if limit is None:
        return np.ones(len(values), dtype=bool)
    slack = 1e-12 * max(1.0, float(np.abs(values).max()))
    return (values >= np.ravel(limit[0])[0] - slack) & (values <= np.ravel(limit[1])[0] + slack)


def _sides(box: Any) -> Box:
    if not isinstance(box, (list, tuple, np.ndarray)):
        size = check.scalar("box", box, above=0.0)
        return (-size, size), (-size, size)
    sides = []
    for k, side in enumerate(check.entries("box", box, 2, "a pair (from, to) for each player")):
        low, high = check.entries(f"box[{k}]", side, 2, "the ends of an interval")
        low = check.scalar(f"box[{k}][0]", low)
        sides.append((low, check.scalar(f"box[{k}][1]", high, above=low)))
    return sides[0], sides[1]


def _paths(orbits: Mapping[str, Solution]) -> dict[str, np.ndarray]:
    """Return the orbits of solutions of two numbers, each (rows, 2)."""
    paths = {}
    for label, sol in orbits.items():
        name = f"orbits[{check.show(label)}]"
        check.instance(name, sol, Solution, "a Solution of two players that are numbers")
        if not len(sol) or not is_portrait(sol.row(0)):
            kinds = [check.show(state) for state in sol.row(0)] if len(sol) else []
            raise ValueError(f"{name} must be a Solution of two players that are numbers, got the players {kinds}")
        paths[str(label)] = np.array([np.concatenate([x.coordinates for x in sol.row(k)]) for k in range(len(sol))])
    return paths


def _checked(axes: Any) -> Any:
    from matplotlib.axes import Axes

    return check.instance("axes", axes, Axes, "matplotlib axes")


def _edges(axes: Any, bounds: list[list[float]]) -> None:
    for draw, bound in zip((axes.axvline, axes.axhline), bounds, strict=True):
        for edge in bound:
            draw(edge, color="black", linestyle="--", linewidth=0.7)


def _streamlines(axes: Any, box: Box, field: np.ndarray) -> None:
    if not np.any(np.nan_to_num(field)):
        return
    xs, ys = (np.linspace(*side, GRID) for side in box)
    u, v = np.ma.masked_invalid(field[..., 0]), np.ma.masked_invalid(field[..., 1])
    axes.streamplot(xs, ys, u, v, density=0.8, color=FIELD, linewidth=0.6, arrowsize=0.7, zorder=0.5)


def _frame(axes: Any, box: Box) -> None:
    axes.set_xlim(box[0])
    axes.set_ylim(box[1])
    axes.set_aspect("equal" if np.ptp(box[0]) < 5.0 * np.ptp(box[1]) < 25.0 * np.ptp(box[0]) else "auto")
    axes.set_xlabel("player 0", fontsize=FONT)
    axes.set_ylabel("player 1", fontsize=FONT)
    finish(axes, "phase portrait")
