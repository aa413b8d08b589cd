"""The main job: the dual flow of a generator law and a critic law against real handwritten digits.

The generator is the law of 500 particles in R^64, started from noise; the critic is a law of 300 tanh neurons. Both move in W2,
the generator down and the critic up  J = E_mu D - E_data D - (beta/2) E|c|^2  (theory, sections 7.2 and 7.3). The flow is solved
at tau, tau/2 and tau/4 to see its first order.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from measureflow.datasets import digits
from measureflow.files import replace_text
from measureflow.games import GAN, NeuronCritic, Ridge
from measureflow.metrics import distance
from measureflow.report import Page, columns
from measureflow.schemes import Explicit
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Particles

ROWS = 21
"""Saved times of each solution, ends included."""

THEORY = (
    "Equal speeds (eta = 1) and a small ridge make this a plain zero-sum dual flow, not a fast critic: a critic that follows "
    "its best reply needs eta beta^2 above a threshold of order one (D9), and here it is 1e-4. The run is the transient of a "
    "slow rotation in which the generator falls onto the data.",
    "Why not faster? With eta of 20 to 200 the digits are sharper, but the three trajectories decorrelate: D4 bounds the "
    "distance to the limit flow by tau times exp(L t), and a fast critic makes L t too large for any affordable tau. Neurons "
    "start with outer weights +-4 of one size, so that none sits near the separatrix between growing and dying, where a "
    "rounding decides.",
    "Why not more ridge? A neuron survives only while the discrepancy that it sees exceeds beta; in 64 dimensions discrepancies "
    "are about 0.01 to 0.05, and for larger beta all neurons die and the generator freezes.",
    "Explicit alternating steps have no damping of order tau (theory, section 6), so that what is seen is the flow and not the "
    "scheme. First order is a statement about this bounded time span (D8): it does not say that the game converges as t grows.",
)


@final
@dataclass(frozen=True)
class Settings:
    """What the demo solves; the defaults make it reach its goals."""

    particles: int = 500
    neurons: int = 300
    horizon: float = 16.0
    steps: int = 400
    critic_speed: float = 1.0
    ridge: float = 0.01
    noise: float = 0.35
    outer: float = 4.0
    inner: float = 0.5
    bias: float = 0.5
    seed: int = 0


@final
@dataclass(frozen=True)
class Measured:
    """What one solution reached; distances in units of the grey scale [0, 1] of 64 pixels."""

    tau: float
    steps: int
    w2_before: float
    w2_after: float
    nearest_before: float
    nearest_after: float
    classes: int
    smallest_share: float
    cpu_seconds: float


@final
class Digits:
    """The data, and how a law of particles is judged against it."""

    def __init__(self) -> None:
        from scipy.spatial import cKDTree

        images, self.labels = digits()
        self.centre = images.mean(axis=0)
        self.points = images - self.centre
        self.law = Particles(self.points)
        self._tree = cKDTree(self.points)
        self._distances: dict[bytes, float] = {}
        self.own_distance = float(self._tree.query(self.points, k=2)[0][:, 1].mean())

    def distance(self, law: Particles) -> float:
        """Return the W2 distance of a law to the data; equal arrays of atoms are measured once."""
        key = law.points.tobytes()
        if key not in self._distances:
            self._distances[key] = distance(law, self.law)
        return self._distances[key]

    def index(self, points: np.ndarray) -> np.ndarray:
        """Return the index (n,) of the datum nearest to each point (n, 64)."""
        return np.asarray(self._tree.query(points)[1])

    def nearest(self, law: Particles) -> tuple[float, np.ndarray]:
        """Return the mean distance of the particles to the nearest datum over that of the data, and each particle's class."""
        gaps, index = self._tree.query(law.points)
        return float(gaps.mean()) / self.own_distance, self.labels[index]


def initial_states(settings: Settings) -> tuple[Particles, Particles]:
    """Return noise particles (n, 64) around the mean image and random neurons (H, 66), outer weights +- `outer`."""
    rng = np.random.default_rng(settings.seed)
    particles = settings.noise * rng.standard_normal((settings.particles, 64))
    outer = settings.outer * np.sign(rng.standard_normal((settings.neurons, 1)))
    inner = settings.inner * rng.standard_normal((settings.neurons, 64))
    bias = settings.bias * rng.standard_normal((settings.neurons, 1))
    return Particles(particles), Particles(np.hstack([outer, inner, bias]))


def solve_flow(data: Digits, settings: Settings, refinement: int, progress: bool) -> Solution:
    """Solve the dual flow with steps horizon / (steps * refinement)."""
    game = GAN(data.law, critic=NeuronCritic("tanh", dtype="float32"), penalty=Ridge(settings.ridge))
    return solve(
        game,
        initial_states(settings),
        settings.horizon,
        settings.horizon / (settings.steps * refinement),
        scheme=Explicit("alternating"),
        speeds=(1.0, settings.critic_speed),
        save_at=np.linspace(0.0, settings.horizon, ROWS),
        progress=progress,
    )


def measure(data: Digits, sol: Solution, tau: float) -> Measured:
    """Judge the first and the last generator law of a solution."""
    first, last = sol.states[0][0], sol.states[-1][0]
    before, _ = data.nearest(first)
    after, classes = data.nearest(last)
    shares = np.bincount(classes, minlength=10) / len(classes)
    return Measured(
        tau,
        sol.info["steps"],
        data.distance(first),
        data.distance(last),
        before,
        after,
        int(np.count_nonzero(shares)),
        float(shares.min()),
        sol.info["cpu_seconds"],
    )


def differences(coarse: Solution, fine: Solution, critic_speed: float) -> np.ndarray:
    """Return the distance of two solutions at their saved times in the product metric d1^2 + d2^2 / eta, labels kept."""
    rows = []
    for (mu, nu), (other_mu, other_nu) in zip(coarse.states, fine.states, strict=True):
        generator = coarse.players.metrics[0].labelled_distance(mu, other_mu)
        critic = coarse.players.metrics[1].labelled_distance(nu, other_nu)
        rows.append(np.hypot(generator, critic / np.sqrt(critic_speed)))
    return np.array(rows)


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """What the demo found."""

    settings: Settings
    measured: list[Measured]
    times: np.ndarray
    differences: list[np.ndarray]
    solutions: list[Solution]
    data: Digits

    @property
    def order(self) -> float:
        """Observed order in tau: log2 of the ratio of the largest differences over the saved times."""
        coarse, fine = (float(np.max(d)) for d in self.differences)
        return float(np.log2(coarse / fine))

    @property
    def goals(self) -> dict[str, bool]:
        """The claims of the demo, and whether they hold at every step size."""
        return {
            "all 10 classes of digits reached": all(m.classes == 10 for m in self.measured),
            "mean nearest-neighbour distance at most 1.3 times that of the data": all(
                m.nearest_after <= 1.3 for m in self.measured
            ),
            "first order in tau (0.8 to 1.2)": 0.8 <= self.order <= 1.2,
        }

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the table."""
        header = ["tau", "steps", "W2 to data", "nearest datum", "classes", "smallest class", "CPU s"]
        rows = [
            [
                f"{m.tau:g}",
                str(m.steps),
                f"{m.w2_before:.3f} -> {m.w2_after:.3f}",
                f"{m.nearest_before:.2f} -> {m.nearest_after:.2f}",
                f"{m.classes} of 10",
                f"{100 * m.smallest_share:.1f} %",
                f"{m.cpu_seconds:.1f}",
            ]
            for m in self.measured
        ]
        return header, rows


def run(out: Path, settings: Settings | None = None, progress: bool = True) -> Outcome:
    """Solve at three step sizes, print what happens, and write pictures, table and page to a folder.

    Parameters
    ----------
    out : Path
        Folder, made if it does not exist: digits.png, curves.png, table.png, table.txt, result.json and index.html.
    settings : Settings, optional
    progress : bool
        Show progress bars.

    Returns
    -------
    Outcome
    """
    chosen = settings or Settings()
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    data = Digits()
    print(f"{chosen.particles} particles in R^64 and {chosen.neurons} neurons against {len(data.points)} digits")
    solutions, measured = [], []
    for refinement in (1, 2, 4):
        tau = chosen.horizon / (chosen.steps * refinement)
        print(f"tau = {tau:g}: {chosen.steps * refinement} steps to t = {chosen.horizon:g}", flush=True)
        solutions.append(solve_flow(data, chosen, refinement, progress))
        measured.append(measure(data, solutions[-1], tau))
    gaps = [differences(a, b, chosen.critic_speed) for a, b in zip(solutions, solutions[1:], strict=False)]
    outcome = Outcome(chosen, measured, solutions[0].t, gaps, solutions, data)
    write(outcome, out)
    print("\n" + summary(outcome))
    print(f"\nwritten to {out / 'index.html'} after {time.perf_counter() - started:.0f} s")
    return outcome


def summary(outcome: Outcome) -> str:
    """Return the table, the order and the verdicts as text."""
    lines = [columns(*outcome.rows()), ""]
    lines.append("W2 in units of grey; nearest datum: mean distance over that of the data to itself (leave one out)")
    gaps = ", ".join(f"{np.max(d):.4f}" for d in outcome.differences)
    lines.append(f"largest distance between successive solutions: {gaps}; observed order in tau: {outcome.order:.2f}")
    lines += [f"{'yes' if held else 'NO '}  {claim}" for claim, held in outcome.goals.items()]
    return "\n".join(lines)


def write(outcome: Outcome, out: Path) -> None:
    """Write pictures, table, JSON and page."""
    from measureflow.demo_pictures import curves, digit_grid, table

    pictures = [digit_grid(outcome, out / "digits.png"), curves(outcome, out / "curves.png")]
    captions = [
        "Generated digits as they evolve: each column is one particle, time runs downwards, the last row is its nearest datum.",
        "Energies of both players, distance to the nearest datum, and distance between solutions of successive step sizes.",
    ]
    table(outcome, out / "table.png")
    replace_text(out / "table.txt", summary(outcome) + "\n")
    replace_text(out / "result.json", json.dumps(_result(outcome), indent=1) + "\n")
    page = Page("A dual flow learns handwritten digits")
    page.paragraph(
        f"{outcome.settings.particles} particles in R^64 (the generator's law) and {outcome.settings.neurons} tanh neurons (the "
        f"critic's law) against the {len(outcome.data.points)} handwritten digits of scikit-learn, from t = 0 to "
        f"{outcome.settings.horizon:g}; critic speed eta = {outcome.settings.critic_speed:g}, "
        f"ridge beta = {outcome.settings.ridge:g}."
    )
    page.table(*outcome.rows())
    page.paragraph(f"Observed order of convergence in tau: {outcome.order:.2f}.")
    for claim, held in outcome.goals.items():
        page.paragraph(f"{'Holds' if held else 'FAILS'}: {claim}.")
    for picture, caption in zip(pictures, captions, strict=True):
        page.picture(picture, caption)
    page.heading("What the theory says about these choices")
    for paragraph in THEORY:
        page.paragraph(paragraph)
    page.write(out / "index.html")


def _result(outcome: Outcome) -> dict[str, Any]:
    return {
        "settings": asdict(outcome.settings),
        "measured": [asdict(m) for m in outcome.measured],
        "order": outcome.order,
        "goals": outcome.goals,
    }
