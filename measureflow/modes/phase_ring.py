"""Adversarial training with laws of particles and neurons at many speeds and ridges: what covers, rotates or collapses."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.ensembles import Ensemble, ensemble
from measureflow.games import GAN, NeuronCritic, Ridge
from measureflow.modes.definitions import Coverage
from measureflow.modes.laws import random_neurons, spread_of
from measureflow.modes.phase_axes import APART, AXES, axis_pair
from measureflow.modes.phase_models import Measured, Model, Status
from measureflow.modes.targets import Mixture, Target, ring
from measureflow.quality import FAIR
from measureflow.states import Particles

PLAIN = ("speed", "ridge")
"""Axes of the diagram of training by default."""
ROWS = 12
"""Rows of a run that are kept and looked at."""
STILL = 0.01
"""Root mean square of the moves between two rows, in spreads of the target, below which a law is at rest."""
RESTLESS = 0.2
"""The same, above which it goes around."""
CHANGED = 0.25
"""Mass that goes from modes to others between two rows, on average, if a law goes around."""


def train(
    speed: Any = 1.0,
    ridge: Any = 0.1,
    noise: Any = 0.0,
    *,
    target: Target | None = None,
    n: int = 300,
    width: int = 200,
    steps: int = 600,
    critic_step: float = 0.5,
    coupling: str = "simultaneous",
    critic_steps: int = 1,
    batch: int | None = None,
    packing: int = 1,
    unrolling: int = 0,
    loss: str = "wasserstein",
    spread: float = 1.0,
    seed: int = 0,
    rows: int = ROWS,
    progress: bool = False,
) -> tuple[Target, Ensemble]:
    """Return the target and the runs of n particles against `width` neurons, for numbers or arrays (M,) of the first three.

    Parameters
    ----------
    speed : float or ndarray, shape (M,)
        Of the critic over that of the generator, lengths in spreads of the target.
    ridge : float or ndarray, shape (M,)
        On the weights a of the neurons.
    noise : float or ndarray, shape (M,)
        Standard deviation, in spreads of the target, of Gaussian noise on what the critic sees, drawn anew for each step.
    target : Target, optional
        None: the published ring.
    critic_step : float
        Step of the critic; that of the generator is critic_step/speed times the squared spread of the target.
    spread : float
        Of the initial law, in spreads of the target; small: a law that has collapsed.
    batch : int, optional
        Points of the target that the critic sees in a step; None: all, 4/3 n.
    packing : int
        Points that the critic sees at once, in tuples drawn anew for each step.
    unrolling : int
        Steps of the critic that the generator foresees.
    coupling, critic_steps, loss, seed, progress
        As in `ensemble`.
    rows : int
        Rows that are kept besides the first.
    """
    goal, data = _data(target, n, seed)
    eta, beta, sigma = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, np.float64)) for x in (speed, ridge, noise)))
    length = spread_of(data)
    critic, law = NeuronCritic(dtype="float32"), Particles(data)
    pack = check.integer("packing", packing, least=1)
    games = [
        GAN(law, loss, critic=critic, penalty=Ridge(float(b)), pack=pack, instance_noise=float(s) * length)
        for b, s in zip(beta, sigma, strict=True)
    ]
    start = goal.start(n, np.random.SeedSequence([seed, 1]), spread=spread)
    taus = (critic_step * length**2 / eta).tolist()
    return goal, ensemble(
        games,
        (start, random_neurons(_tuples(data, pack, seed), width, seed)),
        steps,
        taus,
        speeds=[(1.0, critic_step / tau) for tau in taus],
        coupling=coupling,
        critic_steps=critic_steps,
        unrolled=check.integer("unrolling", unrolling, least=0),
        anew=True,
        ridge_on="outputs",
        batch=batch,
        seeds=seed,
        save_at=max(1, steps // rows),
        progress=progress,
    )


def training(x: np.ndarray, y: np.ndarray, *, axes: Any = PLAIN, **settings: Any) -> Measured:
    """Return what runs of `train` end as: modes, fair modes and high quality, averages of their last third, and their status."""
    varied = dict(zip(axis_pair(axes), (x, y), strict=True))
    for name in varied:
        if name in settings:
            raise TypeError(f"{name} is an axis of the diagram and cannot be a setting too")
    judged: list[Any] = [None] * len(x)
    for chosen in _groups(varied):
        own = {name: _value(name, values[chosen]) for name, values in varied.items()}
        target, runs = train(**settings | own)
        for k, member in enumerate(chosen):
            judged[member] = _judged(target, runs, k % len(runs))
    names = ("value", "modes", "fair_modes", "reverse_kl", "change", "move")
    found = {name: np.array([row[0][k] for row in judged]) for k, name in enumerate(names)}
    status = np.array([str(row[1]) for row in judged])
    return found | {"calm": (status != str(Status.ROTATES)) & (status != str(Status.COLLAPSES)), "status": status}


def training_model(axes: Any = PLAIN) -> Model:
    """Return the model of a diagram of training with these axes."""
    across, up = (AXES[name] for name in axis_pair(axes))
    return Model(
        title="Particles against a law of neurons",
        x=across.label,
        y=up.label,
        quantity="high-quality part",
        measure=training,
        predicted=predicted,
        grid=(across.grid, up.grid),
        source="theory, 6 and 7.1 for rotations of modes: |mu|^2 = 1 - h beta + h tau kappa",
        whole=across.whole,
        at_once=False,
        whole_y=up.whole,
        zero=(across.zero, up.zero),
    )


def _groups(varied: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the members of each compiled ensemble."""
    keys = [values.tolist() for name, values in varied.items() if name in APART]
    members: dict[Any, list[int]] = {}
    for k in range(len(next(iter(varied.values())))):
        members.setdefault(tuple(key[k] for key in keys), []).append(k)
    return [np.array(chosen) for chosen in members.values()]


def _value(name: str, values: np.ndarray) -> Any:
    """Return a setting of `train`: an array, or what all members of a group have."""
    if name not in APART:
        return values
    return str(values[0]) if AXES[name].named else int(values[0])


def _tuples(data: np.ndarray, pack: int, seed: int) -> np.ndarray:
    """Return tuples of points, side by side: (n, pack d)."""
    rng = np.random.default_rng([seed, 2])
    return np.concatenate([data, *(data[rng.permutation(len(data))] for _ in range(pack - 1))], axis=1)


def coupling_strength(target: Target, neurons: Particles, radius: float) -> float:
    """Return the largest square of a frequency at which modes, moved as a whole, turn about a critic with these neurons.

    With features phi_h = tanh(w_h.x + b_h), blurred by N(0, radius^2), and modes of weight p_k at y_k it is the largest squared
    singular value of the matrix sqrt(p_k / H) grad phi_h(y_k), rows (k, coordinate), columns h: -grad D moves the modes by the
    weights a_h, and moved modes change the weights by its transpose.
    """
    a = neurons.points
    w, b, count = a[:, 1:-1], a[:, -1], len(a)
    cloud = np.random.default_rng(0).standard_normal((200, target.dim))
    matrix = []
    for centre, share in zip(target.centres, target.weights, strict=True):
        slopes = np.mean(1.0 - np.tanh((centre + radius * cloud) @ w.T + b) ** 2, axis=0)
        matrix.append(np.sqrt(share / count) * slopes * w.T)
    return float(np.linalg.svd(np.concatenate(matrix), compute_uv=False)[0] ** 2)


def predicted(eta: np.ndarray, *, axes: Any = PLAIN, **settings: Any) -> np.ndarray | None:
    """Return the ridge below which simultaneous steps lose modes, kappa tau; None for other axes, schemes, looks and losses.

    A rotation of frequency omega, omega^2 = kappa, under a ridge beta is multiplied by mu in a simultaneous step (tau of the
    generator, h of the critic), |mu|^2 = 1 - h beta + h tau kappa (theory, 7.1): it grows unless beta > kappa tau. Orbits of
    every size have their own kappa (`coupling_strength`): a critic sees less of large ones. Those as large as half the distance
    between neighbouring modes take particles from mode to mode, so that the radius is that. This is linear theory for particles
    at their modes and the first neurons, an estimate: runs lose modes at 0.2 to 1.1 times this ridge. What packing, noise
    and foresight change is not linear: with 2 to 4 points packed the ring needs 0.02 to 0.5 times the ridge of linear theory.
    """
    from scipy.spatial import cKDTree

    chosen = {name: parameter.default for name, parameter in signature(train).parameters.items()} | settings
    target, data = _data(chosen["target"], chosen["n"], chosen["seed"])
    usual = all(chosen[name] == AXES[name].usual for name in ("critic_steps", "batch", "packing", "unrolling", "noise"))
    plain = chosen["coupling"] == "simultaneous" and chosen["loss"] == "wasserstein" and usual and len(target) > 1
    if not plain or axis_pair(axes) != PLAIN:
        return None
    gap = float(np.median(cKDTree(target.centres).query(target.centres, k=2)[0][:, 1]))
    kappa = coupling_strength(target, random_neurons(data, chosen["width"], chosen["seed"]), 0.5 * gap)
    return np.asarray(kappa * chosen["critic_step"] * np.mean(data.var(axis=0)) / eta)


def _data(target: Target | None, n: int, seed: int) -> tuple[Target, np.ndarray]:
    """Return the target and the 4/3 n samples of it that the critic sees."""
    goal = ring() if target is None else check.instance("target", target, Target, "a Target")
    return goal, goal.sample(check.integer("n", n, least=2) * 4 // 3, np.random.SeedSequence([seed, 0]))


def _judged(target: Target, runs: Ensemble, member: int) -> tuple[tuple[float, ...], Status]:
    """Return averages over the last third of a run, and what it is."""
    rows = np.asarray(runs.generator[-(ROWS // 3 + 1) :, member], np.float64)
    if not np.all(np.isfinite(rows)) or np.abs(rows).max() > 1e6:
        return (0.0, 0.0, 0.0, np.inf, 1.0, np.inf), Status.ROTATES
    seen = [target.cover(x) for x in rows[1:]]
    scale = target.spread if isinstance(target, Mixture) else float(rows.std())
    move = float(np.sqrt(np.mean(np.sum(np.diff(rows, axis=0) ** 2, axis=-1))) / scale)
    histograms = np.array([c.histogram for c in seen])
    change = float(0.5 * np.abs(np.diff(histograms, axis=0)).sum(axis=1).mean())
    numbers = [float(np.mean([getattr(c, name) for c in seen])) for name in ("high_quality", "modes", "fair_modes", "reverse_kl")]
    return (*numbers, change, move), _status(seen, change, move)


def _status(seen: list[Coverage], change: float, move: float) -> Status:
    if all(c.complete for c in seen):
        return Status.COVERS
    if move > RESTLESS or change > CHANGED:
        return Status.ROTATES
    if all(np.all(c.histogram >= FAIR * c.weights) for c in seen):
        return Status.BLURRED
    return Status.FROZEN if move < STILL else Status.COLLAPSES
