"""Crowd motion: a cap on the density, on quantiles and on grids, by exact and by linearised steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

import measureflow as mf
from measureflow import energies as e
from measureflow import problems
from measureflow.problems.crowd import uniform_ball
from measureflow.proximal import solve_proximal
from measureflow.proximal.base import Tolerance
from measureflow.proximal.caps import with_mass
from measureflow.proximal.crowd_cells import CappedCells
from measureflow.proximal.crowd_pressure import Pressure, spread
from measureflow.proximal.grid_conjugates import CellEnergy, cell_energy
from measureflow.proximal.linearised import linearised

EXACT, LINEARISED = mf.JKO(), mf.JKO(inner="linearised")
GRID = mf.Grid([(-1.0, 1.0)] * 2, (24, 20))
DISK = mf.Histogram.from_density(lambda x: 1.0 * (np.sum(x**2, axis=-1) < 0.6), GRID)
CAP = 1.4 * float(DISK.density.max())
WELL = e.Quadratic(3.0, centre=[0.4, 0.1])
WALL = np.zeros((24, 20), dtype=bool)
WALL[17:19, :12] = True


def l1(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(np.abs(a - b)))


# the energy ------------------------------------------------------------------------------------------------------------


def test_values() -> None:
    grid = mf.Grid([(0.0, 2.0)], 4)
    law = mf.Histogram([0.5, 0.3, 0.2, 0.0], grid)
    assert e.Congestion(1.0).value(law) == 0.0
    assert e.Congestion(0.999).value(law) == np.inf
    assert e.Congestion(1.0 - 1e-12).value(law) == 0.0  # rounding
    assert np.all(e.Congestion(1.0).gradient(law) == 0.0)
    quantiles = mf.Quantiles([0.0, 0.25, 0.5, 0.75])
    assert e.Congestion(1.0).value(quantiles) == 0.0
    assert e.Congestion(0.99).value(quantiles) == np.inf
    assert e.Congestion(1.0).value(mf.Quantiles([0.0, 0.0])) == np.inf
    assert e.Congestion(1.0).first_variation(quantiles).tolist() == [0.0] * 4


@pytest.mark.parametrize("state", [mf.Particles([[0.0], [1.0]]), mf.Gaussian(0.0, 1.0), mf.Vector([1.0])])
def test_where_it_is_not_defined(state: mf.State) -> None:
    with pytest.raises(TypeError, match="Congestion is defined on Histogram and Quantiles"):
        e.Congestion(1.0).value(state)


def test_projection_between_walls_is_the_nearest_point() -> None:
    z = np.random.default_rng(1).normal(size=7)
    cap, walls = e.Congestion(1.5), e.Box(-0.5, 0.4)
    found = (cap + walls).project(z)
    gap = 1.0 / (7 * 1.5)
    assert np.diff(found).min() >= gap - 1e-15 and found.min() >= -0.5 and found.max() <= 0.4 + 1e-15
    rng = np.random.default_rng(2)
    for _ in range(200):
        start = -0.5 + rng.random() * (0.9 - 6 * gap)
        spare = rng.dirichlet(np.ones(7))[:6] * (0.4 - start - 6 * gap)
        other = start + np.concatenate([[0.0], np.cumsum(gap + spare)])
        assert float((z - found) @ (other - found)) <= 1e-12


# quantiles -------------------------------------------------------------------------------------------------------------


def test_steps_of_quantiles_are_least() -> None:
    """The functional rises in every allowed direction."""
    law = mf.Quantiles(np.sort(np.random.default_rng(3).normal(size=30)))
    smooth = e.Potential(lambda x: np.sum(np.cosh(2.0 * x), axis=1)) + e.QuadraticInteraction()
    energy, tau = smooth + e.Congestion(1.2) + e.Box(-0.6, 0.7), 0.1
    step = mf.proximal(energy, mf.Wasserstein(), law, tau)
    least = energy.value(step) + mf.distance(law, step) ** 2 / (2.0 * tau)
    assert np.isfinite(least)
    rng = np.random.default_rng(4)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(30):
            other = step.replace(energy.project(step.coordinates + size * rng.normal(size=30)))
            assert energy.value(other) + mf.distance(law, other) ** 2 / (2.0 * tau) >= least - 1e-12


@pytest.mark.parametrize("scheme", ["jko", "explicit", "vim"])
def test_the_crowd_comes_to_rest(scheme: str) -> None:
    p: Any = problems.get("C1", n=50, t=1.0)
    sol = p.solve(0.05, scheme)
    assert p.error(sol) < 1e-12
    assert all(p.problem.value(state) < np.inf for state in sol.states)


def test_the_radius_is_of_first_order() -> None:
    p = problems.get("C1", n=50, t=0.5)
    errors = [p.error(p.solve(tau)) for tau in (0.05, 0.025, 0.0125)]
    assert all(0.95 < np.log2(a / b) < 1.05 for a, b in zip(errors[:-1], errors[1:], strict=True))


def test_a_crowd_against_a_wall_is_exact_at_every_step() -> None:
    for p in (problems.get("C2"), problems.get("C2", ratio=5.0, speed=2.0, n=33, t=0.3)):
        sol = p.solve(0.07)
        assert max(p.error(sol, row) for row in range(len(sol))) < 1e-12


def test_too_little_room_between_walls() -> None:
    energy = e.Quadratic() + e.Congestion(1.0) + e.Box(-0.3, 0.3)
    with pytest.raises(ValueError, match="density_cap must leave room in the box"):
        mf.proximal(energy, mf.Wasserstein(), mf.Quantiles([-0.1, 0.0, 0.1]), 0.1)


def test_quantiles_with_entropy_below_a_cap_come_to_rest() -> None:
    """The law at rest is min(cap, c e^(-V/T)), with c for mass 1."""
    temperature, cap = 0.05, 1.2

    def density(x: np.ndarray, log_c: float) -> np.ndarray:
        return np.minimum(cap, np.exp(log_c - x**2 / temperature))

    x = np.linspace(-3.0, 3.0, 60_001)
    log_c = brentq(lambda c: float(np.sum(density(x, c))) * 1e-4 - 1.0, -2.0, 8.0)
    energy = temperature * e.Entropy() + e.Quadratic(2.0) + e.Congestion(cap)
    errors = []
    for n in (50, 100, 200):
        levels = (np.arange(n) + 0.5) / n
        sol = mf.solve(energy, mf.Quantiles(0.3 + 2.0 * (levels - 0.5)), 8.0, 0.4)
        exact = np.interp(levels, (np.cumsum(density(x, log_c)) - 0.5 * density(x, log_c)) * 1e-4, x)
        end = sol.states[-1].values
        assert np.nanmax(sol.info["residual"]) <= 2e-10 and np.all(np.diff(sol.energies) <= 1e-12)
        assert np.diff(end).min() * n * cap >= 1.0 - 1e-9
        assert np.count_nonzero(np.diff(end) * n * cap < 1.0 + 1e-6) > 0.3 * n  # the middle is saturated, the tails are not
        errors.append(float(np.sqrt(np.mean((end - exact) ** 2))))
    assert errors[-1] < 1.5e-3 and errors[2] < 0.65 * errors[1] < 0.65**2 * errors[0]


def test_quantiles_and_cells_with_entropy_below_a_cap_flow_alike() -> None:
    energy = 0.1 * e.Entropy() + e.Quadratic(4.0, centre=[0.2]) + e.Congestion(1.5)
    grid = mf.Grid([(-1.5, 1.5)], 150)
    cells = mf.Histogram.from_density(lambda x: np.exp(-0.5 * (x[..., 0] / 0.4) ** 2), grid)
    quantiles = mf.Quantiles(0.4 * norm.ppf((np.arange(200) + 0.5) / 200))
    ends = [mf.solve(energy, law, 0.4, 0.02, scheme=s).states[-1] for law, s in ((quantiles, EXACT), (cells, LINEARISED))]
    assert np.count_nonzero(np.diff(ends[0].values) * 200 * 1.5 < 1.0 + 1e-6) > 40
    assert mf.distance(ends[0], ends[1].to_quantiles(200)) < 0.01
    assert abs(ends[0].mean()[0] - 0.2 * (1.0 - 1.08**-20)) < 1e-3


DENSE: dict[str, e.Energy] = {
    "entropy": 0.05 * e.Entropy() + e.Quadratic(2.0),
    "porous medium": 0.1 * e.PowerEntropy(2.0) + e.Potential(lambda x: 3.0 * np.sum(np.cosh(2.0 * x), axis=1)),
    "between walls": 0.05 * e.Entropy() + e.Quadratic(2.0, linear=[-1.0]) + e.Box(-0.6, 0.5),
    "KL": e.KL(mf.Gaussian(0.1, 0.01)),
    "chi squared": e.ChiSquared(mf.Gaussian(0.0, 0.04)),
    "interaction": 0.02 * e.Entropy() + e.Interaction(lambda z: 0.25 * np.sum(z**4, axis=-1), lambda z: z**3) + e.Quadratic(2.0),
}


@pytest.mark.parametrize("name", DENSE)
def test_steps_of_quantiles_with_a_density_and_a_cap_are_least(name: str) -> None:
    """No allowed law near the step has a smaller functional, and the forces are those of KKT: the residual is small."""
    law, rng = mf.Quantiles(np.sort(0.25 * np.random.default_rng(9).normal(size=40))), np.random.default_rng(10)
    energy, tau = DENSE[name] + e.Congestion(1.2), 0.2
    step = solve_proximal(energy, mf.Wasserstein(), law, tau, Tolerance())
    end = step.state
    assert isinstance(end, mf.Quantiles) and step.residual <= 1e-10 and step.method == "interior point"
    assert np.diff(end.values).min() * 48.0 >= 1.0 - 1e-9

    def functional(u: mf.State) -> float:
        return energy.value(u) + mf.distance(law, u) ** 2 / (2.0 * tau)

    least = functional(end)
    assert np.isfinite(least)
    for size in (1e-1, 1e-2, 1e-3, 1e-4):
        for _ in range(20):
            other = energy.project(end.values + size * rng.normal(size=40))
            mixed = end.replace(0.5 * (other + end.values))
            assert functional(mixed) >= least - 1e-12


def test_a_cap_that_does_not_hold_changes_nothing() -> None:
    law = mf.Quantiles(np.linspace(-1.0, 1.0, 30))
    energy = e.Entropy() + e.Quadratic()
    free = mf.proximal(energy, mf.Wasserstein(), law, 0.1)
    assert np.array_equal(mf.proximal(energy + e.Congestion(50.0), mf.Wasserstein(), law, 0.1).coordinates, free.coordinates)


# cells -----------------------------------------------------------------------------------------------------------------

ENERGIES: dict[str, e.Energy] = {
    "potential": WELL,
    "entropy": WELL + 0.05 * e.Entropy(),
    "porous medium": WELL + 0.1 * e.PowerEntropy(2.0),
    "m = 3": WELL + 0.02 * e.PowerEntropy(3.0),
    "KL": e.KL(mf.Gaussian([0.4, 0.1], 0.05 * np.eye(2))),
}


def checked(sol: mf.Solution, cap: float = CAP) -> None:
    """Check mass, sign, cap and energy of all states."""
    for law in sol.states:
        assert abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0
        assert law.density.max() <= cap * (1.0 + 1e-12)
    assert np.all(np.isfinite(sol.energies)) and np.all(np.diff(sol.energies) <= 1e-9)
    assert sol.states[-1].density.max() >= 0.99 * cap


@pytest.mark.parametrize("name", ENERGIES)
def test_linearised_steps(name: str) -> None:
    sol = mf.solve(ENERGIES[name] + e.Congestion(CAP), DISK, 0.6, 0.1, scheme=LINEARISED)
    checked(sol)
    assert np.nanmax(sol.info["residual"]) < 1e-8


@pytest.mark.parametrize("name", [name for name in ENERGIES if name in ("potential", "porous medium")])
def test_exact_steps(name: str) -> None:
    sol = mf.solve(ENERGIES[name] + e.Congestion(CAP), DISK, 0.3, 0.1, scheme=EXACT)
    checked(sol)
    assert np.all(sol.info["residual"][1:] <= 3e-3 * np.maximum(sol.info["distance"][1:], 0.1))


def test_exact_steps_with_entropy() -> None:
    full = mf.Histogram(0.9 * DISK.masses + 0.1 / DISK.masses.size, GRID)
    checked(mf.solve(ENERGIES["entropy"] + e.Congestion(CAP), full, 0.3, 0.1, scheme=EXACT))


def test_obstacles_and_a_cap() -> None:
    energy = e.Quadratic(3.0, centre=[0.8, -0.3]) + e.Obstacle(WALL) + e.Congestion(CAP)
    start = DISK.replace(np.where(WALL, 0.0, DISK.masses) / DISK.masses[~WALL].sum())
    sol = mf.solve(energy, start, 1.0, 0.1, scheme=LINEARISED)
    assert all(law.masses[WALL].max() == 0.0 and law.density.max() <= CAP * (1.0 + 1e-12) for law in sol.states)
    assert sol.states[-1].masses[19:].sum() > 2.0 * start.masses[19:].sum()


@pytest.mark.parametrize("cells, strength, fill", [(33, 3.0, 0.9), (33, 100.0, 0.7), (24, 100.0, 0.9)])
@pytest.mark.parametrize("shape", ["door", "column"])
def test_long_steps_through_a_door_and_around_a_column(shape: str, cells: int, strength: float, fill: float) -> None:
    """A step that carries the crowd through the whole room is solved, although a search from its start alone fails."""
    grid = mf.Grid([(0.0, 1.0)] * 2, (cells, cells))
    x, y = np.meshgrid(*[(np.arange(cells) + 0.5) / cells] * 2, indexing="ij")
    mask = (np.abs(x - 0.6) < 0.04) & (np.abs(y - 0.5) > 0.1) if shape == "door" else np.hypot(x - 0.6, y - 0.5) < 0.15
    start = mf.Histogram(~mask / np.count_nonzero(~mask), grid)
    cap = float(start.density.max()) / fill
    exit_ = e.Potential(lambda z: strength * np.hypot(z[..., 0] - 1.0, z[..., 1] - 0.5))
    step = linearised(e.Congestion(cap) + exit_ + e.Obstacle(mask), mf.Wasserstein(), start, 1.0, Tolerance())
    law = step.state
    assert isinstance(law, mf.Histogram) and step.residual < 1e-8
    assert law.masses[mask].max() == 0.0 and law.density.max() <= cap * (1.0 + 1e-12)
    assert exit_.value(law) + step.distance**2 / 2.0 <= exit_.value(start)


def test_a_law_above_the_cap_is_brought_below_it() -> None:
    for scheme in (EXACT, LINEARISED):
        law = mf.solve(WELL + e.Congestion(0.5 * CAP), DISK, 0.02, 0.02, scheme=scheme).states[-1]
        assert law.density.max() <= 0.5 * CAP * (1.0 + 1e-12) and abs(law.masses.sum() - 1.0) < 1e-12


@pytest.mark.parametrize("scheme", [EXACT, LINEARISED], ids=["exact", "linearised"])
@pytest.mark.parametrize("label", ["C1", "C2"])
def test_flows_on_the_line(label: str, scheme: mf.JKO) -> None:
    errors = []
    for n in (20, 40):
        p = problems.get(label, kind="histogram", n=n)
        sol = p.solve(0.04, scheme)
        errors.append(max(p.error(sol, row) for row in (len(sol) // 2, -1)))
    assert errors[1] < 0.04 and errors[1] < 0.85 * errors[0]


@pytest.mark.parametrize("scheme", [EXACT, LINEARISED], ids=["exact", "linearised"])
def test_a_disk_contracts(scheme: mf.JKO) -> None:
    p: Any = problems.get("C1", kind="histogram", dim=2, n=32, t=0.6)
    assert all(p.problem.value(p.exact(t)) < np.inf for t in (0.0, 0.3, 0.6))
    sol = p.solve(0.1, scheme)
    first, last = sol.states[3], sol.states[-1]
    assert l1(last.masses, p.exact(0.6).masses) < 0.1
    assert l1(last.masses, uniform_ball(last.grid, p.constants["radius at rest"]).masses) < 0.1
    wanted = 0.5 * 1.1**-6  # the mean of |x|^2 over the unit disk is 1/2
    assert abs(np.trace(first.covariance()) - wanted) < 0.12 * wanted


def test_exact_and_linearised_steps_are_near() -> None:
    grid = mf.Grid([(-1.0, 1.0)], 64)
    start = mf.Histogram.from_density(lambda x: 1.0 * (np.abs(x[..., 0]) < 0.7), grid)
    energy = e.Quadratic(2.0, centre=[0.2]) + e.Congestion(1.3 * float(start.density.max()))
    ends = [mf.solve(energy, start, 0.5, 0.05, scheme=scheme).states[-1] for scheme in (EXACT, LINEARISED)]
    assert mf.distance(*ends) < 0.02


def test_glued_sides_know_no_place() -> None:
    grid = mf.Grid([(0.0, 1.0)] * 2, (16, 8), periodic=True)
    cells = np.random.default_rng(5).random((16, 8))
    well = np.random.default_rng(6).random((16, 8))
    for scheme, bound in ((EXACT, 1e-3), (LINEARISED, 1e-8)):
        ends = []
        for shift in ((0, 0), (4, 2)):
            law = mf.Histogram(np.roll(cells / cells.sum(), shift, (0, 1)), grid)
            energy: Any = e.Congestion(2.0) + e.PowerEntropy(2.0) + e.CellPotential(np.roll(well, shift, (0, 1)))
            end = mf.solve(energy, law, 0.02, 0.01, scheme=scheme).states[-1].masses
            ends.append(np.roll(end, (-shift[0], -shift[1]), (0, 1)))
        assert l1(*ends) < bound


def test_what_is_refused() -> None:
    cap = e.Congestion(CAP)
    with pytest.raises(ValueError, match="density_cap must be above 1/volume = 0.25"):
        mf.solve(WELL + e.Congestion(0.2), DISK, 0.1, 0.1)
    with pytest.raises(TypeError, match="density_cap must be above 1/volume of the free cells"):
        mf.solve(e.Obstacle(DISK.masses == 0.0) + e.Congestion(0.3), DISK, 0.1, 0.1, scheme=LINEARISED)
    with pytest.raises(TypeError, match="positive factor"):
        mf.proximal(WELL - cap, mf.Wasserstein(), DISK, 0.1)
    with pytest.raises(TypeError, match=r"under Wasserstein\(p=2\)"):
        mf.proximal(WELL + cap, mf.FisherRao(), DISK, 0.1)
    with pytest.raises(TypeError, match=r"know boxes as further constraints.* take the scheme JKO\(inner='linearised'\)"):
        mf.proximal(WELL + cap + e.Obstacle(WALL), mf.Wasserstein(), DISK, 0.1)
    with pytest.raises(TypeError, match=r"knows no obstacles.* take the scheme JKO\(inner='linearised'\)"):
        mf.solve(WELL + e.Obstacle(WALL), DISK, 0.1, 0.1)
    with pytest.raises(TypeError, match="take energies with a density times positive factors"):
        mf.proximal(-1.0 * e.Entropy() + cap, mf.Wasserstein(), mf.Quantiles([0.0, 9.0]), 0.1)
    with pytest.raises(TypeError, match="below a density cap take sums"):
        mf.proximal(e.ChiSquared(DISK) + cap, mf.Wasserstein(), DISK, 0.1)
    with pytest.raises(mf.ConvergenceError):
        mf.solve(WELL + cap, DISK, 0.6, 0.6, scheme=mf.JKO(max_iterations=1, inner="linearised"))
    with pytest.raises(ValueError, match="dim must be 1 for quantiles"):
        problems.get("C1", dim=2)


# parts -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_conjugates_are_largest(strength: float) -> None:
    """The density of theta maximises theta rho - u(rho) among 0 <= rho <= cap, and the shift gives mass 1."""
    rng = np.random.default_rng(7)
    cells = CellEnergy(0.0, strength, 2.0, np.zeros(9), 0.2)
    local = CappedCells(cells, 1.0, 0.5, rng.random(9))
    theta = rng.normal(size=9)
    found = local.conjugates(theta, local.density(theta))
    for _ in range(50):
        assert local.conjugates(theta, rng.random(9)) <= found
    density = local.density(theta + local.shift(theta))
    assert abs(0.2 * density.sum() - 1.0) < 1e-13 and 0.0 <= density.min() <= density.max() <= 1.0


@pytest.mark.parametrize("periodic", [False, True])
def test_the_pressure_is_largest(periodic: bool) -> None:
    """Where the pressure is positive the step is at the cap, and no other pressure has a larger dual."""
    grid = mf.Grid([(-1.0, 1.0)] * 2, (20, 24), periodic=periodic)
    law = mf.Histogram(np.random.default_rng(11).dirichlet(np.full(480, 20.0)).reshape(20, 24), grid)
    energy, cap, tau = WELL, 0.6, 0.1
    cells = cell_energy(energy, law, tau)
    assert cells is not None
    search = Pressure(cells, cap, law)
    found = search.solve(0.0, 1e-4, 200)
    room = cap * grid.cell_volume
    assert found.residual <= found.goal and found.masses.max() <= room and abs(found.masses.sum() - 1.0) < 1e-14
    best = search._at(found.pressure)
    assert np.all(found.masses[best.pressure > 1e-3] > 0.999 * room)
    rng = np.random.default_rng(12)
    for size in (1e-4, 1e-3, 1e-2):
        for _ in range(10):
            assert search._at(best.pressure + size * rng.normal(size=best.pressure.shape)).value <= best.value + found.residual**2


def test_rough_potentials_are_left_to_the_moving_centre() -> None:
    grid = mf.Grid([(-1.0, 1.0)] * 2, (32, 32))
    law = mf.Histogram(np.full((32, 32), 1.0 / 1024), grid)
    energy = e.CellPotential(np.random.default_rng(13).random((32, 32))) + e.Congestion(0.4)
    step = solve_proximal(energy, mf.Wasserstein(), law, 0.3, Tolerance(1e-9, 500))
    assert step.method == "dual Newton, moving centre" and step.residual <= 0.01 * max(step.distance, 1.0 / 16.0)


def test_mass_is_made_up_for_below_the_cap() -> None:
    rho, free = np.array([1.0, 0.5, 0.0, 1.0]), np.array([True, True, False, True])
    for total in (2.4, 2.5, 2.7):
        filled = with_mass(rho, 1.0, free, total)
        assert abs(filled.sum() - total) < 1e-14 and filled.max() <= 1.0 and filled[2] == 0.0
    assert abs(with_mass(np.array([1.0, 0.0, 0.0]), 1.0, np.array([True, True, False]), 1.5).sum() - 1.5) < 1e-14


def test_the_bound_of_the_distance_of_two_laws() -> None:
    rng, h = np.random.default_rng(8), 0.1
    for _ in range(20):
        a, b = rng.dirichlet(np.ones(13), size=2)
        exact = h * float(np.sum(np.abs(np.cumsum(a - b))))
        assert exact <= spread((a - b).reshape(13, 1, 1), np.array([h])) <= 20.0 * exact
