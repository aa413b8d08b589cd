"""Linearised minimizing movements and BDF2 of histograms: implicit finite volumes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy.special import erf

import measureflow as mf
from measureflow import energies as e
from measureflow.kernels import fluxes
from measureflow.proximal.base import Tolerance
from measureflow.proximal.limiting import nonnegative
from measureflow.proximal.linearised import linearised

LINEARISED = mf.JKO(inner="linearised")
SCHEMES = [LINEARISED, mf.BDF2()]


def bump(grid: mf.Grid, centre: Any, radius: float) -> mf.Histogram:
    return mf.Histogram.from_density(lambda x: np.maximum(1.0 - np.sum((x - centre) ** 2, axis=-1) / radius**2, 0.0), grid)


def l1(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(np.abs(a - b)))


def cosine(x: np.ndarray, t: float, k: int = 2) -> np.ndarray:
    return np.asarray(1.0 + 0.5 * np.exp(-((np.pi * k) ** 2) * t) * np.cos(np.pi * k * x[..., 0]))


def heat_error(n: int, steps: int, scheme: mf.schemes.Scheme, dim: int = 1, periodic: bool = False, t: float = 0.05) -> float:
    grid = mf.Grid([(0.0, 1.0)] * dim, (n,) * dim, periodic)
    start = mf.Histogram.from_density(lambda x: cosine(x, 0.0), grid)
    sol = mf.solve(e.Entropy(), start, t, t / steps, scheme=scheme)
    return float(np.mean(np.abs(sol.states[-1].density - cosine(grid.centres, t))))


def gaussian_cells(grid: mf.Grid, mean: float, variance: float) -> np.ndarray:
    return np.asarray(np.diff(0.5 * (1.0 + erf((grid.edges[0] - mean) / np.sqrt(2.0 * variance)))))


def fokker_planck_error(n: int, steps: int, scheme: mf.schemes.Scheme, dim: int = 1, t: float = 0.3) -> float:
    """Return the L1 error for S1 with alpha = 2, from N(1, 1/4)."""
    grid, line = mf.Grid([(-4.0, 4.0)] * dim, (n,) * dim), mf.Grid([(-4.0, 4.0)], (n,))

    def law(time: float) -> np.ndarray:
        cells = gaussian_cells(line, np.exp(-2.0 * time), 0.5 - 0.25 * np.exp(-4.0 * time))
        masses = cells if dim == 1 else np.outer(cells, cells)
        return np.asarray(masses / masses.sum())

    sol = mf.solve(e.Entropy() + e.Quadratic(2.0), mf.Histogram(law(0.0), grid), t, t / steps, scheme=scheme)
    return l1(sol.states[-1].masses, law(t))


GRID2 = mf.Grid([(-1.0, 1.0)] * 2, (20, 18))
WELL = e.Quadratic(4.0, centre=[0.3, 0.2])
WALL = np.zeros((20, 18), dtype=bool)
WALL[9:11, :13] = True
ENERGIES: dict[str, e.Energy] = {
    "entropy": e.Entropy(),
    "cold entropy in a well": e.Entropy(1e-3) + WELL,
    "porous medium": e.PowerEntropy(2),
    "porous medium in a well": e.PowerEntropy(2) + WELL,
    "m = 3/2 in a well": e.PowerEntropy(1.5) + WELL,
    "m = 4 in a well": e.PowerEntropy(4) + WELL,
    "fast diffusion in a well": e.PowerEntropy(0.5) + WELL,
    "KL": e.KL(mf.Gaussian([0.3, 0.2], 0.2 * np.eye(2))),
    "sum": e.PowerEntropy(2) + 0.1 * e.PowerEntropy(0.5) + 0.05 * e.Entropy() + WELL,
    "potential alone": WELL,
    "two wells": e.Entropy(0.05) + e.Potential(lambda x: 5.0 * np.sum((x**2 - 0.3) ** 2, axis=1)),
    "cells": e.PowerEntropy(2) + e.CellPotential(np.random.default_rng(0).random((20, 18))),
    "obstacle": e.PowerEntropy(2) + WELL + e.Obstacle(WALL),
}


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("scheme", SCHEMES, ids=["jko", "bdf2"])
def test_mass_sign_and_energy(name: str, scheme: mf.schemes.Scheme) -> None:
    sol = mf.solve(ENERGIES[name], bump(GRID2, [-0.5, -0.4], 0.35), 0.4, 0.05, scheme=scheme)
    for law in sol.states:
        assert abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0
    assert np.all(np.diff(sol.energies) <= 1e-9)
    assert np.nanmax(sol.info["residual"]) < 1e-9


@pytest.mark.parametrize("name", ["porous medium in a well", "fast diffusion in a well", "KL", "sum"])
def test_the_energy_identity_as_inequality(name: str) -> None:
    """E(new) + d^2 / tau <= E(old): twice what comparing with the old law gives, as the energies are convex in the density."""
    energy = ENERGIES[name]
    sol = mf.solve(energy, bump(GRID2, [-0.5, -0.4], 0.35), 0.3, 0.05, scheme=LINEARISED)
    lengths = sol.info["distance"][1:]
    assert np.all(lengths > 0.0)
    if name != "KL":
        assert np.all(sol.energies[1:] + 0.99 * lengths**2 / 0.05 <= sol.energies[:-1] + 1e-9)


@pytest.mark.parametrize("periodic", [False, True])
def test_heat_flow_has_the_orders_of_the_scheme(periodic: bool) -> None:
    first = [heat_error(128, steps, LINEARISED, periodic=periodic) for steps in (10, 20, 40)]
    assert 0.9 < np.log2(first[0] / first[1]) < 1.1 and 0.9 < np.log2(first[1] / first[2]) < 1.1
    space = [heat_error(n, 200, mf.BDF2(), periodic=periodic) for n in (8, 16, 32)]
    assert 1.9 < np.log2(space[0] / space[1]) < 2.2 and 1.8 < np.log2(space[1] / space[2]) < 2.2


def test_bdf2_is_of_second_order_in_time() -> None:
    """Against many steps on the same grid, so that only tau counts."""

    def end(steps: int) -> np.ndarray:
        grid = mf.Grid([(0.0, 1.0)], 32)
        start = mf.Histogram.from_density(lambda x: cosine(x, 0.0), grid)
        energy = e.PowerEntropy(2) + 0.5 * e.Entropy() + e.Potential(lambda x: np.cos(np.pi * x[:, 0]))
        return np.asarray(mf.solve(energy, start, 0.05, 0.05 / steps, scheme=mf.BDF2()).states[-1].density)

    reference = end(160)
    errors = [l1(end(steps), reference) for steps in (20, 40)]
    assert 1.8 < np.log2(errors[0] / errors[1]) < 2.3  # against 160 steps 2 shows as 2.1


def test_fokker_planck_flow() -> None:
    errors = [fokker_planck_error(n, 160, mf.BDF2()) for n in (32, 64)]
    assert errors[0] < 2e-2 and 1.8 < np.log2(errors[0] / errors[1]) < 2.2
    assert fokker_planck_error(48, 12, mf.BDF2(), dim=2) < 2e-2
    assert fokker_planck_error(128, 20, LINEARISED) < 1.2e-2


@pytest.mark.parametrize("scheme", SCHEMES, ids=["jko", "bdf2"])
def test_the_target_of_a_divergence_is_a_steady_state(scheme: mf.schemes.Scheme) -> None:
    cells = np.random.default_rng(1).random((12, 10)) + 0.2
    target = mf.Histogram(cells / cells.sum(), mf.Grid([(0.0, 1.0)] * 2, (12, 10)))
    assert l1(mf.solve(e.KL(target), target, 1.0, 0.5, scheme=scheme).states[-1].masses, target.masses) < 1e-9
    uniform = mf.Histogram(np.full((12, 10), 1.0 / 120.0), target.grid)
    assert l1(mf.solve(e.KL(target), uniform, 20.0, 2.0, scheme=scheme).states[-1].masses, target.masses) < 1e-6


def test_porous_media_settle_on_the_parabola() -> None:
    """The steady state of PowerEntropy(2) + |x|^2 is (c - |x|^2/2)_+ on every grid, up to its edge."""
    grid = mf.Grid([(-1.5, 1.5)] * 2, (28, 28))
    sol = mf.solve(e.PowerEntropy(2) + e.Quadratic(2.0), bump(grid, [0.4, 0.1], 0.5), 20.0, 2.0, scheme=LINEARISED)
    c = np.sqrt(1.0 / np.pi)
    exact = np.maximum(c - np.sum(grid.centres**2, axis=-1) / 2.0, 0.0)
    assert l1(sol.states[-1].density, exact) * grid.cell_volume < 1.5e-2


def test_barenblatt() -> None:
    """S4 on the line: half-width 9^(1/3) t^(1/3); first order in tau, and BDF2 is far better."""
    grid = mf.Grid([(-4.0, 4.0)], 256)

    def exact(t: float) -> np.ndarray:
        x = grid.axes[0]
        return np.asarray(t ** (-1 / 3) * np.maximum(9.0 ** (2 / 3) / 12.0 - x**2 / (12.0 * t ** (2 / 3)), 0.0))

    start = mf.Histogram(exact(1.0) / exact(1.0).sum(), grid)

    def error(scheme: mf.schemes.Scheme, steps: int) -> float:
        law = mf.solve(e.PowerEntropy(2), start, (1.0, 2.0), 1.0 / steps, scheme=scheme).states[-1]
        return l1(law.density, exact(2.0)) * grid.cell_volume

    errors = [error(LINEARISED, steps) for steps in (5, 10, 20)]
    assert errors[2] < 6e-3 and np.log2(errors[0] / errors[2]) > 1.6
    assert error(mf.BDF2(), 20) < 0.2 * errors[2]


def test_mass_goes_around_obstacles() -> None:
    grid = mf.Grid([(-1.0, 1.0)] * 2, (20, 18))
    for scheme in SCHEMES:
        sol = mf.solve(ENERGIES["obstacle"], bump(grid, [-0.5, -0.4], 0.35), 3.0, 0.1, scheme=scheme)
        assert all(law.masses[WALL].max() == 0.0 for law in sol.states)
        assert sol.states[0].masses[11:].sum() == 0.0 and sol.states[-1].masses[11:].sum() > 0.3
    closed = WALL.copy()
    closed[9:11] = True
    sol = mf.solve(e.PowerEntropy(2) + e.Obstacle(closed), bump(grid, [-0.5, -0.4], 0.35), 1.0, 0.1, scheme=LINEARISED)
    assert sol.states[-1].masses[11:].sum() < 1e-9  # the tolerance of ten steps


def test_glued_sides_know_no_place() -> None:
    """On glued sides the flow of a shifted law is the shifted flow."""
    grid = mf.Grid([(0.0, 1.0)] * 2, (12, 9), periodic=True)
    cells = np.random.default_rng(2).random((12, 9)) + 0.1
    for energy in (e.PowerEntropy(2), e.Entropy()):
        ends = []
        for shift in ((0, 0), (5, 4)):
            start = mf.Histogram(np.roll(cells / cells.sum(), shift, (0, 1)), grid)
            end = mf.solve(energy, start, 0.02, 0.005, scheme=LINEARISED).states[-1].masses
            ends.append(np.roll(end, (-shift[0], -shift[1]), (0, 1)))
        assert l1(*ends) < 1e-9


def test_three_dimensions() -> None:
    """A law that varies along one axis flows as on the line."""
    line, box = mf.Grid([(0.0, 1.0)], 12), mf.Grid([(0.0, 1.0)] * 3, (4, 12, 5), periodic=(False, False, True))
    energy = e.PowerEntropy(3) + 0.1 * e.Entropy()
    along = mf.Histogram.from_density(lambda x: cosine(x, 0.0, 1), line)
    solid = mf.Histogram(np.broadcast_to(along.masses[:, None] / 20.0, (4, 12, 5)).copy(), box)
    a, b = (mf.solve(energy, law, 0.05, 0.01, scheme=LINEARISED).states[-1].masses for law in (along, solid))
    assert l1(np.broadcast_to(a[:, None] / 20.0, b.shape), b) < 1e-8


def test_one_step_is_near_the_exact_one() -> None:
    """The linearised distance and W2 give steps that differ by a second-order term."""
    grid = mf.Grid([(0.0, 1.0)], 24)
    start = mf.Histogram.from_density(lambda x: cosine(x, 0.0, 1), grid)
    gaps = []
    for tau in (0.01, 0.005):
        pair = (mf.solve(e.Entropy(), start, tau, tau, scheme=s).states[-1].masses for s in (mf.JKO(), LINEARISED))
        gaps.append(l1(*pair))
    assert gaps[0] < 5e-3 and gaps[0] / gaps[1] > 2.5


def test_extrapolation_keeps_mass_block_by_block() -> None:
    rng = np.random.default_rng(3)
    now, past = rng.random((11, 6)) + 0.3, rng.random((11, 6)) + 0.3
    now[2, 3] = 0.01  # alone below a quarter of what it was
    now, past = now / now.sum(), past / past.sum()
    plain = now + (now - past) / 3.0
    base, limited = nonnegative(plain, now)
    assert limited and base.min() >= 0.0 and abs(base.sum() - 1.0) < 1e-14
    changed = np.argwhere(np.abs(base - plain) > 1e-15)
    assert changed.min(axis=0).tolist() == [2, 2] and changed.max(axis=0).tolist() == [3, 3]
    assert abs(base[2:4, 2:4].sum() - plain[2:4, 2:4].sum()) < 1e-16
    assert nonnegative(now, now)[1] is False


@pytest.mark.parametrize("temperature", [0.0, 1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("m", [3, 8, 20])
def test_whole_steps_from_vacuum_at_low_temperature(temperature: float, m: int) -> None:
    """The indicator of a disc in a well: Newton's method needs few iterations."""
    grid = mf.Grid([(-1.0, 1.0)] * 2, (64, 64))
    disc = mf.Histogram.from_density(lambda x: (np.sum((x - [0.3, -0.2]) ** 2, axis=-1) < 0.16).astype(float), grid)
    energy = e.PowerEntropy(m) + e.Quadratic(2.0) + temperature * e.Entropy()
    sol = mf.solve(energy, disc, 0.1, 0.05, scheme=LINEARISED)
    assert len(sol.t) == 3 and np.nanmax(sol.info["residual"]) < 1e-9
    assert np.nanmax(sol.info["iterations"]) <= 25 and np.all(np.diff(sol.energies) < 0.0)
    assert all(abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0 for law in sol.states)


TERMS = [((1e-3, 1.0), (1, 3)), ((1.0,), (2,)), ((1.0,), (1.5,)), ((0.5,), (1,)), ((1.0, 0.1), (2, 8)), ((1.0,), (20,)), ((), ())]


@pytest.mark.parametrize("coef, power", TERMS)
def test_fluxes_rise_upstream_and_fall_downstream(coef: tuple[float, ...], power: tuple[float, ...]) -> None:
    """Also where cells are nearly empty, and of wide cells; equilibria do not flow, nor does anything leave an empty cell."""
    rng = np.random.default_rng(5)
    terms = np.array(coef, dtype=float), np.array(power, dtype=float)

    def flux(x: float, y: float, dv: float) -> tuple[float, float, float]:
        out, leave, enter = np.zeros(2), np.zeros(2), np.zeros(2)
        fluxes.flow(np.array([x, y]), np.array([dv, 0.0]), np.array([1.0, 0.0]), np.ones(2), *terms, (1, 2, 1), out, leave, enter)
        return float(out[0]), float(leave[0]), float(enter[0])

    for _ in range(300):
        x, y = (10.0 ** rng.uniform(-8, 0.5, 2)).tolist()
        dv = float(rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-6, 2))
        here, leave, enter = flux(x, y, dv)
        assert leave >= 0.0 and enter >= 0.0
        assert flux(1.01 * x, y, dv)[0] >= here - 1e-12 * abs(here) and flux(x, 1.01 * y, dv)[0] <= here + 1e-12 * abs(here)
        h = 1e-6
        slopes = [(flux(x * (1 + h), y, dv)[0] - here) / (h * x), (here - flux(x, y * (1 + h), dv)[0]) / (h * y)]
        size = abs(here) * 1e-16 / h
        assert (
            abs(slopes[0] - leave) <= 1e-3 * leave + 10.0 * size / x and abs(slopes[1] - enter) <= 1e-3 * enter + 10.0 * size / y
        )
        assert flux(0.0, y, dv)[0] <= 0.0 <= flux(x, 0.0, dv)[0]
        if coef:
            level = sum(
                c * (np.log(y / x) if m == 1 else m / (m - 1) * (y ** (m - 1) - x ** (m - 1)))
                for c, m in zip(*terms, strict=True)
            )
            assert abs(flux(x, y, level)[0]) <= 1e-9 * max(x, y) * (abs(level) + max(coef))


@pytest.mark.parametrize("energy", [e.PowerEntropy(2), e.PowerEntropy(2) + e.Quadratic(4.0), e.Entropy(0.1) + e.Quadratic(4.0)])
def test_a_step_peaks_at_twenty_arrays_of_the_grid(energy: e.Energy) -> None:
    grid = mf.Grid([(-1.0, 1.0)] * 2, (256, 256))
    law = bump(grid, [0.0, 0.0], 0.5)
    linearised(energy, mf.Wasserstein(), law, 0.002, Tolerance(1e-6))
    tracemalloc.start()
    linearised(energy, mf.Wasserstein(), law, 0.002, Tolerance(1e-6))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 20 * 8 * 256**2


def test_how_the_scheme_shows_itself() -> None:
    assert repr(LINEARISED) == "JKO(coupling='simultaneous', inner='linearised')"


def test_what_is_refused() -> None:
    grid = mf.Grid([(0.0, 1.0)], 8)
    law = bump(grid, [0.5], 0.4)
    with pytest.raises(TypeError, match="inner='linearised' is for a Histogram"):
        mf.solve(e.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme=LINEARISED)
    with pytest.raises(TypeError, match="linearised steps know Entropy"):
        mf.solve(e.ChiSquared(law), law, 1.0, 0.1, scheme=LINEARISED)
    with pytest.raises(TypeError, match="positive factors"):
        mf.solve(-1.0 * e.Entropy(), law, 1.0, 0.1, scheme=LINEARISED)
    blocked = np.zeros(8, dtype=bool)
    blocked[4] = True
    with pytest.raises(TypeError, match="free cells"):
        mf.solve(e.Entropy() + e.Obstacle(blocked), law, 0.1, 0.1, scheme=LINEARISED)
    with pytest.raises(TypeError, match="minimizing movements know boxes"):
        mf.solve(e.Entropy() + e.Obstacle(blocked), law, 0.1, 0.1, scheme="jko")
    with pytest.raises(ValueError, match="mask must have the shape"):
        e.Obstacle([True, False]).value(law)
    with pytest.raises(mf.ConvergenceError):
        mf.solve(e.PowerEntropy(2), law, 0.1, 0.1, scheme=mf.JKO(inner="linearised", max_iterations=1))
