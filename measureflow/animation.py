"""Animations of flows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow import _validate as check
from measureflow.look import DPI, canvas, player_color
from measureflow.panels import (
    common_peak,
    common_plane,
    is_portrait,
    name_portrait,
    player_title,
    portrait_path,
    require_rows,
)
from measureflow.states import State
from measureflow.states.draw import FONT, GREY, draw, tidy

if TYPE_CHECKING:
    from measureflow.solution import Solution

Painter = Callable[[int, Any], None]


def animation(sol: Solution, path: str | Path, frames: int = 60) -> Path:
    """Write the states of a flow at evenly spaced times as a GIF, on fixed scales.

    Parameters
    ----------
    sol : Solution
        With at least one row; a solution of one row gives a still picture.
    path : str or Path
        File to write, ending in .gif (added if there is no ending); replaced at the end, so never half written.
    frames : int
        Number of pictures, at least 1.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the solution has no rows.
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    target = check.path("path", path, ".gif")
    frames = check.integer("frames", frames, least=1)
    require_rows(sol)
    times = np.linspace(sol.t[0], sol.t[-1], frames)
    picture, paint = _stage(sol, times)
    writer = _gif_writer(frames)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.gif")
    try:
        temporary.touch()
        with writer.saving(picture, temporary, DPI):
            for k in range(frames):
                paint(k)
                writer.grab_frame()
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _gif_writer(frames: int) -> Any:
    from matplotlib.animation import PillowWriter

    return PillowWriter(fps=int(np.clip(frames // 4, 4, 20)))


def _stage(sol: Solution, times: np.ndarray) -> tuple[Any, Callable[[int], None]]:
    """Return a figure and the function that paints frame k on it."""
    rows = [(sol(float(t)),) if sol.single else sol(float(t)) for t in times]
    if is_portrait(rows[0]):
        painters = [_path_painter(sol, times, rows)]
    else:
        painters = [_state_painter(sol, player, [row[player] for row in rows]) for player in range(len(rows[0]))]
    picture = canvas((4.6 if len(painters) == 1 else 4.0 * len(painters), 3.8))
    places = np.atleast_1d(picture.subplots(1, len(painters)))
    limits = [_limits(painter, len(rows)) for painter in painters]
    heading = picture.suptitle(" ", fontsize=FONT + 1.0)
    step = (times[-1] - times[0]) / max(len(times) - 1, 1)
    digits = max(0, int(-np.floor(np.log10(step)))) if step > 0.0 else 3

    def paint(k: int) -> None:
        for axes, painter, (x, y) in zip(places, painters, limits, strict=True):
            axes.clear()
            painter(k, axes)
            tidy(axes)
            axes.set(xlim=x, ylim=y, adjustable="box")
        heading.set_text(f"t = {times[k]:.{digits}f}")
        if k == 1:
            picture.set_layout_engine("none")  # the first frame was laid out: the others keep its places

    return picture, paint


def _limits(painter: Painter, frames: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return axis limits that hold every frame, as matplotlib chooses them with all frames on one axes."""
    scratch = canvas((4.0, 3.8)).subplots()
    for k in range(frames):
        painter(k, scratch)
    scratch.autoscale_view()
    scratch.apply_aspect()
    return scratch.get_xlim(), scratch.get_ylim()


def _state_painter(sol: Solution, player: int, states: list[State]) -> Painter:
    options = {"color": player_color(player), "plane": common_plane(states), "peak": common_peak(states)}
    title = "" if sol.single else player_title(sol, player, states[0])

    def paint(k: int, axes: Any) -> None:
        draw(states[k], axes, **options)
        axes.set_title(title, fontsize=FONT + 1.0)

    return paint


def _path_painter(sol: Solution, times: np.ndarray, rows: list[Any]) -> Painter:
    """Paint the point of two numbers in the plane, with the path behind it through the saved rows."""
    saved, path = portrait_path(sol)
    points = np.array([np.concatenate([x.coordinates for x in row]) for row in rows])

    def paint(k: int, axes: Any) -> None:
        behind = np.concatenate([path[saved < times[k]], points[k : k + 1]])
        axes.plot(behind[:, 0], behind[:, 1], color=GREY, linewidth=1.2)
        axes.plot(*points[k], "o", color="black", markersize=7.0)
        name_portrait(axes, path)

    return paint
