"""Every energy, game, critic, penalty and loss of the package with a random state, for experiments that go over all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow import games as g
from measureflow.games.losses import LOSSES
from measureflow.games.penalties import Penalty
from measureflow.states import Field, Gaussian, Grid, Histogram, Particles, Quantiles, State, Vector
from measureflow.theorems.catalogue._battery import positive_definite, shares, spring, waves

INDICATORS = ("Box", "Congestion", "Obstacle")
"""Energies of 0 and infinity: they have values, and no gradients."""
Cases = dict[str, tuple[e.Energy, State]]


def laws(seed: int) -> dict[str, Any]:
    """Return random states: on the line with the names in the table, in the plane with "plane " before them."""
    rng = np.random.default_rng([seed, 3])
    line, plane = Grid([(-2.0, 3.0)], 12), Grid([(-2.0, 2.0), (-1.0, 2.0)], (5, 4))
    return {
        "atoms": Particles(rng.normal(size=(6, 1)), shares(rng, 6)),
        "quantiles": Quantiles(np.cumsum(rng.random(9) + 0.1) - 3.0),
        "gaussian": Gaussian(rng.normal(size=1), positive_definite(rng, 1)),
        "cells": Histogram(shares(rng, 12), line),
        "plane atoms": Particles(rng.normal(size=(5, 2)), shares(rng, 5)),
        "plane equal": Particles(rng.normal(size=(5, 2))),
        "plane gaussian": Gaussian(rng.normal(size=2), positive_definite(rng, 2)),
        "plane cells": Histogram(shares(rng, (5, 4)), plane),
        "vector": Vector(rng.normal(size=2)),
    }


BELLS = ("gaussian", "plane gaussian")


def _near(law: Gaussian) -> Gaussian:
    return Gaussian(law.mean + 0.2, 1.3 * law.cov)


def energies(seed: int) -> Cases:
    """Return every energy with a gradient on the kinds of states that it knows: "Class: details, kind"."""
    rng, x = np.random.default_rng([seed, 4]), laws(seed)
    line = Particles(rng.normal(size=(4, 1)), shares(rng, 4))
    plane = Particles(rng.normal(size=(4, 2)), shares(rng, 4))
    wide = {d: Gaussian(0.3 * rng.normal(size=d), 3.0 * np.eye(d) + positive_definite(rng, d)) for d in (1, 2)}
    cells = Histogram(shares(rng, 12), x["cells"].grid)
    goal = np.sort(3.0 * rng.normal(size=9))
    bend = e.UserKernel(lambda a, b: (1.0 + a @ b.T) ** 2, lambda a, b: 2.0 * (1.0 + a @ b.T)[:, :, None] * b[None])
    log = e.Interaction(lambda z: -np.log(np.sum(z**2, -1)), lambda z: -2.0 * z / np.sum(z**2, -1)[..., None], True)
    on_points = ("atoms", "quantiles", "cells", "plane atoms", "plane equal", "plane cells")
    on_line, dense = ("atoms", "quantiles", "cells"), ("quantiles", "gaussian", "cells", "plane gaussian", "plane cells")
    in_plane = ("plane atoms", "plane equal", "plane cells")
    table: list[tuple[str, Any, tuple[str, ...]]] = [
        ("Potential", waves(0.4), (*on_points, "gaussian", "plane gaussian", "vector")),
        ("Potential: by differences", e.Potential(lambda z: np.sum(np.cosh(z), axis=-1)), ("atoms", "plane equal")),
        ("Quadratic", e.Quadratic(positive_definite(rng, 2), [1.0, 0.5], [0.3, -1.0]), (*in_plane, "plane gaussian", "vector")),
        ("Interaction", spring(), (*on_points, "gaussian", "plane gaussian")),
        ("Interaction: singular", log, on_points),
        ("QuadraticInteraction", e.QuadraticInteraction(1.3), (*on_points, "plane gaussian")),
        ("Entropy", e.Entropy(0.7), dense),
        ("PowerEntropy", e.PowerEntropy(2.0), dense),
        ("PowerEntropy: fast", e.PowerEntropy(0.6), dense),
        ("KL: to cells", e.KL(cells), ("cells",)),
        *((kind.__name__, kind(wide[1]), dense[:3]) for kind in (e.KL, e.ChiSquared)),
        *((kind.__name__, kind(wide[2]), dense[3:]) for kind in (e.KL, e.ChiSquared)),
        *((f"{kind.__name__}: line", kind(wide[1]), ("quantiles", "cells")) for kind in (e.JensenShannon, e.NonSaturating)),
        # quadratures on a Gaussian are good to 1e-8 for targets that are near
        *((kind.__name__, kind(_near(x[name])), (name,)) for kind in (e.JensenShannon, e.NonSaturating) for name in BELLS),
        *((f"MMD: {name}", e.MMD(plane, name, 0.8), in_plane) for name in ("gaussian", "laplace", "energy")),
        ("MMD: user", e.MMD(line, bend), on_line),
        ("MMD: root", e.MMD(plane, "gaussian", squared=False), ("plane atoms", "plane equal")),
        ("EnergyDistance", e.EnergyDistance(line), on_line),
        ("EnergyDistance: to cells", e.EnergyDistance(cells), on_line),
        ("EnergyDistance: plane", e.EnergyDistance(plane), in_plane),
        ("SlicedEnergyDistance", e.SlicedEnergyDistance(plane, 11), ("plane atoms", "plane equal")),
        ("SlicedWasserstein", e.SlicedWasserstein(plane, 11), ("plane atoms", "plane equal")),
        ("SinkhornDivergence", e.SinkhornDivergence(plane, 0.3, tolerance=1e-13), ("plane atoms", "plane equal")),
        ("SquaredWasserstein", e.SquaredWasserstein(plane), ("plane atoms", "plane equal")),
        ("SquaredWasserstein: line", e.SquaredWasserstein(Quantiles(goal)), ("quantiles",)),
        ("SquaredWasserstein: Gaussians", e.SquaredWasserstein(wide[2]), ("plane gaussian",)),
        ("Wasserstein1", e.Wasserstein1(plane), ("plane atoms", "plane equal")),
        ("Wasserstein1: line", e.Wasserstein1(Quantiles(goal)), ("quantiles",)),
        *(
            (f"BlobEntropy: {name}", e.BlobEntropy(0.7, 0.6, mollifier=name), ("plane equal", "atoms"))
            for name in ("gaussian", "compact")
        ),
        ("BlobPowerEntropy", e.BlobPowerEntropy(2.5, 0.7), ("plane equal", "atoms")),
        ("CellPotential", e.CellPotential(rng.normal(size=12)), ("cells",)),
        ("Function", e.Function(lambda z: float(np.sum(np.asarray(z) ** 3)), lambda z: 3.0 * np.asarray(z) ** 2), ("vector",)),
        ("FastCritic", g.FastCritic(g.GAN(plane, critic=_features(), penalty=g.Ridge(0.5)), 3), ("plane atoms", "plane equal")),
    ]
    network = g.MLPGenerator(Particles(rng.normal(size=(6, 2))), 2, (3,), "tanh")
    trained = g.Generated(e.Quadratic(1.0, centre=[0.5, 0.0]), network), network.initial(seed)
    return {f"{name}, {kind}": (energy, x[kind]) for name, energy, kinds in table for kind in kinds} | {
        "Generated, network": trained
    }


def _features() -> g.FeatureCritic:
    def values(x: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(x[:, 0]), x[:, 1], x[:, 0] * x[:, 1]], axis=1)

    def slopes(x: np.ndarray) -> np.ndarray:
        zero, one = 0.0 * x[:, 0], 1.0 + 0.0 * x[:, 0]
        pairs = ((np.cos(x[:, 0]), zero), (zero, one), (x[:, 1], x[:, 0]))
        return np.stack([np.stack(pair, axis=1) for pair in pairs], axis=1)

    return g.FeatureCritic(values, slopes)


Games = dict[str, tuple[g.AbstractGame, tuple[Any, ...]]]


def gans(seed: int) -> Games:
    """Return GANs with every loss, penalty, critic and generator: "name: details"."""
    rng, x = np.random.default_rng([seed, 6]), laws(seed)
    target = Particles(rng.normal(size=(6, 2)) + 0.5)
    cloud, grid = x["plane atoms"], Grid([(-5.0, 5.0), (-5.0, 5.0)], (6, 5))
    features = (_features(), Vector(rng.normal(size=3)))
    critics: dict[str, tuple[g.Critic, Any]] = {
        "FeatureCritic": features,
        "NeuronCritic": (g.NeuronCritic(), Particles(rng.normal(size=(5, 4)))),
        "RKHSCritic": (g.RKHSCritic("gaussian", target.points[:4]), Vector(rng.normal(size=4))),
        "FieldCritic": (g.FieldCritic(grid, 1.0), Field(rng.normal(size=(6, 5)), grid)),
        "MLPCritic": (g.MLPCritic((5, 4)), g.MLPCritic((5, 4)).initial(2, seed, 1.5)),
        "quadratic_critic": (g.quadratic_critic(), Vector(0.3 * rng.normal(size=5))),
    }
    penalties: dict[str, Penalty] = {
        "Ridge": g.Ridge(0.3),
        "R1": g.R1(0.7),
        "R2": g.R2(0.4),
        "GradientPenalty": g.GradientPenalty(3.0, 0.2),
    }
    latent = Particles(rng.normal(size=(8, 3)))
    network = g.MLPGenerator(latent, 2, (4,), "softplus")
    found: Games = {
        f"{loss}: loss": (g.GAN(target, loss, critic=features[0], penalty=g.Ridge(0.2)), (cloud, features[1])) for loss in LOSSES
    }
    for name, (critic, w) in critics.items():
        found[f"{name}: critic"] = (g.GAN(target, "minimax", critic=critic), (cloud, w))
        found[f"LawGenerator: equal atoms, {name}"] = (g.GAN(target, critic=critic), (x["plane equal"], w))
        for term, penalty in penalties.items():
            if not (name == "quadratic_critic" and term == "GradientPenalty"):
                found[f"{term}: {name}"] = (g.GAN(target, "minimax", critic=critic, penalty=penalty), (cloud, w))
    mlp = critics["MLPCritic"]
    found["MLPGenerator: network"] = (
        g.GAN(target, "non-saturating", critic=mlp[0], generator=network),
        (network.initial(seed), mlp[1]),
    )
    found["GAN: Gaussian"] = (
        g.GAN(x["plane gaussian"], "minimax", critic=features[0]),
        (Gaussian([0.2, 0.1], np.eye(2)), features[1]),
    )
    found["GAN: noise"] = (g.GAN(target, "minimax", critic=mlp[0], instance_noise=0.3), (cloud, mlp[1]))
    return found


def games(seed: int) -> Games:
    """Return every other game at random states: "Class: details"."""
    rng, x = np.random.default_rng([seed, 8]), laws(seed)
    p, q = Vector(rng.normal(size=1)), Vector(rng.normal(size=1))
    pair, clouds = (x["vector"], Vector(rng.normal(size=3))), (x["plane atoms"], x["plane equal"])
    linear = g.LinearQuadratic(positive_definite(rng, 2), rng.normal(size=(2, 3)), positive_definite(rng, 3))
    modes = Grid([(0.0, 3.0)], 3)
    mixed = Histogram(shares(rng, 3), modes), Histogram(shares(rng, 3), modes)
    kernel = g.KernelGame(
        lambda a, b: np.cos(a[:, None, 0] - b[None, :, 1]),
        lambda a, b: np.stack([-np.sin(a[:, None, 0] - b[None, :, 1]), 0.0 * a[:, None, 0] * b[None, :, 0]], axis=-1),
        lambda a, b: np.stack([0.0 * a[:, None, 0] * b[None, :, 0], np.sin(a[:, None, 0] - b[None, :, 1])], axis=-1),
    )
    quartic = [lambda own, others: (float(np.sum(own**4 + own * others[0])), 4.0 * own**3 + others[0].values), e.Quadratic()]
    payoff = g.ZeroSum(lambda a, b: (float(np.sin(a[0] * b[0])), b * np.cos(a @ b), a * np.cos(a @ b)))
    gauss = (x["plane gaussian"], x["gaussian"])
    return {
        "Bilinear": (g.Bilinear(rng.normal(size=(2, 3))), pair),
        "Bilinear: laws": (g.Bilinear([[1.0, 2.0], [0.0, 1.0]]), clouds),
        "LinearQuadratic": (linear, pair),
        "LinearQuadratic: Gaussians": (g.LinearQuadratic([[1.0, 0.2], [0.2, 2.0]], [[1.0], [0.5]], 0.5), gauss),
        "QuadraticGame": (g.QuadraticGame(1.0, -2.0, 3.0, -4.0), (p, q)),
        **{f"DiracGAN: {name}": (g.DiracGAN(name), (p, q)) for name in ("gan", "nsgan", "wgan")},
        "DiracGAN: R1, noise": (g.DiracGAN("gan", r1=0.5, instance_noise=0.7), (p, q)),
        "KernelGame": (kernel, clouds),
        "Game": (g.Game(quartic), (p, q)),
        "ZeroSum": (payoff, (p, q)),
        "Consensus": (g.Consensus(g.DiracGAN("gan"), 0.4), (p, q)),
        "Unrolled": (g.Unrolled(g.DiracGAN("gan"), 3, 0.2), (p, q)),
        "Noisy": (g.Noisy(g.Bilinear(1.0), (0.0, 0.0)), (p, q)),
        "Regularised": (g.Regularised(linear, [e.Quadratic(0.5), None]), pair),
        "Pursuit": (g.Pursuit(), (x["plane gaussian"], Gaussian([1.0, 0.0], np.eye(2)))),
        "Pursuit: quantiles": (g.Pursuit(cooperative=True), (x["quantiles"], Quantiles(np.sort(rng.normal(size=9))))),
        "MatrixGame": (g.MatrixGame(rng.normal(size=(3, 3))), mixed),
        "ModeWeights": (g.ModeWeights(mixed[1], 0.3), (mixed[0], Vector(rng.normal(size=3)))),
    }


def uncovered() -> list[str]:
    """Return classes, losses and critics of the package that no case covers."""
    seen = {name.partition(":")[0].partition(",")[0] for name in (*energies(0), *games(0), *gans(0))}
    kinds = (e.Energy, g.AbstractGame, g.Critic, g.Generator, Penalty)
    known = {
        name for room in (e, g) for name, entry in vars(room).items() if isinstance(entry, type) and issubclass(entry, kinds)
    }
    bases = {"Energy", "Sum", "AbstractGame", "Critic", "Generator", "Clip", "SpectralBound", *INDICATORS}
    return sorted((known | set(LOSSES)) - bases - seen)
