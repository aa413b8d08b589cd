"""Second-order and explicit schemes on histograms: orders in tau and h, mass, sign, fallbacks and what the steps say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from crafting import read_arrays, write_arrays
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import measureflow as mf
from measureflow import energies as e
from measureflow import games as g
from measureflow import problems
from measureflow.games import AbstractGame
from measureflow.proximal import Tolerance, solve_proximal
from measureflow.proximal.cell_distance import near_distance
from measureflow.proximal.limiting import nonnegative
from measureflow.proximal.semidiscrete import CellRates
from measureflow.schemes import Players

W2 = mf.Wasserstein()
LINE = mf.Grid([(-4.0, 4.0)], 20)
TORUS = mf.Grid([(0.0, 1.0)] * 2, (6, 5), (True, False))
BOX = mf.Grid([(0.0, 1.0)] * 3, (3, 3, 3))
SMOOTH: dict[str, tuple[e.Energy, mf.Histogram, float]] = {
    "Fokker-Planck": (e.Entropy() + e.Quadratic(), mf.Gaussian(1.0, 0.6).to_histogram(LINE), 0.5),
    "torus": (
        e.PowerEntropy(2) + 0.2 * e.Entropy(),
        mf.Histogram.from_density(lambda x: 1.0 + 0.5 * np.cos(2 * np.pi * x[..., 0]) * np.cos(np.pi * x[..., 1]), TORUS),
        0.05,
    ),
    "box": (
        e.PowerEntropy(2) + 0.5 * e.Entropy() + e.Potential(lambda x: x[:, 0]),
        mf.Histogram.from_density(lambda x: 1.0 + 0.5 * np.cos(np.pi * x.sum(-1)), BOX),
        0.1,
    ),
}
TIGHT: dict[str, Any] = {"tolerance": 1e-12}
SECOND: dict[str, mf.Scheme] = {
    "vim": mf.VIM(**TIGHT),
    "extrapolated-vim": mf.ExtrapolatedVIM(**TIGHT),
    "bdf2": mf.BDF2(**TIGHT),
    "extrapolated-bdf2": mf.ExtrapolatedBDF2(**TIGHT),
    "three-stage": mf.ThreeStage(**TIGHT),
    "richardson": mf.Richardson(**TIGHT),
}
FIRST: dict[str, mf.Scheme] = {
    "jko": mf.JKO(inner="linearised", **TIGHT),
    "forward-backward": mf.ForwardBackward(**TIGHT),
}
EXPLICIT: dict[str, mf.Scheme] = {"explicit": mf.Explicit(), "rk2": mf.RK2(), "rk4": mf.RK4()}
ALL = {**SECOND, **FIRST, **EXPLICIT}


def l1(a: Any, b: Any) -> float:
    return float(np.sum(np.abs(np.asarray(a) - np.asarray(b))))


@pytest.fixture(scope="module")
def exact() -> dict[str, np.ndarray]:
    """The solutions of the semi-discrete equations p' = F(p), by SciPy."""
    ends = {}
    for name, (energy, start, t) in SMOOTH.items():

        def rate(_: float, p: np.ndarray, energy: e.Energy = energy, start: mf.Histogram = start) -> np.ndarray:
            p = np.maximum(p, 0.0)
            return CellRates.of(energy, mf.Histogram((p / p.sum()).reshape(start.grid.shape), start.grid)).masses.ravel()

        ends[name] = solve_ivp(rate, (0.0, t), start.masses.ravel(), method="LSODA", rtol=1e-11, atol=1e-14).y[:, -1]
    return ends


def errors(name: str, scheme: mf.Scheme, steps: list[int], end: np.ndarray) -> list[float]:
    energy, start, t = SMOOTH[name]
    return [l1(mf.solve(energy, start, t, t / n, scheme=scheme, save_at=n).states[-1].masses.ravel(), end) for n in steps]


def order(steps: list[int], found: list[float]) -> float:
    return -float(np.polyfit(np.log(steps), np.log(found), 1)[0])


# orders ------------------------------------------------------------------------------------------------------------------


CASES = [("Fokker-Planck", scheme) for scheme in SECOND]
CASES += [(name, scheme) for name in ("torus", "box") for scheme in ("vim", "bdf2", "three-stage")]


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_second_order_in_time(name: str, scheme: str, exact: dict[str, np.ndarray]) -> None:
    steps = [40, 60] if scheme == "richardson" else [20, 40]
    found = errors(name, SECOND[scheme], steps, exact[name])
    assert abs(order(steps, found) - 2.0) <= (0.15 if scheme == "richardson" else 0.1), found


@pytest.mark.parametrize("scheme", FIRST)
def test_first_order_in_time(scheme: str, exact: dict[str, np.ndarray]) -> None:
    found = errors("Fokker-Planck", FIRST[scheme], [10, 20], exact["Fokker-Planck"])
    assert abs(order([10, 20], found) - 1.0) <= 0.1, found


@pytest.mark.parametrize(("scheme", "expected"), [("explicit", 1.0), ("rk2", 2.0), ("rk4", 4.0)])
def test_orders_of_explicit_steps(scheme: str, expected: float, exact: dict[str, np.ndarray]) -> None:
    """Below the bound of monotone steps, one substep each."""
    energy, start, t = SMOOTH["Fokker-Planck"]
    least = int(np.ceil(t * CellRates.of(energy, start).fastest / 0.85))
    steps = [least, 2 * least, 3 * least]
    found = errors("Fokker-Planck", EXPLICIT[scheme], steps, exact["Fokker-Planck"])
    assert abs(order(steps, found) - expected) <= 0.1, found
    assert mf.solve(energy, start, t, t / least, scheme=scheme, save_at=least).info["iterations"][-1] == least


@pytest.mark.parametrize("scheme", ["vim", "three-stage", "rk2"])
def test_order_in_h(scheme: str) -> None:
    """Heat: 2 on smooth densities."""

    def density(x: np.ndarray, t: float) -> np.ndarray:
        return np.asarray(1.0 + 0.5 * np.exp(-4.0 * np.pi**2 * t) * np.cos(2.0 * np.pi * x[..., 0]))

    found = []
    for n in (8, 32):
        grid = mf.Grid([(0.0, 1.0)], n)
        start = mf.Histogram.from_density(lambda x: density(x, 0.0), grid)
        end = mf.solve(e.Entropy(), start, 0.02, 0.02 / 20, scheme=ALL[scheme], save_at=20).states[-1]
        found.append(float(np.mean(np.abs(end.density - density(grid.centres, 0.02)))))
    assert abs(np.log2(found[0] / found[1]) / 2.0 - 2.0) < 0.2, found


@pytest.mark.parametrize("scheme", ["vim", "bdf2", "three-stage", "rk4"])
def test_order_at_free_boundaries(scheme: str) -> None:
    """Barenblatt on the line (S4): at least 1 in h, with many steps; masses of cells by the exact distribution function."""

    def cells(edges: np.ndarray, t: float) -> np.ndarray:
        radius = (9.0 * t) ** (1.0 / 3.0)
        s = np.clip(edges / radius, -1.0, 1.0)
        return np.asarray(np.diff(0.75 * (s - s**3 / 3.0)))

    found = []
    for n in (16, 48):
        grid = mf.Grid([(-3.0, 3.0)], n)
        start = mf.Histogram(cells(grid.edges[0], 1.0), grid)
        end = mf.solve(e.PowerEntropy(2), start, (1.0, 2.0), 1.0 / 24, scheme=scheme, save_at=24).states[-1]
        found.append(l1(end.masses, cells(grid.edges[0], 2.0)))
    assert np.log(found[0] / found[1]) / np.log(3.0) > 1.0 and found[1] < 6e-3, found


def test_the_midpoint_rule_beats_bdf2_on_the_plane() -> None:
    """The same implicit solves, a fraction of the error in time."""
    energy, start, t = SMOOTH["torus"]
    many = mf.solve(energy, start, t, t, scheme="rk4").states[-1]
    found = {
        name: l1(mf.solve(energy, start, t, t / 10, scheme=name).states[-1], many) for name in ("vim", "bdf2", "three-stage")
    }
    assert found["vim"] < 0.3 * found["bdf2"] and found["three-stage"] < 0.6 * found["vim"]


# the equation of the cells -----------------------------------------------------------------------------------------------

PLANE = mf.Grid([(-1.0, 1.0)] * 2, (12, 10))
BUMP = mf.Histogram.from_density(lambda x: np.maximum(1.0 - np.sum((x + 0.3) ** 2, axis=-1) / 0.2, 0.0), PLANE)
SPREAD = mf.Histogram.from_density(lambda x: np.exp(-np.sum((x + 0.2) ** 2, axis=-1)), PLANE)
WELL = e.Quadratic(4.0, centre=[0.3, 0.2])
WALL = np.zeros((12, 10), dtype=bool)
WALL[8, :7] = True
ENERGIES: dict[str, e.Energy] = {
    "entropy in a well": e.Entropy() + WELL,
    "porous medium": e.PowerEntropy(2),
    "porous medium in a well": e.PowerEntropy(2) + WELL,
    "m = 3/2 in a well": e.PowerEntropy(1.5) + WELL,
    "sum": e.PowerEntropy(3) + 0.05 * e.Entropy() + WELL,
    "KL": e.KL(mf.Gaussian([0.3, 0.2], 0.2 * np.eye(2))),
    "potential alone": WELL,
    "obstacle": e.PowerEntropy(2) + WELL + e.Obstacle(WALL),
}


@pytest.mark.parametrize("name", ["entropy in a well", "porous medium", "sum", "KL", "potential alone"])
def test_implicit_steps_are_resolvents(name: str) -> None:
    """new = old + tau F(new), with the same F as explicit steps take."""
    tau = 1e-3
    new = solve_proximal(ENERGIES[name], W2, SPREAD, tau, Tolerance(1e-13, inner="linearised")).state
    rates = CellRates.of(ENERGIES[name], new).masses
    assert_allclose((new.coordinates - SPREAD.masses) / tau, rates, atol=1e-6 * np.abs(rates).max())


@pytest.mark.parametrize("name", ENERGIES)
def test_bounds_of_explicit_steps(name: str) -> None:
    """`fastest` bounds the derivative of a cell's outflow in its own mass; mass is kept, and energy falls."""
    rates = CellRates.of(ENERGIES[name], SPREAD if name != "obstacle" else BUMP)
    p = rates.law.masses
    assert abs(rates.masses.sum()) < 1e-12 * np.abs(rates.masses).max()
    assert np.sum(rates.masses * np.where(p > 0.0, ENERGIES[name].gradient(rates.law), 0.0)) <= 1e-12
    for cell in [(2, 3), (6, 8), (11, 0)]:
        if p[cell] > 0.0:
            more, less = p.copy(), p.copy()
            more[cell] *= 1.0 + 1e-6
            less[cell] *= 1.0 - 1e-6
            ends = [CellRates(rates.medium, mf.Histogram(q / q.sum(), PLANE)).masses[cell] * q.sum() for q in (more, less)]
            assert (ends[1] - ends[0]) / (2e-6 * p[cell]) <= 1.01 * rates.fastest


def test_length_of_a_step_is_the_metric_speed() -> None:
    """tau |grad(phi + V)| in L2 of the density, to second order in h: Fisher information for the entropy."""
    grid = mf.Grid([(-6.0, 6.0)], 200)
    law = mf.Gaussian(0.0, 0.5).to_histogram(grid)
    assert_allclose(CellRates.of(e.Entropy(), law).length(0.1), 0.1 * np.sqrt(2.0), rtol=2e-3)


# mass and sign -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("scheme", ["vim", "three-stage", "richardson", "explicit", "rk4"])
def test_mass_and_sign(name: str, scheme: str) -> None:
    sol = mf.solve(ENERGIES[name], BUMP, 0.1, 0.05, scheme=scheme)
    for law in sol.states:
        assert abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0
    assert np.all(np.diff(sol.energies) <= 1e-9)
    assert all(method.startswith("explicit" if scheme in EXPLICIT else "finite volumes") for method in sol.info["method"][1:])
    if name == "obstacle":
        assert all(law.masses[WALL].max() == 0.0 for law in sol.states)


@pytest.mark.parametrize("scheme", ["vim", "bdf2", "three-stage", "richardson"])
def test_long_steps_are_limited_and_say_so(scheme: str) -> None:
    """Steps far beyond the time in which a spot empties leave no negative masses; short ones of smooth laws need no help."""
    spot = np.full(PLANE.shape, 1e-3 / 120)
    spot[3, 3] += 1.0 - 1e-3
    energy = e.Entropy() + WELL
    law = mf.Histogram(spot, PLANE)
    sol = mf.solve(energy, law, 1.0, 0.25, scheme=scheme)
    assert any("limited" in method for method in sol.info["method"])
    assert all(law.masses.min() >= 0.0 and abs(law.masses.sum() - 1.0) < 1e-12 for law in sol.states)
    quiet = mf.solve(energy, SPREAD, 0.01, 0.002, scheme=scheme)
    assert set(quiet.info["method"][1:]) == {"finite volumes"}


def test_explicit_steps_are_cut_where_they_must() -> None:
    energy, start, t = SMOOTH["Fokker-Planck"]
    sol = mf.solve(energy, start, t, t, scheme="rk4")
    assert sol.info["steps"] == 1 and sol.info["iterations"][-1] >= t * CellRates.of(energy, start).fastest
    fine = mf.Histogram.from_density(lambda x: 1.0 + x[..., 0], mf.Grid([(0.0, 1.0)], 4000))
    for scheme in ("explicit", "rk4"):
        with pytest.raises(TypeError, match="must be shorter than .*: take an implicit scheme"):
            mf.solve(e.Entropy(), fine, 1.0, 1.0, scheme=scheme)
        with pytest.raises(TypeError, match="must be shorter than"):
            mf.solve(e.PowerEntropy(0.5), BUMP, 1.0, 1.0, scheme=scheme)


def test_rounding_is_not_called_limiting() -> None:
    base = np.array([[0.5, -1e-17], [0.25, 0.25]])
    kept, limited = nonnegative(base, np.full((2, 2), 0.25))
    assert not limited and kept.min() == 0.0 and abs(kept.sum() - base.sum()) < 1e-16
    kept, limited = nonnegative(base - [[0.0, 1e-6], [0.0, 0.0]], np.array([[0.5, 0.0], [0.25, 0.25]]))
    assert limited and kept.min() >= 0.0 and abs(kept.sum() - base.sum() + 1e-6) < 1e-16


# steps chosen by an error control, and what lies between steps -----------------------------------------------------------


@pytest.mark.parametrize("grid", [PLANE, mf.Grid([(-4.0, 4.0)] * 2, (64, 64))], ids=["coarse", "fine"])
def test_near_distances(grid: mf.Grid) -> None:
    """For near laws the H^-1 norm is W2: here between Gaussians, on cells of any number; and it is a norm of differences."""
    if grid is PLANE:
        other = mf.Histogram(np.roll(SPREAD.masses, 1, axis=0), grid)
        assert near_distance(SPREAD, SPREAD) == 0.0
        assert_allclose(near_distance(SPREAD, other), near_distance(other, SPREAD), rtol=1e-6)
        return
    a, b = (
        mf.Histogram.from_density(lambda x, m=m, v=v: np.exp(-np.sum((x - [m, 0.0]) ** 2, axis=-1) / (2.0 * v)), grid)
        for m, v in ((0.0, 1.0), (0.05, 1.04))
    )
    exact = np.hypot(0.05, np.sqrt(2.0) * (np.sqrt(1.04) - 1.0))
    assert_allclose(near_distance(a, b), exact, rtol=1e-2)


def test_automatic_steps_on_the_plane() -> None:
    energy, start, t = SMOOTH["torus"]
    many = mf.solve(energy, start, t, t, scheme="rk4").states[-1]
    found = []
    for rtol in (1e-2, 1e-3):
        sol = mf.solve(energy, start, t, "auto", scheme="vim", rtol=rtol, atol=1e-6)
        found.append((l1(sol.states[-1], many), sol.info["steps"]))
    assert found[1][0] < 0.5 * found[0][0] < 1e-2 and found[0][1] < found[1][1] < 60


def test_masses_are_mixed_between_steps() -> None:
    energy, start, t = SMOOTH["torus"]
    sol = mf.solve(energy, start, t, t / 4, scheme="vim", save_at=[0.0, t / 8, t])
    ends = mf.solve(energy, start, t / 4, t / 4, scheme="vim").states
    assert_allclose(sol.states[1].masses, 0.5 * (ends[0].masses + ends[1].masses), atol=1e-15)


BETWEEN: dict[str, tuple[Any, mf.Metric]] = {
    "exact": (mf.JKO(), W2),
    "linearised": (mf.JKO(inner="linearised"), W2),
    **{name: (name, W2) for name in ("bdf2", "vim", "three-stage", "rk2")},
    **{f"{name}, Fisher-Rao": (name, mf.FisherRao()) for name in ("jko", "vim", "bdf2", "rk4", "mirror")},
}


@pytest.mark.parametrize("name", BETWEEN)
def test_times_between_steps(name: str) -> None:
    """`save_at`, events and calls give the same laws between steps: masses mixed under W2, on great circles else."""
    scheme, metric = BETWEEN[name]
    energy, tau = ENERGIES["KL"], 0.01

    def crossed(t: float, law: mf.Histogram) -> float:
        return t - 1.25 * tau

    sol = mf.solve(energy, SPREAD, 2.0 * tau, tau, scheme=scheme, metric=metric, events=crossed)
    saved = mf.solve(energy, SPREAD, 2.0 * tau, tau, scheme=scheme, metric=metric, save_at=[0.5 * tau, 1.25 * tau]).states
    assert abs(sol.info["events"][0][1] - 1.25 * tau) < 1e-12
    assert np.array_equal(sol(1.25 * tau, "constant").masses, sol.states[2].masses)
    for law, row, share in ((saved[0], 0, 0.5), (saved[1], 1, 0.25)):
        a, b = sol.states[row : row + 2]
        mixed = (1.0 - share) * a.masses + share * b.masses if metric is W2 else metric.geodesic(a, b, share).masses
        assert_allclose(law.masses, mixed, atol=1e-15)
        assert_allclose(sol((row + share) * tau).masses, mixed, atol=1e-15)
        assert abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0


def test_times_between_steps_are_refused_at_once_where_no_state_is_known() -> None:
    metric, done = _Steps(), []
    energy = e.Potential(lambda x: done.append(len(x)) or x[:, 0], lambda x: np.ones_like(x))  # type: ignore[func-returns-value]
    start = mf.Particles([[0.0, 1.0]])
    arguments: dict[str, Any] = {"scheme": "explicit", "metric": metric}
    for tau, times in ((0.1, [0.0, 0.15]), ("auto", [0.1])):
        with pytest.raises(mf.UnsupportedError, match="save_at must be None, an integer or hold times at which steps end"):
            mf.solve(energy, start, 0.25, tau, **arguments, save_at=times)
    assert done == []
    assert mf.solve(energy, start, 0.25, 0.1, **arguments, save_at=[0.0, 0.2, 0.25]).t.tolist() == [0.0, 0.2, 0.25]
    sol = mf.solve(energy, start, 0.25, 0.1, **arguments, save_at=2)
    with pytest.raises(mf.UnsupportedError, match="interpolation must be 'constant' where _Steps"):
        sol(0.15)
    assert sol(0.15, "constant") is sol.states[1]


class _Steps(mf.Metric):
    """A user's metric, without anything between states."""

    def _distance(self, a: mf.State, b: mf.State) -> float:
        return W2.distance(a, b)

    def chart(self, base: mf.State) -> Any:
        return W2.chart(base)

    def between(self, a: mf.State, b: mf.State, s: float) -> mf.State:
        raise mf.UnsupportedError("no states between")


@pytest.mark.parametrize("metric", [mf.Wasserstein(1), mf.Wasserstein(method="sinkhorn"), mf.WassersteinFisherRao()])
@pytest.mark.parametrize("scheme", [mf.JKO(), mf.VIM()])
def test_histograms_without_steps_are_refused_at_once(scheme: mf.Scheme, metric: mf.Metric) -> None:
    with pytest.raises(TypeError, match="^flows "):
        mf.solve(e.Entropy(), SPREAD, 0.1, 0.05, scheme=scheme, metric=metric)
    with pytest.raises(TypeError, match="geodesics in W2 from laws on cells leave the cells"):
        W2.geodesic(SPREAD, BUMP, 0.5)


# other energies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["forward-backward", "explicit", "rk4"])
def test_energies_that_cells_do_not_know_act_by_their_first_variations(scheme: str) -> None:
    """The mean of a law whose atoms attract each other stays, its variance falls like exp(-2 t)."""
    grid = mf.Grid([(-4.0, 4.0)], 100)
    law = mf.Gaussian(0.3, 0.8).to_histogram(grid)
    energy = 0.1 * e.Entropy() + e.Interaction(lambda x: 0.5 * np.sum(x**2, axis=-1))
    sol = mf.solve(energy, law, 0.5, 0.01, scheme=scheme, save_at=50)
    exact = 0.1 + (law.covariance()[0, 0] - 0.1) * np.exp(-1.0)
    assert_allclose(sol.states[-1].mean()[0], law.mean()[0], atol=1e-6)
    assert_allclose(sol.states[-1].covariance()[0, 0], exact, rtol=2e-2)


def test_forward_and_backward_has_the_stationary_points_of_the_energy() -> None:
    energy = e.Entropy() + e.MMD(mf.Particles([[0.3, 0.2]]), "gaussian")
    law = mf.solve(energy, SPREAD, 40.0, 2.0, scheme="forward-backward", save_at=20).states[-1]
    assert np.ptp(energy.gradient(law)) < 1e-6


@pytest.mark.parametrize("scheme", ["vim", "three-stage"])
def test_interactions_keep_the_order(scheme: str) -> None:
    """Implicit steps take the potential of the law at their end, explicit ones that of every stage: the same equation."""
    energy = e.Entropy() + e.QuadraticInteraction(1.0)
    start = mf.Gaussian(0.5, 0.8).to_histogram(LINE)
    end = mf.solve(energy, start, 0.4, 0.04, scheme="rk4", save_at=10).states[-1]
    found = [l1(mf.solve(energy, start, 0.4, 0.4 / n, scheme=scheme, save_at=n).states[-1], end) for n in (6, 12)]
    assert abs(order([6, 12], found) - 2.0) < 0.15, found


@pytest.mark.parametrize(
    ("scheme", "message"), [("vim", "of VIM go beyond"), ("richardson", "go beyond"), ("rk4", "do not hold")]
)
def test_caps_are_refused_where_they_would_not_hold(scheme: str, message: str) -> None:
    energy = e.PowerEntropy(2) + WELL + e.Congestion(2.0)
    with pytest.raises(TypeError, match=message):
        mf.solve(energy, SPREAD, 0.2, 0.05, scheme=scheme)
    capped = mf.solve(energy, SPREAD, 0.2, 0.05, scheme="bdf2").states
    assert all(law.density.max() <= 2.0 * (1.0 + 1e-9) for law in capped)


def test_players_on_cells() -> None:
    """Two laws that see each other by their means; the midpoint rule in turns is of second order, as RK4 at once shows."""
    grid = mf.Grid([(-3.0, 3.0)], 12)
    start = (mf.Gaussian(0.5, 0.4).to_histogram(grid), mf.Gaussian(-0.5, 0.6).to_histogram(grid))

    def pulled(sign: float) -> Callable[[Any], e.Energy]:
        return lambda others: e.Entropy() + e.Quadratic() + e.CellPotential(sign * float(others[0].mean()[0]) * grid.axes[0])

    game = _Coupled([pulled(1.0), pulled(-1.0)])
    end = mf.solve(game, start, 0.5, 0.02, scheme="rk4", save_at=25).states[-1]
    found = []
    for steps in (8, 16):
        states = mf.solve(game, start, 0.5, 0.5 / steps, scheme=mf.VIM("symmetric"), save_at=steps).states[-1]
        found.append(sum(l1(a, b) for a, b in zip(states, end, strict=True)))
    assert abs(order([8, 16], found) - 2.0) < 0.15, found
    for scheme in (mf.VIM("implicit"), mf.Explicit("extragradient"), mf.Explicit("optimistic")):
        with pytest.raises(TypeError, match="flows in W2 are available"):
            mf.solve(game, start, 0.5, 0.1, scheme=scheme)


class _Coupled(AbstractGame):
    """Players whose energies are made from the others' states."""

    def __init__(self, made: list[Callable[[Any], e.Energy]]) -> None:
        self.players = len(made)
        self.made = made

    def _frozen(self, player: int, others: Any) -> e.Energy:
        return self.made[player](others)


@pytest.mark.parametrize("transport", ["vim", "rk4", "jko"])
def test_splitting_on_the_plane(transport: str) -> None:
    """Strang's splitting of transport and reaction is of second order if both parts are; mass and sign are kept."""
    energy, metric = e.KL(mf.Gaussian([0.3, 0.2], 0.2 * np.eye(2))), mf.WassersteinFisherRao()
    end = mf.solve(energy, SPREAD, 0.1, 0.1 / 40, scheme=mf.Splitting("rk4", "rk4"), metric=metric, save_at=40).states[-1]
    steps = [4] if transport == "jko" else [4, 8]
    laws = [
        mf.solve(energy, SPREAD, 0.1, 0.1 / n, scheme=mf.Splitting(transport, "rk4"), metric=metric, save_at=n).states[-1]
        for n in steps
    ]
    assert all(abs(law.masses.sum() - 1.0) < 1e-12 and law.masses.min() >= 0.0 for law in laws)
    found = [l1(law, end) for law in laws]
    if transport == "jko":
        assert found[0] < 0.2 * l1(SPREAD, end)
    else:
        assert abs(order(steps, found) - 2.0) < 0.2, found


# fallbacks on the line and of Gaussians ----------------------------------------------------------------------------------


def test_the_midpoint_on_the_cone_minimises_its_functional() -> None:
    """Where 2 m - x is not nondecreasing: VIM minimises over the cone, ExtrapolatedVIM projects, and both say so."""
    x, tau = mf.Quantiles(np.linspace(-1.0, 1.0, 12)), 0.5
    energy = e.Quadratic(30.0) + 0.01 * e.Entropy()

    def functional(u: np.ndarray) -> float:
        return 2.0 * energy.value(x.replace(0.5 * (x.values + u))) + float(np.mean((u - x.values) ** 2)) / (2.0 * tau)

    step = mf.VIM().advance(energy, W2, x, tau)
    other = mf.ExtrapolatedVIM().advance(energy, W2, x, tau)
    assert step.method.endswith(", on the cone") and other.method.endswith(", projected")
    rng = np.random.default_rng(0)
    best = functional(step.state.coordinates)
    assert best <= functional(other.state.coordinates) + 1e-12
    for _ in range(50):
        near = np.sort(step.state.coordinates + 1e-3 * rng.normal(size=12))
        assert best <= functional(near) + 1e-9
    sol = mf.solve(energy, x, 1.0, 0.5, scheme="extrapolated-vim")
    assert sol.info["method"][1].endswith("projected") and sol.info["method"][0] == ""


@pytest.mark.parametrize("scheme", ["vim", "extrapolated-vim", "bdf2", "three-stage"])
def test_second_order_below_a_cap(scheme: str) -> None:
    """C1: quantiles keep the cap, before and after it holds them."""
    p = problems.get("C1", n=20, t=0.5)
    found = []
    for tau in (0.1, 0.05, 0.025):
        sol = p.solve(tau, SECOND[scheme])
        found.append(p.error(sol))
        assert np.all(np.isfinite(sol.energies))
    assert abs(order([5, 10, 20], found) - 2.0) < 0.15, found
    rest = problems.get("C1", n=20)
    sol = rest.solve(0.05, SECOND[scheme])
    assert np.all(np.isfinite(sol.energies)) and rest.error(sol) < 1e-12


def test_two_distances_of_gaussians() -> None:
    """In several dimensions the functional of Matthes and Plazotta is not the extrapolation; both are of second order."""
    energy, start = e.KL(mf.Gaussian([0.0, 0.0], [[1.0, 0.3], [0.3, 0.5]])), mf.Gaussian([1.0, 2.0], [[0.3, -0.1], [-0.1, 0.6]])
    end = mf.solve(energy, start, 0.5, 0.005, scheme="rk4").states[-1]
    for scheme in (mf.BDF2(), mf.ExtrapolatedBDF2()):
        found = [mf.distance(mf.solve(energy, start, 0.5, 0.5 / n, scheme=scheme).states[-1], end) for n in (10, 20)]
        assert abs(order([10, 20], found) - 2.0) < 0.15
    past, x, tau = start, mf.Gaussian([0.9, 1.8], [[0.4, 0.0], [0.0, 0.5]]), 0.2
    players = Players(g.Game([energy]), (W2,), (1.0,))

    def functional(law: mf.Gaussian) -> float:
        return energy.value(law) + mf.distance(x, law) ** 2 / tau - mf.distance(past, law) ** 2 / (4.0 * tau)

    new, others = (kind().step(players, (x,), ((past,), tau), tau)[0][0] for kind in (mf.BDF2, mf.ExtrapolatedBDF2))
    assert functional(new) < functional(others)
    for bend in ([[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]):
        for sign in (1e-4, -1e-4):
            assert functional(new) <= functional(mf.Gaussian(new.mean, new.cov + sign * np.array(bend))) + 1e-11


def test_two_distances_where_the_extrapolation_ends() -> None:
    """On the line a shrinking Gaussian, and crowded quantiles: BDF2 needs no geodesic to go on."""
    players = Players(g.Game([e.KL(mf.Gaussian(0.0, 0.01))]), (W2,), (1.0,))
    past, x = mf.Gaussian(0.0, 25.0), mf.Gaussian(0.0, 0.01)
    (new,), _, (info,) = mf.BDF2().step(players, (x,), ((past,), 0.1), 0.1)
    assert info.method.endswith("two distances") and 0.0 < new.cov[0, 0] < 0.01
    with pytest.raises(mf.ConvergenceError, match="no extrapolation"):
        mf.ExtrapolatedBDF2().step(players, (x,), ((past,), 0.1), 0.1)
    players = Players(g.Game([e.Quadratic()]), (W2,), (1.0,))
    wide, crowded = mf.Quantiles([-0.6, 0.2, 0.9, 1.5]), mf.Quantiles([0.1, 0.11, 0.12, 0.2])
    texts = [kind().step(players, (crowded,), ((wide,), 0.1), 0.1)[2][0].method for kind in (mf.BDF2, mf.ExtrapolatedBDF2)]
    assert texts[0].endswith("two distances") and texts[1].endswith("projected")


# what solutions tell -----------------------------------------------------------------------------------------------------


def test_methods_are_kept(tmp_path: Any) -> None:
    """Thinned rows join the methods of their steps; files and run directories keep them."""
    x = mf.Quantiles(np.linspace(-1.0, 1.0, 12))
    energy = e.Quadratic(30.0) + 0.01 * e.Entropy()
    sol = mf.solve(energy, x, 1.0, 0.1, scheme="extrapolated-vim", save_at=5, store=tmp_path / "run")
    assert sol.info["method"].shape == sol.t.shape and "; " in sol.info["method"][1]
    again = [mf.load(tmp_path / "run"), mf.load(sol.save(tmp_path / "flow.npz")), mf.resume(tmp_path / "run")]
    for other in again:
        assert other.info["method"].tolist() == sol.info["method"].tolist()
    game = mf.solve(g.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 0.2, 0.1, scheme="rk4")
    assert game.info["method"].tolist() == [["", ""], ["explicit", "explicit"], ["explicit", "explicit"]]


def test_methods_in_files_are_texts(tmp_path: Any) -> None:
    sol = mf.solve(e.Quadratic(), mf.Vector(1.0), 0.2, 0.1, scheme="vim")
    arrays = read_arrays(sol.save(tmp_path / "flow.npz"))
    codes = arrays["methods"]
    assert codes.shape == (3, 1, len("closed form"))
    for wrong in (np.full_like(codes, 255), np.full_like(codes, 7), codes[:2], codes[:, :, 0], codes.astype(np.float64)):
        write_arrays(tmp_path / "other.npz", {**arrays, "methods": wrong})
        with pytest.raises(ValueError, match="path must be a file that Solution.save wrote"):
            mf.load(tmp_path / "other.npz")
    write_arrays(tmp_path / "other.npz", {name: values for name, values in arrays.items() if name != "methods"})
    assert mf.load(tmp_path / "other.npz").info["method"].tolist() == ["", "", ""]


def test_explicit_steps_tell_of_projections() -> None:
    boxed = e.Quadratic(1.0, centre=3.0) + e.Box(-1.0, 1.0)
    for scheme in ("explicit", "rk2"):
        sol = mf.solve(boxed, mf.Particles([[0.9], [-0.5]]), 0.2, 0.1, scheme=scheme)
        assert sol.info["method"].tolist() == ["", "explicit, projected", "explicit, projected"]
