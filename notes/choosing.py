"""The pictures of choosing.md, which `python notes/choosing.py` writes, and its table, which `... choosing.py table` measures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import measureflow as mf
from measureflow import problems
from measureflow.look import canvas, finish_bar
from measureflow.states.draw import FONT

HERE = Path(__file__).parent
DPI = 110
WALL, EDGE = "0.66", "0.25"

e = mf.energies
LINEARISED = mf.JKO(inner="linearised")


# panels ------------------------------------------------------------------------------------------------------------------


def panels(shape: tuple[int, int], size: tuple[float, float]) -> tuple[Any, np.ndarray]:
    """Return a figure and its panels, (rows * columns,)."""
    picture = canvas(size)
    return picture, picture.subplots(*shape, sharex=True, sharey=True).ravel()


def colors(name: str) -> Any:
    """Return a colour map that begins with white; cells that are masked are drawn in grey."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    samples = matplotlib.colormaps[name](np.linspace(0.0, 1.0, 256))
    share = np.clip(np.linspace(0.0, 6.0, 256), 0.0, 1.0)[:, None]
    return LinearSegmentedColormap.from_list("white " + name, (1.0 - share) + share * samples).with_extremes(bad=WALL)


def draw(axes: Any, law: mf.Histogram, t: float, top: float, name: str, mask: Any = None) -> Any:
    """Draw a density in the plane, with its time for a title and the cells of a mask in grey."""
    (left, right), (bottom, upper) = law.grid.bounds
    shown = law.density if mask is None else np.ma.masked_array(law.density, mask)
    image = axes.imshow(
        shown.T,
        origin="lower",
        extent=(left, right, bottom, upper),
        vmin=0.0,
        vmax=top,
        cmap=colors(name),
        interpolation="nearest",
    )
    axes.set_title(f"t = {t:g}", fontsize=FONT + 1.0)
    axes.set_xticks([])
    axes.set_yticks([])
    return image


def front(axes: Any, law: mf.Histogram, mask: np.ndarray, level: float) -> None:
    """Draw the line where the density falls to a level, but not along walls."""
    axes.contour(*law.grid.axes, np.ma.masked_array(law.density, mask).T, levels=[level], colors=EDGE, linewidths=0.7)


def discs(axes: Any, places: Sequence[tuple[float, float, float]], widening: float) -> None:
    """Draw round obstacles (x, y, radius) over the cells that stand for them."""
    from matplotlib.patches import Circle

    for x, y, radius in places:
        axes.add_patch(Circle((x, y), radius + widening, facecolor=WALL, edgecolor="none"))


def scale(picture: Any, axes: Any, image: Any, name: str, extend: str = "neither") -> None:
    """Add one colour bar for all panels."""
    finish_bar(picture.colorbar(image, ax=list(axes), pad=0.02, aspect=28, extend=extend), name)


# porous media ------------------------------------------------------------------------------------------------------------

PILLARS = (
    *((0.46, 0.20, 0.10), (0.50, 0.72, 0.13), (0.84, 0.45, 0.11), (0.93, 0.86, 0.09), (1.02, 0.13, 0.09)),
    *((1.26, 0.66, 0.13), (1.40, 0.28, 0.11), (1.68, 0.52, 0.09), (1.66, 0.90, 0.07), (1.76, 0.12, 0.08)),
)


def pillars(grid: mf.Grid) -> np.ndarray:
    """Return the cells whose centres lie in a pillar."""
    x = grid.centres
    return np.asarray(np.any([np.hypot(x[..., 0] - a, x[..., 1] - b) < r for a, b, r in PILLARS], axis=0))


def porous(n: int = 80, tau: float = 0.001, times: Sequence[float] = (0.002, 0.01, 0.05, 0.3)) -> tuple[mf.Solution, np.ndarray]:
    """Solve the porous medium equation u_t = Lap(u^3) among pillars on 2n x n cells; return the flow and the pillars' cells."""
    grid = mf.Grid([(0.0, 2.0), (0.0, 1.0)], (2 * n, n))
    start = mf.Histogram.from_density(lambda x: np.maximum(1.0 - np.sum((x - [0.18, 0.46]) ** 2, axis=-1) / 0.02, 0.0), grid)
    mask = pillars(grid)
    energy = e.PowerEntropy(3) + e.Obstacle(mask)
    return mf.solve(energy, start, times[-1], tau, scheme=mf.BDF2(), save_at=times), mask


def porous_media(**options: Any) -> Any:
    """Draw a porous medium flow among pillars."""
    sol, mask = porous(**options)
    picture, places = panels((2, 2), (8.6, 4.9))
    for axes, t, law in zip(places, sol.t, sol.states, strict=True):
        image = draw(axes, law, float(t), 2.0, "YlGnBu", mask)
        front(axes, law, mask, 0.02)
        discs(axes, PILLARS, 0.3 * float(law.grid.spacing[0]))
    scale(picture, places, image, "density", "max")
    return picture


# aggregation and diffusion -----------------------------------------------------------------------------------------------

REACH = 0.045


def bell(z: np.ndarray) -> np.ndarray:
    """Return the attraction -exp(-|z|^2/(2 s^2)) of two atoms at the distance |z|."""
    return np.asarray(-np.exp(-0.5 * np.sum(z**2, axis=-1) / REACH**2))


def bell_slope(z: np.ndarray) -> np.ndarray:
    """Return the gradient of `bell`."""
    return np.asarray(-bell(z)[..., None] * z / REACH**2)


def speckled(n: int) -> mf.Histogram:
    """Return the even law on the torus, with smooth noise."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(4).normal(size=(n, n)), n / 24, mode="wrap")
    density = 1.0 + 0.15 * noise / noise.std()
    return mf.Histogram(density / density.sum(), mf.Grid([(0.0, 1.0)] * 2, (n, n), periodic=True))


def clusters(n: int = 96, tau: float = 0.1, times: Sequence[float] = (1.0, 2.0, 4.0, 16.0)) -> mf.Solution:
    """Solve attraction at a short range against u^2 on a torus of n x n cells."""
    energy = 0.0025 * e.PowerEntropy(2) + e.Interaction(bell, bell_slope)
    scheme = mf.ForwardBackward(("Interaction",))
    return mf.solve(energy, speckled(n), times[-1], tau, scheme=scheme, save_at=times)


def aggregation(**options: Any) -> Any:
    """Draw how an even law breaks into clusters, which merge."""
    sol = clusters(**options)
    picture, places = panels((1, 4), (10.4, 2.9))
    for axes, t, law in zip(places, sol.t, sol.states, strict=True):
        image = draw(axes, law, float(t), 16.0, "magma_r")
    scale(picture, places, image, "density", "max")
    return picture


# crowds ------------------------------------------------------------------------------------------------------------------

CAP, DOOR, GOAL = 2.5, (1.2, 0.5), (1.62, 0.5)
COLUMN = ((0.85, 0.5, 0.1),)


def room(grid: mf.Grid) -> np.ndarray:
    """Return the cells of a wall with a door, and of a column in front of it."""
    x, y = grid.centres[..., 0], grid.centres[..., 1]
    return np.asarray(((abs(x - DOOR[0]) < 0.04) & (abs(y - DOOR[1]) > 0.1)) | (np.hypot(x - 0.85, y - 0.5) < 0.1))


def way(x: np.ndarray) -> np.ndarray:
    """Return the length of the way to the goal, through the door for those who are before it."""
    aside = x[..., 1] - np.clip(x[..., 1], DOOR[1] - 0.06, DOOR[1] + 0.06)
    before = np.hypot(x[..., 0] - DOOR[0], aside) + GOAL[0] - DOOR[0]
    return np.where(x[..., 0] < DOOR[0], before, np.hypot(x[..., 0] - GOAL[0], x[..., 1] - GOAL[1]))


def crowd(n: int = 60, tau: float = 0.01, times: Sequence[float] = (0.01, 0.4, 1.0, 2.0)) -> tuple[mf.Solution, np.ndarray]:
    """Solve the motion of a crowd to a goal, of a density of at most `CAP`, on 2n x n cells; return it and the walls."""
    grid = mf.Grid([(0.0, 2.0), (0.0, 1.0)], (2 * n, n))
    start = mf.Histogram.from_density(
        lambda x: np.where((abs(x[..., 0] - 0.37) < 0.3) & (abs(x[..., 1] - 0.5) < 0.42), 1.0, 0.0), grid
    )
    mask = room(grid)
    energy = e.Potential(way) + 0.02 * e.Entropy() + e.Congestion(CAP) + e.Obstacle(mask)
    return mf.solve(energy, start, times[-1], tau, scheme=LINEARISED, save_at=times), mask


def crowd_motion(**options: Any) -> Any:
    """Draw a crowd that passes a door; where it is as dense as it may be it is drawn dark."""
    sol, mask = crowd(**options)
    picture, places = panels((2, 2), (8.6, 4.9))
    for axes, t, law in zip(places, sol.t, sol.states, strict=True):
        image = draw(axes, law, float(t), CAP, "PuRd", mask)
        front(axes, law, mask, 0.98 * CAP)
        discs(axes, COLUMN, 0.3 * float(law.grid.spacing[0]))
    scale(picture, places, image, "density")
    return picture


# the table ---------------------------------------------------------------------------------------------------------------


def gap(law: Any, exact: mf.Gaussian) -> float:
    """Return the distance in W2 of the Gaussians with the same means and covariances."""
    return float(mf.distance(law if isinstance(law, mf.Gaussian) else law.to_gaussian(), exact))


def line_cases() -> dict[str, tuple[Any, Any, int, Any]]:
    """Return the flow S1 in every representation: name -> (energy, start, steps, scheme)."""
    p = problems.get("S1")
    levels, cells = p.initial.to_quantiles(200), p.initial.to_histogram(mf.Grid([(-8.0, 10.0)], 200))
    atoms, many = mf.Particles(p.initial.to_quantiles(400).values[:, None]), mf.Particles(p.initial.sample(10000, seed=0))
    return {
        "Gaussian, JKO": (p.problem, p.initial, 20, "jko"),
        "Gaussian, VIM": (p.problem, p.initial, 20, "vim"),
        "200 quantiles, JKO": (p.problem, levels, 20, "jko"),
        "200 quantiles, VIM": (p.problem, levels, 20, "vim"),
        "200 cells, JKO": (p.problem, cells, 20, "jko"),
        "200 cells, linearised": (p.problem, cells, 20, LINEARISED),
        "200 cells, BDF2": (p.problem, cells, 20, mf.BDF2()),
        "200 cells, VIM": (p.problem, cells, 20, "vim"),
        "400 atoms, blobs, RK2": (e.BlobEntropy(0.2) + e.Quadratic(), atoms, 40, "rk2"),
        "10000 atoms, Langevin": (e.Quadratic(), many, 40, mf.Langevin(1.0)),
    }


def plane_cases() -> dict[str, tuple[Any, Any, int, Any]]:
    """Return the flow S2 in the plane, likewise."""
    p, pull = problems.get("S2"), e.Quadratic([[2.0, 0.7], [0.7, 0.5]])
    cells = p.initial.to_histogram(mf.Grid([(-6.0, 6.0), (-7.0, 8.0)], (96, 96)))
    return {
        "Gaussian, JKO": (p.problem, p.initial, 20, "jko"),
        "Gaussian, VIM": (p.problem, p.initial, 20, "vim"),
        "96 x 96 cells, JKO": (p.problem, cells, 20, "jko"),
        "96 x 96 cells, linearised": (p.problem, cells, 20, LINEARISED),
        "96 x 96 cells, BDF2": (p.problem, cells, 20, mf.BDF2()),
        "96 x 96 cells, VIM": (p.problem, cells, 20, "vim"),
        "2000 atoms, blobs, RK2": (e.BlobEntropy(0.3) + pull, mf.Particles(p.initial.sample(2000, seed=0)), 40, "rk2"),
        "10000 atoms, Langevin": (pull, mf.Particles(p.initial.sample(10000, seed=0)), 40, mf.Langevin(1.0)),
    }


def measure(cases: dict[str, tuple[Any, Any, int, Any]], exact: mf.Gaussian) -> list[str]:
    """Return a line for every case: error and CPU time of the second of two runs."""
    lines = []
    for name, (energy, start, steps, scheme) in cases.items():
        for _ in range(2):
            begun = time.process_time()
            law = mf.solve(energy, start, 1.0, 1.0 / steps, scheme=scheme, save_at=steps).states[-1]
            spent = time.process_time() - begun
        lines.append(f"{name:27}{steps:6d}{gap(law, exact):10.1e}{spent:8.2f}")
    return lines


def table() -> str:
    """Return the table of choosing.md: Fokker-Planck to t = 1 on the line (S1) and in the plane (S2)."""
    head = f"{'':27}{'steps':>6}{'error':>10}{'CPU s':>8}"
    line = measure(line_cases(), problems.get("S1").exact(1.0))
    plane = measure(plane_cases(), problems.get("S2").exact(1.0))
    return "\n".join([head, "on the line", *line, "in the plane", *plane])


PICTURES: dict[str, Callable[[], Any]] = {"porous-media": porous_media, "aggregation": aggregation, "crowd-motion": crowd_motion}


def main(words: Sequence[str]) -> None:
    """Write the pictures, or print the table."""
    if list(words) == ["table"]:
        print(table())
        return
    for name, picture in PICTURES.items():
        picture().savefig(HERE / f"{name}.png", dpi=DPI)


if __name__ == "__main__":
    main(sys.argv[1:])
