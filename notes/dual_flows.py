"""The pictures of dual-flows.md: run as `python notes/dual_flows.py`, it writes them next to itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import measureflow as mf
from measureflow import problems
from measureflow.look import canvas, finish
from measureflow.portraits import phase_portrait
from measureflow.states.draw import COLORS, FONT, GREY

HERE = Path(__file__).parent
DPI = 110

LABELS = {
    "optimistic": ("optimistic", 1.5),
    "simultaneous": ("simultaneous", 0.62),
    "implicit": ("implicit, extragradient", 0.27),
    "extragradient": ("", 1.0),
    "bdf2 optimistic": ("BDF2 optimistic", 0.115),
    "vim optimistic": ("VIM optimistic", 0.05),
    "bdf2 implicit": ("BDF2 implicit", 0.0215),
    "rk2": ("RK2", 0.0093),
    "rk4": ("RK4", 2e-4),
}
"""Scheme -> its label at the right end of its line, and the height of the label."""

ORBITS = ("simultaneous", "alternating", "implicit", "extragradient", "vim implicit")

H, STEPS = 0.2, 500
TRAINING = {"simultaneous": mf.Explicit("simultaneous"), "alternating": mf.Explicit("alternating")}


def numbers(*values: float) -> tuple[mf.Vector, ...]:
    """Return players that are numbers."""
    return tuple(mf.Vector(value) for value in values)


def damping() -> Any:
    """Draw rates of growth and decay on J = xy against the step, and orbits of length 20 for two steps."""
    picture = canvas((10.4, 4.2))
    left, *rest = picture.subplots(1, 3, width_ratios=(1.4, 1.0, 1.0))
    _rates(left)
    for axes, tau in zip(rest, (0.4, 0.1), strict=True):
        _rotations(axes, tau)
    handles, labels = rest[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower right", ncol=len(labels), frameon=False, fontsize=FONT)
    return picture


def _rates(axes: Any) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    taus = np.geomspace(0.05, 0.5, 25)
    for name, (label, height) in LABELS.items():
        factor = problems.get("G1").factors[name]
        rates = np.array([np.log(abs(factor(tau))) / tau for tau in taus])
        color = COLORS[1] if rates[0] > 0.0 else COLORS[0]
        axes.loglog(taus, np.abs(rates), "--" if name == "implicit" else "-", color=color, linewidth=1.3)
        axes.text(0.54, height, label, color=color, fontsize=FONT - 0.5, va="center")
    for power, height in ((1, 0.07), (3, 6e-4), (5, 5e-8)):
        axes.text(0.06, height, f"$\\propto \\tau^{power}$" if power > 1 else "$\\propto \\tau$", fontsize=FONT)
    axes.set_xlim(0.045, 2.3)
    axes.set_xticks([0.05, 0.1, 0.2, 0.5], labels=["0.05", "0.1", "0.2", "0.5"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("step $\\tau$", fontsize=FONT)
    axes.set_ylabel("$|\\log|\\mu||\\,/\\,\\tau$", fontsize=FONT)
    for color, text, y in ((COLORS[1], "growth", 0.16), (COLORS[0], "decay", 0.09)):
        axes.text(0.72, y, text, color=color, fontsize=FONT, transform=axes.transAxes)
    finish(axes, "rate per unit of time on $J = xy$")


def _rotations(axes: Any, tau: float) -> None:
    for k, name in enumerate(ORBITS):
        sol = mf.solve(mf.games.Bilinear(1.0), numbers(1.0, 0.0), 20.0, tau, scheme=problems.SCHEMES[name])
        path = np.array([[x[0], y[0]] for x, y in sol.states])
        label = "VIM implicit" if name == "vim implicit" else name
        axes.plot(*path.T, color=COLORS[k], linewidth=1.0, label=label, linestyle="--" if name == "extragradient" else "-")
        axes.plot(*path[-1], "o", color=COLORS[k], markersize=4.0)
    axes.plot(1.0, 0.0, "o", color="black", markerfacecolor="white", markersize=5.0)
    axes.set_aspect("equal")
    axes.set_xlim(-3.0, 3.0)
    axes.set_ylim(-3.0, 3.0)
    axes.set_xlabel("x", fontsize=FONT)
    axes.set_ylabel("y", fontsize=FONT)
    finish(axes, f"orbits up to t = 20, $\\tau$ = {tau:g}")


def dirac_panels() -> dict[str, tuple[Any, tuple[float, float], float]]:
    """Return title -> (game, speeds, half width of the panel)."""
    gan, one = mf.games.DiracGAN, (1.0, 1.0)
    return {
        "GAN": (gan("gan"), one, 3.4),
        "NS-GAN": (gan("nsgan"), one, 2.2),
        "GAN, critic speed 4": (gan("gan"), (1.0, 4.0), 4.6),
        "WGAN": (gan("wgan"), one, 3.4),
        "WGAN, clip 1": (gan("wgan", clip=1.0), one, 2.2),
        "WGAN-GP 0.7, target 1": (gan("wgan", gradient_penalty=(0.7, 1.0)), one, 2.2),
        "GAN, R1 0.3": (gan("gan", r1=0.3), one, 2.2),
        "GAN, R1 1 (critical)": (gan("gan", r1=1.0), one, 1.6),
        "GAN, R1 2 (over-critical)": (gan("gan", r1=2.0), one, 1.6),
        "GAN, instance noise 0.7": (gan("gan", instance_noise=0.7), one, 2.2),
        "GAN, consensus 1": (gan("gan", consensus=1.0), one, 1.6),
        "WGAN, R1 1, critic speed 4": (gan("wgan", r1=1.0), (1.0, 4.0), 1.6),
    }


def dirac() -> Any:
    """Draw the phase portraits of the Dirac-GAN and its regularisers: the flow, and two schemes of training."""
    picture = canvas((10.4, 8.6))
    places = picture.subplots(3, 4)
    for axes, (title, (game, speeds, half)) in zip(places.ravel(), dirac_panels().items(), strict=True):
        _dirac_panel(axes, title, game, speeds, half)
    handles, labels = places[1, 1].get_legend_handles_labels()  # the panel that has a limit cycle
    picture.legend(handles, labels, loc="outside lower center", ncol=len(labels), frameon=False, fontsize=FONT)
    return picture


def _dirac_panel(axes: Any, title: str, game: Any, speeds: tuple[float, float], half: float) -> None:
    start = numbers(1.0, 1.0)
    orbits = {name: mf.solve(game, start, H * STEPS, H, scheme=scheme, speeds=speeds) for name, scheme in TRAINING.items()}
    orbits["flow"] = mf.solve(game, start, 30.0, 0.1 / max(speeds) ** 0.5, scheme="rk4", speeds=speeds)
    phase_portrait(game, orbits, box=half, speeds=speeds, axes=axes)
    axes.get_legend().remove()
    axes.plot(0.0, 0.0, "+", color="black", markersize=8.0, label="equilibrium")
    if "GP" in title:
        _limit_cycle(axes)
    axes.set_xlabel("generator $\\theta$", fontsize=FONT)
    axes.set_ylabel("critic $\\psi$", fontsize=FONT)
    axes.set_title(title, fontsize=FONT)


def _limit_cycle(axes: Any) -> None:
    p = problems.get("G8")
    times = np.linspace(0.0, p.constants["period"], 200)
    path = np.array([[x[0], y[0]] for x, y in map(p.exact, times)])
    axes.plot(*path.T, color="black", linestyle=":", linewidth=1.4, label="limit cycle")


def laws() -> Any:
    """Draw a collapsed law on the ring that spreads, and rock-paper-scissors with its averages."""
    picture = canvas((10.4, 3.6))
    ring, simplex, gaps = picture.subplots(1, 3)
    _ring(ring)
    sol = problems.get("G14").solve(0.1, "mirror alternating", t=200.0)
    _simplex(simplex, sol)
    _gaps(gaps, sol)
    return picture


def _ring(axes: Any) -> None:
    sol = problems.get("M2", start=(0.98 + 0.0j, complex(0.6, -0.8)), n=40).solve(0.05, "rk4", t=20.0)
    paths = np.array([x.points[:, 0] for x, _ in sol.states])
    axes.plot(sol.t, paths / np.pi, color=COLORS[0], linewidth=0.6, alpha=0.7)
    atom = problems.get("G15").solve(0.05, "rk4", t=20.0)
    axes.plot(atom.t, [x.points[0, 0] / np.pi for x, _ in atom.states], color=COLORS[1], linewidth=1.6)
    axes.text(12.5, 4.35, "one atom", color=COLORS[1], fontsize=FONT, ha="right")
    axes.text(19.5, -0.2, "a law of 40 atoms", color=COLORS[0], fontsize=FONT, ha="right")
    axes.set_xlabel("t", fontsize=FONT)
    axes.set_ylabel("angle / $\\pi$", fontsize=FONT)
    finish(axes, "ring GAN: an atom runs, a law spreads")


def _simplex(axes: Any, sol: mf.Solution) -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
    masses = np.array([p.masses for p, _ in sol.states])
    means = sol.averages().running["player0_masses"]
    axes.plot(*corners[[0, 1, 2, 0]].T, color=GREY, linewidth=0.8)
    axes.plot(*(masses @ corners)[:700].T, color=COLORS[0], linewidth=0.7, label="strategy")
    axes.plot(*(means @ corners).T, color=COLORS[1], linewidth=1.5, label="its average")
    axes.plot(*corners.mean(axis=0), "+", color="black", markersize=9.0, label="Nash point")
    for text, (x, y), where in zip(("rock", "paper", "scissors"), corners, ("top", "top", "bottom"), strict=True):
        axes.text(x, y + (0.02 if where == "bottom" else -0.02), text, fontsize=FONT, ha="center", va=where)
    axes.set_aspect("equal")
    axes.set_xlim(-0.3, 1.05)
    axes.set_ylim(-0.1, 1.05)
    axes.axis("off")
    axes.legend(frameon=False, fontsize=FONT, loc="upper left")
    axes.set_title("rock-paper-scissors, player 0", fontsize=FONT + 1.0)


def _gaps(axes: Any, sol: mf.Solution) -> None:
    bound = -sum(np.log(law.masses.min()) for law in sol.states[0])
    axes.loglog(sol.t[1:], sol.duality_gap()[1:], color=COLORS[0], linewidth=0.8, label="the state")
    axes.loglog(sol.t[1:], sol.duality_gap(averaged=True)[1:], color=COLORS[1], linewidth=1.4, label="the average")
    axes.loglog(sol.t[1:], bound / sol.t[1:], "--", color="black", linewidth=1.0, label="bound of D3")
    axes.set_xlabel("t", fontsize=FONT)
    axes.set_ylabel("duality gap", fontsize=FONT)
    axes.legend(frameon=False, fontsize=FONT, loc="lower left")
    finish(axes, "duality gap")


PICTURES = {"damping": damping, "dirac-gan": dirac, "laws": laws}


def main() -> None:
    """Draw and write all pictures."""
    for name, draw in PICTURES.items():
        draw().savefig(HERE / f"{name}.png", dpi=DPI)


if __name__ == "__main__":
    main()
