"""A WGAN trained on batches: small steps and large batches are both needed (theory, section 9.5, N5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import problems
from measureflow.ensembles import ensemble
from measureflow.games import GAN, MLPCritic
from measureflow.problems.stochastic import rotation_second_moment
from measureflow.states import Particles, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._stochastic import ALL, Found, as_complex, exact
from measureflow.theorems.check import at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import mean


def _dirac_runs(
    tau: float, batch: int, steps: int, runs: int, seed: int, speeds: tuple[float, float], deviation: float
) -> np.ndarray:
    """Return theta + i w at the end of many runs of a WGAN: one generated point, a linear critic, batches of data."""
    game = GAN(Particles([[-deviation], [deviation]]), critic=MLPCritic(()))
    start = Particles([[1.0]]), Vector([0.0, 0.0])
    found = ensemble(game, start, steps, tau, speeds=speeds, batch=batch, seeds=range(seed, seed + runs))
    return np.asarray(found.generator[-1, :, 0, 0] + 1j * found.critic[-1, :, 0])


def _dirac(
    tau: float, batch: int, runs: int, seed: int, deviation: float = 1.0, eta: float = 1.0, t: float = 2.0, figure: bool = False
) -> Found:
    steps, root = round(t / tau), float(np.sqrt(eta))
    p = problems.get("N5", deviation=root * deviation, tau=tau * root, batch=batch, steps=steps, t=t * root)
    z = _dirac_runs(tau, batch, steps, runs, seed, (1.0, eta), deviation)
    z = z.real + 1j * z.imag / root
    turn = complex(as_complex(exact(p, t * root))[0])
    centre = p.factors["explicit simultaneous"](tau * root) ** steps
    moment = rotation_second_moment(steps, tau, (0.0, root * deviation), batch, 1.0, root)
    noise = moment - abs(centre) ** 2
    where = f"tau = {tau:g}, B = {batch}, eta = {eta:g}"
    for name, squares, predicted in (
        ("E|z_n|^2 over its formula", np.abs(z) ** 2, moment),
        ("E|z_n - z(t_n)|^2 over its formula", np.abs(z - turn) ** 2, noise + abs(centre - turn) ** 2),
    ):
        found = mean(squares)
        error = found.error / predicted
        yield equal(name, found.value / predicted, 1.0, tolerance=3.0 * error, error=error, where=where)
    if figure:
        panel = Panel("the dual limit", r"step $\tau$", r"$E|z_n - z(t_n)|^2$ at $t = 2$", "log")
        taus = np.geomspace(0.01, 0.4, 30)
        yield Curve(panel, f"B = {batch}", tau, np.mean(np.abs(z - turn) ** 2), error=[found.error])
        curve = [_dirac_gap(h, batch, deviation, t) for h in taus]
        yield Curve(panel, f"B = {batch}, predicted", taus, curve, "predicted")


def _dirac_gap(tau: float, batch: int, deviation: float, t: float) -> float:
    """Return E|z_n - z(t_n)|^2 for any number n = t/tau, whole or not."""
    growth = (1.0 + tau**2) ** (t / tau)
    bias = np.abs((1.0 + 1j * tau) ** (t / tau) - np.exp(1j * t)) ** 2
    return float(bias + deviation**2 / batch * (growth - 1.0))


def _dirac_solver(tau: float, batch: int, runs: int, seed: int) -> Found:
    """Check the same moment for the game of `problems`, run by run."""
    steps = round(1.0 / tau)
    p = problems.get("N5", tau=tau, batch=batch, steps=steps)
    ends = [p.solve(tau, "explicit simultaneous", batch=batch, seed=seed + k, save_at=ALL).states[-1] for k in range(runs)]
    found = mean([float(np.abs(as_complex(states)[0]) ** 2) for states in ends])
    moment = p.constants["E|z_n|^2"]
    error = found.error / moment
    yield equal("E|z_n|^2 over its formula, DiracGAN", found.value / moment, 1.0, tolerance=3.0 * error, error=error)


def _either(by: str, **trial: Any) -> Found:
    yield from (_dirac_solver if by == "solve" else _dirac)(**trial)


def _dirac_control(tau: float, batch: int) -> Found:
    """Check the claim that large batches, or small steps, are enough by themselves."""
    z = _dirac_runs(tau, batch, round(2.0 / tau), 500, 11, (1.0, 1.0), 1.0)
    found = mean(np.abs(z - np.exp(2j)) ** 2)
    yield at_most("E|z_n - z(t_n)|^2", found.value, 0.01, error=found.error, where=f"tau = {tau:g}, B = {batch}")
    panel = Panel("the dual limit", r"step $\tau$", r"$E|z_n - z(t_n)|^2$ at $t = 2$", "log")
    yield Curve(panel, "", tau, found.value, "control")


DIRAC = Theorem(
    name="noisy-dirac",
    label="N5",
    title="the limit of a WGAN needs small steps over large batches",
    statement=(
        "Training a one-point WGAN with a linear critic on batches of B data of deviation s is the rotation N2 with noise in the "
        "critic's gradient alone. At fixed t the mean squared distance to the dual flow is the sum of a bias, about t^2 tau^2/4, "
        "and a variance, about s^2 t tau/B: large batches do not help if the step stays, small steps do at the rate sqrt(tau/B)."
    ),
    formula=r"E |z_n - z(t_n)|^2 = |(1 + i \tau)^n - e^{i t_n}|^2 |z_0|^2 + \frac{s^2}{B} \left( (1 + \tau^2)^n - 1 \right)",
    hypotheses=("linear critic, Wasserstein loss, simultaneous explicit steps", "batches drawn with replacement"),
    source="theory, section 9.5, N5",
    problems=("N5",),
    test=_either,
    quick=[
        {"by": "solve", "tau": 0.125, "batch": 4, "runs": 40, "seed": 0},
        {"by": "ensemble", "tau": 0.2, "batch": 1, "runs": 1000, "seed": 0, "figure": True},
        {"by": "ensemble", "tau": 0.05, "batch": 16, "runs": 1000, "seed": 5000, "eta": 4.0, "deviation": 2.0},
    ],
    full=[
        *every(by=["solve"], tau=[0.125, 0.05], batch=[1, 16], runs=[200], seed=[0]),
        *every(by=["ensemble"], tau=[0.2, 0.1, 0.05, 0.025], batch=[1, 64], runs=[4000], seed=[0], figure=[True]),
        *every(by=["ensemble"], tau=[0.1, 0.02], batch=[1, 16], runs=[4000], seed=[9000], eta=[0.5, 4.0], deviation=[2.0]),
    ],
    control=Control(
        "only B tends to infinity, at a fixed step; steps are small but not over a large batch",
        _dirac_control,
        [{"tau": 0.2, "batch": 400}, {"tau": 0.02, "batch": 1}],
    ),
)

ENTRIES = (DIRAC,)
