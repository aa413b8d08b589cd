"""One flow in several representations: Gaussians, quantiles, cells and atoms go to the same law (theory, 1, 9.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow import problems
from measureflow.schemes import BDF2, JKO
from measureflow.solve import solve
from measureflow.states import Gaussian, Grid, Histogram, Particles, Quantiles, Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]

# the flow of Ornstein and Uhlenbeck (S1) --------------------------------------------------------------------------------

ERRORS = Panel("Ornstein-Uhlenbeck flow (S1) at t = 1", "refinement $k$", "$W_2$ to the exact law", "log")
WIDE = [(-8.0, 10.0)]


def _end(energy: e.Energy, law: Any, t: float, steps: int, scheme: Any = "jko") -> Any:
    return solve(energy, law, t, t / steps, scheme=scheme, save_at=10**6).states[-1]


def _apart(law: Any, exact: Gaussian) -> float:
    """Return the distance in W2 from a Gaussian: of the moments for cells, of quantiles at the levels of the law for atoms."""
    if isinstance(law, (Gaussian, Histogram)):
        mean, spread = (law.mean, law.cov) if isinstance(law, Gaussian) else (law.mean(), law.covariance())
        return float(np.hypot(mean[0] - exact.mean[0], np.sqrt(spread[0, 0]) - np.sqrt(exact.cov[0, 0])))
    values = np.sort(law.points[:, 0]) if isinstance(law, Particles) else law.values
    return float(np.sqrt(np.mean((values - exact.to_quantiles(len(values)).values) ** 2)))


def _refined(kind: str, k: int, bandwidth: float) -> Any:
    """Return the law at time 1 at a refinement k: tau or tau^(1/2), widths of cells, and bandwidths go like 1/k."""
    p = problems.get("S1")
    energy, start, t = p.problem, p.initial, p.t_span[1]
    assert isinstance(energy, e.Energy)
    if kind == "gaussian":
        return _end(energy, start, t, 8 * k, "vim")
    if kind == "quantiles":
        return _end(energy, start.to_quantiles(20 * k), t, 8 * k, "vim")
    if kind == "atoms":
        atoms = Particles(start.to_quantiles(60 * k**2).values[:, None])
        return _end(e.BlobEntropy(bandwidth) + e.Quadratic(), atoms, t, 8 * k**2, "rk2")
    cells = start.to_histogram(Grid(WIDE, 60 * k))
    schemes: dict[str, tuple[Any, int]] = {
        "cells": ("jko", 5 * k**2),
        "cells, linearised": (JKO(inner="linearised"), 5 * k**2),
        "cells, midpoint": ("vim", 8 * k),
        "cells, two-step": (BDF2(), 8 * k),
    }
    scheme, steps = schemes[kind]
    return _end(energy, cells, t, steps, scheme)


def _representation(kind: str, ks: list[int]) -> Found:
    exact = problems.get("S1").exact
    assert exact is not None
    errors = np.array([_apart(_refined(kind, k, 0.8 / k), exact(1.0)) for k in ks])
    sizes = np.asarray(ks, dtype=float)
    if kind == "atoms":
        # of second order on the whole, but not from one refinement to the next
        slope = -np.log(errors[-1] / errors[0]) / np.log(sizes[-1] / sizes[0])
        yield equal("order of atoms in the bandwidth", slope, 2.0, tolerance=0.5, where=kind)
    else:
        found = order(1.0 / sizes, errors)
        yield equal("order", found.value, 2.0, tolerance=0.2, error=found.error, where=kind)
    yield at_most("error at the finest", errors[-1], 0.01, where=kind)
    yield Curve(ERRORS, kind, ks, errors)
    if kind == "gaussian":
        yield Curve(ERRORS, "$k^{-2}$", ks, 0.05 / sizes**2, "predicted")


# exact flows on grids -----------------------------------------------------------------------------------------------------------


def _waves(dim: int, sizes: list[int], periodic: bool) -> Found:
    """S3 waves: masses of second order in tau and h together."""
    errors = []
    for k, n in enumerate(sizes):
        p = problems.get("S3 waves", dim=dim, n=n, periodic=periodic, t=0.03)
        assert p.exact is not None
        law = p.solve(0.005 / 2**k, BDF2(), save_at=10**6).states[-1]
        errors.append(float(np.sum(np.abs(law.masses - p.exact(0.03).masses))))
    found = order(1.0 / np.asarray(sizes, dtype=float), errors)
    yield equal("order of waves of heat in h", found.value, 2.0, tolerance=0.1, error=found.error, where=f"d = {dim}")


def _fronts(label: str, sizes: list[int], inner: str) -> Found:
    """Laws with fronts on grids: of first order in tau and h together."""
    errors = []
    for n in sizes:
        p = problems.get(label, n=n)
        span = p.t_span[1] - p.t_span[0]
        errors.append(p.error(p.solve(span / (n // 3), JKO(inner=inner), save_at=10**6)))
    slope = np.log(errors[0] / errors[-1]) / np.log(sizes[-1] / sizes[0])
    yield at_least("order of laws with fronts", slope, 1.0, tolerance=0.4, where=f"{label}, {inner}")
    yield at_most("error on the finest grid", errors[-1], 0.05, where=f"{label}, {inner}")


# the same numbers ---------------------------------------------------------------------------------------------------------------


def _same(seed: int, n: int, tau: float) -> Found:
    """Move equal atoms on the line as atoms, as quantiles, and each alone as a vector."""
    rng = np.random.default_rng([seed, n])
    values = np.cumsum(0.1 + rng.random(n)) - 0.4 * n
    wells = problems.get("E4").problem
    assert isinstance(wells, e.Energy)
    pulled = e.MMD(Particles(rng.normal(size=(3, 1))), "gaussian") + e.Quadratic(0.3)
    for scheme in ("jko", "vim", "bdf2", "three-stage", "richardson", "explicit", "rk2", "rk4"):
        for name, energy in (("E4", wells), ("MMD", pulled)):
            lines = solve(energy, Quantiles(values), 2.5 * tau, tau, scheme=scheme).states[-1].values
            atoms = solve(energy, Particles(values[:, None]), 2.5 * tau, tau, scheme=scheme).states[-1].points[:, 0]
            where = f"{name}, {scheme}, n = {n}, seed = {seed}"
            yield equal("quantiles and atoms", lines, atoms, tolerance=1e-7, error=2e-8, where=where)
        alone = [solve(wells, Vector([x]), 2.5 * tau, tau, scheme=scheme).states[-1].values[0] for x in values]
        lines = solve(wells, Quantiles(values), 2.5 * tau, tau, scheme=scheme).states[-1].values
        yield equal("quantiles and points alone", lines, alone, tolerance=1e-7, error=2e-8, where=f"E4, {scheme}, seed = {seed}")


def _products(seed: int, tau: float) -> Found:
    """Compare the flow of a product of Gaussians with the product of their flows."""
    rng = np.random.default_rng(seed)
    spreads, goals, means = 0.4 + rng.random(2), 0.5 + rng.random(2), rng.normal(size=2)
    for scheme in ("jko", "vim", "bdf2", "three-stage", "richardson", "explicit", "rk4"):
        kl = [e.KL(Gaussian(0.0, v)) + 0.3 * e.Entropy() for v in goals]
        each = [_end(energy, Gaussian(m, v), 2 * tau, 2, scheme) for energy, m, v in zip(kl, means, spreads, strict=True)]
        whole = e.KL(Gaussian(np.zeros(2), np.diag(goals))) + 0.3 * e.Entropy()
        both = _end(whole, Gaussian(means, np.diag(spreads)), 2 * tau, 2, scheme)
        where = f"{scheme}, seed = {seed}"
        yield equal("means of products", both.mean, [z.mean[0] for z in each], tolerance=1e-9, error=1e-10, where=where)
        covs = np.diag([float(z.cov[0, 0]) for z in each])
        yield equal("covariances of products", both.cov, covs, tolerance=1e-9, error=1e-10, where=where)


def _agree(part: str, **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {
        "representation": _representation,
        "waves": _waves,
        "fronts": _fronts,
        "same": _same,
        "products": _products,
    }
    yield from parts[part](**arguments)


def _fixed(bandwidth: float, ks: list[int]) -> Found:
    """Ever more atoms with one bandwidth: they go to another law."""
    exact = problems.get("S1").exact
    assert exact is not None
    errors = np.array([_apart(_refined("atoms", k, bandwidth), exact(1.0)) for k in ks])
    slope = -np.log(errors[-1] / errors[0]) / np.log(ks[-1] / ks[0])
    yield equal("order of atoms in the bandwidth", slope, 2.0, tolerance=0.5)
    yield Curve(ERRORS, f"atoms, bandwidth {bandwidth:g}", ks, errors, "control")


KINDS = ("gaussian", "quantiles", "cells", "cells, linearised", "cells, midpoint", "cells, two-step", "atoms")

QUICK = [
    *every(part=["same"], seed=[0], n=[4], tau=[0.1]),
    *every(part=["products"], seed=[0], tau=[0.2]),
    *every(part=["representation"], kind=KINDS[:4] + KINDS[6:], ks=[[1, 2, 4]]),
    {"part": "waves", "dim": 1, "sizes": [12, 24, 48], "periodic": False},
    {"part": "waves", "dim": 2, "sizes": [8, 16, 32], "periodic": True},
    {"part": "fronts", "label": "AGG-B", "sizes": [12, 24], "inner": "linearised"},
]

REPRESENTATIONS = Theorem(
    name="representations-agree",
    label="9.2",
    title="one flow, whatever represents its laws",
    statement="Gaussians, quantiles, cells and atoms follow one Ornstein-Uhlenbeck flow, with errors that fall like k^(-2) when "
    "tau (of second order) or tau^(1/2), the width of cells, gaps of levels and the bandwidth of atoms are divided by k. Atoms, "
    "quantiles and single points move by the same numbers in a potential, and products of Gaussians to products of their flows.",
    formula=r"W_2(\mu_k(t), \mu(t)) = O(k^{-2})",
    hypotheses=("widths, gaps and bandwidths go to 0", "the law is smooth (fronts: first order)"),
    source="theory, sections 1, 9.2 S1, S3, S4, E4",
    problems=("S1", "S3 waves", "PME-B", "AGG-B", "AGG-N", "E4"),
    test=_agree,
    quick=QUICK,
    full=[
        *every(part=["same"], seed=range(3), n=[4, 9], tau=[0.01, 0.03]),
        *every(part=["products"], seed=range(6), tau=[0.05, 0.2]),
        *QUICK,
    ],
    control=Control("the bandwidth of the atoms stays", _fixed, [{"bandwidth": 0.4, "ks": [2, 3]}]),
)

ENTRIES = (REPRESENTATIONS,)
