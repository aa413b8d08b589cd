"""Pictures of flows: one figure of a whole solution.

Figures are made without pyplot and without global settings, so that nothing is left open and no backend is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow.animation import animation as animation
from measureflow.look import canvas, finish, legend, log_scale, player_color
from measureflow.panels import panels, require_rows
from measureflow.states.draw import GREY

if TYPE_CHECKING:
    from measureflow.solution import Solution

WIDTH = 9.6


def figure(sol: Solution) -> Any:
    """Draw a flow: its states at several times, its energies, and its speeds and slopes.

    Laws on the line and Gaussians are overlaid, coloured by time; atoms in the plane are shown with their paths, in
    d > 2 on one principal plane for all times; grids in 2-D and 3-D side by side; a `Vector` and up to 12 atoms on the
    line against time; two players that are numbers as a curve in the plane. Times are chosen half by time, half by
    distance travelled. Densities more than five times as high as the others leave the picture.

    Parameters
    ----------
    sol : Solution
        With at least one row.

    Returns
    -------
    matplotlib.figure.Figure
        Not registered with pyplot; notebooks show it, ``figure.savefig(path)`` keeps it.

    Raises
    ------
    ValueError
        If the solution has no rows.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Gaussian(2.0, 1.0), 1.0, 0.25)
    >>> [axes.get_ylabel() for axes in sol.plot().axes if axes.get_xlabel()]
    ['density', 'energy', 'speed, slope']
    """
    require_rows(sol)
    one, many = panels(sol)
    if len(one) == 1 and not many:
        picture = canvas((WIDTH, 4.6))
        left, right = picture.subfigures(1, 2, width_ratios=(1.55, 1.0), wspace=0.03)
        one[0](left.subplots())
        _curves(sol, right.subplots(2, 1))
        return picture
    picture = canvas((WIDTH, 2.9 * (len(many) + bool(one) + 1)))
    heights = [0.85] * len(many) + [1.15] * bool(one) + [1.0]
    rows = np.atleast_1d(picture.subfigures(len(heights), 1, height_ratios=heights, hspace=0.03))
    for row, panel in zip(rows, many, strict=False):
        panel(row)
    if one:
        for axes, panel in zip(np.atleast_1d(rows[-2].subplots(1, len(one))), one, strict=True):
            panel(axes)
    _curves(sol, rows[-1].subplots(1, 2))
    return picture


def _columns(sol: Solution, values: np.ndarray) -> np.ndarray:
    return np.reshape(values, (len(sol.t), -1))


def _curves(sol: Solution, places: Any) -> None:
    """Draw energies, and speeds with slopes, against time."""
    energies, rates = places
    columns = _columns(sol, sol.energies)
    mark = "o" if len(sol.t) <= 2 else None
    for player, values in enumerate(columns.T):
        finite = np.where(np.isfinite(values), values, np.nan)
        energies.plot(sol.t, finite, color=player_color(player), marker=mark, linewidth=1.6, label=f"player {player}")
    _name(energies, "energy", "energy" if sol.single else "energies")
    if not sol.single:
        legend(energies, len(sol.t))
    _rates(sol, rates, mark)
    rates.set_xlim(energies.get_xlim())


def _rates(sol: Solution, axes: Any, mark: str | None) -> None:
    from matplotlib.lines import Line2D

    first = int(len(sol.t) > 1 and np.array_equal(sol.speeds[0], sol.speeds[1]))  # row 0 repeats row 1
    tables: dict[str, Any] = {"speed": ("-", 1.0, first, sol.speeds), "slope": ("--", 0.55, 0, _slopes(sol))}
    shown = {name: entry for name, entry in tables.items() if entry[3] is not None}
    keys, drawn = [], []
    for name, (style, light, start, table) in shown.items():
        values = _positive(_columns(sol, table))[start:]
        for player, column in enumerate(values.T):
            axes.plot(sol.t[start:], column, style, color=_shade(player, light), marker=mark, linewidth=1.5)
        keys.append(Line2D([], [], linestyle=style, color=_shade(0, light) if sol.single else GREY, label=name))
        drawn.append(values.ravel())
    log_scale(axes, np.concatenate(drawn))
    _name(axes, ", ".join(shown), " and ".join(f"{name}s" for name in shown))
    legend(axes, len(sol.t), handles=keys)


def _shade(player: int, light: float) -> tuple[float, ...]:
    """Return a player's colour, darkened."""
    from matplotlib.colors import to_rgb

    return tuple(light * part for part in to_rgb(player_color(player)))


def _slopes(sol: Solution) -> np.ndarray | None:
    """Return the slopes, or None where the metric has none."""
    return sol.slopes if np.any(np.isfinite(sol.slopes)) else None


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values) & (values > 0.0), values, np.nan)


def _name(axes: Any, label: str, title: str) -> None:
    axes.set_xlabel("t")
    axes.set_ylabel(label)
    finish(axes, title)
