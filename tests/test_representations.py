"""One flow, several representations: Gaussians, quantiles, cells and atoms go to the same law, the nearer the finer they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtri

import measureflow as mf
from measureflow import energies as e
from measureflow import problems
from measureflow.problems.barenblatt import minimizing_radius

LINEARISED = mf.JKO(inner="linearised")


def end(energy: Any, law: Any, span: Any, steps: int, scheme: Any = "jko") -> Any:
    first, last = span
    return mf.solve(energy, law, span, (last - first) / steps, scheme=scheme, save_at=10**6).states[-1]


def levels(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) / n


def on_line(values: np.ndarray) -> mf.Particles:
    return mf.Particles(values[:, None])


def values_of(law: Any) -> np.ndarray:
    """Return quantiles of a law on the line: its own, or 1000 of cells."""
    if isinstance(law, mf.Particles):
        return np.sort(law.points[:, 0])
    return np.asarray(law.values if isinstance(law, mf.Quantiles) else law.to_quantiles(1000).values)


def orders(errors: list[float]) -> np.ndarray:
    """Return the orders between neighbours of errors at the refinements 1, 2, 3 ..."""
    k = np.arange(1.0, len(errors) + 1.0)
    return np.asarray(-np.diff(np.log(errors)) / np.diff(np.log(k)))


# Fokker-Planck on the line (S1) ------------------------------------------------------------------------------------------

OU = problems.get("S1")
WIDE = [(-8.0, 10.0)]


def ou_cells(k: int) -> mf.Histogram:
    return OU.initial.to_histogram(mf.Grid(WIDE, 60 * k))


def ou_atoms(k: int) -> Any:
    start = on_line(OU.initial.to_quantiles(100 * k**2).values)
    return end(e.BlobEntropy(0.8 / k) + e.Quadratic(), start, OU.t_span, 10 * k**2, "rk2")


def ou_gap(law: Any) -> float:
    """Return the distance in W2 from the exact law; of quantiles at the levels of the law, so that only the flow counts."""
    exact = OU.exact(OU.t_span[1])
    if isinstance(law, mf.Gaussian):
        return float(mf.distance(law, exact))
    mine = values_of(law)
    return float(np.sqrt(np.mean((mine - exact.to_quantiles(len(mine)).values) ** 2)))


FOKKER_PLANCK = {
    "gaussian": (lambda k: end(OU.problem, OU.initial, OU.t_span, 10 * k, "vim"), 1e-4),
    "quantiles": (lambda k: end(OU.problem, OU.initial.to_quantiles(30 * k), OU.t_span, 10 * k, "vim"), 1e-4),
    "cells": (lambda k: end(OU.problem, ou_cells(k), OU.t_span, 5 * k**2), 1e-2),
    "cells, linearised": (lambda k: end(OU.problem, ou_cells(k), OU.t_span, 5 * k**2, LINEARISED), 2e-2),
    "cells, BDF2": (lambda k: end(OU.problem, ou_cells(k), OU.t_span, 10 * k, mf.BDF2()), 2e-3),
    "cells, VIM": (lambda k: end(OU.problem, ou_cells(k), OU.t_span, 10 * k, mf.VIM()), 3e-3),
    "atoms": (ou_atoms, 3e-3),
}
"""Representation -> (the last law at the refinement k, bound of its error for k = 3)."""


@pytest.mark.parametrize("name", FOKKER_PLANCK)
def test_fokker_planck_on_the_line(name: str) -> None:
    """With tau and h, or tau^(1/2), h and the bandwidth, divided by k, errors fall like k^(-2)."""
    law, bound = FOKKER_PLANCK[name]
    errors = [ou_gap(law(k)) for k in (1, 2, 3)]
    assert errors[-1] < bound
    assert np.all((orders(errors) > 1.7) & (orders(errors) < 3.3)), errors


def test_noise_is_the_entropy() -> None:
    """Langevin's atoms: mean and variance within four standard errors of the exact ones, as n grows."""
    exact = OU.exact(OU.t_span[1])
    for n in (400, 10000):
        start = on_line(OU.initial.to_quantiles(n).values)
        law = end(e.Quadratic(), start, OU.t_span, 100, mf.Langevin(1.0, seed=2))
        spread = float(exact.cov[0, 0])
        assert abs(law.mean()[0] - exact.mean[0]) < 0.006 + 4.0 * np.sqrt(0.87 * spread / n)  # explicit Euler: 0.006
        assert abs(law.covariance()[0, 0] - spread) < 0.01 + 4.0 * spread * np.sqrt(2.0 / n)


# Fokker-Planck in the plane (S2) -----------------------------------------------------------------------------------------

PLANE = problems.get("S2", t=0.5)
BOX = [(-5.0, 5.0), (-6.0, 7.0)]


def evenly(n: int, law: mf.Gaussian) -> mf.Particles:
    """Return n atoms of a Gaussian in the plane, with its mean and covariance, from a sequence that fills the square evenly."""
    golden = 1.324717957244746  # x^3 = x + 1
    z = ndtri(np.stack([(levels(n) * n / golden) % 1.0, (levels(n) * n / golden**2) % 1.0], axis=1))
    z -= z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True))).T
    return mf.Particles(law.mean + z @ np.linalg.cholesky(law.cov).T)


def plane_cells(k: int) -> mf.Histogram:
    return PLANE.initial.to_histogram(mf.Grid(BOX, (24 * k, 24 * k)))


def moments_apart(law: Any, exact: mf.Gaussian) -> float:
    """Return the distance in W2 of the Gaussians with the same means and covariances."""
    return float(mf.distance(law if isinstance(law, mf.Gaussian) else law.to_gaussian(), exact))


def plane_atoms(k: int) -> Any:
    energy = e.BlobEntropy(0.5 / k) + e.Quadratic([[2.0, 0.7], [0.7, 0.5]])
    return end(energy, evenly(200 * k**2, PLANE.initial), PLANE.t_span, 10 * k**2, "rk2")


IN_THE_PLANE = {
    "gaussian": (lambda k: end(PLANE.problem, PLANE.initial, PLANE.t_span, 5 * k, "vim"), 1e-3),
    "cells, linearised": (lambda k: end(PLANE.problem, plane_cells(k), PLANE.t_span, 5 * k**2, LINEARISED), 3e-2),
    "cells, BDF2": (lambda k: end(PLANE.problem, plane_cells(k), PLANE.t_span, 5 * k, mf.BDF2()), 1e-2),
    "atoms": (plane_atoms, 2e-2),
}


@pytest.mark.parametrize("name", IN_THE_PLANE)
def test_fokker_planck_in_the_plane(name: str) -> None:
    law, bound = IN_THE_PLANE[name]
    errors = [moments_apart(law(k), PLANE.exact(0.5)) for k in (1, 2)]
    assert errors[-1] < bound
    assert 1.7 < orders(errors)[0] < 3.0, errors


def test_steps_of_cells_are_those_of_gaussians() -> None:
    """Five exact minimizing movements on cells and on Gaussians: the same law up to O(h^2)."""
    exact = end(PLANE.problem, PLANE.initial, PLANE.t_span, 5)
    errors = [moments_apart(end(PLANE.problem, plane_cells(k), PLANE.t_span, 5), exact) for k in (1, 2)]
    assert errors[-1] < 2.5e-2 and orders(errors)[0] > 1.5, errors


@pytest.mark.parametrize("steps", [1, 10, 20, 80])
def test_an_exact_step_blurs_what_moves_by_a_part_of_a_cell(steps: int) -> None:
    """A drift by a share f of a cell a step adds f (1 - f) h^2 to the variance, in every step: few long steps are better."""
    grid = mf.Grid([(0.0, 2.0), (0.0, 1.0)], (40, 20))
    start = mf.Histogram.from_density(lambda x: np.exp(-50.0 * np.sum((x - 0.5) ** 2, axis=-1)), grid)
    slope = e.Potential(lambda x: -x[..., 0], lambda x: np.broadcast_to([-1.0, 0.0], x.shape))
    law = end(slope, start, (0.0, 0.5), steps)
    f = 0.5 / steps / 0.05 % 1.0
    assert_allclose(law.mean() - start.mean(), [0.5, 0.0], atol=1e-6)
    assert_allclose(law.covariance() - start.covariance(), np.diag([steps * f * (1.0 - f) * 0.05**2, 0.0]), atol=1e-7)


# porous media (S4, PME-B) ------------------------------------------------------------------------------------------------

FRONT = 9.0 ** (1.0 / 3.0)
SPAN = (1.0, 2.0)


def barenblatt(s: np.ndarray, t: float) -> np.ndarray:
    return np.asarray(2.0 * FRONT * t ** (1.0 / 3.0) * np.sin(np.arcsin(2.0 * s - 1.0) / 3.0))


def medium_cells(k: int) -> mf.Histogram:
    """Return the exact masses of cells at time 1, from the distribution function."""
    grid = mf.Grid([(-3.0, 3.0)], 60 * k)
    x = np.clip(grid.edges[0] / FRONT, -1.0, 1.0)
    masses = np.diff(0.75 * (x - x**3 / 3.0))
    return mf.Histogram(masses / masses.sum(), grid)


def medium_levels(k: int) -> mf.Quantiles:
    return problems.get("S4", n=30 * k).initial


MEDIUM = {
    "quantiles": (lambda k: end(e.PowerEntropy(2.0), medium_levels(k), SPAN, 10 * k**2), 6e-4),
    "quantiles, VIM": (lambda k: end(e.PowerEntropy(2.0), medium_levels(k), SPAN, 10 * k, "vim"), 2e-6),
    "cells": (lambda k: end(e.PowerEntropy(2.0), medium_cells(k), SPAN, 4 * k**2), 2e-3),
    "cells, linearised": (lambda k: end(e.PowerEntropy(2.0), medium_cells(k), SPAN, 4 * k**2, LINEARISED), 2e-3),
    "cells, BDF2": (lambda k: end(e.PowerEntropy(2.0), medium_cells(k), SPAN, 10 * k, mf.BDF2()), 3e-4),
    "atoms": (
        lambda k: end(e.BlobPowerEntropy(2.0, 0.4 / k), on_line(barenblatt(levels(100 * k**2), 1.0)), SPAN, 10 * k**2, "rk2"),
        8e-3,
    ),
}


@pytest.mark.parametrize("name", MEDIUM)
def test_porous_media_on_the_line(name: str) -> None:
    """Distances in W2 from Barenblatt's law at time 2, of about second order together; the front costs atoms and cells some."""
    law, bound = MEDIUM[name]
    ends = [values_of(law(k)) for k in (1, 2, 3)]
    errors = [float(np.sqrt(np.mean((x - barenblatt(levels(len(x)), 2.0)) ** 2))) for x in ends]
    assert errors[-1] < bound
    assert np.all((orders(errors) > 1.3) & (orders(errors) < 2.6)), errors
    assert_allclose(np.mean(ends[-1] ** 2), FRONT**2 / 5.0 * 2.0 ** (2.0 / 3.0), rtol=2e-2)


def sunflower(n: int, radius: float) -> mf.Particles:
    """Return n atoms of density (1 - r^2/R^2)_+ about (1/2, 1/2)."""
    k = np.arange(n) + 0.5
    r, angle = radius * np.sqrt(1.0 - np.sqrt(1.0 - k / n)), np.pi * (3.0 - np.sqrt(5.0)) * k
    return mf.Particles(0.5 + np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1))


def in_plane(k: int) -> problems.Problem:
    return problems.get("PME-B", n=24 * k)


DISCS = {
    "cells": lambda k: end(in_plane(k).problem, in_plane(k).initial, in_plane(k).t_span, 8 * k),
    "cells, linearised": lambda k: end(in_plane(k).problem, in_plane(k).initial, in_plane(k).t_span, 8 * k, LINEARISED),
    "cells, BDF2": lambda k: end(in_plane(k).problem, in_plane(k).initial, in_plane(k).t_span, 8 * k, mf.BDF2()),
    "atoms": lambda k: end(
        e.BlobPowerEntropy(2.0, 0.08 / k, mollifier="compact"), sunflower(300 * k**2, 0.2), in_plane(k).t_span, 40 * k**2, "rk2"
    ),
}


def squared_radius(name: str, k: int) -> float:
    """Return what the square of the radius should be: that of the flow, for exact steps that of as many of them."""
    if name != "cells":
        return 0.4**2
    p, r = in_plane(k), 0.2
    for _ in range(8 * k):
        r = minimizing_radius(r, (p.t_span[1] - p.t_span[0]) / (8 * k), p.constants["p"], p.constants["K"])
    return r**2


@pytest.mark.parametrize("name", DISCS)
def test_porous_media_in_the_plane(name: str) -> None:
    """PME-B: the mean of |x - c|^2 is R^2/3, but for the blur of exact steps; atoms are of second order in the bandwidth."""
    found = [float(np.trace(DISCS[name](k).covariance())) * 3.0 / squared_radius(name, k) - 1.0 for k in (1, 2)]
    assert abs(found[1]) < {"atoms": 0.05, "cells, BDF2": 6e-3}.get(name, 0.02)
    assert name == "cells" or orders([abs(x) for x in found])[0] > {"atoms": 1.7, "cells, BDF2": 1.4}.get(name, 0.7), found


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("periodic", [False, True])
def test_waves_of_heat_decay_at_their_rate(dim: int, periodic: bool) -> None:
    """S3 waves: amplitudes, read off the masses, of second order in tau and h together."""
    sizes = {1: (12, 24, 36), 2: (8, 16), 3: (6, 12)}[dim]
    errors = []
    for k, n in enumerate(sizes, 1):
        p = problems.get("S3 waves", dim=dim, n=n, periodic=periodic, t=0.03)
        law = end(p.problem, p.initial, p.t_span, 6 * k, mf.BDF2())
        assert abs(law.masses.sum() - 1.0) < 1e-12
        errors.append(float(np.sum(np.abs(law.masses - p.exact(0.03).masses))))
    assert np.all((orders(errors) > 1.6) & (orders(errors) < 2.6)), errors
    assert errors[-1] < 0.02


def test_waves_between_walls_by_exact_steps() -> None:
    p = problems.get("S3 waves", n=64)
    errors = [p.error(p.solve(0.05 / steps)) for steps in (4, 8)]
    assert errors[1] < 0.01 and 1.7 < errors[0] / errors[1] < 2.3
