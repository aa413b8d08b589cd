"""The pictures of mode-collapse.md, which `python notes/mode_collapse.py` writes, and the tables that it prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from measureflow import modes
from measureflow.look import canvas
from measureflow.modes.phase_ring import train
from measureflow.modes.pictures import mitigation_picture
from measureflow.states.draw import COLORS, FONT, tidy

HERE = Path(__file__).parent
DPI = 100
SPEED, RIDGES = 1.0, (0.01, 0.1)
STEPS, ROWS, FRAMES = 600, 5, 40
"""Steps of the two runs, and how many rows the strip and the animation show."""


def runs(steps: int = STEPS, **settings: Any) -> tuple[modes.Target, Any]:
    """Return the ring and two runs that differ in the ridge of the critic alone: one rotates in a clump, one covers."""
    speeds = np.full(len(RIDGES), SPEED)
    return train(speeds, np.array(RIDGES), steps=steps, coupling="alternating", **settings)


def _panel(axes: Any, target: modes.Target, points: np.ndarray, title: str) -> None:
    axes.plot(*np.transpose(target.centres), "o", markersize=9, markerfacecolor="none", markeredgecolor="0.6")
    axes.plot(*points.T, ".", markersize=3, color=COLORS[0])
    axes.set_xlim(-1.9, 1.9)
    axes.set_ylim(-1.9, 1.9)
    axes.set_aspect("equal")
    tidy(axes)
    axes.set_title(title, fontsize=FONT)


def collapse_and_cure() -> Any:
    """Draw both runs at five times: above a weak ridge, below ten times as much."""
    target, found = runs()
    rows = np.linspace(0, len(found.t) - 1, ROWS).round().astype(int)
    figure = canvas((2.3 * ROWS, 4.9))
    places = figure.subplots(len(RIDGES), ROWS, sharex=True, sharey=True)
    for member, ridge in enumerate(RIDGES):
        for place, row in zip(places[member], rows, strict=True):
            points = found.states(row, member)[0].points
            cover = target.cover(points)
            held = f"{cover.modes} modes, {100.0 * cover.high_quality:.0f} %"
            _panel(place, target, points, f"ridge {ridge:g}, t = {found.t[row, member]:.0f}: {held}")
    return figure


def phase_diagram() -> Any:
    """Draw 20 x 20 trainings on the ring with simultaneous steps, by speed and ridge of the critic."""
    return modes.phase_diagram("training", coupling="simultaneous").plot()


def packing() -> Any:
    """Draw the same with packs of 1 to 4 points, 12 x 12 trainings each."""
    speeds, ridges = np.geomspace(0.1, 30.0, 12), np.geomspace(0.001, 1.0, 12)
    return modes.phase_panels("packing", [1, 2, 3, 4], "training", speeds, ridges).plot()


def batches_and_noise() -> Any:
    """Draw 12 x 12 trainings with batches of 8, 32 and 128 points, by speed of the critic and instance noise."""
    speeds, noises = np.geomspace(0.1, 30.0, 12), np.linspace(0.0, 0.6, 12)
    settings = {"axes": ("speed", "noise"), "coupling": "alternating"}
    return modes.phase_panels("batch", [8, 32, 128], "training", speeds, noises, **settings).plot()


def rotating_wave() -> Any:
    """Draw the solvable model M1 with its threshold, measured and predicted."""
    diagram = modes.phase_diagram("rotating-wave")
    return diagram.plot(diagram.threshold())


def mitigations() -> Any:
    """Measure all mitigations, print their table, and draw how far measured numbers are from predicted ones."""
    rows = modes.mitigations()
    print(modes.mitigation_table(rows))
    return mitigation_picture(rows)


PICTURES: dict[str, Callable[[], Any]] = {
    "collapse-and-cure": collapse_and_cure,
    "phase-diagram": phase_diagram,
    "packing-diagram": packing,
    "batch-and-noise-diagram": batches_and_noise,
    "rotating-wave-diagram": rotating_wave,
    "mitigations": mitigations,
}


def animate(path: Path, frames: int = FRAMES, **settings: Any) -> Path:
    """Write both runs side by side as an animation."""
    from PIL import Image

    target, found = runs(rows=frames, **settings)
    shots = []
    for row in range(len(found.t)):
        figure = canvas((6.4, 3.5))
        for member, (place, ridge) in enumerate(zip(figure.subplots(1, 2), RIDGES, strict=True)):
            points = found.states(row, member)[0].points
            _panel(place, target, points, f"ridge {ridge:g}: {target.cover(points).modes} of {len(target)} modes")
        figure.canvas.draw()
        shots.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).quantize(32))
    shots[0].save(path, save_all=True, append_images=shots[1:], duration=120, loop=0)
    return path


def main(wanted: list[str]) -> None:
    """Write the pictures of these names; without names all of them and the animation."""
    for name in wanted or PICTURES:
        PICTURES[name]().savefig(HERE / f"{name}.png", dpi=DPI)
    if not wanted:
        animate(HERE / "collapse-and-cure.gif")


if __name__ == "__main__":
    main(sys.argv[1:])
