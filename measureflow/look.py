"""The look of pictures of flows: canvas, colours, legends and scales."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from measureflow.states.draw import COLORS, FONT, png_bytes, tidy

DPI = 100.0
DECADES = 12


def canvas(size: tuple[float, float]) -> Any:
    """Return an empty figure that pyplot does not know and notebooks can show.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "measureflow[plot]"') from None
    picture: Any = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(picture)
    picture._repr_png_ = partial(png_bytes, picture)
    return picture


def player_color(player: int) -> str:
    """Return the colour of a player in every panel."""
    return COLORS[player % len(COLORS)]


def legend(axes: Any, points: int, **options: Any) -> None:
    """Add a legend where it hides least; in the corner if looking for that place among the points would be slow."""
    place = "best" if points <= 10000 else "upper right"
    axes.legend(frameon=False, fontsize=FONT, title_fontsize=FONT, loc=place, **options)


def finish(axes: Any, title: str) -> None:
    """Give axes their title and the look of the package."""
    tidy(axes)
    axes.set_title(title, fontsize=FONT + 1.0)


def time_colors(count: int) -> np.ndarray:
    """Return `count` colours from early (dark) to late (light) that stay visible on white, (count, 4)."""
    import matplotlib

    return np.asarray(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, max(count, 2))))[:count]


def time_steps(axes: Any, times: np.ndarray, colors: np.ndarray) -> None:
    """Add a colour bar with one field for each time."""
    if len(times) < 2:
        return
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    count = len(times)
    key = ScalarMappable(BoundaryNorm(np.arange(count + 1) - 0.5, count), ListedColormap(colors))
    bar = axes.get_figure(root=False).colorbar(key, ax=axes, ticks=range(count), pad=0.02, aspect=25)
    bar.ax.set_yticklabels([f"{t:.3g}" for t in times])
    finish_bar(bar, "t")


def finish_bar(bar: Any, name: str) -> None:
    """Name a colour bar, and take its lines away."""
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", length=0.0, labelsize=FONT)
    bar.ax.set_title(name, fontsize=FONT)


def log_scale(axes: Any, drawn: np.ndarray) -> None:
    """Make the y axis logarithmic if there is anything positive, over at most `DECADES` decades, with plain labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not np.any(np.isfinite(drawn)):
        return
    axes.set_yscale("log")
    top = float(np.nanmax(drawn))
    bottom = max(float(np.nanmin(drawn)), top * 10.0**-DECADES)
    margin = max((top / bottom) ** 0.06, np.sqrt(4.0 * bottom / top))
    axes.set_ylim(bottom / margin, top * margin)
    if top / bottom < 100.0:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
